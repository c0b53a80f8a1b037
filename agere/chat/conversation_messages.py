"""What a message is, and where it can stand: a conversation is always one that a server accepts."""

from __future__ import annotations

import json
import reprlib
from collections.abc import Mapping
from typing import Any, TypeAlias

from agere.errors import MessageError

from .sendable import all_sendable

Message: TypeAlias = Mapping[str, Any]
"""A message of the OpenAI protocol."""

ROLES = ("system", "developer", "user", "assistant", "tool")

INTERRUPTED = "(interrupted)"
"""Ends a turn that was broken off, so that the next question does not follow upon a question."""

INTERRUPTED_CALL = json.dumps({"error": "the turn was broken off: whether this call was made is not known"})
"""The result of a call that has none."""


def checked(message: object) -> dict[str, Any]:
    """Any thread. A copy of ``message``, if it is one; half a surrogate pair becomes U+FFFD. Raises MessageError."""
    if not isinstance(message, Mapping):
        raise MessageError(
            f"a message is a dict of the OpenAI protocol, not {reprlib.repr(message)}; of the client's own objects "
            "take message.model_dump(exclude_none=True)"
        )
    try:
        text = json.dumps(dict(message))
        copy: dict[str, Any] = json.loads(text)
        if "\\ud" in text:  # it may hold one: all of them are written in this way
            copy = all_sendable(copy)
    except (TypeError, ValueError, RecursionError) as error:
        raise MessageError(f"the message {reprlib.repr(message)} cannot be written as JSON: {error}") from error
    role = copy.get("role")
    if role not in ROLES:
        raise MessageError(f"the role of a message is one of {', '.join(ROLES)}, not {role!r}")
    _check_content(copy, role)
    if role == "tool" and not isinstance(copy.get("tool_call_id"), str):
        raise MessageError("a message of the role tool needs the tool_call_id of the call that it answers")
    if copy.get("tool_calls") is not None:
        _check_calls(copy["tool_calls"], role)
    return copy


def _check_content(message: dict[str, Any], role: str) -> None:
    content = message.get("content")
    if content is None and role == "assistant":
        return  # it may call tools, or refuse, instead
    parts = isinstance(content, list) and all(isinstance(part, dict) and "type" in part for part in content)
    if not isinstance(content, str) and not parts:
        raise MessageError(
            f"the content of a message of the role {role} is a str, or a list of parts, not {reprlib.repr(content)}"
        )


def _check_calls(calls: object, role: str) -> None:
    if role != "assistant":
        raise MessageError(f"only messages of the role assistant have tool_calls, not those of {role}")
    if not isinstance(calls, list) or not calls:
        raise MessageError(f"tool_calls is a list of calls, and not empty, not {reprlib.repr(calls)}")
    for call in calls:
        function = call.get("function", call.get("custom")) if isinstance(call, dict) else None
        if not isinstance(function, dict) or not isinstance(call.get("id"), str):
            raise MessageError(f"a tool call has an id, a str, and a function, a dict, unlike {reprlib.repr(call)}")


class Order:
    """Which messages can follow in a turn: the results of calls right behind them, each once, and nothing between.

    Attributes:
        open_calls: the ids of the calls that have no result yet.
    """

    def __init__(self) -> None:
        self.open_calls: list[str] = []
        self._first = True

    def check(self, message: Message) -> None:
        """Raise MessageError if ``message`` cannot come next."""
        if message["role"] == "tool":
            if message["tool_call_id"] not in self.open_calls:
                raise MessageError(
                    f"there is no open call {message['tool_call_id']!r} that this result could answer; "
                    f"open are: {', '.join(map(repr, self.open_calls)) or 'none'}"
                )
        elif self.open_calls:
            raise MessageError(
                f"the results of the tool calls {', '.join(map(repr, self.open_calls))} come first: a server refuses "
                f"a message of the role {message['role']} before them"
            )

    def take(self, message: Message) -> None:
        """``message`` has come."""
        if message["role"] == "tool":
            self.open_calls.remove(message["tool_call_id"])
        else:
            self.open_calls = [call["id"] for call in message.get("tool_calls") or ()]


def closing(messages: list[Message], open_calls: list[str]) -> list[Message]:
    """What has to follow upon a turn that was broken off, so that a server accepts it and what comes next."""
    added: list[Message] = [
        {"role": "tool", "tool_call_id": call_id, "content": INTERRUPTED_CALL} for call_id in open_calls
    ]
    if added or messages[-1]["role"] != "assistant":
        added.append({"role": "assistant", "content": INTERRUPTED})
    return added
