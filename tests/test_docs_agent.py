"""Every snippet of ``docs/agent.md`` is run, one after the other in one namespace, against a scripted server."""

from __future__ import annotations

import os
import re
from pathlib import Path
from typing import Any

import pytest

from agere.testing import Call, ScriptedLLM

PAGE = (Path(__file__).parents[1] / "docs" / "agent.md").read_text()
SNIPPETS = re.findall(r"```python\n(.*?)```", PAGE, re.DOTALL)


def model(request: Any) -> Any:
    """Looks the city up, and says what it has found."""
    last = request.body["messages"][-1]
    if last["role"] == "tool":
        return f"It is {last['content']}."
    (city,) = re.findall(r"in (\w+)\?", last["content"])
    name = request.body["tools"][0]["function"]["name"]
    if name == "ask_meteorologist":
        return Call(name, {"question": last["content"]})
    assert name == "weather"
    return Call(name, {"location": city})


def test_the_snippets_work(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    assert len(SNIPPETS) == 10
    assert len([line for line in SNIPPETS[0].splitlines() if line.strip()]) <= 10
    monkeypatch.chdir(tmp_path)
    space: dict[str, Any] = {"__name__": "docs"}
    with ScriptedLLM(model) as server:
        monkeypatch.setenv("OPENAI_API_KEY", "sk-scripted")
        monkeypatch.setenv("OPENAI_BASE_URL", server.base_url)
        monkeypatch.delenv("AGERE_MODEL", raising=False)
        shown = []
        for number, snippet in enumerate(SNIPPETS):
            exec(compile(snippet, f"docs/agent.md, snippet {number + 1}", "exec"), space)
            shown.append(capsys.readouterr().out)
        for name in ("chat", "careful", "expert"):
            space[name].close()
        space["client"].close()
    said = "It is 22 C, clear."
    ten, run, submitted, events, limits, resumed, nested, request, turn, rounds = shown
    assert ten == turn == said
    assert run.startswith(f"{said}\n['weather'] Usage(")
    assert submitted.startswith(f"{said}(ToolResult(")
    assert events == f"\n[weather {{'location': 'Tokyo'}}]\n[-> 22 C, clear]\n{said}"
    assert limits == resumed == f"{said}\n"
    assert nested == f"It is {said}."
    assert request == ""
    assert rounds == f"{said}['user', 'assistant', 'tool', 'assistant']\n"
    assert space["messages"][1]["tool_calls"][0]["function"]["name"] == "weather"
    assert os.path.exists("talk.jsonl")  # noqa: PTH110


def test_the_pages_it_names_exist() -> None:
    for name in re.findall(r"\]\(([^)#]+)\)", PAGE):
        assert (Path(__file__).parents[1] / "docs" / name).exists(), name
