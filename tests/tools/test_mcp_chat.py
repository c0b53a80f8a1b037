"""``MCPTools`` among the tools of a Chat, and what ``docs/mcp.md`` shows."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import pytest

import agere
from agere import Chat, Commander, MCPTools
from agere.errors import MCPServerError
from agere.hosts import ScriptedHost
from agere.testing import Call, ScriptedLLM, tool_calls
from tests.support.documents import ROOT, programs

SERVER = [sys.executable, "-m", "tests.support.mcp_server", "stdio"]


def weather(location: str) -> str:
    """Current weather in a city."""
    return f"sunny in {location}"


def results(request: Any) -> list[str]:
    return [message["content"] for message in request["messages"] if message["role"] == "tool"]


def test_a_chat_with_both_kinds_of_tools() -> None:
    script = [
        tool_calls(Call("add", {"a": 1, "b": 2}, to_user="I count."), Call("weather", {"location": "Rome"})),
        Call("learn", {"name": "newer"}),
        Call("die", {}),
        Call("add", {"a": 2, "b": 2}),
        "Done.",
    ]
    tools = MCPTools(SERVER, cwd=ROOT, to_user=True)
    with ScriptedLLM(script) as server, Commander() as commander:
        chat = Chat([tools, weather], model="m", client=server.client())
        answer = commander.submit(chat.turn("Count!")).result()
        assert answer.text.endswith("Done.")
        requests = server.requests
        assert results(requests[1]) == ["3", "sunny in Rome"]
        assert "ended during the call" in results(requests[3])[-1]
        assert results(requests[4])[-1] == "4"
        offered = [tool["function"]["name"] for tool in requests[0]["tools"]]
        assert offered[0] == "add"
        assert offered[-1] == "weather"


@pytest.mark.parametrize("option", [False, True])
def test_a_servers_own_to_user_reaches_the_server_and_not_the_person(option: bool) -> None:
    said = {"to_user": "I tell him."} if option else {}
    script = [Call("send_message", {"to_user_": "Bob", "text": "Hi"}, **said), "Done."]
    with ScriptedLLM(script) as server, Commander() as commander:
        chat = Chat([MCPTools(SERVER, cwd=ROOT, to_user=option)], model="m", client=server.client())
        future = commander.submit(chat.turn("Tell Bob!"))
        heard = "".join(map(str, future.stream()))
        assert results(server.requests[1]) == ["sent to Bob: Hi"]
        assert "Bob" not in heard
        assert ("I tell him." in heard) is option
        offered = {tool["function"]["name"]: tool["function"]["parameters"] for tool in server.requests[0]["tools"]}
        assert list(offered["send_message"]["properties"]) == [*said, "to_user_", "text"]


def test_a_chat_whose_server_cannot_be_started() -> None:
    with ScriptedLLM([]) as server, Commander() as commander:
        chat = Chat([MCPTools(["/no/such/server"])], model="m", client=server.client())
        with pytest.raises(MCPServerError, match="/no/such/server could not be started"):
            commander.submit(chat.turn("Hello?")).result()
        assert server.requests == []
        assert chat.conversation.messages == []


def test_one_chat_in_one_commander_after_another() -> None:
    tools = MCPTools(SERVER, cwd=ROOT)
    with ScriptedLLM([Call("add", {"a": 1, "b": 2}), "Three.", Call("add", {"a": 2, "b": 2}), "Four."]) as server:
        chat = Chat([tools], model="m", client=server.client())
        assert [agere.run(chat.turn("Count!")).text for _ in range(2)] == ["Three.", "Four."]
        assert results(server.requests[3]) == ["3", "4"]


def test_the_page(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    client, server = programs("docs/mcp.md")
    (tmp_path / "notes_server.py").write_text(server)
    monkeypatch.chdir(tmp_path)
    script = [
        tool_calls(Call("notes_look_up", {"about": "Paris"}), Call("weather", {"location": "Paris"})),
        Call("notes_forget", {"about": "Paris"}),
        "You noted: bring an umbrella.",
    ]
    host = ScriptedHost(["no"])
    with ScriptedLLM(script) as model:
        monkeypatch.setenv("OPENAI_BASE_URL", model.base_url)
        monkeypatch.setenv("OPENAI_API_KEY", "scripted")
        monkeypatch.setenv("AGERE_MODEL", "scripted")
        monkeypatch.setattr(agere, "Commander", lambda: Commander(host=host))
        space: dict[str, Any] = {"__name__": "shown"}
        exec(client, space)
        space["chat"].close()
        assert results(model.requests[1]) == ["Bring an umbrella.", "22 C, clear"]
        assert json.loads(results(model.requests[2])[-1])["error"]
    assert len(host.asked) == 1
    assert capsys.readouterr().out.strip() == "You noted: bring an umbrella."
