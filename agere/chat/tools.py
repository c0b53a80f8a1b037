"""Tools: functions that the model may call. What goes wrong with a call becomes a result that the model can read."""

from __future__ import annotations

import inspect
import json
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Self

from agere.errors import ToolCallParseError

if TYPE_CHECKING:
    from openai.types.chat import ChatCompletionToolParam

    from agere import TaskNode

SHOWN_OF_BAD_ARGUMENTS = 200  # characters that go back to the model


@dataclass(frozen=True)
class Tool:
    """A function and what the model is told of it.

    Attributes:
        function: plain (it runs on a worker thread) or ``async`` (it runs on the loop).
        schema: its description in the OpenAI protocol. Give it a string parameter ``to_user``, and the model can talk
            while it calls; the function never sees that one.
        note: for people, such as "invented data".
    """

    function: Callable[..., Any]
    schema: ChatCompletionToolParam
    note: str = ""

    @property
    def name(self) -> str:
        """Under which the model calls it."""
        return self.schema["function"]["name"]


@dataclass(frozen=True)
class ToolCall:
    """A call that the model asks for.

    Attributes:
        id: the protocol's name for this call.
        name: of the tool; nothing but a key to look it up with.
        arguments: for the tool.
        trouble: why the call cannot be made, if it came malformed.
    """

    id: str
    name: str
    arguments: Mapping[str, Any]
    trouble: str | None = None

    @classmethod
    def from_json(cls, text: str, number: int) -> Self:
        """A call as the dispatcher hands it out. ``number`` makes an id where the server gave none."""
        call = json.loads(text)
        return cls(call["tool_call_id"] or f"call_{number}", call["name"], call["arguments"])

    @classmethod
    def malformed(cls, error: ToolCallParseError, number: int) -> Self:
        """A call that could not be read."""
        raw = error.raw[:SHOWN_OF_BAD_ARGUMENTS]
        return cls(error.id or f"call_{number}", error.name or "unknown", {}, f"{error} They began with: {raw!r}")

    def message(self) -> dict[str, Any]:
        """The call as the conversation keeps it."""
        arguments = json.dumps(self.arguments, ensure_ascii=False)
        return {"id": self.id, "type": "function", "function": {"name": self.name, "arguments": arguments}}


@dataclass(frozen=True)
class ToolResult:
    """What came of a call.

    Attributes:
        call: the call.
        content: what the model reads.
        failed: for people: it is an error.
    """

    call: ToolCall
    content: str
    failed: bool = False

    def message(self) -> dict[str, Any]:
        """The result as the conversation keeps it."""
        return {"role": "tool", "tool_call_id": self.call.id, "content": self.content}


class Toolbox:
    """The tools of an agent, by name.

    Raises:
        ValueError: two tools have one name.
    """

    def __init__(self, tools: Iterable[Tool]) -> None:
        self._tools: dict[str, Tool] = {}
        for tool in tools:
            if tool.name in self._tools:
                raise ValueError(f"two tools are named {tool.name!r}")
            self._tools[tool.name] = tool
        self.schemas = [tool.schema for tool in self._tools.values()]

    async def run(self, node: TaskNode[Any], call: ToolCall) -> ToolResult:
        """Loop only. Make a call, for ``node``; whatever goes wrong is in the result."""
        tool = self._tools.get(call.name)
        if tool is None:
            return _failure(call, f"there is no tool named {call.name!r}; there is: {', '.join(self._tools) or 'none'}")
        if call.trouble is not None:
            return _failure(call, call.trouble)
        try:
            inspect.signature(tool.function).bind(**call.arguments)
        except TypeError as error:
            return _failure(call, f"wrong arguments: {error}")
        try:
            if inspect.iscoroutinefunction(tool.function):
                value = await tool.function(**call.arguments)
            else:
                value = await node.delegate(tool.function, **call.arguments)
            return ToolResult(call, value if isinstance(value, str) else json.dumps(value, default=str))
        except (Exception, SystemExit) as error:  # noqa: BLE001 - the model is told, and the person is shown
            return _failure(call, f"{type(error).__name__}: {error}")


def _failure(call: ToolCall, text: str) -> ToolResult:
    return ToolResult(call, json.dumps({"error": text}, ensure_ascii=False), failed=True)


def weather_tool() -> Tool:
    """The tool of the demonstration. Its weather is invented, and steady."""
    from agere.addons.demo_weather import WEATHER_TOOL, get_current_weather

    return Tool(get_current_weather, WEATHER_TOOL, note="invented data, for the demo")
