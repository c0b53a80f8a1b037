"""A model that says what a script tells it, as a synchronous iterable of OpenAI-style chunks."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from types import SimpleNamespace
from typing import Any


def text(words: str, size: int = 3) -> list[Any]:
    """Chunks that say ``words``, some characters each."""
    return [_chunk(content=words[at : at + size]) for at in range(0, len(words), size)] + [_chunk(finish="stop")]


def calls(*tools: tuple[str, dict[str, Any]], size: int = 4) -> list[Any]:
    """Chunks that call each tool with its arguments, fragment by fragment."""
    chunks: list[Any] = []
    for index, (name, arguments) in enumerate(tools):
        chunks.append(_chunk(call=(index, f"call_{index}", name, "")))
        raw = json.dumps(arguments)
        chunks += [_chunk(call=(index, None, None, raw[at : at + size])) for at in range(0, len(raw), size)]
    return [*chunks, _chunk(finish="tool_calls")]


def _chunk(
    content: str | None = None,
    call: tuple[int, str | None, str | None, str] | None = None,
    finish: str | None = None,
) -> Any:
    tool_calls = None
    if call is not None:
        index, id_, name, arguments = call
        function = SimpleNamespace(name=name, arguments=arguments)
        tool_calls = [SimpleNamespace(index=index, id=id_, type="function" if id_ else None, function=function)]
    delta = SimpleNamespace(content=content, role="assistant", tool_calls=tool_calls)
    return SimpleNamespace(choices=[SimpleNamespace(index=0, delta=delta, finish_reason=finish)])


class ScriptedModel:
    """Answers each conversation with the next entry of its script: chunks, or a function of the messages.

    Attributes:
        heard: the messages of each call, as they were then.
    """

    def __init__(self, *script: list[Any] | Callable[[list[Any]], list[Any]]) -> None:
        self._script = list(script)
        self.heard: list[list[Any]] = []

    def __call__(self, messages: list[Any]) -> Iterator[Any]:
        self.heard.append(json.loads(json.dumps(messages)))
        step = self._script.pop(0)
        yield from step(messages) if callable(step) else step
