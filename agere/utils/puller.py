"""Owns the source of a dispatcher, and files what comes for the roles that read it.

How it works: one task, the puller, owns the source; it alone steps and closes it, since sources with cancel
scopes in them (anyio, and so the openai client) break when different tasks do. It moves only while a reader
waits. A reader that is cancelled leaves the puller alone, and with it the source; what comes is filed for its
role and waits there.

The puller takes chunks raw, as many as are there without waiting, though not without limit, and they are
read as one batch as soon as the source makes it wait. A task switch and a scan for each fragment of four
characters would cost several times as much as all the rest.
"""

from __future__ import annotations

import asyncio
import contextvars
import inspect
import logging
from collections import deque
from collections.abc import AsyncIterable, AsyncIterator
from time import monotonic
from typing import Any, Final, TypeAlias

from agere.utils.stream import StreamIterator
from agere.utils.tool_calls import ToolCallAssembler

_AHEAD: Final = 512  # chunks
_TURN: Final = 0.005  # seconds; a source that blocks instead of waiting would starve the readers otherwise
_LOOK: Final = 8  # chunks from one look at the clock to the next; each would cost as much as a chunk

_Task: TypeAlias = "asyncio.Task[BaseException | None]"
_running: dict[asyncio.AbstractEventLoop, set[_Task]] = {}  # loops hold their tasks only weakly


class _Given:
    """Lets ``async for`` go through an iterator that somebody else must be able to close."""

    def __init__(self, iterator: AsyncIterator[Any]) -> None:
        self._iterator = iterator

    def __aiter__(self) -> AsyncIterator[Any]:
        return self._iterator


class Outbox:
    """What is filed for one role."""

    __slots__ = ("closed", "items", "made", "waiter")

    def __init__(self) -> None:
        self.items: deque[str | BaseException] = deque()
        self.waiter: asyncio.Future[None] | None = None
        self.made = False  # somebody asked for this role
        self.closed = False


