"""Names, ages and counts in words. Whatever comes from a program's own names is made harmless here."""

from __future__ import annotations

from collections.abc import Mapping

from agere.commander.glance import Glance, Line
from agere.commander.state import State

NAME_LENGTH = 80

ENDED_WORDS = {State.COMPLETED: "completed", State.EXCEPTION: "failed", State.TERMINATED: "terminated"}


def harmless(text: str, length: int = NAME_LENGTH) -> str:
    """On one line, without control characters (which could play tricks with a terminal), and not too long."""
    shown = "".join(char if char.isprintable() else "\N{REPLACEMENT CHARACTER}" for char in text[: length + 1])
    return shown if len(shown) <= length else shown[: length - 1] + "…"


def duration(seconds: float) -> str:
    """Seconds in words: ``4.1 s``, ``3 min 12 s``, ``2 h 5 min``."""
    if seconds < 100:
        return f"{max(0.0, seconds):.1f} s"
    whole = int(seconds)
    if whole < 3600:
        return f"{whole // 60} min {whole % 60} s"
    return f"{whole // 3600} h {whole % 3600 // 60} min"


def counts(glance: Glance, ended: Mapping[State, int] | None = None, questions: int = 0) -> str:
    """How many do what: ``3 active, 2 pending, 14 completed``."""
    more = "over " if glance.at_least else ""
    words = [f"{more}{glance.active:,} active"]
    if glance.pending:
        words.append(f"{more}{glance.pending:,} pending")
    words.extend(f"{ended[state]:,} {word}" for state, word in ENDED_WORDS.items() if ended and ended[state])
    if questions:
        words.append(f"{questions:,} {'question' if questions == 1 else 'questions'} to you")
    return ", ".join(words)


def more(line: Line) -> str:
    """What stands for the nodes that have no line: on a line of its own, or behind the node above; else ""."""
    if not line.more:
        return ""
    return f" … {line.more:,} below" if line.kind else f"… {line.more:,} more"


def text(glance: Glance) -> str:
    """A glance as plain text with tree lines."""
    return "\n".join(one_line(line) for line in glance.lines)


def one_line(line: Line) -> str:
    """One line of it."""
    if not line.kind:
        return line.guide + more(line)
    age = "" if line.age is None else f" {duration(line.age)}"
    return f"{line.guide}{line.kind} {harmless(line.name)} #{line.id} {line.state}{age}{more(line)}"
