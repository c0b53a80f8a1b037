"""The Qt example, offscreen: its real widgets clicked in one process, and the whole of it in another."""

from __future__ import annotations

import signal
import subprocess
from pathlib import Path

import pytest

from agere.testing import Answer, Call, Gate, ScriptedLLM, failing, silent, text, tool_calls
from tests.support.chat_windows import Program, start

WIDGETS = "PySide6 (pip install 'agere[qt]') with the Debian packages libegl1 libgl1 libxkbcommon0 libfontconfig1"
pytest.importorskip("PySide6.QtWidgets", reason=f"needs {WIDGETS}", exc_type=ImportError)

# The example itself, unchanged. A person at its window, who does what each line of stdin says.
PROGRAM = """
import json, runpy, sys, threading
from PySide6.QtCore import QObject, Qt, Signal
from PySide6.QtTest import QTest
from PySide6.QtWidgets import QApplication, QDialog, QLabel, QLineEdit, QPushButton, QTextEdit

class Person(QObject):
    told = Signal(str)

    def __init__(self):
        super().__init__()
        self.told.connect(self.do, Qt.ConnectionType.QueuedConnection)
        threading.Thread(target=self.listen, daemon=True).start()

    def listen(self):
        for line in sys.stdin:
            self.told.emit(line.strip())

    def do(self, line):
        verb, _, rest = line.partition(" ")
        (window,) = (top for top in QApplication.topLevelWidgets() if top.windowTitle() == "Agere chat")
        if verb == "type":
            QTest.keyClicks(window.findChild(QLineEdit), rest)
        elif verb == "return":
            QTest.keyClick(window.findChild(QLineEdit), Qt.Key.Key_Return)
        elif verb == "click":
            (button,) = (button for button in window.findChildren(QPushButton) if button.text() == rest)
            QTest.mouseClick(button, Qt.MouseButton.LeftButton)
        elif verb == "grab":
            picture = window.grab()
            picture.save(rest)
            colours = {picture.toImage().pixel(x, y) for x in range(picture.width()) for y in range(picture.height())}
            print(json.dumps({"colours": len(colours)}), flush=True)
        elif verb == "look":
            dialogs = [top for top in QApplication.topLevelWidgets() if isinstance(top, QDialog) and top.isVisible()]
            told = {"dialogs": len(dialogs), "text": window.findChild(QTextEdit).toPlainText()}
            told |= {button.text(): button.isEnabled() for button in window.findChildren(QPushButton)}
            print(json.dumps(told), flush=True)
        elif verb == "dialog":
            (dialog,) = (top for top in QApplication.topLevelWidgets() if isinstance(top, QDialog) and top.isVisible())
            print(json.dumps({"prompt": dialog.findChild(QLabel).text()}), flush=True)
            QTest.keyClicks(dialog.findChild(QLineEdit), rest)
            QTest.keyClick(dialog.findChild(QLineEdit), Qt.Key.Key_Return)
        elif verb == "close":
            window.close()

class Application(QApplication):
    def exec(self):
        self.person = Person()
        return super().exec()

import PySide6.QtWidgets
PySide6.QtWidgets.QApplication = Application
runpy.run_path("examples/qt_chat.py", run_name="__main__")
"""
ENV = {"QT_QPA_PLATFORM": "offscreen"}


def do(program: Program, *lines: str) -> None:
    assert program.process.stdin is not None
    program.process.stdin.write("".join(f"{line}\n" for line in lines))
    program.process.stdin.flush()


def look_until(program: Program, **wanted: object) -> None:
    """Look at the window until it shows this."""
    while True:
        do(program, "look")
        told = program.told()
        if all(told[key] == value for key, value in wanted.items()):
            return


def test_a_conversation(tmp_path: Path) -> None:
    gate = Gate()
    script = [text("The sky ", "is ", gate, "blue."), "Because of the sun."]
    with ScriptedLLM(script) as server, start(PROGRAM, server, ENV) as program:
        look_until(program, text="", Send=True, Stop=False)
        do(program, "type What colour is the sky?", "click Send")
        assert gate.wait_reached()
        look_until(program, text="What colour is the sky?\nThe sky is ", Send=False, Stop=True)
        gate.release()
        look_until(program, text="What colour is the sky?\nThe sky is blue.\n\n", Send=True, Stop=False)
        do(program, "type Why?", "return")
        look_until(
            program, Send=True, text="What colour is the sky?\nThe sky is blue.\n\nWhy?\nBecause of the sun.\n\n"
        )
        do(program, f"grab {tmp_path}/conversation.png")
        assert program.told()["colours"] > 10
        roles = [message["role"] for message in server.requests[1].body["messages"]]
        assert roles == ["user", "assistant", "user"]
        do(program, "close")
        code, err = program.end()
    assert code == 0, err
    assert "Traceback" not in err


