"""The scripted server, seen with the eyes of the real client."""

from __future__ import annotations

import json
import threading
from typing import Any

import openai
import pytest
from hypothesis import given
from hypothesis import strategies as st

from agere.testing.scripted_llm import (
    Answer,
    Call,
    Delta,
    Gate,
    Raw,
    ScriptedLLM,
    cut,
    error_in_stream,
    failing,
    silent,
    text,
    tool_calls,
)


def stream(server: ScriptedLLM, **options: Any) -> Any:
    return server.client().chat.completions.create(model="m", messages=[], stream=True, **options)


def words(chunks: Any) -> str:
    return "".join(chunk.choices[0].delta.content or "" for chunk in chunks if chunk.choices)


def test_answers_come_in_order_streamed_or_whole() -> None:
    with ScriptedLLM(["one two", text("Hel", "lo"), lambda body: str(body["temperature"])]) as server:
        assert words(stream(server)) == "one two"
        whole = server.client().chat.completions.create(model="m", messages=[])
        assert whole.choices[0].message.content == "Hello"
        assert whole.choices[0].finish_reason == "stop"
        assert words(stream(server, temperature=0.5)) == "0.5"
        with pytest.raises(openai.BadRequestError, match="no answer for request 4"):
            stream(server)


def test_one_function_answers_all() -> None:
    with ScriptedLLM(lambda body: f"{len(body['messages'])} messages") as server:
        assert [words(stream(server)) for _ in range(3)] == ["0 messages"] * 3


def test_requests_are_recorded_without_the_key() -> None:
    with ScriptedLLM(["fine"]) as server:
        server.client(api_key="sk-secret").chat.completions.create(
            model="m", messages=[{"role": "user", "content": "hi"}], extra_headers={"X-Mine": "1"}
        )
        request = server.wait_request()
        assert request.body["messages"] == [{"role": "user", "content": "hi"}]
        assert request.headers["x-mine"] == "1"
        assert "sk-secret" not in repr(vars(request))
        assert request.wait_answered()
        assert not request.disconnected
        assert server.requests == [request]


def test_tool_calls_come_whole_however_they_are_cut() -> None:
    answers: list[Answer] = []
    with ScriptedLLM(lambda body: answers.pop(0)) as server:
        client = server.client()

        @given(
            arguments=st.dictionaries(st.text(max_size=5), st.integers() | st.text(max_size=20), max_size=4),
            pieces=st.lists(st.integers(1, 9), min_size=1, max_size=4),
            interleave=st.booleans(),
        )
        def check(arguments: dict[str, Any], pieces: list[int], interleave: bool) -> None:
            calls = [
                Call("weather", arguments, to_user='One "moment"\n', pieces=pieces),
                Call("clock", '{"broken": ', id="x7", pieces=pieces),
            ]
            for read in (streamed_calls, whole_calls):
                answers.append(tool_calls(*calls, interleave=interleave))
                got = read(client)
                assert [call[:2] for call in got] == [("call_0", "weather"), ("x7", "clock")]
                assert json.loads(got[0][2]) == {"to_user": 'One "moment"\n'} | arguments
                assert got[1][2] == '{"broken": '

        check()


def whole_calls(client: openai.OpenAI) -> list[tuple[str, str, str]]:
    message: Any = client.chat.completions.create(model="m", messages=[]).choices[0].message
    return [(call.id, call.function.name, call.function.arguments) for call in message.tool_calls]


def streamed_calls(client: openai.OpenAI) -> list[tuple[str, str, str]]:
    parts: dict[int, list[str]] = {}
    for chunk in client.chat.completions.create(model="m", messages=[], stream=True):
        for call in chunk.choices[0].delta.tool_calls or ():
            part = parts.setdefault(call.index, ["", "", ""])
            part[0] += call.id or ""
            assert call.function is not None
            part[1] += call.function.name or ""
            part[2] += call.function.arguments or ""
    return [(parts[index][0], parts[index][1], parts[index][2]) for index in sorted(parts)]


