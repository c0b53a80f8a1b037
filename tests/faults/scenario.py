"""What a scenario is, and where all of them are found."""

from __future__ import annotations

import fnmatch
import importlib
import zlib
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from functools import cache
from typing import Any

MODULES = ("callbacks", "bodies", "misuse", "lifecycle", "streams", "dispatcher", "process", "scale", "waiting")


@dataclass(frozen=True)
class Ending:
    """How the process of a scenario ended, for ``after``."""

    code: int  # negative: the signal that killed it
    output: str
    seconds: float


@dataclass(frozen=True)
class Scenario:
    """One combination.

    Attributes:
        name: ``class/part/part/...``; also what options select by.
        run: called in a process of its own; returns if all promises were kept.
        args: its arguments.
        limit: seconds until the process is killed, which is a hang.
        code: the exit code that the process must have; None for any.
        after: called in the zygote once the process has ended, for what only its remains tell.
        clean: whether the process must leave no thread of Agere, no session and no warning.
        slow: left out by ``--fast``.
        full: only there with ``--full``.
        natural: the process has to end as processes do: always, not only every eighth time.
    """

    name: str
    run: Callable[..., None]
    args: tuple[Any, ...] = ()
    limit: float = 10.0
    code: int | None = 0
    after: Callable[[Ending], None] | None = None
    clean: bool = True
    slow: bool = False
    full: bool = False
    natural: bool = False

    @property
    def takes_apart(self) -> bool:
        """Whether the interpreter takes everything apart at the end, which costs more than most scenarios."""
        return self.natural or zlib.crc32(self.name.encode()) % 8 == 0


@cache
def all_scenarios() -> dict[str, Scenario]:
    """Every scenario by name, in a fixed order."""
    found: dict[str, Scenario] = {}
    for module in MODULES:
        for scenario in importlib.import_module(f"tests.faults.{module}").scenarios():
            if scenario.name in found:
                raise ValueError(f"two scenarios are called {scenario.name}")
            found[scenario.name] = scenario
    return found


def select(patterns: Iterable[str], *, fast: bool = False, full: bool = False) -> list[Scenario]:
    """The scenarios whose names contain one of the words, or match one of the wildcards; all for no pattern."""
    wanted = list(patterns)
    chosen = []
    for scenario in all_scenarios().values():
        if (fast and scenario.slow) or (scenario.full and not full):
            continue
        if not wanted or any(word in scenario.name or fnmatch.fnmatch(scenario.name, word) for word in wanted):
            chosen.append(scenario)
    return chosen
