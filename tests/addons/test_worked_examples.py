"""Worked examples that are made up from a tool's schema. What the model makes of them is tried with the real one."""

from __future__ import annotations

import enum
import json
from typing import Any, Literal

import pytest
from pydantic import BaseModel

import agere
from agere.addons.demo_weather import weather_tool, worked_examples
from agere.addons.local_llm import LocalLLM
from agere.addons.worked_examples import examples_of
from agere.testing import ScriptedLLM
from agere.tools import tool
from tests.support.local_llm import MODEL_TIMEOUT


class Size(enum.Enum):
    SMALL = "small"
    LARGE = "large"


class Address(BaseModel):
    street: str
    number: int
    next: Address | None = None


def weather(location: str) -> str:
    """Current weather in a city."""
    return "22 C, clear"


def order(
    what: Literal["tea", "coffee"], size: Size, to: Address, notes: list[str], hot: bool, sugar: float = 0
) -> str:
    """Order something."""
    return "ordered"


def now() -> str:
    """The current time."""
    return "12:00"


def recursive(tree: dict[str, Any]) -> str:
    """Take anything."""
    return "taken"


@pytest.mark.parametrize("function", [weather, order, now, recursive])
@pytest.mark.parametrize("to_user", [False, True])
def test_the_calls_fit_the_tool(function: Any, to_user: bool) -> None:
    made = tool(function, to_user=to_user)
    messages = examples_of([made.schema])
    calls = [
        (call["function"]["name"], json.loads(call["function"]["arguments"]))
        for message in messages
        for call in message.get("tool_calls") or ()  # type: ignore[union-attr, attr-defined]
    ]
    assert len(calls) == 4
    for name, arguments in calls:
        assert name == made.name
        made.read(arguments)
        assert list(arguments)[:1] == (["to_user"] if to_user else list(arguments)[:1])
    roles = [message["role"] for message in messages]
    assert roles[0] == "user"
    assert roles[-1] == "assistant"
    plain = [message for message in messages if message["role"] == "user"]
    assert len(plain) == 7  # a greeting, four calls, two questions without
    assert messages == examples_of([made.schema])
    assert messages is not examples_of([made.schema])


def test_several_tools_share_the_room() -> None:
    tools = [tool(weather, name=f"tool_{number}") for number in range(20)]
    messages = examples_of([one.schema for one in tools])
    assert sum("tool_calls" in message for message in messages) == 8
    assert examples_of([]) == []


def test_the_demo_weather_has_its_own() -> None:
    assert examples_of([weather_tool().schema]) == worked_examples()


def test_they_stand_behind_the_system_message() -> None:
    from agere.chat import ChatModel, Conversation

    conversation = Conversation("Be brief.")
    with ScriptedLLM(["Fine."] * 2) as server:
        model = ChatModel(server.client(), "small", "small", imitates=True)
        agere.run(agere.Chat([weather], model, conversation=conversation).turn("Hi"))
        agere.run(agere.Chat((), model).turn("Hi"))
        first, second = (request.body["messages"] for request in server.requests)
    assert first[0] == {"role": "system", "content": "Be brief."}
    assert first[1:-1] == examples_of([tool(weather).schema])
    assert second == [{"role": "user", "content": "Hi"}]
    assert len(conversation.messages) == 3


@pytest.mark.timeout(MODEL_TIMEOUT)
def test_the_demo_model_calls_a_tool_that_it_has_never_seen(local_llm: LocalLLM) -> None:
    from agere.chat import ChatModel

    model = ChatModel(local_llm.client(), local_llm.model, "embedded", embedded=True, imitates=True, memory=1500)
    with agere.Chat([weather], model) as chat:
        answer = agere.run(chat.turn("What is it like in Paris?"))
    assert [call.name for call in answer.tool_calls] == ["weather"]
    assert answer.text
    assert answer.usage is not None
