"""The examples, as people run them: real processes, a scripted server, and one on the embedded model."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Callable
from pathlib import Path
from subprocess import PIPE
from typing import Any

import pytest

from agere.testing import Answer, Call, Gate, ScriptedLLM, failing, silent, text, tool_calls
from tests.support.commands import KEY, environment
from tests.support.subprocesses import LIMIT_SECONDS, Outcome, run_on_terminal, run_python, wait_until_asleep

EXAMPLES = Path(__file__).parents[2] / "examples"
LOOP, ROUND, SUMMARISE, EDGES = (
    "openai_chat_with_tools_within_loop",
    "openai_chat_with_tools",
    "summarise_documents",
    "edges",
)
RUN = """
    import runpy, sys
    sys.argv = ["{name}.py", *sys.argv[1:]]
    runpy.run_path({path!r}, run_name="__main__")
"""
WEATHER = "get_current_weather"


def program(name: str) -> str:
    return RUN.format(name=name, path=str(EXAMPLES / f"{name}.py"))


def run(
    name: str, *arguments: str, server: ScriptedLLM | str | None, limit: float = LIMIT_SECONDS, **more: Any
) -> Outcome:
    env = {**environment(server), **more.pop("env", {})}
    outcome = run_python(program(name), *arguments, env=env, limit=limit, **more)
    assert KEY not in outcome.out + outcome.err
    assert "Traceback" not in outcome.err, str(outcome)
    return outcome


def weather() -> Answer:
    return tool_calls(Call(WEATHER, {"location": "Paris"}, to_user="Let me look."))


def test_every_example_is_listed() -> None:
    listed = (EXAMPLES / "README.md").read_text()
    in_tests_of_hosts = ["asgi_app", "asgi_client", "qt_chat", "tk_chat"]
    in_test_chat_examples = ["approve_a_tool", "group_talk", "resumable_talk", "ten_lines"]
    tested = [LOOP, ROUND, SUMMARISE, EDGES, *in_tests_of_hosts, *in_test_chat_examples]
    assert sorted(path.stem for path in EXAMPLES.glob("*.py")) == sorted(tested)
    for path in EXAMPLES.glob("*.py"):
        assert f"`{path.name}`" in listed


@pytest.mark.parametrize("name", [LOOP, ROUND, SUMMARISE, EDGES])
def test_each_says_which_model_answers_and_what_to_do_without_one(name: str, tmp_path: Path) -> None:
    with ScriptedLLM(lambda _: "Fine.") as server:
        assert f"Model: gpt-4o-mini at {server.base_url}" in run(name, server=server).check().err
    (tmp_path / "xllamacpp.py").write_text("raise ImportError('not here')")
    path = f"{tmp_path}:{EXAMPLES.parent}"
    (line,) = run(name, server=None, env={"PYTHONPATH": path}).check(code=1, out="").err.splitlines()
    assert "OPENAI_API_KEY" in line
    assert "pip install 'agere[local]'" in line


@pytest.mark.parametrize(("name", "shown"), [(LOOP, "YOU: "), (ROUND, "YOU: "), (EDGES, "TOPIC: ")])
def test_ctrl_c_at_the_prompt_of_a_terminal(name: str, shown: str) -> None:
    sane = """
    import atexit, termios
    before = termios.tcgetattr(0)
    atexit.register(lambda: print("sane" if termios.tcgetattr(0) == before else "INSANE"))
    """
    with ScriptedLLM() as server:
        talk: list[tuple[str, str | Callable[[int], None]]] = [(shown, wait_until_asleep), ("", "\x03")]
        outcome = run_on_terminal(sane + program(name), talk, env=environment(server))
    assert outcome.code == 130, str(outcome)
    assert outcome.out.rstrip().endswith("sane"), str(outcome)
    assert "INSANE" not in outcome.out
    assert "Traceback" not in outcome.out


# -- the dialogue


def test_the_dialogue_goes_round_and_ends_at_exit() -> None:
    with ScriptedLLM([weather(), "It is 22 degrees.", "You are welcome."]) as server:
        outcome = run(LOOP, server=server, stdin="Paris?\n\nThanks!\nexit\n").check()
        last = server.requests[-1].body["messages"]
    assert "Let me look." in outcome.out
    assert f'[tool] {WEATHER}({{"location": "Paris"}}) -> ' in outcome.err
    assert outcome.out.endswith("You are welcome.\n\nYOU: QUIT\n")
    assert [message["role"] for message in last] == ["user", "assistant", "tool", "assistant", "user"]
    assert json.loads(last[1]["tool_calls"][0]["function"]["arguments"]) == {"location": "Paris"}


def test_the_dialogue_survives_failures() -> None:
    with ScriptedLLM([failing(401), tool_calls(Call("nothing", {}), Call(WEATHER, "{bad")), "Fine."]) as server:
        outcome = run(LOOP, server=server, stdin="a\nb\nc\n").check()
        assert server.requests[-1].body["messages"] == [{"role": "user", "content": "c"}]
    assert "check OPENAI_API_KEY" in outcome.err
    assert outcome.out.endswith("Fine.\n\nYOU: QUIT\n")


def test_ctrl_c_during_the_stream_of_the_dialogue() -> None:
    with ScriptedLLM([silent("One line.\n")]) as server:
        with_signal = (("YOU: One line.", signal.SIGINT),)
        run(LOOP, server=server, stdin="a\n", signals=with_signal).check(code=130)
        assert server.requests[0].wait_disconnected()


def test_a_dialogue_that_only_calls_tools_is_stopped() -> None:
    with ScriptedLLM(lambda _: weather()) as server:
        outcome = run(LOOP, server=server, stdin="a\n").check()
    assert "no answer after 5 rounds" in outcome.err


# -- the single round


def test_a_single_round_ends_by_itself() -> None:
    with ScriptedLLM([weather(), "It is 22 degrees."]) as server:
        run(ROUND, "Paris?", server=server).check(out="Let me look.\nIt is 22 degrees.\n")
        assert server.requests[1].body["messages"][-1]["role"] == "tool"


def test_a_single_round_takes_a_piped_question_and_an_empty_one() -> None:
    with ScriptedLLM(["Fine."]) as server:
        run(ROUND, server=server, stdin="How?\n").check(out="YOU: Fine.\n")
        run(ROUND, server=server, stdin="exit\n").check(out="YOU: ")
        run(ROUND, server=server, stdin="").check(out="YOU: ")


def test_a_single_round_that_fails_says_so() -> None:
    with ScriptedLLM([failing(401)]) as server:
        outcome = run(ROUND, "Paris?", server=server).check(code=1)
    assert "check OPENAI_API_KEY" in outcome.err.splitlines()[-1]


# -- the documents


def test_documents_are_summarised_eight_at_a_time(tmp_path: Path) -> None:
    names = []
    for number in range(20):
        path = tmp_path / f"{number}.txt"
        path.write_text(f"document {number}")
        names.append(str(path))
    lock, gate, running, most = threading.Lock(), Gate(), 0, 0

    def answer(body: dict[str, Any]) -> Answer:
        nonlocal running, most
        with lock:
            running += 1
            most = max(most, running)
            if running == 8:
                gate.release()
        words = body["messages"][0]["content"].split()[-1]
        return text(f"about {words}", gate, Done())

    class Done(Gate):
        """No gate: where the answer is through."""

        def hold(self, connection: object) -> bool:
            nonlocal running
            with lock:
                running -= 1
            return True

    with ScriptedLLM(answer) as server:
        outcome = run(SUMMARISE, *names, server=server).check()
    assert most == 8
    assert sorted(outcome.lines) == sorted(f"{name}: about {number}" for number, name in enumerate(names))
    assert f"[{'#' * 30}] 20/20" in outcome.err


def test_a_document_that_fails_spares_the_others() -> None:
    def answer(body: dict[str, Any]) -> Answer | str:
        return failing(400, "no bees") if "hive" in body["messages"][0]["content"] else "Fine."

    with ScriptedLLM(answer) as server:
        outcome = run(SUMMARISE, server=server).check(code=1)
    assert len(outcome.lines) == 5
    assert "bees.txt: the server" in outcome.err


def test_documents_from_a_pipe_and_from_nowhere() -> None:
    with ScriptedLLM(["Fine."]) as server:
        run(SUMMARISE, "-", server=server, stdin="words").check(out="-: Fine.\n")
        assert "No such file" in run(SUMMARISE, "/no/such/file", server=server).check(code=1).err


@pytest.mark.parametrize("headers", [True, False])
@pytest.mark.parametrize("name", [SUMMARISE, EDGES])
def test_ctrl_c_while_the_server_is_silent(name: str, headers: bool) -> None:
    with ScriptedLLM(lambda _: silent("half") if headers else silent(headers=False)) as server:
        command = [sys.executable, str(EXAMPLES / f"{name}.py")]
        env = {**os.environ, **environment(server), "PYTHONPATH": str(EXAMPLES.parent)}
        with subprocess.Popen(command, env=env, stdin=PIPE, stdout=PIPE, stderr=PIPE) as process:
            try:
                assert process.stdin is not None
                process.stdin.write(b"cats\n")
                process.stdin.flush()
                requests = [server.wait_request(count) for count in (1, 2)]
                wait_until_asleep(process.pid)
                process.send_signal(signal.SIGINT)
                _, told = process.communicate(timeout=20)
            finally:
                process.kill()
        assert process.returncode == 130
        assert all(request.wait_disconnected() for request in requests)
    assert b"Traceback" not in told
    assert b"abandoned" not in told


# -- edges


def test_edges_branch_join_and_loop() -> None:
    def answer(body: dict[str, Any]) -> str:
        asked = body["messages"][0]["content"]
        return "Yes, by all means." if "in favour of" in asked else "No."

    with ScriptedLLM(answer) as server:
        outcome = run(EDGES, server=server, stdin="cats\n\ndogs\nexit\n").check()
        asked = {request.body["messages"][0]["content"] for request in server.requests}
    assert asked == {
        f"Write one short sentence {side} {topic}."
        for side in ("in favour of", "against")
        for topic in ("cats", "dogs")
    }
    assert outcome.out.count("pro:    Yes, by all means.\ncontra: No.\nthe pro has more to say\n") == 2
    assert outcome.out.endswith("QUIT\n")


def test_edges_survive_a_failure_and_the_end_of_input() -> None:
    with ScriptedLLM(lambda _: failing(401)) as server:
        outcome = run(EDGES, server=server, stdin="cats\n").check()
    assert outcome.out.count("check OPENAI_API_KEY") == 2
    assert outcome.out.endswith("QUIT\n")


# -- the real thing


@pytest.mark.timeout(600)
def test_an_example_on_the_embedded_model() -> None:
    pytest.importorskip(
        "xllamacpp", reason="the embedded model needs the package xllamacpp: pip install 'agere[local]'"
    )
    outcome = run(ROUND, "What is the weather in Rome?", server=None, limit=570).check()
    assert "small demo model" in outcome.err
    assert f"[tool] {WEATHER} -> " in outcome.err
    assert outcome.out.strip()
