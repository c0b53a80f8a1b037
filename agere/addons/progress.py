"""Telling a person on stderr how far a download is: a bar on a terminal, sparse lines elsewhere."""

from __future__ import annotations

import importlib
import shutil
import sys
import threading
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator


def megabytes(size: int) -> str:
    """A size in bytes as people read it, in decimal megabytes."""
    return f"{size / 1e6:.0f} MB"


class Reporter:
    """Writes to stderr, or nowhere. Any thread may call it.

    Args:
        quiet: say nothing at all.
    """

    def __init__(self, *, quiet: bool = False) -> None:
        # Looked up now: a notebook gives each cell its own stream, and a windowed program has none.
        self._stream = None if quiet else sys.stderr

    def say(self, text: str) -> None:
        """Write one line."""
        if self._stream is not None:
            self._stream.write(f"agere: {text}\n")
            self._stream.flush()

    @contextmanager
    def bar(self, label: str, total: int) -> Iterator[Callable[[int], None]]:
        """Show progress towards ``total`` bytes while the block runs.

        Yields:
            A function that takes the number of bytes so far. It may go down or beyond ``total``.
        """
        if self._stream is None:
            yield lambda _done: None
        elif getattr(self._stream, "isatty", bool)():
            yield from self._terminal_bar(label, total)
        else:
            yield self._lines(label, total)

    def _terminal_bar(self, label: str, total: int) -> Iterator[Callable[[int], None]]:
        tqdm: Any = importlib.import_module("tqdm").tqdm
        # tqdm's own class would start a monitor thread and make a multiprocessing lock, which outlive the bar.
        quiet_tqdm: Any = type("_Bar", (tqdm,), {"monitor_interval": 0})
        quiet_tqdm.set_lock(threading.RLock())
        # Asked here: tqdm draws nothing on a terminal that does not know its size, as in some containers.
        columns, rows = shutil.get_terminal_size()
        options = {"total": total, "desc": label, "unit": "B", "unit_scale": True, "ncols": columns, "nrows": rows}
        with quiet_tqdm(file=self._stream, **options) as bar:

            def update(done: int) -> None:
                bar.update(max(0, min(done, total) - bar.n))

            yield update

    def _lines(self, label: str, total: int) -> Callable[[int], None]:
        told = 0

        def update(done: int) -> None:
            nonlocal told
            quarter = min(4, 4 * done // total)
            if quarter > told:
                told = quarter
                self.say(f"{label}: {25 * quarter} % of {megabytes(total)}")

        return update