class Puller:
    """Owns the source. Everything runs on the thread of one loop, but for what says otherwise."""

    def __init__(self, source: AsyncIterable[Any], assembler: ToolCallAssembler, logger: logging.Logger) -> None:
        self.outboxes = {"to_user": Outbox(), "function_call": Outbox()}
        self._source = source
        self._assembler = assembler
        self._logger = logger
        self._context = contextvars.copy_context()
        self._loop: asyncio.AbstractEventLoop | None = None  # known from the first read on
        self._task: _Task | None = None
        self._raw: list[object] = []  # chunks that have come and are not read
        self._hungry = 0  # how many readers wait
        self._rest: asyncio.Future[None] | None = None  # what the task waits for while nobody is hungry
        self._pulling = False  # the task is in the source, or rests: it must be cancelled to stop
        self._stopping = False
        self._ended = False
        self._dropped = False
        self._bad_chunk: Exception | None = None
        self._unseen: list[BaseException] = []  # errors that no reader has been given

    # For the readers.

    async def next(self, outbox: Outbox) -> str:
        """See ``RoleGenerator.__anext__``."""
        while not outbox.items:
            if self._raw:
                self._sort()
            elif self._ended or outbox.closed:
                raise StopAsyncIteration
            else:
                await self._wait(outbox)
        item = outbox.items.popleft()
        if isinstance(item, str):
            return item
        self._unseen = [error for error in self._unseen if error is not item]
        try:
            raise item
        finally:
            del item  # its traceback holds this frame: a cycle, and who drops the generators would not be noticed

    async def _wait(self, outbox: Outbox) -> None:
        loop = self._running_loop()
        if outbox.waiter is not None:
            raise RuntimeError("Another task is reading this generator; only one can at a time.")
        outbox.waiter = waiter = loop.create_future()
        self._hungry += 1
        try:
            self._start(loop)
            if self._rest is not None and not self._rest.done():
                self._rest.set_result(None)
            await waiter
        finally:
            outbox.waiter = None
            if waiter.cancelled() or not waiter.done():
                self._hungry -= 1

    async def close(self, outbox: Outbox) -> None:
        """See ``RoleGenerator.aclose``."""
        loop = self._running_loop()
        outbox.closed = True
        outbox.items.clear()
        self._wake(outbox)
        if all(box.closed for box in self.outboxes.values() if box.made) and not self._ended:
            self._stop()
            self._start(loop)  # nobody may have read yet, and the task is also what closes the source
        if self._stopping and self._task is not None and self._task is not asyncio.current_task():
            await asyncio.wait({self._task})  # unlike awaiting it, this leaves it alone when we are cancelled

    def dropped_threadsafe(self) -> None:
        """Nobody can read any more. Runs where the garbage collector does: on any thread, at any moment."""
        if self._loop is None or (self._ended and not self._unseen):
            return
        try:
            self._loop.call_soon_threadsafe(self._drop)
        except RuntimeError:  # the loop has been closed under the task, so nothing can be awaited any more
            _running.pop(self._loop, None)

    def _running_loop(self) -> asyncio.AbstractEventLoop:
        loop = asyncio.get_running_loop()
        if self._loop not in (None, loop):
            raise RuntimeError("This stream is being read in another event loop.")
        return loop

    # The task.

    def _start(self, loop: asyncio.AbstractEventLoop) -> None:
        if self._loop is None:
            self._loop = loop
            self._task = task = loop.create_task(self._pull(), name="agere-dispatcher", context=self._context)
            # A loop that is closed without cancelling its tasks leaves this one pending, by no fault of the
            # reader's, who would be told of it by asyncio. gather() does the same for its tasks.
            task._log_destroy_pending = False  # type: ignore[attr-defined]
            for other in tuple(_running):
                if other.is_closed():
                    _running.pop(other, None)
            _running.setdefault(loop, set()).add(task)
            task.add_done_callback(self._end)

    def _stop(self) -> None:
        if not self._stopping:
            self._stopping = True
            # A task that has not begun, or that calls this itself, sees the flag; cancelling it would spoil
            # its cleaning up.
            task = self._task
            if self._pulling and task is not None and task is not asyncio.current_task(self._loop):
                task.cancel()

    def _drop(self) -> None:
        self._dropped = True
        if self._ended:
            self._log_unseen()
        else:
            self._stop()

    async def _pull(self) -> BaseException | None:
        """Pull until the end, then close the source.

        Returns:
            What the readers shall be told instead of an ordinary end.
        """
        iterator: AsyncIterator[Any] | None = None
        error: BaseException | None = None
        try:
            if not self._stopping:
                self._pulling = True
                iterator = aiter(self._source)
                await self._pull_chunks(iterator)
        except BaseException as caught:  # whatever it is, it belongs to the readers
            if isinstance(caught, GeneratorExit) and self._loop is not None and self._loop.is_closed():
                raise  # this coroutine itself is thrown away
            error = self._error_for_readers(caught)
        self._pulling = False
        self._sort()
        if self._stopping and error is None and not self._assembler.ended:
            error = self._bad_chunk or RuntimeError(
                "The stream was closed before its end, since all generators made from it had been closed."
            )
        self._assembler.finish(broken=error is not None)
        self._file()
        await self._close_source(iterator)
        return error

    async def _pull_chunks(self, iterator: AsyncIterator[Any]) -> None:
        assert self._loop is not None  # noqa: S101 - for the type checker
        raw = self._raw
        turn_ends = monotonic() + _TURN
        look = 1
        # A stream of ours tells when it is about to wait: it saves a turn of the loop for each chunk that comes alone.
        about_to_wait = iterator.about_to_wait if isinstance(iterator, StreamIterator) else None
        async for chunk in _Given(iterator):
            if not raw:
                look = 1
                if about_to_wait is None:
                    self._loop.call_soon(self._sort)  # runs when the source makes this task wait
            raw.append(chunk)
            if about_to_wait is not None and about_to_wait():
                self._sort()
                if self._stopping:
                    return
            if len(raw) < look:
                continue
            look += _LOOK
            if self._hungry and look <= _AHEAD and monotonic() < turn_ends:
                continue
            self._sort()
            if self._stopping:
                return
            if self._hungry:
                await asyncio.sleep(0)  # this reader waits on, but the other may have been given something
            while not self._hungry:
                self._rest = self._loop.create_future()
                await self._rest
            turn_ends = monotonic() + _TURN

    def _error_for_readers(self, caught: BaseException) -> BaseException | None:
        if not isinstance(caught, asyncio.CancelledError):
            if not self._stopping:
                self._unseen.append(caught)
                return caught
            self._logger.error("The source of a dispatcher failed when it was cancelled.", exc_info=caught)
        elif not self._stopping:
            task = asyncio.current_task()
            if task is not None and task.cancelling():
                return RuntimeError("The task that reads the stream was cancelled (event loop shut down?).")
            return caught  # the source's own
        return None

    async def _close_source(self, iterator: AsyncIterator[Any] | None) -> None:
        for thing in (iterator,) if iterator is self._source else (iterator, self._source):
            close = getattr(thing, "aclose", None) or getattr(thing, "close", None)
            if callable(close):
                try:
                    closing = close()
                    if inspect.isawaitable(closing):
                        await closing
                except (Exception, asyncio.CancelledError):
                    self._logger.exception("The source of a dispatcher could not be closed.")

    def _end(self, task: _Task) -> None:
        # When the task is done, rather than at its end, so that who has read everything finds no task left.
        tasks = _running[task.get_loop()]
        tasks.discard(task)
        if not tasks:
            del _running[task.get_loop()]
        if task.cancelled():  # before it began
            error: BaseException | None = RuntimeError("The stream was cancelled before it was read.")
        else:
            error = task.exception() or task.result()
        self._ended = True
        for outbox in self.outboxes.values():
            if error is not None and not outbox.closed:
                outbox.items.append(error)
            self._wake(outbox)
        if self._dropped:
            self._log_unseen()

    # Filing.

    def _sort(self) -> None:
        """Read the chunks that have come, and file what they give."""
        if not self._raw:
            return
        try:
            self._assembler.feed(self._raw)
        except Exception as error:  # noqa: BLE001 - a chunk whose very attributes raise
            self._bad_chunk = error
            self._unseen.append(error)
        self._raw.clear()
        self._file()
        if self._assembler.ended or self._bad_chunk is not None:
            self._stop()

    def _file(self) -> None:
        texts, calls = self._assembler.texts, self._assembler.calls
        if texts:
            self._put(self.outboxes["to_user"], "".join(texts))
            texts.clear()
        for call in calls:
            self._put(self.outboxes["function_call"], call)
        calls.clear()

    def _put(self, outbox: Outbox, item: str | BaseException) -> None:
        if not outbox.closed:
            outbox.items.append(item)
            if isinstance(item, BaseException):
                self._unseen.append(item)
            self._wake(outbox)

    def _wake(self, outbox: Outbox) -> None:
        if outbox.waiter is not None and not outbox.waiter.done():
            outbox.waiter.set_result(None)
            self._hungry -= 1

    def _log_unseen(self) -> None:
        for error in self._unseen:
            self._logger.error("An error in a stream reached no reader: %s", error, exc_info=error)
        self._unseen.clear()
