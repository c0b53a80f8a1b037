"""The Tk example as a person uses it: a real window on a screen, typed and clicked; a scripted server."""

from __future__ import annotations

import signal
from pathlib import Path

import pytest

from agere.testing import Call, Gate, ScriptedLLM, failing, silent, text, tool_calls
from tests.support.chat_windows import Program, start
from tests.support.x11 import Screen

pytest.importorskip("tkinter", reason="needs the Debian package python3-tk", exc_type=ImportError)

# The example itself, unchanged; before its mainloop it tells where on the screen its parts are.
PROGRAM = """
import json, runpy, tkinter

class Tk(tkinter.Tk):
    def mainloop(self, n=0):
        self.update()
        found, stack = {}, [self]
        while stack:
            widget = stack.pop()
            stack += widget.winfo_children()
            kind = widget.winfo_class()
            name = str(widget["text"]) if kind == "TButton" else kind
            x, y = widget.winfo_rootx(), widget.winfo_rooty()
            found[name] = [x + widget.winfo_width() // 2, y + widget.winfo_height() // 2]
        print(json.dumps(found), flush=True)
        super().mainloop(n)

tkinter.Tk = Tk
runpy.run_path("examples/tk_chat.py", run_name="__main__")
"""


def ask(screen: Screen, program: Program, question: str) -> dict[str, list[int]]:
    at = program.told()
    screen.click(*at["TEntry"])
    screen.type(question)
    screen.click(*at["Send"])
    return at


def test_a_conversation(screen: Screen, tmp_path: Path) -> None:
    gate = Gate()
    script = [text("The sky ", "is blue.", gate), "Because of the sun."]
    with ScriptedLLM(script) as server, start(PROGRAM, server, screen.env) as program:
        empty = screen.screenshot(tmp_path / "before.png")
        at = ask(screen, program, "What colour is the sky?")
        assert server.wait_request().body["messages"] == [{"role": "user", "content": "What colour is the sky?"}]
        assert gate.wait_reached()
        gate.release()
        assert server.requests[0].wait_answered()
        screen.click(*at["TEntry"])
        screen.type("Why?")
        while len(server.requests) < 2:  # Return is not taken before the answer is complete
            screen.press("Return")
        roles = [message["role"] for message in server.wait_request(2).body["messages"]]
        assert roles == ["user", "assistant", "user"]
        assert server.requests[1].body["messages"][1]["content"] == "The sky is blue."
        assert server.requests[1].wait_answered()
        assert screen.screenshot(tmp_path / "conversation.png") > 10 >= empty
        screen.close_window("Agere chat")
        code, err = program.end()
    assert code == 0, err
    assert "Traceback" not in err


def test_stop_hangs_up_at_once_and_the_window_goes_on(screen: Screen, tmp_path: Path) -> None:
    with ScriptedLLM([silent("Half an ans"), "Fine."]) as server, start(PROGRAM, server, screen.env) as program:
        at = ask(screen, program, "Anything?")
        request = server.wait_request()
        while not request.disconnected:
            screen.click(*at["Stop"])
        assert request.wait_disconnected()
        screen.click(*at["TEntry"])
        screen.type("Again?")
        while len(server.requests) < 2:
            screen.click(*at["Send"])
        assert server.wait_request(2).body["messages"] == [{"role": "user", "content": "Again?"}]
        assert server.requests[1].wait_answered()
        screen.screenshot(tmp_path / "stopped.png")
        program.process.send_signal(signal.SIGINT)
        code, err = program.end()
    assert code == 130, err
    assert "Traceback" not in err


@pytest.mark.parametrize("answer", [silent("Half an ans"), silent(headers=False)])
def test_closing_the_window_ends_everything(screen: Screen, answer: object) -> None:
    with ScriptedLLM([answer]) as server, start(PROGRAM, server, screen.env) as program:  # type: ignore[list-item]
        ask(screen, program, "Anything?")
        request = server.wait_request()
        screen.close_window("Agere chat")
        code, err = program.end()
        assert request.wait_disconnected()
    assert code == 0, err
    assert "Traceback" not in err


def test_the_person_is_asked_before_the_tool_is_called(screen: Screen, tmp_path: Path) -> None:
    call = tool_calls(Call("get_current_weather", {"location": "Rome"}))
    with ScriptedLLM([call, "It is sunny."]) as server, start(PROGRAM, server, screen.env) as program:
        ask(screen, program, "Rome?")
        screen.click(*screen.centre_of("Question"))  # there is its entry
        screen.type("yes")
        screen.screenshot(tmp_path / "question.png")
        screen.press("Return")
        assert "sunny in Rome" in server.wait_request(2).body["messages"][-1]["content"]
        assert server.requests[1].wait_answered()
        screen.close_window("Agere chat")
        code, err = program.end()
    assert code == 0, err
    assert "Traceback" not in err


def test_closing_the_window_with_a_question_open(screen: Screen) -> None:
    call = tool_calls(Call("get_current_weather", {"location": "Rome"}))
    with ScriptedLLM([call]) as server, start(PROGRAM, server, screen.env) as program:
        ask(screen, program, "Rome?")
        screen.centre_of("Question")
        screen.close_window("Agere chat")
        code, err = program.end()
    assert code == 0, err
    assert "Traceback" not in err


def test_a_failure_is_told_in_the_window(screen: Screen, tmp_path: Path) -> None:
    with ScriptedLLM([failing(401), "Fine."]) as server, start(PROGRAM, server, screen.env) as program:
        at = ask(screen, program, "Anything?")
        server.wait_request()
        screen.click(*at["TEntry"])
        screen.type("Again?")
        while len(server.requests) < 2:
            screen.click(*at["Send"])
        assert server.wait_request(2).body["messages"] == [{"role": "user", "content": "Again?"}]
        assert server.requests[1].wait_answered()
        screen.screenshot(tmp_path / "failure.png")
        program.process.send_signal(signal.SIGINT)
        code, err = program.end()
    assert code == 130, err
