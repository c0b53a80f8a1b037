"""``Chat``: turns against a scripted server, with the real client."""

from __future__ import annotations

import json
import logging
import threading
from collections.abc import Iterator
from typing import Any

import pytest

import agere
from agere import Commander
from agere.chat import Answer, Chat, Conversation, Usage
from agere.commander import NodeTerminatedError
from agere.testing import Call, Gate, ScriptedLLM, answer, text, tool_calls
from agere.testing import Usage as Told
from agere.tools import ToolCall, ToolResult, tool


def weather(location: str) -> str:
    """Current weather in a city."""
    return f"22 C in {location}"


@tool(to_user=True)
def look(where: str) -> str:
    """Look there."""
    return f"seen {where}"


@pytest.fixture
def commander() -> Iterator[Commander[Any]]:
    with Commander[Any]() as commander:
        yield commander


def roles(messages: list[Any]) -> str:
    return " ".join(message["role"] for message in messages)


# -- a turn


def test_text_is_streamed_as_it_arrives() -> None:
    gate = Gate()
    with ScriptedLLM([text("Hel", gate, "lo.")]) as server, Chat(client=server.client()) as chat:
        texts = agere.stream(chat.turn("Hi"))
        assert next(texts) == "Hel"
        gate.release()
        assert list(texts) == ["lo."]
        assert server.requests[0].body["messages"] == [{"role": "user", "content": "Hi"}]
        assert server.requests[0].body["model"] == "gpt-4o-mini"


def test_the_answer_tells_what_was_said_and_done_and_what_it_took() -> None:
    first = answer("Hm.", Call("weather", {"location": "Paris"}), usage=Told(100, 10))
    second = text("It is", " warm.", usage=Told(200, 20))
    with ScriptedLLM([first, second]) as server:
        chat = Chat([weather], "small", server.client(), "Be brief.")
        found = agere.run(chat.turn("Paris?"))
        assert [request.body["messages"][0]["content"] for request in server.requests] == ["Be brief."] * 2
        assert server.requests[0].body["stream_options"] == {"include_usage": True}
    assert isinstance(found, Answer)
    assert str(found) == found.text == "It is warm."
    assert found.said == "Hm.\nIt is warm."
    assert [(call.name, call.arguments) for call in found.tool_calls] == [("weather", {"location": "Paris"})]
    assert [result.content for result in found.tool_results] == ["22 C in Paris"]
    assert found.usage == Usage(300, 30, 330)
    assert found.finish_reason == "stop"
    assert found.model == "small"
    assert len(found.timings.rounds) == 2
    assert 0 < (found.timings.first_text or 0) <= found.timings.total
    assert sum(found.timings.rounds) <= found.timings.total
    assert roles(chat.conversation.messages) == "system user assistant tool assistant"


def test_to_user_is_streamed_while_the_call_is_incomplete() -> None:
    gate = Gate()
    called = threading.Event()

    @tool(to_user=True)
    def look(where: str) -> str:
        called.set()
        return "x"

    call = tool_calls(Call("look", ['{"to_user": "Let me', ' look.", "wh', gate, 'ere": "there"}']))
    with ScriptedLLM([call, "Done."]) as server, Chat([look], client=server.client()) as chat:
        texts = agere.stream(chat.turn("go"))
        said = ""
        while said != "Let me look.":
            said += next(texts)
        assert not called.is_set()
        gate.release()
        assert "".join(texts) == "\nDone."
        messages = server.requests[1].body["messages"]
    assert messages[1]["content"] == "Let me look."
    assert json.loads(messages[1]["tool_calls"][0]["function"]["arguments"]) == {"where": "there"}


