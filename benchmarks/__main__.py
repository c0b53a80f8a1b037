"""``python -m benchmarks``: measures the workloads, each in a fresh process, and prints a table."""

from __future__ import annotations

import argparse
import json
import sys
import time
from collections.abc import Sequence

from benchmarks.processes import ChildError, run_module
from benchmarks.table import Record, as_table, record
from benchmarks.workload import FULL, QUICK, TINY
from benchmarks.workloads import WORKLOADS


def main(arguments: Sequence[str] | None = None) -> int:
    parser = _parser()
    options = parser.parse_args(arguments)
    names = options.workloads or list(WORKLOADS)
    if unknown := [name for name in names if name not in WORKLOADS]:
        parser.error(f"no such workload: {', '.join(unknown)}; there are: {', '.join(WORKLOADS)}")
    size = options.size or (QUICK if options.quick else FULL)
    if options.here:
        for name in names:
            print(json.dumps(measure(name, size)))
        return 0
    records: list[Record] = []
    failed = False
    for name in names:
        print(f"{name} ...", end="", file=sys.stderr, flush=True)
        try:
            one: Record = run_module("benchmarks", "--here", "--size", size, name)
        except ChildError as error:
            failed = True
            print(f" failed\n{error}", file=sys.stderr)
            continue
        print(f" {one['seconds']} s", file=sys.stderr)
        records.append(one)
        if options.json:
            print(json.dumps(one), flush=True)
    if not options.json:
        print(as_table(records))
    return int(failed)


def measure(name: str, size: str) -> Record:
    """Measure one workload in this process."""
    workload = WORKLOADS[name]
    begun = time.perf_counter()
    cases = [case.as_json() for case in workload.measure(size)]
    return {**record(workload, size, time.perf_counter() - begun), "cases": cases}


def _parser() -> argparse.ArgumentParser:
    rows = "\n".join(f"  {one.name:15} {one.about}\n{'':17} beside: {one.beside}" for one in WORKLOADS.values())
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks",
        description="Measures Agere beside floors, in the same run. No figure depends on the machine alone: ratios "
        "travel, absolute times do not.",
        epilog=f"workloads:\n{rows}",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("workloads", nargs="*", metavar="WORKLOAD", help="some of these; all by default")
    parser.add_argument("--json", action="store_true", help="print one JSON line for each workload, not a table")
    parser.add_argument("--quick", action="store_true", help="a first look in under a minute; the figures swing")
    parser.add_argument("--size", choices=(FULL, QUICK, TINY), help=argparse.SUPPRESS)
    parser.add_argument("--here", action="store_true", help=argparse.SUPPRESS)  # in this process, as JSON lines
    return parser


if __name__ == "__main__":
    sys.exit(main())
