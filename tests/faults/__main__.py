"""``python -m tests.faults``: run the matrix, print the table and the summary; exit code 1 if a promise is broken."""

from __future__ import annotations

import argparse
import os
import sys
from collections import Counter
from time import monotonic

from .runner import Pool
from .scenario import select
from .verdicts import Outcome, Verdict

SHOWN = 25


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.faults", description=__doc__)
    parser.add_argument("patterns", nargs="*", help="words or wildcards that the names are to match")
    parser.add_argument("--fast", action="store_true", help="leave out the slow ones")
    parser.add_argument("--full", action="store_true", help="with the very long ones (a million nodes, ...)")
    parser.add_argument("--list", action="store_true", help="print the names and stop")
    parser.add_argument("-j", "--jobs", type=int, default=min(8, 3 * (os.cpu_count() or 1)), help="processes at once")
    parser.add_argument("-v", "--verbose", action="store_true", help="print each verdict, and what failed ones wrote")
    options = parser.parse_args()
    scenarios = select(options.patterns, fast=options.fast, full=options.full)
    if options.list:
        for scenario in scenarios:
            print(scenario.name)
        return 0
    begun = monotonic()
    outcomes: list[Outcome] = []
    with Pool(scenarios, options.jobs) as pool:
        for outcome in pool:
            outcomes.append(outcome)
            if options.verbose:
                print(f"{outcome.verdict:6} {outcome.seconds:7.3f} s  {outcome.name}", flush=True)
    print_table(outcomes)
    bad = [outcome for outcome in outcomes if outcome.verdict is not Verdict.OK]
    for outcome in sorted(bad, key=lambda outcome: outcome.name):
        print(f"\n{outcome.verdict.upper()} {outcome.name}: {outcome.detail}")
        if options.verbose:
            print("    " + "\n    ".join(outcome.output.splitlines()[-40:]))
    counts = Counter(outcome.verdict for outcome in outcomes)
    words = ", ".join(f"{counts[verdict]} {verdict}" for verdict in Verdict)
    print(f"\n{len(outcomes)} scenarios: {words}; {monotonic() - begun:.1f} s")
    return 1 if bad or not outcomes else 0


def print_table(outcomes: list[Outcome]) -> None:
    """One row per class and first part of the name."""
    rows: dict[str, Counter[Verdict]] = {}
    slowest: dict[str, float] = {}
    for outcome in outcomes:
        row = "/".join(outcome.name.split("/")[:2])
        rows.setdefault(row, Counter())[outcome.verdict] += 1
        slowest[row] = max(slowest.get(row, 0.0), outcome.seconds)
    width = max([len(row) for row in rows] or [8])
    print(f"{'scenarios':{width}}  " + "".join(f"{verdict:>7}" for verdict in Verdict) + "   slowest")
    for row in sorted(rows):
        cells = "".join(f"{rows[row][verdict] or '.':>7}" for verdict in Verdict)
        print(f"{row:{width}}  {cells}  {slowest[row]:6.2f} s")


if __name__ == "__main__":
    sys.exit(main())
