"""What the wire formats have in common."""

from __future__ import annotations

import json
from abc import ABC, abstractmethod
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias

from agere.testing.steps import (
    Answer,
    CallArguments,
    CallBegin,
    Delta,
    End,
    Raw,
    Refusal,
    Step,
    Text,
    Thinking,
)

Body: TypeAlias = dict[str, Any]
_PIECES = (Text, Refusal, Thinking, CallBegin, CallArguments, Delta)


class WireFormat(ABC):
    """Writes one answer to one request.

    Args:
        request: the request's body.
        answer: what to say.
    """

    def __init__(self, request: Mapping[str, Any], answer: Answer) -> None:
        self.request = request
        self.model = request.get("model") or "scripted"
        self.answer = answer
        usage = answer.usage
        self.input_tokens = usage.input
        self.output_tokens = usage.output
        if usage.output is None:
            self.output_tokens = sum(isinstance(step, _PIECES) for step in answer.steps)

    @abstractmethod
    def events(self, step: Step) -> Iterator[bytes]:
        """The server-sent events that say ``step``: none, one or several."""

    @abstractmethod
    def ending(self) -> bytes:
        """What follows after the last step of a stream."""

    @abstractmethod
    def whole(self, parts: Sequence[Part], finish_reason: str) -> Body:
        """The answer to a request that does not stream."""

    @staticmethod
    @abstractmethod
    def error(status: int, message: str, code: str | None = None) -> Body:
        """The body of an error answer."""


class EventFormat(WireFormat):
    """One whose events are typed, and say of each item when it begins and when it is done."""

    def __init__(self, request: Mapping[str, Any], answer: Answer) -> None:
        super().__init__(request, answer)
        self._begun = False
        self._calls: dict[int, int] = {}  # the item of each call
        self._deltas: set[int] = set()
        # A call is done when nothing more of it is to come: fragments of several calls may be mixed.
        self._to_come = Counter(step.index for step in plain(answer.steps) if isinstance(step, CallArguments))

    def events(self, step: Step) -> Iterator[bytes]:
        """The events of a step; a ``Raw`` is not in this format's words, and says nothing."""
        if isinstance(step, Raw):
            return
        if isinstance(step, Delta):
            for said in plain_delta(step, self._deltas):
                yield from self.events(said)
            return
        if not self._begun:
            self._begun = True
            yield from self._begin()
        yield from self._say(step)

    @abstractmethod
    def _begin(self) -> Iterator[bytes]:
        """What comes before all else."""

    @abstractmethod
    def _say(self, step: Step) -> Iterator[bytes]:
        """The events of a plain step."""


@dataclass
class Part:
    """What was said in a row: a text, a refusal, thoughts, or a call."""

    kind: type[Text] | type[Refusal] | type[Thinking] | type[CallArguments]
    text: str = ""
    id: str = ""
    name: str = ""


def event(body: Body, name: str | None = None) -> bytes:
    """A server-sent event."""
    try:
        text = json.dumps(body, ensure_ascii=False).encode()
    except UnicodeEncodeError:  # a lone surrogate: only an escape can say it
        text = json.dumps(body).encode()
    data = b"data: " + text + b"\n\n"
    return data if name is None else b"event: " + name.encode() + b"\n" + data


def plain(steps: Sequence[Step]) -> Iterator[Step]:
    """The steps, with each ``Delta`` put in the words of all formats."""
    begun: set[int] = set()
    for step in steps:
        if isinstance(step, Delta):
            yield from plain_delta(step, begun)
        else:
            yield step


def plain_delta(step: Delta, begun: set[int]) -> Iterator[Step]:
    """What one chunk of chat completions says; ``begun`` remembers the calls that have begun."""
    delta = step.delta or {}
    if thought := delta.get("reasoning_content"):
        yield Thinking(thought)
    if content := delta.get("content"):
        yield Text(content)
    if refusal := delta.get("refusal"):
        yield Refusal(refusal)
    for position, call in enumerate(delta.get("tool_calls") or ()):
        index = call.get("index", position)
        function = call.get("function") or {}
        if index not in begun:
            begun.add(index)
            yield CallBegin(index, call.get("id") or f"call_{index}", function.get("name") or "")
        if arguments := function.get("arguments"):
            yield CallArguments(index, arguments)
    if step.finish_reason is not None:
        yield End(step.finish_reason)


def gather(steps: Sequence[Step]) -> tuple[list[Part], str]:
    """What the steps say in all, and their finish reason (default ``stop``)."""
    parts: list[Part] = []
    calls: dict[int, Part] = {}
    finish_reason = "stop"
    for step in plain(steps):
        if isinstance(step, (Text, Refusal, Thinking)):
            if not parts or parts[-1].kind is not type(step):
                parts.append(Part(type(step)))
            parts[-1].text += step.text
        elif isinstance(step, CallBegin):
            calls[step.index] = Part(CallArguments, "", step.id, step.name)
            parts.append(calls[step.index])
        elif isinstance(step, CallArguments):
            calls[step.index].text += step.text
        elif isinstance(step, End):
            finish_reason = step.finish_reason
    return parts, finish_reason


def joined(parts: Sequence[Part], kind: type[Text] | type[Refusal] | type[Thinking]) -> str | None:
    """All that was said in this way; None if nothing."""
    return "".join([part.text for part in parts if part.kind is kind]) or None
