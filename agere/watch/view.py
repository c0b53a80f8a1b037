"""What a view is given to show, and what it has to do."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Protocol

from agere.commander.glance import Glance
from agere.commander.state import State
from agere.rendering import words


@dataclass(frozen=True, slots=True)
class Look:
    """What there is to show at one moment.

    Attributes:
        name: the commander's.
        seconds: since its session began.
        seen: the tree.
        ended: how many nodes have ended since the watch began, by state.
        questions: how many questions to the person stand open.
        over: whether the session has ended.
    """

    name: str
    seconds: float
    seen: Glance
    ended: Mapping[State, int]
    questions: int
    over: bool

    @property
    def note(self) -> str:
        """What it is about, in one line."""
        time = words.duration(self.seconds)
        if self.over:
            done = [f"{count:,} {words.ENDED_WORDS[state]}" for state, count in self.ended.items() if count]
            return f"has exited after {time}: {', '.join(done) or 'nothing has run'}"
        return f"{time}: {words.counts(self.seen, self.ended, self.questions)}"

    @property
    def gist(self) -> object:
        """What makes a difference that should be shown at once; ages alone do not."""
        lines = tuple((line.id, line.depth, line.state, line.more) for line in self.seen.lines)
        return lines, self.seen.pending, self.seen.active, tuple(self.ended.items()), self.questions, self.over


class View(Protocol):
    """One way of showing. All but ``__init__`` and ``forget`` is called on the watch's thread."""

    def begin(self, began: float) -> None:
        """A session is there; it has begun at that time of ``time.monotonic()``."""

    def show(self, look: Look) -> None:
        """Show it."""

    def tick(self) -> None:
        """Nothing new; about ten times a second."""

    def end(self, look: Look | None) -> None:
        """The session has ended, or the watch: show the last look, if there is one, and put everything back."""

    def close(self) -> None:
        """There will be no further session."""

    def forget(self) -> None:
        """Forked child only. Put back what belongs to the process, and touch nothing else."""
