"""Reports a loop callback that blocks its loop, once per code line, with its stack.

A sampler thread looks whether a loop is still in the same callback: the frame of ``Handle._run`` is the same object
as at its last look. That costs the loop nothing, and the sampler some tens of microseconds, eight times a second.
"""

from __future__ import annotations

import asyncio
import sys
import threading
import traceback
from pathlib import Path
from time import monotonic
from types import FrameType
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from .session import Session

_HERE = str(Path(__file__).parent)
_ASYNCIO = str(Path(asyncio.__file__).parent)
_HANDLE_RUN = asyncio.Handle._run.__code__


class Watch:
    """What the sampler remembers of one session."""

    __slots__ = ("frame", "session", "since", "told", "told_of_frame")

    def __init__(self, session: Session) -> None:
        self.session = session
        self.frame: FrameType | None = None
        self.since = 0.0
        self.told_of_frame = False
        self.told: set[tuple[str, int]] = set()


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
            pause = min(watch.session.stall for watch in watches) / 2
            frames = sys._current_frames()
            for watch in watches:
                self._look(watch, frames.get(watch.session.thread.ident or 0))
            del frames
            self._changed.wait(pause)

    @staticmethod
    def _look(watch: Watch, top: FrameType | None) -> None:
        session = watch.session
        frame = _callback_of(top)
        if frame is None or session.in_input:
            watch.frame = None
        elif watch.frame is not frame:
            watch.frame = frame
            watch.told_of_frame = False
            watch.since = monotonic()
        elif top is not None and not watch.told_of_frame and monotonic() - watch.since >= session.stall:
            watch.told_of_frame = True
            _tell(watch, top)


def running_callback(thread: threading.Thread) -> FrameType | None:
    """Any thread. What identifies the loop callback that ``thread`` runs now; None between callbacks."""
    return _callback_of(sys._current_frames().get(thread.ident or 0))


def _callback_of(top: FrameType | None) -> FrameType | None:
    frame = top
    while frame is not None and frame.f_code is not _HANDLE_RUN:
        frame = frame.f_back
    return frame


def _tell(watch: Watch, top: FrameType) -> None:
    session = watch.session
    stack = _inside_callback(top)
    at = next((entry for entry in reversed(stack) if not entry.filename.startswith(_HERE)), stack[-1])
    line = (at.filename, at.lineno or 0)
    if line in watch.told:
        return
    watch.told.add(line)
    task = asyncio.current_task(session.loop)
    node = getattr(task, "node", None) if session.calling is None else session.calling
    session.log.warning(
        "%s has blocked the event loop of %s for over %s s; use `await`, self.delegate(...), or a plain `def` body:"
        "\n%s",
        "a callback" if node is None else node._label_(),
        session.name,
        session.stall,
        "".join(stack.format()),
    )


def _inside_callback(top: FrameType) -> traceback.StackSummary:
    """The stack from the body or callback on; what lies below it is the loop's and Agere's own."""
    stack = traceback.extract_stack(top)
    start = next((index for index, entry in enumerate(stack) if not _is_machinery(entry.filename)), 0)
    return traceback.StackSummary.from_list(stack[start:])


def _is_machinery(filename: str) -> bool:
    return filename.startswith((_HERE, _ASYNCIO)) or filename == threading.__file__


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
