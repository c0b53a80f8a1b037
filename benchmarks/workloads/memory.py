"""memory: what a live handler node takes, each side in a fresh process."""

from __future__ import annotations

import asyncio
import gc
import os
import sys
from dataclasses import dataclass

from agere import Commander, Job, handler, tasker
from agere.commander import TaskNode
from benchmarks.measure import Case, Pairs
from benchmarks.processes import resident_bytes, run_module
from benchmarks.workload import FULL, QUICK, TINY, Workload

Event = asyncio.Future[None]


@dataclass(frozen=True)
class Size:
    nodes: int
    pairs: int


@handler
async def wait_for(_: TaskNode[None], event: Event) -> None:
    await event


class Parent(Job[float]):
    def __init__(self, count: int) -> None:
        self.count = count

    @tasker
    async def task(self) -> None:
        events = _events(self.count)
        before = _settled()
        for event in events:
            self.call_handler(wait_for(event))
        await _tell(before, self.count)


async def _bare(count: int) -> None:
    async def wait(event: Event) -> None:
        await event

    events = _events(count)
    before = _settled()
    tasks = [asyncio.create_task(wait(event)) for event in events]
    await _tell(before, len(tasks))


def _events(count: int) -> list[Event]:
    loop = asyncio.get_running_loop()
    return [loop.create_future() for _ in range(count)]


def _settled() -> int:
    gc.collect()
    return resident_bytes()


async def _tell(before: int, count: int) -> None:
    """Print the bytes for each, and end this process: winding 100,000 tasks down proves nothing here."""
    for _ in range(3):
        await asyncio.sleep(0)
    sys.stdout.write(f"{(_settled() - before) / count}\n")
    sys.stdout.flush()
    os._exit(0)


def run(size: Size) -> list[Case]:
    ours = [_in_child("ours", size.nodes) for _ in range(size.pairs)]
    bare = [_in_child("bare", size.nodes) for _ in range(size.pairs)]
    return [Pairs(ours, bare).ours_alone(f"{size.nodes:,} alive", 1.5, 1e-3, "KB")]


def _in_child(side: str, count: int) -> float:
    return float(run_module(__name__, side, count))


def _main(side: str, count: int) -> None:
    if side == "bare":
        asyncio.run(_bare(count))
    else:
        Commander[None](stall=60).run(Parent(count))  # starting them all in one step blocks the loop, on purpose


WORKLOAD = Workload(
    name="memory",
    about="resident memory for each live handler node, in a fresh process (1 KB is 1000 bytes)",
    beside="a bare asyncio task, held in a list",
    run=run,
    sizes={FULL: Size(100_000, 3), QUICK: Size(20_000, 1), TINY: Size(2_000, 1)},
)

if __name__ == "__main__":
    _main(sys.argv[1], int(sys.argv[2]))
