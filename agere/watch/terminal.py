"""A view in a terminal: the live tree below what the program prints. Needs rich."""

from __future__ import annotations

import contextlib

from rich.text import Text

from agere.rendering.rich_text import line_text
from agere.rendering.words import harmless

from . import stage
from .view import Look


class TerminalView:
    """See ``View``."""

    def __init__(self) -> None:
        self._stage: stage.Stage | None = None

    def begin(self, began: float) -> None:
        """See ``View``."""
        del began
        self._stage = stage.enter(self)

    def show(self, look: Look) -> None:
        """See ``View``."""
        if self._stage is not None:
            self._stage.show(self, [head_text(look), *(line_text(line) for line in look.seen.lines[1:])])

    def tick(self) -> None:
        """See ``View``."""
        if self._stage is not None:
            self._stage.tick()

    def end(self, look: Look | None) -> None:
        """See ``View``."""
        if self._stage is not None:
            self._stage = None
            stage.leave(self, None if look is None else head_text(look))

    def close(self) -> None:
        """See ``View``."""

    def forget(self) -> None:
        """See ``View``."""
        self._stage = None
        stage.forget()

    def paused(self) -> contextlib.AbstractContextManager[object]:
        """Any thread. See ``Watch.paused``."""
        at = self._stage
        return contextlib.nullcontext() if at is None else at.paused()


def head_text(look: Look) -> Text:
    """The line above the tree."""
    name = Text(harmless(look.name), style="bold", no_wrap=True, overflow="ellipsis", end="")
    return name.append(f" {look.note}", style="not bold")
