"""The cells of the Jupyter kernel that this process is: whether one runs, and what ``input`` means meanwhile.

A question may be put only while a cell runs: a front end shows it below that cell, and drops it otherwise, which would
leave the kernel waiting for ever. The kernel also exchanges ``builtins.input`` when a cell begins, and puts back what
it found when the cell ends, which would take the routing of ``input()`` out and in at the wrong times.
"""

from __future__ import annotations

import asyncio
import builtins
import os
import sys
import threading
from contextvars import Context, copy_context
from typing import Any

from agere.commander.input_routing import is_routed, rebase
from agere.commander.process import begin_to_leave

CELL = "run_cell_async"
"""The coroutine function of IPython that executes a cell."""


def running_kernel() -> Any | None:
    """Any thread. The IPython kernel that this process is, or None. Imports nothing."""
    if "ipykernel" not in sys.modules:
        return None
    get_ipython = getattr(sys.modules.get("IPython"), "get_ipython", None)
    kernel = getattr(get_ipython() if get_ipython is not None else None, "kernel", None)
    if kernel is None or not hasattr(kernel, "raw_input") or getattr(kernel, "io_loop", None) is None:
        return None
    if getattr(kernel.session, "pid", os.getpid()) != os.getpid():
        return None  # a forked child has the kernel's objects, and nobody who listens
    return kernel


class Cells:
    """Follows the cells of a kernel.

    Args:
        kernel: an IPython kernel.
    """

    def __init__(self, kernel: Any) -> None:
        self._kernel = kernel
        self._depth = 1  # somebody calls this: that is a cell; one cell may run others
        on_main = threading.current_thread() is threading.main_thread()
        self._context: Context | None = copy_context() if on_main else None
        self._input_between = builtins.input if not self._is_kernels(builtins.input) else None
        kernel.shell.events.register("pre_execute", self._begun)
        kernel.shell.events.register("post_execute", self._ending)
        kernel.shell.observe(self._leaving, "exit_now")

    @property
    def running(self) -> bool:
        """Any thread. Whether the main thread executes a cell."""
        return self._depth > 0

    def ask(self, prompt: str) -> str:
        """Main thread. Ask the person, below the running cell.

        Raises:
            IPython.core.error.StdinNotImplementedError: the front end cannot ask.
            EOFError: the person has ended the input.
        """
        context = self._context
        # A task that an earlier cell has left behind carries that cell's context, where nobody looks any more.
        run = copy_context().run if context is None else context.copy().run
        try:
            return str(run(self._kernel.raw_input, prompt))
        except NotImplementedError as error:
            error.add_note(
                "Agere wanted to ask the person. Where a front end cannot, answer from code: "
                'commander.questions[0].answer("...")'
            )
            raise

    def _is_kernels(self, reader: object) -> bool:
        return is_routed() or getattr(reader, "__self__", None) is self._kernel

    @staticmethod
    def _leaving(change: Any) -> None:
        """The kernel's control thread: shutdown or restart. The main thread may wait for a job as long as it runs."""
        if change["new"]:
            begin_to_leave()

    def _begun(self) -> None:
        """Main thread, or that of a subshell."""
        if threading.current_thread() is threading.main_thread():
            self._depth += 1
            self._context = copy_context()
        if not is_routed():
            rebase(builtins.input)

    def _ending(self) -> None:
        """Main thread, or that of a subshell. The kernel puts ``input`` back after this, within the same step."""
        if threading.current_thread() is threading.main_thread():
            self._depth = max(0, self._depth - 1)
        self._kernel.io_loop.add_callback(self._ended)

    def _ended(self) -> None:
        """Main thread, between two cells, or later."""
        if self.running:
            return
        if not self._is_kernels(builtins.input):
            self._input_between = builtins.input
        if self._input_between is not None:
            rebase(self._input_between)


_cells: Cells | None = None
_lock = threading.Lock()


def cells() -> Cells | None:
    """Any thread. The cells of this process's kernel; None if it is none."""
    global _cells  # noqa: PLW0603 - a process has one kernel
    with _lock:
        if _cells is None and (kernel := running_kernel()) is not None:
            _cells = Cells(kernel)
        return _cells


def in_cell_itself() -> bool:
    """Main thread. Whether the running task is the cell's own, and not one that somebody made.

    What leaves that task ends the cell. A KeyboardInterrupt that leaves another one would end the kernel.
    """
    try:
        task = asyncio.current_task()
    except RuntimeError:
        return False
    return task is not None and _name_of(task.get_coro()).endswith(CELL)


def _name_of(coro: object) -> str:
    return str(getattr(coro, "__qualname__", ""))
