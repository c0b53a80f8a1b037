"""The host: runs callables on the person's thread, and asks the person.

``Host`` is what a commander needs of one. ``MainThreadHost`` is that of scripts and terminals: the main thread serves
it while it waits in ``run()`` or ``result()``, because only the main thread may read stdin (elsewhere Ctrl-C does not
reach the read, the terminal is left without echo, and a piped stdin aborts the interpreter at exit).
"""

from __future__ import annotations

import contextlib
import logging
import threading
from abc import ABC, abstractmethod
from collections import deque
from collections.abc import Callable
from functools import cache
from time import monotonic
from typing import TYPE_CHECKING

from .waiting import Pump, Waker, wake_all

if TYPE_CHECKING:
    from .questions import Question

logger = logging.getLogger("agere.host")

PATIENCE_SECONDS = 1.0
"""How long a routed ``input()`` waits for somebody to pump: ``submit`` may be a moment before ``result()``."""


class Host(ABC):
    """Where the person is."""

    @abstractmethod
    def post(self, call: Callable[[], object]) -> None:
        """Any thread. Have ``call()`` run soon on the host's thread, in order.

        Args:
            call: what to run. If it has a method ``refuse``, a host that goes before the call's turn has come calls
                ``call.refuse(error)`` instead, with a HostGoneError.

        Raises:
            HostGoneError: the host is gone.
        """

    @abstractmethod
    def ask(self, question: Question) -> None:
        """Any thread. Begin to ask the person; ``question.answer`` or ``question.fail`` follows when it does.

        Raises:
            HostGoneError: the host is gone.
        """

    @abstractmethod
    def answers(self) -> bool:
        """Any thread. Whether somebody is there now to whom questions are shown."""

    @abstractmethod
    def pump(self) -> Pump | None:
        """Any thread. What the calling thread must serve while it waits: None unless it is the host's thread."""

    def pump_in_await(self) -> Pump | None:
        """Any thread. What it must serve while a task of its event loop awaits: nothing, unless the host says so.

        Most hosts have no use for it: their thread runs an event loop of its own, which goes on meanwhile, and asking
        the person by a blocking read would hold that loop up.
        """
        return None

    def pump_while_unwinding(self) -> Pump | None:
        """Any thread. What it must serve while it waits for terminated work to unwind: by default, what it always must.

        A host that asks by a blocking read must not ask now: that would hold up what Ctrl-C or ``exit`` has stopped.
        """
        return self.pump()

    def will_ask_later(self) -> bool:
        """Any thread. Whether a question that nobody can be shown now may well be shown in a while.

        A routed ``input()`` on a worker thread then waits for that, instead of failing.
        """
        return False


