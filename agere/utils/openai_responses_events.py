"""Reads the events of OpenAI's Responses API: what they say to the user, and to the tools.

Pure: no asyncio, no threads, no import of openai. An event may be an object of the openai package (also one of its
``responses.stream()`` helper), a plain dict, or anything with the same attributes.

Said to the user: text and refusals. Calls: ``function_call`` items, and ``custom_tool_call`` items, whose free text
becomes ``{"input": "..."}``. Passed over: reasoning, what the server's own tools do (web search, code interpreter,
server-side MCP), audio, annotations, and whatever may be invented next. Servers that send no deltas are heard, too:
where an item is done and nothing of it has come before, all of it is taken then.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Hashable, Iterable, Mapping

from agere.errors import IncompleteAnswerError, ModelError
from agere.utils.event_reader import EventReader
from agere.utils.fields import field, items, number, string
from agere.utils.openai_chunks import CallDelta

_CALLS = {"function_call": "arguments", "custom_tool_call": "input"}


class _Call:
    __slots__ = ("ended", "index", "is_free_text", "spoke")

    def __init__(self, index: int, is_free_text: bool) -> None:
        self.index = index
        self.is_free_text = is_free_text
        self.spoke = False  # some of its arguments have come
        self.ended = False


class ResponsesReader(EventReader):
    """Tells what the events of one response say."""

    def __init__(self) -> None:
        super().__init__()
        self._items: dict[Hashable, _Call] = {}  # calls by their items
        self._spoken: set[Hashable] = set()  # parts of messages of which some has come

    def read_event(self, event: object) -> Iterable[str | CallDelta]:
        """What one event says; ModelError if it reports an error."""
        read = _READ.get(string(field(event, "type")))
        return () if read is None else read(self, event)

    def _read_text_delta(self, event: object) -> Iterable[str]:
        self._spoken.add(_part(event))
        text = string(field(event, "delta"))
        return (text,) if text else ()

    def _read_text(self, event: object) -> Iterable[str]:
        """All of a text, or of a refusal."""
        return self._say(_part(event), string(field(event, "text")) or string(field(event, "refusal")))

    def _read_call_delta(self, event: object) -> Iterable[CallDelta]:
        return self._go_on(_item(event), string(field(event, "delta")))

    def _read_call(self, event: object) -> Iterable[CallDelta]:
        """All of a call's arguments, or of its free text."""
        return self._end(_item(event), string(field(event, "arguments")) or string(field(event, "input")))

    def _read_new_item(self, event: object) -> Iterable[CallDelta]:
        return self._begin(_item(event, field(event, "item")), field(event, "item"))

    def _read_item(self, event: object) -> Iterable[str | CallDelta]:
        item = field(event, "item")
        kind, key = field(item, "type"), _item(event, item)
        said: list[str | CallDelta] = []
        if kind == "message":
            for index, part in enumerate(items(field(item, "content"))):
                text = string(field(part, "text")) or string(field(part, "refusal"))
                said += self._say((key, index), text)
        elif kind in _CALLS:
            if key not in self._items:
                said += self._begin(key, item)
            # Not for one that is cut off: what is missing of it must not pass for its end.
            if field(item, "status") != "incomplete":
                said += self._end(key, string(field(item, _CALLS[str(kind)])))
        return said

    def _read_error(self, event: object) -> Iterable[str]:
        # The documented form, or the one that some servers send, with the error in an object of its own.
        raise _error(field(event, "error") or event)

    def _read_failure(self, event: object) -> Iterable[str]:
        raise _error(field(field(event, "response"), "error"))

    def _read_incomplete(self, event: object) -> Iterable[str]:
        reason = string(field(field(field(event, "response"), "incomplete_details"), "reason"))
        # Out of tokens: as in the other formats, words just end, and a call is found to be cut off.
        if reason not in ("max_output_tokens", "max_tokens"):
            raise IncompleteAnswerError(f"The server broke the answer off: {reason or 'it gives no reason'}.", reason)
        return ()

    def _begin(self, key: Hashable, item: object) -> Iterable[CallDelta]:
        kind = field(item, "type")
        if kind not in _CALLS:
            return ()
        call = self._items[key] = _Call(self.begin_call(), kind == "custom_tool_call")
        call_id = string(field(item, "call_id")) or string(field(item, "id"))
        return (CallDelta(call.index, call_id, string(field(item, "name")), ""),)

    def _go_on(self, key: Hashable, fragment: str | None) -> Iterable[CallDelta]:
        call = self._items.get(key)
        if call is None:  # begun without a word; it will be found to have no name
            call = self._items[key] = _Call(self.begin_call(), False)
        if not fragment or call.ended:
            return ()
        if call.is_free_text:
            fragment = ("" if call.spoke else '{"input": "') + json.dumps(fragment)[1:-1]
        call.spoke = True
        return (CallDelta(call.index, None, None, fragment),)

    def _end(self, key: Hashable, whole: str | None) -> list[CallDelta]:
        call = self._items.get(key)
        if call is None or call.ended:
            return []
        said = [] if call.spoke else list(self._go_on(key, whole))
        call.ended = True
        if call.is_free_text:
            said.append(CallDelta(call.index, None, None, '"}' if call.spoke else '{"input": ""}'))
        return said

    def _say(self, part: Hashable, whole: str | None) -> Iterable[str]:
        if part in self._spoken or not whole:
            return ()
        self._spoken.add(part)
        return (whole,)


_READ: Mapping[str | None, Callable[[ResponsesReader, object], Iterable[str | CallDelta]]] = {
    "response.output_text.delta": ResponsesReader._read_text_delta,
    "response.output_text.done": ResponsesReader._read_text,
    "response.refusal.delta": ResponsesReader._read_text_delta,
    "response.refusal.done": ResponsesReader._read_text,
    "response.output_item.added": ResponsesReader._read_new_item,
    "response.output_item.done": ResponsesReader._read_item,
    "response.function_call_arguments.delta": ResponsesReader._read_call_delta,
    "response.function_call_arguments.done": ResponsesReader._read_call,
    "response.custom_tool_call_input.delta": ResponsesReader._read_call_delta,
    "response.custom_tool_call_input.done": ResponsesReader._read_call,
    "response.incomplete": ResponsesReader._read_incomplete,
    "response.failed": ResponsesReader._read_failure,
    "error": ResponsesReader._read_error,
}


def _item(event: object, item: object = None) -> Hashable:
    """What an event is about: items are known by their place, or, where a server gives none, by their id."""
    place = number(field(event, "output_index"))
    return place if place is not None else string(field(event, "item_id")) or string(field(item, "id"))


def _part(event: object) -> Hashable:
    return (_item(event), number(field(event, "content_index")) or 0)


def _error(error: object) -> ModelError:
    message, code = string(field(error, "message")), string(field(error, "code")) or string(field(error, "type"))
    return ModelError(f"The server ended the stream with an error: {message or code or 'it says no more'}", code)
