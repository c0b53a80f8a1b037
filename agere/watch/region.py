"""The lower end of a terminal, where the live view stands; what the program prints goes above it.

rich's own ``Live`` puts text that comes in pieces (``print(text, end="")``, as models speak) on a line for each piece,
and renders the whole view anew for each print. Here a print costs one write more: the view is wiped off, the text is
written just as it is, and the view is drawn again, below the unfinished line if there is one. The cursor stays visible
and no terminal mode is changed, so that nothing has to be put back, however the program ends.
"""

from __future__ import annotations

import re
import threading
from time import monotonic
from typing import TextIO

from rich.cells import cell_len

REDRAW_SECONDS = 0.03
"""In a flood of prints the view is drawn again no more often than this."""

LONGEST_TAIL = 4096
UNKNOWN = "\a"
"""An unfinished line of which nobody knows where it stands: there is no view until it ends."""

_STYLES = re.compile(r"\x1b\[[0-9;:]*m|\x1b\]8;[^\x1b\x07]*(?:\x1b\\|\x07)")


class Region:
    """Any thread may write; the watch draws.

    Args:
        out: the terminal, where the view is drawn.
    """

    def __init__(self, out: TextIO) -> None:
        self._out = out
        # Re-entrant: a signal handler may print while the main thread prints.
        self._lock = threading.RLock()
        self._tail = ""  # the unfinished line above the view
        self._lines: list[str] = []
        self._width = 80
        self._eraser: str | None = None  # what wipes the view off; None while it is not there
        self._drawn_at = 0.0
        self._pauses = 0
        self._closed = False

    def write(self, stream: TextIO, text: str) -> int:
        """Any thread. The program's text, for one of the streams that end at this terminal."""
        with self._lock:
            if self._closed or not text:
                return stream.write(text)
            self._erase()
            written = stream.write(text)
            self._note(text)
            if self._lines and monotonic() - self._drawn_at >= REDRAW_SECONDS:
                stream.flush()
                self._draw()
            return written

    def flush(self, stream: TextIO) -> None:
        """Any thread."""
        with self._lock:
            stream.flush()

    def draw(self, lines: list[str], width: int, streams: tuple[TextIO, ...]) -> None:
        """The watch's thread. Show these lines.

        Args:
            lines: without line ends, each shorter than the terminal is wide.
            width: the terminal's, in cells.
            streams: what may hold back text that comes before.
        """
        with self._lock:
            if self._closed:
                return
            self._erase()
            self._lines, self._width = lines, width
            for stream in streams:
                stream.flush()
            self._draw()

    def draw_again(self, streams: tuple[TextIO, ...]) -> None:
        """The watch's thread. Bring the view back if prints have driven it away."""
        with self._lock:
            if self._eraser is None and not self._closed:
                for stream in streams:
                    stream.flush()
                self._draw()

    def pause(self) -> None:
        """Any thread. Take the view away until ``resume``; it can be nested."""
        with self._lock:
            self._pauses += 1
            self._erase()
            self._out.flush()

    def resume(self, line_ended: bool | None = None) -> None:
        """Any thread. The end of ``pause``.

        Args:
            line_ended: whether whoever had the terminal has ended his line; None if nothing but prints was there.
        """
        with self._lock:
            self._pauses -= 1
            if line_ended is not None:
                self._tail = "" if line_ended else UNKNOWN

    def leave_line(self, line: str) -> None:
        """The watch's thread. A line of the view's own that stays, above the view."""
        if line:
            self.write(self._out, f"{chr(10) if self._tail else ''}{line}\n")

    def close(self, last: str = "") -> None:
        """The watch's thread. Take the view away for good.

        Args:
            last: a line that is left behind.
        """
        with self._lock:
            if self._closed:
                return
            self._erase()
            self._closed = True
            if last and not self._pauses:
                self._out.write(f"{'' if not self._tail else chr(10)}{last}\n")
            self._out.flush()

    def forget(self) -> None:
        """Forked child only. The lock may have been held."""
        self._lock = threading.RLock()
        self._closed = True

    def _note(self, text: str) -> None:
        """Where the cursor stands after ``text``."""
        _, newline, after = text.rpartition("\n")
        tail = after if newline else self._tail + text
        if tail.endswith("\r") or len(tail) > LONGEST_TAIL:
            self._tail = UNKNOWN
        else:
            self._tail = tail.rpartition("\r")[2]

    def _erase(self) -> None:
        eraser, self._eraser = self._eraser, None
        if eraser is not None:
            self._out.write(eraser)
            self._out.flush()

    def _draw(self) -> None:
        self._drawn_at = monotonic()
        if self._pauses or not self._lines:
            return
        up = len(self._lines) - 1
        begin, back = "", ""
        if self._tail:
            plain = _STYLES.sub("", self._tail)
            cells = cell_len(plain)
            if not plain.isprintable() or (cells and cells % self._width == 0):
                return  # nobody knows where the cursor is: wait for the end of the line
            begin = "\n"
            back = "\x1b[1A" + (f"\x1b[{cells % self._width}C" if cells else "")
        self._eraser = (f"\x1b[{up}A" if up else "") + "\r\x1b[J" + back
        self._out.write(begin + "\n".join(self._lines))
        self._out.flush()
