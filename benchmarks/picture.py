"""Draws the main table: ``python -m benchmarks.picture results.jsonl docs/benchmarks.svg``.

It needs matplotlib (``pip install agere[bench]``), and what ``python -m benchmarks --json`` has printed.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from typing import Any

from benchmarks.table import Record, number, read_records

REACHED, MISSED, GOAL, TEXT = "#2a7f62", "#c0561f", "#30343b", "#30343b"


@dataclass(frozen=True)
class Bar:
    """One line of the picture: everything as a share of the goal, which is at 1."""

    label: str
    share: float
    low: float
    high: float
    told: str
    met: bool


def bars(records: Sequence[Record]) -> Iterator[Bar]:
    """The cases that have a goal."""
    for record in records:
        for case in record["cases"]:
            if case["goal"]:
                yield _bar(record["workload"], case)


def _bar(workload: str, case: dict[str, Any]) -> Bar:
    goal = case["goal"]
    unit = {"x": "\u00d7"}.get(case["unit"], " " + case["unit"])
    return Bar(
        label=f"{workload.replace('_', ' ')}: {case['case']}",
        share=case["figure"] / goal,
        low=case["low"] / goal,
        high=case["high"] / goal,
        told=f"{number(case['figure'])}{unit}   (goal {goal:g}{unit})",
        met=case["met"],
    )


def draw(records: Sequence[Record], target: Path) -> None:
    """Write the picture, in the format of the target's suffix."""
    mpl: Any = import_module("matplotlib")  # an extra: type checkers may not find it
    mpl.use("agg")
    mpl.rcParams["svg.hashsalt"] = "agere"  # the same figures give the same file
    mpl.rcParams["font.size"] = 9
    plt: Any = import_module("matplotlib.pyplot")
    shown = list(bars(records))
    figure, axes = plt.subplots(figsize=(10, 0.9 + 0.27 * len(shown)), layout="constrained")
    places = range(len(shown))
    shares = [bar.share for bar in shown]
    errors = [[bar.share - bar.low for bar in shown], [bar.high - bar.share for bar in shown]]
    colors = [REACHED if bar.met else MISSED for bar in shown]
    axes.barh(places, shares, color=colors, height=0.66)
    axes.errorbar(shares, places, xerr=errors, fmt="none", ecolor=TEXT, elinewidth=0.8, capsize=2, alpha=0.7)
    axes.axvline(1.0, color=GOAL, linewidth=1.2, linestyle="--")
    edge = max(1.0, *(bar.high for bar in shown))
    for place, bar in zip(places, shown, strict=True):
        axes.text(max(1.0, bar.high) + 0.02 * edge, place, bar.told, va="center", color=TEXT, fontsize=8)
    axes.set_yticks(places, [bar.label for bar in shown])
    axes.invert_yaxis()
    axes.set_xlim(0, edge * 1.35)
    axes.set_xlabel("share of the goal (less is better; the dashed line is the goal; whiskers: quartiles)")
    axes.set_title(_title(records), fontsize=9, loc="left", color=TEXT)
    for side in ("top", "right"):
        axes.spines[side].set_visible(False)
    target.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(target, metadata={"Date": None} if target.suffix == ".svg" else None)
    plt.close(figure)


def _title(records: Sequence[Record]) -> str:
    first = records[0]
    return f"Agere beside its floors. Python {first['python']}, {first['system']}, {first['cores']} cores"


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.picture", description=__doc__)
    parser.add_argument("results", type=Path, help="what `python -m benchmarks --json` has printed")
    parser.add_argument("picture", type=Path, help="where to write it, such as docs/benchmarks.svg")
    options = parser.parse_args(arguments)
    records = read_records(options.results.read_text().splitlines())
    if not any(True for _ in bars(records)):
        parser.error(f"{options.results} holds no case that has a goal")
    draw(records, options.picture)


if __name__ == "__main__":
    main()
