"""What failed below a node, and whether a body has received it.

Failures climb the tree as ropes: a single Failure, or a pair of ropes. Joining is O(1) however many there are;
what was received falls off the front when a rope is looked at. Paths are built when somebody raises, not before.
All of this belongs to the loop thread, but for ``Failure.receive`` and ``raisable``, which any thread may call.
"""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING, Any, TypeAlias

from . import tree

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from .node import TaskNode

SHOWN = 100
"""An ExceptionGroup carries this many failures and a count of the rest."""

SHOWN_PATH = 24
"""A path names this many nodes at the most: a failure 100k levels deep must stay readable."""

MARK = "__agere_failure__"


class Failure:
    """One exception that left one body. ``received`` is set by the body that awaited it."""

    __slots__ = ("error", "node", "noted", "received", "receiver")

    def __init__(self, node: TaskNode[Any], error: BaseException) -> None:
        self.node = node
        self.error = error
        self.received = False
        self.receiver: TaskNode[Any] | None = None
        self.noted = False

    def __reduce__(self) -> tuple[Callable[[], None], tuple[()]]:
        # It stands on its exception (see ``mark``), which people pickle; nodes stay where they are.
        return type(None), ()

    def receive(self, receiver: TaskNode[Any]) -> None:
        """Any thread. The body of ``receiver`` is being handed this failure."""
        self.receiver = receiver
        self.received = True

    def with_note(self) -> BaseException:
        """Any thread. The exception itself, with a note that names the node and its path."""
        if not self.noted:
            self.noted = True
            with contextlib.suppress(Exception):  # a frozen exception: it is raised all the same
                self.error.add_note(f"raised in {self.node._describe_()}, at {path(self.node)}")
        return self.error


class Joined:
    """Two ropes as one. ``front`` is the first failure of all, so that the usual look at a rope is O(1)."""

    __slots__ = ("front", "left", "right")

    def __init__(self, left: Rope, right: Rope) -> None:
        self.left = left
        self.right = right
        self.front: Failure = left if isinstance(left, Failure) else left.front


Rope: TypeAlias = Failure | Joined


def join(first: Rope | None, second: Rope) -> Rope:
    """Both ropes, in order."""
    return second if first is None else Joined(first, second)


def front(rope: Rope) -> Failure:
    """The first failure of the rope."""
    return rope if isinstance(rope, Failure) else rope.front


def each(rope: Rope) -> Iterator[Failure]:
    """The failures in order; a worklist, because ropes are as deep as trees."""
    stack = [rope]
    while stack:
        part = stack.pop()
        if isinstance(part, Failure):
            yield part
        else:
            stack.append(part.right)
            stack.append(part.left)


def prune(rope: Rope | None) -> Rope | None:
    """The rope without the received failures at its front; None if all were received.

    What it walks over it takes apart, and leaves the rest as a list from the front: each failure is passed once.
    """
    if rope is None or not front(rope).received:
        return rope
    stack = [rope]
    while stack:
        part = stack.pop()
        if isinstance(part, Joined):
            stack.append(part.right)
            stack.append(part.left)
        elif not part.received:
            stack.append(part)
            break
    rest: Rope | None = None
    for part in stack:
        rest = part if rest is None else Joined(part, rest)
    return rest


def mark(failure: Failure) -> bool:
    """Remember on the exception which failure it is; return False if it only travels on.

    A body that receives an exception and lets it out again has not failed anew: it is logged once, where it arose.
    """
    error = failure.error
    before = getattr(error, MARK, None)
    travels = isinstance(before, Failure) and before.receiver is failure.node
    try:
        BaseException.__setattr__(error, MARK, failure)  # past a frozen class's own
    except Exception:  # noqa: BLE001 - an exception class with slots, or frozen
        return True
    return not travels


def raisable(rope: Rope, first: Failure) -> tuple[BaseException, list[Failure]]:
    """Any thread. What to raise for a rope whose open front was ``first``, and every failure that it covers."""
    open_ = [failure for failure in each(rope) if failure is first or not failure.received]
    if len(open_) == 1:
        return open_[0].with_note(), open_
    shown = [failure.with_note() for failure in open_[:SHOWN]]
    more = f" (the first {SHOWN} of {len(open_)})" if len(open_) > SHOWN else ""
    message = f"{len(open_)} nodes failed{more}"
    if all(isinstance(error, Exception) for error in shown):
        return ExceptionGroup(message, [error for error in shown if isinstance(error, Exception)]), open_
    return BaseExceptionGroup(message, shown), open_


def path(node: TaskNode[Any]) -> str:
    """Any thread. The way from the commander down to ``node``, in words."""
    nodes: list[Any] = [node, *tree.ancestors(node)]
    nodes.reverse()
    half = SHOWN_PATH // 2
    if len(nodes) <= SHOWN_PATH:
        return " > ".join(one._label_() for one in nodes)
    first, last = ([one._label_() for one in part] for part in (nodes[:half], nodes[-half:]))
    return " > ".join([*first, f"... {len(nodes) - 2 * half} more ...", *last])


def in_words(error: BaseException) -> str:
    """Any thread. The exception's type and message, for a log; never raises."""
    try:
        return f"{type(error).__name__}: {error}"
    except Exception:  # noqa: BLE001 - somebody's __str__
        return type(error).__name__


def storable(error: BaseException) -> BaseException:
    """Any thread. ``error``, unless it is one that no Future takes: StopIteration would hang who awaits it."""
    if not isinstance(error, StopIteration):
        return error
    instead = RuntimeError("a function raised StopIteration")
    instead.__cause__ = error
    return instead
