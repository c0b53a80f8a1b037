"""Anthropic's Messages API."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from agere.testing.formats.common import Body, EventFormat, Part, event
from agere.testing.steps import (
    Answer,
    Begin,
    CallArguments,
    CallBegin,
    End,
    Refusal,
    Step,
    StreamError,
    Text,
    Thinking,
)

_REASONS = {"stop": "end_turn", "tool_calls": "tool_use", "length": "max_tokens", "content_filter": "refusal"}
_ERRORS = {
    400: "invalid_request_error",
    401: "authentication_error",
    403: "permission_error",
    404: "not_found_error",
    413: "request_too_large",
    429: "rate_limit_error",
    529: "overloaded_error",
}


class MessagesFormat(EventFormat):
    """``POST /v1/messages``."""

    def __init__(self, request: Mapping[str, Any], answer: Answer) -> None:
        super().__init__(request, answer)
        self._blocks = 0
        self._spoken: type[Step] | None = None  # what the block of words or thoughts under way is
        self._spoken_at = 0

    def _begin(self) -> Iterator[bytes]:
        yield _event("message_start", message=self._message([], None, output_tokens=0))
        yield _event("ping")

    def _say(self, step: Step) -> Iterator[bytes]:
        match step:
            case Text() | Refusal():
                yield from self._speak(Text)
                yield self._delta(self._spoken_at, type="text_delta", text=step.text)
            case Thinking():
                yield from self._speak(Thinking)
                yield self._delta(self._spoken_at, type="thinking_delta", thinking=step.text)
            case CallBegin():
                yield from self._begin_call(step)
            case CallArguments():
                at = self._calls[step.index]
                yield self._delta(at, type="input_json_delta", partial_json=step.text)
                self._to_come[step.index] -= 1
                if not self._to_come[step.index]:
                    yield _event("content_block_stop", index=at)
            case StreamError():
                yield event(self._error(_error_type(step.code), step.message), "error")
            case End():
                yield from self._end(step.finish_reason)
            case Begin() | _:
                pass

    def ending(self) -> bytes:
        """Nothing."""
        return b""

    def whole(self, parts: Sequence[Part], finish_reason: str) -> Body:
        """A message."""
        content: list[Body] = []
        for part in parts:
            if part.kind is CallArguments:
                try:
                    arguments = json.loads(part.text or "{}")
                except ValueError:
                    arguments = None
                if not isinstance(arguments, dict):
                    raise ValueError(
                        f"The arguments of the call {part.name!r} are no object: "
                        "in an answer that is not streamed, Messages have no way to say that."
                    )
                content.append({"type": "tool_use", "id": part.id, "name": part.name, "input": arguments})
            elif part.kind is Thinking:
                content.append({"type": "thinking", "thinking": part.text, "signature": "scripted"})
            else:
                content.append({"type": "text", "text": part.text, "citations": None})
        return self._message(content, _REASONS.get(finish_reason, finish_reason), self.output_tokens or 0)

    @staticmethod
    def error(status: int, message: str, code: str | None = None) -> Body:
        """An error of Anthropic's API."""
        return MessagesFormat._error(code or _ERRORS.get(status, "api_error"), message)

    @staticmethod
    def _error(kind: str, message: str) -> Body:
        return {"type": "error", "error": {"type": kind, "message": message}}

    def _speak(self, kind: type[Step]) -> Iterator[bytes]:
        if self._spoken is kind:
            return
        yield from self._close_spoken()
        self._spoken = kind
        self._spoken_at = self._blocks
        block = {"type": "text", "text": ""} if kind is Text else {"type": "thinking", "thinking": "", "signature": ""}
        yield self._start(block)

    def _close_spoken(self) -> Iterator[bytes]:
        if self._spoken is not None:
            if self._spoken is Thinking:
                yield self._delta(self._spoken_at, type="signature_delta", signature="scripted")
            yield _event("content_block_stop", index=self._spoken_at)
            self._spoken = None

    def _begin_call(self, step: CallBegin) -> Iterator[bytes]:
        yield from self._close_spoken()
        at = self._calls[step.index] = self._blocks
        yield self._start({"type": "tool_use", "id": step.id, "name": step.name, "input": {}})
        yield self._delta(at, type="input_json_delta", partial_json="")
        if not self._to_come[step.index]:
            yield _event("content_block_stop", index=at)

    def _start(self, block: Body) -> bytes:
        at = self._blocks
        self._blocks += 1
        return _event("content_block_start", index=at, content_block=block)

    def _delta(self, at: int, **delta: str) -> bytes:
        return _event("content_block_delta", index=at, delta=delta)

    def _end(self, finish_reason: str) -> Iterator[bytes]:
        yield from self._close_spoken()
        delta = {"stop_reason": _REASONS.get(finish_reason, finish_reason), "stop_sequence": None}
        yield _event("message_delta", delta=delta, usage={"output_tokens": self.output_tokens})
        yield _event("message_stop")

    def _message(self, content: list[Body], stop_reason: str | None, output_tokens: int) -> Body:
        return {
            "id": "msg_scripted",
            "type": "message",
            "role": "assistant",
            "model": self.model,
            "content": content,
            "stop_reason": stop_reason,
            "stop_sequence": None,
            "usage": {"input_tokens": self.input_tokens, "output_tokens": output_tokens},
        }


def _event(kind: str, **fields: Any) -> bytes:
    return event({"type": kind, **fields}, kind)


def _error_type(code: str) -> str:
    return "api_error" if code == "server_error" else code
