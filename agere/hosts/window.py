"""What the hosts of window toolkits have in common: deliveries in bounded turns, and one question at a time.

The toolkit's own event loop takes the turns. While the window's thread waits in ``exit()``, ``result()`` or a ``with``
block, that wait takes them, so that a body which waits for a delivery cannot deadlock.
"""

from __future__ import annotations

import logging
import threading
from abc import abstractmethod
from collections import deque
from collections.abc import Callable
from time import monotonic, sleep
from typing import Protocol

from agere.commander import Host, Question
from agere.commander.host import run_posted, run_posted_so_far
from agere.commander.waiting import Pump, Waker, wake_all
from agere.errors import HostGoneError

logger = logging.getLogger("agere.host")

TURN_SECONDS = 0.008
"""How long one turn makes deliveries before the window's own events have theirs: a person sees no 8 ms."""

NAP_SECONDS = 0.01
"""How long a wait on the window's thread, with a question on the screen, rests between two looks at the events."""


def is_long(prompt: str) -> bool:
    """Whether a prompt needs a place in which it can be scrolled: a dialog must not outgrow the screen."""
    return len(prompt) > 600 or prompt.count("\n") > 12


class Dialog(Protocol):
    """A question on the screen, which it answers, or fails as ``dismissed``. Window's thread only."""

    question: Question

    def alive(self) -> bool:
        """Whether it still stands: it goes with the window that it stands over."""

    def set_modal(self, modal: bool) -> None:
        """Whether the other windows take no input meanwhile."""

    def close(self) -> None:
        """Take it off the screen. Again is harmless."""


def dismissed() -> EOFError:
    """What a question fails with that the person has closed: as when the input of a terminal has ended."""
    return EOFError("the person closed the question without an answer")


def window_closed() -> HostGoneError:
    """What a question fails with whose window was closed under it."""
    return HostGoneError("the window over which the question stood was closed")


class WindowHost(Host):
    """Base of the hosts of windows. Make one on the thread that runs the window's event loop.

    Args:
        what: what goes when the host goes, for error messages: "the window".
    """

    def __init__(self, what: str) -> None:
        self._what = what
        self._thread = threading.get_ident()
        self._calls: deque[Callable[[], object]] = deque()
        self._questions: deque[Question] = deque()
        self._dialog: Dialog | None = None
        self._wakers: list[Waker] = []
        self._interrupt: BaseException | None = None
        self._gone = False

    # -- what a commander needs

    def post(self, call: Callable[[], object]) -> None:
        """Any thread. See ``Host.post``."""
        if self._gone:
            raise self._gone_error()
        self._calls.append(call)
        if self._gone:  # it went in between, and may not have seen this one
            self._refuse_all()
            return
        self._wake_up()

    def ask(self, question: Question) -> None:
        """Any thread. See ``Host.ask``. The question appears after all that was delivered before it."""
        self.post(_Asking(question, self._questions))

    def answers(self) -> bool:
        """Any thread. Whether the window is still there."""
        return not self._gone

    def pump(self) -> Pump | None:
        """Any thread. The window's thread takes the turns itself while it waits."""
        return self if threading.get_ident() == self._thread and not self._gone else None

    # -- while the window's thread waits in a call of Agere's

    def enter(self, waker: Waker) -> None:
        """Window's thread."""
        self._wakers.append(waker)

    def leave(self, waker: Waker) -> None:
        """Window's thread."""
        self._wakers.remove(waker)
        if self._wakers or self._gone:
            return
        if self._dialog is not None:
            self._dialog.set_modal(False)
        self.look_at_questions()

    def work(self) -> None:
        """Window's thread. One turn; a question on the screen can be answered, although the rest is frozen."""
        more = self.turn()
        if not self._gone:
            self._redraw()
        if self._dialog is not None:
            self._dialog.set_modal(True)
            self._process_events()
            self.look_at_questions()
            more = True
            sleep(NAP_SECONDS)
        if more:
            wake_all(self._wakers)
        self._raise_interrupt()

    def catch_up(self) -> None:
        """Window's thread."""
        run_posted_so_far(self._calls)

    # -- what the toolkit's own loop calls

    @property
    def pumped(self) -> bool:
        """Window's thread. Whether a wait in a call of Agere's takes the turns."""
        return bool(self._wakers)

    def turn(self) -> bool:
        """Window's thread. Make deliveries for a moment, and see to the questions.

        Returns:
            Whether there is more to do at once.

        Raises:
            SystemExit, KeyboardInterrupt: left a delivery.
        """
        end = monotonic() + TURN_SECONDS
        while self._calls:
            run_posted(self._calls)
            if monotonic() > end:
                break
        self.look_at_questions()
        return bool(self._calls)

    def go(self) -> None:
        """Window's thread. The window is gone: what waits for it fails, and so does what comes."""
        if self._gone:
            return
        self._gone = True
        self.fail_questions(f"{self._what} is gone")
        self._refuse_all()

    def fail_questions(self, why: str) -> None:
        """Window's thread. Nobody is there any more to answer the questions so far."""
        dialog, self._dialog = self._dialog, None
        if dialog is not None:
            dialog.question.fail(HostGoneError(f"{why}: nobody answers"))
            dialog.close()
        while self._questions:
            self._questions.popleft().fail(HostGoneError(f"{why}: nobody answers"))

    # -- for the toolkit

    @abstractmethod
    def _wake(self) -> None:
        """Any thread. Have the toolkit's loop call ``turn`` soon."""

    @abstractmethod
    def _open(self, question: Question) -> Dialog:
        """Window's thread. Put a question on the screen, without waiting."""

    @abstractmethod
    def _redraw(self) -> None:
        """Window's thread. Show what deliveries have changed; no input is looked at."""

    @abstractmethod
    def _process_events(self) -> None:
        """Window's thread. Handle the events that are there, and return."""

    # -- inside

    def _raise_interrupt(self) -> None:
        interrupt, self._interrupt = self._interrupt, None
        if interrupt is not None:
            raise interrupt

    def _wake_up(self) -> None:
        self._wake()
        wake_all(self._wakers)

    def look_at_questions(self) -> None:
        """Window's thread. Take away a question that is over, and put the next one on the screen."""
        dialog = self._dialog
        if dialog is not None:
            if not dialog.alive():
                dialog.question.fail(window_closed())
            if dialog.question.open:
                return
            self._dialog = None
            dialog.close()
        while self._questions and not self._gone:
            question = self._questions.popleft()
            if not question.open or question.muted:
                continue
            try:
                self._dialog = self._open(question)
            except Exception as error:  # noqa: BLE001 - it is the asker's: nobody else would hear of it
                question.fail(error)
                continue
            # Answered from elsewhere, or its asker is terminated: it has to be taken off the screen.
            question.future.add_done_callback(lambda _: self._wake_up())
            return

    def _refuse_all(self) -> None:
        while True:
            try:
                call = self._calls.popleft()
            except IndexError:
                return
            refuse = getattr(call, "refuse", None)
            if refuse is None:
                logger.info("a call on the window's thread is dropped: %s is gone", self._what)
            else:
                refuse(self._gone_error())

    def _gone_error(self) -> HostGoneError:
        return HostGoneError(f"{self._what} is gone; nothing can be shown there, and nobody answers")


class _Asking:
    """A question on its way through the queue of deliveries."""

    def __init__(self, question: Question, questions: deque[Question]) -> None:
        self._question = question
        self._questions = questions

    def __call__(self) -> None:
        self._questions.append(self._question)

    def refuse(self, error: BaseException) -> None:
        self._question.fail(error)
