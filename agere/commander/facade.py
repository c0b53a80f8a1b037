"""``Commander``: the synchronous face of a session, and the root of its tree."""

from __future__ import annotations

import itertools
import logging
import threading
from collections.abc import Awaitable, Generator, Iterable, Mapping
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self, TypeVar, cast

from agere.errors import CommanderAlreadyRunningError, CommanderNotRunError, DeadlockError

from . import snapshot, tree
from .affinity import current_node, here, refuse_on_loop
from .awaiting import finish_and_exit
from .future import JobFuture
from .host import Host, default_host
from .listeners import Listeners, Subscriber, Subscription
from .node import TaskNode
from .questions import Question
from .refusals import refuse_abandoned, refuse_handler, refuse_job
from .session import Session, close_dropped
from .sigterm import WindingDown
from .snapshot import TreeSnapshot
from .state import State
from .submission import Immediate
from .waiting import Latch
from .work import as_node

if TYPE_CHECKING:
    from agere.watch import Style, Watch

    from .handler import HandlerCoroutine
    from .job import Job

if TYPE_CHECKING:
    from typing_extensions import TypeVar as TypeVarWithDefault

    T = TypeVarWithDefault("T", default=Any)  # a bare Commander() needs no annotation under strict checking
else:
    T = TypeVar("T")
R = TypeVar("R")

_numbers = itertools.count(1)


