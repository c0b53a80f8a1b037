"""Leads what the program prints and logs to a terminal by way of the region, so that it comes above the view."""

from __future__ import annotations

import logging
import sys
from collections.abc import Iterable, Iterator
from typing import Any, TextIO

from .region import Region


class Proxy:
    """Stands in for ``sys.stdout`` or ``sys.stderr``. Lets everything through once the region is closed."""

    def __init__(self, stream: TextIO, region: Region) -> None:
        self._stream = stream
        self._region = region

    def write(self, text: str) -> int:
        """Any thread."""
        return self._region.write(self._stream, text)

    def writelines(self, lines: Iterable[str]) -> None:
        """Any thread."""
        self.write("".join(lines))

    def flush(self) -> None:
        """Any thread."""
        self._region.flush(self._stream)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)

    def __iter__(self) -> Iterator[str]:
        return iter(self._stream)


class Redirection:
    """From its making until ``undo``. Streams that do not end at a terminal are left alone.

    Args:
        region: where the view stands.
    """

    def __init__(self, region: Region) -> None:
        self.originals: list[TextIO] = []
        self._proxies: list[tuple[str, TextIO, Proxy]] = []
        self._handlers: list[tuple[logging.StreamHandler[Any], Proxy]] = []
        for name in ("stdout", "stderr"):
            stream = getattr(sys, name)
            if _is_terminal(stream):
                proxy = Proxy(stream, region)
                self.originals.append(stream)
                self._proxies.append((name, stream, proxy))
                setattr(sys, name, proxy)
        for handler in _stream_handlers():
            for _, stream, proxy in self._proxies:
                if handler.stream is stream:
                    handler.setStream(proxy)
                    self._handlers.append((handler, proxy))

    def undo(self) -> None:
        """Any thread. Put everything back that nobody else has exchanged meanwhile."""
        for name, stream, proxy in self._proxies:
            if getattr(sys, name) is proxy:
                setattr(sys, name, stream)
        for handler, proxy in self._handlers:
            if handler.stream is proxy:
                handler.setStream(proxy._stream)
        # A handler that was made meanwhile holds a proxy: it lets everything through.


def _is_terminal(stream: Any) -> bool:
    try:
        return stream is not None and bool(stream.isatty())
    except (AttributeError, ValueError, OSError):
        return False


def _stream_handlers() -> list[logging.StreamHandler[Any]]:
    loggers: list[Any] = [logging.getLogger(), *list(logging.root.manager.loggerDict.values())]
    found: dict[int, logging.StreamHandler[Any]] = {}
    for logger in loggers:
        for handler in getattr(logger, "handlers", ()):
            if isinstance(handler, logging.StreamHandler):
                found[id(handler)] = handler
    return list(found.values())
