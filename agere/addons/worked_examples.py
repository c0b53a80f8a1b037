"""Worked examples of any tool, for models so small that they imitate instead of reading a description.

The embedded demo model calls a tool reliably only after it has seen the very tool at work. ``examples_of`` makes up
such a conversation from the tool's schema: a few calls with invented arguments and invented results, and plain
questions with plain answers between them, so that it does not call tools for everything. Nothing is run for it. What
the examples must look like was found by trying (demo_weather.py says more): every form of question that is to lead to
a call should occur, and the results must be of no particular kind, or the model repeats them instead of the real one.

Larger models neither get nor need any of this.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from agere.addons.demo_weather import WEATHER_TOOL, worked_example, worked_examples

if TYPE_CHECKING:
    from openai.types.chat import ChatCompletionMessageParam, ChatCompletionToolParam

_MOST_CALLS = 8  # each is some 60 tokens of a context of 4096
_CALLS_OF_ONE = 4
_SHORT = 5  # words of a description that can stand in a question
_DEPTH = 4  # of made up objects; schemas can contain themselves

# After which calls a plain question stands. With strict alternation the model calls nothing after a plain question.
_PLAIN = {
    1: ("What is the capital of Italy?", "The capital of Italy is Rome."),
    2: ("Who wrote Hamlet?", "William Shakespeare wrote Hamlet."),
    4: ("What is the largest planet?", "The largest planet is Jupiter."),
    6: ("How many days are in a week?", "There are seven days in a week."),
}
_RESULTS = ("17 A, calm", "3 B, busy", "8 C, quiet", "5 D, loud")
_WORDS_AS_RESULTS = ("ready", "B 3 seen", "4 of them", "stored in blue")
_VERBS = ("get", "fetch", "find", "look", "lookup", "read", "show", "query", "check", "give", "tell")

_PLACE = (
    ("What is the {topic} in {value}?", "In {value} it is {result}."),
    ("How is it in {value}?", "In {value} it is {result}."),
    ("What is it like in {value}?", "In {value} it is {result}."),
    ("What's the {topic} like in {value} today?", "In {value} it is {result}."),
)
_ANYTHING = (
    ("Please {action} {value}.", "Here it is: {result}."),
    ("Can you {action} {value}?", "Here it is: {result}."),
    ("{Action} {value}.", "Here it is: {result}."),
    ("What does {name} say about {value}?", "Here it is: {result}."),
)
_NOTHING = (
    ("What is the {topic}?", "It is {result}."),
    ("Please {action}.", "It is {result}."),
    ("Can you tell me the {topic}?", "It is {result}."),
    ("{Action}, please.", "It is {result}."),
)
_WORDS: dict[str, tuple[str, ...]] = {
    "place": ("Rome", "Oslo", "Tokyo", "Berlin"),
    "person": ("Ann", "Peter", "Maria", "John"),
    "file": ("notes.txt", "todo.md", "data.csv", "report.pdf"),
    "date": ("2024-05-01", "2024-06-12", "2024-07-23", "2024-08-30"),
    "url": ("http://a.example", "http://b.example", "http://c.example", "http://d.example"),
    "text": ("bees", "old maps", "blue paint", "train tickets"),
}
_NAMES = (
    ("place", ("location", "city", "place", "town", "country", "region", "where")),
    ("person", ("person", "user", "who", "customer", "recipient", "author", "name")),
    ("file", ("file", "path", "filename", "directory", "folder")),
    ("date", ("date", "day", "when")),
    ("url", ("url", "link", "address", "uri")),
)


def examples_of(tools: Sequence[ChatCompletionToolParam]) -> list[ChatCompletionMessageParam]:
    """Any thread. A conversation to put in front of one in which a very small model has these tools.

    Args:
        tools: their descriptions in the OpenAI protocol.

    Returns:
        Messages of the OpenAI protocol, a new list each time; none without tools.
    """
    if not tools:
        return []
    if [*tools] == [WEATHER_TOOL]:
        return worked_examples()
    each = max(1, min(_CALLS_OF_ONE, _MOST_CALLS // len(tools)))
    messages = worked_example("Hello!", "Hello! How can I help you?")
    calls = [_call(tool, number) for number in range(each) for tool in tools[:_MOST_CALLS]]
    for number, call in enumerate(calls):
        messages += call
        if number in _PLAIN and number + 1 < len(calls):
            messages += worked_example(*_PLAIN[number])
    return messages


def _call(tool: ChatCompletionToolParam, number: int) -> list[ChatCompletionMessageParam]:
    """The ``number``-th example of a tool: question, call, result, answer."""
    function = tool["function"]
    name = function["name"]
    parameters: Mapping[str, Any] = function.get("parameters") or {}
    properties: Mapping[str, Any] = parameters.get("properties") or {}
    wanted = [one for one in parameters.get("required") or () if one in properties and one != "to_user"]
    if not wanted:
        wanted = [one for one in properties if one != "to_user"][:1]
    made = _Made(parameters, number)
    arguments = {one: made.value(one, properties[one]) for one in properties if one in wanted}
    value = " and ".join(_written(one) for one in arguments.values())
    words = _words(name)
    topic = " ".join(words[1:] if words[0] in _VERBS and len(words) > 1 else words)
    if not arguments:
        forms = _NOTHING
        about = _words(function.get("description") or "")
        if len(about) <= _SHORT:
            topic = " ".join(about).removeprefix("the ") or topic
    elif _kind(wanted[0]) == "place" and properties[wanted[0]].get("type") == "string" and len(arguments) == 1:
        forms = _PLACE
    else:
        forms = _ANYTHING
    action = " ".join(words)
    results = _WORDS_AS_RESULTS if forms is _ANYTHING else _RESULTS
    filling = {
        "name": name,
        "action": action,
        "Action": action.capitalize(),
        "topic": topic,
        "value": value,
        "result": results[number % len(results)],
    }
    question, answer = forms[number % len(forms)]
    if "to_user" in properties:
        # In the order of the schema, in which the runtime makes the model write them.
        said = f"Let me {action}{f': {value}' if value else ''}."
        arguments = {one: said if one == "to_user" else arguments.get(one) for one in properties}
        arguments = {one: value for one, value in arguments.items() if one == "to_user" or one in wanted}
    return worked_example(
        question.format(**filling),
        answer.format(**filling),
        tool=name,
        arguments=arguments,
        result=filling["result"],
    )


class _Made:
    """Makes up arguments."""

    def __init__(self, parameters: Mapping[str, Any], number: int) -> None:
        self._definitions: Mapping[str, Any] = parameters.get("$defs") or {}
        self._number = number

    def value(self, name: str, schema: Mapping[str, Any], depth: int = 0) -> Any:
        """Something that fits a schema, as far as it is easily told."""
        schema = self._resolved(schema)
        if choices := schema.get("enum") or [schema[key] for key in ("const",) if key in schema]:
            return choices[self._number % len(choices)]
        kind = schema.get("type")
        if kind == "array":
            return [self.value(name, schema.get("items") or {}, depth + 1)] if depth < _DEPTH else []
        if kind == "object":
            inner: Mapping[str, Any] = schema.get("properties") or {}
            wanted = [one for one in schema.get("required") or () if one in inner] if depth < _DEPTH else []
            return {one: self.value(one, inner[one], depth + 1) for one in wanted}
        if kind == "boolean":
            return self._number % 2 == 0
        if kind in ("integer", "number"):
            return max(int(schema.get("minimum", 0)), (3, 7, 12, 5)[self._number % 4])
        words = _WORDS[_kind(name)]
        return words[self._number % len(words)]

    def _resolved(self, schema: Mapping[str, Any]) -> Mapping[str, Any]:
        for _ in range(_DEPTH):
            if reference := schema.get("$ref"):
                schema = self._definitions.get(str(reference).rpartition("/")[2], {})
            elif choices := schema.get("anyOf") or schema.get("oneOf") or schema.get("allOf"):
                schema = next((one for one in choices if one.get("type") != "null"), {})
            else:
                break
        return schema


def _kind(name: str) -> str:
    words = _words(name)
    return next((kind for kind, names in _NAMES if any(word in names for word in words)), "text")


def _words(name: str) -> list[str]:
    return re.sub(r"(?<=[a-z])(?=[A-Z])|[_\W]+", " ", name).lower().split() or [name]


def _written(value: Any) -> str:
    return value if isinstance(value, str) else repr(value)
