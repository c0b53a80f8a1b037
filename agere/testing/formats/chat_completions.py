"""OpenAI's chat completions, and all that is compatible with them."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence

from agere.testing.formats.common import Body, Part, WireFormat, event, joined
from agere.testing.steps import (
    Begin,
    CallArguments,
    CallBegin,
    Delta,
    End,
    Refusal,
    Step,
    StreamError,
    Text,
    Thinking,
)


class ChatCompletionsFormat(WireFormat):
    """``POST /v1/chat/completions``."""

    def events(self, step: Step) -> Iterator[bytes]:
        """The events of a step."""
        if isinstance(step, StreamError):
            yield event(self.error(500, step.message, step.code))
            return
        delta: Body | None
        finish_reason: str | None = None
        match step:
            case Text():
                delta = {"content": step.text}
            case CallArguments():
                delta = {"tool_calls": [{"index": step.index, "function": {"arguments": step.text}}]}
            case CallBegin():
                function = {"name": step.name, "arguments": ""}
                delta = {"tool_calls": [{"index": step.index, "id": step.id, "type": "function", "function": function}]}
            case Begin():
                delta = {"role": "assistant", "content": ""}
            case End():
                delta, finish_reason = {}, step.finish_reason
            case Refusal():
                delta = {"refusal": step.text}
            case Thinking():
                delta = {"reasoning_content": step.text}
            case Delta():
                delta, finish_reason = step.delta, step.finish_reason
            case _:
                return
        choice = {"index": 0, "delta": delta, "finish_reason": finish_reason}
        yield event({**self._envelope("chat.completion.chunk"), "choices": [choice]})

    def ending(self) -> bytes:
        """The usage where it was asked for, and ``[DONE]``."""
        data = b""
        if (self.request.get("stream_options") or {}).get("include_usage"):
            data = event({**self._envelope("chat.completion.chunk"), "choices": [], "usage": self._usage()})
        return data + b"data: [DONE]\n\n" if self.answer.done else data

    def whole(self, parts: Sequence[Part], finish_reason: str) -> Body:
        """A chat completion."""
        message: Body = {"role": "assistant", "content": joined(parts, Text)}
        for name, kind in (("refusal", Refusal), ("reasoning_content", Thinking)):
            if said := joined(parts, kind):
                message[name] = said
        calls = [
            {"id": part.id, "type": "function", "function": {"name": part.name, "arguments": part.text}}
            for part in parts
            if part.kind is CallArguments
        ]
        if calls:
            message["tool_calls"] = calls
        choice = {"index": 0, "message": message, "finish_reason": finish_reason}
        return {**self._envelope("chat.completion"), "choices": [choice], "usage": self._usage()}

    @staticmethod
    def error(status: int, message: str, code: str | None = None) -> Body:
        """An error of OpenAI's API."""
        return {"error": {"message": message, "type": "scripted_error", "code": code, "param": None}}

    def _envelope(self, kind: str) -> Body:
        return {"id": "chatcmpl-scripted", "object": kind, "created": int(time.time()), "model": self.model}

    def _usage(self) -> Body:
        sent, said = self.input_tokens, self.output_tokens or 0
        return {"prompt_tokens": sent, "completion_tokens": said, "total_tokens": sent + said}
