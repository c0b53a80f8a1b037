"""Typed lifecycle events, for whoever subscribes.

Each subscriber has a thread of its own while it has events to read, so that a slow or raising one holds up nobody.
Nothing is made when nobody listens: the scheduler looks at ``Listeners.active`` first.
"""

from __future__ import annotations

import logging
import threading
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field
from time import time
from typing import TYPE_CHECKING, Any, TypeAlias

from .state import State

if TYPE_CHECKING:
    from .node import TaskNode
    from .questions import Question

logger = logging.getLogger("agere.events")


@dataclass(frozen=True, slots=True)
class Event:
    """Something happened to a node.

    Attributes:
        node: the node.
        parent: its parent at that moment; None for the commander.
        at: seconds since the epoch, by the wall clock.
    """

    node: TaskNode[Any]
    parent: TaskNode[Any] | None
    at: float = field(default_factory=time, kw_only=True)


@dataclass(frozen=True, slots=True)
class NodeCreated(Event):
    """The node was accepted and stands in the tree."""


@dataclass(frozen=True, slots=True)
class NodeStarted(Event):
    """The node's body was started."""


@dataclass(frozen=True, slots=True)
class NodeEnded(Event):
    """The node has completed: its end callbacks have run.

    Attributes:
        state: COMPLETED, EXCEPTION or TERMINATED.
        exception: what its own body or tail failed with, or None.
    """

    state: State
    exception: BaseException | None


@dataclass(frozen=True, slots=True)
class CallbackFailed(Event):
    """A callback raised.

    Attributes:
        phase: the phase in which it ran.
        exception: what it raised.
    """

    phase: str
    exception: BaseException


@dataclass(frozen=True, slots=True)
class StreamOpened(Event):
    """A stream that belongs to the node was opened."""


@dataclass(frozen=True, slots=True)
class StreamClosed(Event):
    """A stream that belongs to the node has ended or was closed."""


@dataclass(frozen=True, slots=True)
class QuestionAsked(Event):
    """The node asks the person something."""

    question: Question


@dataclass(frozen=True, slots=True)
class QuestionAnswered(Event):
    """A question of the node has its answer, or never will."""

    question: Question


Subscriber: TypeAlias = Callable[[Event], object]


class Listeners:
    """The subscribers of one commander. They outlive its sessions."""

    def __init__(self) -> None:
        self._lines: tuple[_Line, ...] = ()
        self._lock = threading.Lock()
        self.active = False

    def add(self, subscriber: Subscriber) -> Callable[[], None]:
        """Any thread. Begin to tell ``subscriber``; returns what ends it."""
        if not callable(subscriber):
            raise TypeError(f"subscribe() takes a callable that gets each event, not {subscriber!r}")
        line = _Line(subscriber)
        with self._lock:
            self._lines = (*self._lines, line)
            self.active = True

        def unsubscribe() -> None:
            with self._lock:
                self._lines = tuple(other for other in self._lines if other is not line)
                self.active = bool(self._lines)
            line.stop()

        return unsubscribe

    def publish(self, event: Event) -> None:
        """Any thread. Hand the event to every subscriber's thread."""
        for line in self._lines:
            line.put(event)

    def flush(self, timeout: float) -> None:
        """Any thread but the subscribers'. Wait until what was published has been read, at most ``timeout`` seconds."""
        for line in self._lines:
            line.flush(timeout)


class _Line:
    """One subscriber, and the thread that reads for it while there is something to read."""

    def __init__(self, subscriber: Subscriber) -> None:
        self._subscriber = subscriber
        self._events: deque[Event] = deque()
        self._lock = threading.Lock()
        self._thread: threading.Thread | None = None
        self._stopped = False

    def put(self, event: Event) -> None:
        with self._lock:
            if self._stopped:
                return
            self._events.append(event)
            if self._thread is not None:
                return
            self._thread = thread = threading.Thread(target=self._read, name="agere-subscriber", daemon=True)
        try:
            thread.start()
        except RuntimeError:  # no thread to be had: try again with the next event
            with self._lock:
                self._thread = None

    def stop(self) -> None:
        with self._lock:
            self._stopped = True
            self._events.clear()

    def flush(self, timeout: float) -> None:
        thread = self._thread
        if thread is not None and thread is not threading.current_thread():
            thread.join(timeout)

    def _read(self) -> None:
        while True:
            with self._lock:
                if not self._events:
                    self._thread = None
                    return
                event = self._events.popleft()
            try:
                self._subscriber(event)
            except BaseException:
                logger.exception("a subscriber failed at %r", event)