def test_events_come_in_order(commander: Commander[Any]) -> None:
    calls = tool_calls(
        Call("look", {"where": "a"}, to_user="First a."), Call("look", {"where": "b"}, to_user="Then b.")
    )
    with ScriptedLLM([calls, "Done."]) as server:
        chat = Chat([look], client=server.client())
        events = list(commander.submit(chat.turn("go", events=True)).stream())
    kinds = [type(event) for event in events if not isinstance(event, str)]
    assert kinds == [ToolCall, ToolCall, ToolResult, ToolResult]
    first = events.index(next(event for event in events if isinstance(event, ToolCall)))
    last = max(index for index, event in enumerate(events) if isinstance(event, ToolResult))
    assert "".join(map(str, events[:first])) == "First a.\nThen b."
    assert "".join(map(str, events[last + 1 :])) == "Done."


def test_calls_of_one_answer_are_made_side_by_side_and_results_keep_their_order(commander: Commander[Any]) -> None:
    both = threading.Barrier(2, timeout=10)
    second_is_through = threading.Event()

    def first() -> str:
        """Wait for the second."""
        both.wait()
        assert second_is_through.wait(10)
        return "1"

    def second() -> str:
        """Be quicker."""
        both.wait()
        second_is_through.set()
        return "2"

    async def third() -> int:
        """Be async."""
        return 3

    calls = tool_calls(Call("first"), Call("second"), Call("third"))
    with ScriptedLLM([calls, "Done."]) as server:
        chat = Chat([first, second, third], client=server.client())
        found = commander.submit(chat.turn("go")).result(timeout=20)
        results = [message for message in server.requests[1].body["messages"] if message["role"] == "tool"]
    assert [result["content"] for result in results] == ["1", "2", "3"]
    assert [result.content for result in found.tool_results] == ["1", "2", "3"]
    assert [result["tool_call_id"] for result in results] == [call.id for call in found.tool_calls]


def test_what_goes_wrong_with_a_call_is_told_to_the_model() -> None:
    calls = tool_calls(Call("nothing"), Call("weather", '{"location": "Par'), Call("weather", {"city": "Paris"}))
    with ScriptedLLM([calls, "Sorry."]) as server:
        chat = Chat([weather], client=server.client())
        found = agere.run(chat.turn("go"))
        results = [message for message in server.requests[1].body["messages"] if message["role"] == "tool"]
    assert str(found) == "Sorry."
    assert all(result.failed for result in found.tool_results)
    assert len(results) == 3
    for call in chat.conversation.messages[1]["tool_calls"]:
        json.loads(call["function"]["arguments"])


def test_the_tree_shows_the_turn_and_its_calls(commander: Commander[Any]) -> None:
    names: list[str] = []

    def see() -> str:
        """Look at the tree."""
        names.extend(str(commander.tree()).splitlines())
        return "x"

    with ScriptedLLM([tool_calls(Call("see")), "Done."]) as server:
        chat = Chat([see], client=server.client())
        commander.submit(chat.turn("go")).result(timeout=20)
    shown = "\n".join(names)
    assert shown.index("turn") < shown.index("answer_question") < shown.index("see")


def test_an_answer_cut_short_by_the_server_says_so() -> None:
    with ScriptedLLM([text("It is", finish_reason="length")]) as server:
        found = agere.run(Chat(client=server.client()).turn("go"))
    assert (str(found), found.finish_reason) == ("It is", "length")


def test_tools_of_a_provider_are_asked_for_before_each_request() -> None:
    class Growing:
        """Has one more tool each time."""

        def __init__(self) -> None:
            self.nodes: list[Any] = []

        async def open_tools(self, node: Any) -> list[Any]:
            self.nodes.append(node.name)
            return [tool(weather, name=f"weather_{number}") for number, _ in enumerate(self.nodes)]

    growing = Growing()
    with ScriptedLLM([tool_calls(Call("weather_0", {"location": "Rome"})), "Warm."]) as server:
        agere.run(Chat([growing], client=server.client()).turn("Rome?"))
        offered = [[one["function"]["name"] for one in request.body["tools"]] for request in server.requests]
    assert offered == [["weather_0"], ["weather_0", "weather_1"]]
    assert growing.nodes == ["answer_question"] * 2


