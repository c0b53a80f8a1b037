"""A stream: chunks on their way from one reader (a thread or a task) to one asynchronous consumer.

The hand-off takes no lock. The reader appends to a deque and then tests whether the consumer is parked; the
consumer parks and then looks into the deque again: whichever comes second sees the other. So the loop is
woken once per batch, not once per chunk. While chunks come briskly one by one (a client takes an answer apart that has
arrived as a whole) the consumer naps instead of parking, since each wake-up would take the interpreter lock away from
the reader; only the end wakes it then. The bound works the same way in the other direction: the reader
says that it is full and then looks again; the consumer makes room and then tests for that.

Two objects, because of who may hold what: ``Stream`` is shared by reader, node and consumer,
``StreamIterator`` is the consumer's alone. No thread, task or node holds the iterator, so dropping it
closes the stream.
"""

from __future__ import annotations

import asyncio
import contextlib
import contextvars
import logging
import sys
import threading
import weakref
from collections import deque
from collections.abc import AsyncIterator, Coroutine, Sequence
from itertools import repeat
from time import monotonic
from types import TracebackType
from typing import Any, Generic, Self, TypeVar, cast

from agere.commander.affinity import current_node, here
from agere.commander.callback import BoundCallback
from agere.commander.node import TaskNode
from agere.commander.workers import spawn
from agere.errors import WorkerLimitError
from agere.utils.callbacks import run_callbacks
from agere.utils.readers import Reader, reader_for, reader_for_opened

T = TypeVar("T")

_STRETCH = 0.005
"""After so many seconds without a pause the consumer lets the loop run others."""

_BURST = 8
"""If so many chunks wait, they are handed over as a batch ..."""
_BATCH = 256
"""... of at most so many."""

_BRISK_SECONDS = 0.0004
"""Where chunks of a reader's thread come faster than this, the loop is not woken for each of them ..."""
_NAP_SECONDS = 0.003
"""... but looks after so long by itself. (No less: the timeouts of ``epoll`` are whole milliseconds.)"""

_popleft = deque.popleft
_running_loop = asyncio.get_running_loop
_tasks: set[asyncio.Task[None]] = set()  # a loop holds its tasks weakly; callbacks that were begun must end


class Received(list[T]):
    """The chunks received so far; a list that can be referenced weakly."""

    __slots__ = ("__weakref__",)


class _End:
    """What stands behind the last chunk. A type of its own: every value, None too, is data."""

    __slots__ = ("error",)

    def __init__(self, error: BaseException | None) -> None:
        self.error = error


class _NoReader:
    """In the place of the reader of a stream that is over."""

    on_thread = False

    def start(self) -> None: ...

    def stop(self) -> None: ...

    def make_room(self) -> None: ...

    async def wait_stopped(self) -> None: ...


_NO_READER = _NoReader()


