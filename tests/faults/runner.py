"""Gives each scenario its process: a few zygotes side by side, each with a thread that feeds it."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import threading
from collections.abc import Iterator, Sequence
from pathlib import Path
from queue import SimpleQueue
from types import TracebackType
from typing import Self

from .scenario import Scenario
from .verdicts import Outcome, Verdict

ROOT = Path(__file__).resolve().parents[2]
SPARE_SECONDS = 30.0


class Zygote:
    """The other end of ``zygote.main``."""

    def __init__(self) -> None:
        self._process: subprocess.Popen[bytes] | None = None

    def run(self, scenario: Scenario) -> Outcome:
        """Run one scenario; a zygote that dies itself is a crash, and replaced."""
        process = self._process
        if process is None or process.poll() is not None:
            process = self._process = self._start()
        assert process.stdin is not None
        assert process.stdout is not None
        try:
            process.stdin.write(json.dumps(scenario.name).encode() + b"\n")
            process.stdin.flush()
            line = process.stdout.readline()
        except BrokenPipeError:
            line = b""
        if not line:
            self.close()
            return Outcome(scenario.name, Verdict.CRASH, "its zygote died", 0.0)
        verdict, detail, seconds, output = json.loads(line)
        return Outcome(scenario.name, Verdict(verdict), detail, seconds, output)

    def close(self) -> None:
        process, self._process = self._process, None
        if process is None:
            return
        if process.stdin is not None:
            process.stdin.close()
        try:
            process.wait(SPARE_SECONDS)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
        if process.stdout is not None:
            process.stdout.close()

    @staticmethod
    def _start() -> subprocess.Popen[bytes]:
        environment = {**os.environ, "PYTHONPATH": str(ROOT), "PYTHONUNBUFFERED": "1"}
        return subprocess.Popen(
            [sys.executable, "-W", "error", "-X", "faulthandler", "-m", "tests.faults.zygote"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            cwd=ROOT,
            env=environment,
        )


class Pool:
    """Several zygotes that work off one list, in order.

    Args:
        scenarios: what to run.
        workers: how many at once.
    """

    def __init__(self, scenarios: Sequence[Scenario], workers: int) -> None:
        self._todo: SimpleQueue[Scenario | None] = SimpleQueue()
        self._done: SimpleQueue[Outcome] = SimpleQueue()
        self._count = len(scenarios)
        # The long ones first, or the last of them would be waited for alone.
        for scenario in sorted(scenarios, key=lambda scenario: -scenario.limit):
            self._todo.put(scenario)
        self._threads = [threading.Thread(target=self._work, name=f"faults-{n}") for n in range(max(1, workers))]
        for _ in self._threads:
            self._todo.put(None)
        self._stopped = False

    def __enter__(self) -> Self:
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._stopped = True
        for thread in self._threads:
            thread.join()

    def __iter__(self) -> Iterator[Outcome]:
        for _ in range(self._count):
            yield self._done.get()

    def _work(self) -> None:
        zygote = Zygote()
        try:
            while not self._stopped:
                scenario = self._todo.get()
                if scenario is None:
                    return
                self._done.put(zygote.run(scenario))
        finally:
            zygote.close()
