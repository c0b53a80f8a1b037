"""What a workload is: one row of the table of goals."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

from benchmarks.measure import Case

S = TypeVar("S")

FULL, QUICK, TINY = "full", "quick", "tiny"
"""Sizes: for figures to rely on; for a first look; and for the test, which only sees that it works."""


@dataclass(frozen=True)
class Workload(Generic[S]):
    """One thing that is measured beside its floor.

    Attributes:
        name: by which it is chosen on the command line.
        about: what is done, in a line.
        beside: what it is measured against.
        run: measures it, at one size, and gives its cases.
        sizes: the parameters by size.
    """

    name: str
    about: str
    beside: str
    run: Callable[[S], list[Case]]
    sizes: Mapping[str, S]

    def measure(self, size: str) -> list[Case]:
        """Measure at a size, in this process."""
        return self.run(self.sizes[size])


AnyWorkload = Workload[Any]
