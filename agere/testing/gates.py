"""Where a scripted answer waits: for the test to go on, for a time, or for the client to leave."""

from __future__ import annotations

import select
import socket
import ssl
import threading
from time import monotonic

PATIENCE = 10.0
"""How many seconds the waits of a test may take before they fail it."""


class Gate:
    """Holds an answer until the test lets it go on. Any thread may use it; it stays open once released.

    One gate may stand in several answers: releasing it lets all of them go on.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._open = False
        self._reached = threading.Event()
        self._bells: set[socket.socket] = set()

    def release(self) -> None:
        """Let every answer that waits here go on, now and later. Idempotent."""
        with self._lock:
            if self._open:
                return
            self._open = True
            for bell in self._bells:
                bell.send(b"!")

    def wait_reached(self, timeout: float = PATIENCE) -> bool:
        """Wait until an answer has come to this gate: everything before it has been sent.

        Args:
            timeout: how many seconds to wait at most.

        Returns:
            Whether one has come; False when the time is up.
        """
        return self._reached.wait(timeout)

    def hold(self, connection: socket.socket) -> bool:
        """Server thread. Wait here; False if the client disconnects first."""
        listener, bell = socket.socketpair()
        with listener, bell:
            with self._lock:
                if self._open:
                    self._reached.set()
                    return True
                self._bells.add(bell)
            self._reached.set()
            try:
                while True:
                    ready, _, _ = select.select([connection, listener], [], [])
                    if listener in ready:
                        return True
                    if has_left(connection):
                        return False
            finally:
                with self._lock:
                    self._bells.discard(bell)


def wait_unless_left(connection: socket.socket, seconds: float) -> bool:
    """Server thread. Wait ``seconds``; False if the client disconnects first."""
    end = monotonic() + seconds
    while (left := end - monotonic()) > 0:
        ready, _, _ = select.select([connection], [], [], left)
        if ready and has_left(connection):
            return False
    return True


def has_left(connection: socket.socket) -> bool:
    """Server thread. Whether a readable connection has been closed; what a client says meanwhile is dropped."""
    try:
        return not connection.recv(4096)
    except ssl.SSLWantReadError:
        return False
    except OSError:
        return True
