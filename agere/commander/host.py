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

from .waiting import Pump, wake_all

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


class MainThreadHost(Host):
    """The person at the terminal, or behind a pipe: served by the main thread while it waits."""

    def __init__(self) -> None:
        self._calls: deque[Callable[[], object]] = deque()
        self._questions: deque[Question] = deque()
        self._wakers: list[threading.Lock] = []

    def post(self, call: Callable[[], object]) -> None:
        """Any thread. See ``Host.post``; runs when the main thread next waits."""
        self._calls.append(call)
        wake_all(self._wakers)

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

    def enter(self, waker: threading.Lock) -> None:
        """Main thread."""
        self._wakers.append(waker)

    def leave(self, waker: threading.Lock) -> None:
        """Main thread."""
        self._wakers.remove(waker)

    def work(self) -> None:
        """Main thread. Run what was posted, and put one question to the person."""
        while self._calls:
            call = self._calls.popleft()
            try:
                call()
            except (SystemExit, KeyboardInterrupt):
                raise
            except BaseException:
                logger.exception("a call on the host's thread failed")
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
                # It is raised where input() was called, as it would be without Agere; what lets it through there
                # ends the commander, which raises it from run().
                question.fail(error)
                return
            self._questions.appendleft(question)
            raise
        except Exception as error:  # noqa: BLE001 - EOFError and the like are the answer
            question.fail(error)
        else:
            question.answer(text)

    def reset_after_fork(self) -> None:
        """Forked child only. What stood here belongs to the parent."""
        self._calls.clear()
        self._questions.clear()
        self._wakers.clear()


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
