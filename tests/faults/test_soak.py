"""A short run of the soak; ``python -m tests.faults.soak --seeds 1000`` is the long one."""

from __future__ import annotations

import os

import pytest

from . import soak
from .runner import Pool
from .verdicts import Verdict

SEEDS = int(os.environ.get("AGERE_SOAK_SEEDS", "60"))


@pytest.mark.timeout(120 + 2 * SEEDS)
def test_accounts_balance() -> None:
    scenarios = [soak.scenario(f"{soak.PREFIX}{seed}") for seed in range(SEEDS)]
    with Pool(scenarios, min(4, os.cpu_count() or 1)) as pool:
        bad = [outcome for outcome in pool if outcome.verdict is not Verdict.OK]
    assert not bad, "\n".join(
        f"{outcome.verdict} {outcome.detail} (replay: python -m tests.faults.soak --seed "
        f"{outcome.name.removeprefix(soak.PREFIX)})\n{outcome.output[-3000:]}"
        for outcome in bad[:3]
    )


def test_a_seed_is_a_plan() -> None:
    """The same seed plans the same."""
    assert soak.Planner(5).roots == soak.Planner(5).roots
    assert soak.Planner(5).roots != soak.Planner(6).roots
