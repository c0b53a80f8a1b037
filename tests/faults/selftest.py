"""Scenarios with a known verdict, for the test of the matrix itself. Not among the others."""

from __future__ import annotations

import os
import sys
import threading
import time
import warnings
from collections.abc import Callable

from .scenario import Scenario
from .verdicts import Lost, Verdict, Wrong

PREFIX = "selftest/"
_kept: list[object] = []


def good() -> None: ...


def hangs() -> None:
    time.sleep(60)


def hangs_at_the_end() -> None:
    threading.Thread(target=time.sleep, args=(60,)).start()


def dies() -> None:
    os._exit(3)


def killed() -> None:
    os.kill(os.getpid(), 9)


def unforeseen() -> None:
    raise ZeroDivisionError


def wrong() -> None:
    raise Wrong("on purpose")


def loses() -> None:
    raise Lost("on purpose")


def waits_in_vain() -> None:
    raise TimeoutError("on purpose")


def leaks_a_file() -> None:
    _kept.append(os.open(os.devnull, os.O_RDONLY))


def warns() -> None:
    class Sad:
        def __del__(self) -> None:
            warnings.warn("left open", ResourceWarning, stacklevel=1)

    Sad()


def exits() -> None:
    sys.exit(5)


_SCENARIOS: dict[str, tuple[Callable[[], None], Verdict, bool]] = {
    "good": (good, Verdict.OK, True),
    "hangs": (hangs, Verdict.HANG, True),
    "hangs at the end": (hangs_at_the_end, Verdict.HANG, False),
    "dies": (dies, Verdict.CRASH, True),
    "killed": (killed, Verdict.CRASH, True),
    "unforeseen": (unforeseen, Verdict.CRASH, True),
    "wrong": (wrong, Verdict.WRONG, True),
    "loses": (loses, Verdict.LOST, True),
    "waits in vain": (waits_in_vain, Verdict.HANG, True),
    "leaks a file": (leaks_a_file, Verdict.LOST, True),
    "warns": (warns, Verdict.WRONG, True),
    "exits": (exits, Verdict.CRASH, True),
}
EXPECTED = {PREFIX + name: verdict for name, (_, verdict, _) in _SCENARIOS.items()}


def scenario(name: str) -> Scenario:
    """The scenario of a name ``selftest/...``."""
    run, _, clean = _SCENARIOS[name.removeprefix(PREFIX)]
    return Scenario(name, run, limit=1.0 if run in (hangs, hangs_at_the_end) else 10.0, clean=clean)
