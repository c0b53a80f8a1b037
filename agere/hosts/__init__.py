"""Hosts: where the person is. See ``agere.commander.Host`` for what one has to do.

``JupyterHost``, ``TkHost`` and ``QtHost`` are imported when they are first used: no toolkit is loaded, or needed,
before that.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

from agere.commander.host import Host, MainThreadHost

from .scripted import ScriptedHost

if TYPE_CHECKING:
    from .qt import QtHost as QtHost
    from .tk import TkHost as TkHost

__all__ = ["Host", "JupyterHost", "MainThreadHost", "ScriptedHost"]  # `import *` must not need a toolkit

_AT_FIRST_USE = {"JupyterHost": "agere.hosts.jupyter", "QtHost": "agere.hosts.qt", "TkHost": "agere.hosts.tk"}


def __getattr__(name: str) -> Any:
    """Import a host that needs a toolkit. Raises ImportError, naming the extra, where the toolkit is missing."""
    if name not in _AT_FIRST_USE:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(_AT_FIRST_USE[name]), name)


def __dir__() -> list[str]:
    return sorted({*globals(), *_AT_FIRST_USE})