# -- submitting


def test_everything_that_submits_takes_a_turn(commander: Commander[Any]) -> None:
    with ScriptedLLM(lambda _: "Fine.") as server:
        chat = Chat(client=server.client())

        async def from_a_node() -> str:
            node = agere.current_node()
            assert node is not None
            return str(await node.submit(chat.turn("b")))

        assert str(commander.submit(chat.turn("a")).result(timeout=20)) == "Fine."
        assert commander.submit(from_a_node).result(timeout=20) == "Fine."
        assert str(agere.run(chat.turn("c"))) == "Fine."
        assert "".join(agere.stream(chat.turn("d"))) == "Fine."
        job = chat.turn("e")
        commander.put_job_threadsafe(job).result(timeout=20)
        commander.submit(job).result(timeout=20)  # a node may run again
    asked = [message["content"] for message in chat.conversation.messages if message["role"] == "user"]
    assert asked == ["a", "b", "c", "d", "e", "e"]


def test_a_chat_works_in_one_commander_after_the_other() -> None:
    with ScriptedLLM(lambda _: "Fine.") as server:
        chat = Chat(client=server.client())
        for _ in range(3):
            assert str(agere.run(chat.turn("Hi"))) == "Fine."
        assert len(server.requests[-1].body["messages"]) == 5


def test_an_asynchronous_client_does_too() -> None:
    with ScriptedLLM([tool_calls(Call("weather", {"location": "Rome"})), "Warm.", text("Fi", "ne.")]) as server:
        chat = Chat([weather], client=server.async_client())
        assert str(agere.run(chat.turn("Rome?"))) == "Warm."
        assert "".join(agere.stream(chat.turn("How?"))) == "Fine."
        agere.run(chat.open().client.close)


def test_many_chats_in_one_commander_do_not_mix(commander: Commander[Any]) -> None:
    def answered(request: Any) -> Any:
        last = request.body["messages"][-1]
        if last["role"] == "tool":
            return f"It is {last['content']}."
        return tool_calls(Call("echo", {"word": last["content"]}))

    def echo(word: str) -> str:
        """Say it again."""
        return word

    with ScriptedLLM(answered) as server:
        chats = [Chat([echo], client=server.client()) for _ in range(20)]
        futures = [commander.submit(chat.turn(f"w{number}")) for number, chat in enumerate(chats)]
        answers = [str(future.result(timeout=30)) for future in futures]
    assert answers == [f"It is w{number}." for number in range(20)]
    for number, chat in enumerate(chats):
        assert [message["content"] for message in chat.conversation.messages[-2:]] == [
            f"w{number}",
            f"It is w{number}.",
        ]


def test_two_chats_stream_at_once(commander: Commander[Any]) -> None:
    gates = [Gate(), Gate()]
    with ScriptedLLM([text("One", gates[0], "."), text("Two", gates[1], ".")]) as server:
        first, second = Chat(client=server.client()), Chat(client=server.client())
        one = commander.submit(first.turn("a")).stream()
        assert next(one) == "One"
        two = commander.submit(second.turn("b")).stream()
        assert next(two) == "Two"  # while the other one is under way
        for gate in gates:
            gate.release()
        assert (list(one), list(two)) == (["."], ["."])


# -- one turn after another


def test_turns_of_one_chat_wait_for_each_other(commander: Commander[Any]) -> None:
    gate = Gate()
    with ScriptedLLM([text("One", gate, "."), "Two.", "Three."]) as server:
        chat = Chat(client=server.client())
        futures = [commander.submit(chat.turn(question)) for question in "abc"]
        assert gate.wait_reached()
        other = commander.submit(lambda: "not held up").result(timeout=20)
        assert other == "not held up"
        assert len(server.requests) == 1
        gate.release()
        assert [str(future.result(timeout=20)) for future in futures] == ["One.", "Two.", "Three."]
        assert roles(server.requests[2].body["messages"]) == "user assistant user assistant user"


