"""The turns of one Chat, one after another: they speak in the same conversation.

A lane would not do: it belongs to one commander, and a Chat may be used in several.
"""

from __future__ import annotations

import asyncio
import logging
import threading
from collections import deque
from collections.abc import Callable
from concurrent.futures import Future
from contextvars import ContextVar
from time import monotonic
from typing import Any

from agere.commander import State, TaskNode
from agere.errors import DeadlockError

PATIENCE_SECONDS = 1.0
"""How often one who waits looks whether the turn before it still lives."""

HELD_SECONDS = 5.0
"""So long a turn may be held up by whoever reads its stream, until the log tells those who wait behind it."""

SLOW_SECONDS = 60.0
"""So long one may wait for a turn that is not held up, until the log tells."""

logger = logging.getLogger("agere.chat")


class Place:
    """A turn's place in the queue.

    Args:
        node: the turn.
        on_lost: called with it if it has to be put out of the queue because its commander was lost with it.

    Attributes:
        node: the turn; None once it has left. (Contexts hold places for long.)
        held_since: when it began to wait for whoever reads its stream, by ``monotonic``; None while it does not.
        told: the log has told that others wait for it.
    """

    def __init__(self, node: TaskNode[Any], on_lost: Callable[[TaskNode[Any]], None]) -> None:
        self.node: TaskNode[Any] | None = node
        self._on_lost = on_lost
        self.ready: Future[None] = Future()
        self.held_since: float | None = None
        self.told = False

    @property
    def lost(self) -> bool:
        """Any thread. Whether the turn has ended without leaving: its commander was lost, and ran no callbacks."""
        return self.node is not None and self.node.state not in (State.PENDING, State.ACTIVE)

    def tell_lost(self) -> None:
        """Any thread. It is put out of the queue."""
        if self.node is not None:
            self._on_lost(self.node)


_within: ContextVar[tuple[Place, ...]] = ContextVar("agere_chat_turns", default=())
"""The turns in whose tools the current code runs."""


class TurnQueue:
    """First in, first out. Any thread, any loop."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._holder: Place | None = None
        self._waiting: deque[Place] = deque()

    async def enter(self, place: Place) -> None:
        """Any loop. Wait until it is this place's turn; ``leave`` must follow, also after a cancellation.

        Raises:
            DeadlockError: the turn was asked for within a turn that is not over: it would wait for itself.
        """
        above = _within.get()
        with self._lock:
            if self._holder is not None and self._holder in above:
                raise DeadlockError(
                    "this turn was asked for within a tool call of another turn of the same Chat, and would have to "
                    "wait for it: ask it when that turn is over, or give the tool a Chat of its own"
                )
            if self._holder is None:
                self._holder = place
                place.ready.set_result(None)
            else:
                self._waiting.append(place)
        _within.set((*above, place))
        if place.ready.done():
            return
        ready = asyncio.wrap_future(place.ready)
        front, begun = None, 0.0
        try:
            while not ready.done():
                before = self._holder
                if before is not front:
                    front, begun = before, monotonic()
                lost = before is not None and before.lost
                await asyncio.wait((ready,), timeout=PATIENCE_SECONDS)
                if before is None or before is not self._holder:
                    continue
                if lost:
                    self._put_out(before)
                else:
                    self._tell(before, monotonic() - begun)
        finally:
            ready.cancel()

    def leave(self, place: Place) -> None:
        """Any thread. Let the next one in, or give up waiting. Harmless for one that is not there."""
        place.node = None
        with self._lock:
            if self._holder is not place:
                if place in self._waiting:
                    self._waiting.remove(place)
                return
            self._holder = None
            while self._waiting:
                following = self._waiting.popleft()
                if following.ready.set_running_or_notify_cancel():
                    self._holder = following
                    break
            else:
                return
        following.ready.set_result(None)

    def _tell(self, place: Place, waited: float) -> None:
        """Any loop. Log, once, that others wait for ``place``, and what can be done."""
        node, held_since = place.node, place.held_since
        held = 0.0 if held_since is None else monotonic() - held_since
        if node is None or place.told or (held < HELD_SECONDS and waited < SLOW_SECONDS):
            return
        with self._lock:
            if place.told:
                return
            place.told = True
        front = f"{node.name} #{node.id}"
        if held >= HELD_SECONDS:
            logger.warning(
                "a turn has waited %.0f s for the turn before it in the same Chat, %s, which has been held up for "
                "%.0f s because nobody reads its stream: read that on, close or drop it, or cancel the turn",
                waited,
                front,
                held,
            )
        else:
            logger.warning(
                "a turn has waited %.0f s for the turn before it in the same Chat, %s, which is not over: a tool or "
                "the model may be slow, a person may have to answer, or nobody reads what a tool emits; cancel it to "
                "let the next one begin",
                waited,
                front,
            )

    def _put_out(self, place: Place) -> None:
        try:
            place.tell_lost()
        finally:
            self.leave(place)

    @property
    def places(self) -> list[Place]:
        """Any thread. All that are in it, the one whose turn it is first."""
        with self._lock:
            return [*([self._holder] if self._holder is not None else []), *self._waiting]
