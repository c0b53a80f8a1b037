"""The two ways to read a source: a thread for what blocks, a task for what awaits.

Each reader is the only one that steps its source, from the first chunk to ``close()``. Stepping an
asynchronous source from the consumer's own task would end it at the first cancelled read (a cancelled async
generator is finished), and stepping it from several tasks breaks the cancel scopes of anyio.
"""

from __future__ import annotations

import asyncio
import contextlib
import functools
import inspect
import threading
from collections.abc import AsyncIterable, Callable, Iterable, Iterator
from typing import TYPE_CHECKING, Any, Protocol, cast

from agere.commander.affinity import here
from agere.commander.body import argument_check
from agere.commander.workers import spawn
from agere.errors import WorkerLimitError
from agere.utils.closing import SourceCloser, responses_behind, shut_socket
from agere.utils.waking import Waker, reset_after_fork

if TYPE_CHECKING:
    from agere.utils.stream import Stream

_HINT = (
    "pass what the client returns for stream=True (an iterable or an async iterable), or a function without "
    "arguments that requests it: lambda: client.chat.completions.create(..., stream=True)"
)


class Reader(Protocol):
    """What a stream asks of the one that reads its source."""

    on_thread: bool
    """Whether it reads on a thread of its own, for which waking the loop is costly."""

    def start(self) -> None:
        """Consumer's loop thread. Begin to read; WorkerLimitError if there is no thread for it."""

    def stop(self) -> None:
        """Any thread, never blocks. The stream has closed: leave the source and close it."""

    def make_room(self) -> None:
        """Consumer's loop thread. The buffer has room again."""

    async def wait_stopped(self) -> None:
        """Consumer's loop thread. Wait until a stopped source is closed, where that cannot take for ever."""


def reader_for(stream: Stream, source: object) -> Reader:
    """Any thread. The reader that fits ``source``.

    Raises:
        TypeError: ``source`` is neither an iterable, nor an async iterable, nor a function without arguments.
    """
    if isinstance(source, AsyncIterable):
        return TaskReader(stream, source)
    refuse_whole_answer(source)
    if isinstance(source, Iterable):
        return ThreadReader(stream, source=source)
    if callable(source):
        try:
            argument_check(source, None)()
        except TypeError as error:
            raise TypeError(f"{source!r} needs arguments ({error}); {_HINT}") from None
        called = source if inspect.isroutine(source) else getattr(source, "__call__", source)  # noqa: B004
        if inspect.iscoroutinefunction(source) or inspect.iscoroutinefunction(called):
            return TaskReader(stream, source)
        return ThreadReader(stream, opener=source)
    if inspect.isawaitable(source):
        raise TypeError(f"{type(source).__name__} must be awaited first, or its function passed; {_HINT}")
    raise TypeError(f"{type(source).__name__} cannot be streamed; {_HINT}")


def reader_for_opened(stream: Stream, source: object) -> Reader:
    """Any thread. The reader for what a function returned: also an awaitable, but no further function."""
    if inspect.isawaitable(source) or isinstance(source, AsyncIterable):
        return TaskReader(stream, source)
    check_opened(source)
    return reader_for(stream, source)


def check_opened(source: object) -> None:
    """Any thread. Raise TypeError if a function returned what cannot be iterated."""
    if not isinstance(source, Iterable):
        raise TypeError(f"the function to be streamed returned {type(source).__name__}; {_HINT}")
    refuse_whole_answer(source)


def refuse_whole_answer(source: object) -> None:
    """Any thread. Raise TypeError for a pydantic model.

    It iterates over its fields: a whole answer would silently pass for a stream of pairs.
    """
    if callable(getattr(type(source), "model_dump", None)) and not hasattr(type(source), "__next__"):
        raise TypeError(
            f"{type(source).__name__} is a whole answer, not a stream: make the request with stream=True; " + _HINT
        )


def plain_error(error: BaseException | None, what: str) -> BaseException | None:
    """Any thread. ``error``, or what can be raised in its place where it would be taken for a normal end."""
    if isinstance(error, (StopIteration, StopAsyncIteration)):
        wrapped = RuntimeError(f"{what} raised {type(error).__name__}")
        wrapped.__cause__ = error
        return wrapped
    return error


