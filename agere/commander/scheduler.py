"""The scheduler: starts bodies, takes their ends, counts nodes down, runs their callbacks. Loop only.

How a node ends, each step exactly once per run:

- *the body ends* (``_body_done``, ``worker_done``): its value or failure is recorded; a handler that it returned is
  started as its tail;
- *the node has ended* (``ended``): body and tail are over: the lane gets its place back, awaiters their value;
- *the node completes* (``_complete``, ``conclude``): body and children are counted down to zero: the outcome is
  frozen, the end callbacks run, streams close, edges fire, the node leaves the tree, its Future resolves, and its
  parent is counted down. A worklist, so that depth costs nothing but memory.
"""

from __future__ import annotations

import asyncio
import inspect
from collections import deque
from collections.abc import Mapping
from concurrent.futures import CancelledError
from time import monotonic
from types import CoroutineType
from typing import TYPE_CHECKING, Any

from agere.errors import NodeActiveError, WorkerLimitError

from . import failures, tree
from .callback_runner import CallbackRunner, record_extra
from .emission import NOTHING_TO_AWAIT, Channel, Emission
from .future import JobFuture
from .handler import HandlerCoroutine
from .job import Job
from .lanes import DefaultLane, Lane
from .node import TaskNode
from .questions import WithdrawnError
from .state import COMPLETED, TERMINATED, State
from .successors import Successors
from .tasks import LanedTask, NodeTask
from .telling import tell
from .termination import close_streams
from .tree import ACTIVE, CLOSING, ENDED, ENDING, QUEUED
from .workers import Ticket

if TYPE_CHECKING:
    from .session import Session

Node = TaskNode[Any]
STEP = "step"


