"""A view as plain lines on stderr: for pipes, log files and terminals that cannot do more.

One line for each node that starts or ends, a bounded number in each second; where that is not enough, and at the end,
a line with the counts.
"""

from __future__ import annotations

import sys
import threading
from time import monotonic
from typing import TYPE_CHECKING, Any

from agere.commander.events import Event, NodeCreated, NodeEnded, NodeStarted, QuestionAsked
from agere.commander.failures import in_words
from agere.rendering import words

from .view import Look

if TYPE_CHECKING:
    from agere.commander.facade import Commander

LINES_PER_SECOND = 20
COUNTS_SECONDS = 10.0
"""How often there is a line with the counts while something changes; sooner where lines were left out."""

DRAIN_SECONDS = 0.5
SHOWN_DEPTH = 12
SHOWN_OF_AN_ERROR = 200  # characters


class LinesView:
    """See ``View``."""

    def __init__(self, commander: Commander[Any]) -> None:
        self._lock = threading.Lock()
        self._name = words.harmless(commander._name_())
        self._began = monotonic()
        self._places: dict[int, tuple[int, float | None]] = {}  # by node: depth, and when it has started
        self._second = 0.0
        self._written = 0  # in this second
        self._left_out = 0
        self._counts_at = 0.0
        self._gist: object = None
        self._broken = False
        self._subscription = commander.subscribe(self._take)

    def begin(self, began: float) -> None:
        """See ``View``."""
        self._began, self._counts_at = began, monotonic()

    def show(self, look: Look) -> None:
        """See ``View``. A line with the counts, now and then."""
        now = monotonic()
        due = 1.0 if self._left_out else COUNTS_SECONDS
        if look.gist == self._gist or now - self._counts_at < due:
            return
        self._gist, self._counts_at = look.gist, now
        self._write_note(look)

    def tick(self) -> None:
        """See ``View``."""

    def end(self, look: Look | None) -> None:
        """See ``View``."""
        self._subscription.drain(DRAIN_SECONDS)
        if look is not None:
            self._write_note(look)

    def close(self) -> None:
        """See ``View``."""
        self._subscription()

    def forget(self) -> None:
        """See ``View``."""
        self._subscription()

    def _take(self, event: Event) -> None:
        """The subscription's thread."""
        text = self._words_for(event)
        if text is None:
            return
        with self._lock:
            now = monotonic()
            if now - self._second >= 1.0:
                self._second, self._written = now, 0
            if self._written >= LINES_PER_SECOND:
                self._left_out += 1
                return
            self._written += 1
            depth = self._depth(event.node_id)
            node = f"{event.kind} {words.harmless(event.name)} #{event.node_id}"
            seconds = max(0.0, event.clock - self._began)
            self._write(f"{self._name} {words.duration(seconds)} {'  ' * min(depth, SHOWN_DEPTH)}{node} {text}")
        if isinstance(event, NodeEnded):
            self._places.pop(event.node_id, None)

    def _words_for(self, event: Event) -> str | None:
        if isinstance(event, NodeCreated):
            depth = 1 + self._depth(event.parent_id)
            self._places[event.node_id] = (depth, None)
        elif isinstance(event, NodeStarted):
            self._places[event.node_id] = (self._depth(event.node_id), event.clock)
            return "started"
        elif isinstance(event, NodeEnded):
            since = self._places.get(event.node_id, (0, None))[1]
            after = "" if since is None else f" after {words.duration(event.clock - since)}"
            failure = "" if event.exception is None else ": " + in_words(event.exception)
            shown = words.harmless(failure, SHOWN_OF_AN_ERROR)
            return f"{event.state}{after}{shown}"
        elif isinstance(event, QuestionAsked):
            return f"asks: {words.harmless(event.question.prompt, SHOWN_OF_AN_ERROR)}"
        return None

    def _depth(self, node_id: int | None) -> int:
        return 0 if node_id is None else self._places.get(node_id, (0, None))[0]

    def _write_note(self, look: Look) -> None:
        with self._lock:
            left_out, self._left_out = self._left_out, 0
            self._write(f"{self._name} {look.note}{f' ({left_out:,} lines left out)' if left_out else ''}")

    def _write(self, line: str) -> None:
        if self._broken or sys.stderr is None:
            return
        try:
            sys.stderr.write(line + "\n")
            sys.stderr.flush()
        except (OSError, ValueError):  # nobody reads any more
            self._broken = True