class MainThreadHost(Host):
    """The person at the terminal, or behind a pipe: served by the main thread while it waits."""

    def __init__(self) -> None:
        self._calls: deque[Callable[[], object]] = deque()
        self._questions: deque[Question] = deque()
        self._wakers: list[Waker] = []
        self._quiet_wakers: list[Waker] = []

    def post(self, call: Callable[[], object]) -> None:
        """Any thread. See ``Host.post``; runs when the main thread next waits."""
        self._calls.append(call)
        wake_all(self._wakers)
        wake_all(self._quiet_wakers)

    def ask(self, question: Question) -> None:
        """Any thread. See ``Host.ask``; the prompt appears when the main thread waits."""
        self._questions.append(question)
        wake_all(self._wakers)

    def answers(self) -> bool:
        """Any thread. Whether the main thread waits in a call that serves this host."""
        return bool(self._wakers)

    def pump(self) -> Pump | None:
        """Any thread. The main thread serves this host."""
        return self if threading.get_ident() == threading.main_thread().ident else None

    def pump_while_unwinding(self) -> Pump | None:
        """Any thread. The main thread makes deliveries."""
        return _DeliveringPump(self) if self.pump() is not None else None

    def enter(self, waker: Waker) -> None:
        """Main thread."""
        self._wakers.append(waker)

    def leave(self, waker: Waker) -> None:
        """Main thread."""
        self._wakers.remove(waker)

    def work(self) -> None:
        """Main thread. Run what was posted, and put one question to the person."""
        self.make_deliveries()
        self._ask_next()

    def make_deliveries(self) -> None:
        """Main thread. Run what was posted."""
        while self._calls:
            run_posted(self._calls)

    def catch_up(self) -> None:
        """Main thread. Run what was posted before now."""
        run_posted_so_far(self._calls)

    def enter_quietly(self, waker: Waker) -> None:
        """Main thread. Begin to make deliveries, and to ask nothing."""
        self._quiet_wakers.append(waker)

    def leave_quietly(self, waker: Waker) -> None:
        """Main thread. Make deliveries no longer."""
        self._quiet_wakers.remove(waker)

    def _ask_next(self) -> None:
        while self._questions:
            question = self._questions.popleft()
            if question.open and not question.muted:
                self._put(question)
                return

    def read(self, prompt: str) -> str:
        """Main thread. Ask the person."""
        from .input_routing import original_input

        return original_input(prompt)

    def _put(self, question: Question) -> None:
        try:
            text = self.read(question.prompt)
        except KeyboardInterrupt as error:
            if question.blocks_loop:
                self._interrupt_input(question, error)
                return
            self._questions.appendleft(question)
            raise
        except SystemExit as error:  # a signal handler's: the program is to end, and nobody may hold that up
            if question.blocks_loop:
                question.fail(error)
            else:
                self._questions.appendleft(question)
            raise
        except Exception as error:  # noqa: BLE001 - EOFError and the like are the answer
            question.fail(error)
        else:
            question.answer(text)

    def _interrupt_input(self, question: Question, error: KeyboardInterrupt) -> None:
        # It is raised where input() was called, as it would be without Agere; what lets it through there ends the
        # commander, which raises it from run().
        question.fail(error)

    def reset_after_fork(self) -> None:
        """Forked child only. What stood here belongs to the parent."""
        self._calls.clear()
        self._questions.clear()
        self._wakers.clear()
        self._quiet_wakers.clear()


class _DeliveringPump:
    """Serves a main thread's host, but for its questions."""

    def __init__(self, host: MainThreadHost) -> None:
        self._host = host

    def enter(self, waker: Waker) -> None:
        """Main thread."""
        self._host.enter_quietly(waker)

    def work(self) -> None:
        """Main thread."""
        self._host.make_deliveries()

    def catch_up(self) -> None:
        """Main thread."""
        self._host.catch_up()

    def leave(self, waker: Waker) -> None:
        """Main thread."""
        self._host.leave_quietly(waker)


def run_posted(calls: deque[Callable[[], object]]) -> None:
    """Host's thread. Run the first of what was posted; what it raises is logged.

    Raises:
        SystemExit, KeyboardInterrupt: left the call.
    """
    call = calls.popleft()
    try:
        call()
    except (SystemExit, KeyboardInterrupt):
        raise
    except BaseException:
        logger.exception("a call on the host's thread failed")


def run_posted_so_far(calls: deque[Callable[[], object]]) -> None:
    """Host's thread. Run what was posted before now; what others go on posting meanwhile must not hold it for ever.

    Raises:
        SystemExit, KeyboardInterrupt: left a call.
    """
    for _ in range(len(calls)):
        if not calls:  # a call has waited in turn, and run the rest
            return
        run_posted(calls)


_choose_default: Callable[[], Host] | None = None


def default_host() -> Host:
    """Any thread. The host of a commander that was given none."""
    return main_thread_host() if _choose_default is None else _choose_default()


def choose_default_host_by(choose: Callable[[], Host]) -> None:
    """At import. Have ``choose()`` say which host a commander gets that was given none; it is called on any thread."""
    global _choose_default  # noqa: PLW0603 - one per process
    _choose_default = choose


def wait_for_somebody(host: Host) -> bool:
    """A thread that asks. Whether somebody answers, with a moment's patience."""
    end = monotonic() + PATIENCE_SECONDS
    pause = threading.Event()
    while not host.answers():
        if monotonic() > end:
            return False
        pause.wait(0.01)
    return True


@cache
def main_thread_host() -> MainThreadHost:
    """Any thread. The one host of the process's main thread."""
    return MainThreadHost()


def reset_after_fork() -> None:
    """Forked child only."""
    with contextlib.suppress(Exception):
        main_thread_host().reset_after_fork()
