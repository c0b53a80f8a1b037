"""A process that has imported everything and started no thread: it forks one child per scenario.

That makes a process per scenario cost some milliseconds. Requests and answers are lines of JSON on stdin and stdout.
Where there is no ``fork``, ``runner`` starts an interpreter per scenario instead (``--one NAME``).
"""

from __future__ import annotations

import contextlib
import gc
import json
import os
import select
import signal
import tempfile
from time import monotonic

from . import selftest, soak
from .scenario import Ending, Scenario, all_scenarios
from .verdicts import Finding, Outcome, Verdict

TROUBLE = (
    "Exception ignored in",
    "Task was destroyed but it is pending",
    "was never awaited",
    "was never retrieved",
    "Fatal Python error",
    "--- Logging error ---",
    "ResourceWarning",
)
"""What nobody may ever see on stderr."""


def main() -> None:
    scenarios = all_scenarios()
    gc.collect()
    gc.freeze()  # or the first collection of each child would copy every page
    requests, answers = os.dup(0), os.dup(1)
    null = os.open(os.devnull, os.O_RDONLY)
    os.dup2(null, 0)
    os.dup2(2, 1)
    with os.fdopen(requests, closefd=False) as lines:  # the child closes the descriptor for itself
        for line in lines:
            scenario = _find(json.loads(line), scenarios)
            outcome = _run(scenario, (requests, answers, null))
            if outcome is None:
                return  # the child: the interpreter exits
            os.write(answers, json.dumps([outcome.verdict, outcome.detail, outcome.seconds, outcome.output]).encode())
            os.write(answers, b"\n")


def _find(name: str, scenarios: dict[str, Scenario]) -> Scenario:
    for module in (soak, selftest):
        if name.startswith(module.PREFIX):
            return module.scenario(name)
    return scenarios[name]


def _run(scenario: Scenario, private: tuple[int, ...]) -> Outcome | None:
    read_end, write_end = os.pipe()
    with tempfile.TemporaryFile() as output:
        begun = monotonic()
        pid = os.fork()
        if pid == 0:
            os.setsid()
            signal.signal(signal.SIGINT, signal.default_int_handler)
            for fd in (1, 2):
                os.dup2(output.fileno(), fd)
            for fd in (*private, read_end):
                os.close(fd)
            from .child import run_here

            run_here(scenario, write_end)
            return None
        os.close(write_end)
        code = _wait(pid, scenario.limit)
        seconds = monotonic() - begun
        with os.fdopen(read_end, "rb") as report:
            told = report.read() if code is not None else _read_now(read_end)
        output.seek(0)
        text = output.read().decode(errors="replace")
    return judge(scenario, told, code, text, seconds)


def _read_now(fd: int) -> bytes:
    ready, _, _ = select.select([fd], [], [], 0)
    return os.read(fd, 65536) if ready else b""


def _wait(pid: int, limit: float) -> int | None:
    """The exit code; None when the limit was reached, and the process group is killed."""
    code: int | None = None
    handle = os.pidfd_open(pid) if hasattr(os, "pidfd_open") else None
    try:
        if handle is not None:
            ready, _, _ = select.select([handle], [], [], limit)
            if ready:
                code = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
        else:
            end = monotonic() + limit
            pause = 0.001
            while code is None and monotonic() < end:
                done, status = os.waitpid(pid, os.WNOHANG)
                if done:
                    code = os.waitstatus_to_exitcode(status)
                else:
                    select.select([], [], [], pause)
                    pause = min(0.02, pause * 1.5)
    finally:
        if handle is not None:
            os.close(handle)
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(pid, signal.SIGKILL)  # what the scenario started goes with it
    if code is None:
        os.waitpid(pid, 0)
    return code


def judge(scenario: Scenario, told: bytes, code: int | None, text: str, seconds: float) -> Outcome:
    """The verdict on what is left of the process."""
    verdict, detail = json.loads(told) if told.strip() else (None, "")
    tail = text[-6000:]

    def outcome(which: Verdict, why: str) -> Outcome:
        return Outcome(scenario.name, which, why, round(seconds, 3), tail)

    if code is None:
        where = "at the end of the process" if verdict == Verdict.OK else "within the scenario"
        return outcome(Verdict.HANG, f"killed after {scenario.limit} s, {where}")
    if verdict is None and scenario.after is None:
        return outcome(Verdict.CRASH, f"the process ended with {code} and no verdict")
    if verdict not in (None, Verdict.OK):
        return outcome(Verdict(verdict), detail)
    if scenario.code is not None and code != scenario.code:
        return outcome(Verdict.CRASH, f"the process ended with {code}, not {scenario.code}")
    if scenario.after is not None:
        try:
            scenario.after(Ending(code, text, seconds))
        except Finding as finding:
            return outcome(finding.verdict, str(finding))
    if scenario.clean:
        for trouble in TROUBLE:
            if trouble in text:
                return outcome(Verdict.WRONG, f"stderr says: {trouble}")
    return outcome(Verdict.OK, detail)


if __name__ == "__main__":
    main()
