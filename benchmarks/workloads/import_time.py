"""import_time: what ``import agere`` costs, each side in fresh processes."""

from __future__ import annotations

import tempfile
from dataclasses import dataclass

from benchmarks.measure import MILLI, Case, interleave
from benchmarks.processes import run_code
from benchmarks.workload import FULL, QUICK, TINY, Workload

HEAVY = [
    *("openai", "httpx", "httpx2", "pydantic", "anyio", "jiter", "requests", "numpy", "ssl"),
    *("tkinter", "PySide6", "textual", "IPython", "ipykernel", "rich", "tqdm"),
    *("xllamacpp", "llama_cpp", "multiprocessing", "unittest"),
]
"""None of these may come with ``import agere``, unless asyncio and janus bring it."""

PROGRAM = """
import time
begun = time.perf_counter()
import {modules}
seconds = time.perf_counter() - begun
import json, sys
print(json.dumps([seconds, [name for name in {heavy!r} if name in sys.modules]]))
"""


@dataclass(frozen=True)
class Size:
    pairs: int


def run(size: Size) -> list[Case]:
    loaded: dict[str, set[str]] = {"agere": set(), "asyncio, janus": set()}

    with tempfile.TemporaryDirectory() as bytecode:

        def measure(modules: str) -> float:
            answer: tuple[float, list[str]] = run_code(PROGRAM.format(modules=modules, heavy=HEAVY), bytecode)
            loaded[modules].update(answer[1])
            return answer[0]

        pairs = interleave(lambda: measure("agere"), lambda: measure("asyncio, janus"), size.pairs)
    heavy = sorted(loaded["agere"] - loaded["asyncio, janus"])
    return [pairs.ratio("import agere", 1.5, MILLI, "ms", heavy=" ".join(heavy) or "none")]


WORKLOAD = Workload(
    name="import_time",
    about="import agere, in a fresh process",
    beside="import asyncio, janus",
    run=run,
    sizes={FULL: Size(21), QUICK: Size(7), TINY: Size(1)},
)
