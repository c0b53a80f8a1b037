"""Starts the nodes to which edges lead. Loop only."""

from __future__ import annotations

from collections import deque
from contextvars import Context
from typing import TYPE_CHECKING, Any

from agere.errors import NodeActiveError

from .node import TaskNode
from .telling import tell
from .tree import ACTIVE

if TYPE_CHECKING:
    from .scheduler import Scheduler
    from .session import Session

Node = TaskNode[Any]


class Successors:
    """The edges of one session's nodes, at work."""

    def __init__(self, scheduler: Scheduler, session: Session) -> None:
        self._scheduler = scheduler
        self._session = session
        self._log = session.log

    def fire(self, node: Node) -> None:
        """The node has completed: start what its edges lead to, before it is counted down itself."""
        more = node._extra_
        for edge in more.edges or () if more is not None else ():
            try:
                following = edge.follow(node, node._value_)
                if following is not None:
                    self._run_successor(node, following[0], following[1])
            except BaseException as error:  # noqa: BLE001 - told, and the node goes on ending
                tell(self._log.error, node, "an edge of %s failed; its path ends here", node._label_(), exc_info=error)

    def _run_successor(self, node: Node, target: Node, data: Any) -> None:
        parent = node._parent_
        context = node._context_
        if parent is None or parent._phase_ != ACTIVE or context is None:
            return  # the tree around is being terminated: so are its paths
        if self._claim_and_bind(target, context.copy(), data):
            self._scheduler.admit(target, parent, None)  # type: ignore[arg-type]
            return
        if target._session_ is not self._session:
            raise NodeActiveError(f"the edge leads to {target._describe_()}, which runs in another commander now")
        more = target._more_()
        if more.reruns is None:
            more.reruns = deque()
        parent._pending_ += 1  # held until the target's present run has ended
        more.reruns.append((parent, data, context.copy()))  # type: ignore[arg-type]

    def run_again(self, node: Node, reruns: deque[tuple[Node, Any, Context]]) -> None:
        """The node has ended, and edges have fired into it meanwhile: run it for the first of them."""
        while reruns:
            parent, data, context = reruns[0]
            started = False
            if parent._phase_ == ACTIVE:
                try:
                    started = self._claim_and_bind(node, context, data)
                except BaseException as error:  # noqa: BLE001 - told; the path ends here
                    message = "an edge into %s failed; its path ends here"
                    tell(self._log.error, node, message, node._label_(), exc_info=error)
                else:
                    if not started:
                        return  # somebody submitted it in between: this one's turn comes when that has ended
            reruns.popleft()
            if started:
                self._scheduler.admit(node, parent, None)
            self._scheduler.release(parent)
            if started:
                return

    def _claim_and_bind(self, node: Node, context: Context, data: Any) -> bool:
        before = node._claim_(self._session, context)
        if before is None:
            return False
        if data is not None:
            try:
                node.data = data
            except BaseException:
                node._unclaim_(before)
                raise
        return True
