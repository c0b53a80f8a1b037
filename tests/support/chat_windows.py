"""Starts an example's chat window in a process of its own, against a scripted server."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any

from agere.testing import ScriptedLLM
from tests.support.commands import environment

ROOT = Path(__file__).resolve().parents[2]


class Program:
    """A running program that prints a line of JSON now and then.

    Attributes:
        process: the process.
    """

    def __init__(self, process: subprocess.Popen[str]) -> None:
        self.process = process

    def told(self) -> dict[str, Any]:
        """The next line that it prints."""
        out: IO[str] | None = self.process.stdout
        assert out is not None
        line = out.readline()
        assert line, f"it has ended: {self.process.communicate(timeout=10)[1]}"
        found: dict[str, Any] = json.loads(line)
        return found

    def end(self) -> tuple[int, str]:
        """Wait for its end: the exit code, and what it said on stderr."""
        _, err = self.process.communicate(timeout=15)
        return self.process.returncode, err


@contextmanager
def start(program: str, server: ScriptedLLM, env: dict[str, str]) -> Iterator[Program]:
    """Run a program until the block is left; it is killed if it has not ended by then."""
    variables = {**os.environ, **environment(server), **env, "PYTHONPATH": str(ROOT), "PYTHONUNBUFFERED": "1"}
    command = [sys.executable, "-c", program]
    pipe = subprocess.PIPE
    with subprocess.Popen(command, env=variables, cwd=ROOT, stdin=pipe, stdout=pipe, stderr=pipe, text=True) as process:
        try:
            yield Program(process)
        finally:
            process.kill()
