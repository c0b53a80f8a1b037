"""What a turn gives."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Self

from agere.tools import ToolCall, ToolResult
from agere.utils.fields import field, number


@dataclass(frozen=True)
class Usage:
    """Tokens, as the server counts them.

    Attributes:
        prompt_tokens: read, in all requests together.
        completion_tokens: written.
        total_tokens: both.
        cached_tokens: of those read, how many it had in a cache.
    """

    prompt_tokens: int = 0
    completion_tokens: int = 0
    total_tokens: int = 0
    cached_tokens: int = 0

    @classmethod
    def read(cls, told: object) -> Self:
        """The usage that a chunk of the protocol tells."""
        details = field(told, "prompt_tokens_details")
        read, written = _count(told, "prompt_tokens"), _count(told, "completion_tokens")
        return cls(read, written, _count(told, "total_tokens") or read + written, _count(details, "cached_tokens"))

    def __add__(self, other: Usage) -> Usage:
        return Usage(
            self.prompt_tokens + other.prompt_tokens,
            self.completion_tokens + other.completion_tokens,
            self.total_tokens + other.total_tokens,
            self.cached_tokens + other.cached_tokens,
        )


@dataclass(frozen=True)
class Timings:
    """How long a turn took, in seconds. The time in which it waited for another turn of its Chat is left out.

    Attributes:
        total: all of it, tools included.
        first_text: until the first text arrived; None if there was none.
        rounds: each request, from sending it to the end of its stream.
    """

    total: float
    first_text: float | None
    rounds: tuple[float, ...]


@dataclass(frozen=True)
class Answer:
    """What a turn has come to. ``str(answer)`` is the text.

    Attributes:
        text: the model's answer: what it said last, after all tool calls.
        said: everything that the turn emitted, also what the model said while it called tools.
        tool_results: the calls that were made, each with its result, in order.
        usage: summed over the requests; None if the server told nothing.
        timings: in seconds.
        finish_reason: why the model stopped: "stop"; "length", if the server cut it short; or as the server has it.
        model: the name of the model.
    """

    text: str
    said: str
    tool_results: Sequence[ToolResult]
    usage: Usage | None
    timings: Timings
    finish_reason: str | None = None
    model: str = ""

    @property
    def tool_calls(self) -> list[ToolCall]:
        """The calls alone."""
        return [result.call for result in self.tool_results]

    def as_tool_result(self) -> str:
        """What another model reads of it, when a tool has asked this Chat."""
        return self.text

    def __str__(self) -> str:
        return self.text


def _count(thing: object, name: str) -> int:
    return number(field(thing, name)) or 0
