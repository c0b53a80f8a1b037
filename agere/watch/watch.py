"""The watch: a thread that looks now and then, and has a view show what it sees."""

from __future__ import annotations

import atexit
import contextlib
import contextvars
import logging
import os
import threading
import weakref
from time import monotonic, thread_time
from types import TracebackType
from typing import TYPE_CHECKING, Any, Literal, Self, TypeAlias, get_args

from agere.commander.glance import glance
from agere.commander.state import State
from agere.errors import WorkerLimitError

from .places import make_view
from .view import Look

if TYPE_CHECKING:
    from agere.commander.facade import Commander
    from agere.commander.session import Session

Style: TypeAlias = Literal["auto", "terminal", "notebook", "lines"]

TICK_SECONDS = 0.1
"""Looks are no closer together than this."""

IDLE_SECONDS = 0.5
"""While nothing changes but ages, they are shown so often."""

SHARE = 20
"""A look that takes its time is followed by a pause that is so many times as long."""

JOIN_SECONDS = 1.0
"""What a terminal that does not take its output may hold up."""

logger = logging.getLogger("agere.watch")
_running: set[Watch] = set()


class Watch:
    """Shows what a commander runs. Made by ``commander.watch()``; it has begun when you get it.

    It ends with ``stop()``, or by itself when the commander's session ends; as a context manager, with its block. It
    holds neither the commander nor the process.
    """

    def __init__(self, commander: Commander[Any], style: Style = "auto", lines: int = 30) -> None:
        if style not in get_args(Style):
            raise ValueError(f"style is one of {', '.join(get_args(Style))}, not {style!r}")
        if not isinstance(lines, int) or isinstance(lines, bool) or lines < 1:
            raise ValueError(f"lines is a whole number from 1 up, not {lines!r}")
        self._commander = weakref.ref(commander)
        self._lines = lines
        self._view = make_view(style, commander)
        self._wake = threading.Event()
        self._stopping = False
        self._stays = False
        self._listeners = commander.__agere_listeners__
        self._tally = self._listeners.count(self._wake.set)
        session = commander._session_
        if session is not None and not session.closed:
            self._tally.session_began(session)
        # In the caller's context: a notebook finds the cell by it.
        context = contextvars.copy_context()
        self._thread = threading.Thread(target=context.run, args=(self._run,), name="agere-watch", daemon=True)
        _running.add(self)
        try:
            self._thread.start()
        except RuntimeError as error:
            _running.discard(self)
            self._listeners.stop_counting(self._tally)
            self._view.close()
            raise WorkerLimitError(f"the system refused the watch's thread ({error})") from error

    @property
    def running(self) -> bool:
        """Any thread. Whether it goes on showing."""
        return not self._stopping and self._thread.is_alive()

    def stop(self) -> None:
        """Any thread. End it; the terminal is as it was. Again is harmless."""
        self._stopping = True
        self._wake.set()
        if self._thread is not threading.current_thread():
            self._thread.join(JOIN_SECONDS)

    def paused(self) -> contextlib.AbstractContextManager[object]:
        """Any thread. ``with watch.paused():`` the terminal is the program's, for a password prompt or an editor.

        ``input`` does it by itself while the commander runs.
        """
        pause = getattr(self._view, "paused", None)
        return contextlib.nullcontext() if pause is None else pause()

    def __enter__(self) -> Self:
        self._stays = True
        return self

    def __exit__(
        self, exc_type: type[BaseException] | None, exc: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.stop()

    # -- its thread

    def _run(self) -> None:
        try:
            while (session := self._next_session()) is not None:
                self._show(*session)
                if not self._stays:
                    return
        except BaseException as error:
            if isinstance(error, OSError) or (isinstance(error, ValueError) and "closed file" in str(error)):
                logger.debug("nobody looks at the view any more: %s", error)
            else:
                logger.exception("the view of a commander has failed; the commander itself goes on")
        finally:
            self._stopping = True
            self._listeners.stop_counting(self._tally)
            with contextlib.suppress(Exception):
                self._view.close()
            _running.discard(self)

    def _next_session(self) -> tuple[Session, dict[State, int]] | None:
        """Wait for one that has not been shown; None if there will be none. With the counts at its beginning."""
        while not self._tally.sessions:
            if self._stopping or self._commander() is None:
                return None
            self._wake.wait(IDLE_SECONDS)
            self._wake.clear()
        return self._tally.sessions.popleft()

    def _show(self, session: Session, before: dict[State, int]) -> None:
        session.over.call_when_set(self._wake.set)
        look: Look | None = None
        self._view.begin(session.began)
        try:
            gist: object = None
            shown_at = 0.0
            while True:
                self._wake.clear()
                began = thread_time()
                over = session.closed
                new = self._look(session, before, over)
                if new is None:
                    break
                look = new
                if over or self._stopping:
                    break
                if look.gist != gist or monotonic() - shown_at >= IDLE_SECONDS:
                    gist, shown_at = look.gist, monotonic()
                    self._view.show(look)
                else:
                    self._view.tick()
                self._wake.wait(max(TICK_SECONDS, SHARE * (thread_time() - began)))
        finally:
            self._view.end(look)

    def _look(self, session: Session, before: dict[State, int], over: bool) -> Look | None:
        commander = self._commander()
        if commander is None:
            return None
        following = self._tally.sessions
        until = following[0][1] if following else self._tally.ended
        ended = {state: count - before[state] for state, count in until.items()}
        questions = 0 if over else len(session.person.open.all())
        seconds = (session.ended or monotonic()) - session.began
        return Look(session.name, seconds, glance(commander, self._lines), ended, questions, over)

    def _forget(self) -> None:
        """Forked child only. The thread does not exist here."""
        self._stopping = True
        self._view.forget()


def _stop_all() -> None:
    """Main thread, at interpreter exit: a daemon thread must not be caught while it writes."""
    for watch in list(_running):
        watch.stop()


def _after_fork_in_child() -> None:
    for watch in list(_running):
        watch._forget()
    _running.clear()


atexit.register(_stop_all)
if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_after_fork_in_child)
