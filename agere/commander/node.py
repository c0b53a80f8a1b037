"""``TaskNode``: what the Commander, Jobs and handlers have in common."""

from __future__ import annotations

import asyncio
import functools
import itertools
import threading
from collections.abc import Awaitable, Callable, Coroutine
from concurrent.futures import Executor, Future
from contextvars import Context, copy_context
from threading import get_ident
from typing import TYPE_CHECKING, Any, Generic, NamedTuple, ParamSpec, TypeVar, cast, overload

from agere.errors import (
    AttributeNotSetError,
    CallbackError,
    CommanderNotRunError,
    NodeActiveError,
)

from . import tree
from .affinity import here
from .body import runs_on_loop
from .callback import Callback, CallbackSource, Phase
from .emission import NOTHING_TO_AWAIT, Emission
from .future import JobFuture
from .more import Closeable, More
from .refusals import raise_ended, refuse_abandoned, refuse_handler, refuse_job
from .shadow import shadowable
from .state import State
from .submission import Immediate, Submission
from .waiting import wrap
from .workers import Ticket

if TYPE_CHECKING:
    from .facade import Commander
    from .handler import HandlerCoroutine
    from .job import Job
    from .session import Session
    from .tasks import NodeTask

T = TypeVar("T")
T_co = TypeVar("T_co", covariant=True)
R = TypeVar("R")
P = ParamSpec("P")

_SUBMITTABLE = ("job", "handler")
_ids = itertools.count(1)
_claim = threading.Lock()  # a node can be submitted from two threads, or to two commanders, at once


class _Outcome(NamedTuple):
    """What a run has left on its node."""

    session: Session | None
    parent: tree.TreeEntry | None
    context: Context | None
    state: State | None
    value: Any
    error: BaseException | None
    more: More | None


_NEVER_RUN = _Outcome(None, None, None, None, None, None, None)


