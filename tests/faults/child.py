"""Runs one scenario in the present process, looks for what it left behind, and tells the verdict through a pipe."""

from __future__ import annotations

import atexit
import faulthandler
import json
import logging
import os
import sys
import threading
import traceback

from tests.support.leaks import Snapshot, track_loops

from .scenario import Scenario
from .verdicts import Lost, Verdict, Wrong, verdict_of

SETTLE_SECONDS = 3.0
"""How long a thread may take to notice that it is not needed any more."""


class Notes(logging.Handler):
    """What Agere logged."""

    def __init__(self) -> None:
        super().__init__()
        self.records: list[logging.LogRecord] = []

    def emit(self, record: logging.LogRecord) -> None:
        self.records.append(record)

    def count(self, text: str) -> int:
        return sum(text in str(record.msg) for record in self.records)


notes = Notes()


def run_here(scenario: Scenario, report_fd: int) -> None:
    """The process's only duty. Returns when the interpreter may exit by itself: that is part of the test."""
    faulthandler.dump_traceback_later(max(0.5, scenario.limit - 0.5), exit=False)
    logging.basicConfig(level=logging.INFO, format="LOG %(name)s %(levelname)s %(message)s")
    logging.getLogger("agere").addHandler(notes)
    track_loops()
    before = Snapshot()
    verdict, detail = Verdict.OK, ""
    try:
        scenario.run(*scenario.args)
        if scenario.clean:
            look_around(before)
    except BaseException as error:
        verdict, detail = verdict_of(error)
        if scenario.code and verdict is Verdict.CRASH:  # the process is meant to die of it: its exit code will tell
            _report(report_fd, Verdict.OK, detail)
            raise
        traceback.print_exc()
    _report(report_fd, verdict, detail)
    if verdict is not Verdict.OK:
        _leave(99)  # what is broken already need not hang as well
    if not scenario.takes_apart:
        threading._shutdown()  # type: ignore[attr-defined]
        atexit._run_exitfuncs()
        _leave(0)


def _leave(code: int) -> None:
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(code)


def _report(fd: int, verdict: Verdict, detail: str) -> None:
    os.write(fd, json.dumps([verdict, detail[:2000]]).encode() + b"\n")


def look_around(before: Snapshot) -> None:
    """Nothing of Agere may be left: no thread, loop, task or file, and no defect in the log."""
    left = before.leaks(patience=SETTLE_SECONDS)
    if left:
        raise Lost("left behind: " + "; ".join(left))
    defects = [record for record in notes.records if record.levelno >= logging.CRITICAL]
    if defects:
        raise Wrong(
            f"a defect was logged: {defects[0].getMessage()} {defects[0].exc_info and defects[0].exc_info[1]!r}"
        )


def agere_threads() -> list[threading.Thread]:
    """The threads that Agere has made and that live."""
    return [thread for thread in threading.enumerate() if thread.name.startswith("agere") and thread.is_alive()]
