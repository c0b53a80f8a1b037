"""The examples of ``agere.Chat``, as people run them: real processes, a scripted server, once the embedded model."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from pathlib import Path
from subprocess import PIPE
from typing import Any

import pytest

from agere.testing import Call, Gate, ScriptedLLM, answer, failing, silent, text
from tests.support.commands import KEY, environment
from tests.support.subprocesses import LIMIT_SECONDS, Outcome, run_python

EXAMPLES = Path(__file__).parents[2] / "examples"
TEN, GROUP, APPROVE, RESUME = "ten_lines", "group_talk", "approve_a_tool", "resumable_talk"
RUN = """
    import runpy, sys
    sys.argv = ["{name}.py", *sys.argv[1:]]
    runpy.run_path({path!r}, run_name="__main__")
"""


def run(name: str, *arguments: str, server: ScriptedLLM | None, limit: float = LIMIT_SECONDS, **more: Any) -> Outcome:
    env = {**environment(server), **more.pop("env", {})}
    program = RUN.format(name=name, path=str(EXAMPLES / f"{name}.py"))
    outcome = run_python(program, *arguments, env=env, limit=limit, **more)
    assert KEY not in outcome.out + outcome.err
    assert "Traceback" not in outcome.err, str(outcome)
    return outcome


@pytest.mark.parametrize("name", [GROUP, APPROVE, RESUME])
def test_each_says_which_model_answers_and_what_to_do_without_one(name: str, tmp_path: Path) -> None:
    with ScriptedLLM(lambda _: "Fine.") as server:
        talk = str(tmp_path / "talk.jsonl")
        assert f"Model: gpt-4o-mini at {server.base_url}" in run(name, talk, server=server).check().err
    (tmp_path / "xllamacpp.py").write_text("raise ImportError('not here')")
    path = f"{tmp_path}:{EXAMPLES.parent}"
    (line,) = run(name, server=None, env={"PYTHONPATH": path}).check(code=1, out="").err.splitlines()
    assert "OPENAI_API_KEY" in line
    assert "pip install 'agere[local]'" in line


def test_the_ten_lines() -> None:
    program = (EXAMPLES / "ten_lines.py").read_text()
    assert len([line for line in program.splitlines() if line.strip()]) <= 10
    with ScriptedLLM([Call("weather", {"location": "Paris"}), text("22 degrees", ".")]) as server:
        run(TEN, server=server).check(out="22 degrees.")
        assert server.requests[1].body["messages"][-1]["content"] == "22 C, clear"


# -- the group


def test_all_roles_speak_at_once_and_hear_each_other() -> None:
    gate = Gate()
    begun: list[str] = []

    def answered(request: Any) -> Any:
        system, *_, last = request.body["messages"]
        name = system["content"].split()[2].rstrip(",")
        if last["content"] != "Tea?":
            return f"{name} has heard."
        begun.append(name)
        if len(begun) == 3:
            gate.release()
        return text(f"{name} begins. ", gate, f"{name} ends.")

    with ScriptedLLM(answered) as server:
        outcome = run(GROUP, "Tea?", server=server).check()
        heard = [request.body["messages"] for request in server.requests if len(request.body["messages"]) == 4]
    first, second = outcome.out.split("-- round 2\n")
    assert sorted(first.splitlines()[1:]) == sorted(
        f"{name}: {name} {does}." for name in ("Ann", "Bob", "Eve") for does in ("begins", "ends")
    )
    assert sorted(second.splitlines()) == sorted(f"{name}: {name} has heard." for name in ("Ann", "Bob", "Eve"))
    assert len(heard) == 3
    for system, _, own, others in heard:
        name = system["content"].split()[2].rstrip(",")
        assert own["content"] == f"{name} begins. {name} ends."
        assert f"{name} says" not in others["content"]
        assert others["content"].count("says") == 2


def test_a_group_whose_server_fails_says_so() -> None:
    with ScriptedLLM(lambda _: failing(401)) as server:
        assert "check OPENAI_API_KEY" in run(GROUP, "Tea?", server=server).check(code=1).err


def test_ctrl_c_ends_the_group() -> None:
    with ScriptedLLM(lambda _: silent("half")) as server:
        command = [sys.executable, str(EXAMPLES / "group_talk.py"), "Tea?"]
        env = {**os.environ, **environment(server), "PYTHONPATH": str(EXAMPLES.parent)}
        with subprocess.Popen(command, env=env, stdin=PIPE, stdout=PIPE, stderr=PIPE) as process:
            try:
                requests = [server.wait_request(count) for count in (1, 2, 3)]
                process.send_signal(signal.SIGINT)
                _, told = process.communicate(timeout=20)
            finally:
                process.kill()
        assert process.returncode == 130
        assert all(request.wait_disconnected() for request in requests)
    assert b"Traceback" not in told


# -- the approval


@pytest.mark.parametrize(("said", "left"), [("y", "report.doc"), ("no, I need it", "old.txt, report.doc")])
def test_the_person_decides(said: str, left: str) -> None:
    with ScriptedLLM([answer("Well.", Call("delete_file", {"path": "old.txt"})), "So be it."]) as server:
        outcome = run(APPROVE, server=server, stdin=f"{said}\n").check()
        result = server.requests[1].body["messages"][-1]["content"]
    assert outcome.out.startswith("Well.")
    assert 'Allow delete_file(path="old.txt")?' in outcome.out
    assert outcome.out.endswith(f"So be it.\nStill there: {left}\n")
    assert ("deleted" in result) == (said == "y")
    assert said == "y" or "I need it" in result


# -- the resumable talk


def test_a_talk_goes_on_after_a_kill(tmp_path: Path) -> None:
    path = str(tmp_path / "talk.jsonl")
    with ScriptedLLM(["One.", silent("Tw"), "Three."]) as server:
        command = [sys.executable, str(EXAMPLES / "resumable_talk.py"), path]
        env = {**os.environ, **environment(server), "PYTHONPATH": str(EXAMPLES.parent)}
        with subprocess.Popen(command, env=env, stdin=PIPE, stdout=PIPE, stderr=PIPE) as process:
            assert process.stdin is not None
            process.stdin.write(b"a\nb\n")
            process.stdin.flush()
            server.wait_request(2)
            process.kill()
            process.communicate()
        outcome = run(RESUME, path, server=server, stdin="c\n").check()
        sent = [message["content"] for message in server.requests[2].body["messages"]]
    assert sent == ["a", "One.", "b", "(interrupted)", "c"]
    assert outcome.out.startswith("(user: a)\n(assistant: One.)\n(user: b)\n(assistant: (interrupted))\n")
    assert "Three." in outcome.out


def test_a_file_that_holds_no_talk_is_left_alone(tmp_path: Path) -> None:
    path = tmp_path / "notes.txt"
    path.write_text("buy milk\n")
    with ScriptedLLM() as server:
        outcome = run(RESUME, str(path), server=server).check(code=1, out="")
    assert str(path) in outcome.err.splitlines()[-1]
    assert path.read_text() == "buy milk\n"


def test_a_turn_that_fails_does_not_end_the_talk(tmp_path: Path) -> None:
    path = tmp_path / "talk.jsonl"
    with ScriptedLLM([failing(401), "Fine."]) as server:
        outcome = run(RESUME, str(path), server=server, stdin="a\nb\nexit\n").check()
    assert "check OPENAI_API_KEY" in outcome.err
    assert "Fine." in outcome.out
    roles = [json.loads(line).get("role") for line in path.read_text().splitlines()]
    assert [role for role in roles if role][-2:] == ["user", "assistant"]


# -- the real thing


@pytest.mark.timeout(600)
def test_the_ten_lines_on_the_embedded_model() -> None:
    pytest.importorskip(
        "xllamacpp", reason="the embedded model needs the package xllamacpp: pip install 'agere[local]'"
    )
    outcome = run(TEN, server=None, limit=570).check()
    assert "22 C" in outcome.out
    assert outcome.err == ""
