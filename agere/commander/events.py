"""Typed lifecycle events, as subscribers get them."""

from __future__ import annotations

from dataclasses import dataclass, field
from time import monotonic, time
from typing import TYPE_CHECKING, Any

from .failures import in_words
from .state import State

if TYPE_CHECKING:
    from .node import TaskNode
    from .questions import Question


@dataclass(frozen=True, slots=True)
class Event:
    """Something happened to a node.

    Attributes:
        node: the node.
        parent: its parent at that moment; None for the commander.
        run: which run of the node it was, counted from 1: a node may run again.
        at: seconds since the epoch, by the wall clock, as ``time.time()`` gives them.
        clock: seconds by the clock that never jumps, ``time.monotonic()``: for durations.
    """

    node: TaskNode[Any]
    parent: TaskNode[Any] | None
    run: int = field(default=1, kw_only=True)
    at: float = field(default_factory=time, kw_only=True)
    clock: float = field(default_factory=monotonic, kw_only=True)

    @property
    def node_id(self) -> int:
        """The node's number, whatever its class has made of its attribute ``id``."""
        return self.node._id_

    @property
    def parent_id(self) -> int | None:
        """The parent's number; None for the commander."""
        return None if self.parent is None else self.parent._id_

    @property
    def name(self) -> str:
        """The node's name."""
        return self.node._name_()

    @property
    def kind(self) -> str:
        """The node's kind: "commander", "job" or "handler"."""
        return self.node._kind_

    def to_dict(self) -> dict[str, Any]:
        """The event as plain values, ready for JSON."""
        return {
            "event": type(self).__name__,
            "at": self.at,
            "clock": self.clock,
            "node_id": self.node_id,
            "parent_id": self.parent_id,
            "run": self.run,
            "kind": self.kind,
            "name": self.name,
            **self._details(),
        }

    def _details(self) -> dict[str, Any]:
        return {}


@dataclass(frozen=True, slots=True)
class NodeCreated(Event):
    """The node was accepted and stands in the tree. Once per run, before all others of that run."""


@dataclass(frozen=True, slots=True)
class NodeStarted(Event):
    """The node's body was started. At most once per run: not if the node was terminated before."""


@dataclass(frozen=True, slots=True)
class NodeEnded(Event):
    """The node has completed: its end callbacks have run. Once per run.

    Attributes:
        state: COMPLETED, EXCEPTION or TERMINATED.
        exception: what its own body or tail failed with, or None.
    """

    state: State
    exception: BaseException | None

    def _details(self) -> dict[str, Any]:
        error = self.exception
        return {"state": str(self.state), "exception": None if error is None else in_words(error)}


@dataclass(frozen=True, slots=True)
class CallbackFailed(Event):
    """A callback raised.

    Attributes:
        phase: the phase in which it ran.
        exception: what it raised.
    """

    phase: str
    exception: BaseException

    def _details(self) -> dict[str, Any]:
        return {"phase": self.phase, "exception": in_words(self.exception)}


@dataclass(frozen=True, slots=True)
class StreamOpened(Event):
    """A stream that belongs to the node was opened."""


@dataclass(frozen=True, slots=True)
class StreamClosed(Event):
    """A stream that belongs to the node has ended or was closed."""


@dataclass(frozen=True, slots=True)
class QuestionAsked(Event):
    """The node asks the person something.

    Attributes:
        question: what it asks.
    """

    question: Question

    def _details(self) -> dict[str, Any]:
        return {"prompt": self.question.prompt}


@dataclass(frozen=True, slots=True)
class QuestionAnswered(Event):
    """A question of the node has its answer, or never will.

    Attributes:
        question: what it asked.
    """

    question: Question

    def _details(self) -> dict[str, Any]:
        return {"prompt": self.question.prompt}


@dataclass(frozen=True, slots=True)
class EventsLost(Event):
    """This subscriber was too slow, and was not told of so many events. ``node`` is that of the first of them.

    Attributes:
        count: how many.
    """

    count: int

    def _details(self) -> dict[str, Any]:
        return {"count": self.count}
