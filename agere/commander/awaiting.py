"""The waits that users write: ``await future`` on any loop, ``await handler`` in a body, ``result()`` in a worker.

All of them suspend on a plain future of the loop at hand, never on another task: ``Task.cancel`` follows chains of
tasks recursively, and a deep tree would overflow the stack.
"""

from __future__ import annotations

import asyncio
import contextlib
import contextvars
import threading
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, TypeVar

from agere.errors import NodeTerminatedError

from . import tree
from .affinity import current_node, here
from .state import State
from .waiting import Pump, block_until, wake_all

if TYPE_CHECKING:
    from .emission import Channel
    from .future import JobFuture
    from .handler import HandlerCoroutine
    from .node import TaskNode
    from .session import Session
    from .waits import Wait

T = TypeVar("T")

TICK_SECONDS = 0.1
"""On a loop that is not ours: a notebook's idle loop is not woken by an interrupt, so the wait looks up itself."""

AHEAD = 256
"""A thread that emits is ahead of the loop by fewer items than this: else it would fill memory before a full stream,
which it sees only when the loop has put its items there, could hold it up."""


def _set(waiter: asyncio.Future[None]) -> None:
    if not waiter.done():
        waiter.set_result(None)


def _wake_here(loop: asyncio.AbstractEventLoop, waiter: asyncio.Future[None]) -> None:
    """Any thread. Resolve a future of ``loop``."""
    with contextlib.suppress(RuntimeError):  # that loop has closed: nobody waits there any more
        loop.call_soon_threadsafe(_set, waiter)


class LoopWaker:
    """A waker for an ``await``: wakes a task of a loop that is not ours. Releases come together as one."""

    __slots__ = ("_loop", "_posted", "_woken")

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = loop
        self._posted = False
        self._woken: asyncio.Future[None] = loop.create_future()

    def release(self) -> None:
        """Any thread."""
        if not self._posted:
            self._posted = True
            with contextlib.suppress(RuntimeError):  # that loop has closed: nobody waits there any more
                self._loop.call_soon_threadsafe(self._wake)

    def next(self) -> asyncio.Future[None]:
        """Its loop. What the next release resolves."""
        if self._woken.done():
            self._woken = self._loop.create_future()
        return self._woken

    def _wake(self) -> None:
        self._posted = False
        _set(self._woken)


async def _wait_in_ticks(woken: asyncio.Future[None], pump: Pump | None, look: Callable[[], None] | None) -> None:
    """Any loop but a session's. Return when ``woken`` is done, serving the host meanwhile where it wants that.

    ``look`` is called at each tick, and may raise.
    """
    if pump is None:
        while not woken.done():
            await asyncio.wait((woken,), timeout=TICK_SECONDS)
            if look is not None:
                look()
        return
    waker = LoopWaker(asyncio.get_running_loop())
    pump.enter(waker)
    try:
        while not woken.done():
            released = waker.next()  # before the work: what comes meanwhile counts
            pump.work()
            await asyncio.wait((woken, released), timeout=TICK_SECONDS, return_when=asyncio.FIRST_COMPLETED)
            if look is not None:
                look()
        pump.catch_up()
    finally:
        pump.leave(waker)


async def wait_on_any_loop(future: JobFuture[Any]) -> None:
    """Any loop. Return when the future is done. Being cancelled cancels the job."""
    session = here.session if here.on_loop else None
    try:
        if session is not None:

            def subscribe(there: Callable[[], None]) -> None:
                if future._session is session:
                    future._call_when_done(lambda _: there(), session.base_context)
                else:
                    future._call_when_done(lambda _: session.call_on_loop(there), contextvars.Context())

            await _wait_as_node(session, future.node, subscribe)
            return
        loop = asyncio.get_running_loop()
        woken: asyncio.Future[None] = loop.create_future()
        future._call_when_done(lambda _: _wake_here(loop, woken), contextvars.Context())
        await _wait_in_ticks(woken, future._session.pump_for_this_loop(), future._session.refuse_in_fork)
    except (asyncio.CancelledError, KeyboardInterrupt):
        future.cancel()
        raise


async def wait_for_item(future: JobFuture[Any], channel: Channel) -> None:
    """Any loop. Return when the channel has something, or may be finished."""
    woken = channel.park(asyncio.get_running_loop())
    if channel.items or channel.finished:
        return
    session = here.session if here.on_loop else None
    if session is not None:
        await _wait_as_node(session, future.node, lambda there: woken.add_done_callback(lambda _: there()))
    else:
        try:
            await _wait_in_ticks(woken, future._session.pump_for_this_loop(), None)
        except KeyboardInterrupt:
            future.cancel()
            raise


