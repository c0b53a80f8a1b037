"""What nodes emit, on its way to whoever iterates over ``future.stream()``, on any thread or loop.

The loop thread alone puts in; one consumer takes out. Once a stream is open, a full channel holds the emitters up.
"""

from __future__ import annotations

import asyncio
import contextlib
import threading
from collections import deque
from collections.abc import Generator
from typing import TYPE_CHECKING, Any, Self

from agere.errors import AgereError

from .affinity import here, refuse_on_loop
from .waiting import block_until, wake_all

if TYPE_CHECKING:
    from .future import JobFuture

BOUND = 1024
"""An open stream holds this many items before ``emit`` waits."""

BACKLOG = 65_536
"""A Future whose stream nobody has opened keeps this many."""

BREATH = 64
"""A body that awaits nothing but its emissions lets others have the loop once in so many: also whoever cancels it."""


class StreamOverflowError(AgereError, RuntimeError):
    """The stream was opened too late: what had been emitted was more than is kept for nobody."""


class Channel:
    """The items of one Future's stream."""

    __slots__ = ("_loop_waiter", "closed", "finished", "items", "opened", "overflowed", "producers", "wakers")

    def __init__(self) -> None:
        self.items: deque[Any] = deque()
        self.opened = False
        self.closed = False
        self.finished = False
        self.overflowed = False
        self.wakers: list[threading.Lock] = []
        self.producers: list[asyncio.Future[None]] = []  # loop only: emitters that wait for room
        self._loop_waiter: tuple[asyncio.AbstractEventLoop, asyncio.Future[None]] | None = None

    def push(self, value: Any) -> None:
        """Loop only. Take an item, and wake the consumer if it waits."""
        if self.closed:
            return
        if not self.opened and len(self.items) >= BACKLOG:
            self.items.clear()
            self.overflowed = True
        if self.overflowed and not self.opened:
            return
        self.items.append(value)
        self._wake_consumer()

    def finish(self) -> None:
        """Loop only. Nothing more will come."""
        self.finished = True
        self._wake_consumer()
        self.let_producers_go()

    def full(self) -> bool:
        """Any thread. Whether emitters have to wait."""
        return self.opened and not self.closed and not self.finished and len(self.items) >= BOUND

    def let_producers_go(self) -> None:
        """Loop only. There is room again."""
        producers, self.producers = self.producers, []
        for producer in producers:
            if not producer.done():
                producer.set_result(None)

    def park(self, loop: asyncio.AbstractEventLoop) -> asyncio.Future[None]:
        """Consumer's loop. A future that the next item resolves; test for items once more after the call."""
        waiter = loop.create_future()
        self._loop_waiter = (loop, waiter)
        return waiter

    def _wake_consumer(self) -> None:
        if self.wakers:
            wake_all(self.wakers)
        parked = self._loop_waiter
        if parked is not None:
            self._loop_waiter = None
            loop, waiter = parked
            with contextlib.suppress(RuntimeError):  # the consumer's loop has closed
                loop.call_soon_threadsafe(_set, waiter)


def _set(waiter: asyncio.Future[None]) -> None:
    if not waiter.done():
        waiter.set_result(None)


class JobStream:
    """Iterates over what a job emits: ``for`` on any thread that may block, ``async for`` on any loop.

    One consumer at a time. ``close()``, leaving its ``with`` block, or dropping it before the end cancels the job.

    Raises:
        RuntimeError: the Future's stream was opened before.
        StreamOverflowError: too much was emitted before it was opened.
    """

    _over = True  # until it is open: a refused one must not cancel the job when it is dropped

    def __init__(self, future: JobFuture[Any]) -> None:
        channel = future._channel
        if channel is None:
            channel = vars(future).setdefault("_channel", Channel())
        if channel.opened:
            raise RuntimeError(f"the stream of {future!r} is open already; it has one consumer")
        if channel.overflowed:
            raise StreamOverflowError(
                f"more than {BACKLOG} items were emitted before stream() was called; call it earlier"
            )
        channel.opened = True
        self._channel: Channel = channel
        self._future = future
        self._over = False
        if future.done():
            channel.finished = True

    def __iter__(self) -> Self:
        return self

    def __next__(self) -> Any:
        channel = self._channel
        while not channel.items:
            if self._finished():
                raise StopIteration
            refuse_on_loop("iterating over a stream", "use `async for` there")
            try:
                self._block()
            except (KeyboardInterrupt, SystemExit):
                self.close()
                raise
        return self._pop()

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> Any:
        from .awaiting import wait_for_item

        channel, future = self._channel, self._future
        while not channel.items:
            if self._finished():
                raise StopAsyncIteration
            try:
                await wait_for_item(future, channel)
            except BaseException:
                del self  # or the traceback would keep a stream that nobody reads any more, and with it the job
                raise
        return self._pop()

    def close(self) -> None:
        """Any thread. Stop listening; cancels the job if it has not completed."""
        self._over = True
        self._channel.closed = True
        self._channel.items.clear()
        if not self._future.done():
            self._future.cancel()
            # A node in its end phase cannot be cancelled; its callbacks must not wait for room for ever.
            self._future._session.call_on_loop(self._channel.let_producers_go)

    async def aclose(self) -> None:
        """Any loop. Like ``close``."""
        self.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        self.close()

    def __del__(self) -> None:
        if not self._over and not self._future.done():
            self._channel.closed = True
            session = self._future._session
            session.close_from_finalizer(self._future.node)
            session.mailbox.report_from_finalizer(self._channel.let_producers_go)

    def _pop(self) -> Any:
        channel = self._channel
        value = channel.items.popleft()
        if channel.producers and len(channel.items) <= BOUND // 2:
            self._future._session.call_on_loop(channel.let_producers_go)
        return value

    def _finished(self) -> bool:
        channel = self._channel
        if self._over:
            return True
        if channel.finished and not channel.items:
            self._over = True
            self._future._take()
            return True
        return False

    def _block(self) -> None:
        channel, future = self._channel, self._future
        node = here.node
        if node is not None and node._session_ is not None:
            from .awaiting import wait_in_worker

            wait_in_worker(node._session_, node, future, None, channel)
            return
        block_until(
            lambda: bool(channel.items) or channel.finished,
            channel.wakers,
            None,
            future._session.pump_for_this_thread(),
            future._look_around,
        )


class Emission:
    """What ``emit`` returns: await it to let a slow consumer hold the emitter up."""

    __slots__ = ("_channels",)

    def __init__(self, channels: list[Channel]) -> None:
        self._channels = channels

    def __await__(self) -> Generator[Any, None, None]:
        here.emitted += 1
        if here.emitted % BREATH == 0:
            yield  # as asyncio.sleep(0)
        for channel in self._channels:
            while channel.full():
                room = asyncio.get_running_loop().create_future()
                channel.producers.append(room)
                if not channel.full():  # the consumer may have made room since, and seen no producer
                    break
                yield from room.__await__()


NOTHING_TO_AWAIT = Emission([])
