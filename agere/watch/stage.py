"""The one place at the lower end of this process's terminal, which all live views share."""

from __future__ import annotations

import contextlib
import sys
import threading
from collections.abc import Iterator, Sequence

from rich.console import Console
from rich.text import Text

from agere.commander.input_routing import interrupt_by_input, interrupt_no_longer

from .redirect import Redirection
from .region import Region

KEPT_FREE = 3
"""Rows of the terminal that stay the program's."""


class Stage:
    """Several views, one below the other. From its making until ``close`` it has the terminal."""

    def __init__(self) -> None:
        out = sys.stderr
        self._lock = threading.RLock()
        self._shown: dict[object, list[str]] = {}
        self._region = Region(out)
        self._redirection = Redirection(self._region)
        self._console = Console(file=out)
        interrupt_by_input(self.interrupted_by_input)

    def enter(self, view: object) -> None:
        """A watch's thread. A view begins; it stands below the others."""
        with self._lock:
            self._shown[view] = []

    def show(self, view: object, texts: Sequence[Text]) -> None:
        """A watch's thread. What the view shows from now on; cut to what there is room for."""
        with self._lock:
            width, height = self._console.size
            room = max(1, (height - KEPT_FREE) // max(1, len(self._shown)))
            self._shown[view] = [self._rendered(text, width) for text in texts[:room]]
            self._draw(width)

    def tick(self) -> None:
        """A watch's thread. After prints the views may be away."""
        with self._lock:
            self._region.draw_again(tuple(self._redirection.originals))

    def leave(self, view: object, last: Text | None) -> bool:
        """A watch's thread. The view ends; its last line goes above those that stay. True if none stays."""
        with self._lock:
            width = self._console.width
            shown = "" if last is None else self._rendered(last, width)
            self._shown.pop(view, None)
            if not self._shown:
                interrupt_no_longer(self.interrupted_by_input)
                try:
                    self._region.close(shown)
                finally:
                    self._redirection.undo()
                return True
            self._region.leave_line(shown)
            self._draw(width)
            return False

    def forget(self) -> None:
        """Forked child only."""
        interrupt_no_longer(self.interrupted_by_input)
        self._lock = threading.RLock()
        self._region.forget()
        self._redirection.undo()

    @contextlib.contextmanager
    def paused(self) -> Iterator[None]:
        """Any thread. The terminal is somebody else's."""
        self._region.pause()
        try:
            yield
        finally:
            self._region.resume()

    @contextlib.contextmanager
    def interrupted_by_input(self) -> Iterator[None]:
        """Any thread. The same for ``input``: the person ends the line, unless it is broken off."""
        self._region.pause()
        ended = False
        try:
            yield
            ended = True
        finally:
            self._region.resume(line_ended=ended)

    def _draw(self, width: int) -> None:
        lines = [line for lines in self._shown.values() for line in lines]
        self._region.draw(lines, width, tuple(self._redirection.originals))

    def _rendered(self, text: Text, width: int) -> str:
        console = self._console
        with console.capture() as captured:
            console.print(text, width=width - 1, no_wrap=True, overflow="ellipsis", crop=True, end="", highlight=False)
        return captured.get().rstrip("\n")


_stage: Stage | None = None
_lock = threading.Lock()


def enter(view: object) -> Stage:
    """A watch's thread. The stage, with the view on it."""
    global _stage  # noqa: PLW0603 - one per process
    with _lock:
        if _stage is None:
            _stage = Stage()
        _stage.enter(view)
        return _stage


def leave(view: object, last: Text | None) -> None:
    """A watch's thread. The view is over."""
    global _stage  # noqa: PLW0603 - one per process
    with _lock:
        stage = _stage
        if stage is None:
            return
        gone = True
        try:
            gone = stage.leave(view, last)
        finally:
            if gone:
                _stage = None


def forget() -> None:
    """Forked child only."""
    global _stage, _lock  # noqa: PLW0603 - one per process
    _lock = threading.Lock()
    stage, _stage = _stage, None
    if stage is not None:
        stage.forget()
