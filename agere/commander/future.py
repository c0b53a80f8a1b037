"""``JobFuture``: a true ``concurrent.futures.Future`` that a node's completion resolves.

A ``Future`` makes a condition and two lists when it is born, which costs more than everything else in a submission.
Most futures are never waited for in a way that needs them, so here they appear on first access. A wait sits on a raw
lock. The ordering that keeps both safe without a lock of our own: the resolver writes the outcome, then ``_state``,
then looks who waits; a waiter registers, then looks at ``_state``.
"""

from __future__ import annotations

import contextlib
import logging
import threading
from collections import deque
from collections.abc import Callable, Generator
from concurrent.futures import Future, InvalidStateError
from contextvars import Context, copy_context
from itertools import islice
from typing import TYPE_CHECKING, Any, Final, NoReturn, TypeVar

from agere.errors import HostGoneError, NodeTerminatedError

from . import failures, tree
from .affinity import current_node, here, refuse_on_loop
from .waiting import block_until, wake_all

if TYPE_CHECKING:
    from .emission import Channel, JobStream
    from .node import TaskNode
    from .session import Session

T = TypeVar("T")

PENDING: Final = "PENDING"
FINISHED: Final = "FINISHED"
CANCELLED: Final = "CANCELLED_AND_NOTIFIED"  # the final one of the two that concurrent.futures knows

logger = logging.getLogger("agere.future")