class Stream:
    """What reader, consumer and node share of one stream. Made by ``LLMAsyncAdapter``.

    Any thread may make and close it. The node that makes it closes it when it completes.

    Args:
        source: what ``readers.reader_for`` takes.
        max_buffered: how many chunks may wait for the consumer before the reader waits.
        at_start: run before the first chunk (or the end, if there is none) is handed out.
        at_end: run once, at the end, at an error, or at closing.
        logger: told of callbacks and of ``close()`` that fail.
    """

    __slots__ = (
        "__weakref__",
        "_at_end",
        "_at_start",
        "_begun",
        "_brisk",
        "_error",
        "_napping",
        "_open",
        "_over",
        "_reader",
        "_reading",
        "_rest_at",
        "_room",
        "_settling",
        "_started",
        "_waiter",
        "alert",
        "batch",
        "bound",
        "buffer",
        "closed",
        "context",
        "full",
        "home",
        "logger",
        "loop",
        "low",
        "node",
        "ready",
    )

    def __init__(
        self,
        source: object,
        *,
        max_buffered: int,
        at_start: Sequence[BoundCallback],
        at_end: Sequence[BoundCallback],
        logger: logging.Logger,
    ) -> None:
        self.buffer: deque[Any] = deque()
        self.batch = min(_BATCH, max_buffered // 4)
        self.bound = max_buffered - self.batch  # a batch that was taken over still waits for the consumer
        self.low = self.bound // 8  # where the reader goes on: each stop costs two changes of threads
        self.logger = logger
        self.context = contextvars.copy_context()
        self.node: Any = current_node()
        self.closed = False
        """Whether nothing more will be handed out."""
        self.alert = False
        """Whoever appends must ``attend``: the consumer sleeps, or the stream has been closed. One flag for
        both, since the reader looks at it after every chunk."""
        self.full = False
        """The reader sleeps, or is about to: whoever makes room has to wake it."""
        self.loop: asyncio.AbstractEventLoop | None = None
        """The consumer's loop, from its first read on."""
        self.home: asyncio.AbstractEventLoop | None = None
        """The loop on which the stream was made, if any: where callbacks run if nobody ever reads."""
        self.ready: deque[Any] = deque()
        """Chunks of a burst, taken out of the buffer for the consumer: it gets them without any check."""
        self._rest_at = 0.0
        self._at_start = at_start
        self._at_end = [at_end] if at_end else []  # popped by the one that runs them
        self._open = [True]  # popped by the one that ends the stream: atomic, also in a signal handler
        self._room = threading.Lock()  # as a flag to sleep on: held while there is no room
        self._room.acquire()
        self._waiter: asyncio.Future[None] | None = None
        self._brisk = False
        self._napping = False
        self._reading = False
        self._started = False
        self._begun = False
        self._settling: asyncio.Task[None] | None = None
        self._over = False
        self._error: BaseException | None = None
        with contextlib.suppress(RuntimeError):
            self.home = _running_loop()
        self._reader: Reader = reader_for(self, source)
        if self.node is not None:
            TaskNode.attach_stream(self.node, self)

    # Reader's side

    @property
    def consumer_loop(self) -> asyncio.AbstractEventLoop:
        """Any thread. The loop that the stream works on; known once it is read."""
        return cast("asyncio.AbstractEventLoop", self.loop or self.home)

    def attend(self) -> bool:
        """Reader. Wake the parked consumer; False if the stream has been closed."""
        if self.closed:
            return False
        self._calm()
        try:
            self.consumer_loop.call_soon_threadsafe(self._wake)
        except RuntimeError:  # its loop has closed: nobody will ever read
            self.close()
            return False
        return True

    def _calm(self) -> None:
        self.alert = False
        if self.closed:  # a closing thread sets ``closed`` first: one of the two sees the other
            self.alert = True

    def wait_for_room(self) -> bool:
        """Reader thread. Sleep until the consumer has caught up; False if the stream has been closed."""
        while not self.closed:
            self.full = True
            if len(self.buffer) <= self.low:
                self.full = False
                return not self.closed
            if self._napping:
                self.attend()
            self._room.acquire()
        return False

    def end(self, error: BaseException | None) -> None:
        """Reader. No more chunks will come; idempotent."""
        if self.closed:
            self.buffer.clear()  # a chunk may have come in while the stream was being closed
            return
        if self.buffer and isinstance(self.buffer[-1], _End):
            return
        self.buffer.append(_End(error))
        if self.alert or self._napping:
            self.attend()

    def pass_on(self, source: object) -> None:
        """Reader. What was opened is for another kind of reader: it goes on from the loop."""
        try:
            self.consumer_loop.call_soon_threadsafe(self._adopt, source)
        except RuntimeError:
            self.close()

    def _adopt(self, source: object) -> None:
        """Consumer's loop thread."""
        try:
            reader = self._reader = reader_for_opened(self, source)
            if not self.closed:
                reader.start()
            if self.closed:  # maybe meanwhile, by another thread, which knew the first reader only
                reader.stop()
        except (TypeError, WorkerLimitError) as error:
            self.end(error)

    # Closing

    def close(self) -> None:
        """Any thread, never blocks. Close the stream and its source; idempotent."""
        if self._shut():
            self._run_end_somewhere()

    def _shut(self) -> bool:
        """Any thread. All of closing but the callbacks; whether the stream was open."""
        try:
            self._open.pop()
        except IndexError:
            return False
        self.closed = True
        self.alert = True
        self.buffer.clear()
        self.ready.clear()
        if self._waiter is not None:
            with contextlib.suppress(RuntimeError):
                self.consumer_loop.call_soon_threadsafe(self._wake)
        self._let_reader_go().stop()
        if self.node is not None:
            TaskNode.detach_stream(self.node, self)
        return True

    def _let_reader_go(self) -> Reader:
        """Any thread. Stream and reader must not hold each other for longer than until the end."""
        reader, self._reader = self._reader, _NO_READER
        return reader

    async def aclose(self) -> None:
        """Consumer's loop. Close; wait for the callbacks and for an async source (elsewhere: only close)."""
        if _running_loop() is not (self.loop or self.home):
            self.close()
            return
        reader = self._reader
        self._shut()
        self._begin_end()
        if asyncio.current_task() not in _tasks:  # a callback would wait for itself
            await self._settled()
        await reader.wait_stopped()

    def dropped(self) -> None:
        """Any thread, also within the garbage collector. The iterator is gone: nobody can read any more."""
        if not self._open:
            return
        # Closing takes locks (logging's, the source's own), and this may run inside any of them.
        if not sys.is_finalizing():  # else no thread would ever start, and starting one would wait for it
            with contextlib.suppress(RuntimeError):
                threading.Thread(target=self._close_dropped, name="agere-stream-drop", daemon=True).start()
                return
        self.closed = self.alert = True
        self.release_room()

    def _close_dropped(self) -> None:
        try:
            self.close()
        except BaseException:
            self.logger.exception("closing a dropped stream failed")

    def release_room(self) -> None:
        """Any thread. Wake the reader if it waits for room."""
        with contextlib.suppress(RuntimeError):  # it has been released already
            self._room.release()

    # Callbacks

    def _run_end_somewhere(self) -> None:
        """Any thread. Have the end callbacks run: on the loop, or on a thread if there is no loop."""
        if not self._at_end:
            return
        loop = self.loop or self.home
        if loop is not None and loop.is_running():
            try:
                loop.call_soon_threadsafe(self._begin_end)
            except RuntimeError:
                pass
            else:
                return
        try:
            spawn(self._run_end_here)
        except WorkerLimitError:
            self._run_end_here()

    def _begin_end(self) -> None:
        """Consumer's loop thread. Run the end callbacks, once; from the first async one on in a task."""
        try:
            callbacks = self._at_end.pop()
        except IndexError:
            return
        starting = self._settling
        if starting is not None and not starting.done() and callbacks:
            after = self._end_after(starting, callbacks)
            self._settling = self._task(after, self.context.copy())
        else:
            self._settling = self._begin(callbacks, "at_receiving_end")

    async def _end_after(self, starting: asyncio.Task[None], callbacks: Sequence[BoundCallback]) -> None:
        await asyncio.wait({starting})
        await self._run_all(callbacks)

    async def _run_all(self, callbacks: Sequence[BoundCallback]) -> None:
        rest = run_callbacks(callbacks, self.node, "at_receiving_end", self.logger)
        if rest is not None:
            await rest

    def _run_end_here(self) -> None:
        """A thread without a loop."""
        try:
            callbacks = self._at_end.pop()
        except IndexError:
            return
        context = self.context.copy()
        if any(callback.on_host for callback in callbacks):
            context.run(asyncio.run, self._run_all(callbacks))
            return
        rest = context.run(run_callbacks, callbacks, self.node, "at_receiving_end", self.logger)
        if rest is not None:
            context.run(asyncio.run, rest)

    def _begin(self, callbacks: Sequence[BoundCallback], phase: str) -> asyncio.Task[None] | None:
        if not callbacks:
            return None
        context = self.context.copy()
        rest: Coroutine[Any, Any, None] | None = context.run(run_callbacks, callbacks, self.node, phase, self.logger)
        if rest is None:
            return None
        return self._task(rest, context)

    def _task(self, coroutine: Coroutine[Any, Any, None], context: contextvars.Context) -> asyncio.Task[None]:
        here.node, before = self.node, here.node  # the loop of a commander tells its tasks for whom they work
        try:
            task = self.consumer_loop.create_task(coroutine, context=context)
        finally:
            here.node = before
        _tasks.add(task)
        task.add_done_callback(_tasks.discard)
        return task

    async def _settled(self) -> None:
        """Wait for callbacks under way. A cancelled reader does not take them along."""
        while (task := self._settling) is not None:
            try:
                await asyncio.shield(task)
            finally:
                if self._settling is task and task.done():
                    self._settling = None

    # Consumer's side

    def _wake(self) -> None:
        waiter = self._waiter
        if waiter is not None and not waiter.done():
            waiter.set_result(None)

    def _bind(self) -> None:
        loop = _running_loop()
        if self.loop is None:
            self.loop = loop
        elif self.loop is not loop:
            closed = ", which has closed" if self.loop.is_closed() else ""
            raise RuntimeError(
                f"this stream is read on another event loop{closed}: a stream belongs to the loop of its "
                "first read, so make the request again on this one"
            )
        if self._reading:
            raise RuntimeError("this stream is being read by another task: a stream has one reader")

    async def read_slowly(self) -> Any:
        """Consumer's loop. The next chunk, with all that the iterator's short cut leaves out.

        A cancelled call takes no chunk.
        """
        self._bind()
        self._reading = True
        try:
            while True:
                if self._over or self.closed:
                    await self._finish()
                if not self._started:
                    self._start()
                if not self.buffer:
                    await self._park()
                elif not self._begun:
                    self._begun = True
                    self._settling = self._begin(self._at_start, "at_receiving_start")
                elif self._settling is not None:
                    await self._settled()
                elif monotonic() > self._rest_at:
                    await self._rest()
                else:
                    try:
                        chunk = self.buffer.popleft()
                    except IndexError:  # closed in this moment
                        continue
                    if chunk.__class__ is _End:
                        self._meet(chunk)
                        continue
                    if len(self.buffer) >= _BURST:
                        self._take_burst()
                    if self.full and len(self.buffer) <= self.low:
                        self._make_room()
                    return chunk
        finally:
            self._reading = False

    def _take_burst(self) -> None:
        """Take what is there, so that the consumer gets it without the checks of ``read_slowly``."""
        buffer = self.buffer
        count = min(len(buffer) - 1, self.batch)  # without the last: it may be the end
        with contextlib.suppress(IndexError):  # closed in this moment
            self.ready.extend(map(_popleft, repeat(buffer, count)))
        if self.closed:  # by another thread, which may have cleared ``ready`` too early
            self.ready.clear()

    def _meet(self, end: _End) -> None:
        """Consumer's loop thread. The end has come out of the buffer."""
        try:
            self._open.pop()
        except IndexError:
            return  # closed in this moment: that comes first
        self._error = end.error
        end.error = None
        self._over = True
        self.closed = True
        self._let_reader_go()
        if self.node is not None:
            TaskNode.detach_stream(self.node, self)
        self._begin_end()

    def _start(self) -> None:
        self._started = True
        reader = self._reader
        try:
            reader.start()
        except WorkerLimitError as error:
            self.end(error)
        if self.closed:  # by another thread, which took the reader for one that never started
            reader.stop()

    def _make_room(self) -> None:
        self.full = False
        self._reader.make_room()

    async def _rest(self) -> None:
        """Let the loop run others: with a fast reader a consumer would otherwise never suspend."""
        await asyncio.sleep(0)
        self._rest_at = monotonic() + _STRETCH

    async def _park(self) -> None:
        if self.full:
            self._make_room()
        loop = _running_loop()
        self._waiter = loop.create_future()
        nap = None
        if self._brisk:
            self._napping = True
            nap = loop.call_later(_NAP_SECONDS, self._wake)
        else:
            self.alert = True
        begun = monotonic()
        try:
            if not self.buffer and not self.closed:  # after parking: the reader appends first and then looks
                await self._waiter
        finally:
            if nap is None:
                self._calm()
            else:
                nap.cancel()
                self._napping = False
            self._waiter = None
            now = monotonic()
            self._brisk = self._reader.on_thread and now - begun < _BRISK_SECONDS * (len(self.buffer) or 1)
            self._rest_at = now + _STRETCH

    async def _finish(self) -> None:
        """Raise what stands at the end."""
        await self._settled()
        error, self._error = self._error, None
        if error is None:
            raise StopAsyncIteration
        try:
            raise error
        finally:
            del error  # or its traceback and this frame would hold each other


class StreamIterator(AsyncIterator[T], Generic[T]):
    """The chunks of one stream: an async iterator, closed by ``aclose``, by ``close``, or by being dropped.

    Works in any asyncio program; one task reads it, on one loop. A cancelled read takes no chunk. Leaving
    ``async with``, dropping the last reference (a ``break`` out of ``async for`` does, if no name holds the
    iterator) and the completion of the node that made it close the stream: the source's thread is woken, the
    source closed, and what was buffered is discarded; reading on then simply ends.
    """

    __slots__ = ("__weakref__", "_kept", "_received", "_stream", "_take")

    def __init__(self, stream: Stream, received: Received[T]) -> None:
        self._stream = stream
        self._take = stream.ready.popleft
        # Weakly: where nobody holds the adapter, nobody can ask it, and memory does not grow with the stream.
        self._received = weakref.ref(received)
        self._kept: Received[T] | None = None

    @property
    def closed(self) -> bool:
        """Any thread. Whether the stream has ended, failed, or been closed."""
        return self._stream.closed

    def about_to_wait(self) -> bool:
        """Consumer's loop. Whether no chunk is here at this moment."""
        stream = self._stream
        return not stream.ready and not stream.buffer

    def close(self) -> None:
        """Any thread, never blocks. Close the stream; idempotent. A read that waits ends."""
        self._stream.close()

    async def aclose(self) -> None:
        """Consumer's loop. Close the stream and wait until ``at_receiving_end`` has run."""
        await self._stream.aclose()

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> T:
        try:
            chunk = self._take()
        except IndexError:
            self._kept = None
            chunk = await self._stream.read_slowly()
            self._kept = self._received()
        if self._kept is not None:
            self._kept.append(chunk)
        return chunk  # type: ignore[no-any-return]

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        await self.aclose()

    def __del__(self) -> None:
        stream: Stream | None = getattr(self, "_stream", None)
        if stream is not None:
            stream.dropped()

    def __repr__(self) -> str:
        state = "closed" if self.closed else "open"
        return f"<StreamIterator {state}, {len(self._stream.buffer)} chunks waiting>"
