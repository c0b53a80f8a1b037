"""What a run has given, as a table for people and as JSON lines for machines."""

from __future__ import annotations

import json
import os
import platform
from collections.abc import Iterable, Sequence
from typing import Any

from benchmarks.workload import AnyWorkload

Record = dict[str, Any]
"""A line of the JSON output: one workload, with its cases."""

HEADINGS = ("workload", "case", "ours", "beside", "", "figure", "quartiles", "goal", "")


def record(workload: AnyWorkload, size: str, seconds: float) -> Record:
    """The part of a record that tells what was measured, and where."""
    return {
        "workload": workload.name,
        "about": workload.about,
        "beside": workload.beside,
        "size": size,
        "seconds": round(seconds, 1),
        "python": platform.python_version(),
        "system": f"{platform.system()} {platform.machine()}",
        "cores": os.cpu_count(),
        "load": _load(),
    }


def _load() -> float | None:
    return round(os.getloadavg()[0], 2) if hasattr(os, "getloadavg") else None


def read_records(lines: Iterable[str]) -> list[Record]:
    """The records in JSON lines."""
    return [json.loads(line) for line in lines if line.strip()]


def as_table(records: Sequence[Record]) -> str:
    """The table for people."""
    rows = [HEADINGS, *(row for one in records for row in _rows(one))]
    widths = [max(len(row[column]) for row in rows) for column in range(len(HEADINGS))]
    lines = [_line(row, widths) for row in rows]
    lines.insert(1, "  ".join("-" * width for width in widths))
    return "\n".join([*lines, "", *_remarks(records)])


def _rows(one: Record) -> list[tuple[str, ...]]:
    return [
        (
            one["workload"] if index == 0 else "",
            case["case"],
            number(case["ours"]),
            "" if case["beside"] is None else number(case["beside"]),
            case["per"],
            f"{number(case['figure'])} {case['unit']}",
            f"{number(case['low'])} .. {number(case['high'])}",
            "" if case["goal"] is None else f"<= {case['goal']:g} {case['unit']}",
            {True: "reached", False: "MISSED", None: ""}[case["met"]],
        )
        for index, case in enumerate(one["cases"])
    ]


def _line(row: Sequence[str], widths: Sequence[int]) -> str:
    words = [
        word.rjust(width) if index in (2, 3, 5) else word.ljust(width)
        for index, (word, width) in enumerate(zip(row, widths, strict=True))
    ]
    return "  ".join(words).rstrip()


def number(value: float) -> str:
    """A figure in three digits."""
    if abs(value) >= 100:
        return f"{value:,.0f}"
    return f"{value:.1f}" if abs(value) >= 10 else f"{value:.2f}"


def _remarks(records: Sequence[Record]) -> list[str]:
    remarks = []
    for one in records:
        for case in one["cases"]:
            if case["notes"]:
                notes = ", ".join(f"{key.replace('_', ' ')} {value}" for key, value in case["notes"].items())
                remarks.append(f"{one['workload']}, {case['case']}: {notes}")
    if records:
        first = records[0]
        loads = [one["load"] for one in records if one["load"] is not None]
        where = f"Python {first['python']}, {first['system']}, {first['cores']} cores"
        if loads:
            where += f", load average {min(loads)} to {max(loads)}"
            if max(loads) > (first["cores"] or 1) + 1:
                where += ": others were at work too, and the figures may be off"
        remarks.append(where)
    return remarks
