"""streams: many blocking streams at once in one commander, each scale in a fresh process."""

from __future__ import annotations

import json
import sys
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass

from agere import Commander, handler
from agere.commander import TaskNode
from agere.utils.llm_async_converters import LLMAsyncAdapter
from benchmarks.measure import Case, lone
from benchmarks.processes import resident_bytes, run_module
from benchmarks.workload import FULL, QUICK, TINY, Workload


@dataclass(frozen=True)
class Size:
    repeats: dict[int, int]
    """How often, by the number of streams."""
    chunks: int = 50
    pace: float = 0.02


GOALS = {10: 1.1, 200: 1.25, 1000: 4.0}


def blocking(chunks: int, pace: float) -> Iterator[int]:
    for index in range(chunks):
        time.sleep(pace)
        yield index


@handler
async def read(_: TaskNode[int], chunks: int, pace: float) -> int:
    return len([chunk async for chunk in LLMAsyncAdapter().llm_to_async_iterable(blocking(chunks, pace))])


def measure(streams: int, chunks: int, pace: float) -> dict[str, float]:
    """In a fresh process. Seconds, and the most threads and memory that were seen meanwhile."""
    threads_before, memory_before = threading.active_count(), resident_bytes()
    threads, memory = 0, 0
    with Commander[None]() as commander:
        commander.submit(read(1, 0.0)).result()
        begun = time.perf_counter()
        futures = [commander.submit(read(chunks, pace)) for _ in range(streams)]
        middle = begun + chunks * pace / 2
        while not all(future.done() for future in futures):
            if not threads and time.perf_counter() > middle:
                threads = threading.active_count() - threads_before
                memory = resident_bytes() - memory_before
            time.sleep(0.002)
        seconds = time.perf_counter() - begun
        lost = sum(chunks - future.result() for future in futures)
    if lost:
        raise AssertionError(f"{lost} chunks were lost")
    return {"seconds": seconds, "threads": threads, "memory": memory / streams}


def run(size: Size) -> list[Case]:
    ideal = size.chunks * size.pace
    cases = []
    for streams, repeats in size.repeats.items():
        runs = [run_module(__name__, streams, size.chunks, size.pace) for _ in range(repeats)]
        each_kb = sorted(one["memory"] for one in runs)[repeats // 2] / 1000
        cases.append(
            lone(
                f"{streams:,} streams",
                [one["seconds"] for one in runs],
                "s",
                GOALS.get(streams),
                ideal_s=round(ideal, 3),
                threads=max(one["threads"] for one in runs),
                kb_each=round(each_kb, 1),
            )
        )
    return cases


WORKLOAD = Workload(
    name="streams",
    about="10, 200, 1000 blocking streams of 50 chunks x 20 ms in one commander, each in a fresh process",
    beside="the ideal: 1.0 s",
    run=run,
    sizes={
        FULL: Size({10: 3, 200: 3, 1000: 3}),
        QUICK: Size({10: 1, 200: 1, 1000: 1}),
        TINY: Size({3: 1}, chunks=4, pace=0.002),
    },
)

if __name__ == "__main__":
    sys.stdout.write(json.dumps(measure(int(sys.argv[1]), int(sys.argv[2]), float(sys.argv[3]))) + "\n")
