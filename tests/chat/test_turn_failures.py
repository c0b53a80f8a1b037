"""Turns that fail, pass a limit or are cancelled: what is raised, what the server sees, and what stays."""

from __future__ import annotations

import asyncio
import json
import logging
import re
import sys
import threading
import time
from collections.abc import Iterator
from typing import Any

import openai
import pytest

import agere
from agere import Commander
from agere.chat import Chat, Conversation, open_model
from agere.commander import NodeTerminatedError
from agere.errors import (
    NoModelError,
    RoundLimitError,
    TimeLimitError,
    TokenLimitError,
    ToolCallLimitError,
    TurnLimitError,
)
from agere.hosts import ScriptedHost
from agere.testing import (
    Answer,
    Call,
    Gate,
    Raw,
    ScriptedLLM,
    answer,
    cut,
    error_in_stream,
    failing,
    silent,
    text,
    tool_calls,
)
from agere.testing import Usage as Told
from agere.tools import ToolResult, tool

KEY = "sk-test-5eCrEt-0123"


def look(where: str = "there") -> str:
    """Look there."""
    return f"seen {where}"


@pytest.fixture
def commander() -> Iterator[Commander[Any]]:
    with Commander[Any]() as commander:
        yield commander


@pytest.fixture(autouse=True)
def quiet(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.ERROR)


def contents(chat: Chat) -> list[Any]:
    return [message["content"] for message in chat.conversation.messages]


def is_sound(messages: list[Any]) -> bool:
    """A form that every server accepts: each call has its results right behind it, a question follows an answer."""
    open_calls: set[str] = set()
    before = "assistant"
    for message in messages:
        role = message["role"]
        if role == "tool":
            open_calls.remove(message["tool_call_id"])
        else:
            assert not open_calls
            assert role != "user" or before == "assistant", messages
            assert role != "assistant" or before in ("user", "tool"), messages
            open_calls = {call["id"] for call in message.get("tool_calls") or ()}
            for call in message.get("tool_calls") or ():
                json.loads(call["function"]["arguments"])
        before = role
    return not open_calls and before == "assistant"


# -- what the server does

FAILURES: list[tuple[Answer, type[Exception], str]] = [
    (failing(401, f"Incorrect API key provided: {KEY}"), openai.AuthenticationError, r"refused the key \(401\)"),
    (failing(404, "no such model"), openai.NotFoundError, "no model 'gpt-4o-mini'"),
    (failing(429, "slow down"), openai.RateLimitError, "answered 429: slow down"),
    (failing(500, "overheated"), openai.InternalServerError, "answered 500: overheated"),
    (error_in_stream("Hel", message=f"overheated {KEY}"), openai.APIError, "broke off: overheated"),
    (cut("Hel"), Exception, ""),
]


@pytest.mark.parametrize("wants_async", [False, True])
@pytest.mark.parametrize("keep", ["answered", "said"])
@pytest.mark.parametrize(("failure", "kind", "words"), FAILURES)
def test_failures_of_the_server(
    failure: Answer,
    kind: type[Exception],
    words: str,
    keep: Any,
    wants_async: bool,
    caplog: pytest.LogCaptureFixture,
) -> None:
    with ScriptedLLM(["One.", failure, "Three."]) as server:
        client: Any = server.async_client(api_key=KEY) if wants_async else server.client(api_key=KEY)
        chat = Chat(client=client, keep=keep)
        agere.run(chat.turn("a"))
        with pytest.raises(kind) as caught:
            agere.run(chat.turn("b"))
        agere.run(chat.turn("c"))
        assert is_sound(chat.conversation.messages)
        assert is_sound([*server.requests[2].body["messages"], {"role": "assistant", "content": ""}])
        if wants_async:
            agere.run(client.close)
    said = "Hel" if failure.status == 200 else "(interrupted)"
    assert contents(chat) == ["a", "One.", *(["b", said] if keep == "said" else []), "c", "Three."]
    error = caught.value
    told = "\n".join([str(error), repr(error), str(getattr(error, "body", "")), *getattr(error, "__notes__", ())])
    assert KEY not in told + caplog.text
    assert any(record.name == "agere.node" for record in caplog.records)
    if words:
        assert any(re.search(words, note) for note in error.__notes__)


