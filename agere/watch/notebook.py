"""A view in a Jupyter notebook: one display, below the cell that called ``watch``, updated in place."""

from __future__ import annotations

from typing import Any

from agere.commander.glance import Glance
from agere.rendering import words
from agere.rendering.html import live_html

from .view import Look


class NotebookView:
    """See ``View``. Made in the cell's thread, so that the display stands below the cell."""

    def __init__(self) -> None:
        try:
            from IPython.display import display
        except ImportError as error:
            raise ImportError("watch() in a notebook needs IPython: pip install 'agere[jupyter]'") from error
        self._display: Any = display(_bundle("", "waiting for a commander to start"), raw=True, display_id=True)  # type: ignore[no-untyped-call]

    def begin(self, began: float) -> None:
        """See ``View``."""

    def show(self, look: Look) -> None:
        """See ``View``."""
        text = "\n".join([f"{words.harmless(look.name)} {look.note}", *map(words.one_line, look.seen.lines[1:])])
        self._update({"text/html": live_html(look.name, look.note, look.seen), "text/plain": text})

    def tick(self) -> None:
        """See ``View``."""

    def end(self, look: Look | None) -> None:
        """See ``View``. The last look stays."""
        if look is not None and look.over:
            self._update(_bundle(look.name, look.note))
        elif look is not None:
            self.show(look)

    def close(self) -> None:
        """See ``View``."""

    def forget(self) -> None:
        """See ``View``."""
        self._display = None

    def _update(self, bundle: dict[str, str]) -> None:
        if self._display is not None:
            self._display.update(bundle, raw=True)


def _bundle(name: str, note: str) -> dict[str, str]:
    html = live_html(name, note, Glance((), 0, 0))
    return {"text/html": html, "text/plain": f"{words.harmless(name)} {note}".strip()}
