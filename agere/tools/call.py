"""What the model asks for, and what came of it. Pure data: nothing of it is ever looked up in code or formatted."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Self

from agere.errors import ToolCallParseError

SHOWN_OF_BAD_ARGUMENTS = 200  # characters that go back to the model
LONGEST_NAME = 64  # characters, as the protocol has it
LONGEST_ERROR = 2000  # characters of an error that go back to the model

_NO_NAME_CHARACTERS = re.compile(r"[^a-zA-Z0-9_-]+")


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
        """The call as the conversation keeps it.

        A name that no server would take back is made into one that it does: the model may have invented it.
        """
        name = _NO_NAME_CHARACTERS.sub("_", self.name)[:LONGEST_NAME] or "unknown"
        arguments = sendable(json.dumps(self.arguments, ensure_ascii=False))
        return {"id": sendable(self.id), "type": "function", "function": {"name": name, "arguments": arguments}}


@dataclass(frozen=True)
class ToolResult:
    """What came of a call.

    Attributes:
        call: the call.
        content: what the model reads.
        failed: it is an error.
        value: what the tool gave, as a Python object; None if it failed.
        error: what it failed with, if that was an exception.
        seconds: how long it took, the wait for an approval included.
    """

    call: ToolCall
    content: str
    failed: bool = False
    value: Any = field(default=None, repr=False, compare=False)
    error: BaseException | None = field(default=None, repr=False, compare=False)
    seconds: float = field(default=0.0, compare=False)

    @classmethod
    def failure(cls, call: ToolCall, text: str, error: BaseException | None = None, seconds: float = 0.0) -> Self:
        """A result that tells the model what went wrong, cut at a size that it can read."""
        told = json.dumps({"error": cut(text, LONGEST_ERROR)}, ensure_ascii=False)
        return cls(call, sendable(told), failed=True, error=error, seconds=seconds)

    def message(self) -> dict[str, Any]:
        """The result as the conversation keeps it."""
        return {"role": "tool", "tool_call_id": sendable(self.call.id), "content": self.content}


def cut(text: str, length: int) -> str:
    """``text``, or its beginning and how much is missing."""
    return text if len(text) <= length else f"{text[:length]}... ({len(text) - length} more characters)"


def sendable(text: str) -> str:
    """``text`` as UTF-8 can carry it: half a surrogate pair (from a file name, say) would fail the whole request."""
    if text.isascii():
        return text
    return text.encode("utf-16-le", "surrogatepass").decode("utf-16-le", "replace")