def test_turns_of_one_chat_wait_for_each_other_in_two_commanders(commander: Commander[Any]) -> None:
    gate = Gate()
    with ScriptedLLM([text("One", gate, "."), "Two."]) as server, Commander[Any]() as other:
        chat = Chat(client=server.client())
        first = commander.submit(chat.turn("a"))
        assert gate.wait_reached()
        second = other.submit(chat.turn("b"))
        gate.release()
        assert str(second.result(timeout=20)) == "Two."
        assert first.done()


def test_a_turn_that_waits_can_be_cancelled(commander: Commander[Any]) -> None:
    gate = Gate()
    with ScriptedLLM([text("One", gate, "."), "Three."]) as server:
        chat = Chat(client=server.client())
        first, second, third = (commander.submit(chat.turn(question)) for question in "abc")
        assert gate.wait_reached()
        assert second.cancel()
        with pytest.raises(NodeTerminatedError):
            second.result(timeout=20)
        gate.release()
        assert str(first.result(timeout=20)) == "One."
        assert str(third.result(timeout=20)) == "Three."
    assert [message["content"] for message in chat.conversation.messages] == ["a", "One.", "c", "Three."]


@pytest.mark.parametrize("way", ["submit", "await", "run"])
def test_a_turn_within_a_tool_of_the_same_chat_is_refused(way: str, commander: Commander[Any]) -> None:
    def nested() -> str:
        """Ask the same Chat."""
        turn = chat.turn("again")
        if way == "run":
            return str(agere.run(turn))
        node = agere.current_node()
        assert node is not None
        return str(node.submit(turn).result())

    async def nested_async() -> str:
        """Ask the same Chat, on the loop."""
        node = agere.current_node()
        assert node is not None
        return str(await node.submit(chat.turn("again")))

    name = "nested_async" if way == "await" else "nested"
    with ScriptedLLM([tool_calls(Call(name)), "Done."]) as server:
        chat = Chat([nested, nested_async], client=server.client())
        found = commander.submit(chat.turn("go")).result(timeout=20)
    assert "DeadlockError" in found.tool_results[0].content
    assert str(found) == "Done."


def test_a_tool_may_ask_another_chat(commander: Commander[Any]) -> None:
    with ScriptedLLM(["I am the other."]) as second, ScriptedLLM([tool_calls(Call("ask")), "Done."]) as first:
        other = Chat(client=second.client())

        def ask() -> Any:
            """Ask somebody else."""
            return other.turn("who?")  # a Job: it is run below the call

        chat = Chat([ask], client=first.client())
        found = commander.submit(chat.turn("go")).result(timeout=20)
    assert found.tool_results[0].content == "I am the other."
    assert isinstance(found.tool_results[0].value, Answer)
    assert str(found) == "Done."


@pytest.mark.parametrize("quiet", [True, False])
def test_a_quiet_turn_emits_nothing(quiet: bool, commander: Commander[Any]) -> None:
    def answered(request: Any) -> Any:
        first = len(request.body["messages"]) == 1
        return (
            answer("Let me see. ", Call("look", {"where": "in"}, to_user="Looking.")) if first else text("In", "ner.")
        )

    with ScriptedLLM(answered) as second, ScriptedLLM([tool_calls(Call("ask")), "Outer."]) as first:
        expert = Chat([look], client=second.client())

        def ask() -> Any:
            """Ask somebody else."""
            return expert.turn("who?", quiet=quiet)

        future = commander.submit(Chat([ask], client=first.client()).turn("go"))
        said = "".join(future.stream())
        inner = future.result(timeout=20).tool_results[0].value
    assert said == ("Outer." if quiet else "Let me see. \nLooking.\nInner.Outer.")
    assert (inner.said, inner.text) == ("Let me see. \nLooking.\nInner.", "Inner.")


def test_a_quiet_turn_has_no_events() -> None:
    with ScriptedLLM() as server, pytest.raises(ValueError, match="pass one of events and quiet"):
        Chat(client=server.client()).turn("a", events=True, quiet=True)


