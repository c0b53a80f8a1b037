"""Ends nodes before their time: by request, after the grace period, or when a session is lost. Loop only."""

from __future__ import annotations

import io
import logging
from typing import TYPE_CHECKING, Any

from . import tree
from .callback_runner import record_extra
from .node import TaskNode
from .stall import stack_of
from .state import State
from .tasks import CallbackTask, NodeTask
from .telling import tell
from .tree import ACTIVE, CLOSING, ENDED, ENDING, NEW, QUEUED
from .workers import Ticket

if TYPE_CHECKING:
    from .scheduler import Scheduler
    from .session import Session

Node = TaskNode[Any]


class Terminator:
    """Terminates the nodes of one session."""

    def __init__(self, scheduler: Scheduler, session: Session) -> None:
        self._scheduler = scheduler
        self._session = session
        self._log = session.log

    def close(self, node: Node) -> None:
        """Terminate a node and all below it, leaf first."""
        if node._phase_ not in (QUEUED, ACTIVE):
            return
        if node._phase_ == QUEUED and node._pending_ == 0:
            node._phase_ = CLOSING  # still in the mailbox: ``admit`` will see it
            return
        nodes = tree.subtree(node)
        for entry in reversed(nodes):
            self._terminate(entry)  # type: ignore[arg-type]

    def close_alone(self, node: Node) -> None:
        """Terminate one node; its children go on below its parent."""
        parent = node._parent_
        if node._phase_ not in (QUEUED, ACTIVE) or parent is None:
            return
        if parent._phase_ == ACTIVE:
            for child in tree.children(node):
                more = child._extra_  # type: ignore[attr-defined]
                if more is not None and more.tail_of is node:
                    more.tail_of = None
                tree.unlink(child)
                tree.attach(parent, child)
                node._pending_ -= 1
        had_body = node._body_ is not None or node._phase_ == QUEUED
        self._terminate(node)
        if not had_body and node._pending_ == 0:
            node._pending_ += 1
            self._scheduler.release(node)

    def close_tree(self, root: Node) -> None:
        """Terminate everything."""
        for entry in reversed(tree.subtree(root)):
            if entry is not root:
                self._terminate(entry)  # type: ignore[arg-type]

    def _terminate(self, node: Node) -> None:
        phase = node._phase_
        if phase not in (QUEUED, ACTIVE):
            return
        body = node._body_
        if isinstance(body, Ticket) and body.asked_exit:
            return  # a plain body is one step, and the one that asks for the exit gets to finish its step
        node._phase_ = CLOSING
        if body is None:
            if phase == QUEUED:  # in a lane: it never runs
                self._scheduler.ended(node)
                self._scheduler.release(node)
        elif isinstance(body, NodeTask) and not body.done():
            body.cancel()
        more = node._extra_
        if more is not None:
            if more.streams:
                close_streams(node, self._log)
            for gate in list(more.gates):
                gate.abort()
            if more.callback_task is not None:
                more.callback_task.stop()

    def abandon(self, root: Node, force: bool) -> None:
        """The grace period is over: end what is left, telling where it hangs.

        Args:
            root: the commander.
            force: end nodes whose end callbacks hang, too.
        """
        for entry in reversed(tree.subtree(root)):
            node: Node = entry  # type: ignore[assignment]
            if node is root or node._phase_ in (NEW, ENDED):
                continue
            more = node._extra_
            hanging = node._body_ if more is None or more.callback_task is None else more.callback_task
            if node._phase_ in (QUEUED, ACTIVE, CLOSING):
                node._phase_ = CLOSING
                if hanging is not None:
                    self._tell_abandoned(node, "", hanging)
                    self._scheduler.body_over(node)
            elif force and node._phase_ == ENDING and hanging is not None:
                self._tell_abandoned(node, "a callback of ", hanging)
                self._scheduler.conclude(node)

    def _tell_abandoned(self, node: Node, what: str, hanging: NodeTask | Ticket) -> None:
        tell(
            self._log.error,
            node,
            "%s%s did not unwind within %s s and is abandoned%s",
            what,
            node._label_(),
            self._session.grace,
            where(hanging),
            extra=record_extra(node),
        )
        if isinstance(hanging, Ticket):
            hanging.dead = True
            if node._context_ is not None:
                node._context_ = node._context_.copy()  # its thread is inside the other one; callbacks need one too
            return
        if isinstance(hanging, CallbackTask):
            hanging.stop()
        else:
            hanging.cancel()
        self._session.abandoned.add(hanging)
        more = node._extra_
        if more is not None:
            more.callback_task = None  # its end counts no longer

    def disown(self, node: Node, admitted: bool = True) -> None:
        """The session is over, and the node has not ended: account for it all the same.

        Args:
            node: the node.
            admitted: whether it has left the mailbox, and stands in the tree.
        """
        if node._phase_ == ENDED:
            return
        body, future = node._body_, node._future_
        if isinstance(body, Ticket):
            body.dead = True
        run, parent = node._run_number_(), node._parent_
        node._state_ = State.TERMINATED
        node._body_ = node._future_ = None
        node._phase_ = ENDED
        if self._session.listeners.active:
            if not admitted:
                self._session.listeners.created(node, parent)  # type: ignore[arg-type]
            self._session.listeners.ended(node, parent, run, State.TERMINATED, None)  # type: ignore[arg-type]
        if future is not None:
            future._settle(None, None, cancelled=True)


def close_streams(node: Node, log: logging.Logger) -> None:
    """Close what the node has opened."""
    more = node._extra_
    streams = None if more is None else more.streams
    while streams:
        try:
            stream, _ = streams.popitem()
        except KeyError:  # it detached itself, on its own thread
            return
        if node._session_ is not None:
            node._session_.stream_closed(node)
        try:
            stream.close()
        except (SystemExit, KeyboardInterrupt) as error:
            if node._session_ is None:
                raise
            node._session_.crash(error)
        except BaseException as error:  # noqa: BLE001 - told
            tell(log.error, node, "closing a stream of %s failed", node._label_(), exc_info=error)


def where(body: NodeTask | Ticket) -> str:
    """Where a body hangs, as text."""
    if isinstance(body, Ticket):
        return stack_of(body.thread)
    text = io.StringIO()
    body.print_stack(file=text)
    return ":\n" + text.getvalue()
