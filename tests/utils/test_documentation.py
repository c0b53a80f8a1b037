"""The program in ``docs/wire_formats.md`` is run."""

from __future__ import annotations

import pytest

from agere.testing import Call, ScriptedLLM, answer
from tests.support.documents import programs


def test_wire_formats(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    (program,) = programs("docs/wire_formats.md")
    call = Call("weather", {"city": "Rome"}, to_user="I look at the sky.")
    with ScriptedLLM([answer("Well. ", call)]) as server:
        monkeypatch.setenv("ANTHROPIC_BASE_URL", server.base_url.removesuffix("/v1"))
        monkeypatch.setenv("ANTHROPIC_API_KEY", "scripted")
        space = {"__name__": "shown"}
        exec(program, space)
        assert server.requests[0]["tools"][0]["name"] == "weather"
    assert capsys.readouterr().out == "Well. \nI look at the sky.\ncall weather {'city': 'Rome'}\n"
