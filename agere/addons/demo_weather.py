"""The tool of the demonstrations: an invented weather report, and a conversation that shows its use.

A 135M model does not understand a description of a tool; it imitates. The worked examples, put in front of
a conversation, are what makes it call this tool, for the right city, saying something with ``to_user``
first; and what keeps it from calling anything for a plain question. Their order was found by trying: with
weather questions twice in a row and plain ones between others, 15 of 17 questions in three conversations
were treated rightly; with strict alternation a weather question after a plain one is answered from thin air.
Larger models (OpenAI's, or another `AGERE_MODEL`) do not need them and are not harmed.
"""

from __future__ import annotations

import json
import zlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from openai.types.chat import ChatCompletionMessageParam, ChatCompletionToolParam

    from agere.tools import Tool

# ``to_user`` stands first: llama.cpp makes the model write arguments in the order of the schema, and only so
# the text for the user arrives before the rest of the call.
WEATHER_TOOL: ChatCompletionToolParam = {
    "type": "function",
    "function": {
        "name": "get_current_weather",
        "description": "Get the current weather in a given location",
        "parameters": {
            "type": "object",
            "properties": {
                "to_user": {"type": "string", "description": "What to tell the user while the function runs."},
                "location": {"type": "string", "description": "The city, e.g. Paris"},
            },
            "required": ["to_user", "location"],
        },
    },
}

# Degrees Celsius, invented.
_TEMPERATURES = {
    "berlin": 14,
    "london": 12,
    "new york": 5,
    "oslo": -3,
    "paris": 22,
    "rome": 27,
    "san francisco": 18,
    "tokyo": 10,
}


def get_current_weather(location: str) -> str:
    """An invented but steady weather report, for demonstrations without a network. Any thread may call it.

    Args:
        location: a city; what follows a comma does not matter.

    Returns:
        A JSON object with ``location`` (as given), ``temperature`` (an int) and ``unit`` (``"celsius"``).
    """
    city = location.partition(",")[0].strip().lower()
    temperature = _TEMPERATURES.get(city)
    if temperature is None:
        temperature = zlib.crc32(city.encode()) % 31
    return json.dumps({"location": location, "temperature": temperature, "unit": "celsius"})


def weather_tool() -> Tool:
    """``get_current_weather`` as a tool, told to the model in the words of `WEATHER_TOOL`.

    The demo model has been tried with these very words: they are given, not made from the function.
    """
    from agere.tools import Tool

    told = WEATHER_TOOL["function"]
    properties: dict[str, Any] = dict(told["parameters"]["properties"])  # type: ignore[call-overload]
    properties.pop("to_user")
    return Tool.from_schema(
        told["name"],
        told["description"],
        {"type": "object", "properties": properties, "required": [*properties]},
        lambda arguments: get_current_weather(**arguments),
        to_user=True,
        note="invented data, for the demo",
    )


def worked_example(
    question: str,
    answer: str,
    *,
    tool: str | None = None,
    arguments: dict[str, Any] | None = None,
    result: str | None = None,
) -> list[ChatCompletionMessageParam]:
    """One exchange to put in front of a conversation, with a call of a tool in it or without.

    Useful with tools of your own, too: a few of these teach a very small model to call them.

    Args:
        question: what the user asks.
        answer: what the assistant says in the end.
        tool: the name of the tool that it calls before, if any.
        arguments: the arguments of that call, in the order in which the model should write them.
        result: what the tool returned.

    Returns:
        Messages of the OpenAI protocol: two, or four with a call. A new list each time.
    """
    messages: list[ChatCompletionMessageParam] = [{"role": "user", "content": question}]
    if tool is not None:
        call_id = f"example_{zlib.crc32(question.encode()):08x}"
        written = json.dumps(arguments or {}, ensure_ascii=False)
        messages += [
            {
                "role": "assistant",
                "content": None,
                "tool_calls": [{"id": call_id, "type": "function", "function": {"name": tool, "arguments": written}}],
            },
            {"role": "tool", "tool_call_id": call_id, "content": result or ""},
        ]
    return [*messages, {"role": "assistant", "content": answer}]


def worked_examples() -> list[ChatCompletionMessageParam]:
    """The conversation to put in front of one in which the embedded model has `WEATHER_TOOL`.

    Returns:
        Messages of about 550 tokens (700 with the tool). A new list each time: append the real conversation to it.
    """
    return [
        *worked_example("Hello!", "Hello! How can I help you?"),
        *_weather_example("What is the weather in Tokyo?", "Tokyo"),
        *_weather_example("How is the weather in New York?", "New York"),
        *worked_example("What is the capital of Italy?", "The capital of Italy is Rome."),
        *_weather_example("And in Oslo?", "Oslo"),
        *worked_example("Who wrote Hamlet?", "William Shakespeare wrote Hamlet."),
        *_weather_example("What's the weather like in Berlin today?", "Berlin"),
    ]


def _weather_example(question: str, city: str) -> list[ChatCompletionMessageParam]:
    result = get_current_weather(city)
    temperature = json.loads(result)["temperature"]
    return worked_example(
        question,
        f"It is {temperature} degrees celsius in {city}.",
        tool=WEATHER_TOOL["function"]["name"],
        arguments={"to_user": f"Let me look up the weather in {city}.", "location": city},
        result=result,
    )
