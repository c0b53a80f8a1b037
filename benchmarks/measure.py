"""Measuring one thing beside another: interleaved pairs, medians, spreads.

Absolute times differ between machines, and on one machine between minutes. So each repeat measures both sides one
right after the other, in changing order, each from a swept heap; what is told is the median of the pairs' ratios.
"""

from __future__ import annotations

import gc
import os
import statistics
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any, Final

MICRO: Final = 1e6
MILLI: Final = 1e3

Probe = Callable[[], float]
"""Does its work once and gives the seconds that count, leaving out its own setting up and clearing away."""


@dataclass(frozen=True)
class Case:
    """One line of the table.

    Attributes:
        name: what is special about it, such as "4 threads".
        figure: what the goal speaks of.
        unit: the figure's: "x" for a ratio, or "KB", "ms", "s".
        goal: what the figure should not exceed; None where there is none.
        low: the figure's lower quartile over the pairs.
        high: its upper one.
        ours: the median of our side.
        beside: the median of the other side; None if there is none.
        per: the unit of both.
        pairs: how often both sides were measured.
        notes: what else is worth knowing.
    """

    name: str
    figure: float
    unit: str
    goal: float | None
    low: float
    high: float
    ours: float
    beside: float | None
    per: str
    pairs: int
    notes: dict[str, Any] = field(default_factory=dict)

    @property
    def met(self) -> bool | None:
        """Whether the goal is reached, in the two digits that are shown; None without a goal."""
        return None if self.goal is None else round(self.figure, 2) <= self.goal

    def as_json(self) -> dict[str, Any]:
        """The case as JSON knows it, rounded to what means something."""
        fields = {name: _rounded(value) for name, value in asdict(self).items()}
        return {"case": fields.pop("name"), **fields, "met": self.met}


@dataclass(frozen=True)
class Pairs:
    """What the interleaved repeats gave, in seconds (or whatever the probes count)."""

    ours: Sequence[float]
    beside: Sequence[float]

    def ratio(self, name: str, goal: float | None, scale: float, per: str, **notes: Any) -> Case:
        """A case whose figure is the median of the pairs' ratios.

        Args:
            name: the case's.
            goal: for the ratio.
            scale: what turns a probe's value into ``per``.
            per: the unit in which both sides are told.
            **notes: the case's.
        """
        return self._case(name, [a / b for a, b in self._each()], "x", goal, scale, per, notes)

    def difference(self, name: str, goal: float | None, scale: float, per: str, **notes: Any) -> Case:
        """A case whose figure is the median of the pairs' differences, in ``per``."""
        return self._case(name, [(a - b) * scale for a, b in self._each()], per, goal, scale, per, notes)

    def ours_alone(self, name: str, goal: float | None, scale: float, per: str, **notes: Any) -> Case:
        """A case whose figure is our side's own median, in ``per``; the other side is told beside it."""
        return self._case(name, [a * scale for a in self.ours], per, goal, scale, per, notes)

    def _each(self) -> zip[tuple[float, float]]:
        return zip(self.ours, self.beside, strict=True)

    def _case(
        self, name: str, figures: list[float], unit: str, goal: float | None, scale: float, per: str, notes: Any
    ) -> Case:
        low, high = quartiles(figures)
        return Case(
            name=name,
            figure=statistics.median(figures),
            unit=unit,
            goal=goal,
            low=low,
            high=high,
            ours=statistics.median(self.ours) * scale,
            beside=statistics.median(self.beside) * scale,
            per=per,
            pairs=len(figures),
            notes=notes,
        )


def interleave(ours: Probe, beside: Probe, pairs: int, warm_up: bool = True) -> Pairs:
    """Measure both sides ``pairs`` times, in changing order.

    Args:
        ours: our side.
        beside: the other side.
        pairs: how often.
        warm_up: run each side once before, uncounted: first runs pay for imports and specialization.
    """
    return Pairs(*rounds((ours, beside), pairs, warm_up))


def rounds(probes: Sequence[Probe], count: int, warm_up: bool = True) -> list[list[float]]:
    """Measure each probe once in every round, in changing order; the results by probe."""
    if warm_up:
        for probe in probes:
            probe()
    results: list[list[float]] = [[] for _ in probes]
    order = list(range(len(probes)))
    gc.collect()
    gc.freeze()  # a look at all modules before each probe would leave the processor's caches cold
    try:
        for _ in range(count):
            for index in order:
                gc.collect()
                results[index].append(probes[index]())
            order.reverse()
    finally:
        gc.unfreeze()
    return results


def lone(name: str, figures: Sequence[float], unit: str, goal: float | None, **notes: Any) -> Case:
    """A case that is measured against a number, not against another program."""
    low, high = quartiles(figures)
    figure = statistics.median(figures)
    return Case(name, figure, unit, goal, low, high, figure, None, unit, len(figures), notes)


def quartiles(figures: Sequence[float]) -> tuple[float, float]:
    """The lower and the upper quartile; of less than four figures the least and the greatest."""
    if len(figures) < 4:
        return min(figures), max(figures)
    lower, _, upper = statistics.quantiles(figures, n=4, method="inclusive")
    return lower, upper


def median_latency(call: Callable[[], object], count: int) -> float:
    """The median of the seconds that one call takes, over ``count`` calls."""
    clock = time.perf_counter
    seconds = []
    for _ in range(count):
        begun = clock()
        call()
        seconds.append(clock() - begun)
    return statistics.median(seconds)


class pinned:  # noqa: N801 - used like contextlib's
    """While in it, this process keeps to one core, where the system can do that.

    A hand-over between two threads costs one time with both on one core, another with the second asleep on another
    one; unpinned the kernel chooses, and figures swing twofold.
    """

    def __init__(self) -> None:
        self.done = hasattr(os, "sched_setaffinity")

    def __enter__(self) -> bool:
        if self.done:
            self._before = os.sched_getaffinity(0)
            os.sched_setaffinity(0, {max(self._before)})
        return self.done

    def __exit__(self, *_: object) -> None:
        if self.done:
            os.sched_setaffinity(0, self._before)


def _rounded(value: Any) -> Any:
    return float(f"{value:.4g}") if isinstance(value, float) else value
