"""tree: a Job with many handlers, which end in the order of their start, or in any order."""

from __future__ import annotations

import asyncio
import random
import time
from dataclasses import dataclass
from functools import partial
from statistics import fmean

from agere import Commander, Job, handler, tasker
from agere.commander import TaskNode
from benchmarks.measure import MICRO, Case, Pairs, Probe, rounds
from benchmarks.workload import FULL, QUICK, TINY, Workload

Event = asyncio.Future[None]


@dataclass(frozen=True)
class Size:
    pairs: dict[int, int]
    """How often, by the number of handlers."""


@handler
async def wait_for(_: TaskNode[None], event: Event) -> None:
    await event


class Parent(Job[None]):
    """Starts the handlers and lets them end. ``begun`` is when it began."""

    def __init__(self, count: int, shuffled: bool) -> None:
        self.count = count
        self.shuffled = shuffled
        self.begun = 0.0

    @tasker
    async def task(self) -> None:
        events, ending = _events(self.count, self.shuffled)
        self.begun = time.perf_counter()
        for event in events:
            self.call_handler(wait_for(event))
        await _let_all_start()
        for event in ending:
            event.set_result(None)


def ours(count: int, shuffled: bool) -> float:
    ended: list[float] = []
    parent = Parent(count, shuffled)
    with Commander[None](stall=60) as commander:  # starting them all in one step blocks the loop, on purpose
        future = commander.submit(parent)
        future.add_done_callback(lambda _: ended.append(time.perf_counter()))
        future.result()
    return ended[0] - parent.begun


def floor(count: int, shuffled: bool) -> float:
    return asyncio.run(_group(count, shuffled))


async def _group(count: int, shuffled: bool) -> float:
    async def wait(event: Event) -> None:
        await event

    events, ending = _events(count, shuffled)
    begun = time.perf_counter()
    async with asyncio.TaskGroup() as group:
        for event in events:
            group.create_task(wait(event))
        await _let_all_start()
        for event in ending:
            event.set_result(None)
    return time.perf_counter() - begun


def _events(count: int, shuffled: bool) -> tuple[list[Event], list[Event]]:
    loop = asyncio.get_running_loop()
    events = [loop.create_future() for _ in range(count)]
    return events, random.Random(count).sample(events, count) if shuffled else events


async def _let_all_start() -> None:
    for _ in range(3):
        await asyncio.sleep(0)


def run(size: Size) -> list[Case]:
    least, most = min(size.pairs), max(size.pairs)
    cases: list[Case] = []
    for shuffled in (False, True):
        order = "random order" if shuffled else "in order"
        for count, pairs in size.pairs.items():
            probes: list[Probe] = [partial(ours, count, shuffled), partial(floor, count, shuffled)]
            if count == most:
                probes.append(lambda shuffled=shuffled: fmean(ours(least, shuffled) for _ in range(9)))  # type: ignore[misc]
            big, beside, *small = rounds(probes, pairs, warm_up=count < 10_000)
            cases.append(Pairs(big, beside).ratio(f"{count:,} {order}", 1.6, MICRO / count, "us/handler"))
        grown = Pairs([seconds / most for seconds in big], [seconds / least for seconds in small[0]])
        cases.append(grown.ratio(f"{least:,} to {most:,} {order}", 2.5, MICRO, "us/handler"))
    return cases


WORKLOAD = Workload(
    name="tree",
    about="a Job with 1k, 20k, 100k handlers; the growth of its own cost from 1k to 100k",
    beside="asyncio.TaskGroup; itself at 1k",
    run=run,
    sizes={
        FULL: Size({1_000: 21, 20_000: 5, 100_000: 3}),
        QUICK: Size({1_000: 5, 20_000: 2}),
        TINY: Size({10: 1, 40: 1}),
    },
)
