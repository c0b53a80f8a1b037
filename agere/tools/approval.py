"""Asks the person whether a call may be made."""

from __future__ import annotations

import asyncio
import inspect
import json
from typing import TYPE_CHECKING, Any

from agere.errors import AgereError

from .call import ToolCall, cut

if TYPE_CHECKING:
    from agere.commander import TaskNode

    from .definition import Tool

YES = ("y", "yes")
LONGEST_SHOWN = 10_000  # characters of the arguments: what a person decides on must be seen


class RefusedError(AgereError, RuntimeError):
    """The person refused a call, or could not be asked. The model is told why."""


async def approve(node: TaskNode[Any], tool: Tool, call: ToolCall, arguments: dict[str, Any]) -> None:
    """Loop only, in the call's node. Return if the call may be made.

    Args:
        node: the call's.
        tool: the tool.
        call: as the model made it: that is shown.
        arguments: validated, for ``needs_approval`` if that is a function.

    Raises:
        RefusedError: it may not.
    """
    if not await _is_needed(node, tool, arguments):
        return
    try:
        answer = await node.ask(prompt_for(call))
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


def prompt_for(call: ToolCall) -> str:
    """What the person is asked. Nothing that the model wrote can move the cursor or hide a part of it."""
    shown = ", ".join(f"{name}={_json(value)}" for name, value in call.arguments.items())
    return f"Allow {_visible(call.name)}({cut(_visible(shown), LONGEST_SHOWN)})? [y/N, or say why not] "


async def _is_needed(node: TaskNode[Any], tool: Tool, arguments: dict[str, Any]) -> bool:
    needs = tool.needs_approval
    if isinstance(needs, bool):
        return needs
    given = dict(arguments)
    try:
        needed = needs(given) if inspect.iscoroutinefunction(needs) else await node.delegate(needs, given)
        if inspect.isawaitable(needed):
            needed = await needed
    except asyncio.CancelledError as error:
        if was_asked_for(error):
            raise
        raise RefusedError("whether this call needs an approval could not be found out; it was not made") from error
    if not isinstance(needed, bool):
        raise RefusedError(
            f"whether this call needs an approval is not clear: needs_approval gave {needed!r} instead of True or "
            "False; it was not made"
        )
    return needed


def was_asked_for(error: asyncio.CancelledError) -> bool:
    """Loop only. Whether the node is being terminated; otherwise somebody's code has raised that by itself."""
    task = asyncio.current_task()
    # A subclass comes from Agere itself: the commander leaves, and nobody answers any more.
    return task is None or bool(task.cancelling()) or type(error) is not asyncio.CancelledError


def _json(value: Any) -> str:
    return json.dumps(value, ensure_ascii=False)


def _visible(text: str) -> str:
    """``text`` with what does not print written out: control characters, and those that turn the direction."""
    return "".join(char if char.isprintable() else char.encode("unicode_escape").decode() for char in text)
