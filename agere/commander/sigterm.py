"""SIGTERM winds down, as Ctrl-C does: while the main thread waits for a commander, or runs one.

By default SIGTERM ends a Python program at once: no ``finally`` block runs, and servers see broken connections. Here it
raises ``TerminatedBySignal`` on the main thread, once; every wait terminates what it waits for, and lets it out. It is
a ``SystemExit``: blocks on the way out run, the interpreter leaves in order, and the process then ends *by SIGTERM*, as
its parent expects. A second SIGTERM meanwhile meets the default, and ends the process at once.

A handler of the program's own is left alone, and so is SIGTERM on other threads and outside of such waits.
"""

from __future__ import annotations

import atexit
import contextlib
import logging
import os
import signal
import sys
import threading
from types import FrameType
from typing import Any, Self

CODE = 143
"""What shells show for a process that SIGTERM has ended."""

_active = False  # main thread only
_main_is_leaving = False


class TerminatedBySignal(SystemExit):
    """SIGTERM has come. Whoever catches it has taken the end of the program upon himself."""

    def __init__(self, code: object = CODE) -> None:
        super().__init__(code)

    @property
    def code(self) -> Any:  # type: ignore[override]
        """The exit code. The interpreter reads it when nobody has caught the exception: the program ends by it."""
        global _main_is_leaving  # noqa: PLW0603 - one per process
        _main_is_leaving = True
        return self.args[0] if self.args else CODE


class WindingDown:
    """``with WindingDown():`` on the main thread, SIGTERM raises within the block. Elsewhere it does nothing.

    Blocks may be nested; the outermost counts. Does nothing where SIGTERM has a handler already, or is ignored, or
    in a Jupyter kernel, whose cells are not what SIGTERM is to end.
    """

    __slots__ = ("_installed",)

    def __init__(self) -> None:
        self._installed = False

    def __enter__(self) -> Self:
        global _active  # noqa: PLW0603 - one per process, main thread only
        if _active or threading.get_ident() != threading.main_thread().ident or _in_a_kernel():
            return self
        with contextlib.suppress(ValueError):  # a subinterpreter
            if signal.getsignal(signal.SIGTERM) is signal.SIG_DFL:
                # In this order: an interrupt in between leaves the handler, which does no harm.
                signal.signal(signal.SIGTERM, _on_sigterm)
                _active = self._installed = True
        return self

    def __exit__(self, *_: object) -> None:
        global _active  # noqa: PLW0603 - one per process, main thread only
        if self._installed:
            self._installed = _active = False
            if signal.getsignal(signal.SIGTERM) is _on_sigterm:
                signal.signal(signal.SIGTERM, signal.SIG_DFL)


def _on_sigterm(_number: int, _frame: FrameType | None) -> None:
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    raise TerminatedBySignal


def _in_a_kernel() -> bool:
    get_ipython = getattr(sys.modules.get("IPython"), "get_ipython", None)
    return get_ipython is not None and getattr(get_ipython(), "kernel", None) is not None


def _end_by_sigterm() -> None:
    """Main thread, at interpreter exit. The parent is to see what has ended the process."""
    if not _main_is_leaving or os.name != "posix":
        return
    logging.shutdown()  # its own hook would come after this one
    for stream in (sys.stdout, sys.stderr):
        with contextlib.suppress(Exception):
            stream.flush()
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    signal.raise_signal(signal.SIGTERM)


# A child must not inherit the handler: whoever terminates it expects it to end as processes do. Until the child has
# put the default back, SIGTERM waits: Python forgets what comes to a handler in the first moments after a fork.


def _before_fork() -> None:
    _forking.mask = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGTERM}) if _active else None


def _after_fork_in_parent() -> None:
    mask, _forking.mask = _forking.mask, None
    if mask is not None:
        signal.pthread_sigmask(signal.SIG_SETMASK, mask)


def _after_fork_in_child() -> None:
    global _active, _main_is_leaving  # noqa: PLW0603 - one per process
    _active = _main_is_leaving = False
    with contextlib.suppress(ValueError):
        if signal.getsignal(signal.SIGTERM) is _on_sigterm:
            signal.signal(signal.SIGTERM, signal.SIG_DFL)
    _after_fork_in_parent()


class _Forking(threading.local):
    mask: set[int | signal.Signals] | None = None


_forking = _Forking()
atexit.register(_end_by_sigterm)
if hasattr(os, "register_at_fork"):
    os.register_at_fork(before=_before_fork, after_in_parent=_after_fork_in_parent, after_in_child=_after_fork_in_child)