class TaskNode(tree.TreeEntry, Generic[T_co]):
    """A node of the task tree. Subclass ``Job`` or write a ``@handler`` rather than this.

    A subclass may assign any public name below without harm, with or without calling ``super().__init__()``.
    """

    __slots__ = (
        "__dict__",
        "_body_",
        "_context_",
        "_error_",
        "_extra_",
        "_future_",
        "_id_",
        "_runs_",
        "_session_",
        "_since_",
        "_state_",
        "_value_",
    )

    _id_: int
    _session_: Session | None
    _context_: Context | None
    _body_: NodeTask | Ticket | None
    _future_: JobFuture[Any] | None
    _extra_: More | None
    _state_: State | None
    _value_: Any
    _error_: BaseException | None
    _since_: float
    _runs_: int
    """How often it has run before. Unset until it runs again: most nodes never do."""

    _kind_ = "node"
    """Fixed by the base class: a subclass may call anything of its own ``kind``."""

    data: Any = None
    """Anything. An edge binds its own ``data`` here before the node runs."""

    def __new__(cls, *_args: Any, **_kwargs: Any) -> Any:  # Any: or type checkers would hide __init__'s signature
        """Set up the internals, so that a subclass need not call ``super().__init__()``."""
        self = object.__new__(cls)
        self._parent_ = self._prev_ = self._next_ = self._last_ = None
        self._pending_ = self._phase_ = 0
        self._id_ = next(_ids)
        self._session_ = self._context_ = self._body_ = self._future_ = self._extra_ = None
        self._state_ = self._value_ = self._error_ = None
        self._since_ = 0.0
        return self

    # -- what it is (any thread)

    @shadowable
    def id(self: TaskNode[Any]) -> int:
        """A number that no other node of this process has."""
        return self._id_

    @shadowable
    def name(self: TaskNode[Any]) -> str:
        """A name for people: the class's or the function's."""
        return self._name_()

    @shadowable
    def state(self: TaskNode[Any]) -> State:
        """Where the node's own body and tail stand. The Future tells of the subtree."""
        return self._public_state_()

    if TYPE_CHECKING:  # generic in the node's own parameter, which no descriptor of ours can express

        @property
        def result(self) -> T_co | None:
            """What the latest run's body or tail gave; None before that."""

        @result.setter
        def result(self, value: Any) -> None: ...

    else:

        @shadowable
        def result(self):
            """What the latest run's body or tail gave; None before that."""
            return self._value_

    @shadowable
    def exception(self: TaskNode[Any]) -> BaseException | None:
        """What the latest run's body or tail failed with; None if it did not."""
        return self._error_

    @shadowable
    def parent(self: TaskNode[Any]) -> TaskNode[Any] | None:
        """The node below which this one runs or ran; None for a commander.

        Raises:
            AttributeNotSetError: the node has never been submitted.
        """
        return self._parent_of_()

    @shadowable
    def children(self: TaskNode[Any]) -> list[TaskNode[Any]]:
        """The live nodes directly below this one, oldest first. A snapshot."""
        return cast("list[TaskNode[Any]]", tree.children(self))

    @shadowable
    def ancestor_chain(self: TaskNode[Any]) -> list[TaskNode[Any]]:
        """The nodes above this one: its parent first, the commander last."""
        return cast("list[TaskNode[Any]]", list(tree.ancestors(self)))

    @shadowable
    def commander(self: TaskNode[Any]) -> Commander[Any]:
        """The commander in whose tree this node runs or ran.

        Raises:
            AttributeNotSetError: the node has never been submitted.
        """
        return self._commander_()

    @shadowable
    def callback(self: TaskNode[Any]) -> Callback:
        """The node's callbacks."""
        more = self._more_()
        if more.callback is None:
            more.callback = Callback()
        return more.callback

    # -- giving work

    @overload
    def submit(
        self, work: TaskNode[R], /, *, parent: TaskNode[Any] | None = None, lane: object = None
    ) -> JobFuture[R]: ...
    @overload
    def submit(
        self,
        work: Callable[..., Coroutine[Any, Any, R]],
        /,
        *args: Any,
        parent: TaskNode[Any] | None = None,
        lane: object = None,
        **kwargs: Any,
    ) -> JobFuture[R]: ...
    @overload
    def submit(
        self,
        work: Callable[..., R],
        /,
        *args: Any,
        parent: TaskNode[Any] | None = None,
        lane: object = None,
        **kwargs: Any,
    ) -> JobFuture[R]: ...
    def submit(
        self,
        work: Any,
        /,
        *args: Any,
        parent: TaskNode[Any] | None = None,
        lane: object = None,
        **kwargs: Any,
    ) -> JobFuture[Any]:
        """Any thread. Run work below this node.

        Args:
            work: a Job, a handler, or a function (``async def`` runs on the loop, ``def`` on a worker thread).
            *args: a function's arguments.
            parent: the node below which it is to run instead.
            lane: the lane in which it is to wait. Jobs wait in the default lane, handlers and functions in none.
            **kwargs: a function's keyword arguments.

        Returns:
            The Future of this run.

        Raises:
            NotTaskerError: a Job without a ``@tasker`` task.
            TypeError: ``work`` is no work, or the arguments do not fit.
            NodeActiveError: the Job or handler is queued or running.
            NodeEndedError: this node is ending or has ended.
            CommanderNotRunError: the commander is not running.
        """
        if isinstance(work, TaskNode) and not args and not kwargs and work._kind_ in _SUBMITTABLE:
            node: TaskNode[Any] = work
            node._check_work_()
        else:
            from .work import as_node

            node = as_node(work, args, kwargs)
        future = self._accept_(node, parent, lane, wants_future=True)
        assert future is not None  # noqa: S101 - for the type checker
        return future

    def put_job(
        self,
        job: Job[R],
        parent: TaskNode[Any] | None = None,
        requester: TaskNode[Any] | None = None,
        lane: object = None,
    ) -> Submission[R]:
        """Any thread. Put a Job below this node; it is scheduled by this call, whether awaited or not.

        Args:
            job: the Job.
            parent: the node below which it is to run instead, such as ``task_node.commander``.
            requester: the node on whose behalf it is put; its parent if ``parent`` is not given.
            lane: the lane in which it is to wait.

        Returns:
            Something that gives the JobFuture when awaited, without suspending.

        Raises:
            NotJobError: ``job`` is no Job. For the others see ``submit``.
        """
        if not isinstance(job, TaskNode) or job._kind_ != "job":
            refuse_job(job)
        job._check_work_()
        return Submission(job, self._accept_(job, requester if parent is None else parent, lane))

    def call_handler(
        self,
        handler: HandlerCoroutine[R],
        parent: TaskNode[Any] | None = None,
        requester: TaskNode[Any] | None = None,
    ) -> Submission[R]:
        """Any thread. Start a handler below this node; it is scheduled by this call, whether awaited or not.

        Args:
            handler: what a ``@handler`` function returned.
            parent: the node below which it is to run instead.
            requester: the node on whose behalf it is called; its parent if ``parent`` is not given.

        Returns:
            Something that gives the JobFuture when awaited, without suspending.

        Raises:
            NotHandlerError: ``handler`` is no handler. For the others see ``submit``.
        """
        if not isinstance(handler, TaskNode) or handler._kind_ != "handler":
            refuse_handler(handler)
        handler._check_work_()
        return Submission(handler, self._accept_(handler, requester if parent is None else parent, None))

    # -- ending

    def cancel(self) -> bool:
        """Any thread. Terminate this node and everything below it; they unwind on their own time.

        Returns:
            False if the node is not running, or has begun to end.
        """
        return self._close_()

    def close_task_node(self) -> Immediate[bool]:
        """Any thread. The same as ``cancel``; may be awaited, which does not suspend."""
        return Immediate(self._close_())

    def terminate_task_node(self) -> Immediate[bool]:
        """Any thread. Terminate this node alone: its children move to its parent. May be awaited."""
        return Immediate(self._close_(alone=True))

    def exit_commander(self, return_result: Any = None) -> Immediate[None]:
        """Any thread. Have the whole commander exit. The caller gets to finish the step it is in.

        Args:
            return_result: what ``run`` returns.
        """
        TaskNode._commander_(self).exit(return_result, wait=False)
        return Immediate(None)

    # -- callbacks

    def add_callback_functions(self, which: Phase, functions_info: CallbackSource) -> None:
        """Add callbacks to one phase. Before the node is submitted, or within its commander.

        Args:
            which: the phase; see ``agere.commander.callback``.
            functions_info: a callback dict, or a list of them.

        Raises:
            CallbackError: an unknown phase or a malformed dict.
        """
        TaskNode._callback_(self).add(which, functions_info)
        self._callbacks_changed_()

    def add_callback(self, callback: Callback) -> None:
        """Add all callbacks of a ``Callback``. Raises CallbackError if it is none."""
        if not isinstance(callback, Callback):
            raise CallbackError(f"add_callback takes a Callback, not {callback!r}")
        TaskNode._callback_(self).merge(callback)
        self._callbacks_changed_()

    # -- leaving the loop

    def delegate(
        self, fn: Callable[..., R], /, *args: Any, executor: Executor | None = None, **kwargs: Any
    ) -> Awaitable[R]:
        """On the loop: await ``fn(*args, **kwargs)``, run elsewhere. On a worker thread: run it and give its value.

        Args:
            fn: a blocking function.
            *args: its arguments.
            executor: any ``concurrent.futures.Executor``, such as a process pool; a worker thread by default.
            **kwargs: its keyword arguments.

        Raises:
            TypeError: ``fn`` is an ``async def``: await it, or ``submit`` it.
            WorkerLimitError: no worker thread could be had.
        """
        if runs_on_loop(fn):
            raise TypeError(f"delegate() takes a blocking function; {fn!r} is async: await it, or submit it")
        session = self._running_session_()
        if not here.on_loop:
            value = fn(*args, **kwargs) if executor is None else executor.submit(fn, *args, **kwargs).result()
            return cast("Awaitable[R]", value)
        pool = session.workers if executor is None else executor
        return wrap(pool.submit(fn, *args, **kwargs), asyncio.get_running_loop())

    def emit(self, value: Any) -> Emission:
        """Any thread. Hand a value to whoever streams this node's Future or an ancestor's.

        On the loop, ``await self.emit(value)`` waits while the consumer is slow; without ``await`` it never does. On a
        worker thread the call itself waits. With nobody to hand it to, it does nothing.
        """
        session = self._session_
        if session is None:
            return NOTHING_TO_AWAIT
        if here.on_loop and here.session is session:
            return session.scheduler.emit(self, value)
        session.emit_from_worker(self, value)
        return NOTHING_TO_AWAIT

    # -- the host

    def ask(self, prompt: str = "") -> Any:
        """Ask the person. On the loop: ``answer = await self.ask(prompt)``. On a worker thread it gives the answer.

        The question stands in ``commander.questions`` and can be answered from anywhere.

        Args:
            prompt: what to show.

        Returns:
            The answer, a str (on the loop: an awaitable of it).

        Raises:
            EOFError: the person's input has ended.
            HostGoneError: the host is gone.
        """
        session = self._running_session_()
        if here.on_loop:
            return session.person.ask(self, prompt)
        return session.person.ask_blocking(prompt, by_input=False, node=self)

    def deliver(self, fn: Callable[..., R], /, *args: Any, **kwargs: Any) -> Future[R]:
        """Any thread. Run ``fn(*args, **kwargs)`` on the host's thread, without waiting; in order.

        Returns:
            A Future of what it gives; cancelled if this node is terminated before its turn comes.

        Raises:
            HostGoneError: the host is gone.
        """
        return self._running_session_().person.deliver(self, functools.partial(fn, *args, **kwargs))

    # -- resources

    def attach_stream(self, stream: Closeable) -> None:
        """Any thread. Have ``stream.close()`` called when this node ends or is terminated; at once if it has ended."""
        more = self._more_()
        if more.streams is None:
            more.streams = {}
        session = self._session_
        known = stream in more.streams
        more.streams[stream] = None
        if session is not None and not known:
            session.stream_opened(self)
        if self._phase_ not in (tree.QUEUED, tree.ACTIVE):
            TaskNode.detach_stream(self, stream)
            stream.close()

    def detach_stream(self, stream: Closeable) -> None:
        """Any thread. The stream has closed by itself."""
        more = self._extra_
        if more is not None and more.streams is not None and more.streams.pop(stream, 0) is None:
            session = self._session_
            if session is not None:
                session.stream_closed(self)

    # -- inside

    def _close_(self, alone: bool = False) -> bool:
        session = self._session_
        if session is None or self._phase_ not in tree.LIVE_PHASES:
            return False
        return session.ask_terminate(self) if alone else session.ask_close(self)

    def _label_(self) -> str:
        return f"{self._name_()}#{self._id_}"

    def _name_(self) -> str:
        return type(self).__name__

    def _public_state_(self) -> State:
        phase = self._phase_
        if phase <= tree.QUEUED:
            return State.PENDING
        if phase >= tree.ENDING and self._state_ is not None:
            return self._state_
        return State.ACTIVE

    def _parent_of_(self) -> TaskNode[Any] | None:
        if self._session_ is None:
            raise AttributeNotSetError(f"{self._describe_()} has no parent: it has not been submitted yet")
        return cast("TaskNode[Any] | None", self._parent_)

    def _commander_(self) -> Commander[Any]:
        session = self._session_
        if session is None:
            raise AttributeNotSetError(f"{self._describe_()} has no commander: it has not been submitted yet")
        return session.commander()

    def _run_number_(self) -> int:
        return getattr(self, "_runs_", 0) + 1

    def _callback_(self) -> Callback:
        more = self._more_()
        if more.callback is None:
            more.callback = Callback()
        return more.callback

    def _callbacks_changed_(self) -> None:
        """Callbacks were added; one for the commander's end may have to be announced."""
        session = self._session_
        if session is not None and self._phase_ in tree.LIVE_PHASES:
            session.call_on_loop(session.scheduler.announce_end_callbacks, self)

    def _more_(self) -> More:
        more = self._extra_
        if more is None:
            more = self._extra_ = More()
        return more

    def _check_work_(self) -> None:
        """Raise what is wrong with this Job or handler before it is taken."""

    def _runs_on_loop_(self) -> bool:
        raise TypeError(f"{self._describe_()} is no Job and no handler: it has no body")

    def _call_body_(self) -> Any:
        raise TypeError(f"{self._describe_()} is no Job and no handler: it has no body")

    def _running_session_(self) -> Session:
        session = self._session_
        if session is None:
            raise CommanderNotRunError(
                f"{self._describe_()} is not in a commander; submit it first: commander.submit, node.put_job, ..."
            )
        return session

    def _session_for_work_(self) -> Session:
        if here.ticket is not None:
            refuse_abandoned()
        session = self._session_
        return self._running_session_() if session is None else session

    def _claim_(self, session: Session, context: Context) -> _Outcome | None:
        """Any thread. Begin a new run, as its only owner; None if the node is queued or running.

        Returns:
            The outcome of the run before, for ``_unclaim_``.
        """
        with _claim:
            if self._phase_ not in tree.IDLE_PHASES:
                return None
            before = self._phase_
            self._phase_ = tree.QUEUED
        outcome = _NEVER_RUN
        if before == tree.ENDED:
            more = self._extra_
            outcome = _Outcome(
                self._session_, self._parent_, self._context_, self._state_, self._value_, self._error_, more
            )
            self._state_ = self._value_ = self._error_ = self._body_ = self._future_ = None
            self._runs_ = self._run_number_()
            if more is not None:
                self._extra_ = more.for_next_run()
        self._session_ = session
        self._context_ = context
        self._pending_ = 0
        return outcome

    def _unclaim_(self, outcome: _Outcome) -> None:
        """The claimer only. The run was refused: everything is as it was before."""
        self._future_ = None
        if outcome is not _NEVER_RUN:
            self._runs_ -= 1
        self._session_, self._parent_, self._context_, self._state_, self._value_, self._error_, more = outcome
        if more is not None:
            self._extra_ = more
        self._phase_ = tree.NEW if outcome is _NEVER_RUN else tree.ENDED

    def _accept_(
        self, node: TaskNode[R], parent: TaskNode[Any] | None, lane: object, wants_future: bool = False
    ) -> JobFuture[R] | None:
        """Any thread. Take ``node`` into the tree, or raise. Gives its Future if it had to be made now."""
        target = self
        if parent is not None:
            if not isinstance(parent, TaskNode):
                raise TypeError(f"parent is a node of a running commander, not {parent!r}")
            target = parent
        session = target._session_
        on_loop = session is not None and session.loop_thread == get_ident()
        if session is None or not on_loop:
            session = target._session_for_work_()
            session.refuse_in_fork()
        if lane is not None:
            hash(lane)  # a lane is looked up by its name: an unhashable one raises TypeError here, and changes nothing
        before = node._claim_(session, copy_context())
        if before is None:
            raise NodeActiveError(
                f"{node._describe_()} is queued or running; it can be submitted again once it has ended"
            )
        try:
            if on_loop:
                future = None
                if wants_future:
                    node._future_ = future = JobFuture(node, session)
                if target._phase_ != tree.ACTIVE:
                    raise_ended(target)
                session.scheduler.admit(node, target, lane)
            else:
                if target._phase_ not in (tree.QUEUED, tree.ACTIVE):
                    raise_ended(target)
                node._parent_ = target
                node._future_ = future = JobFuture(node, session)
                session.mailbox.submit(session.scheduler.admit_from_outside, node, target, lane)
        except BaseException:
            if node._pending_ == 0:  # an interrupt may have come after the work was taken
                node._unclaim_(before)
            raise
        return future

    def _future_of_run_(self) -> JobFuture[T_co]:
        """Any thread. The Future of the latest run."""
        future = self._future_
        if future is None:
            session = self._running_session_()
            future = JobFuture(self, session)
            if here.on_loop and here.session is session:
                session.scheduler.adopt_future(self, future)
            else:
                session.call_on_loop(session.scheduler.adopt_future, self, future)
        return future

    def _is_terminated_(self) -> bool:
        """Any thread. Whether it is being terminated, or was: a call that was delegated may outlive its node."""
        phase = self._phase_
        return phase == tree.CLOSING or (phase == tree.ENDED and self._state_ is State.TERMINATED)

    def _describe_(self) -> str:
        """For messages: not ``repr``, which a subclass may make raise, or show what should not be seen."""
        return f"<{self._name_()} #{self._id_} {self._public_state_()}>"

    def __repr__(self) -> str:
        return self._describe_()


def reset_after_fork() -> None:
    """Forked child only. The lock may have been held at the fork."""
    global _claim  # noqa: PLW0603 - one per process
    _claim = threading.Lock()
