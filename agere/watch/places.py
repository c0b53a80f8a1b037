"""Which view fits the place."""

from __future__ import annotations

import os
import sys
from typing import TYPE_CHECKING, Any

from .view import View

if TYPE_CHECKING:
    from agere.commander.facade import Commander


def make_view(style: str, commander: Commander[Any]) -> View:
    """Any thread. The view of that style; for "auto" the one that fits.

    Raises:
        ImportError: a terminal's view without rich, or a notebook's without IPython.
    """
    if style == "auto":
        style = _fitting_style()
    if style == "notebook":
        from .notebook import NotebookView

        return NotebookView()
    if style == "terminal":
        try:
            from .terminal import TerminalView
        except ImportError as error:
            if (error.name or "").split(".")[0] != "rich":
                raise
            raise ImportError(
                "watch() shows a live tree on a terminal with rich: pip install 'agere[rich]'; "
                'watch("lines") prints plain lines, and needs nothing'
            ) from error
        return TerminalView()
    from .lines import LinesView

    return LinesView(commander)


def in_notebook() -> bool:
    """Any thread. Whether a Jupyter kernel runs this process."""
    get_ipython = getattr(sys.modules.get("IPython"), "get_ipython", None)
    return get_ipython is not None and getattr(get_ipython(), "kernel", None) is not None


def _fitting_style() -> str:
    if in_notebook():
        return "notebook"
    try:
        on_terminal = sys.stderr is not None and sys.stderr.isatty()
    except (ValueError, OSError):  # it has been closed
        on_terminal = False
    # At the prompt of an interactive interpreter a person types where the view would stand.
    interactive = hasattr(sys, "ps1") or bool(sys.flags.interactive)
    if not on_terminal or interactive or os.environ.get("TERM") in ("dumb", "unknown") or _is_old_windows_console():
        return "lines"
    return "terminal"


def _is_old_windows_console() -> bool:
    if sys.platform != "win32":
        return False
    try:
        from rich.console import detect_legacy_windows
    except ImportError:
        return False
    return detect_legacy_windows()
