"""What was said so far. Only whole turns are in it."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any, TypeAlias

Message: TypeAlias = Mapping[str, Any]
"""A message of the OpenAI protocol."""


class Conversation:
    """The turns that ended well. Belongs to one thread: within an agent, to the loop.

    Args:
        system: a first message that always stays.
        memory: when the turns have more characters than this, the oldest fall out, until they have half as many; None
            to keep all. (Half: a model that remembers what it has read would have to begin anew each time.)
    """

    def __init__(self, system: str | None = None, memory: int | None = None) -> None:
        self._head: list[Message] = [] if system is None else [{"role": "system", "content": system}]
        self._memory = memory
        self._turns: list[tuple[int, list[Message]]] = []

    @property
    def messages(self) -> list[Message]:
        """All messages, as a new list."""
        return [*self._head, *(message for _, turn in self._turns for message in turn)]

    def add_turn(self, messages: Sequence[Message]) -> None:
        """Take in a turn: a question and all that came of it."""
        size = sum(len(json.dumps(message, default=str)) for message in messages)
        self._turns.append((size, [*messages]))
        if self._memory is not None and self._size() > self._memory:
            while len(self._turns) > 1 and self._size() > self._memory // 2:
                del self._turns[0]

    def _size(self) -> int:
        return sum(size for size, _ in self._turns)
