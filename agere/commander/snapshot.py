"""A picture of the task tree at one moment."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from time import monotonic
from typing import TYPE_CHECKING, Any

from . import tree
from .state import State

if TYPE_CHECKING:
    from .node import TaskNode

SHOWN_DEPTH = 40
SHOWN_LINES = 1000


@dataclass(frozen=True, slots=True, repr=False)
class TreeSnapshot:
    """One node of the picture, with those below it.

    Attributes:
        id: the node's number.
        kind: "commander", "job" or "handler".
        name: the node's name.
        state: where its own body and tail stood.
        age: seconds since its body was started; None if it was not.
        children: the live nodes below it, oldest first.
    """

    id: int
    kind: str
    name: str
    state: State
    age: float | None
    children: tuple[TreeSnapshot, ...]

    def __iter__(self) -> Iterator[TreeSnapshot]:
        """Every node of the picture, each before its children."""
        stack = [self]
        while stack:
            node = stack.pop()
            yield node
            stack.extend(reversed(node.children))

    def __len__(self) -> int:
        return sum(1 for _ in self)

    def to_dict(self, depth: int | None = None) -> dict[str, Any]:
        """The picture as plain dicts and lists, ready for JSON.

        Args:
            depth: how many levels below this node; all by default (Python's ``json`` follows some 900 at the most).
                Where something was cut off, ``"hidden"`` tells how many children there are.
        """
        whole: dict[str, Any] = {}
        stack = [(self, whole, 0)]
        while stack:
            node, made, level = stack.pop()
            children: list[dict[str, Any]] = []
            made.update(id=node.id, kind=node.kind, name=str(node.name), state=str(node.state), age=node.age)
            made["children"] = children
            if depth is not None and level >= depth:
                if node.children:
                    made["hidden"] = len(node.children)
                continue
            for child in node.children:
                below: dict[str, Any] = {}
                children.append(below)
                stack.append((child, below, level + 1))
        return whole

    def __str__(self) -> str:
        lines: list[str] = []
        stack: list[tuple[TreeSnapshot, int]] = [(self, 0)]
        left_out = 0
        while stack:
            node, depth = stack.pop()
            stack.extend((child, depth + 1) for child in reversed(node.children))
            if depth > SHOWN_DEPTH or len(lines) >= SHOWN_LINES:
                left_out += 1
                continue
            age = "" if node.age is None else f" {node.age:.1f} s"
            name = "".join(char if char.isprintable() else "\N{REPLACEMENT CHARACTER}" for char in str(node.name))
            lines.append(f"{'  ' * depth}{node.kind} {name} #{node.id} {node.state}{age}")
        if left_out:
            lines.append(f"... and {left_out} more")
        return "\n".join(lines)

    __repr__ = __str__

    def _repr_html_(self) -> str:
        from agere.rendering.html import tree_html

        return tree_html(self)

    def __rich__(self) -> object:
        from agere.rendering.rich_text import tree_text

        return tree_text(self)


def take(root: TaskNode[Any]) -> TreeSnapshot:
    """Loop only (elsewhere a picture of about now). Worklists, since trees can be deep."""
    now = monotonic()
    made: dict[int, TreeSnapshot] = {}
    for entry in reversed(tree.subtree(root)):
        node: TaskNode[Any] = entry  # type: ignore[assignment]
        made[node._id_] = TreeSnapshot(
            node._id_,
            node._kind_,
            node._name_(),
            node._public_state_(),
            now - node._since_ if node._since_ and node._phase_ != tree.QUEUED else None,
            tuple(made[child._id_] for child in tree.children(node) if child._id_ in made),  # type: ignore[attr-defined]
        )
    return made[root._id_]
