"""Reports a loop callback that blocks its loop, once per code line, with its stack.

A sampler thread sends each loop a heartbeat. Only while one stays unanswered does it look at the loop thread's stack:
the frame of ``Handle._run`` tells one callback that blocks from many that are busy. Looking at the frames of a running
thread makes frame objects; CPython 3.11 crashes when the garbage collector runs just then and lets the thread go on,
so the collector is held off meanwhile.
"""

from __future__ import annotations

import asyncio
import concurrent.futures
import contextlib
import gc
import sys
import threading
import traceback
from collections.abc import Iterator
from pathlib import Path
from time import monotonic
from types import FrameType
from typing import TYPE_CHECKING

from .telling import tell

if TYPE_CHECKING:
    from .session import Session

LOOKS = 5
"""Looks per stall time: often enough to see a callback that takes just that long."""

IDLE_SECONDS = 1.0
"""A loop without work is left asleep so long. (Not for ever: people make tasks of their own on it.)"""

_HERE = str(Path(__file__).parent)
_MACHINERY = (_HERE, *(str(Path(module.__file__ or "").parent) for module in (asyncio, concurrent.futures)))
_HANDLE_RUN = asyncio.Handle._run.__code__


class Watch:
    """What the sampler remembers of one session. ``answered`` is written by the loop, all else by the sampler."""

    __slots__ = ("answered", "frame", "sent", "sent_at", "session", "since", "told", "told_of_frame")

    def __init__(self, session: Session) -> None:
        self.session = session
        self.sent = 0
        self.sent_at = 0.0
        self.answered = 0
        self.frame: FrameType | None = None
        self.since = 0.0
        self.told_of_frame = False
        self.told: set[tuple[str, int]] = set()

    def answer(self, number: int) -> None:
        """Loop only. The heartbeat has arrived."""
        self.answered = number


class Sampler:
    """The thread that looks, while there are sessions."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._watches: dict[Session, Watch] = {}
        self._thread: threading.Thread | None = None
        self._changed = threading.Event()

    def add(self, session: Session) -> None:
        """Any thread. Begin to look at a session."""
        with self._lock:
            self._watches[session] = Watch(session)
            if self._thread is None:
                self._thread = threading.Thread(target=self._run, name="agere-stall", daemon=True)
                try:
                    self._thread.start()
                except RuntimeError:  # no thread to be had: the next session tries again
                    self._thread = None
            else:
                self._changed.set()

    def remove(self, session: Session) -> None:
        """Any thread. Look at it no longer."""
        with self._lock:
            self._watches.pop(session, None)
            thread = None if self._watches else self._thread
        self._changed.set()
        if thread is not None and thread is not threading.current_thread():
            thread.join(1.0)

    def _run(self) -> None:
        while True:
            with self._lock:
                if not self._watches:
                    self._thread = None
                    return
                watches = list(self._watches.values())
                self._changed.clear()
            for watch in watches:
                self._look(watch)
            self._changed.wait(min(watch.session.stall for watch in watches) / LOOKS)

    @staticmethod
    def _look(watch: Watch) -> None:
        session, now = watch.session, monotonic()
        if session.in_input:
            watch.frame = None
            return
        if watch.answered == watch.sent:
            watch.frame = None
            if session.idle and now - watch.sent_at < IDLE_SECONDS:
                return
            watch.sent += 1
            watch.sent_at = now
            with contextlib.suppress(RuntimeError):  # the loop has closed
                session.loop.call_soon_threadsafe(watch.answer, watch.sent)
            return
        frame = running_callback(session.thread)
        if frame is None or watch.frame is not frame:
            watch.frame = frame
            watch.told_of_frame = False
            watch.since = now
        elif (
            not watch.told_of_frame and now - watch.sent_at >= session.stall and now - watch.since >= session.stall / 2
        ):
            watch.told_of_frame = True
            _tell(watch)


@contextlib.contextmanager
def no_collection() -> Iterator[None]:
    """Any thread. Hold the garbage collector off."""
    was_on = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was_on:
            gc.enable()


def stack_of(ident: int) -> str:
    """Any thread. The stack of the thread with that ``ident``, as text that follows a message; "" if it is gone."""
    with no_collection():
        frame = sys._current_frames().get(ident)
        return "" if frame is None else ":\n" + "".join(traceback.format_stack(frame))


def running_callback(thread: threading.Thread) -> FrameType | None:
    """Any thread. What identifies the loop callback that ``thread`` runs now; None between callbacks."""
    with no_collection():
        frame = sys._current_frames().get(thread.ident or 0)
        while frame is not None and frame.f_code is not _HANDLE_RUN:
            frame = frame.f_back
        return frame


def _tell(watch: Watch) -> None:
    session = watch.session
    with no_collection():
        top = sys._current_frames().get(session.thread.ident or 0)
        if top is None:
            return
        stack = _inside_callback(top)
        is_native = top.f_code is _HANDLE_RUN  # the callback itself has no Python code
        del top
    task = asyncio.current_task(session.loop)
    node = getattr(task, "node", None) if session.calling is None else session.calling
    if node is None and _is_machinery(stack[0].filename) and not is_native:
        return  # our own or asyncio's work, on very many nodes or a busy machine: nobody else's callback is to blame
    at = next((entry for entry in reversed(stack) if not entry.filename.startswith(_HERE)), stack[-1])
    line = (at.filename, at.lineno or 0)
    if line in watch.told:
        return
    watch.told.add(line)
    message = (
        "%s has blocked the event loop of %s for over %s s; use `await`, self.delegate(...), or a plain `def` body:\n%s"
    )
    text = "".join(stack.format())
    if node is None:
        session.log.warning(message, "a callback", session.name, session.stall, text)
    else:
        tell(session.log.warning, node, message, node._label_(), session.name, session.stall, text)


def _inside_callback(top: FrameType) -> traceback.StackSummary:
    """The stack from the body or callback on; what lies below it is the loop's and Agere's own."""
    stack = traceback.extract_stack(top)
    start = next((index for index, entry in enumerate(stack) if not _is_machinery(entry.filename)), 0)
    return traceback.StackSummary.from_list(stack[start:])


def _is_machinery(filename: str) -> bool:
    return filename.startswith(_MACHINERY) or filename == threading.__file__


_sampler = Sampler()


def watch(session: Session) -> None:
    """Any thread. A session starts."""
    _sampler.add(session)


def unwatch(session: Session) -> None:
    """Any thread. A session has ended."""
    _sampler.remove(session)


def reset_after_fork() -> None:
    """Forked child only. The sampler's thread does not exist here."""
    global _sampler  # noqa: PLW0603 - one per process
    _sampler = Sampler()