def test_stop_hangs_up_at_once_and_the_window_goes_on(tmp_path: Path) -> None:
    with ScriptedLLM([silent("Half an ans"), "Fine."]) as server, start(PROGRAM, server, ENV) as program:
        do(program, "type Anything?", "return")
        look_until(program, text="Anything?\nHalf an ans", Stop=True)
        do(program, "click Stop")
        assert server.requests[0].wait_disconnected()
        look_until(program, text="Anything?\nHalf an ans (stopped)\n\n", Send=True, Stop=False)
        do(program, "type Again?", "click Send")
        look_until(program, text="Anything?\nHalf an ans (stopped)\n\nAgain?\nFine.\n\n", Send=True)
        assert server.requests[1].body["messages"] == [{"role": "user", "content": "Again?"}]
        do(program, f"grab {tmp_path}/stopped.png")
        program.told()
        program.process.send_signal(signal.SIGINT)
        code, err = program.end()
    assert code == 130, err
    assert "Traceback" not in err


def test_the_person_is_asked_before_the_tool_is_called() -> None:
    call = tool_calls(Call("get_current_weather", {"location": "Rome"}))
    with ScriptedLLM([call, "It is sunny."]) as server, start(PROGRAM, server, ENV) as program:
        do(program, "type Rome?", "return")
        look_until(program, dialogs=1)
        do(program, "dialog yes")
        assert "Rome" in program.told()["prompt"]
        look_until(program, dialogs=0, Send=True)
        assert "sunny in Rome" in server.requests[1].body["messages"][-1]["content"]
        do(program, "close")
        code, err = program.end()
    assert code == 0, err
    assert "Traceback" not in err


def test_closing_the_window_with_a_question_open() -> None:
    call = tool_calls(Call("get_current_weather", {"location": "Rome"}))
    with ScriptedLLM([call]) as server, start(PROGRAM, server, ENV) as program:
        do(program, "type Rome?", "return")
        look_until(program, dialogs=1)
        do(program, "close")
        code, err = program.end()
    assert code == 0, err
    assert "Traceback" not in err


@pytest.mark.parametrize("answer", [silent("Half an ans"), silent(headers=False)])
@pytest.mark.parametrize("how", ["close", "interrupt"])
def test_closing_the_window_ends_everything(answer: Answer, how: str) -> None:
    with ScriptedLLM([answer]) as server, start(PROGRAM, server, ENV) as program:
        do(program, "type Anything?", "return")
        request = server.wait_request()
        if how == "close":
            do(program, "close")
        else:
            program.process.send_signal(signal.SIGINT)
        code, err = program.end()
        assert request.wait_disconnected()
    assert code == (0 if how == "close" else 130), err
    assert "Traceback" not in err


def test_a_failure_is_told_in_the_window() -> None:
    with ScriptedLLM([failing(401)]) as server, start(PROGRAM, server, ENV) as program:
        do(program, "type Anything?", "return")
        shown = f"Anything?\n the server at {server.base_url} refused the key (401): check OPENAI_API_KEY\n\n"
        look_until(program, text=shown, Send=True)
        do(program, "close")
        code, _ = program.end()
    assert code == 0


def test_the_example_as_it_stands_ends_at_ctrl_c() -> None:
    plain = "import runpy; runpy.run_path('examples/qt_chat.py', run_name='__main__')"
    with ScriptedLLM() as server, start(plain, server, ENV) as program:
        assert program.process.stderr is not None
        assert "Model: " in program.process.stderr.readline()
        pause = 0.2
        while program.process.poll() is None:  # before the window is there, Ctrl-C ends the program likewise
            program.process.send_signal(signal.SIGINT)
            try:
                program.process.wait(pause)
            except subprocess.TimeoutExpired:
                pause *= 2
        assert program.process.returncode in (130, -signal.SIGINT)
