"""Programs in processes of their own, each with a hard limit and a verdict."""

from __future__ import annotations

import os
import select
import signal
import subprocess
import sys
import textwrap
import threading
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from time import monotonic

ROOT = Path(__file__).resolve().parents[2]
LIMIT_SECONDS = 20.0


@dataclass(frozen=True)
class Outcome:
    """How a program ended.

    Attributes:
        verdict: "ok" (it ended by itself, with code 0), "error" (another code), "crash" (a signal), "hang".
    """

    verdict: str
    code: int | None
    out: str
    err: str
    seconds: float

    def __str__(self) -> str:
        return f"{self.verdict} (code {self.code}, {self.seconds:.1f} s)\n-- stdout\n{self.out}\n-- stderr\n{self.err}"

    @property
    def lines(self) -> list[str]:
        return self.out.split("\n")[:-1] if self.out.endswith("\n") else self.out.split("\n")

    def check(self, *, code: int = 0, out: str | None = None) -> Outcome:
        """Assert how it ended. Signals count as ``-number``, as ``subprocess`` gives them."""
        assert self.verdict != "hang", str(self)
        assert self.code == code, str(self)
        if out is not None:
            assert self.out == out, str(self)
        return self


def _environment(extra: dict[str, str] | None) -> dict[str, str]:
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "PYTHONFAULTHANDLER": "1", "PYTHONUNBUFFERED": "1"}
    environment.pop("PYTHONASYNCIODEBUG", None)
    return {**environment, **(extra or {})}


def _verdict(process: subprocess.Popen[str], out: str, err: str, began: float, hung: bool) -> Outcome:
    code = process.returncode
    verdict = "hang" if hung else "ok" if code == 0 else "crash" if code < 0 else "error"
    return Outcome(verdict, code, out, err, monotonic() - began)


def run_python(
    program: str,
    *args: str,
    stdin: str | None = "",
    limit: float = LIMIT_SECONDS,
    env: dict[str, str] | None = None,
    signals: tuple[tuple[str, int], ...] = (),
    options: tuple[str, ...] = (),
) -> Outcome:
    """Run a program with ``python -c`` and wait for it, at most ``limit`` seconds.

    Args:
        program: its text; dedented.
        *args: its ``sys.argv[1:]``.
        stdin: what it can read; an empty input by default.
        limit: seconds; then its threads' stacks are written to its stderr, and it is killed.
        env: additional environment variables.
        signals: pairs of a line on stdout and the signal to send once it was printed, in this order.
        options: of the interpreter.
    """
    began = monotonic()
    process = subprocess.Popen(
        [sys.executable, *options, "-c", textwrap.dedent(program), *args],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        cwd=ROOT,
        env=_environment(env),
    )
    seen = ""
    try:
        if signals:
            assert process.stdin is not None
            if stdin:
                process.stdin.write(stdin)
                process.stdin.flush()
            seen = _send_signals(process, signals, began + limit)
            stdin = ""
        out, err = process.communicate(stdin, timeout=max(0.1, began + limit - monotonic()))
    except (subprocess.TimeoutExpired, TimeoutError):
        out, err = _kill(process)
        return _verdict(process, seen + out, err, began, hung=True)
    return _verdict(process, seen + out, err, began, hung=False)


def _send_signals(process: subprocess.Popen[str], signals: tuple[tuple[str, int], ...], end: float) -> str:
    assert process.stdout is not None
    number = process.stdout.fileno()
    seen = ""
    begin = 0
    for line, signum in signals:
        while (at := (seen + "\n").find(line + "\n", begin)) < 0 or not seen[at:].startswith(line + "\n"):
            ready, _, _ = select.select([number], [], [], max(0.0, end - monotonic()))
            if not ready:
                raise TimeoutError
            data = os.read(number, 65536)
            if not data:
                return seen
            seen += data.decode()
        begin = at + len(line)
        wait_until_asleep(process.pid, 1.0)
        process.send_signal(signum)
    return seen


def wait_until_asleep(pid: int, seconds: float = 10.0) -> None:
    """Wait until a process's main thread sleeps, or until the time is up.

    CPython looks for signals between two steps of the main thread, and when what it sleeps in is interrupted. One that
    comes in the microseconds between its last look and its sleep waits there until it wakes up: no person is that fast,
    but a test is, on a busy machine.
    """
    status = Path(f"/proc/{pid}/task/{pid}/stat")
    end = monotonic() + seconds
    while status.exists() and status.read_text().rpartition(")")[2].split()[0] != "S" and monotonic() < end:
        threading.Event().wait(0.001)


def _kill(process: subprocess.Popen[str]) -> tuple[str, str]:
    process.send_signal(signal.SIGABRT)  # faulthandler writes the stacks
    try:
        return process.communicate(timeout=2)
    except subprocess.TimeoutExpired:
        process.kill()
        return process.communicate()


def run_on_terminal(
    program: str,
    talk: list[tuple[str, str | Callable[[int], None]]],
    *,
    limit: float = LIMIT_SECONDS,
    env: dict[str, str] | None = None,
) -> Outcome:
    """Run a program on a pseudo-terminal of its own (stdin, stdout and stderr).

    Args:
        program: its text; dedented.
        talk: pairs of a text to wait for and what to type then (``"\\x03"`` is Ctrl-C), or a function that is given
            the process id. A Ctrl-C that comes between the prompt and the read is lost to any Python program: after
            a while of silence it is typed again, as a person would.
        limit: seconds.
        env: additional environment variables.
    """
    import pty

    began = monotonic()
    pid, terminal = pty.fork()
    if pid == 0:  # the child
        os.chdir(ROOT)
        os.execve(sys.executable, [sys.executable, "-c", textwrap.dedent(program)], _environment(env))
    seen, begin, hung, last = "", 0, False, ""
    steps = list(talk)
    try:
        while True:
            while steps and (at := seen.find(steps[0][0], begin)) >= 0:
                text, answer = steps.pop(0)
                begin = at + len(text)
                if callable(answer):
                    answer(pid)
                else:
                    os.write(terminal, answer.encode())
                    last = answer
            ready, _, _ = select.select([terminal], [], [], 1.0)
            if not ready and monotonic() < began + limit:
                if last == "\x03":
                    os.write(terminal, b"\x03")
                continue
            if not ready:
                hung = True
                os.kill(pid, signal.SIGKILL)
                break
            try:
                data = os.read(terminal, 65536)
            except OSError:  # Linux says so when the other side has closed
                break
            if not data:
                break
            seen += data.decode(errors="replace")
    finally:
        _, status = os.waitpid(pid, 0)
        os.close(terminal)
    code = os.waitstatus_to_exitcode(status)
    verdict = "hang" if hung else "ok" if code == 0 else "crash" if code < 0 else "error"
    return Outcome(verdict, code, seen.replace("\r\n", "\n"), "", monotonic() - began)