class BodyWait:
    """A wait of a body or callback on the loop: lends the place in a lane, and takes it back before going on."""

    __slots__ = ("_back", "_session", "_wait", "woken")

    def __init__(
        self, session: Session, node: TaskNode[Any], target: TaskNode[Any], is_body_only: bool = False
    ) -> None:
        self._session = session
        self._wait: Wait | None = session.waits.begin(node, target, is_body_only)
        self._back: asyncio.Future[None] | None = None
        self.woken: asyncio.Future[None] = session.loop.create_future()

    def there(self) -> None:
        """Loop only. What was waited for is there. The place is asked for at once: before any new job starts."""
        wait, self._wait = self._wait, None
        if wait is None:
            return
        self._back = self._session.waits.end(wait)
        if self._back is None:
            _set(self.woken)
        else:
            self._back.add_done_callback(lambda _: _set(self.woken))

    def break_off(self) -> None:
        """Loop only. The waiter was cancelled, or has lost its patience."""
        wait, self._wait = self._wait, None
        if wait is not None:
            self._session.waits.end(wait, take_back=False)
        elif self._back is not None and not self._back.done():
            self._back.cancel()


async def _wait_as_node(
    session: Session,
    target: TaskNode[Any],
    subscribe: Callable[[Callable[[], None]], None],
    is_body_only: bool = False,
) -> None:
    """A session's loop. Wait as the current node, until what is handed to ``subscribe`` is called."""
    node = current_node()
    if node is None or node._phase_ == tree.ENDED:  # nobody's task, or one that has outlived its node
        woken: asyncio.Future[None] = session.loop.create_future()
        subscribe(lambda: _set(woken))
        await woken
        return
    wait = BodyWait(session, node, target, is_body_only)
    subscribe(wait.there)
    try:
        await wait.woken
    except asyncio.CancelledError:
        wait.break_off()
        raise


async def wait_for_handler(handler: HandlerCoroutine[T]) -> T:
    """A session's loop. Run the handler as a child of the current node if it is new; give what its body gives."""
    session = here.session
    if session is None:  # narrowed by the caller; kept for the type checker
        raise RuntimeError("no commander runs on this thread")
    if handler._phase_ == tree.NEW:
        parent = current_node() or session.root()
        parent._accept_(handler, None, None)
    if handler._state_ is None:
        try:
            await _wait_as_node(session, handler, handler._more_().end_waiters.append, is_body_only=True)
        except asyncio.CancelledError:
            session.ask_close(handler)
            raise
    if handler._state_ is State.TERMINATED:
        raise NodeTerminatedError(f"{handler._describe_()} was terminated before it had a result")
    error = handler._error_
    if error is not None:
        failure = handler._more_().failure
        receiver = current_node()
        if failure is not None and receiver is not None:
            failure.receive(receiver)
        try:
            raise error
        finally:
            del error
    return handler._value_  # type: ignore[no-any-return]


class WorkerWait:
    """A worker thread's wait for a job, or for an item of its stream, carried out on the loop."""

    __slots__ = ("_channel", "_future", "_node", "_session", "_wait", "done", "error", "wakers")

    def __init__(self, session: Session, node: TaskNode[Any], future: JobFuture[Any], channel: Channel | None) -> None:
        self._session = session
        self._node = node
        self._future = future
        self._channel = channel
        self._wait: Wait | None = None
        self.wakers: list[threading.Lock] = []
        self.done = False
        self.error: BaseException | None = None

    def begin(self) -> None:
        """Loop only."""
        if self._node._phase_ == tree.CLOSING:
            self.abort()
            return
        try:
            if self._node._phase_ != tree.ENDED:
                self._wait = self._session.waits.begin(self._node, self._future.node)
                self._node._more_().gates[self] = None
        except Exception as error:  # noqa: BLE001 - it is raised in the worker
            self._open(error)
            return
        if self._channel is not None:
            self._watch_channel()
        elif self._future._session is self._session:
            self._future._call_when_done(lambda _: self.end(), self._session.base_context)
        else:
            self._future._call_when_done(lambda _: self._session.call_on_loop(self.end), contextvars.Context())

    def end(self) -> None:
        """Loop only. What was waited for is there, or the time is up: take the place in the lane back, then go on."""
        if self.done:
            return
        back = self._end_wait()
        if back is None:
            self._open(None)
        else:
            back.add_done_callback(lambda _: self._open(None))

    def abort(self) -> None:
        """Loop only. The waiting body is being terminated."""
        self._end_wait(take_back=False)
        self._open(asyncio.CancelledError(f"{self._node._describe_()} is being terminated"))

    def give_up(self) -> None:
        """Loop only. The time is up, or the thread was interrupted."""
        if not self.done:
            self._end_wait(take_back=False)
            self._open(None)

    def _end_wait(self, take_back: bool = True) -> asyncio.Future[None] | None:
        wait, self._wait = self._wait, None
        if wait is None:
            return None
        return self._session.waits.end(wait, take_back)

    def _watch_channel(self) -> None:
        channel = self._channel
        if channel is not None:
            parked = channel.park(self._session.loop)
            parked.add_done_callback(lambda _: self.end())
            if channel.items or channel.finished:
                _set(parked)

    def _open(self, error: BaseException | None) -> None:
        if not self.done:
            self._node._more_().gates.pop(self, None)  # until here a termination can break it off
            self.error = error
            self.done = True
            wake_all(self.wakers)