class ThreadReader:
    """Reads a blocking source on a worker thread of its own.

    Args:
        stream: where the chunks go.
        source: the iterable, or
        opener: a function that returns it, or an awaitable or asynchronous one, which then goes on on the
        loop.
    """

    on_thread = True

    __slots__ = ("_closer", "_iterator", "_opener", "_source", "_started", "_stream", "_stuck", "left", "thread")

    def __init__(
        self, stream: Stream, source: Iterable[Any] | None = None, opener: Callable[[], Any] | None = None
    ) -> None:
        self._stream = stream
        self._source: Any = source
        self._opener = opener
        self._closer = SourceCloser(stream.logger)
        if source is not None:
            self._closer.hold(source)
        self._iterator: Iterator[Any] | None = None
        self._started = False
        self._stuck = False
        self.left = False
        self.thread = 0

    def start(self) -> None:
        """Consumer's loop thread. Begin to read; WorkerLimitError if there is no thread for it."""
        self._started = True
        try:
            spawn(self._run)
        except WorkerLimitError:
            self.left = True
            self._dispose()
            raise

    def make_room(self) -> None:
        """Consumer's loop thread. The buffer has room again."""
        self._stream.release_room()

    async def wait_stopped(self) -> None:
        """Consumer's loop thread. Does not wait: a blocked thread leaves when its source lets it."""

    def stop(self) -> None:
        """Any thread, never blocks. The stream has closed: leave the source and close it."""
        self._stream.release_room()
        if not self._started:
            self._dispose()
        elif self.left or self._stream.full or shut_socket(self._source):
            return  # the reader sees the closed flag for itself, or wakes to see it
        else:
            if not self._closer.refuses:
                self._aside(last=False)
            self._stuck = True
            _waker.wake(self)

    def _dispose(self) -> None:
        """Any thread. Close a source that no thread reads."""
        shut_socket(self._source)
        if self._closer.unstarted:
            self._closer.close(last=True)
        else:
            self._aside(last=True)

    def _aside(self, last: bool) -> None:
        """Any thread. Call ``close()``, which may block, where it holds up nobody."""
        context = self._stream.context.copy()
        try:
            spawn(context.run, self._closer.close, last)
        except WorkerLimitError:  # closing must not depend on the very threads that it frees
            close = functools.partial(context.run, self._closer.close, last)
            try:
                threading.Thread(target=close, name="agere-stream-close", daemon=True).start()
            except RuntimeError:
                self._stream.logger.warning("no thread to close %r with: it is dropped unclosed", self._source)

    def _run(self) -> None:
        """Reader thread."""
        here.node, before = self._stream.node, here.node
        try:
            self._stream.context.run(self._read)
        finally:
            here.node = before

    def _read(self) -> None:
        """Reader thread. The waker knows a reader's thread by a frame of this method."""
        stream = self._stream
        self.thread = threading.get_ident()
        error: BaseException | None = None
        passed_on = False
        try:
            if not stream.closed:
                passed_on = self._open()
            if not (passed_on or stream.closed):
                self._iterate()
        except BaseException as raised:  # noqa: BLE001 - it is the consumer's
            error = plain_error(raised, "the stream's source")
        try:
            if stream.closed:
                for response in responses_behind(self._iterator):
                    self._closer.hold_last(response)
            self._iterator = None
            self._closer.close(last=True)
        finally:
            self.left = True
            if self._stuck:
                _waker.recheck()
            if not passed_on:
                stream.end(error)
            del error  # its traceback holds this frame

    def _open(self) -> bool:
        """Reader thread. Make the request, if that is left to us; True if the answer is for the loop."""
        if self._opener is None:
            return False
        source = self._opener()
        self._opener = None
        if inspect.isawaitable(source) or isinstance(source, AsyncIterable):
            self._stream.pass_on(source)
            return True
        self._source = source
        self._closer.hold(source)
        check_opened(source)
        return False

    def _iterate(self) -> None:
        """Reader thread. Hand over chunk by chunk until the source ends or the stream is closed."""
        stream = self._stream
        iterator = self._iterator = iter(self._source)
        if iterator is not self._source:
            self._closer.hold(iterator)
        buffer = stream.buffer
        append = buffer.append
        bound = stream.bound
        for chunk in iterator:
            append(chunk)
            if stream.alert and not stream.attend():  # after the append: the consumer parks, then looks again
                return
            if len(buffer) >= bound and not stream.wait_for_room():
                return