class Commander(TaskNode[T]):
    """Runs work on a background event loop. Everything here is synchronous and may be called from any thread.

    Use it as a context manager (leaving finishes what was accepted), or ``run`` it, or ``start`` and ``exit`` it; it
    can be started again after it has exited. Generic in what ``run`` returns.

    Args:
        logger: where failures go; ``agere.node`` by default.
        name: for threads, logs and pictures.
        host: where the person is; by default the main thread and its terminal, or the notebook in a Jupyter kernel.
        lanes: how many bodies each named lane runs at once, as ``{"llm": 8}``.
        max_workers: bound of the worker threads.
        grace: seconds that terminated work has to unwind, before it is abandoned.
        stall: seconds for which a body may block the loop, before it is reported.

    Raises:
        ValueError: a number is out of range.
        TypeError: an argument is of a wrong kind.
    """

    _kind_ = "commander"

    def __init__(
        self,
        logger: logging.Logger | None = None,
        *,
        name: str | None = None,
        host: Host | None = None,
        lanes: Mapping[Any, int] | None = None,
        max_workers: int = 4096,
        grace: float = 5.0,
        stall: float = 0.25,
    ) -> None:
        _check_options(logger, host, lanes, max_workers, grace, stall)
        self.__agere_options__ = (
            name or f"agere-{next(_numbers)}",
            host if host is not None else default_host(),
            dict(lanes or {}),
            max_workers,
            float(grace),
            float(stall),
            logger if logger is not None else logging.getLogger("agere.node"),
        )
        self.__agere_listeners__ = Listeners()
        self.__agere_sigterm__ = WindingDown()
        self.__agere_lock__ = threading.Lock()

    # -- its life

    def start(self) -> Self:
        """Any thread. Begin a session: its loop thread runs from here on.

        Raises:
            CommanderAlreadyRunningError: it runs.
            WorkerLimitError: the system refused a thread.
        """
        self._begin_session_()
        return self

    def run(self, job: Any = None, auto_exit: bool = False) -> T | None:
        """Any thread but an Agere loop. Start, run the work, and return when the commander has exited.

        Works inside a running event loop too, and leaves it alone. On the main thread it serves the host meanwhile.
        Ctrl-C terminates everything, waits for the unwinding, and raises KeyboardInterrupt; SIGTERM likewise, with a
        SystemExit.

        Args:
            job: a Job, or an iterable of them; handlers and plain functions work as well.
            auto_exit: exit when all work is done, instead of waiting for ``exit``.

        Returns:
            The ``return_result`` of the exit; None if none was given.

        Raises:
            CommanderAlreadyRunningError: it runs.
            BlockingCallError: called on an Agere loop thread.
            NotTaskerError, TypeError, NodeActiveError: an element was refused; what stood before it has finished.
            SystemExit, KeyboardInterrupt: left a body or a callback.
        """
        refuse_on_loop("run()", "submit the work instead, or delegate this call")
        with WindingDown():
            return self._run_(job, auto_exit)

    def _run_(self, job: Any, auto_exit: bool) -> T | None:
        session = self._begin_session_(someone_runs=True)
        refused: BaseException | None = None
        try:
            works = _as_works(job)
            try:
                for work in works:
                    self._accept_(as_node(work, (), {}), None, None)
            except Exception as error:  # noqa: BLE001 - raised below, after what was accepted
                refused = error
                if isinstance(works, Generator):
                    works.close()  # what was accepted may wait for something in its `finally`
            if auto_exit or refused is not None:
                session.exit_when_idle()
            result = self._wait_for_(session, None)
        except (KeyboardInterrupt, SystemExit):
            self._terminate_and_wait_(session)
            raise
        if refused is not None:
            raise refused
        return result

    def run_auto(self, job: Any, auto_exit: bool = True) -> bool:
        """Any thread. Run the work, or hand it over if the commander runs already.

        Args:
            job: as for ``run``.
            auto_exit: as for ``run``; only if this call runs the commander.

        Returns:
            True if this call ran the commander, and it has exited; False if the work was handed to the running one.
        """
        if not self.running_status:
            try:
                self.run(job, auto_exit)
            except CommanderAlreadyRunningError:
                pass  # somebody started it in between
            else:
                return True
        for work in _as_works(job):
            self._accept_(as_node(work, (), {}), None, None)
        return False

    def put_job_threadsafe(self, job: Job[R], parent: TaskNode[Any] | None = None, lane: object = None) -> JobFuture[R]:
        """Any thread. Submit a Job. For arguments and errors see ``submit`` and ``put_job``."""
        if not isinstance(job, TaskNode) or job._kind_ != "job":
            refuse_job(job)
        return self.submit(job, parent=parent, lane=lane)

    def call_handler_threadsafe(
        self, handler: HandlerCoroutine[R], parent: TaskNode[Any] | None = None
    ) -> JobFuture[R]:
        """Any thread. Submit a handler. For arguments and errors see ``submit`` and ``call_handler``."""
        if not isinstance(handler, TaskNode) or handler._kind_ != "handler":
            refuse_handler(handler)
        return self.submit(handler, parent=parent)

    def exit(self, return_result: Any = None, wait: bool = True) -> None:
        """Any thread. End the session: terminate what runs, give it the grace period, close everything.

        Idempotent; the first call's result counts. On a loop thread, and within the bodies and callbacks of this
        commander, it only asks: the caller gets to finish its step.

        Args:
            return_result: what ``run`` returns.
            wait: wait until the session has ended; bounded, even if a body hangs.
        """
        session = self._session_
        if session is None or session.closed:
            return
        session.request_exit(return_result)
        node = current_node()
        if not wait or here.on_loop or here.session is session or (node is not None and node._session_ is session):
            return
        session.finish_exit(session.pump_while_unwinding())

    def wait_for_exit(self, timeout: float | None = None) -> T | None:
        """Any thread but an Agere loop. Wait until the session has ended.

        Args:
            timeout: seconds, or None.

        Returns:
            The ``return_result`` of the exit.

        Raises:
            TimeoutError: the time ran out.
            CommanderNotRunError: it was never started.
            BlockingCallError, DeadlockError: called within this commander, which could not end then.
            SystemExit, KeyboardInterrupt: left a body or a callback.
        """
        refuse_on_loop("wait_for_exit()", "use exit(wait=False) or an at_commander_end callback")
        session = self._session_
        if session is None:
            raise CommanderNotRunError("this commander was never started; start() or run() it first")
        node = current_node()
        if not session.closed and (here.session is session or (node is not None and node._session_ is session)):
            raise DeadlockError("a body would wait for the exit of its own commander, which waits for the body")
        try:
            return self._wait_for_(session, timeout)
        except (KeyboardInterrupt, SystemExit):
            if not session.closed:
                self._terminate_and_wait_(session)
            raise

    @property
    def running_status(self) -> bool:
        """Any thread. True from ``start`` until the session is closed."""
        session = self._session_
        return session is not None and not session.closed

    def is_empty(self) -> bool:
        """Any thread. Whether neither mailbox nor tree holds work."""
        session = self._session_
        return session is None or session.closed or (session.mailbox.empty and self._pending_ == 0)

    def __enter__(self) -> Self:
        refuse_on_loop("`with Commander()`", "use `async with`")
        sigterm = WindingDown()
        sigterm.__enter__()
        try:
            self.start()
        except BaseException:
            sigterm.__exit__()
            raise
        self.__agere_sigterm__ = sigterm
        return self

    def __exit__(
        self, exc_type: type[BaseException] | None, exc: BaseException | None, traceback: TracebackType | None
    ) -> None:
        session = self._session_
        if session is None:
            return
        try:
            if exc_type is None:
                session.exit_when_idle()
                self._wait_for_(session, None)
            else:
                self._terminate_and_wait_(session)
        except (KeyboardInterrupt, SystemExit):
            self._terminate_and_wait_(session)
            raise
        finally:
            self.__agere_sigterm__.__exit__()

    def __aenter__(self) -> Awaitable[Self]:
        self.start()
        return Immediate(self)

    def __aexit__(
        self, exc_type: type[BaseException] | None, exc: BaseException | None, traceback: TracebackType | None
    ) -> Awaitable[None]:
        session = self._session_
        if session is None:
            return Immediate(None)
        return finish_and_exit(session, broken_off=exc_type is not None)

    def __del__(self) -> None:
        session = getattr(self, "_session_", None)
        if session is not None and not session.closed and not session.forked:
            close_dropped(session, self)

    # -- looking at it

    def tree(self) -> TreeSnapshot:
        """Any thread. A picture of the task tree; prints as text.

        Exact, unless a body blocks the loop: then it is taken from here, and may be off by what happens just now.
        """
        session = self._session_
        if session is None or session.closed or session.on_loop:
            return snapshot.take(self)
        taken: list[TreeSnapshot] = []
        there = Latch()

        def take() -> None:
            taken.append(snapshot.take(self))
            there.set()

        if session.mailbox.report(take) and there.wait(session.stall) and taken:
            return taken[0]
        return snapshot.take(self)

    def subscribe(self, fn: Subscriber, *, in_context: bool = False) -> Subscription:
        """Any thread. Have every lifecycle event (``agere.commander.events``) handed to ``fn``, in order.

        ``fn`` is called on a thread of its own: a slow or raising subscriber harms nobody. One that falls more than
        65,536 events behind loses some; the log says so, and an ``EventsLost`` stands in their place.

        Args:
            fn: called with each event. What it raises is logged on ``agere.events``.
            in_context: call it in place instead, where the event arises (mostly the loop thread), within the node's
                context. A context variable that it sets at ``NodeStarted`` is there in the body, in its callbacks and
                in all that they submit. It must be quick, and not block: the loop waits for it.

        Returns:
            What ends the subscription when it is called. Its ``drain(timeout)`` waits until all has been read.

        Raises:
            TypeError: ``fn`` cannot be called.
        """
        return self.__agere_listeners__.add(fn, in_context)

    @property
    def questions(self) -> tuple[Question, ...]:
        """Any thread. The open questions of nodes to the person, oldest first."""
        session = self._session_
        return () if session is None else session.person.open.all()

    def watch(self, style: Style = "auto", *, lines: int = 30) -> Watch:
        """Any thread. Show what runs, live: states, ages and counts, until the commander exits.

        Prints and log lines of this process appear above the view, and prompts of ``input`` interrupt it. It costs a
        bounded share of one thread, and nothing that goes wrong in it reaches the program.

        Args:
            style: "terminal" (a live tree on stderr; needs rich), "notebook" (one display in Jupyter), "lines" (plain
                lines on stderr), or "auto": what fits the place.
            lines: how many lines of the tree to show.

        Returns:
            What runs already; ``stop()`` ends it. As a context manager it shows every session of its block.

        Raises:
            ImportError: the view is for a terminal, and rich is not installed.
            ValueError: an unknown style, or fewer than 1 line.
        """
        from agere.watch import Watch

        return Watch(self, style, lines)

    def _repr_html_(self) -> str:
        from agere.rendering.html import commander_html

        return commander_html(self)

    def __rich__(self) -> object:
        from agere.rendering.rich_text import commander_text

        return commander_text(self)

    # -- inside

    def _begin_session_(self, someone_runs: bool = False) -> Session:
        name, host, lanes, max_workers, grace, stall, logger = self.__agere_options__
        with self.__agere_lock__:
            before = self._session_
            if before is not None and not before.closed:
                raise CommanderAlreadyRunningError(
                    f"{name} is running; submit work to it, or wait for its exit before starting it again"
                )
            session = Session(self, name, host, lanes, max_workers, grace, stall, logger, self.__agere_listeners__)
            session.someone_runs = someone_runs
            self._last_ = None
            self._pending_ = 0
            self._state_ = None
            self._phase_ = tree.ACTIVE
            self._session_ = session
            try:
                session.start()
                self.__agere_listeners__.session_began(session)
            except BaseException:
                self._session_ = before
                self._phase_ = tree.NEW if before is None else tree.ENDED
                raise
        return session

    def _session_over_(self, session: Session) -> None:
        if self._session_ is session:
            self._last_ = None
            self._pending_ = 0
            self._phase_ = tree.ENDED
            self._state_ = State.COMPLETED if session.error is None else State.EXCEPTION
            self._error_ = session.error

    def _session_for_work_(self) -> Session:
        session = self._session_
        if session is None or (session.closed and not session.forked):
            raise CommanderNotRunError(
                f"{self._name_()} is not running and takes no work; use it in a `with` block, or start() or run() it"
            )
        refuse_abandoned()
        return session

    def _wait_for_(self, session: Session, timeout: float | None) -> T | None:
        if not session.wait_over(timeout, session.pump_for_this_thread()):
            raise TimeoutError(f"{session} has not exited within {timeout} s")
        session.finish_exit()
        if session.error is not None:
            raise session.error
        return cast("T | None", session.result)

    def _terminate_and_wait_(self, session: Session) -> None:
        session.request_exit()
        session.finish_exit(session.pump_while_unwinding())

    def _close_(self, alone: bool = False) -> bool:
        """To terminate the commander, alone or not, is to exit: nothing stands above it to take its children."""
        running = self.running_status
        Commander.exit(self, wait=False)
        return running

    def _callbacks_changed_(self) -> None:
        """Nothing to announce: the session asks the commander itself at its end."""

    def _parent_of_(self) -> None:
        return None

    def _commander_(self) -> Commander[Any]:
        return self

    def _name_(self) -> str:
        return str(self.__agere_options__[0])

    def _public_state_(self) -> State:
        if self._phase_ == tree.NEW:
            return State.PENDING
        return State.ACTIVE if self._phase_ != tree.ENDED else self._state_ or State.COMPLETED


