"""Those who subscribe to the lifecycle events of a commander.

Each subscriber has a thread of its own while it has events to read, so that a slow or raising one holds up nobody; or
it is called in place, within the node's context, for what has to be set there (see ``Commander.subscribe``). Nothing
is made when nobody listens: whoever has something to tell looks at ``Listeners.active`` first. The events themselves
(``events.py``) are loaded with the first subscriber: making their classes would be a tenth of ``import agere``.
"""

from __future__ import annotations

import contextlib
import logging
import threading
import weakref
from collections import deque
from collections.abc import Callable
from time import monotonic
from typing import TYPE_CHECKING, Any, TypeAlias

from .state import State

if TYPE_CHECKING:
    from .events import Event, EventsLost
    from .node import TaskNode
    from .questions import Question
    from .session import Session

logger = logging.getLogger("agere.events")

LIMIT = 65_536
"""So many events wait for a slow subscriber; what comes then is lost to it, and it is told how many."""

LINGER_SECONDS = 0.2
"""How long a subscriber's thread waits for the next event before it ends."""


Subscriber: TypeAlias = "Callable[[Event], object]"


class Tally:
    """How many nodes have ended since counting began, by state, and which sessions have begun.

    Written by the loop and by who starts a session, read anywhere.

    Attributes:
        ended: the counts.
        sessions: each session that has begun, with the counts at that moment.
        wake: called when one begins.
    """

    def __init__(self, wake: Callable[[], object]) -> None:
        self.ended: dict[State, int] = dict.fromkeys((State.COMPLETED, State.EXCEPTION, State.TERMINATED), 0)
        self.sessions: deque[tuple[Session, dict[State, int]]] = deque()
        self.wake = wake

    def session_began(self, session: Session) -> None:
        """Any thread."""
        self.sessions.append((session, dict(self.ended)))
        self.wake()


class Listeners:
    """The subscribers of one commander. They outlive its sessions.

    Attributes:
        active: whether anybody listens. Looked at before anything is told.
    """

    def __init__(self) -> None:
        self._lines: tuple[Subscription, ...] = ()
        self._tallies: tuple[Tally, ...] = ()
        self._lock = threading.Lock()
        self._events: Any = None  # the module, once somebody subscribes
        self.active = False

    def add(self, subscriber: Subscriber, in_context: bool = False) -> Subscription:
        """Any thread. Begin to tell ``subscriber``; returns what ends it."""
        if not callable(subscriber):
            raise TypeError(f"subscribe() takes a callable that gets each event, not {subscriber!r}")
        from . import events

        self._events = events
        line = InContext(self, subscriber) if in_context else Subscription(self, subscriber)
        _with_lines.add(self)
        with self._lock:
            self._lines = (*self._lines, line)
            self.active = True
        return line

    def remove(self, line: Subscription) -> None:
        """Any thread. Tell it nothing more."""
        with self._lock:
            self._lines = tuple(other for other in self._lines if other is not line)
            self.active = bool(self._lines or self._tallies)

    def count(self, wake: Callable[[], object]) -> Tally:
        """Any thread. Begin to count; costs less than a subscriber that does."""
        tally = Tally(wake)
        with self._lock:
            self._tallies = (*self._tallies, tally)
            self.active = True
        return tally

    def stop_counting(self, tally: Tally) -> None:
        """Any thread. Count there no longer."""
        with self._lock:
            self._tallies = tuple(other for other in self._tallies if other is not tally)
            self.active = bool(self._lines or self._tallies)

    def session_began(self, session: Session) -> None:
        """Any thread. The commander has been started."""
        for tally in self._tallies:
            tally.session_began(session)

    def created(self, node: TaskNode[Any], parent: TaskNode[Any] | None) -> None:
        """Loop only."""
        if self._lines:
            self._publish(self._events.NodeCreated(node, parent, run=node._run_number_()))

    def started(self, node: TaskNode[Any]) -> None:
        """Loop only."""
        if self._lines:
            self._publish(self._events.NodeStarted(node, node._parent_, run=node._run_number_()))

    def ended(
        self, node: TaskNode[Any], parent: TaskNode[Any] | None, run: int, state: State, error: BaseException | None
    ) -> None:
        """Loop only (or the thread that gives up on a blocked loop). ``run``: another may have begun already."""
        for tally in self._tallies:
            tally.ended[state] += 1
        if self._lines:
            self._publish(self._events.NodeEnded(node, parent, state, error, run=run))

    def stream_opened(self, node: TaskNode[Any]) -> None:
        """Any thread."""
        if self._lines:
            self._publish(self._events.StreamOpened(node, node._parent_, run=node._run_number_()))

    def stream_closed(self, node: TaskNode[Any]) -> None:
        """Any thread."""
        if self._lines:
            self._publish(self._events.StreamClosed(node, node._parent_, run=node._run_number_()))

    def callback_failed(self, node: TaskNode[Any], phase: str, error: BaseException) -> None:
        """Loop only."""
        if self._lines:
            run = node._run_number_()
            self._publish(self._events.CallbackFailed(node, node._parent_, phase, error, run=run))

    def question_asked(self, node: TaskNode[Any], question: Question) -> None:
        """Any thread. Tells also when it is over."""
        if self._lines:
            events, parent, run = self._events, node._parent_, node._run_number_()
            self._publish(events.QuestionAsked(node, parent, question, run=run))
            question.future.add_done_callback(
                lambda _: self._publish(events.QuestionAnswered(node, parent, question, run=run))
            )

    def _publish(self, event: Event) -> None:
        for line in self._lines:
            line.put(event)

    def flush(self, timeout: float) -> None:
        """Any thread but the subscribers'. Wait until what was published has been read, at most ``timeout`` seconds."""
        end = monotonic() + timeout
        for line in self._lines:
            line.drain(max(0.0, end - monotonic()))

    def tell_unread(self) -> None:
        """At interpreter exit. What stands unread now will never be read: say so."""
        for line in self._lines:
            line.tell_unread()

    def reset_after_fork(self) -> None:
        """Forked child only. The threads do not exist here, and what they had to read is the parent's."""
        self._lock = threading.Lock()
        for line in self._lines:
            line.reset_after_fork()


