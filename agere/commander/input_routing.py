"""While a commander runs, ``input()`` on Agere's own threads is asked on the host's thread instead.

Only there can it be answered properly (see ``host.py``). On all other threads ``input`` stays what it was, and when
the last commander has exited it is put back.
"""

from __future__ import annotations

import builtins
import threading
from collections.abc import Callable

from .affinity import here

_lock = threading.Lock()
_users = 0
_original: Callable[[object], str] | None = None


def original_input(prompt: str) -> str:
    """The host's thread. ``input`` as it was before the routing."""
    reader = _original if builtins.input is _routed_input and _original is not None else builtins.input
    return reader(prompt)


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


def reset_after_fork() -> None:
    """Forked child only. No session runs here."""
    global _users, _lock  # noqa: PLW0603 - see install
    _lock = threading.Lock()
    _users = 0
    if builtins.input is _routed_input and _original is not None:
        builtins.input = _original  # type: ignore[assignment]
