"""Reads the events of Anthropic's Messages API: what they say to the user, and to the tools.

Pure: no asyncio, no threads, no import of anthropic. An event may be an object of the anthropic package (also one of
its ``messages.stream()`` helper, whose events these are, and more), a plain dict, or anything with the same attributes.

Said to the user: text, and the explanation of a refusal where the server gives one. Calls: ``tool_use`` blocks, whose
input is taken as the raw JSON that it arrives in. Passed over: thinking, what the server's own tools do
(``server_tool_use`` and their results), citations, pings, usage, and whatever may be invented next.
"""

from __future__ import annotations

import json
from collections.abc import Iterable

from agere.errors import ModelError
from agere.utils.event_reader import EventReader
from agere.utils.fields import field, number, string
from agere.utils.openai_chunks import CallDelta


class MessagesReader(EventReader):
    """Tells what the events of one message say."""

    def __init__(self) -> None:
        super().__init__()
        self._blocks: dict[int | None, int | None] = {}  # the call of each block; None where it is none
        self._spoke = False  # there was text for the user
        self._inputs: dict[int | None, str] = {}  # given whole where a call began, and needed if nothing follows

    def read_event(self, event: object) -> Iterable[str | CallDelta]:
        """What one event says; ModelError if it reports an error."""
        match field(event, "type"):
            case "content_block_delta":
                return self._read_delta(number(field(event, "index")), field(event, "delta"))
            case "content_block_start":
                return self._read_start(number(field(event, "index")), field(event, "content_block"))
            case "content_block_stop":
                at = number(field(event, "index"))
                held = self._inputs.pop(at, None)
                return () if held is None else (CallDelta(self._blocks[at], None, None, held),)
            case "message_delta":
                explanation = string(field(field(field(event, "delta"), "stop_details"), "explanation"))
                if explanation is None:
                    return ()
                return ("\n" + explanation if self._spoke else explanation,)
            case "error":
                error = field(event, "error")
                message, kind = string(field(error, "message")), string(field(error, "type"))
                raise ModelError(f"The server ended the stream with an error: {message or kind or error}", kind)
        return ()

    def _read_delta(self, at: int | None, delta: object) -> Iterable[str | CallDelta]:
        match field(delta, "type"):
            case "text_delta":
                return self._say(field(delta, "text"))
            case "input_json_delta":
                fragment = string(field(delta, "partial_json"))
                if not fragment:
                    return ()
                if at not in self._blocks:  # begun without a word; the call will be found to have no name
                    self._blocks[at] = self.begin_call()
                call = self._blocks[at]
                self._inputs.pop(at, None)
                return () if call is None else (CallDelta(call, None, None, fragment),)
        return ()

    def _say(self, text: object) -> Iterable[str]:
        if not isinstance(text, str) or not text:
            return ()
        self._spoke = True
        return (text,)

    def _read_start(self, at: int | None, block: object) -> Iterable[str | CallDelta]:
        self._blocks[at] = None
        match field(block, "type"):
            case "text":
                return self._say(field(block, "text"))
            case "tool_use":
                call = self._blocks[at] = self.begin_call()
                given = field(block, "input")
                if given and isinstance(given, dict):
                    self._inputs[at] = json.dumps(given)
                return (CallDelta(call, string(field(block, "id")), string(field(block, "name")), ""),)
        return ()
