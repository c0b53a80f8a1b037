"""What most nodes never need, kept off the node until it does."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from contextvars import Context
from typing import TYPE_CHECKING, Any, Protocol

if TYPE_CHECKING:
    from .callback import Callback
    from .edge import Edge
    from .failures import Failure, Rope
    from .lanes import Lane
    from .node import TaskNode
    from .tasks import CallbackTask


class Closeable(Protocol):
    """A stream or another resource that a node closes when it ends."""

    def close(self) -> object:
        """Any thread. Close at once, without blocking; again is harmless."""


class Gate(Protocol):
    """A wait of a worker thread that can be broken off."""

    def abort(self) -> None:
        """Loop only. The waiting body is being terminated."""


class More:
    """The rarely used parts of a node."""

    __slots__ = (
        "behind",
        "callback",
        "callback_task",
        "calls",
        "edges",
        "end_waiters",
        "failure",
        "gates",
        "lane",
        "reruns",
        "rope",
        "streams",
        "tail_of",
        "told_commander",
        "waited_by",
        "waiting",
    )

    def __init__(self) -> None:
        # These outlive a run.
        self.callback: Callback | None = None
        self.edges: list[Edge] | None = None
        self.reruns: deque[tuple[TaskNode[Any], Any, Context]] | None = None
        self.told_commander: object = None  # the session that will run the node's at_commander_end
        # These belong to one run. Nodes are keyed by id: people's Jobs may be unhashable, or equal to each other.
        self.lane: Lane | None = None
        self.tail_of: TaskNode[Any] | None = None
        self.failure: Failure | None = None  # the node's own
        self.rope: Rope | None = None  # its own and its descendants'
        self.streams: dict[Closeable, None] | None = None
        self.end_waiters: list[Callable[[], None]] = []  # called when body and tail have ended
        self.waited_by: dict[int, tuple[TaskNode[Any], int]] = {}  # who waits for it, and how often
        self.gates: dict[Gate, None] = {}
        self.behind: TaskNode[Any] | None = None  # who had the place in the lane when it was called
        self.calls = 0  # bodies of its parent that await it, and are not through with it
        self.waiting = 0  # waits during which its place in the lane is lent
        self.callback_task: CallbackTask | None = None

    def for_next_run(self) -> More:
        """A new one, with what outlives a run."""
        more = More()
        more.callback = self.callback
        more.edges = self.edges
        more.reruns = self.reruns
        more.told_commander = self.told_commander
        return more
