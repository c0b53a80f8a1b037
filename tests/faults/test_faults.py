"""The fast part of the matrix, in the suite: each scenario has a process of its own, two at a time."""

from __future__ import annotations

import os
import zlib
from collections.abc import Iterator

import pytest

from .runner import Pool
from .scenario import Scenario, select
from .verdicts import Outcome, Verdict

SHARE = 10
"""Of the generated scenarios, every tenth is in the suite; ``python -m tests.faults`` runs all."""

WHOLE = (
    "process/fork",
    "process/limits",
    "process/sys-exit",
    "waiting/",
    "lifecycle/storm",
    "lifecycle/hostile",
    "lifecycle/stuck-loop",
    "misuse/odd-node",
)


def chosen() -> list[Scenario]:
    """The suite's share: by a hash of the name, so that it does not move when others come."""
    everything = os.environ.get("AGERE_FAULTS") == "all"
    return [
        scenario
        for scenario in select([], fast=not everything)
        if everything
        or (scenario.name.startswith(WHOLE) and scenario.limit <= 15.0)
        or zlib.crc32(scenario.name.encode()) % SHARE == 0
    ]


class Matrix:
    """Runs ahead of the tests that ask for the outcomes."""

    def __init__(self, scenarios: list[Scenario]) -> None:
        self._pool = Pool(scenarios, min(4, 1 + (os.cpu_count() or 1)))  # many of them mostly wait
        self._outcomes: dict[str, Outcome] = {}

    def __enter__(self) -> Matrix:
        self._pool.__enter__()
        self._arriving = iter(self._pool)
        return self

    def __exit__(self, *about: object) -> None:
        self._pool.__exit__(None, None, None)

    def outcome(self, name: str) -> Outcome:
        while name not in self._outcomes:
            outcome = next(self._arriving)
            self._outcomes[outcome.name] = outcome
        return self._outcomes[name]


@pytest.fixture(scope="module")
def matrix(request: pytest.FixtureRequest) -> Iterator[Matrix]:
    wanted = [
        item.callspec.params["scenario"]
        for item in request.session.items
        if getattr(item, "function", None) is test_scenario
    ]
    with Matrix(wanted) as matrix:
        yield matrix


@pytest.mark.leaves("threads", "fds")  # the zygotes', which belong to the module and may be replaced on the way
@pytest.mark.timeout(300)  # the outcomes come in another order than the tests ask for them
@pytest.mark.parametrize("scenario", chosen(), ids=lambda scenario: scenario.name)
def test_scenario(matrix: Matrix, scenario: Scenario) -> None:
    outcome = matrix.outcome(scenario.name)
    assert outcome.verdict is Verdict.OK, f"{outcome.verdict}: {outcome.detail}\n{outcome.output}"


def test_the_matrix_tells_a_broken_promise() -> None:
    """The verdicts themselves: a scenario that hangs, dies, loses or is wrong is told from a good one."""
    from . import selftest

    expected = selftest.EXPECTED
    with Pool([selftest.scenario(name) for name in expected], 2) as pool:
        found = {outcome.name: outcome.verdict for outcome in pool}
    assert found == expected
