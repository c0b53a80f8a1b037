"""A session: what one ``start()`` makes, and what ends with its exit. Never reused.

It owns the loop, its thread, the mailbox, the scheduler and the worker threads, and knows the commander only weakly:
a commander that is dropped while idle closes its session; live nodes hold the commander through their parents.

How it ends (``_leave``, on the loop): the mailbox refuses submissions; the tree is terminated; a grace period; what is
left is abandoned, with its stack in the log; the at_commander_end callbacks; stray tasks are cancelled; the mailbox is
shut; the loop stops, and its thread closes it. Whoever waits, waits on the latch ``over`` with a bound.
"""

from __future__ import annotations

import asyncio
import contextlib
import contextvars
import logging
import selectors
import socket
import threading
import weakref
from collections.abc import Callable, Collection, Mapping
from time import monotonic
from types import FrameType
from typing import TYPE_CHECKING, Any

from agere.errors import AttributeNotSetError, CommanderForkedError, CommanderNotRunError, WorkerLimitError

from . import input_routing, process, stall, tree
from .affinity import here
from .awaiting import wait_in_worker_for_room
from .host import Host
from .listeners import Listeners
from .mailbox import Mailbox
from .node import TaskNode
from .person import Person
from .scheduler import Scheduler
from .tasks import node_task_factory
from .termination import Terminator
from .waiting import Latch, Pump
from .waits import Waits
from .workers import Ticket, WorkerPool

if TYPE_CHECKING:
    from .facade import Commander

MARGIN_SECONDS = 1.0
"""What a waiter gives a session beyond its grace, before it takes the loop for stuck."""

SETTLE_SECONDS = 0.25
"""What abandoned nodes' callbacks get."""


