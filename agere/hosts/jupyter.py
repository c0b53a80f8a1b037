"""``JupyterHost``: the person at a notebook. Chosen by itself within a Jupyter kernel.

The main thread executes the cells, and between them, and while a cell awaits, it runs the kernel's own event loop.
So deliveries always have somebody to run them: a waiting ``result()``, or that loop. Questions are put by the main
thread alone, one after the other, while a cell waits for something of Agere's, by ``result()`` and the like or by
``await``: a kernel has one socket for all answers, and threads that share it mix them up.
"""

from __future__ import annotations

import importlib.util
import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import cache
from time import monotonic
from types import FrameType
from typing import Any

from agere.commander import Question
from agere.commander.host import MainThreadHost, logger, main_thread_host, run_posted
from agere.commander.waiting import Pump, Waker
from agere.errors import NoKernelError

from .jupyter_cells import Cells, cells, in_cell_itself, running_kernel

TURN_SECONDS = 0.01
"""How long deliveries may hold up the kernel's loop at a time: other tasks, and comm messages of widgets, wait."""

QUIET_SECONDS = 0.1
"""For how long no task asks again after an interrupt, which is on its way to it."""


class JupyterHost(MainThreadHost):
    """The person at a notebook, a console or an editor with a Jupyter kernel.

    A commander that is made within a kernel gets one by itself; all of them share it.

    Raises:
        NoKernelError: this process is not a Jupyter kernel.
        ImportError: ipykernel is not installed.
    """

    def __init__(self) -> None:
        super().__init__()
        found = cells()
        kernel = running_kernel()
        if found is None or kernel is None:
            if importlib.util.find_spec("ipykernel") is None:
                raise ImportError("JupyterHost needs the package ipykernel: pip install 'agere[jupyter]'")
            raise NoKernelError(
                "JupyterHost works within a Jupyter kernel, and this process is none; leave `host` out, and a "
                "commander finds the host that fits"
            )
        self._cells: Cells = found
        self._loop: Any = kernel.io_loop
        self._due: object = None  # what stands for the next turn; only that turn is taken, or turns would multiply
        self._awaits: list[Waker] = []
        self._quiet = False
        self._for_other_task = False

    def post(self, call: Callable[[], object]) -> None:
        """Any thread. See ``Host.post``; runs when the main thread waits, or has ended its cell."""
        super().post(call)
        if self._due is None:
            self._arrange_turn()

    def answers(self) -> bool:
        """Any thread. Whether a cell waits in a call or an ``await`` that serves this host."""
        return len(self._wakers) > len(self._awaits) or (bool(self._awaits) and self._cells.running)

    def will_ask_later(self) -> bool:
        """Any thread. The next cell may wait for the asker, or answer from ``commander.questions``."""
        return True

    def pump_in_await(self) -> Pump | None:
        """Any thread. See ``Host.pump_in_await``; the main thread serves this host there too."""
        return AwaitPump(self) if threading.current_thread() is threading.main_thread() else None

    def read(self, prompt: str) -> str:
        """Main thread. Ask the person, below the running cell."""
        with _interruptible():
            return self._cells.ask(prompt)

    def enter_await(self, waker: Waker) -> None:
        """Main thread. A task of the kernel's loop begins to wait."""
        self._awaits.append(waker)
        self.enter(waker)

    def leave_await(self, waker: Waker) -> None:
        """Main thread. It waits no longer."""
        self.leave(waker)
        self._awaits.remove(waker)

    def work_in_await(self, in_cell: bool) -> None:
        """Main thread, within the kernel's loop, which sees to the deliveries itself. Put one question.

        Args:
            in_cell: whether it is the cell's own task that awaits.
        """
        if not self._cells.running or self._quiet:
            return
        self._for_other_task = not in_cell
        try:
            self._ask_next()
        finally:
            self._for_other_task = False

    def pass_on_interrupt(self) -> None:
        """Main thread. A prompt was interrupted in a task that is not the cell's own: have the kernel cancel the cell.

        That takes some turns of the loop, in which another task of the cell would put the question again.
        """
        self._quiet = True
        self._loop.call_later(QUIET_SECONDS, self._speak)
        signal.raise_signal(signal.SIGINT)

    def _interrupt_input(self, question: Question, error: KeyboardInterrupt) -> None:
        if self._for_other_task:
            # A KeyboardInterrupt that comes out of the job there would end the kernel; and the job is cancelled.
            question.abort()
            raise error
        super()._interrupt_input(question, error)

    def _speak(self) -> None:
        self._quiet = False

    def _arrange_turn(self) -> None:
        self._due = turn = object()
        self._loop.add_callback(self._run_turn, turn)

    def _run_turn(self, turn: object) -> None:
        """Main thread, from the kernel's loop. Run what was posted, for a bounded time."""
        if turn is not self._due:
            return
        self._due = None
        end = monotonic() + TURN_SECONDS
        while self._calls:
            if monotonic() >= end:
                self._arrange_turn()
                return
            try:
                run_posted(self._calls)
            except (SystemExit, KeyboardInterrupt):  # here it would end the kernel
                logger.exception("a call on the host's thread failed")

    def reset_after_fork(self) -> None:
        """Forked child only. See ``MainThreadHost``."""
        super().reset_after_fork()
        self._awaits.clear()


class AwaitPump:
    """One ``await`` of a task of the kernel's loop.

    An interrupt reaches the cell's own task as KeyboardInterrupt, at once. The kernel by itself would cancel the task,
    when its loop next wakes up. Other tasks see their cancellation, if the cell waits for them.
    """

    def __init__(self, host: JupyterHost) -> None:
        self._host = host
        self._waker: Waker | None = None
        self._in_cell = False
        self._interrupted = False
        self._before: Any = None

    def enter(self, waker: Waker) -> None:
        """Main thread. See ``Pump.enter``."""
        self._waker = waker
        self._host.enter_await(waker)
        self._in_cell = in_cell_itself()
        if self._in_cell:
            self._before = signal.signal(signal.SIGINT, self._interrupt)

    def work(self) -> None:
        """Main thread. See ``Pump.work``.

        Raises:
            KeyboardInterrupt: the cell was interrupted.
        """
        if self._interrupted:
            self._interrupted = False
            raise KeyboardInterrupt("Interrupted by user")
        try:
            self._host.work_in_await(self._in_cell)
        except KeyboardInterrupt:
            if self._in_cell:
                raise
            self._host.pass_on_interrupt()

    def catch_up(self) -> None:
        """Main thread. See ``Pump.catch_up``."""
        self._host.catch_up()

    def leave(self, waker: Waker) -> None:
        """Main thread. See ``Pump.leave``."""
        self._host.leave_await(waker)
        if self._in_cell:
            signal.signal(signal.SIGINT, self._before)
            if self._interrupted:  # between the last look and now: the kernel cancels what the cell does next
                signal.raise_signal(signal.SIGINT)

    def _interrupt(self, _number: int, _frame: FrameType | None) -> None:
        self._interrupted = True
        if self._waker is not None:
            self._waker.release()


@contextmanager
def _interruptible() -> Iterator[None]:
    """Main thread. Have an interrupt raise KeyboardInterrupt: in a cell that awaits, it would only set a flag."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)


@cache
def _shared() -> JupyterHost:
    return JupyterHost()


def default_host() -> MainThreadHost:
    """Any thread. The kernel's host if this process is a Jupyter kernel; else that of the main thread."""
    return main_thread_host() if running_kernel() is None else _shared()