def test_a_gate_holds_back_what_comes_after_it() -> None:
    gate = Gate()
    with ScriptedLLM([text("a", gate, "b")]) as server:
        chunks = stream(server)
        assert words([next(chunks), next(chunks)]) == "a"
        assert gate.wait_reached()
        gate.release()
        assert words(chunks) == "b"


def test_a_gate_before_the_headers() -> None:
    gate = Gate()
    with ScriptedLLM([Answer(text("late").steps, before_headers=gate)]) as server:
        got: list[str] = []
        reader = threading.Thread(target=lambda: got.append(words(stream(server))))
        reader.start()
        assert gate.wait_reached()
        assert got == []
        gate.release()
        reader.join()
        assert got == ["late"]


@pytest.mark.parametrize("answer", [silent("a"), text("a", Gate())], ids=["silent", "gate"])
def test_the_server_sees_that_a_client_leaves(answer: Answer) -> None:
    with ScriptedLLM([answer]) as server:
        chunks = stream(server)
        next(chunks)
        request = server.wait_request()
        assert not request.wait_disconnected(0)
        chunks.close()
        assert request.wait_disconnected()


def test_a_cut_connection() -> None:
    with ScriptedLLM([cut("a")]) as server:
        chunks = stream(server)
        assert words([next(chunks), next(chunks)]) == "a"
        with pytest.raises(openai.APIConnectionError):
            next(chunks)
        assert server.wait_request().wait_answered()
        assert not server.wait_request().disconnected, "it was not the client"


@pytest.mark.parametrize(
    ("status", "error"),
    [(401, openai.AuthenticationError), (429, openai.RateLimitError), (500, openai.InternalServerError)],
)
def test_http_errors(status: int, error: type[openai.APIStatusError]) -> None:
    with ScriptedLLM([failing(status, "so it is", retry_after="7")]) as server:
        with pytest.raises(error, match="so it is") as caught:
            stream(server)
        assert caught.value.response.headers["retry-after"] == "7"


def test_an_error_within_the_stream() -> None:
    with ScriptedLLM([error_in_stream("a", message="broke")]) as server:
        chunks = stream(server)
        assert words([next(chunks), next(chunks)]) == "a"
        with pytest.raises(openai.APIError, match="broke"):
            next(chunks)


def test_strange_chunks_and_usage() -> None:
    odd = Answer([Raw(b": comment\n\n"), Delta(None), Raw(b'data: {"choices": []}\n\n'), Delta({"content": "x"})])
    with ScriptedLLM([odd]) as server:
        chunks = list(stream(server, stream_options={"include_usage": True}))
        assert [bool(chunk.choices) for chunk in chunks] == [True, False, True, False]
        assert chunks[0].choices[0].delta is None
        assert chunks[-1].usage.total_tokens == 3


def test_closing_ends_answers_under_way_and_is_idempotent() -> None:
    server = ScriptedLLM([silent("a"), silent(headers=False)])
    chunks = stream(server)
    next(chunks)
    failed: list[BaseException] = []

    def wait() -> None:
        try:
            stream(server)
        except openai.APIConnectionError as error:
            failed.append(error)

    waiting = threading.Thread(target=wait)
    waiting.start()
    server.wait_request(2)
    server.close()
    server.close()
    waiting.join()
    assert len(failed) == 1
    chunks.close()


def test_many_at_once() -> None:
    gate = Gate()
    with ScriptedLLM(lambda body: text("a", gate, "b")) as server:
        client = server.client()
        got: list[str] = []

        def read() -> None:
            got.append(words(client.chat.completions.create(model="m", messages=[], stream=True)))

        readers = [threading.Thread(target=read) for _ in range(30)]
        for reader in readers:
            reader.start()
        server.wait_request(30)
        gate.release()
        for reader in readers:
            reader.join()
        assert got == ["ab"] * 30
