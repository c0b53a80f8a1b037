"""What Agere does when the process exits or forks."""

from __future__ import annotations

import atexit
import concurrent.futures.thread  # noqa: F401 - its exit hook must be registered before ours: last in, first out
import os
import threading
from typing import TYPE_CHECKING

from . import host, input_routing, listeners, node, stall
from .affinity import here

if TYPE_CHECKING:
    from .session import Session

EXIT_GRACE_SECONDS = 0.5
"""At interpreter exit nobody waits for a stuck body."""

_running: set[Session] = set()
_lock = threading.Lock()


def register(session: Session) -> None:
    """Any thread. A session starts."""
    with _lock:
        _running.add(session)


def unregister(session: Session) -> None:
    """Any thread. A session has ended."""
    with _lock:
        _running.discard(session)


def begin_to_leave() -> list[Session]:
    """Any thread. The process is about to end: have all sessions leave promptly, running ``finally`` blocks.

    Returns:
        The sessions that ran.
    """
    with _lock:
        sessions = list(_running)
    for session in sessions:
        session.hurry(EXIT_GRACE_SECONDS)
        session.request_exit()
    return sessions


def _close_all() -> None:
    """Main thread, at interpreter exit, while threads still run."""
    for session in begin_to_leave():
        session.finish_exit(session.pump_while_unwinding())
    listeners.flush_all(EXIT_GRACE_SECONDS)


def _after_fork_in_child() -> None:
    global _running, _lock  # noqa: PLW0603 - one per process
    sessions, _running = _running, set()
    _lock = threading.Lock()
    for session in sessions:
        session.forked = True
        session.loop_thread = 0
        session.closed = True
        session.mailbox.reset_after_fork()
    here.session = here.node = here.ticket = None
    here.on_loop = False
    node.reset_after_fork()
    host.reset_after_fork()
    input_routing.reset_after_fork()
    stall.reset_after_fork()
    listeners.reset_after_fork()


# Before concurrent.futures joins its threads, and before atexit; daemon threads are still alive then.
getattr(threading, "_register_atexit", atexit.register)(_close_all)
if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_after_fork_in_child)
