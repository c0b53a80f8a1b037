"""The five verdicts, and the exceptions by which a scenario reaches one."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum


class Verdict(StrEnum):
    OK = "ok"
    HANG = "hang"  # it did not end within its limit, or a wait within it ran out of time
    LOST = "lost"  # something accepted was not accounted for: a state, a callback, a Future, a thread
    WRONG = "wrong"  # it ended, and with another outcome than promised
    CRASH = "crash"  # the process or the scenario died of something unforeseen


class Finding(Exception):
    """A scenario found a promise broken."""

    verdict = Verdict.WRONG


class Wrong(Finding):
    verdict = Verdict.WRONG


class Lost(Finding):
    verdict = Verdict.LOST


class Hang(Finding):
    verdict = Verdict.HANG


def check(truth: object, what: str) -> None:
    if not truth:
        raise Wrong(what)


def same(found: object, promised: object, what: str) -> None:
    if found != promised:
        raise Wrong(f"{what}: {found!r}, not {promised!r}")


def verdict_of(error: BaseException) -> tuple[Verdict, str]:
    """What an exception that left a scenario says."""
    if isinstance(error, Finding):
        return error.verdict, str(error)
    if isinstance(error, AssertionError):
        return Verdict.WRONG, str(error)
    if isinstance(error, TimeoutError):
        return Verdict.HANG, str(error)
    return Verdict.CRASH, f"{type(error).__name__}: {error}"


@dataclass(frozen=True)
class Outcome:
    """How a scenario ended."""

    name: str
    verdict: Verdict
    detail: str
    seconds: float
    output: str = ""
