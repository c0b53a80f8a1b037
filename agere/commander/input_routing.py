"""While a commander runs, ``input()`` on Agere's own threads is asked on the host's thread instead.

Only there can it be answered properly (see ``host.py``). On all other threads ``input`` stays what it was, and when
the last commander has exited it is put back.
"""

from __future__ import annotations

import builtins
import contextlib
import threading
from collections.abc import Callable
from contextlib import AbstractContextManager
from typing import TypeAlias

from .affinity import here

_lock = threading.Lock()
_users = 0
_original: Callable[[object], str] | None = None

Interruption: TypeAlias = Callable[[], AbstractContextManager[object]]
_interruptions: list[Interruption] = []


def original_input(prompt: str) -> str:
    """The host's thread. ``input`` as it was before the routing."""
    reader = _original if builtins.input is _routed_input and _original is not None else builtins.input
    with contextlib.ExitStack() as interrupted:
        for interruption in tuple(_interruptions):
            interrupted.enter_context(interruption())
        return reader(prompt)


def interrupt_by_input(interruption: Interruption) -> None:
    """Any thread. Have every ``input`` that comes by here run within ``interruption()``: a view makes room for it."""
    _interruptions.append(interruption)


def interrupt_no_longer(interruption: Interruption) -> None:
    """Any thread. The end of ``interrupt_by_input``; harmless if it never began."""
    with contextlib.suppress(ValueError):
        _interruptions.remove(interruption)


def _routed_input(prompt: object = "", /) -> str:
    session = here.session
    if session is None or session.closed:
        return original_input(str(prompt))
    return session.person.ask_blocking(str(prompt), by_input=True)


def install() -> None:
    """Any thread. A session starts."""
    global _users, _original  # noqa: PLW0603 - builtins.input is one per process
    with _lock:
        _users += 1
        if builtins.input is not _routed_input:
            _original = builtins.input
            builtins.input = _routed_input


def uninstall() -> None:
    """Any thread. A session has ended; the last one restores what it found."""
    global _users  # noqa: PLW0603 - see install
    with _lock:
        _users -= 1
        if _users == 0 and builtins.input is _routed_input and _original is not None:
            builtins.input = _original  # type: ignore[assignment]


def rebase(original: Callable[[object], str]) -> None:
    """The main thread, in hosts that exchange ``builtins.input`` now and then, as a Jupyter kernel does for each cell.

    Args:
        original: what ``input`` is without the routing, from now on.
    """
    global _original  # noqa: PLW0603 - see install
    with _lock:
        if _users:
            _original = original
            builtins.input = _routed_input
        elif builtins.input is _routed_input:
            builtins.input = original  # type: ignore[assignment]


def is_routed() -> bool:
    """Any thread. Whether ``builtins.input`` is the routed one now."""
    return builtins.input is _routed_input


def reset_after_fork() -> None:
    """Forked child only. No session runs here."""
    global _users, _lock  # noqa: PLW0603 - see install
    _lock = threading.Lock()
    _users = 0
    if builtins.input is _routed_input and _original is not None:
        builtins.input = _original  # type: ignore[assignment]
