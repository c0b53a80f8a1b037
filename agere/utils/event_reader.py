"""What the readers of event streams (Responses, Messages) have in common.

Pure: no asyncio, no threads, no import of a client's package.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterable, Iterator

from agere.utils.openai_chunks import CallDelta


class EventReader(ABC):
    """Tells what the events of one stream say, in the words of ``ChunkReader``.

    Calls are numbered from 0 in the order of their beginning: the indexes of these formats count everything else
    as well.
    """

    def __init__(self) -> None:
        self._calls = 0

    def read(self, chunks: Iterable[object]) -> Iterator[str | CallDelta]:
        """Read the next events.

        Args:
            chunks: events in the order of their arrival.

        Yields:
            ``str``: text for the user, never empty.
            ``CallDelta``: a piece of a tool call. Neighbouring fragments of the same call come as one.

        Raises:
            ModelError: an event is the server's report of an error. What came before it has been yielded.
        """
        # A long call is hundreds of fragments in a row, and each costs the engine as much as a long one.
        index: int | None = None
        fragments: list[str] = []
        error: Exception | None = None
        for event in chunks:
            try:
                said = self.read_event(event)
            except Exception as caught:  # noqa: BLE001 - raised below, after what came before it
                error = caught
                break
            for piece in said:
                if type(piece) is CallDelta and piece.id is None and piece.name is None:
                    if piece.index != index and fragments:
                        yield CallDelta(index, None, None, "".join(fragments))
                        fragments.clear()
                    index = piece.index
                    fragments.append(piece.arguments)
                    continue
                if fragments:
                    yield CallDelta(index, None, None, "".join(fragments))
                    fragments.clear()
                yield piece
        if fragments:
            yield CallDelta(index, None, None, "".join(fragments))
        if error is not None:
            raise error

    @abstractmethod
    def read_event(self, event: object) -> Iterable[str | CallDelta]:
        """What one event says.

        Raises:
            ModelError: it reports an error.
        """

    def begin_call(self) -> int:
        """The number of a call that begins."""
        number = self._calls
        self._calls += 1
        return number
