"""The ASGI example: a real uvicorn in a process of its own, real HTTP clients, a scripted model server."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from agere.testing import Answer, Gate, ScriptedLLM, failing, silent, text
from tests.support.commands import environment

pytest.importorskip("starlette", reason="needs starlette: pip install 'agere[dev]'")
pytest.importorskip("uvicorn", reason="needs uvicorn: pip install 'agere[dev]'")
try:
    import httpx2 as httpx
except ImportError:
    httpx = pytest.importorskip("httpx", reason="needs httpx or httpx2, which come with openai")

ROOT = Path(__file__).resolve().parents[2]


class Server:
    """A running example, and the port that it serves."""

    def __init__(self, process: subprocess.Popen[str]) -> None:
        self.process = process
        self.told: list[str] = []
        self.port = self._read_port()
        self.url = f"http://127.0.0.1:{self.port}/answer"
        self._reader = threading.Thread(target=self._read_on, name="server-log")
        self._reader.start()

    def _read_port(self) -> int:
        assert self.process.stderr is not None
        for line in self.process.stderr:
            self.told.append(line)
            if found := re.search(r"running on http://127\.0\.0\.1:(\d+)", line):
                return int(found[1])
        raise AssertionError(f"it has ended: {''.join(self.told)}")

    def _read_on(self) -> None:
        assert self.process.stderr is not None
        self.told += self.process.stderr

    def stop(self) -> tuple[int, str]:
        """Ctrl-C. Gives the exit code and what it said."""
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGINT)
        try:
            self.process.wait(15)
        finally:
            self.process.kill()
            self._reader.join()
        return self.process.returncode, "".join(self.told)


@contextmanager
def serving(llm: ScriptedLLM) -> Iterator[Server]:
    env = {**os.environ, **environment(llm), "PYTHONPATH": str(ROOT), "PYTHONUNBUFFERED": "1"}
    command = [sys.executable, str(ROOT / "examples/asgi_app.py"), "0"]
    pipe = subprocess.PIPE
    with subprocess.Popen(command, env=env, stdout=pipe, stderr=pipe, text=True) as process:
        try:
            server = Server(process)
            yield server
            server.stop()
        finally:
            process.kill()


def ask(server: Server, question: str) -> Any:
    return httpx.stream("GET", server.url, params={"question": question}, timeout=20, trust_env=False)


def test_an_answer_streams() -> None:
    gate = Gate()
    with ScriptedLLM([text("Blue", gate, " sky")]) as llm, serving(llm) as server:
        with ask(server, "What?") as response:
            pieces = response.iter_text()
            assert next(pieces) == "Blue"  # while the rest is still held back
            gate.release()
            assert "".join(pieces) == " sky\n"
            assert response.status_code == 200
        assert llm.requests[0].body["messages"] == [{"role": "user", "content": "What?"}]
        with httpx.Client(trust_env=False) as client:
            assert client.get(server.url).status_code == 400
        code, said = server.stop()
    assert "Traceback" not in said
    assert code in (0, 130), said


def test_several_clients_at_once_get_each_their_own() -> None:
    together, lock, there = Gate(), threading.Lock(), 0

    def answer(body: dict[str, Any]) -> Answer:
        nonlocal there
        with lock:
            there += 1
            if there == 6:
                together.release()
        return text("you said ", together, body["messages"][0]["content"])

    got: dict[int, str] = {}

    def read(number: int, server: Server) -> None:
        with ask(server, f"number {number}") as response:
            got[number] = "".join(response.iter_text())

    with ScriptedLLM(answer) as llm, serving(llm) as server:
        clients = [threading.Thread(target=read, args=(number, server)) for number in range(6)]
        for client in clients:
            client.start()
        for client in clients:
            client.join()
    assert got == {number: f"you said number {number}\n" for number in range(6)}


@pytest.mark.parametrize("answer", [silent("Half"), silent(headers=False)])
def test_a_client_that_goes_away_stops_its_job_and_no_other(answer: Answer) -> None:
    gate = Gate()
    with ScriptedLLM([text("Blue", gate, " sky"), answer]) as llm, serving(llm) as server:
        with ask(server, "first") as stays:
            pieces = stays.iter_text()
            assert next(pieces) == "Blue"
            with ask(server, "second") as goes:
                request = llm.wait_request(2)
                assert not request.disconnected
                goes.close()
            assert request.wait_disconnected()
            gate.release()
            assert "".join(pieces) == " sky\n"
        assert "Traceback" not in server.stop()[1]


def test_a_failing_model_is_told_to_the_client() -> None:
    with ScriptedLLM([failing(401), "Fine."]) as llm, serving(llm) as server:
        with ask(server, "What?") as response:
            assert "check OPENAI_API_KEY" in response.read().decode()
        with ask(server, "And now?") as response:
            assert response.read() == b"Fine.\n"
        assert "Traceback" not in server.stop()[1]


def test_ctrl_c_stops_the_server_and_all_jobs() -> None:
    with ScriptedLLM([silent("Half")]) as llm, serving(llm) as server, ask(server, "What?") as response:
        assert next(response.iter_text()) == "Half"
        code, said = server.stop()
        assert llm.requests[0].wait_disconnected()
    assert code in (0, 130), said


def test_the_examples_client() -> None:
    command = [sys.executable, str(ROOT / "examples/asgi_client.py")]
    with ScriptedLLM(["It is blue."]) as llm, serving(llm) as server:
        arguments = ["--port", str(server.port), "What", "colour?"]
        done = subprocess.run([*command, *arguments], capture_output=True, text=True, timeout=20)
        assert (done.stdout, done.returncode) == ("It is blue.\n", 0), done.stderr
        assert llm.requests[0].body["messages"][0]["content"] == "What colour?"
        server.stop()
        done = subprocess.run([*command, *arguments], capture_output=True, text=True, timeout=20)
        assert done.returncode == 1
        assert "is asgi_app.py running?" in done.stderr
