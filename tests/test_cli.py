"""The command ``agere``: real processes, real clients, a scripted server."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

import agere as package
from agere.testing import (
    Answer,
    Call,
    Gate,
    ScriptedLLM,
    cut,
    error_in_stream,
    failing,
    silent,
    text,
    tool_calls,
)
from tests.support.commands import KEY, agere, agere_on_terminal, environment
from tests.support.subprocesses import wait_until_asleep

WEATHER = "get_current_weather"


def paris(to_user: str | None = "Let me look.") -> Call:
    return Call(WEATHER, {"location": "Paris"}, to_user=to_user)


# -- its frame


def test_version_help_and_wrong_usage() -> None:
    assert agere("--version").check().out == f"agere {package.__version__}\n"
    helped = agere("chat", "--help").check()
    for word in ("--model", "--base-url", "OPENAI_API_KEY", "agere[local]"):
        assert word in helped.out
    for wrong in ([], ["sing"], ["chat", "--volume"], ["chat", ""], ["chat", "--base-url", "localhost:80", "hi"]):
        outcome = agere(*wrong).check(code=2, out="")
        assert "usage: agere" in outcome.err


def test_it_is_a_module_and_a_script() -> None:
    for command in ([sys.executable, "-m", "agere"], [str(Path(sys.executable).with_name("agere"))]):
        if not Path(command[0]).exists():
            pytest.skip("the console script `agere` is not installed: pip install -e .")
        done = subprocess.run([*command, "--version"], capture_output=True, text=True, timeout=30, check=True)
        assert done.stdout == f"agere {package.__version__}\n"


def test_without_a_key_and_without_the_extra_one_line_names_both_remedies(tmp_path: Path) -> None:
    (tmp_path / "xllamacpp.py").write_text("raise ImportError('not here')")
    root = str(Path(package.__file__).parents[1])
    outcome = agere("chat", "hi", env={"PYTHONPATH": f"{tmp_path}:{root}"}).check(code=1, out="")
    (line,) = outcome.err.splitlines()
    assert "OPENAI_API_KEY" in line
    assert "pip install 'agere[local]'" in line


def test_a_model_of_a_server_without_a_server_is_refused() -> None:
    outcome = agere("chat", "--model", "gpt-4o", "hi").check(code=1, out="")
    assert "'gpt-4o' names a model of a server" in outcome.err
    assert "--base-url" in outcome.err


def test_a_wrong_address_in_the_environment_is_refused() -> None:
    outcome = agere("chat", "hi", server="nonsense").check(code=1, out="")
    assert "http://localhost:8080/v1" in outcome.err


# -- one question


def test_one_question_is_answered_on_stdout() -> None:
    with ScriptedLLM([text("It is", " nice.")]) as server:
        outcome = agere("chat", "How is it?", server=server).check(out="It is nice.\n")
        (request,) = server.requests
    assert request.body["messages"] == [{"role": "user", "content": "How is it?"}]
    assert request.body["model"] == "gpt-4o-mini"
    assert f"gpt-4o-mini at {server.base_url}" in outcome.err
    assert "invented data" in outcome.err


def test_words_need_no_quotes_and_the_model_can_be_chosen() -> None:
    with ScriptedLLM(["Yes.", "Yes.", "Yes."]) as server:
        agere("chat", "is", "it", "--model", "clever", server=server).check()
        agere("chat", "is it", server=server, env={"AGERE_MODEL": "cleverer"}).check()
        agere("chat", "is it", server=server, env={"AGERE_MODEL": "/no/such/thing.gguf"}).check()
        assert [request.body["model"] for request in server.requests] == ["clever", "cleverer", "gpt-4o-mini"]
        assert server.requests[0].body["messages"][-1]["content"] == "is it"


def test_a_server_named_on_the_command_line_needs_no_key() -> None:
    with ScriptedLLM(["Yes."]) as server:
        agere("chat", "--base-url", server.base_url, "is it?").check(out="Yes.\n")


def test_a_tool_is_called_and_shown_and_its_result_goes_back() -> None:
    with ScriptedLLM([tool_calls(paris()), "It is 22 degrees."]) as server:
        outcome = agere("chat", "Paris?", server=server).check(out="Let me look.\nIt is 22 degrees.\n")
        _, second = server.requests
    assert f'[tool] {WEATHER}(location="Paris")' in outcome.err
    assert f'[tool] {WEATHER} -> {{"location": "Paris", "temperature": 22' in outcome.err
    question, called, result = second.body["messages"]
    assert question == {"role": "user", "content": "Paris?"}
    assert called["content"] == "Let me look."
    (call,) = called["tool_calls"]
    assert (call["id"], call["function"]["name"]) == ("call_0", WEATHER)
    assert json.loads(call["function"]["arguments"]) == {"location": "Paris"}
    assert (result["role"], result["tool_call_id"]) == ("tool", "call_0")
    assert json.loads(result["content"])["temperature"] == 22


def test_a_wrong_key_is_one_clear_line() -> None:
    with ScriptedLLM([failing(401, f"Incorrect API key provided: {KEY}")]) as server:
        outcome = agere("chat", "hi", server=server).check(code=1, out="")
    assert "refused the key (401): check OPENAI_API_KEY" in outcome.err.splitlines()[-1]


def test_a_key_that_no_header_can_carry_stays_secret() -> None:
    with ScriptedLLM(["never"]) as server:
        bad = "sk-tést\u2028line"
        outcome = agere("chat", "hi", server=server, env={"OPENAI_API_KEY": bad}).check(code=1, out="")
    assert bad not in outcome.err
    assert "sk-t" not in outcome.err


def test_a_server_that_cannot_be_reached_is_one_clear_line() -> None:
    with ScriptedLLM() as server:
        gone = server.base_url
    outcome = agere("chat", "hi", server=gone).check(code=1, out="")
    assert outcome.err.splitlines()[-1].startswith(f"agere: cannot reach the server at {gone}: ")


@pytest.mark.parametrize(
    ("answer", "line"),
    [
        (failing(404, "no such model"), "no model 'gpt-4o-mini' (404): see --model"),
        (failing(400, "too long\n  by far"), "answered 400: too long by far"),
        (error_in_stream("Hel", message="overheated"), "broke off: overheated"),
        (cut("Hel"), "was cut off: peer closed connection"),
    ],
)
def test_other_failures_are_one_clear_line(answer: Answer, line: str) -> None:
    with ScriptedLLM([answer]) as server:
        outcome = agere("chat", "hi", server=server).check(code=1)
    assert line in outcome.err.splitlines()[-1]
    assert outcome.err.count("agere: ") == 1
    assert outcome.out in ("", "Hel\n")


def test_ctrl_c_during_the_stream_hangs_up_on_the_server() -> None:
    with ScriptedLLM([silent("One line.\n")]) as server:
        outcome = agere("chat", "hi", server=server, signals=(("One line.", signal.SIGINT),))
        outcome.check(code=130, out="One line.\n")
        assert server.requests[0].wait_disconnected()


def test_ctrl_c_before_the_server_says_anything() -> None:
    with ScriptedLLM([silent(headers=False)]) as server:
        with _chat(server) as process:
            request = server.wait_request()
            process.send_signal(signal.SIGINT)
            process.communicate(timeout=20)
        assert process.returncode == 130
        assert request.wait_disconnected()


def test_sigterm_winds_down_too() -> None:
    with ScriptedLLM([silent("One line.\n")]) as server:
        outcome = agere("chat", "hi", server=server, signals=(("One line.", signal.SIGTERM),))
        outcome.check(code=143, out="One line.\n")
        assert server.requests[0].wait_disconnected()


def test_a_reader_that_leaves_ends_it_quietly() -> None:
    gate = Gate()
    with ScriptedLLM([text("One.\n", gate, *["More.\n"] * 50)]) as server, _chat(server) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        assert process.stdout.readline() == b"One.\n"
        process.stdout.close()
        gate.release()
        told = process.stderr.read().decode()
        assert process.wait(20) == 1
    assert "Traceback" not in told
    assert "Broken" not in told


# -- a conversation


def test_a_piped_conversation_with_tools_ends_at_exit() -> None:
    script: list[Answer | str] = [tool_calls(paris()), "It is 22 degrees.", "You are welcome."]
    with ScriptedLLM(script) as server:
        outcome = agere("chat", server=server, stdin="Paris?\n\n  \nThanks!\nexit\nnever asked\n")
        outcome.check(out="Let me look.\nIt is 22 degrees.\nYou are welcome.\nQUIT\n")
        roles = [message["role"] for message in server.requests[-1].body["messages"]]
    assert roles == ["user", "assistant", "tool", "assistant", "user"]
    assert "You: Paris?\n" in outcome.err


def test_the_end_of_input_ends_it_cleanly() -> None:
    with ScriptedLLM(["Hello."]) as server:
        agere("chat", server=server, stdin="Hi").check(out="Hello.\n")
        agere("chat", server=server, stdin="").check(out="")


def test_a_failed_turn_leaves_the_conversation_as_it_was() -> None:
    script: list[Answer | str] = [
        "One.",
        failing(401),
        tool_calls(paris()),
        error_in_stream("half", message="overheated"),
        cut("half"),
        "Two.",
    ]
    with ScriptedLLM(script) as server:
        outcome = agere("chat", server=server, stdin="a\nb\nc\nd\ne\nexit\n").check()
        contents = [message["content"] for message in server.requests[-1].body["messages"]]
    assert contents == ["a", "One.", "e"]
    assert outcome.err.count("agere: ") == 3
    assert outcome.lines == ["One.", "Let me look.", "half", "half", "Two.", "QUIT"]


def test_unknown_tools_bad_arguments_and_malformed_calls_become_results() -> None:
    calls = tool_calls(
        Call("rm_rf", {"path": "/"}),
        Call(WEATHER, {"city": "Paris"}),
        Call(WEATHER, '{"location": "Par'),
        Call("__import__('os').abort()", {}),
        paris(to_user=None),
        Call(WEATHER, {"location": ["no", "text"]}),
    )
    with ScriptedLLM([calls, "Sorry."]) as server:
        outcome = agere("chat", "hi", server=server).check(out="Sorry.\n")
        messages = server.requests[1].body["messages"]
    results = {message["tool_call_id"]: message["content"] for message in messages if message["role"] == "tool"}
    assert "no tool named 'rm_rf'" in json.loads(results["call_0"])["error"]
    assert "wrong arguments" in json.loads(results["call_1"])["error"]
    assert "location" in json.loads(results["call_2"])["error"]
    assert "no tool named" in json.loads(results["call_3"])["error"]
    assert json.loads(results["call_4"])["temperature"] == 22
    assert "AttributeError" in json.loads(results["call_5"])["error"]
    for call in messages[1]["tool_calls"]:
        json.loads(call["function"]["arguments"])
    assert outcome.err.count(" failed: ") == 5


def test_a_model_that_only_calls_tools_is_stopped() -> None:
    with ScriptedLLM(lambda _: tool_calls(paris(to_user=None))) as server:
        outcome = agere("chat", "hi", server=server).check(code=1, out="")
        assert len(server.requests) == 10
    assert "no answer after 10 requests (max_rounds)" in outcome.err.splitlines()[-1]


def test_a_closed_stdin_is_the_end_of_input() -> None:
    with ScriptedLLM() as server:
        done = subprocess.run(
            ["sh", "-c", 'exec "$0" -m agere chat <&-', sys.executable],
            env={**_machine(), **environment(server)},
            capture_output=True,
            timeout=20,
            check=False,
        )
    assert done.returncode == 0, done.stderr.decode()


def test_bytes_that_are_no_text_harm_nothing() -> None:
    with ScriptedLLM(["Hm."]) as server:
        done = subprocess.run(
            [sys.executable, "-m", "agere", "chat"],
            input=b"caf\xe9 \xff\n",
            env={**_machine(), **environment(server), "PYTHONIOENCODING": "ascii"},
            capture_output=True,
            timeout=20,
            check=False,
        )
    assert (done.returncode, done.stdout) == (0, b"Hm.\n"), done.stderr.decode()


# -- on a terminal


def test_on_a_terminal_exit_leaves_it_sane() -> None:
    with ScriptedLLM([tool_calls(paris()), "It is 22 degrees."]) as server:
        outcome = agere_on_terminal(
            "chat", server=server, talk=[("You: ", "Paris?\r"), ("22 degrees.\r\nYou: ", "exit\r")]
        )
    assert outcome.out.endswith("QUIT\nterminal sane code 0\n"), str(outcome)


def test_on_a_terminal_ctrl_d_ends_it() -> None:
    with ScriptedLLM() as server:
        outcome = agere_on_terminal("chat", server=server, talk=[("You: ", "\x04")])
    assert outcome.out.endswith("\nterminal sane code 0\n"), str(outcome)
    assert "QUIT" not in outcome.out


def test_on_a_terminal_ctrl_c_at_the_prompt_ends_it() -> None:
    with ScriptedLLM() as server:
        outcome = agere_on_terminal(
            "chat", server=server, talk=[("You: ", "half a li"), ("half a li", wait_until_asleep), ("", "\x03")]
        )
    assert outcome.out.endswith("\nterminal sane code 130\n"), str(outcome)
    assert outcome.seconds < 10


def test_on_a_terminal_ctrl_c_during_the_stream_ends_it() -> None:
    with ScriptedLLM([silent("Once upon")]) as server:
        outcome = agere_on_terminal("chat", server=server, talk=[("You: ", "Tell!\r"), ("Once upon", "\x03")])
        assert server.requests[0].wait_disconnected()
    assert outcome.out.endswith("\nterminal sane code 130\n"), str(outcome)


def test_colours_only_where_they_are_wanted() -> None:
    with ScriptedLLM(["A.", "B.", "C."]) as server:
        talk = [("You:", "exit\r")]
        assert "\033[" in agere_on_terminal("chat", server=server, talk=talk, env={"NO_COLOR": ""}).out
        assert "\033[2m" not in agere_on_terminal("chat", server=server, talk=talk).out
        assert "\033" not in agere("chat", "hi", server=server, env={"NO_COLOR": ""}).err


def test_a_model_cannot_play_tricks_with_the_terminal() -> None:
    with ScriptedLLM([text("a\x1b]0;owned\x07b\x9b2Jc\u00e9")]) as server:
        outcome = agere_on_terminal("chat", "hi", server=server, talk=[])
    assert "a]0;ownedb2Jc\u00e9" in outcome.out


# -- the real thing


@pytest.mark.timeout(600)
def test_the_embedded_model_through_the_whole_agent() -> None:
    pytest.importorskip(
        "xllamacpp", reason="the embedded model needs the package xllamacpp: pip install 'agere[local]'"
    )
    outcome = agere("chat", "What is the weather in Paris?", limit=570).check()
    assert "small demo model" in outcome.err
    assert f"[tool] {WEATHER}(" in outcome.err
    assert f"[tool] {WEATHER} -> " in outcome.err
    assert len(outcome.lines) >= 2, str(outcome)  # said while calling, and the answer


@contextlib.contextmanager
def _chat(server: ScriptedLLM) -> Iterator[subprocess.Popen[bytes]]:
    command = [sys.executable, "-m", "agere", "chat", "hi"]
    pipe = subprocess.PIPE
    with subprocess.Popen(command, env={**_machine(), **environment(server)}, stdout=pipe, stderr=pipe) as process:
        try:
            yield process
        finally:
            process.kill()


def _machine() -> dict[str, str]:
    return {**os.environ, "PYTHONPATH": str(Path(package.__file__).parents[1])}
