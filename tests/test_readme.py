"""What the README shows is run, in this process, with a scripted model in the place of the embedded one."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any, Self

import pytest

from agere.addons import local_llm
from agere.testing import Call, ScriptedLLM, text, tool_calls

README = (Path(__file__).parents[1] / "README.md").read_text()
PROGRAMS = re.findall(r"```python\n(.*?)```", README, re.DOTALL)


class ScriptedLocalLLM:
    """Speaks as the README says the real one did."""

    model = "scripted"

    def __init__(self) -> None:
        self._server = ScriptedLLM(_output_below(1).splitlines())

    def client(self) -> Any:
        return self._server.client()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._server.close()


def _output_below(number: int) -> str:
    """What the README shows below a program."""
    programs = re.findall(r"```python\n.*?```\n\n```\n(.*?)```", README, re.DOTALL)
    return str(programs[number])


def test_the_agent_in_ten_lines_prints_what_is_below_it(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    answer = _output_below(0).rstrip("\n")
    with ScriptedLLM([tool_calls(Call("weather", {"location": "Paris"})), answer]) as server:
        monkeypatch.setenv("OPENAI_BASE_URL", server.base_url)
        space: dict[str, Any] = {"__name__": "readme"}
        exec(PROGRAMS[0], space)
        space["chat"].close()
    assert capsys.readouterr().out == answer


def test_the_function_on_the_core_prints_what_is_below_it(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(local_llm, "LocalLLM", ScriptedLocalLLM)
    exec(PROGRAMS[1], {"__name__": "readme"})
    assert capsys.readouterr().out == _output_below(1)


def test_every_page_that_is_linked_is_there() -> None:
    root = Path(__file__).parents[1]
    for page in [root / "README.md", *root.glob("docs/**/*.md"), root / "examples" / "README.md"]:
        for target in re.findall(r"\]\(([^)#:]+)(?:#[^)]*)?\)", page.read_text()):
            assert (page.parent / target).exists(), f"{page.name} links to {target}"


def test_the_skeleton_of_a_dialogue_agent_works(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    answers = iter(["Weather?", "exit"])
    monkeypatch.setattr("builtins.input", lambda _: next(answers))
    space: dict[str, Any] = {"__name__": "readme"}
    exec(PROGRAMS[2], space)
    with ScriptedLLM([text("Hel", "lo."), tool_calls(Call("look", {"where": "there"}, to_user="Wait."))]) as server:
        client = server.client()

        def ask_model(messages: Any) -> Any:
            return client.chat.completions.create(model="scripted", messages=messages, stream=True)

        assert space["talk"](ask_model) == "QUIT"
        assert server.requests[1].body["messages"][-1]["content"] == "Weather?"
    shown = capsys.readouterr().out
    assert "Hello.\n" in shown
    assert "Wait." in shown
    assert '"arguments": {"where": "there"}' in shown


def test_the_session_shown_is_what_the_command_says_of_itself() -> None:
    source = (Path(__file__).parents[1] / "agere" / "cli.py").read_text()
    for line in ("For a better one set OPENAI_API_KEY", "`exit`, the end of input or Ctrl-C ends the conversation."):
        assert line in README
        assert line in source
