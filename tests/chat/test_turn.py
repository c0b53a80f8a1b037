"""Turns, in this process: the tree, the order of things, and what stays of a failure."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from typing import Any

import pytest

from agere import Commander
from agere.chat import Agent, ChatJob, ChatModel, Conversation, Tool, ToolCall, ToolResult, TooManyRoundsError
from agere.commander import NodeTerminatedError
from agere.testing.scripted_llm import Answer, Call, Gate, ScriptedLLM, cut, silent, text, tool_calls


class Recorder:
    """A view that writes down what it is shown."""

    def __init__(self) -> None:
        self.shown: list[str] = []
        self.threads: set[str] = set()

    def note(self, what: str) -> None:
        self.shown.append(what)
        self.threads.add(threading.current_thread().name)

    def text(self, text: str) -> None:
        self.note(text)

    def end_of_text(self) -> None:
        self.note("/")

    def call(self, call: ToolCall) -> None:
        self.note(f"call {call.name}")

    def result(self, result: ToolResult) -> None:
        self.note(f"result {result.content}")

    def error(self, line: str) -> None:
        self.note(f"error {line}")

    def prompt(self) -> str:
        return ""

    def asked(self, answer: str) -> None:
        self.note(f"asked {answer}")


def tool(function: Any) -> Tool:
    parameters = {"type": "object", "properties": {}}
    schema: Any = {"type": "function", "function": {"name": function.__name__, "parameters": parameters}}
    return Tool(function, schema)


@pytest.fixture
def commander() -> Iterator[Commander[Any]]:
    with Commander[Any]() as commander:
        yield commander


def agent_of(server: ScriptedLLM, *tools: Tool, **options: Any) -> tuple[Agent, Recorder]:
    view = Recorder()
    model = ChatModel(server.client(), "small", "small", address=server.base_url)
    return Agent(model, tools, view, **options), view


def test_tools_run_side_by_side_and_results_keep_their_order(commander: Commander[Any]) -> None:
    both = threading.Barrier(2, timeout=10)

    def first() -> str:
        both.wait()
        return "1"

    async def last() -> int:
        return 3

    def second() -> str:
        both.wait()
        return "2"

    script: list[Answer | str] = [tool_calls(Call("first"), Call("second"), Call("last")), "Done."]
    with ScriptedLLM(script) as server:
        agent, _ = agent_of(server, tool(first), tool(second), tool(last))
        job = ChatJob(agent, "go")
        commander.submit(job).result(timeout=20)
        results = [message for message in server.requests[1].body["messages"] if message["role"] == "tool"]
    assert job.turn.error is None
    assert [result["content"] for result in results] == ["1", "2", "3"]
    assert [result["tool_call_id"] for result in results] == ["call_0", "call_1", "call_2"]


def test_text_comes_before_the_tool_and_on_the_hosts_thread(commander: Commander[Any]) -> None:
    def look() -> str:
        return "x"

    calls = tool_calls(Call("look", {}, to_user="Let me look."), content="Hm.")
    with ScriptedLLM([calls, "Done."]) as server:
        agent, view = agent_of(server, tool(look))
        commander.submit(ChatJob(agent, "go")).result(timeout=20)
    assert view.threads == {"MainThread"}
    said = "".join(view.shown)
    assert said.index("Let me look./") < said.index("call look") < said.index("result x") < said.index("Done.")


def test_requests_are_made_off_the_loop_by_one_client(commander: Commander[Any]) -> None:
    threads = []

    class Model(ChatModel):
        def open_stream(self, messages: Any, tools: Any = ()) -> Any:
            threads.append(threading.current_thread().name)
            return super().open_stream(messages, tools)

    loop_thread = commander.submit(_name_of_thread).result(timeout=20)
    with ScriptedLLM(["One.", "Two."]) as server:
        agent = Agent(Model(server.client(), "small", "small"), view=Recorder())
        for question in "ab":
            commander.submit(ChatJob(agent, question)).result(timeout=20)
    assert len(threads) == 2
    assert loop_thread not in threads
    assert "MainThread" not in threads


async def _name_of_thread() -> str:
    return threading.current_thread().name


def test_a_failed_turn_is_forgotten_and_a_good_one_kept(commander: Commander[Any]) -> None:
    with ScriptedLLM(["One.", cut("half"), "Three."]) as server:
        agent, view = agent_of(server, conversation=Conversation("Be brief."))
        jobs = [ChatJob(agent, question) for question in "abc"]
        for job in jobs:
            commander.submit(job).result(timeout=20)
        assert [message["content"] for message in agent.conversation.messages] == [
            "Be brief.",
            "a",
            "One.",
            "c",
            "Three.",
        ]
    assert [job.turn.error is None for job in jobs] == [True, False, True]
    assert sum(shown.startswith("error ") for shown in view.shown) == 1


def test_a_cancelled_turn_hangs_up_and_is_forgotten(commander: Commander[Any]) -> None:
    with ScriptedLLM([silent("Once")]) as server:
        agent, view = agent_of(server)
        future = commander.submit(ChatJob(agent, "a"))
        request = server.wait_request()
        assert future.cancel()
        with pytest.raises(NodeTerminatedError):
            future.result(timeout=20)
        assert request.wait_disconnected()
    assert agent.conversation.messages == []
    assert not any(shown.startswith("error ") for shown in view.shown)


def test_a_cancelled_turn_does_not_start_tools(commander: Commander[Any]) -> None:
    called = threading.Event()

    def look() -> None:
        called.set()

    gate = Gate()
    calls = tool_calls(Call("look"))
    with ScriptedLLM([Answer([*calls.steps[:-1], gate, *calls.steps[-1:]])]) as server:
        agent, _ = agent_of(server, tool(look))
        future = commander.submit(ChatJob(agent, "a"))
        assert gate.wait_reached()
        future.cancel()
        with pytest.raises(NodeTerminatedError):
            future.result(timeout=20)
        gate.release()
    assert not called.is_set()


def test_rounds_have_a_limit(commander: Commander[Any]) -> None:
    def look() -> str:
        return "x"

    with ScriptedLLM(lambda _: tool_calls(Call("look"))) as server:
        agent, _ = agent_of(server, tool(look), max_rounds=3)
        job = ChatJob(agent, "a")
        commander.submit(job).result(timeout=20)
        assert len(server.requests) == 3
    assert isinstance(job.turn.error, TooManyRoundsError)
    assert agent.conversation.messages == []
    with pytest.raises(ValueError, match="max_rounds"):
        agent_of(server, max_rounds=0)


def test_a_view_that_raises_fails_the_turn_alone(commander: Commander[Any], monkeypatch: pytest.MonkeyPatch) -> None:
    with ScriptedLLM([text("One", " more."), "Two."]) as server:
        agent, view = agent_of(server)
        monkeypatch.setattr(view, "text", _raise)
        first = ChatJob(agent, "a")
        commander.submit(first).result(timeout=20)
        monkeypatch.undo()
        second = ChatJob(agent, "b")
        commander.submit(second).result(timeout=20)
    assert isinstance(first.turn.error, ZeroDivisionError)
    assert second.turn.error is None
    assert [message["content"] for message in agent.conversation.messages] == ["b", "Two."]


def _raise(_: str) -> None:
    raise ZeroDivisionError


def test_many_turns_at_once_do_not_mix(commander: Commander[Any]) -> None:
    def answer(body: dict[str, Any]) -> Answer | str:
        last = body["messages"][-1]
        if last["role"] == "tool":
            return f"It is {last['content']}."
        return tool_calls(Call("echo", {"word": last["content"]}))

    def echo(word: str) -> str:
        return word

    with ScriptedLLM(answer) as server:
        agents = [agent_of(server, tool(echo)) for _ in range(20)]
        futures = [commander.submit(ChatJob(agent, f"w{n}")) for n, (agent, _) in enumerate(agents)]
        for future in futures:
            future.result(timeout=30)
    for n, (agent, _) in enumerate(agents):
        *_, result, said = agent.conversation.messages
        assert (result["content"], said["content"]) == (f"w{n}", f"It is w{n}.")
        call = agent.conversation.messages[1]["tool_calls"][0]
        assert json.loads(call["function"]["arguments"]) == {"word": f"w{n}"}
