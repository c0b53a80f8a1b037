"""HTML for notebooks: escaped, without scripts, of bounded size, and readable on light and dark pages alike.

Colours are of middle brightness, everything else takes the page's own. Styles stand in the elements, because places
that show notebooks drop style sheets.
"""

from __future__ import annotations

from collections.abc import Iterable
from html import escape
from typing import TYPE_CHECKING, Any

from agere.commander.failures import path
from agere.commander.glance import Glance, Line, glance, glance_of
from agere.commander.state import State

from .words import counts, duration, harmless, more

if TYPE_CHECKING:
    from agere.commander.facade import Commander
    from agere.commander.future import JobFuture
    from agere.commander.snapshot import TreeSnapshot

LINES = 200
SHOWN_OF_AN_ERROR = 500  # characters

GREY, BLUE, GREEN, RED, AMBER = "#8a8a8a", "#2f8fce", "#2e9d57", "#dd5144", "#c1861b"
COLOURS = {
    State.PENDING: GREY,
    State.ACTIVE: BLUE,
    State.COMPLETED: GREEN,
    State.EXCEPTION: RED,
    State.TERMINATED: AMBER,
}
FUTURE_COLOURS = {"pending": BLUE, "finished": GREEN, "failed": RED, "cancelled": AMBER}

BOX = "font-family: monospace; font-size: 0.95em; line-height: 1.5; color: inherit; text-align: left"
BELOW = f"margin-left: 0.5em; padding-left: 1em; border-left: 1px solid {GREY}66"


def tree_html(picture: TreeSnapshot) -> str:
    """A picture of a tree; branches can be folded."""
    return _box(_nested(glance_of(picture, LINES).lines))


def commander_html(commander: Commander[Any]) -> str:
    """A commander, with what it runs now and what it asks."""
    seen = glance(commander, LINES)
    note = ""
    if commander.running_status:
        questions = commander.questions
        note = f"<div>{_grey(counts(seen, questions=len(questions)))}</div>"
        note += "".join(f"<div>? {escape(harmless(question.prompt, 200))}</div>" for question in questions[:10])
    return _box(note + _nested(seen.lines))


def future_html(future: JobFuture[Any]) -> str:
    """A Future: its state, its node's place, what went wrong, and while it is pending what runs."""
    state, failure = future._state_word_(), future._failure_words_()
    head = f"<div>JobFuture {_coloured(state, FUTURE_COLOURS[state])} {_grey(harmless(path(future.node), 300))}</div>"
    if failure is not None:
        head += f'<div style="color: {RED}">{escape(harmless(failure, SHOWN_OF_AN_ERROR))}</div>'
    if state != "pending":
        return _box(head)
    return _box(head + _nested(glance(future.node, LINES).lines))


def live_html(title: str, note: str, seen: Glance) -> str:
    """The live view: flat lines, because what a person has folded would open again at each update."""
    lines = "".join(f'<div style="white-space: pre">{_grey(line.guide)}{_words(line)}</div>' for line in seen.lines[1:])
    return _box(f"<div><b>{escape(harmless(title))}</b> {_grey(note)}</div>{lines}")


def _box(inside: str) -> str:
    return f'<div style="{BOX}">{inside}</div>'


def _nested(lines: Iterable[Line]) -> str:
    parts: list[str] = []
    open_: list[bool] = []  # for each line above the present one, whether it has become a <details>
    shown = list(lines)
    for index, line in enumerate(shown):
        while len(open_) > line.depth:
            parts.append("</div></details>" if open_.pop() else "</div>")
        has_more = index + 1 < len(shown) and shown[index + 1].depth > line.depth
        if has_more:
            summary = f'<summary style="cursor: pointer">{_words(line)}</summary>'
            parts.append(f'<details open>{summary}<div style="{BELOW}">')
        else:
            parts.append(f'<div style="margin-left: 1.1em">{_words(line)}')
        open_.append(has_more)
    while open_:
        parts.append("</div></details>" if open_.pop() else "</div>")
    return "".join(parts)


def _words(line: Line) -> str:
    if not line.kind:
        return _grey(more(line))
    age = "" if line.age is None else f" {duration(line.age)}"
    name = f"{escape(line.kind)} <b>{escape(harmless(line.name))}</b> {_grey(f'#{line.id}')}"
    return f"{name} {_coloured(str(line.state), COLOURS[line.state])}{age}{_grey(more(line))}"


def _coloured(text: str, colour: str) -> str:
    return f'<span style="color: {colour}">{escape(text)}</span>'


def _grey(text: str) -> str:
    return _coloured(text, GREY)
