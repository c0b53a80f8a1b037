"""A glance at a task tree: its first lines, and how many nodes there are. For views that are made again and again.

It never touches the loop: it reads the live tree from the calling thread. A branch that changes meanwhile may be shown
as it was just before or just after, and a line may be missing for once. ``snapshot.py`` makes the exact picture, of
every node.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, replace
from time import monotonic
from typing import TYPE_CHECKING, Any, TypeVar

from . import tree
from .state import State

if TYPE_CHECKING:
    from .node import TaskNode
    from .snapshot import TreeSnapshot

T = TypeVar("T")

MAX_DEPTH = 40
"""Levels that are shown."""

MAX_COUNTED = 2_000_000
"""Nodes that are counted: a tree that changes while it is read must not be read for ever."""

LOOKS = 3
"""How often a look that was disturbed is repeated."""


@dataclass(frozen=True, slots=True)
class Line:
    """One line of a glance: a node, or a word of how many stand there that have no line of their own.

    Attributes:
        guide: what draws the tree on the left, such as ``"│  ├─ "``.
        depth: 0 for the topmost node.
        id: the node's number.
        kind: "commander", "job" or "handler".
        name: the node's name.
        state: where its own body and tail stand.
        age: seconds since its body was started; None if it was not.
        more: how many children it has that have no line. On a line without ``kind``, which stands for no node: how many
            further children the node above has.
    """

    guide: str
    depth: int
    id: int = 0
    kind: str = ""
    name: str = ""
    state: State = State.PENDING
    age: float | None = None
    more: int = 0


@dataclass(frozen=True, slots=True)
class Glance:
    """What a glance has seen.

    Attributes:
        lines: the topmost node first, then those below it, shallow ones before deep ones where not all fit.
        pending: how many nodes below it wait to start.
        active: how many nodes below it have started.
        at_least: whether there are more than were counted.
    """

    lines: tuple[Line, ...]
    pending: int
    active: int
    at_least: bool = False


def glance(root: TaskNode[Any], lines: int) -> Glance:
    """Any thread. Look at the live tree.

    Args:
        root: the node from which to look down.
        lines: how many lines there may be at the most.
    """
    pending = active = 0
    for _ in range(LOOKS):
        pending, active, disturbed = _count(root)
        if not disturbed:
            break
    now = monotonic()

    def line(node: TaskNode[Any], guide: str, depth: int) -> Line:
        since = node._since_
        age = now - since if since and node._phase_ not in (tree.QUEUED, tree.ENDED) else None
        return Line(guide, depth, node._id_, node._kind_, str(node._name_()), node._public_state_(), age)

    shown = _choose(root, lines, _oldest_children, line)
    return Glance(shown, pending, active, pending + active >= MAX_COUNTED)


def glance_of(picture: TreeSnapshot, lines: int) -> Glance:
    """Any thread. The same for a picture that was taken before."""

    def line(node: TreeSnapshot, guide: str, depth: int) -> Line:
        return Line(guide, depth, node.id, node.kind, str(node.name), node.state, node.age)

    def first(node: TreeSnapshot, count: int) -> tuple[list[TreeSnapshot], int]:
        return list(node.children[:count]), max(0, len(node.children) - count)

    states = [node.state for node in picture][1:]
    pending = states.count(State.PENDING)
    return Glance(_choose(picture, lines, first, line), pending, len(states) - pending)


def _count(root: TaskNode[Any]) -> tuple[int, int, bool]:
    """How many wait, how many run, and whether the tree has changed under our eyes."""
    total = pending = 0
    disturbed = False
    stack: list[tree.TreeEntry] = [root]
    while stack and total < MAX_COUNTED:
        child = stack.pop()._last_
        while child is not None and total < MAX_COUNTED:
            total += 1
            if child._phase_ == tree.QUEUED:
                pending += 1
            if child._last_ is not None:
                stack.append(child)
            before = child._prev_
            if before is None and child._phase_ == tree.ENDED:
                disturbed = True  # it has just left, and with it the way to its siblings
            child = before
    return pending, total - pending, disturbed


def _oldest_children(node: TaskNode[Any], count: int) -> tuple[list[TaskNode[Any]], int]:
    for _ in range(LOOKS):
        oldest: deque[Any] = deque(maxlen=count)
        total, disturbed = 0, False
        child = node._last_
        while child is not None and total < MAX_COUNTED:
            oldest.append(child)
            total += 1
            before = child._prev_
            disturbed = disturbed or (before is None and child._phase_ == tree.ENDED)
            child = before
        if not disturbed:
            break
    oldest.reverse()
    return list(oldest), total - len(oldest)


def _choose(
    root: T, lines: int, oldest: Callable[[T, int], tuple[list[T], int]], make: Callable[[T, str, int], Line]
) -> tuple[Line, ...]:
    """Level by level, until the lines are used up; a broad node leaves room for the others. Worklists throughout."""
    broad = max(4, lines // 3)
    room = max(1, lines) - 1
    below: dict[int, list[T]] = {}  # by id(): nodes of people's classes may be unhashable
    more: dict[int, int] = {}
    level = [root]
    depth = 0
    while level:
        following: list[T] = []
        for above in level:
            chosen, hidden = oldest(above, min(broad, room) if depth < MAX_DEPTH else 0)
            if hidden and len(chosen) == room and room:  # the line which says that there are more needs room as well
                hidden += 1
                chosen.pop()
            if hidden:
                more[id(above)] = hidden
                room -= 1 if room else 0
            below[id(above)] = chosen
            room -= len(chosen)
            following.extend(chosen)
        level = following
        depth += 1
    found: list[Line] = []
    stack: list[tuple[T | int, str, str, int]] = [(root, "", "", 0)]
    while stack:
        one, guide, indent, depth = stack.pop()
        if isinstance(one, int):
            found.append(Line(guide, depth, more=one))
            continue
        entries: list[T | int] = [*below[id(one)]]
        hidden = more.get(id(one), 0)
        line = make(one, guide, depth)
        found.append(line if not hidden or entries else replace(line, more=hidden))
        if hidden and entries:
            entries.append(hidden)
        for index, entry in reversed(list(enumerate(entries))):
            last = index == len(entries) - 1
            stack.append((entry, indent + ("└─ " if last else "├─ "), indent + ("   " if last else "│  "), depth + 1))
    return tuple(found)