class Scheduler:
    """The loop side of one session.

    Args:
        session: the session.
        lanes: the widths of the named lanes.
    """

    def __init__(self, session: Session, lanes: Mapping[Any, int]) -> None:
        self._session = session
        self._loop = session.loop
        self._listeners = session.listeners
        self._base_context = session.base_context
        self._log = session.log
        self._widths = dict(lanes)
        self._lanes: dict[Any, Lane] = {}
        self.callbacks = CallbackRunner(session)
        self._successors = Successors(self, session)
        self.default_lane = DefaultLane(self._start)
        self._ready: deque[Node] = deque()
        self._settling = False
        self._on_body_done = self._body_done  # one bound method for all tasks

    # -- taking work in

    def admit(self, node: Node, parent: Node, lane: Any) -> None:
        """Put a claimed node below an active parent, and start it or queue it."""
        tree.attach(parent, node)
        node._pending_ = 1
        if self._listeners.active:
            self._listeners.created(node, parent)
        more = node._extra_
        if more is not None and more.callback is not None:
            self.announce_end_callbacks(node)
        if node._phase_ != QUEUED:  # cancelled on its way here
            self.ended(node)
            self.release(node)
        elif lane is not None:
            self._lane(lane).put(node)
        elif node._kind_ == "job":
            self.default_lane.put(node)
        else:
            self._start(node)

    def admit_from_outside(self, node: Node, target: Node, lane: Any) -> None:
        """The same for what came through the mailbox: the parent may have ended meanwhile."""
        if node._phase_ not in (QUEUED, CLOSING) or node._session_ is not self._session:
            return  # an interrupt hit its submission, which has raised
        parent = tree.live_ancestor(target)
        if parent._phase_ != ACTIVE:  # the root is leaving: accepted, and terminated before it ran
            node._phase_ = CLOSING
        self.admit(node, parent, lane)  # type: ignore[arg-type]

    def adopt_future(self, node: Node, future: JobFuture[Any]) -> None:
        """A Future was made late: give it to the run, or the outcome to it."""
        if node._phase_ == ENDED:
            more = node._extra_
            rope = None if more is None else more.rope
            future._settle(node._value_, rope, node._state_ is TERMINATED)
        else:
            node._future_ = future

    def announce_end_callbacks(self, node: Node) -> None:
        """Remember a node that has callbacks for the commander's end."""
        more = node._extra_
        callback = None if more is None else more.callback
        if more is None or callback is None or not callback.get("at_commander_end"):
            return
        if more.told_commander is not self._session:
            more.told_commander = self._session
            self._session.run_at_end.append(node)

    def _lane(self, key: Any) -> Lane:
        lane = self._lanes.get(key)
        if lane is None:
            width = self._widths.get(key, 1)
            if len(self._lanes) > 2 * len(self._widths) + 64:
                self._lanes = {name: old for name, old in self._lanes.items() if not old.idle}
            lane = self._lanes[key] = Lane(key, width, self._start)
        return lane

    # -- starting bodies

    def _start(self, node: Node) -> None:
        """The node's turn has come."""
        more = node._extra_
        has_callback = more is not None and more.callback is not None and bool(more.callback.get(_start_phase(node)))
        try:
            on_loop = node._runs_on_loop_()
        except Exception as error:  # noqa: BLE001 - its class has changed since it was checked
            self._begin(node)
            self._loop.call_soon(self._body_failed, node, error, context=self._base_context)
            return
        if not on_loop:
            if has_callback:
                self._run_task(node, self._before_worker(node))
            else:
                self._begin(node)
                self._start_worker(node)
        elif node._kind_ == "job":
            if more is None or more.lane is None:
                self._run_laned(node, has_callback)
            else:
                self._run_task(node, self._body(node, has_callback))
        elif has_callback:
            self._run_task(node, self._body(node, True))
        else:
            self._start_plain(node)

    def _start_plain(self, node: Node) -> None:
        """A handler on the loop, without start callbacks: most nodes are such."""
        self._begin(node)
        try:
            coro = node._call_body_()
        except Exception as error:  # noqa: BLE001 - the body's own
            self._loop.call_soon(self._body_failed, node, error, context=self._base_context)
            return
        self._run_task(node, coro)

    def _begin(self, node: Node) -> None:
        node._phase_ = ACTIVE
        node._since_ = monotonic()
        if self._listeners.active:
            self._listeners.started(node)

    def _run_task(self, node: Node, coro: Any) -> None:
        if coro.__class__ is not CoroutineType and not inspect.iscoroutine(coro):
            coro = _as_coroutine(coro)
        # The user's coroutine itself is the task's: a wrapper would cost each node a second coroutine.
        node._body_ = task = NodeTask(coro, loop=self._loop, name=STEP, context=node._context_)
        task.node = node
        task.add_done_callback(self._on_body_done, context=self._base_context)

    def _run_laned(self, node: Node, has_callback: bool) -> None:
        """Schedule a job of the default lane; it takes its turn at its first step."""
        coro = self._laned_body(node, has_callback)
        node._body_ = task = LanedTask(coro, loop=self._loop, name=STEP, context=node._context_)
        task.node = node
        task.entered = False
        self.default_lane.scheduled()
        task.add_done_callback(self._on_body_done, context=self._base_context)

    async def _laned_body(self, node: Node, has_callback: bool) -> Any:
        lane = self.default_lane
        task = node._body_
        if isinstance(task, LanedTask):
            task.entered = True
        turn = lane.enter(node)
        try:
            if turn is not None:
                await turn
            if has_callback:
                value = await self._body(node, True)
            else:
                self._begin(node)
                value = node._call_body_()
                if inspect.iscoroutine(value):
                    value = await value
        finally:
            lane.leave(node)
        plain = node._extra_ is None and node._phase_ == ACTIVE and not isinstance(value, HandlerCoroutine)
        if plain and isinstance(task, LanedTask) and node._body_ is task:
            # Nothing but the count is left to do. Done here, it saves a turn of the loop, with its select().
            task.remove_done_callback(self._on_body_done)
            node._value_ = value
            self.body_over(node)
        return value

    async def _body(self, node: Node, has_callback: bool) -> Any:
        """A Job's body, or one that has start callbacks."""
        self._begin(node)
        if has_callback:
            waiting = self.callbacks.call_each(node, (_start_phase(node),))
            if waiting is not None:
                await waiting
            if node._phase_ == CLOSING:
                raise asyncio.CancelledError
        value = node._call_body_()
        return await value if inspect.iscoroutine(value) else value

    async def _before_worker(self, node: Node) -> Any:
        """The start callbacks of a plain ``def`` body."""
        self._begin(node)
        waiting = self.callbacks.call_each(node, (_start_phase(node),))
        if waiting is not None:
            await waiting
        return _ON_WORKER

    def _start_worker(self, node: Node) -> None:
        ticket = Ticket(node)
        node._body_ = ticket
        try:
            self._session.workers.start(self._session.run_in_worker, ticket, node._context_)
        except WorkerLimitError as error:
            self._loop.call_soon(self._body_failed, node, error, context=self._base_context)

    # -- bodies end

    def _body_done(self, task: NodeTask) -> None:
        node = task.node
        if node is None or node._body_ is not task or self._session.stuck:
            return
        try:
            value = task.result()
        except asyncio.CancelledError as error:
            if isinstance(task, LanedTask) and not task.entered:
                self.default_lane.missed()
            self._body_failed(node, error)
        except BaseException as error:  # noqa: BLE001 - the body's own
            self._body_failed(node, error)
        else:
            if node._extra_ is None and node._phase_ == ACTIVE and not isinstance(value, HandlerCoroutine):
                # The usual end, in short: see ``body_over``.
                node._body_ = None
                node._value_ = value
                node._state_ = COMPLETED
                node._pending_ -= 1
                if node._pending_ == 0:
                    self.conclude(node)
            else:
                self._body_returned(node, value)

    def worker_done(self, ticket: Ticket, value: Any, error: BaseException | None) -> None:
        """A plain ``def`` body has ended; its report came through the mailbox, behind all that it had submitted."""
        node = ticket.node
        if node._body_ is not ticket:
            return
        if error is None:
            if inspect.iscoroutine(value) and node._phase_ == ACTIVE:
                self._run_task(node, value)  # a function that returned a coroutine: it goes on here
            else:
                self._body_returned(node, value)
        else:
            self._body_failed(node, error)

    def _body_returned(self, node: Node, value: Any) -> None:
        if node._phase_ == CLOSING:
            if inspect.iscoroutine(value):
                value.close()
            self.body_over(node)
        elif value is _ON_WORKER:
            self._start_worker(node)
        elif isinstance(value, HandlerCoroutine):
            self._run_tail(node, value)
        else:
            node._value_ = value
            self.body_over(node)

    def body_over(self, node: Node) -> None:
        """The node's body is over, whatever its outcome."""
        node._body_ = None
        if node._extra_ is None and node._phase_ == ACTIVE:
            # The usual end, in short: no callbacks, no lane, nobody waits; a failure would have left its record.
            node._state_ = COMPLETED
            node._pending_ -= 1
            if node._pending_ == 0:
                self.conclude(node)
        else:
            self.ended(node)
            self.release(node)

    def _body_failed(self, node: Node, error: BaseException) -> None:
        if isinstance(error, asyncio.CancelledError | CancelledError):
            if isinstance(error, WithdrawnError) and node._phase_ == ACTIVE:
                node._phase_ = CLOSING  # its input() was broken off by the exit, which comes for the node next
            if node._phase_ == CLOSING:  # it unwinds, as it was asked to
                self.body_over(node)
                return
            if isinstance(error, asyncio.CancelledError) and not error.args:
                error.args = (f"nobody asked for the cancellation of {node._label_()}: its body raised it by itself",)
        node._error_ = error
        node._body_ = None
        failure = failures.Failure(node, error)
        more = node._more_()
        more.failure = failure
        more.rope = failures.join(more.rope, failure)
        self._report(failure)
        self.callbacks.call_then(node, ("at_exception",), self.body_over)

    def _report(self, failure: failures.Failure) -> None:
        """Log a failure where it arose; SystemExit and KeyboardInterrupt end the commander instead."""
        error = failure.error
        if isinstance(error, SystemExit | KeyboardInterrupt):
            self._session.crash(error)
        elif failures.mark(failure):
            tell(
                self._log.error,
                failure.node,
                "%s failed: %s",
                failure.node._label_(),
                failures.in_words(error),
                exc_info=error,
                extra=record_extra(failure.node),
            )

    def _run_tail(self, node: Node, tail: HandlerCoroutine[Any]) -> None:
        node._body_ = None
        if tail._parent_ is node and tail._session_ is self._session and tail._since_ >= node._since_:
            # The body has started it already, in this run: its value is the tail's all the same.
            tail._more_().tail_of = node
            if tail._state_ is not None:
                self._end_as_tail(tail)
            self.release(node)
            return
        context = node._context_
        if context is None or tail._claim_(self._session, context.copy()) is None:
            self._body_failed(
                node,
                NodeActiveError(
                    f"{node._describe_()} returned {tail._describe_()} as its tail, which is running already"
                ),
            )
            return
        tail._more_().tail_of = node
        self.admit(tail, node, None)
        self.release(node)

    def ended(self, node: Node) -> None:
        """Body and tail are over. If the node is a tail, so may its owner's be; a loop, not recursion."""
        ended: Node | None = node
        while ended is not None:
            ended = self._end_one(ended)

    def _end_as_tail(self, node: Node) -> None:
        """A tail that had ended before its owner's body returned it."""
        owner = self._end_one(node)
        if owner is not None:
            self.ended(owner)

    def _end_one(self, node: Node) -> Node | None:
        """Returns the node whose tail this one was, if that has ended by it."""
        if node._state_ is None:
            if node._phase_ == CLOSING:
                node._state_ = TERMINATED
            else:
                node._state_ = COMPLETED if node._error_ is None else State.EXCEPTION
        more = node._extra_
        if more is None:
            return None
        if more.lane is not None:
            more.lane.leave(node)
        if more.end_waiters:
            waiters, more.end_waiters = more.end_waiters, []
            for tell in waiters:
                tell()
        owner, more.tail_of = more.tail_of, None
        if owner is None:
            return None
        if node._state_ is State.EXCEPTION:
            owner._error_ = node._error_
            owner._more_().failure = more.failure
            owner._pending_ += 1
            self.callbacks.call_then(owner, ("at_exception",), self._tail_failure_told)
            return None
        if owner._phase_ != CLOSING:
            if node._state_ is TERMINATED:
                owner._state_ = TERMINATED
            else:
                owner._value_ = node._value_
        return owner

    def _tail_failure_told(self, node: Node) -> None:
        # By way of the loop: a chain of tails is as deep as people make it.
        self._loop.call_soon(self.body_over, node, context=self._base_context)

    # -- completing

    def release(self, node: Node) -> None:
        """One thing less keeps the node from completing: its body, a child, or a held place."""
        node._pending_ -= 1
        if node._pending_ == 0:
            self._childless(node)

    def _childless(self, node: Node) -> None:
        if node._parent_ is None:
            self._session.on_idle()
            return
        self._ready.append(node)
        if not self._settling:
            self._settle()

    def _settle(self) -> None:
        self._settling = True
        ready = self._ready
        try:
            while ready:
                self._complete(ready.popleft())
        finally:
            self._settling = False

    def _complete(self, node: Node) -> None:
        if node._state_ is None:  # it lost its tail, or never had a body
            self.ended(node)
        if node._phase_ == CLOSING:
            node._state_ = TERMINATED
        node._phase_ = ENDING
        more = node._extra_
        if more is None or more.callback is None:
            self.conclude(node)
        elif node._state_ is TERMINATED:
            self.callbacks.call_then(node, ("at_terminate",), self.conclude)
        else:
            self.callbacks.call_then(node, (_end_phase(node),), self.conclude)

    def conclude(self, node: Node) -> None:
        """The end callbacks have run: the node leaves."""
        parent = node._parent_
        assert parent is not None  # noqa: S101 - the root never completes
        more = node._extra_
        future = node._future_
        state = node._state_
        rope = None
        reruns = None
        if more is not None:
            if more.streams:
                close_streams(node, self._log)
            if more.edges is not None and state is COMPLETED:
                self._successors.fire(node)
            if more.rope is not None:
                more.rope = rope = failures.prune(more.rope)
            reruns = more.reruns
        value, error = node._value_, node._error_
        node._body_ = node._future_ = None
        tree.unlink(node)
        run = node._run_number_() if self._listeners.active else 0
        # From here on another thread may submit the node anew: nothing of it is read below.
        node._phase_ = ENDED
        if run and state is not None:
            self._listeners.ended(node, parent, run, state, error)  # type: ignore[arg-type]
        if rope is not None:
            if parent._parent_ is None:
                if future is None or not future._is_watched():
                    self._session.unobserved_failure = True
            else:
                above = parent._more_()  # type: ignore[attr-defined]
                above.rope = failures.join(above.rope, rope)
        if future is not None:
            future._settle(value, rope, state is TERMINATED)
        if reruns:
            self._successors.run_again(node, reruns)
        parent._pending_ -= 1
        if parent._pending_ == 0:
            self._childless(parent)  # type: ignore[arg-type]

    # -- emissions

    def emit(self, node: Node, value: Any) -> Emission:
        """Hand a value to every Future of the node and its ancestors."""
        channels: list[Channel] = []
        place: tree.TreeEntry | None = node
        while place is not None:
            future: JobFuture[Any] | None = place._future_  # type: ignore[attr-defined]
            if future is not None:
                channel = future._channel
                if channel is None:
                    channel = vars(future).setdefault("_channel", Channel())
                channel.push(value)
                if channel.full():
                    channels.append(channel)
            place = place._parent_
        return Emission(channels) if channels else NOTHING_TO_AWAIT


def _start_phase(node: Node) -> str:
    return "at_job_start" if isinstance(node, Job) else "at_handler_start"


def _end_phase(node: Node) -> str:
    return "at_job_end" if isinstance(node, Job) else "at_handler_end"


class _OnWorker:
    """What a body returns to say: and now the worker."""


_ON_WORKER = _OnWorker()


async def _as_coroutine(awaitable: Any) -> Any:
    return await awaitable if inspect.isawaitable(awaitable) else awaitable
