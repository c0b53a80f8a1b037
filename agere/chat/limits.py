"""How far a turn may go."""

from __future__ import annotations

import inspect
import math
from collections.abc import AsyncIterable, Iterator
from dataclasses import dataclass
from typing import Any, Self

from agere.errors import TokenLimitError

from .model import StreamOpener

_WRITTEN = ("content", "tool_calls", "refusal", "reasoning_content", "reasoning", "function_call")
"""What in a chunk the model has written."""


@dataclass(frozen=True)
class Limits:
    """The limits of each turn; None for none.

    Attributes:
        rounds: requests.
        tool_calls: calls of tools.
        seconds: from the turn's beginning, tools and approvals included.
        tokens: that the model writes, in all requests together.

    Raises:
        TypeError: one is no number.
        ValueError: one is not above zero.
    """

    rounds: int | None
    tool_calls: int | None
    seconds: float | None
    tokens: int | None

    def __post_init__(self) -> None:
        _check("max_rounds", self.rounds, least=1)
        _check("max_tool_calls", self.tool_calls, least=0)
        _check("max_tokens", self.tokens, least=1)
        seconds = self.seconds
        if seconds is not None:
            if isinstance(seconds, bool) or not isinstance(seconds, int | float):
                raise TypeError(f"max_seconds is a number of seconds or None, not {seconds!r}")
            if not (seconds > 0 and math.isfinite(seconds)):
                raise ValueError(f"max_seconds is above 0, not {seconds!r}")


def _check(name: str, value: object, least: int) -> None:
    if value is None:
        return
    if isinstance(value, bool) or not isinstance(value, int):
        raise TypeError(f"{name} is a whole number or None, not {value!r}")
    if value < least:
        raise ValueError(f"{name} is at least {least}, not {value}")


def bound(opener: StreamOpener, left: int, most: int) -> StreamOpener:
    """Any thread. An opener whose stream ends with an error when the model has written too much.

    Servers tell the number of tokens only at the end. Until then each chunk in which the model says anything counts as
    one, which is never too many: some servers put several tokens into a chunk.

    Args:
        opener: opens the stream, blocking or not.
        left: how many tokens may still come.
        most: the limit, for the message.
    """
    given: Any = opener
    if inspect.iscoroutinefunction(opener):

        async def open_async() -> AsyncIterable[Any]:
            return _AsyncBounded(await given(), left, most)

        return open_async
    return lambda: _Bounded(given(), left, most)


class _Counter:
    def __init__(self, stream: Any, left: int, most: int) -> None:
        self._stream = stream
        self._left = left
        self._most = most
        self.response = getattr(stream, "response", None)  # by which the connection can be reached, to hang up

    def count(self, chunk: Any) -> Any:
        for choice in getattr(chunk, "choices", None) or ():
            delta = getattr(choice, "delta", None)
            if any(getattr(delta, name, None) for name in _WRITTEN):
                self._left -= 1
        if self._left < 0:
            raise TokenLimitError(f"the model wrote more than {self._most} tokens (max_tokens): turn given up")
        return chunk


class _Bounded(_Counter):
    def __iter__(self) -> Iterator[Any]:
        return map(self.count, self._stream)

    def close(self) -> None:
        self._stream.close()


class _AsyncBounded(_Counter):
    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> Any:
        return self.count(await anext(self._stream))

    async def aclose(self) -> None:
        await self._stream.close()
