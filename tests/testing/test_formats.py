"""One script, played in each wire format, heard by each format's own client and its own model of the answer."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import anthropic
import openai
import pytest

from agere.testing import (
    Answer,
    Call,
    Delta,
    Gate,
    Raw,
    Refusal,
    ScriptedLLM,
    Thinking,
    Usage,
    answer,
    cut,
    error_in_stream,
    failing,
    silent,
    text,
    tool_calls,
)


def ask_chat(server: ScriptedLLM, **options: Any) -> Any:
    return server.client().chat.completions.create(model="m", messages=[], **options)


def ask_responses(server: ScriptedLLM, **options: Any) -> Any:
    return server.client().responses.create(model="m", input="hi", **options)


def ask_messages(server: ScriptedLLM, **options: Any) -> Any:
    return server.anthropic_client().messages.create(model="m", max_tokens=9, messages=[], **options)


ASK = {"chat": ask_chat, "responses": ask_responses, "messages": ask_messages}
formats = pytest.mark.parametrize("ask", ASK.values(), ids=ASK)

SAID = answer(
    Thinking("Hm"),
    Thinking("m."),
    "Let me ",
    "look. ",
    Call("weather", {"city": "Køln 😀"}, to_user='One "moment"', pieces=(3,)),
    Call("clock", id="x7"),
    usage=Usage(11, 7),
)
CALLS = [("call_0", "weather", {"to_user": 'One "moment"', "city": "Køln 😀"}), ("x7", "clock", {})]


def chat_said(whole: Any) -> tuple[Any, ...]:
    (choice,) = whole.choices
    calls = [(c.id, c.function.name, json.loads(c.function.arguments)) for c in choice.message.tool_calls or ()]
    return choice.message.content, choice.message.reasoning_content, calls, choice.finish_reason, whole.usage


def responses_said(whole: Any) -> tuple[Any, ...]:
    thoughts = "".join([item.summary[0].text for item in whole.output if item.type == "reasoning"])
    calls = [(c.call_id, c.name, json.loads(c.arguments)) for c in whole.output if c.type == "function_call"]
    return whole.output_text, thoughts, calls, whole.status, whole.usage


def messages_said(whole: Any) -> tuple[Any, ...]:
    content = "".join([block.text for block in whole.content if block.type == "text"])
    thoughts = "".join([block.thinking for block in whole.content if block.type == "thinking"])
    calls = [(block.id, block.name, block.input) for block in whole.content if block.type == "tool_use"]
    return content, thoughts, calls, whole.stop_reason, whole.usage


@pytest.mark.parametrize("interleave", [False, True])
def test_responses_are_whole_for_the_clients_own_accumulator(interleave: bool) -> None:
    said = tool_calls(*map(call, CALLS), content="Let me look. ", interleave=interleave) if interleave else SAID
    with ScriptedLLM([said, said]) as server:
        with server.client().responses.stream(model="m", input="hi") as stream:
            kinds = [event.type for event in stream]
            streamed = stream.get_final_response()
        whole = ask_responses(server)
    for got in (streamed, whole):
        content, thoughts, calls, status, usage = responses_said(got)
        assert (content, calls, status) == ("Let me look. ", CALLS, "completed")
        assert interleave or (thoughts, usage.input_tokens, usage.output_tokens) == ("Hmm.", 11, 7)
    assert kinds[0] == "response.created"
    assert kinds[-1] == "response.completed"
    assert len([kind for kind in kinds if kind == "response.output_item.added"]) == kinds.count(
        "response.output_item.done"
    )


@pytest.mark.parametrize("interleave", [False, True])
def test_messages_are_whole_for_the_clients_own_accumulator(interleave: bool) -> None:
    said = tool_calls(*map(call, CALLS), content="Let me look. ", interleave=interleave) if interleave else SAID
    with ScriptedLLM([said, said]) as server:
        client = server.anthropic_client()
        with client.messages.stream(model="m", max_tokens=9, messages=[]) as stream:
            kinds = [event.type for event in stream]
            streamed = stream.get_final_message()
        whole = ask_messages(server)
    for got in (streamed, whole):
        content, thoughts, calls, stop_reason, usage = messages_said(got)
        assert (content, calls, stop_reason) == ("Let me look. ", CALLS, "tool_use")
        assert interleave or (thoughts, usage.input_tokens, usage.output_tokens) == ("Hmm.", 11, 7)
    assert kinds[0] == "message_start"
    assert kinds[-1] == "message_stop"
    assert kinds.count("content_block_start") == kinds.count("content_block_stop")


def test_chat_completions_are_whole_for_the_clients_own_accumulator() -> None:
    with ScriptedLLM([SAID, SAID]) as server:
        with server.client().chat.completions.stream(
            model="m", messages=[], stream_options={"include_usage": True}
        ) as stream:
            for _ in stream:
                pass
            streamed = stream.get_final_completion()
        whole = ask_chat(server)
    for got in (streamed, whole):
        content, thoughts, calls, finish_reason, usage = chat_said(got)
        assert (content, calls, finish_reason) == ("Let me look. ", CALLS, "tool_calls")
        assert (thoughts, usage.prompt_tokens, usage.completion_tokens) == ("Hmm.", 11, 7)


def call(said: tuple[str, str, Any]) -> Call:
    return Call(said[1], said[2], id=said[0])


def test_refusals() -> None:
    with ScriptedLLM([answer(Refusal("I "), Refusal("won't."))] * 6) as server:
        assert ask_chat(server).choices[0].message.refusal == "I won't."
        assert ask_responses(server).output[0].content[0].refusal == "I won't."
        assert ask_messages(server).content[0].text == "I won't."
        events = list(ask_responses(server, stream=True))
        assert [event.delta for event in events if event.type == "response.refusal.delta"] == ["I ", "won't."]
        deltas = [chunk.choices[0].delta for chunk in ask_chat(server, stream=True)]
        assert [delta.refusal for delta in deltas if delta.refusal] == ["I ", "won't."]


def test_what_ends_an_answer() -> None:
    reasons = {
        "length": ("length", "incomplete", "max_tokens"),
        "content_filter": ("content_filter", "incomplete", "refusal"),
        "stop": ("stop", "completed", "end_turn"),
    }
    for reason, expected in reasons.items():
        with ScriptedLLM([text("a", finish_reason=reason)] * 5) as server:
            got = (
                ask_chat(server).choices[0].finish_reason,
                ask_responses(server).status,
                ask_messages(server).stop_reason,
            )
            assert got == expected
            *_, last = ask_responses(server, stream=True)
            assert last.type == f"response.{expected[1]}"
            assert [e.delta.stop_reason for e in ask_messages(server, stream=True) if e.type == "message_delta"] == [
                expected[2]
            ]


@formats
def test_gates_and_clients_that_leave(ask: Callable[..., Any]) -> None:
    gate = Gate()
    with ScriptedLLM([text("a", gate, "b"), silent("a")]) as server:
        chunks = iter(ask(server, stream=True))
        next(chunks)
        assert gate.wait_reached()
        gate.release()
        assert len(list(chunks)) >= 2
        chunks = ask(server, stream=True)
        next(iter(chunks))
        chunks.close()
        assert server.wait_request(2).wait_disconnected()


@formats
def test_cuts_and_errors(ask: Callable[..., Any]) -> None:
    with ScriptedLLM([cut("a"), failing(429, "slow down", retry_after="7")]) as server:
        with pytest.raises(Exception, match=r"Connection error|peer closed connection"):
            list(ask(server, stream=True))
        with pytest.raises((openai.RateLimitError, anthropic.RateLimitError), match="slow down") as caught:
            ask(server)
        assert caught.value.response.headers["retry-after"] == "7"


def test_errors_within_streams() -> None:
    broken = error_in_stream("a", message="too much", code="overloaded_error")
    with ScriptedLLM([broken, broken, broken]) as server:
        *_, last = ask_responses(server, stream=True)
        assert (last.type, last.message, last.code) == ("error", "too much", "overloaded_error")
        with pytest.raises(anthropic.APIStatusError, match="overloaded_error"):
            list(ask_messages(server, stream=True))
        with pytest.raises(openai.APIError, match="too much"):
            list(ask_chat(server, stream=True))


def test_deltas_and_raw_bytes_in_other_formats() -> None:
    calls = [{"index": 0, "id": "c", "function": {"name": "f", "arguments": "{"}}]
    odd = Answer(
        [
            Raw(b": comment\n\n"),
            Delta(None),
            Delta({"content": "x", "tool_calls": calls}),
            Delta({"tool_calls": [{"index": 0, "function": {"arguments": "}"}}]}, "tool_calls"),
        ]
    )
    with ScriptedLLM([odd, odd, odd]) as server:
        assert responses_said(ask_responses(server))[:4] == ("x", "", [("c", "f", {})], "completed")
        assert messages_said(ask_messages(server))[:4] == ("x", "", [("c", "f", {})], "tool_use")
        *_, last = ask_responses(server, stream=True)
        assert responses_said(last.response)[2] == [("c", "f", {})]


def test_a_delta_that_no_format_can_play_is_a_problem() -> None:
    with ScriptedLLM([Answer([Delta({"tool_calls": "strange"})])]) as server:
        with pytest.raises(openai.APIConnectionError):
            list(ask_responses(server, stream=True))
        (problem,) = server.problems
        assert problem.startswith("The answer to POST /v1/responses could not be played: AttributeError")
        server.problems.clear()


def test_what_a_whole_message_cannot_say() -> None:
    with ScriptedLLM([Call("f", '{"a": ')]) as server:
        with pytest.raises(anthropic.BadRequestError, match="no object"):
            ask_messages(server)
        (problem,) = server.problems
        assert "'f' are no object" in problem
        server.problems.clear()


def test_keys_are_not_recorded() -> None:
    with ScriptedLLM(["a"]) as server:
        server.anthropic_client(api_key="sk-secret").messages.create(model="m", max_tokens=9, messages=[])
        assert "sk-secret" not in repr(vars(server.wait_request()))


def test_lone_surrogates_can_be_said() -> None:
    with ScriptedLLM([text("\ud83d", "x")]) as server:
        assert [chunk.choices[0].delta.content for chunk in ask_chat(server, stream=True)][1] == "\ud83d"