class TaskReader:
    """Reads an asynchronous source in a task of its own on the consumer's loop.

    Args:
        stream: where the chunks go.
        source: an async iterable, an awaitable that gives one, or an ``async def`` function that returns one.
    """

    on_thread = False

    __slots__ = ("_closing", "_room", "_running", "_source", "_stopping", "_stream", "_task")

    def __init__(self, stream: Stream, source: object) -> None:
        self._stream = stream
        self._source: Any = source
        self._task: asyncio.Task[None] | None = None
        self._room: asyncio.Future[None] | None = None
        self._running = False
        self._closing = False
        self._stopping = False

    def start(self) -> None:
        """Consumer's loop thread. Begin to read."""
        stream = self._stream
        here.node, before = stream.node, here.node  # the loop of a commander tells its tasks for whom they work
        try:
            task = stream.consumer_loop.create_task(self._read(), name="agere-stream", context=stream.context.copy())
        finally:
            here.node = before
        self._task = task
        task.add_done_callback(self._ended)

    def make_room(self) -> None:
        """Consumer's loop thread. The buffer has room again."""
        if self._room is not None and not self._room.done():
            self._room.set_result(None)

    async def wait_stopped(self) -> None:
        """Consumer's loop thread. Wait until the source is closed; it has been cancelled."""
        self._cancel()  # now, since ``stop`` only asked the loop for it
        if self._task is not None and self._task is not asyncio.current_task():
            await asyncio.wait({self._task})

    def stop(self) -> None:
        """Any thread, never blocks. The stream has closed: leave the source and close it."""
        loop = self._stream.loop or self._stream.home
        if loop is None:
            return  # never read, and made outside of any loop: there is none to close it on
        with contextlib.suppress(RuntimeError):  # the loop has closed: it has finished its async generators
            loop.call_soon_threadsafe(self._cancel)

    def _cancel(self) -> None:
        """Consumer's loop thread. End the task, but let a close under way finish."""
        if self._stopping:
            return
        self._stopping = True
        if self._task is None:
            self.start()  # never read: the task finds the stream closed, and closes the source
        elif self._running and not self._closing:  # cancelled before its first step it would close nothing
            self._task.cancel()

    def _ended(self, task: asyncio.Task[None]) -> None:
        """Consumer's loop thread. End the stream if the task never took a step, or failed in its last."""
        if task.cancelled():
            self._stream.end(asyncio.CancelledError())
        elif (error := task.exception()) is not None:
            self._stream.end(error)

    async def _read(self) -> None:
        # An eager task takes its first step before ``start`` knows it.
        task = self._task = cast("asyncio.Task[None]", asyncio.current_task())
        self._running = True
        stream = self._stream
        error: BaseException | None = None
        passed_on = False
        try:
            passed_on = await self._open_and_hand_over()
        except BaseException as raised:  # noqa: BLE001 - it is the consumer's
            error = plain_error(raised, "the stream's source")
        self._closing = True
        if self._stopping and task.cancelling():
            task.uncancel()  # that was our own way to stop: closing is not cancelled
        try:
            await _aclose(self._source)
        except Exception:
            stream.logger.exception("closing the stream's source failed: %s", type(self._source).__qualname__)
        if not passed_on:
            stream.end(error)
        del error  # its traceback holds this frame
        if task.cancelling():
            raise asyncio.CancelledError  # the loop asked for it, not the stream

    async def _open_and_hand_over(self) -> bool:
        """Read the source to its end; True if it goes on in a thread instead."""
        stream = self._stream
        if stream.closed:
            return False
        if not isinstance(self._source, AsyncIterable):
            opening = self._source if inspect.isawaitable(self._source) else self._source()
            self._source = None  # what is being awaited is not ours to close
            opened = await opening
            if not isinstance(opened, AsyncIterable):
                stream.pass_on(opened)
                return True
            self._source = opened
        await self._hand_over(aiter(self._source))
        return False

    async def _hand_over(self, iterator: Any) -> None:
        """The loop that each chunk passes through."""
        stream = self._stream
        buffer = stream.buffer
        async for chunk in iterator:
            buffer.append(chunk)
            if stream.alert and not stream.attend():
                return
            if len(buffer) >= stream.bound:
                await self._wait_for_room()

    async def _wait_for_room(self) -> None:
        stream = self._stream
        while len(stream.buffer) > stream.low and not stream.closed:
            self._room = stream.consumer_loop.create_future()
            stream.full = True
            try:
                await self._room
            finally:
                stream.full = False
                self._room = None


async def _aclose(source: Any) -> None:
    """Close an asynchronous source, however it calls that."""
    close = getattr(source, "aclose", None) or getattr(source, "close", None)
    if callable(close):
        closing = close()
        if inspect.isawaitable(closing):
            await closing


_waker = Waker(ThreadReader._read.__code__)
reset_after_fork(_waker)