class Session:
    """One life of a commander.

    Args:
        commander: the root of the tree.
        name: for threads and logs.
        host: the person's place.
        lanes: widths of the named lanes.
        max_workers: bound of the worker threads.
        grace: seconds that terminated nodes have to unwind.
        stall: seconds that a loop callback may take before it is reported.
        logger: where failures are logged.
        listeners: the commander's subscribers.
    """

    def __init__(
        self,
        commander: Commander[Any],
        name: str,
        host: Host,
        lanes: Mapping[Any, int],
        max_workers: int,
        grace: float,
        stall: float,
        logger: logging.Logger,
        listeners: Listeners,
    ) -> None:
        self.name = name
        self.host = host
        self.grace = grace
        self.margin = MARGIN_SECONDS
        self.stall = stall
        self.log = logger
        self.listeners = listeners
        self.loop_thread = 0
        """The ident of the loop's thread while it runs: the quickest way to see whether one is on it."""
        self.forked = False
        self.began = 0.0
        self.ended: float | None = None
        self.closed = False
        self.leaving = False
        self.over = Latch()
        self.result: Any = None
        self.error: BaseException | None = None
        self.auto_exit = False
        self.unobserved_failure = False
        self.someone_runs = False
        self.in_input = False
        self.calling: TaskNode[Any] | None = None  # whose plain callback runs, for the stall report's thread to see
        self.stuck = False
        self.abandoned: set[asyncio.Task[Any]] = set()
        self.run_at_end: list[TaskNode[Any]] = []
        self.person = Person(self, host)
        self.base_context = contextvars.Context()
        self.loop = _new_loop()
        self.loop.set_task_factory(node_task_factory)
        self.loop.set_exception_handler(self._on_loop_error)
        self.workers = WorkerPool(self, max_workers)
        self.loop.set_default_executor(self.workers)
        self.mailbox = Mailbox(self.loop, self.on_idle, self._on_defect)
        self.scheduler = Scheduler(self, lanes)
        self.terminator = Terminator(self.scheduler, self)
        self.waits = Waits(self.scheduler.default_lane)
        self.thread = threading.Thread(target=self._main, name=f"{name}-loop", daemon=True)
        self._commander = weakref.ref(commander)
        self._exit_lock = threading.Lock()
        self.exit_asked = False
        self._told_idle = False
        self._left = False
        self._exit_asked_at = 0.0
        self._last_commander: Commander[Any] | None = None
        self._last_callback: FrameType | None = None
        self._progress_at = 0.0
        self._unwound: asyncio.Future[None] | None = None

    def start(self) -> None:
        """Any thread. Start the loop thread.

        Raises:
            WorkerLimitError: the system refused a thread.
        """
        process.register(self)
        self.began = monotonic()
        try:
            self.thread.start()
        except RuntimeError as error:
            process.unregister(self)
            self.loop.close()
            self.closed = True
            raise WorkerLimitError(f"the system refused the commander's loop thread ({error})") from error
        input_routing.install()
        stall.watch(self)

    # -- what nodes need of it

    def commander(self) -> Commander[Any]:
        """Any thread. The commander.

        Raises:
            AttributeNotSetError: it has been dropped.
        """
        commander = self._commander_or_none()
        if commander is None:
            raise AttributeNotSetError(f"the commander {self.name} of this node has been dropped")
        return commander

    def _commander_or_none(self) -> Commander[Any] | None:
        return self._commander() if self._last_commander is None else self._last_commander

    def root(self) -> Commander[Any]:
        """Loop only. The root of the tree."""
        return self.commander()

    @property
    def on_loop(self) -> bool:
        """Any thread. Whether the caller is on this session's loop thread."""
        return here.on_loop and here.session is self

    @property
    def idle(self) -> bool:
        """Any thread. Whether no node lives and nothing waits, at this moment."""
        commander = self._commander_or_none()
        return (commander is None or not commander._pending_) and self.mailbox.empty

    def call_on_loop(self, fn: Callable[..., object], *args: Any) -> bool:
        """Any thread. Have ``fn(*args)`` called at the top of the loop. False if the session is over."""
        if self.on_loop:
            self.loop.call_soon(fn, *args, context=self.base_context)
            return True
        return self.mailbox.report(fn, *args)

    def ask_close(self, node: TaskNode[Any]) -> bool:
        """Any thread. Post the termination of a subtree."""
        return not self.forked and self.call_on_loop(self.terminator.close, node)

    def ask_terminate(self, node: TaskNode[Any]) -> bool:
        """Any thread. Post the termination of one node."""
        return not self.forked and self.call_on_loop(self.terminator.close_alone, node)

    def close_from_finalizer(self, node: TaskNode[Any]) -> None:
        """Any thread, also within the garbage collector. Post the termination of a subtree."""
        self.mailbox.report_from_finalizer(self.terminator.close, node)

    def run_in_worker(self, ticket: Ticket, context: contextvars.Context) -> None:
        """Worker thread. Run a plain ``def`` body; its end travels behind all that it submitted."""
        node = ticket.node
        here.node, here.ticket = node, ticket
        ticket.thread = threading.get_ident()
        value, error = None, None
        try:
            value = context.run(node._call_body_)
        except BaseException as raised:  # noqa: BLE001 - the body's own
            error = raised
        finally:
            here.node = here.ticket = None
        if not self.mailbox.report(self.scheduler.worker_done, ticket, value, error) and error is not None:
            self.log.error("%s failed after it was abandoned", node._label_(), exc_info=error)

    def emit_from_worker(self, node: TaskNode[Any], value: Any) -> None:
        """Any other thread. Emit, and wait while the consumer is slow.

        Raises:
            asyncio.CancelledError: the emitting body is being terminated.
        """
        emitter = here.node if here.node is not None else node
        if emitter._is_terminated_():
            raise asyncio.CancelledError(f"{emitter._describe_()} is being terminated")
        if self.mailbox.report(self.scheduler.emit, node, value):
            wait_in_worker_for_room(self, node)

    def stream_opened(self, node: TaskNode[Any]) -> None:
        """Any thread. A stream of the node was opened."""
        if self.listeners.active:
            self.listeners.stream_opened(node)

    def stream_closed(self, node: TaskNode[Any]) -> None:
        """Any thread. A stream of the node has ended."""
        if self.listeners.active:
            self.listeners.stream_closed(node)

    def pump_for_this_thread(self) -> Pump | None:
        """Any thread. What it must serve while it waits here."""
        return self.host.pump()

    def pump_while_unwinding(self) -> Pump | None:
        """Any thread. What it must serve while it waits here for what was terminated."""
        return self.host.pump_while_unwinding()

    def pump_for_this_loop(self) -> Pump | None:
        """Any thread with an event loop that is not Agere's. What it must serve while a task of that loop awaits."""
        return self.host.pump_in_await()

    # -- ending

    def on_idle(self) -> None:
        """Loop only. The mailbox or the tree has run empty."""
        if not (self.auto_exit or self.unobserved_failure or self.leaving):
            return
        commander = self._commander_or_none()
        if commander is None or commander._pending_ or not self.mailbox.empty:
            return
        if self.leaving:
            self._look_again()
        elif self.auto_exit:
            if self.mailbox.refuse_if_empty():
                self._begin_leaving()
        elif self.unobserved_failure and self.someone_runs and not self._told_idle:
            self._told_idle = True
            self.log.warning(
                "%s is idle after a failure, and run() goes on waiting for an exit: call node.exit_commander() in an "
                "at_exception callback, or run(..., auto_exit=True)",
                self.name,
            )

    def exit_when_idle(self) -> None:
        """Any thread. Finish what was accepted, then exit."""
        self.auto_exit = True
        self.call_on_loop(self.on_idle)

    def request_exit(self, result: Any = None) -> None:
        """Any thread. Begin to leave. The first request's result counts."""
        with self._exit_lock:
            if self.exit_asked:
                return
            self.exit_asked = True
            self._exit_asked_at = monotonic()
            self.result = result
        if here.ticket is not None and here.session is self:
            here.ticket.asked_exit = True
        self.mailbox.refuse()
        self.person.open.withdraw_all(blocking_only=True)  # or the loop could not even begin to leave
        if self.on_loop:
            # Two turns: the step that asked, and the report of its end, come first.
            self.loop.call_soon(self._begin_leaving_later, context=self.base_context)
        else:
            self.mailbox.report(self._begin_leaving_later)

    def crash(self, error: BaseException) -> None:
        """Loop only. SystemExit or KeyboardInterrupt left a body or callback: the commander ends, ``run`` raises it."""
        if self.error is None:
            self.error = error
        self.request_exit()

    def wait_over(self, timeout: float | None = None, pump: Pump | None = None) -> bool:
        """Any thread that may block. Wait until the session has ended; False if the time ran out."""
        return self.over.wait(timeout, pump, self.check_on)

    def check_on(self) -> None:
        """Any waiting thread, now and then. Notice a fork, a lost wake-up, a stuck loop."""
        self.mailbox.nudge()
        if self.exit_asked and self._is_stuck():
            self._give_up()
        self.refuse_in_fork()

    def _is_stuck(self) -> bool:
        """Any waiting thread, now and then, once the exit was asked for. Whether the loop makes no progress."""
        now = monotonic()
        callback = stall.running_callback(self.thread)
        if callback is None or callback is not self._last_callback:
            self._last_callback = callback
            self._progress_at = now
        stuck = now - max(self._progress_at, self._exit_asked_at) > self.grace + self.margin
        # Each step of leaving is bounded. Should one not be, this bound still ends the wait.
        return stuck or now - self._exit_asked_at > 10 * self.grace + 30 * MARGIN_SECONDS

    def refuse_in_fork(self) -> None:
        """Any thread. Raise CommanderForkedError in a child process: the session runs in its parent."""
        if self.forked:
            raise CommanderForkedError(
                "this commander was started before a fork, and its threads do not exist in this process; "
                "make a Commander of this process's own"
            )

    def finish_exit(self, pump: Pump | None = None) -> None:
        """Any thread that may block, after ``request_exit``. Wait for the end; bounded, even if the loop is stuck."""
        self.wait_over(None, pump)
        if self.thread is not threading.current_thread() and not self.stuck:
            self.thread.join(MARGIN_SECONDS)

    def _give_up(self) -> None:
        """Any other thread. The loop thread is stuck in a body: account for all that was accepted, and let it go.

        From here on the loop touches no node any more, should it ever come back (see ``stuck``).
        """
        with self._exit_lock:
            if self.stuck or self.closed:
                return
            self.stuck = True
        self.log.error("the loop of %s is stuck and is abandoned%s", self.name, stall.stack_of(self.thread.ident or 0))
        for entry in self.mailbox.take_submitted(self.scheduler.admit_from_outside):
            self.terminator.disown(entry, admitted=False)
        self._finished()
        with contextlib.suppress(RuntimeError):  # should it come back, it winds up and closes
            self.loop.call_soon_threadsafe(self._begin_leaving)

    def _begin_leaving_later(self) -> None:
        self.loop.call_soon(self._begin_leaving, None, context=self.base_context)

    def _begin_leaving(self, last_commander: Commander[Any] | None = None) -> None:
        if self.leaving:
            return
        self._last_commander = last_commander
        self.leaving = True
        if not self.exit_asked:
            self._exit_asked_at = monotonic()
            self.exit_asked = True
        self.loop.create_task(self._leave()).add_done_callback(self._stop)

    def _stop(self, _: object) -> None:
        self._left = True
        self.loop.stop()

    async def _leave(self) -> None:
        try:
            commander = self._commander_or_none()
            self.mailbox.refuse()
            if commander is not None and not self.stuck:
                # What is still in the mailbox is accepted too; it is admitted in turns, and ends without having run.
                commander._phase_ = tree.CLOSING
                self.terminator.close_tree(commander)
                self.person.open.withdraw_all()
                await self._unwind(commander)
                await self._run_end_callbacks(commander)
            await self._cancel_strays()
        except BaseException as error:  # noqa: BLE001 - leaving must go on to its end
            self._on_defect(error)
        finally:
            self.mailbox.shut()

    def hurry(self, grace: float) -> None:
        """Any thread. Whoever waits for the exit has less patience now."""
        self.grace = min(self.grace, grace)
        self.margin = min(self.margin, grace)
        self.mailbox.report(self._look_again)

    def _look_again(self) -> None:
        if self._unwound is not None and not self._unwound.done():
            self._unwound.set_result(None)

    async def _unwind(self, commander: Commander[Any]) -> None:
        for last in (False, True, True):
            began = monotonic()
            while commander._pending_ or not self.mailbox.empty:
                left = began + (SETTLE_SECONDS if last else self.grace) - monotonic()
                if left <= 0 or self.stuck:
                    break
                self._unwound = self.loop.create_future()
                await _wait((self._unwound,), left)
            if self.stuck or not commander._pending_:
                return
            self.terminator.abandon(commander, force=last)

    async def _run_end_callbacks(self, commander: Commander[Any]) -> None:
        for one in (*self.run_at_end, commander):
            task = self.loop.create_task(self.scheduler.callbacks.run_end_callbacks(one))
            _, late = await _wait((task,), self.grace)
            if late:
                self.log.error("an at_commander_end callback did not end within %s s and is abandoned", self.grace)
                task.cancel()

    async def _cancel_strays(self) -> None:
        me = asyncio.current_task()
        strays = {task for task in asyncio.all_tasks() if task is not me}
        for task in strays:
            task.cancel()
        strays -= self.abandoned  # these have had their time
        for task in self.abandoned:
            task._log_destroy_pending = False  # type: ignore[attr-defined]
        if strays:
            done, late = await _wait(strays, self.grace)
            for task in done:
                if not task.cancelled() and task.exception() is not None:
                    self.log.error("a task failed while it was cancelled", exc_info=task.exception())
            for task in late:
                # It swallows its cancellation. Its node has been told of; it must not complain from the grave.
                task._log_destroy_pending = False
        await _wait((self.loop.create_task(self.loop.shutdown_asyncgens()),), self.grace)

    # -- the loop thread

    def _main(self) -> None:
        here.session, here.on_loop = self, True
        self.loop_thread = threading.get_ident()
        asyncio.set_event_loop(self.loop)
        self.loop.call_soon(self.on_idle, context=self.base_context)
        try:
            while True:
                try:
                    self.loop.run_forever()
                except (SystemExit, KeyboardInterrupt) as error:
                    self.crash(error)  # a body's step let it out; the loop goes on to wind everything down
                    continue
                if self._left:  # otherwise a body has stopped the loop, which is not its to stop
                    break
        finally:
            self.workers.shutdown(wait=True)
            with contextlib.suppress(Exception):
                self.loop.close()
            asyncio.set_event_loop(None)
            here.session, here.on_loop = None, False
            self.loop_thread = 0  # idents are given out again
            self._finished()

    def _finished(self) -> None:
        with self._exit_lock:
            if self.closed:
                return
            self.ended = monotonic()
            self.closed = True
        process.unregister(self)
        stall.unwatch(self)
        input_routing.uninstall()
        commander = self._commander_or_none()
        if commander is not None:
            for entry in tree.subtree(commander)[1:]:  # whatever went wrong on the way, nothing accepted is lost
                self.terminator.disown(entry)  # type: ignore[arg-type]
            commander._session_over_(self)
        self._last_commander = None
        self.run_at_end.clear()
        self.abandoned.clear()
        self.over.set()

    def _on_defect(self, error: BaseException) -> None:
        self.log.critical("a defect in Agere itself: please report it", exc_info=error)

    def _on_loop_error(self, _loop: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
        self.log.error(
            "%s: %s",
            self.name,
            context.get("message", "an error on the loop"),
            exc_info=context.get("exception"),
        )

    def __repr__(self) -> str:
        return self.name


async def _wait(things: Collection[asyncio.Future[Any]], seconds: float) -> tuple[set[Any], set[Any]]:
    """``asyncio.wait`` that leaving can rely on: some shutdown helpers cancel every task that they find."""
    end = monotonic() + seconds
    while True:
        try:
            return await asyncio.wait(things, timeout=max(0.0, end - monotonic()))
        except asyncio.CancelledError:
            task = asyncio.current_task()
            if task is not None:
                task.uncancel()


def _new_loop() -> asyncio.AbstractEventLoop:
    try:
        # A loop that runs out of file descriptors while it is made complains from its finalizer: look first.
        with selectors.DefaultSelector():
            for end in socket.socketpair():
                end.close()
        return asyncio.new_event_loop()
    except OSError as error:
        raise CommanderNotRunError(f"the system refused the commander an event loop ({error})") from error


def close_dropped(session: Session, commander: Commander[Any]) -> None:
    """Any thread, also within the garbage collector. The commander was dropped: close its session."""
    session.mailbox.report_from_finalizer(session._begin_leaving, commander)
