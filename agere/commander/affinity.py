"""Which commander and which node does the calling thread work for?

On a loop thread the running ``asyncio.Task`` knows its node (see ``tasks.py``); a context variable would cost
every node a copied context. On worker threads a thread-local says it. Nothing here takes a lock.
"""

from __future__ import annotations

import asyncio
import threading
from typing import TYPE_CHECKING, Any

from agere.errors import BlockingCallError

if TYPE_CHECKING:
    from .node import TaskNode
    from .session import Session
    from .workers import Ticket


class Here(threading.local):
    """What a thread of Agere knows of itself. On all other threads everything is None."""

    session: Session | None = None
    """The session to which this loop or worker thread belongs."""
    on_loop: bool = False
    """Whether this is a session's loop thread."""
    node: TaskNode[Any] | None = None
    """On the loop: the node whose plain callback runs now. On a worker: the node that it works for."""
    ticket: Ticket | None = None
    """On a worker thread that runs a node's body: the pass of that run."""
    emitted: int = 0
    """How often this thread has emitted: now and then it lets others go on."""


here = Here()


def current_node() -> TaskNode[Any] | None:
    """Any thread. The node whose body, callback or worker thread is calling; None outside of all nodes."""
    node = here.node
    if node is not None or not here.on_loop:
        return node
    try:
        task = asyncio.current_task()
    except RuntimeError:  # between two runs of the loop, at its very start or end
        return None
    return getattr(task, "node", None)


def refuse_on_loop(call: str, instead: str) -> None:
    """Any thread. Raise BlockingCallError on a loop thread of Agere, naming the alternative."""
    if here.on_loop:
        raise BlockingCallError(
            f"{call} would block the event loop of {here.session} and freeze all of its nodes; {instead}"
        )