def _as_works(job: Any) -> Iterable[Any]:
    if job is None:
        return ()
    if isinstance(job, TaskNode) or callable(job) or not isinstance(job, Iterable):
        return (job,)
    return job


def _check_options(
    logger: object, host: object, lanes: object, max_workers: object, grace: object, stall: object
) -> None:
    if logger is not None and not isinstance(logger, logging.Logger | logging.LoggerAdapter):
        raise TypeError(f"logger is a logging.Logger, not {logger!r}")
    if host is not None and not isinstance(host, Host):
        raise TypeError(f"host is an agere.commander.Host, not {host!r}")
    if lanes is not None:
        if not isinstance(lanes, Mapping):
            raise TypeError(f"lanes is a mapping from names to widths, such as {{'llm': 8}}, not {lanes!r}")
        for key, width in lanes.items():
            if key is None or not isinstance(width, int) or isinstance(width, bool) or width < 1:
                raise ValueError(f"lane {key!r} has width {width!r}; a width is a whole number from 1 up")
    if not isinstance(max_workers, int) or isinstance(max_workers, bool) or max_workers < 1:
        raise ValueError(f"max_workers is a whole number from 1 up, not {max_workers!r}")
    for word, seconds in (("grace", grace), ("stall", stall)):
        if not isinstance(seconds, int | float) or not 0 <= seconds < float("inf"):
            raise ValueError(f"{word} is a number of seconds from 0 up, not {seconds!r}")
    if stall == 0:
        raise ValueError("stall must be more than 0 seconds")
