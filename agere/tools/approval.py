"""Asks the person whether a call may be made."""

from __future__ import annotations

import asyncio
import inspect
import logging
from typing import TYPE_CHECKING, Any

from agere.errors import AgereError

from .call import ToolCall
from .shown import as_shown

if TYPE_CHECKING:
    from agere.commander import TaskNode

    from .definition import Tool

YES = ("y", "yes")
UNKNOWN = "whether this call needs the approval of a person could not be found out; it was not made"

logger = logging.getLogger("agere.tools")


class RefusedError(AgereError, RuntimeError):
    """The person refused a call, or could not be asked. The model is told why."""


async def approve(node: TaskNode[Any], tool: Tool, call: ToolCall, arguments: dict[str, Any]) -> None:
    """Loop only, in the call's node. Return if the call may be made.

    Args:
        node: the call's.
        tool: the tool.
        call: as the model made it.
        arguments: what ``Tool.read`` made of it. With their defaults, they are what is judged, and what is shown.

    Raises:
        RefusedError: it may not.
    """
    if not await _is_needed(node, tool, arguments):
        return
    try:
        prompt = f"Allow {as_shown(tool.name, tool.complete(arguments), call.arguments)}? [y/N, or say why not] "
    except Exception as error:
        logger.warning("a call of the tool %s cannot be shown to a person: not made", tool.name, exc_info=error)
        raise RefusedError(
            "this call needs the approval of a person, and its arguments could not be shown to one; it was not made"
        ) from error
    try:
        answer = await node.ask(prompt)
    except Exception as error:
        raise RefusedError(
            "this call needs the approval of a person, and nobody could be asked "
            f"({type(error).__name__}: {error}); it was not made"
        ) from error
    words = answer.strip()
    if words.lower() in YES:
        return
    said = f", saying: {words}" if words and words.lower() not in ("n", "no") else ""
    raise RefusedError(f"the person refused this call{said}; it was not made")


async def _is_needed(node: TaskNode[Any], tool: Tool, arguments: dict[str, Any]) -> bool:
    needs = tool.needs_approval
    if isinstance(needs, bool):
        return needs
    judged = tool.complete(arguments, bound=True)
    try:
        needed = needs(judged) if inspect.iscoroutinefunction(needs) else await node.delegate(needs, judged)
        if inspect.isawaitable(needed):
            needed = await needed
        return _checked(needed)
    except (Exception, SystemExit, asyncio.CancelledError) as error:
        if isinstance(error, asyncio.CancelledError) and was_asked_for(error):
            raise
        # The model cannot help it; whoever wrote the function can.
        logger.warning("needs_approval of the tool %s failed: the call was not made", tool.name, exc_info=error)
        raise RefusedError(UNKNOWN) from error


def _checked(needed: object) -> bool:
    if not isinstance(needed, bool):
        raise TypeError(f"needs_approval gave {needed!r} instead of True or False")
    return needed


def was_asked_for(error: asyncio.CancelledError) -> bool:
    """Loop only. Whether the node is being terminated; otherwise somebody's code has raised that by itself."""
    task = asyncio.current_task()
    # A subclass comes from Agere itself: the commander leaves, and nobody answers any more.
    return task is None or bool(task.cancelling()) or type(error) is not asyncio.CancelledError