def test_two_chats_on_one_conversation(commander: Commander[Any]) -> None:
    gate = Gate()
    with ScriptedLLM([text("One", gate, ".")]) as server:
        conversation = Conversation()
        first, second = (Chat(client=server.client(), conversation=conversation) for _ in range(2))
        future = commander.submit(first.turn("a"))
        assert gate.wait_reached()
        with pytest.raises(agere.errors.TurnError, match="another Chat uses this conversation: give each"):
            commander.submit(second.turn("b")).result(timeout=20)
        gate.release()
        assert str(future.result(timeout=20)) == "One."
    assert [message["content"] for message in conversation.messages] == ["a", "One."]


def test_who_waits_for_a_stream_that_nobody_reads_is_told(
    commander: Commander[Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("agere.chat.queue.PATIENCE_SECONDS", 0.01)
    monkeypatch.setattr("agere.chat.queue.HELD_SECONDS", 0.05)
    monkeypatch.setattr("agere.commander.emission.BOUND", 2)  # pieces that a reader may lag behind
    logged = _Logged()
    with ScriptedLLM([text("x", *["y"] * 3000), "Two.", "Three."]) as server, logged:
        chat = Chat(client=server.client())
        turn = chat.turn("a")
        texts = commander.submit(turn).stream()
        assert next(texts).startswith("x")
        others = [commander.submit(chat.turn(question)) for question in "bc"]
        assert logged.come.wait(20)
        texts.close()
        assert [str(future.result(timeout=20)) for future in others] == ["Two.", "Three."]
    (message,) = logged.messages
    assert f"turn #{turn.id}, which has been held up for" in message
    assert "nobody reads its stream: read that on, close or drop it, or cancel the turn" in message


def test_who_waits_very_long_is_told(commander: Commander[Any], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("agere.chat.queue.PATIENCE_SECONDS", 0.01)
    monkeypatch.setattr("agere.chat.queue.SLOW_SECONDS", 0.05)
    gate = Gate()
    logged = _Logged()
    with ScriptedLLM([text("One", gate), "Two.", "Three."]) as server, logged:
        chat = Chat(client=server.client())
        turn = chat.turn("a")
        futures = [commander.submit(each) for each in (turn, chat.turn("b"))]
        assert logged.come.wait(20)
        gate.release()
        assert [str(future.result(timeout=20)) for future in futures] == ["One", "Two."]
    assert f"turn #{turn.id}, which is not over" in logged.messages[0]


class _Logged(logging.Handler):
    """What is logged on "agere.chat" meanwhile."""

    def __init__(self) -> None:
        super().__init__()
        self.come = threading.Event()
        self.messages: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        self.messages.append(record.getMessage())
        self.come.set()

    def __enter__(self) -> None:
        logging.getLogger("agere.chat").addHandler(self)

    def __exit__(self, *_: object) -> None:
        logging.getLogger("agere.chat").removeHandler(self)


def test_the_next_turn_can_be_put_by_the_end_of_the_last(commander: Commander[Any]) -> None:
    through = threading.Event()

    def again(task_node: Any) -> None:
        second = chat.turn("b")
        second.add_callback_functions("at_job_end", {"function": through.set})
        task_node.put_job(second, parent=task_node.commander)

    with ScriptedLLM(["One.", "Two."]) as server:
        chat = Chat(client=server.client())
        first = chat.turn("a")
        first.add_callback_functions("at_job_end", {"function": again, "inject_task_node": True})
        commander.submit(first).result(timeout=20)
        assert through.wait(20)
    assert [message["content"] for message in chat.conversation.messages] == ["a", "One.", "b", "Two."]


# -- bad input


@pytest.mark.parametrize("prompt", ["", "  \n"])
def test_an_empty_prompt_is_refused(prompt: str) -> None:
    with ScriptedLLM() as server, pytest.raises(ValueError, match="the prompt is empty"):
        Chat(client=server.client()).turn(prompt)


@pytest.mark.parametrize("prompt", [None, 3, b"bytes", {"type": "text", "text": "a"}, iter("a")])
def test_a_prompt_of_another_type_is_refused(prompt: Any) -> None:
    with ScriptedLLM() as server, pytest.raises(TypeError, match="a prompt is a str or a list of content parts"):
        Chat(client=server.client()).turn(prompt)


@pytest.mark.parametrize(
    ("parts", "words"),
    [
        (["a"], "part 1 of the prompt is 'a'; a part is a dict such as"),
        ([{"type": "text", "text": "a"}, {"text": "b"}], 'part 2 of the prompt has no "type"'),
        ([{"type": "text"}], 'of the type "text", has to have under "text" a str'),
        ([{"type": "image_url", "image_url": "http://a"}], 'has to have under "image_url" a dict such as'),
        ([{"type": "image_url", "image_url": {}}], 'its image_url has no "url"'),
        ([{"type": "text", "text": "a", "more": {1, 2}}], "cannot be written as JSON"),
        ([], "the prompt is empty"),
        ([{"type": "text", "text": " "}], "the prompt is empty"),
    ],
)
def test_parts_that_are_none_are_refused(parts: Any, words: str) -> None:
    with ScriptedLLM() as server, pytest.raises(ValueError, match=words):
        Chat(client=server.client()).turn(parts)


def test_a_question_may_have_pictures(tmp_path: Any) -> None:
    parts: list[dict[str, Any]] = [
        {"type": "text", "text": "What is this?"},
        {"type": "image_url", "image_url": {"url": "data:image/png;base64,AAAA"}},
    ]
    told = json.loads(json.dumps(parts))
    with ScriptedLLM(["A cat.", "Black.", "Fine."]) as server:
        with Conversation(path=tmp_path / "talk.jsonl") as conversation:
            chat = Chat(client=server.client(), conversation=conversation)
            turn = chat.turn(parts)
            parts[0]["text"] = "changed afterwards"
            assert str(agere.run(turn)) == "A cat."
        with Conversation(path=tmp_path / "talk.jsonl") as conversation:
            agere.run(Chat(client=server.client(), conversation=conversation).turn("Which colour?"))
        assert server.requests[0].body["messages"] == [{"role": "user", "content": told}]
        assert [message["content"] for message in server.requests[1].body["messages"]] == [
            told,
            "A cat.",
            "Which colour?",
        ]
        agere.run(Chat(client=server.client()).turn([{"type": "image_url", "image_url": {"url": "http://a/b"}}]))


def test_what_no_utf_8_can_carry_is_replaced() -> None:
    with ScriptedLLM(lambda _: "Fine.") as server:
        conversation = Conversation("s\ud800")
        options = {"metadata": {"k\udcff": ["v\udcff"]}, "timeout": 20.0}
        chat = Chat(
            model="m\ud800",
            client=server.client(),
            system="s\ud800",
            conversation=conversation,
            keep="said",
            options=options,
        )
        assert str(agere.run(chat.turn("a\ud800b"))) == "Fine."
        assert str(agere.run(chat.turn([{"type": "text", "text": "c\udcff"}]))) == "Fine."
        body = server.requests[1].body
    said = [message["content"] for message in body["messages"]]
    assert said == ["s\ufffd", "a\ufffdb", "Fine.", [{"type": "text", "text": "c\ufffd"}]]
    assert body["metadata"] == {"k\ufffd": ["v\ufffd"]}
    assert body["model"] == "m\ufffd"


def test_halves_that_belong_together_stay_together() -> None:
    conversation = Conversation()
    conversation.add_turn([{"role": "user", "name": "n\ud800", "content": "\ud83d\ude00 \\ud800"}])
    assert conversation.messages == [{"role": "user", "name": "n\ufffd", "content": "\U0001f600 \\ud800"}]


@pytest.mark.parametrize(
    ("arguments", "error", "words"),
    [
        ({"max_rounds": 0}, ValueError, "max_rounds is at least 1"),
        ({"max_rounds": True}, TypeError, "max_rounds is a whole number"),
        ({"max_tool_calls": -1}, ValueError, "max_tool_calls is at least 0"),
        ({"max_tokens": 1.5}, TypeError, "max_tokens is a whole number"),
        ({"max_seconds": 0}, ValueError, "max_seconds is above 0"),
        ({"max_seconds": float("nan")}, ValueError, "max_seconds is above 0"),
        ({"max_seconds": "1"}, TypeError, "max_seconds is a number"),
        ({"keep": "all"}, ValueError, "keep is 'answered' or 'said'"),
        ({"options": {"stream": False}}, ValueError, "options cannot have 'stream'"),
        ({"options": 3}, TypeError, "options is a dict"),
        ({"model": ""}, ValueError, "the name of a model"),
        ({"model": 3}, TypeError, "model is the name of a model, a str or a path, or a ChatModel, not 3"),
        ({"model": b"m"}, TypeError, "model is the name of a model, a str or a path, or a ChatModel, not b'm'"),
        ({"conversation": Conversation(), "system": "b"}, ValueError, "has no system message; give it this one"),
        ({"conversation": Conversation(), "system": 3}, TypeError, "system is the text of the system message"),
        ({"conversation": []}, TypeError, "conversation is a Conversation, not list"),
        ({"conversation": Conversation("a"), "system": "b"}, ValueError, "a system message of its own"),
        ({"tools": weather}, TypeError, "tools is a list"),
        ({"tools": [weather, weather]}, ValueError, "two tools are named 'weather'"),
        ({"system": 3}, TypeError, "system"),
    ],
)
def test_bad_arguments_are_refused_at_the_call(arguments: dict[str, Any], error: type[Exception], words: str) -> None:
    with ScriptedLLM() as server, pytest.raises((error, agere.errors.ToolDefinitionError), match=words):
        Chat(**{"client": server.client(), **arguments})


@pytest.mark.parametrize("client", [object(), "http://localhost/v1", threading.Thread])
def test_what_is_no_client_is_refused(client: Any) -> None:
    with pytest.raises(TypeError, match=r"client is an openai\.OpenAI"):
        Chat(client=client)


def test_options_are_passed_on() -> None:
    with ScriptedLLM(["Fine."]) as server:
        agere.run(Chat(client=server.client(), options={"temperature": 0, "seed": 7}).turn("Hi"))
        body = server.requests[0].body
    assert (body["temperature"], body["seed"]) == (0, 7)


def test_a_closed_chat_takes_no_turns(commander: Commander[Any]) -> None:
    with ScriptedLLM() as server:
        with Chat(client=server.client()) as chat:
            made_before = chat.turn("Hi")
        assert chat.closed
        chat.close()
        with pytest.raises(agere.errors.ChatClosedError, match="has been closed"):
            chat.turn("Hi")
        with pytest.raises(agere.errors.ChatClosedError):
            commander.submit(made_before).result(timeout=20)
        assert server.requests == []


def test_closing_cancels_what_runs_and_waits(commander: Commander[Any]) -> None:
    gate = Gate()
    with ScriptedLLM([text("One", gate)]) as server:
        client = server.client()
        chat = Chat(client=client)
        futures = [commander.submit(chat.turn(question)) for question in "ab"]
        assert gate.wait_reached()
        chat.close()
        for future in futures:
            with pytest.raises(NodeTerminatedError):
                future.result(timeout=20)
        assert server.requests[0].wait_disconnected()
        assert not client.is_closed()  # it is the giver's
    assert chat.conversation.messages == []


def test_its_repr_tells_no_secret() -> None:
    with ScriptedLLM() as server:
        client = server.client(api_key="sk-very-secret-key")
        shown = repr(Chat([weather], client=client))
    assert "1 tools" in shown
    assert "secret" not in shown