class Subscription:
    """What ``Commander.subscribe`` returns. Calling it ends the subscription.

    It reads on a thread of its own, while there is something to read.
    """

    def __init__(self, listeners: Listeners, subscriber: Subscriber) -> None:
        self._listeners = listeners
        self._subscriber = subscriber
        self._events: deque[Event] = deque()
        self._lost: EventsLost | None = None
        self._changed = threading.Condition()  # re-entrant: a finalizer or a signal handler may publish
        self._thread: threading.Thread | None = None
        self._waiting = False  # the thread has nothing to read, and lingers
        self._reading = False
        self._stopped = False

    def __call__(self) -> None:
        """Any thread. End it at once: what the subscriber has not read yet it never will (``drain`` it first)."""
        self._listeners.remove(self)
        with self._changed:
            self._stopped = True
            self._events.clear()
            self._lost = None
            self._changed.notify_all()

    def drain(self, timeout: float | None = None) -> bool:
        """Any thread but the subscriber's own. Wait until all that has happened so far has been read.

        Args:
            timeout: seconds, or None.

        Returns:
            False when the time ran out.
        """
        if self._thread is threading.current_thread():
            return False
        with self._changed:
            return self._changed.wait_for(lambda: not self._unread() and not self._reading, timeout)

    def put(self, event: Event) -> None:
        """Any thread. Leave it to the reader."""
        first_lost = False
        with self._changed:
            if self._stopped:
                return
            if len(self._events) >= LIMIT:
                lost = self._lost
                first_lost = lost is None
                count = 1 if lost is None else lost.count + 1
                first = event if lost is None else lost
                from .events import EventsLost

                self._lost = EventsLost(first.node, first.parent, count, run=first.run, at=first.at, clock=first.clock)
            else:
                self._tell_lost()
                self._events.append(event)
            thread = None
            if self._thread is None:
                self._thread = thread = threading.Thread(target=self._read, name="agere-subscriber", daemon=True)
            elif self._waiting:
                self._waiting = False
                self._changed.notify_all()
        if thread is not None:
            try:
                thread.start()
            except RuntimeError:  # no thread to be had: try again with the next event
                with self._changed:
                    self._thread = None
        if first_lost:
            logger.warning("a subscriber is %s events behind; it loses what comes now: %r", LIMIT, self._subscriber)

    def tell_unread(self) -> None:
        """At interpreter exit. See ``Listeners.tell_unread``."""
        left = len(self._events) + (0 if self._lost is None else self._lost.count)
        if left:
            logger.warning("the program ends, and a subscriber has not read %s events: %r", left, self._subscriber)

    def reset_after_fork(self) -> None:
        """Forked child only."""
        self._changed = threading.Condition()
        self._events.clear()
        self._lost = self._thread = None
        self._waiting = self._reading = False

    def _unread(self) -> bool:
        return bool(self._events) or self._lost is not None

    def _tell_lost(self) -> None:
        if self._lost is not None:
            self._events.append(self._lost)
            self._lost = None

    def _read(self) -> None:
        while True:
            with self._changed:
                self._reading = False
                if not self._events:
                    self._tell_lost()
                if not self._events:
                    self._changed.notify_all()
                    self._waiting = not self._stopped
                    self._changed.wait_for(lambda: self._events or not self._waiting or self._stopped, LINGER_SECONDS)
                    self._waiting = False
                if not self._events:
                    self._thread = None
                    return
                event = self._events.popleft()
                self._reading = True
            try:
                self._subscriber(event)
            except BaseException:
                logger.exception("a subscriber failed at %r", event)
            del event  # and with it its node, while nothing happens


class InContext(Subscription):
    """One that is called in place, within the node's context."""

    def put(self, event: Event) -> None:
        """The thread on which it happens."""
        if self._stopped:
            return
        context = event.node._context_
        if context is not None:
            with contextlib.suppress(RuntimeError):
                context.run(self._tell, event)
                return
        self._tell(event)  # within it already, or there is none

    def _tell(self, event: Event) -> None:
        try:
            self._subscriber(event)
        except BaseException:
            logger.exception("a subscriber failed at %r", event)


_with_lines: weakref.WeakSet[Listeners] = weakref.WeakSet()


def flush_all(timeout: float) -> None:
    """At interpreter exit. Let all subscribers read on for ``timeout`` seconds, and say what is left then."""
    end = monotonic() + timeout
    everybody = list(_with_lines)
    for listeners in everybody:
        listeners.flush(max(0.0, end - monotonic()))
    for listeners in everybody:
        listeners.tell_unread()


def reset_after_fork() -> None:
    """Forked child only."""
    for listeners in list(_with_lines):
        listeners.reset_after_fork()
