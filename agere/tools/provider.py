"""What stands among tools and is not one: something that has them to give, once it is asked."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Protocol, runtime_checkable

if TYPE_CHECKING:
    from agere.commander import TaskNode

    from .definition import Tool


@runtime_checkable
class ToolProvider(Protocol):
    """A group of tools that is opened when it is needed, such as ``agere.tools.mcp.MCPTools``.

    It may stand in ``Chat(tools=[...])`` and ``Toolbox([...])`` beside tools and functions.
    """

    async def open_tools(self, node: TaskNode[Any]) -> Sequence[Tool]:
        """Loop only, in the body of ``node``. The tools as they are now.

        Called before each request to a model, so it has to be quick when nothing has changed. What it opened is its
        own to close, at the latest with ``node.commander``.

        Args:
            node: on whose behalf they are wanted; it may be cancelled meanwhile.
        """
