"""What a test left behind: threads, event loops, file descriptors, pending asyncio tasks.

``track_loops()`` is called once, when the suite starts. ``Snapshot()`` is taken before a test, ``snapshot.leaks()``
after it: a list of readable findings, empty when all is well. Everything that is on its way out is waited for, on the
thing itself where it can be (threads are joined), within ``PATIENCE_SECONDS`` in all.
"""

from __future__ import annotations

import asyncio
import gc
import sys
import threading
import traceback
import weakref
from pathlib import Path
from time import monotonic
from typing import Any

PATIENCE_SECONDS = 5.0

TOLERATED_THREADS = ("TMonitor",)  # tqdm's, one per process
FDS = Path("/proc/self/fd")

_loops: weakref.WeakKeyDictionary[asyncio.AbstractEventLoop, str] = weakref.WeakKeyDictionary()
_lock = threading.Lock()


def track_loops() -> None:
    """Remember every event loop that is made from now on, with the stack that made it."""
    original = asyncio.base_events.BaseEventLoop.__init__

    def init(self: Any, *args: Any, **kwargs: Any) -> None:
        original(self, *args, **kwargs)
        stack = "".join(traceback.StackSummary.extract(traceback.walk_stack(sys._getframe(1)), limit=8).format())
        with _lock:
            _loops[self] = stack

    asyncio.base_events.BaseEventLoop.__init__ = init  # type: ignore[method-assign]


def _open_loops() -> dict[asyncio.AbstractEventLoop, str]:
    with _lock:
        return {loop: stack for loop, stack in list(_loops.items()) if not loop.is_closed()}


def _tasks() -> set[asyncio.Task[Any]]:
    found: set[asyncio.Task[Any]] = set()
    for name in ("_all_tasks", "_scheduled_tasks", "_eager_tasks"):
        for _ in range(100):
            try:
                found.update(getattr(asyncio.tasks, name, ()))
                break
            except RuntimeError:  # it changed meanwhile, in another thread
                continue
    return {task for task in found if not task.done()}


def _fds() -> dict[int, str]:
    found: dict[int, str] = {}
    if not FDS.exists():
        return found
    for path in FDS.iterdir():
        try:
            found[int(path.name)] = str(path.readlink())
        except OSError:  # the descriptor of this very listing
            continue
    return found


def _threads() -> list[threading.Thread]:
    return [
        thread
        for thread in threading.enumerate()
        if not isinstance(thread, threading._DummyThread)
        and type(thread).__name__ not in TOLERATED_THREADS
        and thread is not threading.current_thread()
    ]


def _stack_of(thread: threading.Thread) -> str:
    collecting = gc.isenabled()
    gc.disable()  # a collection while another thread's frames are looked at can crash CPython 3.11
    try:
        frame = sys._current_frames().get(thread.ident or 0)
        return "  (no stack)\n" if frame is None else "".join(traceback.format_stack(frame))
    finally:
        if collecting:
            gc.enable()


class Snapshot:
    """What is there now."""

    def __init__(self) -> None:
        self._threads = set(_threads())
        self._loops = set(_open_loops())
        self._tasks = _tasks()
        self._fds = _fds()

    def leaks(self, tolerated: frozenset[str] = frozenset(), patience: float = PATIENCE_SECONDS) -> list[str]:
        """Findings since the snapshot, each a paragraph. ``tolerated``: of threads, loops, tasks, fds."""
        end = monotonic() + patience
        if "threads" not in tolerated:
            for thread in self._new_threads():
                thread.join(max(0.0, end - monotonic()))
        found = self._look(tolerated)
        if found:
            gc.collect()
            found = self._look(tolerated)
        pause = threading.Event()
        while found and monotonic() < end:  # a peer closes its side of a connection in its own time
            pause.wait(0.02)
            found = self._look(tolerated)
        return found

    def _new_threads(self) -> list[threading.Thread]:
        return [thread for thread in _threads() if thread not in self._threads]

    def _look(self, tolerated: frozenset[str]) -> list[str]:
        found: list[str] = []
        if "threads" not in tolerated:
            for thread in self._new_threads():
                found.append(f"thread {thread.name!r} is alive:\n{_stack_of(thread)}")
        if "loops" not in tolerated:
            found += [
                f"event loop {loop!r} was not closed; made here:\n{stack}"
                for loop, stack in _open_loops().items()
                if loop not in self._loops
            ]
        if "tasks" not in tolerated:
            for task in _tasks() - self._tasks:
                stack = "".join("".join(traceback.format_stack(frame, 1)) for frame in task.get_stack())
                found.append(f"task is pending: {task!r}\n{stack}")
        if "fds" not in tolerated:
            now = _fds()
            found += [
                f"file descriptor {number} is open: {target}"
                for number, target in now.items()
                if self._fds.get(number) != target
            ]
        return found
