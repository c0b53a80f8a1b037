"""The same scripted answer, split into the same two roles, in each wire format, with each format's own client."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterable, AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

import anthropic
import openai
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from agere import Commander, HandlerCoroutine, handler
from agere.errors import IncompleteAnswerError, ModelError, NodeTerminatedError, ToolCallParseError
from agere.testing import (
    Answer,
    Call,
    Gate,
    Raw,
    Refusal,
    ScriptedLLM,
    StreamError,
    Thinking,
    answer,
    cut,
    silent,
    text,
    tool_calls,
)
from agere.utils.dispatcher import (
    async_dispatcher_tools_call_for_anthropic,
    async_dispatcher_tools_call_for_openai,
    async_dispatcher_tools_call_for_openai_responses,
)
from agere.utils.llm_async_converters import LLMAsyncAdapter

DISPATCH = {
    "chat": async_dispatcher_tools_call_for_openai,
    "responses": async_dispatcher_tools_call_for_openai_responses,
    "messages": async_dispatcher_tools_call_for_anthropic,
}
formats = pytest.mark.parametrize("name", DISPATCH)


def ask(server: ScriptedLLM, name: str) -> Any:
    """A blocking stream."""
    if name == "chat":
        return server.client().chat.completions.create(model="m", messages=[], stream=True)
    if name == "responses":
        return server.client().responses.create(model="m", input="hi", stream=True)
    return server.anthropic_client().messages.create(model="m", max_tokens=9, messages=[], stream=True)


class AsyncClients:
    """The asynchronous clients of a server."""

    def __init__(self, server: ScriptedLLM) -> None:
        self.openai = server.async_client()
        self.anthropic = server.async_anthropic_client()

    async def ask(self, name: str) -> AsyncIterable[Any]:
        if name == "chat":
            return await self.openai.chat.completions.create(model="m", messages=[], stream=True)
        if name == "responses":
            return await self.openai.responses.create(model="m", input="hi", stream=True)
        return await self.anthropic.messages.create(model="m", max_tokens=9, messages=[], stream=True)


@asynccontextmanager
async def clients_of(server: ScriptedLLM) -> AsyncIterator[AsyncClients]:
    clients = AsyncClients(server)
    async with clients.openai, clients.anthropic:
        yield clients


async def told(generator: Any) -> list[Any]:
    """All items of a role; errors as what tells them apart."""
    found: list[Any] = []
    while True:
        try:
            found.append(await anext(generator))
        except StopAsyncIteration:
            return found
        except ToolCallParseError as error:
            found.append((type(error), error.message, error.name, error.id, error.raw))
        except Exception as error:
            found.append(error)


async def split(name: str, source: AsyncIterable[Any]) -> tuple[list[Any], list[Any]]:
    role = await DISPATCH[name](source)
    texts, calls = await asyncio.gather(told(role("to_user")), told(role("function_call")))
    return texts, calls


def said(texts: list[Any]) -> str:
    return "".join([item for item in texts if isinstance(item, str)])


# The same in all formats

values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=4), inner, max_size=3),
    max_leaves=5,
)
pieces = st.lists(st.integers(1, 7), min_size=1, max_size=4)
arguments = st.dictionaries(st.text(max_size=6) | st.just("to_user"), values, max_size=4)
broken = st.sampled_from(["", "{", '{"a": ', '{"to_user": "Hal', "[1]", '{"a": 1} x', '{"to_user": "\\u00'])
calls = st.builds(Call, st.sampled_from(["f", "get_weather"]), arguments | broken, pieces=pieces)
words = st.text(max_size=6) | st.builds(Refusal, st.text(max_size=6)) | st.builds(Thinking, st.text(max_size=6))
answers = st.builds(lambda parts: answer(*parts), st.lists(words | calls, max_size=5)) | st.builds(
    lambda made, mixed: tool_calls(*made, interleave=mixed), st.lists(calls, min_size=1, max_size=3), st.booleans()
)


def test_every_format_says_the_same() -> None:
    script: list[Answer] = []

    async def main() -> None:
        async with clients_of(server) as clients:
            loop = asyncio.get_running_loop()

            @settings(max_examples=80)
            @given(answers)
            def check(scripted: Answer) -> None:
                results = []
                for name in DISPATCH:
                    script.append(scripted)
                    going = asyncio.run_coroutine_threadsafe(heard(clients, name), loop)
                    results.append(going.result(20))
                assert results[1] == results[0]
                assert results[2] == results[0]

            await asyncio.to_thread(check)

    async def heard(clients: AsyncClients, name: str) -> Any:
        texts, made = await split(name, await clients.ask(name))
        return said(texts), made

    with ScriptedLLM(lambda request: script.pop()) as server:
        asyncio.run(main())


@formats
def test_what_it_is(name: str) -> None:
    script = answer(
        Thinking("Hm."),
        "Well. ",
        Refusal("No."),
        Call("weather", {"city": "Rome", "deep": {"to_user": "stays"}}, to_user='Ein "Møment" 😀\n', pieces=(1,)),
        Call("clock", id="x"),
    )

    async def main() -> None:
        async with clients_of(server) as clients:
            texts, made = await split(name, await clients.ask(name))
        assert said(texts) == 'Well. No.\nEin "Møment" 😀\n'
        assert [json.loads(call) for call in made] == [
            {
                "tool_call_index": 0,
                "tool_call_id": "call_0",
                "name": "weather",
                "arguments": {"city": "Rome", "deep": {"to_user": "stays"}},
            },
            {"tool_call_index": 1, "tool_call_id": "x", "name": "clock", "arguments": {}},
        ]

    with ScriptedLLM([script]) as server:
        asyncio.run(main())


@formats
def test_text_for_the_user_comes_while_the_call_is_still_arriving(name: str) -> None:
    gate = Gate()
    script = answer(Call("weather", ['{"to_user": "Look', gate, 'ing.", "city": "Rome"}']))

    async def main() -> None:
        async with clients_of(server) as clients:
            role = await DISPATCH[name](await clients.ask(name))
            texts, made = role("to_user"), role("function_call")
            assert await anext(texts) == "Look"
            gate.release()
            assert await anext(texts) == "ing."
            assert json.loads(await anext(made))["arguments"] == {"city": "Rome"}
            await texts.aclose()
            await made.aclose()

    with ScriptedLLM([script]) as server:
        asyncio.run(main())


@formats
def test_a_blocking_client_within_a_commander(name: str) -> None:
    @handler
    async def reply(self: HandlerCoroutine[Any], stream: Callable[[], Any]) -> list[Any]:
        role = await DISPATCH[name](LLMAsyncAdapter().llm_to_async_iterable(stream))
        async with role("to_user") as texts, role("function_call") as made:
            async for item in texts:
                self.emit(item)
            return [json.loads(call)["arguments"] async for call in made]

    with ScriptedLLM([answer("Well. ", Call("f", {"a": 1}, to_user="I look."))]) as server, Commander() as commander:
        future = commander.submit(reply(lambda: ask(server, name)))
        assert "".join(future.stream()) == "Well. \nI look."
        assert future.result() == [{"a": 1}]


# Leaving


@formats
@pytest.mark.parametrize("way", ["cancel", "break"])
def test_the_server_sees_that_a_blocked_reader_is_stopped(name: str, way: str) -> None:
    @handler
    async def reply(self: HandlerCoroutine[Any], stream: Callable[[], Any]) -> None:
        role = await DISPATCH[name](LLMAsyncAdapter().llm_to_async_iterable(stream))
        async for item in role("to_user"):
            self.emit(item)

    with ScriptedLLM([silent("a")]) as server, Commander() as commander:
        future = commander.submit(reply(lambda: ask(server, name)))
        stream = future.stream()
        assert next(stream) == "a"
        if way == "cancel":
            future.cancel()
            with pytest.raises(NodeTerminatedError):
                future.result()
        else:
            stream.close()
        assert server.wait_request().wait_disconnected(5)


@formats
def test_the_server_sees_that_an_asynchronous_client_leaves(name: str) -> None:
    async def main() -> None:
        async with clients_of(server) as clients:
            role = await DISPATCH[name](await clients.ask(name))
            async with role("to_user") as texts:
                assert await anext(texts) == "a"
            assert await asyncio.to_thread(server.wait_request().wait_disconnected, 5)

    with ScriptedLLM([silent("a")]) as server:
        asyncio.run(main())


# Errors, after everything before them


def read(script: Answer, name: str) -> tuple[list[Any], list[Any]]:
    async def main() -> tuple[list[Any], list[Any]]:
        async with clients_of(server) as clients:
            return await split(name, await clients.ask(name))

    with ScriptedLLM([script]) as server:
        return asyncio.run(main())


ERRORS = {"chat": openai.APIError, "responses": ModelError, "messages": anthropic.APIStatusError}


@formats
def test_an_error_in_the_stream(name: str) -> None:
    whole = Call("f", {"a": 1})
    script = answer("Well. ", whole, Call("g", ['{"to_user": "Hal', StreamError("overloaded", "overloaded_error")]))
    texts, made = read(script, name)
    assert said(texts) == "Well. \nHal"
    assert json.loads(made[0])["name"] == "f"
    for error in (texts[-1], made[-1]):
        assert isinstance(error, ERRORS[name])
        assert "overloaded" in str(error)
    assert len(made) == 2


@formats
def test_a_connection_that_drops(name: str) -> None:
    texts, made = read(cut("a", "b"), name)
    assert said(texts) == "ab"
    assert isinstance(texts[-1], Exception)
    assert [type(error) for error in made] == [type(texts[-1])]


@formats
def test_an_answer_that_runs_out_of_tokens(name: str) -> None:
    texts, made = read(text("Once upon a", finish_reason="length"), name)
    assert (said(texts), made) == ("Once upon a", [])
    script = answer("Well. ", Call("f", '{"to_user": "Loo', pieces=(3,)), finish_reason="length")
    texts, made = read(script, name)
    assert said(texts) == "Well. \nLoo"
    assert made == [
        (
            ToolCallParseError,
            "The arguments of the tool call 'f' are cut off.",
            "f",
            "call_0",
            '{"to_user": "Loo',
        )
    ]


def test_a_response_that_a_filter_ends_is_an_error() -> None:
    texts, made = read(answer("a", finish_reason="content_filter"), "responses")
    for items in (texts, made):
        assert isinstance(items[-1], IncompleteAnswerError)
        assert items[-1].code == "content_filter"
    assert said(texts) == "a"


def test_a_response_that_fails() -> None:
    failed = {"type": "response.failed", "sequence_number": 9, "response": {"error": {"code": "x", "message": "gone"}}}
    event = Raw(b"event: response.failed\ndata: " + json.dumps(failed).encode() + b"\n\n")
    texts, made = read(answer("a", event), "responses")
    assert said(texts) == "a"
    assert (str(made[0]), made[0].code) == ("The server ended the stream with an error: gone", "x")


@pytest.mark.parametrize("name", ["responses", "messages"])
def test_events_of_the_future_are_passed_over(name: str) -> None:
    event = Raw(b'event: news\ndata: {"type": "news", "delta": {"type": "text_delta", "text": "x"}, "index": 0}\n\n')
    texts, made = read(answer("a", event, "b", Call("f", ['{"a"', event, ": 1}"])), name)
    assert said(texts) == "ab"
    assert json.loads(made[0])["arguments"] == {"a": 1}


@pytest.mark.parametrize("name", ["responses", "messages"])
def test_the_clients_stream_helpers_are_sources_too(name: str) -> None:
    script = answer("Well. ", Call("f", {"a": 1}, to_user="I look."))

    async def main() -> None:
        async with clients_of(server) as clients:
            if name == "responses":
                async with clients.openai.responses.stream(model="m", input="hi") as events:
                    texts, made = await split(name, events)
            else:
                async with clients.anthropic.messages.stream(model="m", max_tokens=9, messages=[]) as messages:
                    texts, made = await split(name, messages)
        assert said(texts) == "Well. \nI look."
        assert [json.loads(call)["arguments"] for call in made] == [{"a": 1}]

    with ScriptedLLM([script]) as server:
        asyncio.run(main())
