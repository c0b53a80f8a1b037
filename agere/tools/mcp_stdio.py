"""A server that runs as a child process: the SDK starts it; here its last words are kept, and its end is made certain.

The SDK ends a server politely (closes its stdin, waits, SIGTERM, waits, SIGKILL), as long as the event loop lets it.
What is left when it could not finish, a commander's patience being over or its loop being stuck, is killed here.
"""

from __future__ import annotations

import asyncio
import atexit
import contextlib
import os
import signal
import sys
import threading
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from mcp import StdioServerParameters
    from mcp.client._transport import TransportStreams

KEPT_OF_STDERR = 4000  # bytes
EXIT_SECONDS = 0.5
"""How long a server whose pipes have closed may take until it is dead."""

_alive: set[ServerProcess] = set()
_lock = threading.Lock()


class Stderr:
    """Takes what a server writes to stderr, and keeps the end of it. Loop only.

    A pipe that nobody reads fills up, and the server hangs; our own stderr is the person's, and in a notebook or a
    window has no descriptor.
    """

    def __init__(self) -> None:
        self._read, self._write = os.pipe()
        self._kept = b""
        self._loop = asyncio.get_running_loop()
        self._thread: threading.Thread | None = None
        os.set_blocking(self._read, False)
        try:
            self._loop.add_reader(self._read, self._take)
        except (
            NotImplementedError
        ):  # a loop that cannot watch pipes (Windows): a thread reads until all ends are closed
            os.set_blocking(self._read, True)
            self._thread = threading.Thread(target=self._take_all, name="agere-mcp-stderr", daemon=True)
            self._thread.start()

    def fileno(self) -> int:
        """Where the server shall write."""
        return self._write

    def close_write(self) -> None:
        """The server has its own end by now."""
        if self._write >= 0:
            os.close(self._write)
            self._write = -1

    def close(self) -> None:
        """Nothing more is taken."""
        self.close_write()
        if self._read >= 0 and self._thread is None:
            self._take()
            self._stop()

    @property
    def text(self) -> str:
        """The last that it has written."""
        return self._kept.decode(errors="replace").strip()

    def _take(self) -> None:
        for _ in range(16):  # then the loop has its turn again, however much comes
            try:
                data = os.read(self._read, 65536)
            except BlockingIOError:
                return
            except OSError:
                data = b""
            if not data:
                self._stop()
                return
            self._kept = (self._kept + data)[-KEPT_OF_STDERR:]

    def _stop(self) -> None:
        if self._read >= 0:
            self._loop.remove_reader(self._read)
            os.close(self._read)
            self._read = -1

    def _take_all(self) -> None:
        with contextlib.suppress(OSError):
            while data := os.read(self._read, 65536):
                self._kept = (self._kept + data)[-KEPT_OF_STDERR:]
        os.close(self._read)


class ServerProcess:
    """A server's process, for asking how it is and for killing it."""

    def __init__(self, stderr: Stderr, process: Any) -> None:
        self._stderr = stderr
        self._process = process
        self._owner = os.getpid()

    @property
    def exit_code(self) -> int | None:
        """Loop only. Its exit code, if it has ended."""
        code: int | None = getattr(self._process, "returncode", None)
        return code

    async def wait_exit_code(self) -> int | None:
        """Loop only. The exit code of one that seems to have ended: its pipes close a moment before it is gone."""
        loop = asyncio.get_running_loop()
        end = loop.time() + EXIT_SECONDS
        while self.exit_code is None and loop.time() < end:  # noqa: ASYNC110 - the process has no event to offer
            await asyncio.sleep(0.01)
        return self.exit_code

    @property
    def last_words(self) -> str:
        """The last that it has written to stderr."""
        return self._stderr.text

    def kill(self) -> None:
        """Any thread. Kill it, and what it has started, at once."""
        if self._process is None or self.exit_code is not None or os.getpid() != self._owner:
            return
        with contextlib.suppress(OSError):
            if sys.platform == "win32":
                self._process.kill()
            else:
                os.killpg(self._process.pid, signal.SIGKILL)  # the SDK gives each server a session of its own


class StdioTransport:
    """Starts a server and connects with it; a ``Transport`` of the SDK. Used once.

    Attributes:
        process: the server, once it has been started.
        stderr: what it says there.
    """

    def __init__(self, parameters: StdioServerParameters) -> None:
        self._parameters = parameters
        self._context = self._connect()
        self.process: ServerProcess | None = None
        self.stderr: Stderr | None = None

    async def __aenter__(self) -> TransportStreams:
        return await self._context.__aenter__()

    async def __aexit__(self, *error: Any) -> bool | None:
        return await self._context.__aexit__(*error)

    @asynccontextmanager
    async def _connect(self) -> AsyncIterator[TransportStreams]:
        from mcp import stdio_client

        self.stderr = stderr = Stderr()
        try:
            connection = stdio_client(self._parameters, errlog=stderr)  # type: ignore[arg-type]  # it has a fileno()
            async with connection as streams:
                stderr.close_write()
                self.process = process = ServerProcess(stderr, _process_of(connection))
                with _lock:
                    _alive.add(process)
                yield streams
        finally:
            try:
                if self.process is not None and self.process.exit_code is None:  # the SDK was not let finish
                    self.process.kill()
                    await self.process.wait_exit_code()  # or nobody buries it
            finally:
                if self.process is not None:
                    with _lock:
                        _alive.discard(self.process)
                stderr.close()


def _process_of(connection: Any) -> Any:
    """The process behind the SDK's connection, which keeps it to itself; None if it cannot be told.

    Without it all works as before, except for the killing of what has outlived the SDK's own efforts.
    """
    frame = getattr(getattr(connection, "gen", None), "ag_frame", None)
    return None if frame is None else frame.f_locals.get("process")


def _kill_all() -> None:
    """At interpreter exit. Whatever commanders have not closed."""
    with _lock:
        left = list(_alive)
    for process in left:
        process.kill()


atexit.register(_kill_all)
