"""Programs on a pseudo-terminal whose screen is read as a person sees it, by a terminal emulator."""

from __future__ import annotations

import fcntl
import os
import pty
import select
import struct
import sys
import termios
import textwrap
from collections.abc import Callable
from pathlib import Path
from time import monotonic
from typing import Any, Self

import pyte

ROOT = Path(__file__).resolve().parents[2]
LIMIT_SECONDS = 30.0


class Screen:
    """A terminal of a given size."""

    def __init__(self, rows: int = 24, columns: int = 80) -> None:
        self.screen = pyte.HistoryScreen(columns, rows, history=100_000, ratio=0.5)
        self._stream = pyte.ByteStream(self.screen)
        self.size = (rows, columns)

    def feed(self, data: bytes) -> None:
        # A terminal turns a bare line feed into carriage return and line feed (the pty does it for programs).
        self._stream.feed(data)

    @property
    def lines(self) -> list[str]:
        """What stands on the screen, without the empty rows at its end."""
        shown = [self._words(self.screen.buffer[row]) for row in range(self.screen.lines)]
        while shown and not shown[-1]:
            shown.pop()
        return shown

    @property
    def text(self) -> str:
        return "\n".join(self.lines)

    @property
    def transcript(self) -> list[str]:
        """The same, with what has scrolled off at the top."""
        return [*map(self._words, self.screen.history.top), *self.lines]

    def _words(self, row: Any) -> str:
        # The emulator's own ``display`` trips over wide characters that were half overwritten.
        return "".join(row[column].data for column in range(self.screen.columns)).rstrip()


class Program:
    """A Python program on a terminal of its own.

    Args:
        source: its text; dedented.
        screen: the terminal.
        stdout: a path to write stdout to; the terminal by default.
        env: additional environment variables.
    """

    def __init__(
        self, source: str, screen: Screen | None = None, stdout: Path | None = None, env: dict[str, str] | None = None
    ) -> None:
        self.shown = Screen() if screen is None else screen
        environment = {**os.environ, "PYTHONPATH": str(ROOT), "TERM": "xterm-256color", **(env or {})}
        for name in ("COLUMNS", "LINES", "NO_COLOR"):
            environment.pop(name, None)
        self.pid, self._fd = pty.fork()
        if self.pid == 0:
            fcntl.ioctl(0, termios.TIOCSWINSZ, struct.pack("HHHH", *self.shown.size, 0, 0))
            if stdout is not None:
                os.dup2(os.open(stdout, os.O_WRONLY | os.O_CREAT | os.O_TRUNC), 1)
            os.chdir(ROOT)
            os.execve(sys.executable, [sys.executable, "-c", textwrap.dedent(source)], environment)
        self._end = monotonic() + LIMIT_SECONDS
        self._over = False
        self.modes = termios.tcgetattr(self._fd)
        self.code: int | None = None
        self.bytes = 0

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        if self.code is None:
            os.kill(self.pid, 9)
            os.waitpid(self.pid, 0)
        os.close(self._fd)

    def until(self, there: str | Callable[[Screen], Any]) -> str:
        """Read on until a text stands on the screen, or something about it is true. Gives the screen's text."""
        while not (there in self.shown.text if isinstance(there, str) else there(self.shown)):
            assert self._read(), f"it ended, and {there!r} never came:\n{self.shown.text}"
        return self.shown.text

    def type(self, text: str) -> None:
        os.write(self._fd, text.encode())

    def signal(self, number: int) -> None:
        os.kill(self.pid, number)

    def end(self) -> int:
        """Read to the end. Gives the exit code."""
        while self._read():
            self.modes_now = termios.tcgetattr(self._fd)
        _, status = os.waitpid(self.pid, 0)
        self.code = os.waitstatus_to_exitcode(status)
        return self.code

    def _read(self) -> bool:
        if self._over:
            return False
        ready, _, _ = select.select([self._fd], [], [], max(0.0, self._end - monotonic()))
        assert ready, f"it hangs:\n{self.shown.text}"
        try:
            data = os.read(self._fd, 65536)
        except OSError:  # Linux says so when the other side has closed
            data = b""
        self._over = not data
        self.bytes += len(data)
        self.shown.feed(data)
        return bool(data)
