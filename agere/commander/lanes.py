"""Lanes: the queues in which Jobs wait to start. Loop only.

A lane gives *places*. A body that waits for a node lends its place (see ``waits.py``) and takes it back, before any
new job starts, when the wait ends.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, TypeAlias

from . import tree

if TYPE_CHECKING:
    from .node import TaskNode

Start: TypeAlias = "Callable[[TaskNode[Any]], None]"

AHEAD = 256
"""The default lane schedules this many bodies at once while none is suspended."""


class Lane:
    """At most ``width`` bodies with their tails at once, started first in, first out."""

    __slots__ = ("_free", "_holders", "_queue", "_returning", "_start", "name", "width")

    def __init__(self, name: object, width: int, start: Start) -> None:
        self.name = name
        self.width = width
        self._free = width
        self._start = start
        self._queue: deque[TaskNode[Any]] = deque()
        self._holders: set[int] = set()  # ids: a Job may be unhashable
        self._returning: deque[tuple[TaskNode[Any], asyncio.Future[None]]] = deque()

    @property
    def idle(self) -> bool:
        """Whether nothing is here: a lane made for an unknown key can go."""
        return self._free == self.width and not self._queue and not self._returning

    def put(self, node: TaskNode[Any]) -> None:
        """Queue a node; it starts at once if there is a place."""
        node._more_().lane = self
        self._queue.append(node)
        self._advance()

    def leave(self, node: TaskNode[Any]) -> None:
        """The node's body and tail have ended, or it is being terminated in the queue."""
        if node._id_ in self._holders:
            self._holders.discard(node._id_)
            self._free += 1
            self._advance()

    lend = leave

    def holds(self, node: TaskNode[Any]) -> bool:
        """Whether the node has a place."""
        return node._id_ in self._holders

    def take_back(self, node: TaskNode[Any]) -> asyncio.Future[None] | None:
        """The node's wait is over: its place, at once (None) or when the returned future resolves."""
        if self._free > 0:
            self._free -= 1
            self._holders.add(node._id_)
            return None
        turn: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._returning.append((node, turn))
        return turn

    def _advance(self) -> None:
        while self._free > 0 and self._returning:
            node, turn = self._returning.popleft()
            if turn.done():  # cancelled while it waited for its place
                continue
            if _goes_on(node):
                self._free -= 1
                self._holders.add(node._id_)
            turn.set_result(None)
        while self._free > 0 and self._queue:
            node = self._queue.popleft()
            if node._phase_ == tree.QUEUED:  # otherwise it was terminated in the queue
                self._free -= 1
                self._holders.add(node._id_)
                self._start(node)


class DefaultLane(Lane):
    """Runs ``async def`` tasks one after another, until ``task`` returns; starts ``def`` tasks without waiting.

    One loop iteration per job would give the interpreter lock away at every ``select``. So while no body is
    suspended, the bodies of queued jobs are scheduled together, and each checks at its first step whether it is its
    turn (``enter``); the tails run outside.
    """

    __slots__ = ("_ahead", "_holder", "_parked")

    def __init__(self, start: Start) -> None:
        super().__init__(None, 1, start)
        self._holder: TaskNode[Any] | None = None
        self._parked: deque[tuple[TaskNode[Any], asyncio.Future[None]]] = deque()
        self._ahead = 0  # scheduled bodies that have not reached their first step

    @property
    def idle(self) -> bool:
        """Never: this lane stays."""
        return False

    def put(self, node: TaskNode[Any]) -> None:
        """Queue a job; it starts at once if nothing stands before it."""
        if self._holder is None and self._ahead < AHEAD and not self._queue:
            self._start(node)
            return
        self._queue.append(node)
        self._advance()

    def scheduled(self) -> None:
        """A body's task was made that will call ``enter`` at its first step, or ``missed`` if it never gets there."""
        self._ahead += 1

    def missed(self) -> None:
        """A scheduled body was cancelled before its first step."""
        self._ahead -= 1
        self._advance()

    def enter(self, node: TaskNode[Any]) -> asyncio.Future[None] | None:
        """First step of a body: None if it is its turn, or a future to await."""
        self._ahead -= 1
        if self._holder is None and not self._parked:
            self._holder = node
            return None
        turn: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._parked.append((node, turn))
        return turn

    def holds(self, node: TaskNode[Any]) -> bool:
        """Whether it is this body's turn."""
        return self._holder is node

    def leave(self, node: TaskNode[Any]) -> None:
        """The body has returned, or waits for another node."""
        if self._holder is node:
            self._holder = None
            self._advance()

    lend = leave

    def take_back(self, node: TaskNode[Any]) -> asyncio.Future[None] | None:
        """The body's wait is over: see ``Lane.take_back``."""
        if self._holder is None:
            self._holder = node
            return None
        turn: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._returning.append((node, turn))
        return turn

    def _advance(self) -> None:
        if self._holder is not None:
            # A plain `def` task takes no place: it starts as soon as everything before it has started.
            self._start_leading_defs()
            return
        for waiting in (self._returning, self._parked):
            while waiting:
                node, turn = waiting.popleft()
                if turn.done():
                    continue
                if waiting is self._returning and not _goes_on(node):
                    turn.set_result(None)
                else:
                    self._holder = node
                    turn.set_result(None)
                    self._start_leading_defs()
                    return
        while self._queue and self._ahead < AHEAD and self._holder is None:
            node = self._queue.popleft()
            if node._phase_ == tree.QUEUED:
                self._start(node)

    def _start_leading_defs(self) -> None:
        queue = self._queue
        while queue and not self._parked and not self._ahead:
            if queue[0]._phase_ == tree.QUEUED and _waits_for_its_turn(queue[0]):
                return
            node = queue.popleft()
            if node._phase_ == tree.QUEUED:
                self._start(node)


def _waits_for_its_turn(node: TaskNode[Any]) -> bool:
    try:
        return node._runs_on_loop_()
    except Exception:  # noqa: BLE001 - starting it will tell
        return False


def _goes_on(node: TaskNode[Any]) -> bool:
    """Whether a node that asked for its place back still has a use for it."""
    return node._phase_ == tree.ACTIVE and node._state_ is None
