"""The small parts of the agent, each on its own."""

from __future__ import annotations

import io
import itertools
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import openai
import pytest

from agere.chat import ChatModel, Conversation, Screen, Tool, ToolCall, ToolResult, explain, open_model, weather_tool
from agere.chat.model import check_url
from agere.chat.tools import Toolbox
from agere.errors import NoModelError, ToolCallParseError
from agere.testing.scripted_llm import ScriptedLLM

CALL = ToolCall("call_1", "look", {"where": "there"})


@pytest.fixture(autouse=True)
def bare_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("OPENAI_API_KEY", "OPENAI_BASE_URL", "AGERE_MODEL"):
        monkeypatch.delenv(name, raising=False)


# -- conversation


def turn(text: str) -> list[dict[str, Any]]:
    return [{"role": "user", "content": text}, {"role": "assistant", "content": text}]


def test_a_conversation_keeps_whole_turns_and_its_system_message() -> None:
    conversation = Conversation("Be brief.", memory=1000)
    for number in range(30):
        conversation.add_turn(turn(f"{number:03}" * 20))
    messages = conversation.messages
    assert messages[0] == {"role": "system", "content": "Be brief."}
    assert messages[1]["role"] == "user"
    assert messages[-1]["content"] == "029" * 20
    assert len(json.dumps(messages)) < 1200


def test_a_conversation_drops_many_turns_at_a_time() -> None:
    conversation = Conversation(memory=1000)
    counts = []
    for _ in range(30):
        conversation.add_turn(turn("x" * 30))
        counts.append(len(conversation.messages))
    drops = sum(later < before for before, later in itertools.pairwise(counts))
    assert 0 < drops < 10


def test_a_turn_that_is_too_long_is_kept_alone() -> None:
    conversation = Conversation(memory=100)
    conversation.add_turn(turn("short"))
    conversation.add_turn(turn("x" * 500))
    assert [message["content"] for message in conversation.messages] == ["x" * 500] * 2


def test_without_a_limit_nothing_falls_out() -> None:
    conversation = Conversation()
    for _ in range(200):
        conversation.add_turn(turn("x" * 1000))
    assert len(conversation.messages) == 400


# -- model


