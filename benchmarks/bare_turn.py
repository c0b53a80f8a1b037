"""The floor of a tool turn: a synchronous loop over the streams of the ``openai`` client, with nothing around it."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from benchmarks.scripted_server import ANSWER, TO_USER

if TYPE_CHECKING:
    import openai

QUESTION = {"role": "user", "content": "What is the weather in Paris?"}


def get_weather(place: str) -> str:
    return f"22 degrees in {place}"


def with_result(messages: list[Any], call: dict[str, Any], result: str) -> list[Any]:
    """The conversation after the tool has run."""
    arguments = json.dumps(call["arguments"])
    asked = {"id": call["id"], "type": "function", "function": {"name": call["name"], "arguments": arguments}}
    return [
        *messages,
        {"role": "assistant", "content": None, "tool_calls": [asked]},
        {"role": "tool", "tool_call_id": call["id"], "content": result},
    ]


def bare_turn(client: openai.OpenAI, **options: Any) -> str:
    """A loop over the stream, twice. Nobody else gets to do anything meanwhile.

    Args:
        client: of the scripted server.
        options: of the requests, such as ``tools``: what stands beside it makes the same ones.
    """
    messages: list[Any] = [QUESTION]
    said: list[str] = []
    while True:
        name = call_id = ""
        arguments: list[str] = []
        for chunk in client.chat.completions.create(model="any", messages=messages, stream=True, **options):
            if not chunk.choices:  # the usage
                continue
            delta = chunk.choices[0].delta
            if delta.content:
                said.append(delta.content)
            for call in delta.tool_calls or ():
                call_id = call.id or call_id
                if call.function is not None:
                    name = call.function.name or name
                    arguments.append(call.function.arguments or "")
        if not name:
            return "".join(said)
        parsed = json.loads("".join(arguments))
        said.append(parsed.pop("to_user"))
        call_made = {"id": call_id, "name": name, "arguments": parsed}
        messages = with_result(messages, call_made, get_weather(**parsed))


def check(said: str) -> None:
    """Raise AssertionError if a turn has not given all that the model said."""
    if said != TO_USER + ANSWER:
        raise AssertionError(f"the model said something else: {said!r}")