def wait_in_worker(
    session: Session,
    node: TaskNode[Any],
    future: JobFuture[Any],
    timeout: float | None,
    channel: Channel | None = None,
) -> bool:
    """A thread that works for ``node``: a worker, or the host's. Block until the job (or an item) is there.

    Returns:
        False when the time ran out.

    Raises:
        DeadlockError: the job waits for this body.
        asyncio.CancelledError: this body is being terminated.
    """
    wait = WorkerWait(session, node, future, channel)
    if not session.mailbox.report(wait.begin):
        raise asyncio.CancelledError(f"{session} has exited")

    def over() -> bool:
        return wait.done

    pump = session.pump_for_this_thread()
    try:
        in_time = block_until(over, wait.wakers, timeout, pump, future._look_around)
    except BaseException:  # Ctrl-C on the host's thread, or a fork
        session.mailbox.report(wait.give_up)
        raise
    if not in_time:
        session.mailbox.report(wait.give_up)
        block_until(over, wait.wakers, None, pump, future._look_around)
        if channel is None:
            in_time = future.done()
    if wait.error is not None:
        raise wait.error
    if node._phase_ == tree.CLOSING:  # what it waited for may have been terminated along with it, and ended first
        raise asyncio.CancelledError(f"{node._describe_()} is being terminated")
    return in_time


def wait_in_worker_for_room(session: Session, node: TaskNode[Any]) -> None:
    """A worker thread that has emitted. Wait while the stream of the node or of an ancestor is full.

    Raises:
        asyncio.CancelledError: the emitting body is being terminated.
    """
    here.emitted += 1
    if here.emitted % AHEAD == 0:
        passed = Passed()
        if session.mailbox.report(passed.open):
            block_until(lambda: passed.there or session.closed, passed.wakers, None, None, session.refuse_in_fork)
    place: tree.TreeEntry | None = node
    while place is not None:
        future: JobFuture[Any] | None = place._future_  # type: ignore[attr-defined]
        channel = None if future is None else future._channel
        if future is not None and channel is not None and channel.full():
            wait = RoomWait(session, node, channel)
            if session.mailbox.report(wait.begin):
                block_until(lambda wait=wait: wait.done, wait.wakers, None, None, future._look_around)  # type: ignore[misc]
            if wait.aborted:
                raise asyncio.CancelledError(f"{node._describe_()} is being terminated")
        place = place._parent_


class Passed:
    """A worker thread's wait until the loop has taken all that the thread has told it so far."""

    __slots__ = ("there", "wakers")

    def __init__(self) -> None:
        self.there = False
        self.wakers: list[threading.Lock] = []

    def open(self) -> None:
        """Loop only."""
        self.there = True
        wake_all(self.wakers)


class RoomWait:
    """A worker thread's wait for room in a channel, carried out on the loop."""

    __slots__ = ("_channel", "_node", "_session", "aborted", "done", "wakers")

    def __init__(self, session: Session, node: TaskNode[Any], channel: Channel) -> None:
        self._session = session
        self._node = node
        self._channel = channel
        self.wakers: list[threading.Lock] = []
        self.done = False
        self.aborted = False

    def begin(self) -> None:
        """Loop only."""
        if self._node._phase_ != tree.ACTIVE:
            self.abort()
            return
        room: asyncio.Future[None] = self._session.loop.create_future()
        self._channel.producers.append(room)
        self._node._more_().gates[self] = None
        room.add_done_callback(lambda _: self._open())
        if not self._channel.full():
            self._channel.let_producers_go()

    def abort(self) -> None:
        """Loop only. The emitting body is being terminated."""
        self.aborted = True
        self._open()

    def _open(self) -> None:
        self._node._more_().gates.pop(self, None)
        self.done = True
        wake_all(self.wakers)


async def wait_over(session: Session, pump: Pump | None = None) -> None:
    """Any loop but the session's own. Return when the session has ended, serving the host by ``pump`` meanwhile."""
    loop = asyncio.get_running_loop()
    woken: asyncio.Future[None] = loop.create_future()
    session.over.call_when_set(lambda: _wake_here(loop, woken))
    await _wait_in_ticks(woken, pump, session.check_on)


async def _wait_over_although_cancelled(session: Session) -> None:
    """Any loop but the session's own. ``wait_over``, which is bounded; a scope of anyio cancels until one has left."""
    over = asyncio.ensure_future(wait_over(session))
    while not over.done():
        with contextlib.suppress(asyncio.CancelledError):
            await asyncio.wait((over,))
    over.result()


async def finish_and_exit(session: Session, broken_off: bool) -> None:
    """Any loop but the session's own. The end of ``async with``."""
    if broken_off:
        session.request_exit()
    else:
        session.exit_when_idle()
    try:
        await wait_over(session, None if broken_off else session.pump_for_this_loop())
    except asyncio.CancelledError:
        session.request_exit()
        await _wait_over_although_cancelled(session)
        raise
    except KeyboardInterrupt:
        session.request_exit()
        await wait_over(session)
        raise
    if session.error is not None:
        raise session.error
