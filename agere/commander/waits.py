"""Which body waits for which node: lending places in lanes, and refusing waits that could never end. Loop only.

A node cannot complete before its body ends, and that not before what the body waits for has completed. So a body W
blocks itself, all of its ancestors, every body that waits for one of these, their ancestors, and so on. A wait for a
node in that set would never end. Waits for one's own child cannot close a cycle as long as all waits are of that kind
(each goes down the tree), which keeps the usual recursion free of any search.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

from agere.errors import DeadlockError

from . import tree

if TYPE_CHECKING:
    from .lanes import DefaultLane
    from .node import TaskNode


class Waits:
    """The waits of bodies for nodes, in one session."""

    __slots__ = ("_across", "_default_lane")

    def __init__(self, default_lane: DefaultLane) -> None:
        self._default_lane = default_lane
        self._across = 0  # waits for something else than the waiter's own child

    def begin(self, waiter: TaskNode[Any], target: TaskNode[Any]) -> bool:
        """Register a wait and lend the waiter's place in its lane.

        Returns:
            A token for ``end``.

        Raises:
            DeadlockError: ``target`` cannot complete before ``waiter``'s body ends.
        """
        across = target._parent_ is not waiter
        if (across or self._across) and self._blocks(waiter, target):
            raise DeadlockError(
                f"{waiter!r} would wait for {target!r}, which cannot complete before the waiting body ends; "
                "do not await it here: react to it with an at_job_end callback, or submit it under another parent "
                "(parent=task_node.commander)"
            )
        if across:
            self._across += 1
        waiters = target._more_().waited_by
        waiters[waiter] = waiters.get(waiter, 0) + 1
        more = waiter._more_()
        more.waiting += 1
        if more.waiting == 1 and waiter._body_ is not None:  # what outlives its body holds no place
            if more.lane is None and self._default_lane.holds(waiter):
                more.lane = self._default_lane
            if more.lane is not None:
                more.lane.lend(waiter)
        return across

    def end(self, waiter: TaskNode[Any], target: TaskNode[Any], across: bool) -> asyncio.Future[None] | None:
        """The wait is over. A future to await before going on, if the place in the lane is taken meanwhile."""
        if across:
            self._across -= 1
        waiters = target._more_().waited_by
        count = waiters.get(waiter, 0) - 1
        if count > 0:
            waiters[waiter] = count
        else:
            waiters.pop(waiter, None)
        more = waiter._more_()
        more.waiting -= 1
        if not more.waiting and more.lane is not None and waiter._body_ is not None and waiter._phase_ == tree.ACTIVE:
            return more.lane.take_back(waiter)
        return None

    @staticmethod
    def _blocks(waiter: TaskNode[Any], target: TaskNode[Any]) -> bool:
        """Whether ``target`` is in the set of nodes that cannot complete before ``waiter``'s body ends."""
        blocked: set[tree.TreeEntry] = set()
        bodies: list[tree.TreeEntry] = [waiter]
        for body in bodies:
            place: tree.TreeEntry | None = body
            while place is not None and place not in blocked:
                if place is target:
                    return True
                blocked.add(place)
                more = place._extra_  # type: ignore[attr-defined]
                if more is not None:
                    bodies.extend(more.waited_by)
                place = place._parent_
        return False
