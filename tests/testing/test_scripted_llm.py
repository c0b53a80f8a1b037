"""The scripted server, seen with the eyes of the real client."""

from __future__ import annotations

import itertools
import json
import socket
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from time import monotonic
from typing import Any
from urllib.parse import urlsplit

import openai
import pytest
from hypothesis import given
from hypothesis import strategies as st

from agere.testing import (
    Answer,
    Call,
    Delay,
    Delta,
    Gate,
    Raw,
    Request,
    ScriptedLLM,
    ScriptError,
    cut,
    error_in_stream,
    failing,
    late,
    silent,
    text,
    tool_calls,
)
from tests.support.subprocesses import run_python


def stream(server: ScriptedLLM, **options: Any) -> Any:
    return server.client().chat.completions.create(model="m", messages=[], stream=True, **options)


def words(chunks: Any) -> str:
    return "".join(chunk.choices[0].delta.content or "" for chunk in chunks if chunk.choices)


@contextmanager
def telling(script: Any, problem: str) -> Iterator[ScriptedLLM]:
    """A server that has something to say when it is left."""
    with pytest.raises(ScriptError, match=problem), ScriptedLLM(script) as server:
        yield server


def test_answers_come_in_order_streamed_or_whole() -> None:
    with ScriptedLLM(["one two", text("Hel", "lo"), lambda request: str(request["temperature"])]) as server:
        assert words(stream(server)) == "one two"
        whole = server.client().chat.completions.create(model="m", messages=[])
        assert whole.choices[0].message.content == "Hello"
        assert whole.choices[0].finish_reason == "stop"
        assert words(stream(server, temperature=0.5)) == "0.5"


def test_a_script_that_runs_out_is_told_to_client_and_test() -> None:
    problem = r"no answer for request 2 \(POST /v1/chat/completions\).*used up after 1"
    with telling(["one"], problem) as server:
        assert words(stream(server)) == "one"
        with pytest.raises(openai.BadRequestError, match="no answer for request 2"):
            stream(server)
        assert len(server.problems) == 1
        assert len(server.requests) == 2


def test_a_problem_does_not_hide_the_tests_own_error_and_can_be_meant() -> None:
    with pytest.raises(ZeroDivisionError) as caught, ScriptedLLM() as server:  # noqa: PT012
        with pytest.raises(openai.BadRequestError):
            stream(server)
        raise ZeroDivisionError
    assert "no answer for request 1" in caught.value.__notes__[0]
    with ScriptedLLM() as server:
        with pytest.raises(openai.BadRequestError):
            stream(server)
        server.problems.clear()


def failing_function(request: Request) -> str:
    return str(request["nothing"])


@pytest.mark.parametrize(
    ("entry", "problem"),
    [
        (failing_function, r"failing_function raised KeyError\('nothing'\) for request 1"),
        (lambda request: 7, "returned for request 1 is 7. An answer is"),
        (lambda request: failing_function, "is the function failing_function, not an answer"),
    ],
    ids=["raises", "no answer", "function"],
)
def test_functions_that_go_wrong(entry: Any, problem: str) -> None:
    with telling([entry], problem) as server, pytest.raises(openai.BadRequestError):
        stream(server)


def test_an_endless_script_and_one_that_raises() -> None:
    with ScriptedLLM(f"answer {number}" for number in itertools.count()) as server:
        assert [words(stream(server)) for _ in range(3)] == ["answer 0", "answer 1", "answer 2"]

    def script() -> Any:
        yield "one"
        raise ValueError("broke")

    with telling(script(), "The script raised ValueError") as server:
        assert words(stream(server)) == "one"
        with pytest.raises(openai.BadRequestError):
            stream(server)


def test_what_is_not_served_is_a_problem() -> None:
    with telling([], "POST /v1/embeddings: served are POST /v1/chat/completions") as server:
        assert [model.id for model in server.client().models.list()] == ["scripted"]
        with pytest.raises(openai.NotFoundError):
            server.client().embeddings.create(model="m", input="x")


def test_a_client_that_leaves_before_its_request_is_whole_is_none() -> None:
    with ScriptedLLM(["Fine."]) as server:
        address = urlsplit(server.base_url)
        with socket.create_connection((address.hostname, address.port)) as connection:
            connection.sendall(b"POST /v1/chat/completions HTTP/1.1\r\nContent-Length: 100\r\n\r\n{")
            connection.shutdown(socket.SHUT_WR)
            assert connection.recv(1) == b""  # it hangs up without an answer
        assert server.requests == []
        assert words(stream(server)) == "Fine."


def test_a_delay_a_late_answer_and_a_client_that_does_not_wait() -> None:
    with ScriptedLLM([late(text("a", Delay(0.02), "b"), 0.02), text("a", Delay(3600))]) as server:
        start = monotonic()
        assert words(stream(server)) == "ab"
        assert monotonic() - start >= 0.04
        chunks = stream(server)
        assert words([next(chunks), next(chunks)]) == "a"
        chunks.close()
        assert server.wait_request(2).wait_disconnected()


def test_a_gate_within_the_arguments_of_a_call() -> None:
    gate = Gate()
    with ScriptedLLM([Call("weather", ['{"to_user": "Look', gate, 'ing", "city": "Rome"}'])]) as server:
        chunks = stream(server)
        got = [next(chunks) for _ in range(3)]
        assert got[2].choices[0].delta.tool_calls[0].function.arguments == '{"to_user": "Look'
        assert gate.wait_reached()
        gate.release()
        assert next(chunks).choices[0].delta.tool_calls[0].function.arguments == 'ing", "city": "Rome"}'


def test_a_whole_answer_waits_breaks_off_and_fails_likewise() -> None:
    gate = Gate()
    gate.release()
    with ScriptedLLM([text("a", gate, "b"), cut("a"), error_in_stream("a", message="broke")]) as server:
        client = server.client()
        assert client.chat.completions.create(model="m", messages=[]).choices[0].message.content == "ab"
        with pytest.raises(openai.APIConnectionError):
            client.chat.completions.create(model="m", messages=[])
        with pytest.raises(openai.InternalServerError, match="broke"):
            client.chat.completions.create(model="m", messages=[])


def test_no_client_is_imported_until_one_is_made() -> None:
    run_python(
        """
        import sys
        from agere.testing import Call, ScriptedLLM, text
        with ScriptedLLM([text("a"), Call("f")]) as server:
            assert not {"openai", "anthropic", "httpx", "httpx2", "pydantic"} & set(sys.modules)
            server.client()
            assert "openai" in sys.modules and "anthropic" not in sys.modules
        """
    ).check()


def test_a_missing_package_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "anthropic", None)
    with ScriptedLLM() as server, pytest.raises(ImportError, match=r"pip install 'agere\[anthropic\]'"):
        server.anthropic_client()


def test_how_many_answers_are_left() -> None:
    with ScriptedLLM(["One.", "Two."]) as server:
        assert server.remaining == 2
        words(stream(server))
        assert server.remaining == 1
    with ScriptedLLM(lambda _: "Fine.") as endless, ScriptedLLM(iter(["One."])) as iterator:
        assert endless.remaining is None
        assert iterator.remaining is None


def test_one_function_answers_all() -> None:
    with ScriptedLLM(lambda request: f"{len(request['messages'])} messages") as server:
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
    with ScriptedLLM(lambda request: answers.pop(0)) as server:
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
    with ScriptedLLM(lambda request: text("a", gate, "b")) as server:
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
