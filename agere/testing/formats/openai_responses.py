"""OpenAI's Responses API."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from agere.testing.formats.chat_completions import ChatCompletionsFormat
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

_REASONS = {"length": "max_output_tokens", "content_filter": "content_filter"}


class ResponsesFormat(EventFormat):
    """``POST /v1/responses``."""

    def __init__(self, request: Mapping[str, Any], answer: Answer) -> None:
        super().__init__(request, answer)
        self._number = 0
        self._output: list[Body] = []  # the items so far, done or under way
        self._spoken: int | None = None  # the item of words or thoughts that is under way

    def _begin(self) -> Iterator[bytes]:
        for kind in ("created", "in_progress"):
            yield self._event(f"response.{kind}", response=self._response("in_progress"))

    def _say(self, step: Step) -> Iterator[bytes]:
        match step:
            case Text() | Refusal() | Thinking():
                yield from self._speak(step)
            case CallBegin():
                yield from self._begin_call(step)
            case CallArguments():
                yield from self._go_on_with_call(step)
            case StreamError():
                yield self._event("error", code=step.code, message=step.message, param=None)
            case End():
                yield from self._end(step.finish_reason)
            case Begin() | _:
                pass

    def ending(self) -> bytes:
        """Nothing."""
        return b""

    def whole(self, parts: Sequence[Part], finish_reason: str) -> Body:
        """A response."""
        for part in parts:
            if part.kind is CallArguments:
                item = self._call_item(part.id, part.name)
                item["arguments"] = part.text
            else:
                item = self._spoken_item(part.kind)
                _add(item, part.text)
            item["status"] = "completed"
            self._output.append(item)
        return self._response("incomplete" if finish_reason in _REASONS else "completed", finish_reason)

    @staticmethod
    def error(status: int, message: str, code: str | None = None) -> Body:
        """An error of OpenAI's API."""
        return ChatCompletionsFormat.error(status, message, code)

    def _speak(self, step: Text | Refusal | Thinking) -> Iterator[bytes]:
        kind = {Text: "output_text", Refusal: "refusal", Thinking: "summary_text"}[type(step)]
        at = self._spoken
        if at is None or _part(self._output[at])["type"] != kind:
            yield from self._close_spoken()
            at = self._spoken = len(self._output)
            self._output.append(self._spoken_item(type(step)))
            shown = (
                {**self._output[at], "content": []} if kind != "summary_text" else self._output[at] | {"summary": []}
            )
            yield self._event("response.output_item.added", output_index=at, item=shown)
            yield self._part_event("added")
        item = self._output[at]
        _add(item, step.text)
        where = {"item_id": item["id"], "output_index": at}
        match step:
            case Text():
                yield self._event("response.output_text.delta", **where, content_index=0, delta=step.text, logprobs=[])
            case Refusal():
                yield self._event("response.refusal.delta", **where, content_index=0, delta=step.text)
            case Thinking():
                yield self._event("response.reasoning_summary_text.delta", **where, summary_index=0, delta=step.text)

    def _close_spoken(self) -> Iterator[bytes]:
        at = self._spoken
        if at is None:
            return
        item = self._output[at]
        part = _part(item)
        where = {"item_id": item["id"], "output_index": at}
        match part["type"]:
            case "output_text":
                yield self._event("response.output_text.done", **where, content_index=0, text=part["text"], logprobs=[])
            case "refusal":
                yield self._event("response.refusal.done", **where, content_index=0, refusal=part["refusal"])
            case _:
                yield self._event("response.reasoning_summary_text.done", **where, summary_index=0, text=part["text"])
        yield self._part_event("done")
        item["status"] = "completed"
        yield self._event("response.output_item.done", output_index=at, item=item)
        self._spoken = None

    def _part_event(self, kind: str) -> bytes:
        assert self._spoken is not None  # noqa: S101 - for the type checker
        item = self._output[self._spoken]
        is_thought = item["type"] == "reasoning"
        name = "reasoning_summary_part" if is_thought else "content_part"
        index = {"summary_index" if is_thought else "content_index": 0}
        return self._event(
            f"response.{name}.{kind}", item_id=item["id"], output_index=self._spoken, part=_part(item), **index
        )

    def _begin_call(self, step: CallBegin) -> Iterator[bytes]:
        yield from self._close_spoken()
        at = self._calls[step.index] = len(self._output)
        self._output.append(self._call_item(step.id, step.name))
        yield self._event("response.output_item.added", output_index=at, item=self._output[at])
        if not self._to_come[step.index]:
            yield from self._close_call(at)

    def _go_on_with_call(self, step: CallArguments) -> Iterator[bytes]:
        at = self._calls[step.index]
        item = self._output[at]
        item["arguments"] += step.text
        yield self._event(
            "response.function_call_arguments.delta", item_id=item["id"], output_index=at, delta=step.text
        )
        self._to_come[step.index] -= 1
        if not self._to_come[step.index]:
            yield from self._close_call(at)

    def _close_call(self, at: int) -> Iterator[bytes]:
        item = self._output[at]
        item["status"] = "completed"
        yield self._event(
            "response.function_call_arguments.done",
            item_id=item["id"],
            output_index=at,
            name=item["name"],
            arguments=item["arguments"],
        )
        yield self._event("response.output_item.done", output_index=at, item=item)

    def _end(self, finish_reason: str) -> Iterator[bytes]:
        yield from self._close_spoken()
        kind = "incomplete" if finish_reason in _REASONS else "completed"
        yield self._event(f"response.{kind}", response=self._response(kind, finish_reason))

    def _event(self, kind: str, **fields: Any) -> bytes:
        number = self._number
        self._number += 1
        return event({"type": kind, "sequence_number": number, **fields}, kind)

    def _spoken_item(self, kind: type[Any]) -> Body:
        if kind is Thinking:
            item: Body = {"type": "reasoning", "summary": [{"type": "summary_text", "text": ""}]}
            return {"id": f"rs_{len(self._output)}", **item}
        part: Body = {"type": "output_text", "text": "", "annotations": [], "logprobs": []}
        if kind is Refusal:
            part = {"type": "refusal", "refusal": ""}
        item = {"type": "message", "role": "assistant", "status": "in_progress", "content": [part]}
        return {"id": f"msg_{len(self._output)}", **item}

    def _call_item(self, call_id: str, name: str) -> Body:
        item = {"type": "function_call", "call_id": call_id, "name": name, "arguments": "", "status": "in_progress"}
        return {"id": f"fc_{len(self._output)}", **item}

    def _response(self, status: str, finish_reason: str = "stop") -> Body:
        ended = status != "in_progress"
        reason = _REASONS.get(finish_reason)
        sent, said = self.input_tokens, self.output_tokens or 0
        usage = {
            "input_tokens": sent,
            "input_tokens_details": {"cached_tokens": 0},
            "output_tokens": said,
            "output_tokens_details": {"reasoning_tokens": 0},
            "total_tokens": sent + said,
        }
        return {
            "id": "resp_scripted",
            "object": "response",
            "created_at": int(time.time()),
            "status": status,
            "error": None,
            "incomplete_details": {"reason": reason} if ended and reason else None,
            "instructions": self.request.get("instructions"),
            "metadata": {},
            "model": self.model,
            "output": self._output if ended else [],
            "parallel_tool_calls": True,
            "temperature": 1.0,
            "tool_choice": "auto",
            "tools": self.request.get("tools") or [],
            "top_p": 1.0,
            "usage": usage if ended else None,
        }


def _part(item: Body) -> Body:
    part: Body = (item.get("content") or item["summary"])[0]
    return part


def _add(item: Body, text: str) -> None:
    part = _part(item)
    part["refusal" if part["type"] == "refusal" else "text"] += text
