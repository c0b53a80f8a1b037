"""For rich (the extra ``rich``): what ``__rich__`` gives, and the lines of the live view."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

from rich.text import Text

from agere.commander.glance import Glance, Line, glance, glance_of
from agere.commander.state import State

from .words import counts, duration, harmless, more

if TYPE_CHECKING:
    from agere.commander.facade import Commander
    from agere.commander.future import JobFuture
    from agere.commander.snapshot import TreeSnapshot

LINES = 200

STYLES = {
    State.PENDING: "dim",
    State.ACTIVE: "cyan",
    State.COMPLETED: "green",
    State.EXCEPTION: "red",
    State.TERMINATED: "yellow",
}


def line_text(line: Line) -> Text:
    """One line of a glance."""
    shown = Text(line.guide, style="dim", no_wrap=True, overflow="ellipsis", end="")
    if not line.kind:
        return shown.append(more(line))
    shown.append(f"{line.kind} ", style="not dim")
    shown.append(harmless(line.name), style="not dim bold")
    shown.append(f" #{line.id} ")
    shown.append(str(line.state), style=f"not dim {STYLES[line.state]}".replace("not dim dim", "dim"))
    if line.age is not None:
        shown.append(f" {duration(line.age)}", style="not dim")
    return shown.append(more(line))


def lines_text(lines: Iterable[Line]) -> Text:
    """Several lines."""
    return Text("\n", no_wrap=True, overflow="ellipsis").join(line_text(line) for line in lines)


def tree_text(picture: TreeSnapshot) -> Text:
    """A picture of a tree."""
    return lines_text(glance_of(picture, LINES).lines)


def commander_text(commander: Commander[Any]) -> Text:
    """A commander, with what it runs now."""
    seen: Glance = glance(commander, LINES)
    head = line_text(seen.lines[0])
    if commander.running_status:
        head.append(f"  {counts(seen, questions=len(commander.questions))}", style="dim")
    return Text("\n", no_wrap=True, overflow="ellipsis").join([head, *(line_text(line) for line in seen.lines[1:])])


def future_text(future: JobFuture[Any]) -> Text:
    """A Future, with what it waits for."""
    state, failure = future._state_word_(), future._failure_words_()
    style = {"pending": "cyan", "finished": "green", "failed": "red", "cancelled": "yellow"}[state]
    head = Text("JobFuture ", no_wrap=True, overflow="ellipsis").append(state, style=style)
    if failure is not None:
        head.append(f" {harmless(failure, 500)}")
    lines = glance(future.node, LINES).lines if state == "pending" else glance(future.node, 1).lines[:1]
    return Text("\n", no_wrap=True, overflow="ellipsis").join([head, *(line_text(line) for line in lines)])
