"""Chunks of an OpenAI-compatible stream, in the shapes in which they come."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

from openai.types.chat import ChatCompletionChunk


def chunk(delta: Any, finish_reason: str | None = None) -> dict[str, Any]:
    choice = {"index": 0, "delta": delta, "finish_reason": finish_reason, "logprobs": None}
    return bare([choice])


def bare(choices: Any) -> dict[str, Any]:
    return {"id": "c", "object": "chat.completion.chunk", "created": 1, "model": "m", "choices": choices}


def content(text: str | None) -> dict[str, Any]:
    return chunk({"content": text})


def call(
    arguments: str | None = None, index: Any = 0, id: str | None = None, name: str | None = None, **more: Any
) -> dict[str, Any]:
    """One entry of ``tool_calls``; what is None is left out."""
    function = {k: v for k, v in (("name", name), ("arguments", arguments)) if v is not None}
    entry = {k: v for k, v in (("index", index), ("id", id)) if v is not None}
    return entry | {"function": function} | more


def calls(*entries: dict[str, Any], **more: Any) -> dict[str, Any]:
    return chunk({"tool_calls": list(entries), **more})


def whole(arguments: str, index: int = 0, name: str = "f", size: int | None = None) -> list[dict[str, Any]]:
    """A call as OpenAI streams it: name first, then the arguments in pieces."""
    size = size or max(1, len(arguments))
    start = calls(call("", index, f"call_{index}", name, type="function"))
    pieces = [arguments[i : i + size] for i in range(0, len(arguments), size)]
    return [start, *[calls(call(piece, index)) for piece in pieces]]


def as_openai(chunk: Any) -> Any:
    return ChatCompletionChunk.model_validate(chunk)


def as_namespace(value: Any) -> Any:
    if isinstance(value, dict):
        return SimpleNamespace(**{key: as_namespace(item) for key, item in value.items()})
    return [as_namespace(item) for item in value] if isinstance(value, list) else value


class Slots:
    """Attributes without an instance dict."""

    __slots__ = (
        "arguments",
        "choices",
        "content",
        "delta",
        "function",
        "function_call",
        "id",
        "index",
        "name",
        "refusal",
        "tool_calls",
    )


def as_slots(value: Any) -> Any:
    if isinstance(value, dict):
        slots = Slots()
        for key, item in value.items():
            if key in Slots.__slots__ and (key != "id" or "choices" not in value):
                setattr(slots, key, as_slots(item))
        return slots
    return [as_slots(item) for item in value] if isinstance(value, list) else value


SHAPES = {"dict": lambda chunk: chunk, "openai": as_openai, "namespace": as_namespace, "slots": as_slots}
