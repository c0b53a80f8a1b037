"""Wakes threads that are blocked in an HTTP read which only their own call stack knows of.

When a stream is closed, its source does not always tell which socket its thread is blocked in. A generator
that wraps the client's stream hides it on its value stack and refuses ``close()``; a function that makes
the request has no stream yet, while the server may think for a minute before it sends its headers. But the
blocked thread's frames lead to the socket: it is the ``self`` of the function that called ``recv``. This is
looked for in ``httpcore`` (below ``openai`` and ``httpx``), and in ``http.client`` (below ``urllib`` and
``requests``), both over HTTP/1 only, where a connection serves one request: a socket that others may be
using is never touched.

One thread does this for all streams that are stuck at a time, again and again until they have left (a
client that sees its connection fail makes the request anew), and ends when nobody is stuck.
"""

from __future__ import annotations

import logging
import os
import queue
import socket
import sys
import threading
from types import CodeType, FrameType
from typing import Protocol

from agere.utils.closing import shut

_HTTP_1_MODULES = frozenset({"http.client", "httpcore._sync.http11", "httpcore2._sync.http11"})
_BACKENDS = frozenset({"httpcore._backends.sync", "httpcore2._backends.sync"})
_PAUSES = (0.001, 0.004, 0.016, 0.05, 0.1, 0.2, 0.4)
_ROUNDS = 100
"""How often at most one reader is looked at: 38 s in all, the pauses growing to 0.4 s."""


class Stuck(Protocol):
    """What the waker has to know of a reader."""

    thread: int
    """The ident of its thread, as of ``threading.get_ident``."""
    left: bool
    """Whether the thread has left the source for good."""


class Waker:
    """The thread that wakes stuck readers.

    Args:
        code: the code of the method with which a reader enters its source. A thread without a frame of it,
            or with one of another reader, is not that reader's any more.
    """

    def __init__(self, code: CodeType) -> None:
        self._code = code
        self._reset()

    def _reset(self) -> None:
        # A SimpleQueue and a lock that is only ever tried: both may be used from signal handlers.
        self._arrivals: queue.SimpleQueue[Stuck | None] = queue.SimpleQueue()
        self._running = threading.Lock()

    def wake(self, reader: Stuck) -> None:
        """Any thread, never blocks. Wake ``reader`` as soon as it is blocked where it can be reached."""
        self._arrivals.put(reader)
        self._ensure_running()

    def recheck(self) -> None:
        """Any thread, never blocks. A reader that had to be woken has left."""
        self._arrivals.put(None)

    def _ensure_running(self) -> None:
        if not self._running.acquire(blocking=False):
            return
        try:
            threading.Thread(target=self._run, name="agere-stream-waker", daemon=True).start()
        except RuntimeError:  # no thread to be had: the readers leave when their sources let them
            self._running.release()

    def _run(self) -> None:
        try:
            self._watch()
        except Exception:
            logging.getLogger("agere.stream").exception("waking the readers of closed streams failed")
        finally:
            self._running.release()
        while True:  # what came between the last look and the release; Nones alone need no thread
            try:
                reader = self._arrivals.get_nowait()
            except queue.Empty:
                return
            if reader is not None:
                self.wake(reader)
                return

    def _watch(self) -> None:
        stuck: dict[Stuck, int] = {}
        pause = 0
        while True:
            try:
                while True:
                    reader = self._arrivals.get_nowait()
                    if reader is not None:
                        stuck[reader] = pause = 0
            except queue.Empty:
                pass
            stuck = {reader: n + 1 for reader, n in stuck.items() if n < _ROUNDS and not reader.left}
            if not stuck:
                return
            reader = None
            self._look_at(stuck)
            try:
                reader = self._arrivals.get(timeout=_PAUSES[min(pause, len(_PAUSES) - 1)])
            except queue.Empty:
                pause += 1
            else:
                if reader is not None:
                    stuck[reader] = pause = 0

    def _look_at(self, stuck: dict[Stuck, int]) -> None:
        frames = sys._current_frames()  # one snapshot for all: it costs in the number of threads
        for reader in stuck:
            frame = frames.get(reader.thread)
            if frame is None or reader.left:
                continue
            sock = self._socket_below(frame, reader)
            # The thread may have gone on meanwhile; only if it still stands there is the socket its own.
            if sock is not None and sys._current_frames().get(reader.thread) is frame and not reader.left:
                shut(sock)

    def _socket_below(self, frame: FrameType | None, reader: Stuck) -> socket.socket | None:
        sock: socket.socket | None = None
        alone = False
        while frame is not None:
            if frame.f_code is self._code:
                return sock if alone and frame.f_locals.get("self") is reader else None
            module = frame.f_globals.get("__name__")
            if sock is None:
                sock = _socket_of(frame, module)
            alone = alone or module in _HTTP_1_MODULES
            frame = frame.f_back
        return None


def _socket_of(frame: FrameType, module: object) -> socket.socket | None:
    if module in _BACKENDS or module == "socket":
        found = getattr(frame.f_locals.get("self"), "_sock", None)
    elif module == "ssl":
        found = frame.f_locals.get("self")
    else:
        return None
    return found if isinstance(found, socket.socket) else None


def reset_after_fork(waker: Waker) -> None:
    """Main thread. Give the child of a fork a waker of its own: its parent's thread is not there."""
    if hasattr(os, "register_at_fork"):
        os.register_at_fork(after_in_child=waker._reset)