def test_a_key_alone_means_openai(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", " sk-secret\n")
    with open_model() as model:
        assert (model.name, model.embedded, model.memory) == ("gpt-4o-mini", False, None)
        assert model.address == "https://api.openai.com/v1"
        assert "sk-secret" not in repr(model) + model.description
        assert model.redact("a sk-secret b") == "a *** b"
        assert model.client.api_key == "sk-secret"
    assert model.client.is_closed()


def test_a_server_without_a_key_gets_a_placeholder(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OPENAI_BASE_URL", "http://user:hush@localhost:9/v1/")
    with open_model("small") as model:
        assert model.client.api_key
        assert model.description == "small at http://localhost:9/v1"
        assert "hush" not in repr(model)
        assert model.redact("hush") == "***"
    with open_model(base_url="http://[::1]:8/v1") as model:
        assert model.address == "http://[::1]:8/v1"


@pytest.mark.parametrize("url", ["localhost", "ftp://a/v1", "http://", "http://a b/", "http://a:port/", "http://a:0x/"])
def test_what_is_no_address_is_refused(url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(ValueError, match="the address of a server looks like"):
        check_url(url)
    with pytest.raises(ValueError, match="the address"), open_model(base_url=url):
        pass
    monkeypatch.setenv("OPENAI_BASE_URL", url)
    with pytest.raises(NoModelError, match="OPENAI_BASE_URL"), open_model():
        pass


def test_the_embedded_model_takes_files_only(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    with pytest.raises(NoModelError, match="'gpt-4o' names a model of a server"), open_model("gpt-4o"):
        pass
    monkeypatch.setenv("AGERE_MODEL", str(tmp_path / "none.gguf"))
    with pytest.raises(NoModelError), open_model():
        pass
    monkeypatch.setenv("OPENAI_API_KEY", "sk-secret")
    with pytest.raises(NoModelError), open_model(str(tmp_path / "asked-for.gguf")):
        pass


# -- trouble


@pytest.fixture
def model() -> Iterator[ChatModel]:
    with openai.OpenAI(api_key="sk-secret", base_url="http://a/v1") as client:
        yield ChatModel(client, "small", "small at http://a/v1", address="http://a/v1", _secrets=("sk-secret",))


def test_every_explanation_is_one_line_without_the_key(model: ChatModel) -> None:
    with ScriptedLLM() as server:
        gone = server.base_url
    client = openai.OpenAI(api_key="sk-secret", base_url=gone, max_retries=0)
    with client, pytest.raises(openai.APIConnectionError) as info:
        client.models.list()
    assert explain(info.value, model).startswith("cannot reach the server at http://a/v1: ")
    for error in (ValueError("a\nsk-secret\n b"), ToolCallParseError("sk-secret\r\nbad"), RuntimeError("x" * 5000)):
        line = explain(error, model)
        assert line.isprintable()
        assert "sk-secret" not in line
        assert len(line) <= 300
    assert explain(ValueError("a"), model) == "ValueError: a"
    assert explain(ExceptionGroup("both", [ValueError("a"), KeyError("b")]), model) == "ValueError: a"


# -- tools


class Node:
    """Enough of a node for a toolbox."""

    async def delegate(self, fn: Any, **arguments: Any) -> Any:
        return fn(**arguments)


def run(tool: Any, **arguments: Any) -> ToolResult:
    import asyncio

    schema: Any = {"type": "function", "function": {"name": "look", "description": "", "parameters": {}}}
    box = Toolbox([Tool(tool, schema)])
    node: Any = Node()
    return asyncio.run(box.run(node, ToolCall("call_1", "look", arguments)))


def test_results_are_text_or_json() -> None:
    async def later(n: int) -> int:
        return n + 1

    assert run(lambda: "text").content == "text"
    assert run(lambda: {"a": [1, None]}).content == '{"a": [1, null]}'
    assert run(lambda: Path("p")).content == '"p"'
    assert run(later, n=1).content == "2"


def test_what_goes_wrong_in_a_tool_is_a_result() -> None:
    def broken() -> None:
        raise ValueError("no such place")

    def leaving() -> None:
        raise SystemExit(3)

    def circular() -> Any:
        ring: list[Any] = []
        ring.append(ring)
        return ring

    for tool, text in ((broken, "ValueError: no such place"), (leaving, "SystemExit: 3"), (circular, "ValueError")):
        result = run(tool)
        assert result.failed
        assert text in json.loads(result.content)["error"]
    assert "wrong arguments" in run(broken, where="there").content
    assert "wrong arguments" in run(lambda a: a, b=1).content


def test_two_tools_of_one_name_are_refused() -> None:
    with pytest.raises(ValueError, match="two tools are named 'get_current_weather'"):
        Toolbox([weather_tool(), weather_tool()])


def test_calls_without_ids_get_some() -> None:
    text = json.dumps({"tool_call_index": 0, "tool_call_id": None, "name": "look", "arguments": {"a": "é"}})
    call = ToolCall.from_json(text, 7)
    assert call.id == "call_7"
    assert call.message()["function"] == {"name": "look", "arguments": '{"a": "é"}'}
    bad = ToolCall.malformed(ToolCallParseError("cut off.", None, None, '{"a'), 8)
    assert (bad.id, bad.name, bad.arguments) == ("call_8", "unknown", {})
    assert "cut off" in (bad.trouble or "")


# -- screen


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def test_answers_and_the_rest_go_their_ways_line_by_line() -> None:
    out, err = io.StringIO(), io.StringIO()
    screen = Screen(out, err, io.StringIO())
    screen.text("Let me")
    screen.text(" look.")
    screen.call(CALL)
    screen.result(ToolResult(CALL, "a\nb" + "c" * 500))
    screen.result(ToolResult(CALL, '{"error": "x"}', failed=True))
    screen.text("Done.\n")
    screen.end_of_text()
    screen.error("bad")
    assert screen.prompt() == ""
    screen.asked("why?")
    screen.leave()
    assert out.getvalue() == "Let me look.\nDone.\n"
    lines = err.getvalue().splitlines()
    assert lines[0] == '  [tool] look(where="there")'
    assert lines[1].startswith("  [tool] look -> a bccc")
    assert len(lines[1]) < 250
    assert lines[2:] == ['  [tool] look failed: {"error": "x"}', "agere: bad", "You: why?"]


def test_on_a_terminal_it_is_coloured_and_harmless(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("NO_COLOR", raising=False)
    monkeypatch.setenv("TERM", "xterm")
    out, err = Terminal(), Terminal()
    screen = Screen(out, err, Terminal())
    screen.text("a\x1b[2J\tb\n")
    screen.error("\x1b]0;x\x07")
    assert out.getvalue() == "a[2J\tb\n"
    assert err.getvalue() == "\033[31magere: ]0;x\033[0m\n"
    assert screen.prompt() == "\001\033[32m\002You:\001\033[0m\002 "
    monkeypatch.setenv("NO_COLOR", "1")
    assert screen.prompt() == "You: "
    screen.note("plain")
    assert err.getvalue().endswith("\nplain\n")


def test_a_person_whose_answers_go_to_a_file_is_asked_on_stderr(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NO_COLOR", "1")
    out, err = io.StringIO(), Terminal()
    screen = Screen(out, err, Terminal())
    assert screen.prompt() == ""
    screen.asked("not echoed")
    screen.leave()
    assert (out.getvalue(), err.getvalue()) == ("", "You: \n")