class JobFuture(Future[T]):
    """The outcome of one run of a node, with everything below it.

    It resolves when the node *completes*: with the node's result, or with what failed in its subtree and no body
    received (one failure as itself, several as an ExceptionGroup). It turns cancelled when the node was terminated.
    Works with ``concurrent.futures.wait`` and ``as_completed`` and ``asyncio.wrap_future``; ``await future`` works on
    any event loop, and cancelling the awaiter cancels the job.

    Attributes:
        node: the node that runs.
    """

    # Defaults of what concurrent.futures reads, so that an instance needs to hold only what differs.
    _state: str = PENDING
    _result: Any = None
    _exception: BaseException | None = None
    _wakers: list[threading.Lock] | None = None
    _calls: deque[tuple[Callable[[Any], object], Context]] | None = None
    _cond: threading.Condition | None = None
    _rope: failures.Rope | None = None
    _covered: list[failures.Failure] | None = None
    _channel: Channel | None = None

    def __init__(self, node: TaskNode[T], session: Session) -> None:
        self.node = node
        self._session = session

    # -- what concurrent.futures.wait and as_completed reach for

    if not TYPE_CHECKING:  # to type checkers these are the attributes that typeshed declares

        @property
        def _condition(self):
            if here.on_loop and self._state is PENDING:
                refuse_on_loop("concurrent.futures.wait() or as_completed()", "use asyncio.wait() or gather() there")
            return vars(self).setdefault("_cond", threading.Condition())

        @property
        def _waiters(self):
            installed = vars(self).get("_installed")
            if installed is None:
                from .many import Waiters

                installed = vars(self).setdefault("_installed", Waiters(self._session))
            return installed

        @property
        def _done_callbacks(self):
            return []

    # -- asking, from any thread

    def done(self) -> bool:
        """Any thread. Whether the node has completed or was terminated."""
        return self._state is not PENDING

    def cancelled(self) -> bool:
        """Any thread. Whether the node was terminated."""
        return self._state is CANCELLED

    def running(self) -> bool:
        """Any thread. Whether the node has started and not completed."""
        return self._state is PENDING and self.node._phase_ in (tree.ACTIVE, tree.CLOSING, tree.ENDING)

    def cancel(self) -> bool:
        """Any thread. Ask for the termination of the node and its subtree; it unwinds on its own time.

        Returns:
            False if the node has already begun to end, or has ended otherwise.
        """
        if self._state is not PENDING:
            return self._state is CANCELLED
        if self.node._phase_ in (tree.ENDING, tree.ENDED):
            return False
        return self._session.ask_close(self.node)

    def result(self, timeout: float | None = None) -> T:
        """Any thread but an Agere loop. Wait for the outcome.

        On the main thread it also serves the host: questions are asked and deliveries made meanwhile. Ctrl-C
        terminates the job, waits until it has unwound, and raises KeyboardInterrupt; SIGTERM likewise, with a
        SystemExit.

        Args:
            timeout: seconds, or None to wait as long as it takes. Running out of it does not cancel the job.

        Raises:
            TimeoutError: the time ran out.
            NodeTerminatedError: the node was terminated (a ``concurrent.futures.CancelledError``).
            BlockingCallError: called on an Agere loop thread before the outcome is there: await it instead.
            DeadlockError: called in a body that the node itself waits for.
            BaseException: what failed in the subtree.
        """
        if self._state is PENDING:
            self._block(timeout)
        elif here.node is None:  # its last deliveries come before its outcome, however late one asks
            pump = self._session.pump_for_this_thread()
            if pump is not None:
                pump.catch_up()
        return self._take()

    def exception(self, timeout: float | None = None) -> BaseException | None:
        """Any thread but an Agere loop. Wait for the outcome and return its failure, or None. See ``result``."""
        if self._state is PENDING:
            self._block(timeout)
        if self._state is CANCELLED:
            self._raise_terminated()
        return self._failure()

    def __await__(self) -> Generator[Any, None, T]:
        """Any event loop, Agere's or not. Cancelling the awaiter cancels the job (``asyncio.shield`` prevents it)."""
        if self._state is PENDING:
            from .awaiting import wait_on_any_loop

            yield from wait_on_any_loop(self).__await__()
        return self._take()

    def stream(self) -> JobStream:
        """Any thread. What the node and its descendants ``emit``, to iterate over with ``for`` or ``async for``.

        Breaking off, ``close()`` or dropping the iterator cancels the job. After the last item a failure of the job is
        raised. What was emitted before this call is there, unless nobody came for 65,536 items.
        """
        from .emission import JobStream

        return JobStream(self)

    def add_done_callback(self, fn: Callable[[JobFuture[T]], object], on_host: bool = False) -> None:
        """Any thread. Call ``fn(future)`` when the outcome is there, in the caller's context.

        Args:
            fn: called on the loop thread (it must not block), or at once here if the outcome is there already.
            on_host: call it on the host's thread instead.
        """
        if on_host:
            host, context = self._session.host, copy_context()

            def call(future: JobFuture[T]) -> None:
                try:
                    host.post(lambda: context.copy().run(fn, future))
                except HostGoneError as error:  # a window that was closed wants to know nothing any more
                    logger.info("a done callback of %r is dropped: %s", future, error)

        else:
            call = fn  # type: ignore[assignment]
        self._call_when_done(call, copy_context())

    # -- resolving

    def set_result(self, result: object) -> NoReturn:
        """Not for use: the node resolves its Future."""
        raise InvalidStateError("a JobFuture is resolved by its node alone")

    def set_exception(self, exception: BaseException | None) -> NoReturn:
        """Not for use: the node resolves its Future."""
        raise InvalidStateError("a JobFuture is resolved by its node alone")

    def set_running_or_notify_cancel(self) -> bool:
        """Not for use: the node resolves its Future."""
        raise InvalidStateError("a JobFuture is resolved by its node alone")

    def _settle(self, value: Any, rope: failures.Rope | None, cancelled: bool) -> None:
        """Loop only (or the thread that gives up on a blocked loop). Resolve, once, and tell who waits."""
        if self._state is not PENDING:
            return
        if cancelled:
            self._state = CANCELLED
        else:
            self._result = value
            self._rope = rope
            self._state = FINISHED
        if self._wakers is not None:
            wake_all(self._wakers)
        if self._cond is not None:
            with self._cond:
                for waiter in self._waiters:
                    if self._state is CANCELLED:
                        waiter.add_cancelled(self)
                    elif rope is not None:
                        waiter.add_exception(self)
                    else:
                        waiter.add_result(self)
                self._cond.notify_all()
        if self._channel is not None:
            self._channel.finish()
        self._run_calls()

    def _is_watched(self) -> bool:
        """Loop only. Whether somebody waits for the outcome."""
        return bool(self._wakers or self._calls or self._cond is not None or self._channel is not None)

    def _call_when_done(self, fn: Callable[[JobFuture[T]], object], context: Context) -> None:
        calls: deque[tuple[Callable[[Any], object], Context]]
        calls = self._calls if self._calls is not None else vars(self).setdefault("_calls", deque())
        calls.append((fn, context))
        if self._state is not PENDING:
            self._run_calls()

    def _run_calls(self) -> None:
        calls = self._calls
        while calls:
            try:  # both the resolver and a late adder may be here: each call goes to one of them
                fn, context = calls.popleft()
            except IndexError:
                return
            try:
                context.copy().run(fn, self)
            except (SystemExit, KeyboardInterrupt) as error:
                if not here.on_loop:
                    raise
                self._session.crash(error)
            except BaseException:
                logger.exception("a done callback of %r failed", self)

    def _wakers_list(self) -> list[threading.Lock]:
        wakers = self._wakers
        return wakers if wakers is not None else vars(self).setdefault("_wakers", [])

    def _block(self, timeout: float | None) -> None:
        session = self._session
        if here.session is not None:
            refuse_on_loop("result()", "use `await future` there, or a plain `def` body")
        node = here.node
        if node is not None and node._session_ is not None:
            from .awaiting import wait_in_worker

            if not wait_in_worker(node._session_, node, self, timeout):
                raise TimeoutError(f"{self.node._describe_()} has not completed within {timeout} s")
            return
        pump = session.pump_for_this_thread()
        try:
            done = block_until(self.done, self._wakers_list(), timeout, pump, self._look_around)
        except (KeyboardInterrupt, SystemExit):
            self.cancel()
            with contextlib.suppress(TimeoutError):
                unwinding = session.pump_while_unwinding()
                block_until(self.done, self._wakers_list(), session.grace, unwinding, self._look_around)
            raise
        if not done:
            raise TimeoutError(f"{self.node._describe_()} has not completed within {timeout} s")

    def _look_around(self) -> None:
        self._session.mailbox.nudge()
        self._session.refuse_in_fork()

    # -- the outcome

    def _take(self) -> T:
        if self._state is CANCELLED:
            self._raise_terminated()
        failure = self._failure()
        if failure is not None:
            try:
                raise failure
            finally:
                del failure  # or the traceback would hold this frame, and it the traceback
        return self._result  # type: ignore[no-any-return]

    def _failure(self) -> BaseException | None:
        rope = self._rope
        if rope is None:
            return None
        if self._covered is None:
            self._exception, self._covered = failures.raisable(rope, failures.front(rope))
        receiver = current_node()
        if receiver is not None:
            for failure in self._covered:
                failure.receive(receiver)
        return self._exception

    def _raise_terminated(self) -> NoReturn:
        raise NodeTerminatedError(f"{self.node._describe_()} was terminated before it had a result")

    # -- showing it

    def _state_word_(self) -> str:
        return {PENDING: "pending", CANCELLED: "cancelled"}.get(
            self._state, "failed" if self._rope is not None else "finished"
        )

    def _failure_words_(self) -> str | None:
        """Any thread. What went wrong, in words. Unlike ``exception()`` it receives nothing."""
        rope = self._rope
        if rope is None or self._state is not FINISHED:
            return None
        first = failures.in_words(failures.front(rope).error)
        others = len(list(islice(failures.each(rope), 1, failures.SHOWN + 1)))
        if not others:
            return first
        return f"{first} (and {others if others < failures.SHOWN else f'at least {others}'} more)"

    def __repr__(self) -> str:
        return f"<JobFuture of {self.node._describe_()}: {self._state_word_()}>"

    def _repr_html_(self) -> str:
        from agere.rendering.html import future_html

        return future_html(self)

    def __rich__(self) -> object:
        from agere.rendering.rich_text import future_text

        return future_text(self)