@pytest.mark.parametrize("wants_async", [False, True])
def test_a_server_that_talks_nonsense_is_named(wants_async: bool) -> None:
    with ScriptedLLM([Answer([Raw(f"data: {{{KEY}\n\n".encode())])]) as server:
        client: Any = server.async_client(api_key=KEY) if wants_async else server.client(api_key=KEY)
        with pytest.raises(json.JSONDecodeError) as caught:
            agere.run(Chat(client=client).turn("a"))
        words = f"the server at {server.base_url} sent what is no JSON: "
        assert any(note.startswith(words) for note in caught.value.__notes__)
        assert KEY not in caught.value.doc
        if wants_async:
            agere.run(client.close)


def test_a_server_that_breaks_off_is_named() -> None:
    with ScriptedLLM([cut("Hel")]) as server:
        with pytest.raises(Exception) as caught:
            agere.run(Chat(client=server.client()).turn("a"))
        assert any(f"server at {server.base_url} was cut off" in note for note in caught.value.__notes__)


def test_in_a_program_the_remedies_are_arguments(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("OPENAI_API_KEY", "OPENAI_BASE_URL", "AGERE_MODEL"):
        monkeypatch.delenv(name, raising=False)
    with pytest.raises(NoModelError, match="name the server with client= or OPENAI_BASE_URL"):
        Chat(model="gpt-4o")
    with pytest.raises(NoModelError, match="name the server with base_url= or OPENAI_BASE_URL"):
        open_model("gpt-4o")
    with ScriptedLLM([failing(404, "no such model"), failing(401, "no"), failing(401, "no")]) as server:
        chat = Chat(client=server.client())
        for kind, words in (
            (openai.NotFoundError, "(404): see model="),
            (openai.AuthenticationError, "(401): check the api_key of the client"),
        ):
            with pytest.raises(kind) as caught:
                agere.run(chat.turn("a"))
            assert caught.value.__notes__[0].endswith(words)
        monkeypatch.setenv("OPENAI_API_KEY", KEY)
        monkeypatch.setenv("OPENAI_BASE_URL", server.base_url)
        with Chat() as own, pytest.raises(openai.AuthenticationError) as refused:
            agere.run(own.turn("a"))
        assert refused.value.__notes__[0].endswith("(401): check OPENAI_API_KEY")


def test_a_server_that_cannot_be_reached(caplog: pytest.LogCaptureFixture) -> None:
    with ScriptedLLM() as server:
        gone = server.base_url
    with openai.OpenAI(base_url=gone, api_key=KEY, max_retries=0) as client:
        chat = Chat(client=client)
        with pytest.raises(openai.APIConnectionError) as caught:
            agere.run(chat.turn("a"))
    assert any("cannot reach the server at http://127.0.0.1" in note for note in caught.value.__notes__)
    assert chat.conversation.messages == []


def test_a_key_that_no_header_can_carry_stays_secret(caplog: pytest.LogCaptureFixture) -> None:
    bad = "sk-tést\u2028line-and-more"
    with ScriptedLLM() as server:
        chat = Chat(client=server.client(api_key=bad))
        with pytest.raises(Exception) as caught:
            agere.run(chat.turn("a"))
    for form in (bad, repr(bad)[1:-1], repr(bad.encode())[2:-1]):
        assert form not in str(caught.value) + caplog.text


def test_a_failed_second_request_takes_the_whole_turn_back() -> None:
    with ScriptedLLM([tool_calls(Call("look"), content="Hm."), cut("It i"), "Fine."]) as server:
        chat = Chat([look], client=server.client())
        with pytest.raises(Exception):  # noqa: B017 - tried above
            agere.run(chat.turn("a"))
        assert chat.conversation.messages == []
        agere.run(chat.turn("b"))
        assert server.requests[2].body["messages"] == [{"role": "user", "content": "b"}]


def test_a_failed_second_request_keeps_what_was_said() -> None:
    with ScriptedLLM([tool_calls(Call("look"), content="Hm."), cut("It i"), "Fine."]) as server:
        chat = Chat([look], client=server.client(), keep="said")
        with pytest.raises(Exception):  # noqa: B017 - tried above
            agere.run(chat.turn("a"))
        agere.run(chat.turn("b"))
    assert contents(chat) == ["a", "Hm.", "seen there", "It i", "b", "Fine."]
    assert is_sound(chat.conversation.messages)


def test_a_server_that_tells_no_usage_is_asked_without() -> None:
    def answered(request: Any) -> Any:
        if "stream_options" in request.body:
            return failing(400, "Unrecognized request argument supplied: stream_options")
        return "Fine."

    with ScriptedLLM(answered) as server:
        chat = Chat(client=server.client())
        assert agere.run(chat.turn("a")).usage is None
        agere.run(chat.turn("b"))
        asked = ["stream_options" in request.body for request in server.requests]
    assert asked == [True, False, False]


def test_another_bad_request_is_not_asked_again() -> None:
    with ScriptedLLM([failing(400, "too long")]) as server:
        with pytest.raises(openai.BadRequestError):
            agere.run(Chat(client=server.client()).turn("a"))
        assert len(server.requests) == 1


# -- limits


@pytest.mark.parametrize("keep", ["answered", "said"])
def test_rounds_have_a_limit(keep: Any) -> None:
    made: list[str] = []

    def count() -> str:
        """Count."""
        made.append("x")
        return "x"

    with ScriptedLLM(lambda _: tool_calls(Call("count"))) as server:
        chat = Chat([count], client=server.client(), max_rounds=3, keep=keep)
        with pytest.raises(RoundLimitError, match=r"no answer after 3 requests \(max_rounds\)") as caught:
            agere.run(chat.turn("a"))
        assert len(server.requests) == 3
    assert isinstance(caught.value, TurnLimitError)
    assert len(made) == 2  # nobody would read what the third gives
    assert keep == "answered" or is_sound(chat.conversation.messages)
    assert (chat.conversation.messages == []) == (keep == "answered")


@pytest.mark.parametrize("keep", ["answered", "said"])
def test_tool_calls_have_a_limit(keep: Any) -> None:
    made: list[str] = []

    def count() -> str:
        """Count."""
        made.append("x")
        return "x"

    with ScriptedLLM([tool_calls(Call("count"), Call("count")), tool_calls(Call("count"), Call("count"))]) as server:
        chat = Chat([count], client=server.client(), max_tool_calls=3, keep=keep)
        with pytest.raises(ToolCallLimitError, match=r"asked for 4 tool calls, and at most 3"):
            agere.run(chat.turn("a"))
    assert len(made) == 2
    assert keep == "answered" or "was not made" in contents(chat)[-2]
    assert keep == "answered" or is_sound(chat.conversation.messages)
    assert (chat.conversation.messages == []) == (keep == "answered")


def test_no_tool_calls_may_be_allowed() -> None:
    with ScriptedLLM([tool_calls(Call("look"))]) as server:
        chat = Chat([look], client=server.client(), max_tool_calls=0)
        with pytest.raises(ToolCallLimitError):
            agere.run(chat.turn("a"))


@pytest.mark.parametrize("phase", ["headers", "stream", "tool", "async tool"])
@pytest.mark.parametrize("keep", ["answered", "said"])
def test_seconds_have_a_limit(phase: str, keep: Any) -> None:
    leave = threading.Event()

    def slow() -> str:
        """Take long."""
        leave.wait(20)
        return "x"

    async def slow_async() -> str:
        """Take long."""
        await asyncio.sleep(60)
        return "x"

    script = {
        "headers": silent(headers=False),
        "stream": silent("One"),
        "tool": tool_calls(Call("slow")),
        "async tool": tool_calls(Call("slow_async")),
    }
    with ScriptedLLM([script[phase], "Fine."]) as server:
        chat = Chat([slow, slow_async], client=server.client(), max_seconds=0.3, keep=keep)
        begun = time.monotonic()
        with pytest.raises(TimeLimitError, match=r"no answer within 0.3 s \(max_seconds\)"):
            agere.run(chat.turn("a"))
        assert time.monotonic() - begun < 15
        leave.set()
        if phase in ("headers", "stream"):
            assert server.requests[0].wait_disconnected()
        assert keep == "answered" or is_sound(chat.conversation.messages)
        assert (chat.conversation.messages == []) == (keep == "answered")


def test_a_timeout_of_a_tool_is_not_the_turns() -> None:
    def late() -> str:
        """Be late."""
        raise TimeoutError("too late")

    with ScriptedLLM([tool_calls(Call("late")), "Fine."]) as server:
        found = agere.run(Chat([late], client=server.client(), max_seconds=20).turn("a"))
    assert "too late" in found.tool_results[0].content


def test_tokens_have_a_limit_while_they_come() -> None:
    gate = Gate()
    with ScriptedLLM([text(*"abcdef", gate)]) as server:
        chat = Chat(client=server.client(), max_tokens=5)
        texts = agere.stream(chat.turn("a"))
        said: list[str] = []
        with pytest.raises(TokenLimitError, match="more than 5 tokens"):
            said.extend(texts)
        assert "".join(said) == "abcde"
        assert server.requests[0].wait_disconnected()
    assert chat.conversation.messages == []


@pytest.mark.parametrize("wants_async", [False, True])
def test_tokens_have_a_limit_in_all_requests_together(wants_async: bool) -> None:
    calls = answer(Call("look"), usage=Told(1, 90))
    with ScriptedLLM([calls, text(*"abcdefghijkl"), calls, "Fine."]) as server:
        client: Any = server.async_client() if wants_async else server.client()
        chat = Chat([look], client=client, max_tokens=100)
        with pytest.raises(TokenLimitError):
            agere.run(chat.turn("a"))
        assert str(agere.run(chat.turn("b"))) == "Fine."
        if wants_async:
            agere.run(client.close)


def test_what_the_server_counted_counts() -> None:
    with ScriptedLLM([answer(Call("look"), usage=Told(1, 500))]) as server:
        chat = Chat([look], client=server.client(), max_tokens=100)
        with pytest.raises(TokenLimitError, match="wrote 500 tokens, and 100 are the most"):
            agere.run(chat.turn("a"))
        assert len(server.requests) == 1


# -- cancelling


@pytest.mark.parametrize("keep", ["answered", "said"])
@pytest.mark.parametrize("phase", ["headers", "stream", "call", "tool", "second"])
def test_cancelling_in_each_phase(phase: str, keep: Any, commander: Commander[Any]) -> None:
    gate, begun, leave = Gate(), threading.Event(), threading.Event()

    def wait() -> str:
        """Wait."""
        begun.set()
        leave.wait(20)
        return "x"

    late = Answer([], before_headers=gate)
    scripts: dict[str, list[Answer | str]] = {
        "headers": [late],
        "stream": [text("One", gate)],
        "call": [answer("One", Call("look", ['{"wh', gate, 'ere": "a"}']))],
        "tool": [answer("One", Call("look"), Call("wait"))],
        "second": [answer("One", Call("look")), text("Two", gate)],
    }
    with ScriptedLLM([*scripts[phase], "Fine."]) as server:
        chat = Chat([look, wait], client=server.client(), keep=keep)
        future = commander.submit(chat.turn("a", events=True))
        events = future.stream()
        if phase in ("stream", "call"):
            assert next(events) == "One"
        if phase == "tool":
            assert begun.wait(20)
            assert any(isinstance(event, ToolResult) for event in events)  # the other one goes on
        else:
            assert gate.wait_reached()
        assert future.cancel()
        leave.set()
        with pytest.raises(NodeTerminatedError):
            future.result(timeout=20)
        if phase != "tool":
            assert server.requests[-1].wait_disconnected()
        assert (chat.conversation.messages == []) == (keep == "answered")
        if keep == "said":
            assert is_sound(chat.conversation.messages)
            assert contents(chat)[0] == "a"
        assert str(commander.submit(chat.turn("b")).result(timeout=20)) == "Fine."
        assert is_sound(chat.conversation.messages)
    if keep == "said" and phase == "tool":
        assert "seen there" in contents(chat)


def test_a_cancelled_turn_does_not_start_tools(commander: Commander[Any]) -> None:
    called = threading.Event()

    def mark() -> None:
        """Mark."""
        called.set()

    gate = Gate()
    with ScriptedLLM([answer(Call("mark"), gate)]) as server:
        future = commander.submit(Chat([mark], client=server.client()).turn("a"))
        assert gate.wait_reached()
        future.cancel()
        with pytest.raises(NodeTerminatedError):
            future.result(timeout=20)
    assert not called.is_set()


def test_breaking_off_the_stream_hangs_up() -> None:
    with ScriptedLLM([silent("One")]) as server:
        chat = Chat(client=server.client())
        with agere.stream(chat.turn("a")) as pieces:  # leaving it waits for the unwinding; a mere break does not
            assert next(pieces) == "One"
        assert server.requests[0].wait_disconnected()
        assert chat.conversation.messages == []


def test_a_break_hangs_up() -> None:
    with ScriptedLLM([silent("One")]) as server:
        chat = Chat(client=server.client())
        for piece in agere.stream(chat.turn("a")):
            assert piece == "One"
            break
        assert server.requests[0].wait_disconnected()


def test_leaving_the_commander_hangs_up() -> None:
    with ScriptedLLM([silent("One"), "Fine."]) as server:
        chat = Chat(client=server.client())

        def leave_by_an_error() -> None:
            with Commander[Any]() as commander:
                commander.submit(chat.turn("a"))
                server.wait_request()
                raise ZeroDivisionError

        with pytest.raises(ZeroDivisionError):
            leave_by_an_error()
        assert server.requests[0].wait_disconnected()
        assert str(agere.run(chat.turn("b"))) == "Fine."


def test_a_turn_whose_loop_is_lost_does_not_hold_up_the_next(caplog: pytest.LogCaptureFixture) -> None:
    stuck, leave = threading.Event(), threading.Event()

    async def block() -> str:
        """Block the loop."""
        stuck.set()
        leave.wait(30)
        return "x"

    with ScriptedLLM([tool_calls(Call("block")), "Fine."]) as server:
        chat = Chat([block], client=server.client())
        commander = Commander[Any](grace=0.1)
        commander.start()
        future = commander.submit(chat.turn("a"))
        assert stuck.wait(20)
        commander.exit()
        assert future.cancelled()
        try:
            assert str(agere.run(chat.turn("b"))) == "Fine."
        finally:
            leave.set()


# -- approval


@pytest.mark.parametrize(("said", "done"), [("yes", True), ("no", False)])
def test_a_dangerous_tool_asks_the_person(said: str, done: bool) -> None:
    deleted: list[str] = []

    @tool(needs_approval=True)
    def delete(path: str) -> str:
        """Delete a file."""
        deleted.append(path)
        return "deleted"

    host = ScriptedHost([said])
    with ScriptedLLM([tool_calls(Call("delete", {"path": "a.txt"})), "So be it."]) as server:
        chat = Chat([delete], client=server.client())
        with Commander[Any](host=host) as commander:
            found = commander.submit(chat.turn("Delete a.txt")).result(timeout=20)
    assert deleted == (["a.txt"] if done else [])
    assert "a.txt" in host.asked[0]
    assert found.tool_results[0].failed is not done
    assert str(found) == "So be it."


# -- what a turn leaves behind


@pytest.mark.parametrize("keep", ["answered", "said"])
def test_an_answer_counts_once_it_is_there(keep: Any, commander: Commander[Any], tmp_path: Any) -> None:
    """What a tool has left running is part of the turn, and may still be cancelled: the answer was given before."""
    begun = threading.Event()

    async def linger() -> None:
        begun.set()
        await asyncio.sleep(60)

    def start() -> str:
        """Leave something running."""
        node = agere.current_node()
        assert node is not None
        turn = node.ancestor_chain[1]
        turn.submit(linger)
        return "started"

    path = tmp_path / "talk.jsonl"
    with ScriptedLLM([tool_calls(Call("start")), "Done."]) as server, Conversation(path=path) as conversation:
        chat = Chat([start], client=server.client(), conversation=conversation, keep=keep)
        future = commander.submit(chat.turn("a"))
        assert begun.wait(20)
        end = time.monotonic() + 20
        while conversation.in_turn and time.monotonic() < end:
            threading.Event().wait(0.005)
        assert not conversation.in_turn
        assert not future.done()
        assert len(chat.queue.places) == 1
        future.cancel()
        with pytest.raises(NodeTerminatedError):
            future.result(timeout=20)
        assert contents(chat) == ["a", None, "started", "Done."]
        messages = conversation.messages
    with Conversation(path=path) as again:
        assert again.messages == messages


# -- a conversation that is not the Chat's own


def test_a_conversation_goes_on_where_it_was() -> None:
    conversation = Conversation("Be brief.")
    conversation.add_turn([{"role": "user", "content": "a"}, {"role": "assistant", "content": "One."}])
    with ScriptedLLM(["Two."]) as server:
        with Chat(client=server.client(), conversation=conversation) as chat:
            agere.run(chat.turn("b"))
        sent = server.requests[0].body["messages"]
    assert [message["content"] for message in sent] == ["Be brief.", "a", "One.", "b"]
    assert contents(chat) == ["Be brief.", "a", "One.", "b", "Two."]


def test_each_message_is_in_the_file_before_the_turn_is_over(tmp_path: Any) -> None:
    path = tmp_path / "talk.jsonl"
    gate = Gate()
    with (
        ScriptedLLM([tool_calls(Call("look"), content="Hm."), text("Do", gate, "ne.")]) as server,
        Conversation(path=path) as conversation,
    ):
        chat = Chat([look], client=server.client(), conversation=conversation)
        texts = agere.stream(chat.turn("a"))
        assert gate.wait_reached()
        roles = [json.loads(line).get("role") for line in path.read_text().splitlines()]
        assert [role for role in roles if role] == ["user", "assistant", "tool"]
        gate.release()
        assert "".join(texts) == "Hm.\nDone."
    with Conversation(path=path) as again:
        assert [message["content"] for message in again.messages] == ["a", "Hm.", "seen there", "Done."]


def test_a_closed_conversation_is_told(tmp_path: Any) -> None:
    with ScriptedLLM(["Fine."]) as server:
        conversation = Conversation(path=tmp_path / "talk.jsonl")
        chat = Chat(client=server.client(), conversation=conversation)
        conversation.close()
        with pytest.raises(agere.errors.ConversationClosedError):
            agere.run(chat.turn("a"))
        assert server.requests == []


# -- no model


def test_without_a_model_both_remedies_are_named(monkeypatch: pytest.MonkeyPatch, tmp_path: Any) -> None:
    for name in ("OPENAI_API_KEY", "OPENAI_BASE_URL", "AGERE_MODEL"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setitem(sys.modules, "xllamacpp", None)
    chat = Chat()
    with pytest.raises(NoModelError, match=r"OPENAI_API_KEY.*pip install 'agere\[local\]'"):
        agere.run(chat.turn("a"))
    assert chat.conversation.messages == []
    with pytest.raises(NoModelError, match="'gpt-4o' names a model of a server"):
        Chat(model="gpt-4o")
