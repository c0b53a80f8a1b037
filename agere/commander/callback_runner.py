"""Runs callbacks: in order, in the node's context, and without a task where none is async. Loop only."""

from __future__ import annotations

import asyncio
import inspect
from collections import deque
from collections.abc import Awaitable, Callable, Coroutine
from concurrent.futures import Future
from typing import TYPE_CHECKING, Any

from .affinity import here
from .callback import BoundCallback
from .failures import in_words, path
from .future import JobFuture
from .node import TaskNode
from .questions import WithdrawnError
from .tasks import CallbackTask
from .telling import tell
from .waiting import wrap

if TYPE_CHECKING:
    from .session import Session

Node = TaskNode[Any]
STEP = "step"


def record_extra(node: Node) -> dict[str, Any]:
    """What log records about a node carry."""
    return {"agere_node_id": node._id_, "agere_node_name": node._name_(), "agere_node_path": path(node)}


class CallbackRunner:
    """Runs the callbacks of one session's nodes."""

    def __init__(self, session: Session) -> None:
        self._session = session
        self._loop = session.loop
        self._listeners = session.listeners
        self._base_context = session.base_context
        self._log = session.log

    def call_then(self, node: Node, phases: tuple[str, ...], then: Callable[[Node], None]) -> None:
        """Run the callbacks of the phases, then go on. No task is made unless a callback is async."""
        more = node._extra_
        if more is None or more.callback is None:
            then(node)
            return
        waiting = self.call_each(node, phases)
        if waiting is None:
            then(node)
            return
        task = self._task(node, waiting)
        more.callback_task = task

        def done(_: asyncio.Task[Any]) -> None:
            if more.callback_task is not task:
                return  # it was given up
            more.callback_task = None
            if not task.cancelled():
                task.exception()  # it was told where it arose
            then(node)

        task.add_done_callback(done, context=self._base_context)

    def _task(self, node: Node, waiting: Coroutine[Any, Any, None]) -> CallbackTask:
        task = CallbackTask(waiting, loop=self._loop, name=STEP, context=node._context_)
        task.node = node
        task.begun = task.stop_at_once = False
        return task

    def call_each(self, node: Node, phases: tuple[str, ...]) -> Any:
        """Call callbacks until one is async; then return a coroutine that goes on from there."""
        more = node._extra_
        callback = None if more is None else more.callback
        if callback is None:
            return None
        calls = deque((phase, bound) for phase in phases for bound in callback.get(phase))
        while calls:
            phase, bound = calls.popleft()
            awaitable = self._call_one(node, phase, bound)
            if awaitable is not None:
                return self._await_each(node, phase, awaitable, calls)
        return None

    def _call_one(self, node: Node, phase: str, bound: BoundCallback) -> Awaitable[Any] | None:
        before, here.node = here.node, node
        self._session.calling = node
        try:
            if bound.on_host:
                return wrap(self._deliver(node, bound), self._loop)
            context = node._context_
            in_its_task = asyncio.current_task(self._loop)
            if context is None or (in_its_task is not None and getattr(in_its_task, "node", None) is node):
                value = bound.call(node)  # within the node's own task: that is its context already
            else:
                value = context.run(bound.call, node)
        except BaseException as error:  # noqa: BLE001 - told, and everything else goes on
            self.callback_failed(node, phase, error)
            return None
        finally:
            here.node = self._session.calling = before
        # A Future that a callback returns is work that it has given away, such as the next round of a talk: awaiting it
        # would make this node wait for its successor.
        return value if inspect.isawaitable(value) and not isinstance(value, JobFuture) else None

    def _deliver(self, node: Node, bound: BoundCallback) -> Future[Any]:
        deliver, context = self._session.person.deliver, node._context_
        if context is None:
            return deliver(node, lambda: bound.call(node), True)
        # It takes the context that it is called in along, and that is the loop's here.
        return context.copy().run(deliver, node, lambda: bound.call(node), True)

    async def _await_each(
        self, node: Node, phase: str, awaitable: Awaitable[Any], calls: deque[tuple[str, BoundCallback]]
    ) -> None:
        me = asyncio.current_task()
        if isinstance(me, CallbackTask):
            me.begin()
        waiting: Awaitable[Any] | None = awaitable
        while True:
            if waiting is not None:
                try:
                    await waiting
                except asyncio.CancelledError as error:
                    if me is None or not me.cancelling():
                        self.callback_failed(node, phase, error)
                    elif isinstance(me, CallbackTask):
                        me.uncancel()  # the node is terminated, and so is this callback; the next one's turn comes
                    else:
                        raise
                except GeneratorExit as error:
                    if not _runs_in(me):
                        raise  # abandoned, and collected now: nobody runs any more
                    self.callback_failed(node, phase, error)
                except BaseException as error:  # noqa: BLE001 - told, and everything else goes on
                    self.callback_failed(node, phase, error)
            if not calls:
                return
            phase, bound = calls.popleft()
            waiting = self._call_one(node, phase, bound)

    def callback_failed(self, node: Node, phase: str, error: BaseException) -> None:
        """Tell of a callback that raised."""
        if isinstance(error, SystemExit | KeyboardInterrupt):
            self._session.crash(error)
            return
        if isinstance(error, WithdrawnError):
            return  # input() in the callback, and the commander leaves
        tell(
            self._log.error,
            node,
            "a callback of %s failed in phase %s: %s",
            node._label_(),
            phase,
            in_words(error),
            exc_info=error,
            extra=record_extra(node),
        )
        if self._listeners.active:
            self._listeners.callback_failed(node, phase, error)

    async def run_end_callbacks(self, node: Node) -> None:
        """The commander's end: run a node's (or the commander's own) callbacks for it."""
        waiting = self.call_each(node, ("at_commander_end",))
        if waiting is not None:
            await asyncio.wait((self._task(node, waiting),))


def _runs_in(task: asyncio.Task[Any] | None) -> bool:
    try:
        return asyncio.current_task() is task
    except RuntimeError:
        return False
