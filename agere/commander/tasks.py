"""asyncio tasks that know their node."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine, Generator
from typing import TYPE_CHECKING, Any

from .affinity import current_node

if TYPE_CHECKING:
    from .node import TaskNode


class NodeTask(asyncio.Task[Any]):
    """A task that works for ``node``: as its body, as one of its callbacks, or made by one of these.

    A body's task is the token of that run: a node compares it before it believes a report.
    """

    __slots__ = ("node",)
    node: TaskNode[Any] | None


class LanedTask(NodeTask):
    """A job's body in the default lane: it may be cancelled before its first step, where it would take its turn."""

    __slots__ = ("entered",)
    entered: bool


class CallbackTask(NodeTask):
    """Async callbacks of a node at work. Cancelled before its first step, it would skip those that it was made for."""

    __slots__ = ("begun", "stop_at_once")
    begun: bool
    stop_at_once: bool

    def stop(self) -> None:
        """Loop only. Cancel the callback that runs; those after it run all the same."""
        if self.begun:
            self.cancel()
        else:
            self.stop_at_once = True

    def begin(self) -> None:
        """Its first step."""
        self.begun = True
        if self.stop_at_once:
            self.cancel()


def node_task_factory(
    loop: asyncio.AbstractEventLoop, coro: Coroutine[Any, Any, Any] | Generator[Any, None, Any], **kwargs: Any
) -> NodeTask:
    """Loop only. Tasks that users make in a body (``gather``, ``create_task``) work for the body's node."""
    node = current_node()
    task = NodeTask(coro, loop=loop, **kwargs)
    task.node = node
    return task
