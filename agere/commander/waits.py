"""Which body waits for which node: lending places in lanes, and refusing waits that could never end. Loop only.

A node cannot complete before its body ends, and that not before what the body waits for has completed. So a body W
blocks itself, all of its ancestors, every body that waits for one of these, their ancestors, and so on. A wait for a
node in that set would never end. Waits for one's own child cannot close a cycle as long as all waits are of that kind
(each goes down the tree), which keeps the usual recursion free of any search.

``await handler`` is a call rather than a wait: the handler does the body's own work, and in a named lane the body keeps
its place meanwhile (or "at most 8 at once" would not hold for bodies that are written as several handlers). What the
handler waits for lends that place. The default lane orders starts and limits nothing, so there a call lends, too.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

from agere.errors import DeadlockError

from . import tree

if TYPE_CHECKING:
    from .lanes import DefaultLane
    from .node import TaskNode


class Wait:
    """One wait, from ``begin`` to ``end``."""

    __slots__ = ("across", "holder", "is_call", "target", "waiter")

    def __init__(
        self, waiter: TaskNode[Any], target: TaskNode[Any], holder: TaskNode[Any] | None, is_call: bool
    ) -> None:
        self.waiter = waiter
        self.target = target
        self.across = target._parent_ is not waiter  # for something else than the waiter's own child
        self.holder = holder  # whose place in a lane is lent meanwhile
        self.is_call = is_call


class Waits:
    """The waits of bodies and callbacks for nodes, in one session."""

    __slots__ = ("_across", "_default_lane")

    def __init__(self, default_lane: DefaultLane) -> None:
        self._default_lane = default_lane
        self._across = 0

    def begin(self, waiter: TaskNode[Any], target: TaskNode[Any], is_body_only: bool = False) -> Wait:
        """Register a wait, and lend the place in a lane that stands behind the waiter.

        Args:
            waiter: whose body or callback waits.
            target: the node that is waited for.
            is_body_only: it is waited for until its body and tail have ended, whatever goes on below it.

        Raises:
            DeadlockError: ``target`` cannot complete before ``waiter`` does.
        """
        holder = self._holder_behind(waiter)
        is_call = is_body_only and target._parent_ is waiter
        lender = None if is_call and holder is not None and holder._more_().lane is not self._default_lane else holder
        wait = Wait(waiter, target, lender, is_call)
        if (wait.across or self._across) and self._blocks(waiter, target):
            raise DeadlockError(
                f"{waiter._describe_()} would wait for {target._describe_()}, which cannot complete before the waiter "
                "ends; do not await it here: react to it with an at_job_end callback, or submit it under another "
                "parent (parent=task_node.commander)"
            )
        if wait.across:
            self._across += 1
        waiters = target._more_().waited_by
        _, count = waiters.get(waiter._id_, (waiter, 0))
        waiters[waiter._id_] = (waiter, count + 1)
        if is_call:
            called = target._more_()
            called.calls += 1
            called.behind = holder  # kept, as looking for it through a long chain of calls would take its time
        if wait.holder is not None:
            more = wait.holder._more_()
            more.waiting += 1
            if more.waiting == 1 and more.lane is not None:
                more.lane.lend(wait.holder)
        return wait

    def end(self, wait: Wait, take_back: bool = True) -> asyncio.Future[None] | None:
        """The wait is over. A future to await before going on, if the place in the lane is taken meanwhile.

        Args:
            wait: what ``begin`` gave.
            take_back: False when the wait was broken off or has timed out: the waiter goes on at once, without its
                place. Waiting for it could take for ever: whoever has it may wait for what the waiter does next.
        """
        if wait.across:
            self._across -= 1
        waiter, holder = wait.waiter, wait.holder
        waiters = wait.target._more_().waited_by
        _, count = waiters.pop(waiter._id_, (waiter, 0))
        if count > 1:
            waiters[waiter._id_] = (waiter, count - 1)
        if wait.is_call:
            wait.target._more_().calls -= 1
        if holder is None:
            return None
        more = holder._more_()
        more.waiting -= 1
        if (
            not take_back
            or more.waiting
            or more.lane is None
            or holder._phase_ != tree.ACTIVE
            or holder._state_ is not None
        ):
            return None
        if more.lane is self._default_lane and holder._body_ is None:
            return None  # its turn was over when its task returned
        return more.lane.take_back(holder)

    def _holder_behind(self, waiter: TaskNode[Any]) -> TaskNode[Any] | None:
        """Who has the place: the waiter, or the Job whose tail it is, or whose body calls it (and so on up)."""
        if waiter._body_ is not None and self._default_lane.holds(waiter):
            waiter._more_().lane = self._default_lane
            return waiter
        node: TaskNode[Any] | None = waiter
        while node is not None:
            more = node._extra_
            if more is None:
                return None
            if more.lane is not None and (more.waiting or more.lane.holds(node)):
                return node
            if more.calls:
                return more.behind
            node = more.tail_of
        return None

    @staticmethod
    def _blocks(waiter: TaskNode[Any], target: TaskNode[Any]) -> bool:
        """Whether ``target`` is in the set of nodes that cannot complete before ``waiter`` does."""
        blocked: set[int] = set()
        waiters: list[TaskNode[Any]] = [waiter]
        for one in waiters:
            place: TaskNode[Any] | None = one
            while place is not None and place._id_ not in blocked:
                if place is target:
                    return True
                blocked.add(place._id_)
                more = place._extra_
                if more is not None:
                    waiters.extend(other for other, _ in more.waited_by.values())
                place = place._parent_  # type: ignore[assignment]
        return False
