"""Makes whole tool calls, and the text for the user, out of the chunks of one streamed answer.

Pure: no asyncio, no threads. Chunks go in with ``feed``; what they complete gathers in ``texts`` and
``calls``, from where the owner takes it.
"""

from __future__ import annotations

import json
from collections import deque
from collections.abc import Iterable, Iterator
from typing import Final, Protocol

from agere.errors import ToolCallParseError, ToolCallTooLargeError
from agere.utils.argument_scanner import ArgumentScanner
from agere.utils.openai_chunks import CallDelta, ChunkReader
from agere.utils.user_text import UserText

_CONTENT: Final = object()  # the speaker of what is said beside the calls


class Reader(Protocol):
    """Knows a wire format."""

    def read(self, chunks: Iterable[object]) -> Iterator[str | CallDelta]:
        """What the next chunks say; see ``ChunkReader.read``."""


class _Call:
    """One tool call as far as it has come."""

    __slots__ = ("delivered", "held", "id", "index", "name", "refused", "scanner", "size")

    def __init__(self, index: int, scanner: ArgumentScanner) -> None:
        self.index = index
        self.id: str | None = None
        self.name: str | None = None
        self.scanner = scanner
        self.size = 0
        self.held: list[str] = []  # its text for the user, until it is its turn to speak
        self.delivered = False
        self.refused = False  # an error was delivered in its place


