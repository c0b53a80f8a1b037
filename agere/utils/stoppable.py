"""``stoppable``: a blocking stream, read directly in a plain ``def`` body, that stops when its node does.

A thread that is blocked in a read cannot be interrupted from outside; the connection that it reads from can be shut.
For ``async def`` bodies there is ``LLMAsyncAdapter``.
"""

from __future__ import annotations

import contextlib
import threading
from asyncio import CancelledError
from collections.abc import Iterable, Iterator
from typing import Self, TypeVar

from agere.commander import TaskNode, current_node
from agere.commander.workers import spawn
from agere.errors import WorkerLimitError
from agere.utils.closing import shut_socket

T = TypeVar("T")


def stoppable(stream: Iterable[T]) -> StoppableStream[T]:
    """Any thread. ``stream``, which hangs up on its server when the current node is stopped or ends.

    In a plain ``def`` body::

        for chunk in stoppable(client.chat.completions.create(..., stream=True)):
            ...

    When the node is cancelled (Ctrl-C, a Stop button, an exit), a read that waits for the server ends at once, and
    the loop raises CancelledError. Outside of any node it does nothing but iterate.

    Args:
        stream: what the openai client returns, or any other iterable; one without a connection that can be reached
            stops at its next item.
    """
    return StoppableStream(stream)


class StoppableStream(Iterator[T]):
    """Made by ``stoppable``. One thread reads it; any thread may close it."""

    def __init__(self, stream: Iterable[T]) -> None:
        self._source = stream
        self._iterator = iter(stream)
        self._lock = threading.Lock()  # held for moments only
        self._reading = False
        self._hung_up = False
        self._finished = False
        self._node = current_node()
        if self._node is not None:
            TaskNode.attach_stream(self._node, self)

    def __next__(self) -> T:
        """Read on.

        Raises:
            CancelledError: it was closed before its end.
            Exception: what the stream raises.
        """
        with self._lock:
            self._reading = not self._hung_up
        if self._hung_up:
            self._finish()  # here at the latest: the thread that was to do it may not have come to it
            raise CancelledError("the stream was closed")
        try:
            item = next(self._iterator)
        except BaseException:
            self._have_read(ended=True)
            raise
        self._have_read(ended=False)
        return item

    def close(self) -> None:
        """Any thread. Hang up; does not block. Again is harmless."""
        with self._lock:
            if self._hung_up or self._finished:
                return
            self._hung_up = True
            reading = self._reading
        shut_socket(self._source)
        if not reading:
            # Giving the connection back may block, and this may be the loop thread.
            with contextlib.suppress(WorkerLimitError, RuntimeError):
                spawn(self._finish)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _have_read(self, ended: bool) -> None:
        """Reading thread. A connection that was shut looks like an end, or an error, as it happens."""
        with self._lock:
            self._reading = False
            hung_up = self._hung_up
        if ended or hung_up:
            self._finish()
        if hung_up:
            raise CancelledError("the stream was closed") from None

    def _finish(self) -> None:
        with self._lock:
            if self._finished:
                return
            self._finished = True
        close = getattr(self._source, "close", None)
        if callable(close):
            with contextlib.suppress(Exception):  # nobody reads it any more
                close()
        if self._node is not None:
            TaskNode.detach_stream(self._node, self)