class ToolCallAssembler:
    """Assembles one answer.

    Calls come out in the order of their beginning. One comes out when it is complete, a later one has begun
    and all before it are out, or else at the end: a closing brace alone does not tell that nothing follows.
    Towards the user, too, each speaks in its turn, live while it is the first that is not out. What is said
    beside the calls waits while one is speaking. So interleaved calls are told apart by people as well.

    Attributes:
        texts: text for the user; the owner takes it away.
        calls: for each call its JSON text, or the error that stands in its place; taken away likewise.
        ended: nothing more is taken in, because ``finish`` was called or a call was too large.
    """

    def __init__(self, flag: str, max_arguments: int, reader: Reader | None = None) -> None:
        """Make an assembler.

        Args:
            flag: the top-level argument that holds text for the user.
            max_arguments: how many characters the arguments of one call may have.
            reader: tells what the chunks say; default one for chat completions.
        """
        self.texts: list[str] = []
        self.calls: list[str | ToolCallParseError] = []
        self.ended = False
        self._flag = flag
        self._max_arguments = max_arguments
        self._reader: Reader = reader or ChunkReader()
        self._user_text = UserText()
        self._aside: list[str] = []  # content that waits until the speaking call has finished its text
        self._open: deque[_Call] = deque()  # the calls that are not out
        self._late: list[_Call] = []  # calls that went on after they were out
        self._last: _Call | None = None
        self._by_index: dict[int, _Call] = {}
        self._by_id: dict[str, _Call] = {}
        self._indices: set[int] = set()  # given out
        self._next_index = 0

    def feed(self, chunks: Iterable[object]) -> None:
        """Take the next chunks.

        Args:
            chunks: any number of chunks of the stream.
        """
        for delta in self._reader.read(chunks):
            if isinstance(delta, CallDelta):
                self._add_to_call(delta)
            elif self._open and self._open[0].scanner.speaking:
                self._aside.append(delta)
            else:
                self._say(_CONTENT, delta)
            if self.ended:
                return

    def finish(self, *, broken: bool = False) -> None:
        """Take note that nothing more comes.

        Args:
            broken: the stream failed, and its error is told elsewhere: calls that it left incomplete are
                dropped. Otherwise they are errors of their own.
        """
        if self.ended:
            return
        self.ended = True
        while self._open:
            if self._open[0].scanner.ended or not broken:
                self._put_out(self._open[0])
            self._next_call()
        self.calls += [self._error(call, "went on after their end") for call in self._late]
        self._say_aside()
        self._add_text(self._user_text.end())

    # Text for the user.

    def _say(self, speaker: object, text: str) -> None:
        self._add_text(self._user_text.say(speaker, text))

    def _say_aside(self) -> None:
        if self._aside:
            self._say(_CONTENT, "".join(self._aside))
            self._aside.clear()

    def _add_text(self, text: str) -> None:
        if text:
            self.texts.append(text)

    # Calls.

    def _add_to_call(self, delta: CallDelta) -> None:
        call = self._find(delta) or self._begin(delta)
        if call is None:
            return
        self._last = call
        if call.id is None and delta.id is not None:
            call.id = delta.id
            self._by_id[delta.id] = call
        if delta.name is not None and delta.name != call.name and not call.size:
            call.name = (call.name or "") + delta.name  # a name may come in pieces; it may come repeatedly
        if not delta.arguments:
            return
        arguments = delta.arguments[: self._max_arguments - call.size]
        call.size += len(delta.arguments)
        self._feed_call(call, arguments)
        if call.size > self._max_arguments:
            if call.delivered and call not in self._late:
                self._late.append(call)
            self.finish()

    def _feed_call(self, call: _Call, arguments: str) -> None:
        if call.refused:
            return
        if call.delivered:
            call.scanner.feed(arguments)
            if call.scanner.failed and call not in self._late:
                self._late.append(call)
            return
        text = call.scanner.feed(arguments)
        if call is not self._open[0]:
            call.held.append(text)
            return
        self._say(call, text)
        if not call.scanner.speaking:
            self._say_aside()
        self._settle()

    def _find(self, delta: CallDelta) -> _Call | None:
        """The call that goes on with this delta; None if it begins another one."""
        if delta.index is not None:
            call = self._by_index.get(delta.index)
        elif delta.id is not None:
            call = self._by_id.get(delta.id, self._last)
        else:
            call = self._last
        if call is None:
            return None
        # Some servers give each call the index 0, or none, but an id of its own. Others give each chunk a new
        # id; they, like all, name the function where a call begins. Others give no ids, or always the same.
        is_other_id = delta.id is not None and call.id is not None and delta.id != call.id
        is_named = delta.name is not None
        is_other_name = is_named and call.name is not None and delta.name != call.name
        begins_object = call.scanner.closed and delta.arguments.lstrip().startswith("{")
        if (
            (is_other_id and (is_named or begins_object))
            or (is_named and begins_object)
            or (is_other_name and (call.scanner.closed or delta.index is None))
            or (is_named and delta.index is None and delta.position > 0 and call.id is None)
        ):
            return None
        return call

    def _begin(self, delta: CallDelta) -> _Call | None:
        if not (delta.id or delta.name or delta.arguments):
            return None
        # The server's index, unless another call has it: people keep calls in dicts by it.
        index = delta.index
        if index is None or index in self._indices:
            index = self._next_index
        self._indices.add(index)
        self._next_index = max(self._next_index, index + 1)
        call = _Call(index, ArgumentScanner(self._flag))
        if delta.index is not None:
            self._by_index[delta.index] = call
        self._open.append(call)
        self._settle()
        return call

    def _settle(self) -> None:
        while len(self._open) > 1 and self._open[0].scanner.ended:
            self._put_out(self._open[0])
            self._next_call()

    def _next_call(self) -> None:
        self._open.popleft()
        self._say_aside()
        if self._open:
            call = self._open[0]
            self._say(call, "".join(call.held))
            call.held.clear()

    def _put_out(self, call: _Call) -> None:
        result = self._render(call)
        self.calls.append(result)
        call.delivered = isinstance(result, str)
        call.refused = not call.delivered

    def _render(self, call: _Call) -> str | ToolCallParseError:
        if call.size > self._max_arguments:
            return self._error(call)
        if call.name is None:
            return ToolCallParseError("A tool call came without a name.", None, call.id, call.scanner.raw)
        try:
            return json.dumps(
                {
                    "tool_call_index": call.index,
                    "tool_call_id": call.id,
                    "name": call.name,
                    "arguments": call.scanner.result(),
                }
            )
        except RecursionError:
            return self._error(call, "are nested too deeply")
        except ValueError as error:
            return self._error(call, str(error))

    def _error(self, call: _Call, problem: str = "") -> ToolCallParseError:
        name = repr(call.name) if call.name is None or len(call.name) <= 100 else repr(call.name[:100]) + "..."
        what = f"The arguments of the tool call {name}"
        if call.size > self._max_arguments:
            message = f"{what} have more than {self._max_arguments} characters; the stream was closed."
            return ToolCallTooLargeError(message, call.name, call.id, call.scanner.raw)
        return ToolCallParseError(f"{what} {problem}.", call.name, call.id, call.scanner.raw)
