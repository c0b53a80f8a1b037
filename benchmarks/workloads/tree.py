"""tree: a Job with many handlers, which end in the order of their start, or in any order."""

from __future__ import annotations

import asyncio
import random
import statistics
import time
from dataclasses import dataclass

from agere import Commander, Job, handler, tasker
from agere.commander import TaskNode
from benchmarks.measure import MICRO, Case, Pairs, interleave, quartiles
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
    cases: list[Case] = []
    for shuffled in (False, True):
        order = "random order" if shuffled else "in order"
        measured: dict[int, Pairs] = {}
        for count, pairs in size.pairs.items():
            measured[count] = interleave(
                lambda count=count, shuffled=shuffled: ours(count, shuffled),  # type: ignore[misc]
                lambda count=count, shuffled=shuffled: floor(count, shuffled),  # type: ignore[misc]
                pairs,
                warm_up=count < 10_000,
            )
            cases.append(measured[count].ratio(f"{count:,} {order}", 1.6, MICRO / count, "us/handler"))
        cases.append(_growth(measured, order))
    return cases


def _growth(measured: dict[int, Pairs], order: str) -> Case:
    least, most = min(measured), max(measured)
    small = statistics.median(measured[least].ours) / least
    each = [seconds / most / small for seconds in measured[most].ours]
    low, high = quartiles(each)
    floor_growth = statistics.median(measured[most].beside) / most / (statistics.median(measured[least].beside) / least)
    return Case(
        name=f"{least:,} to {most:,} {order}",
        figure=statistics.median(each),
        unit="x",
        goal=2.5,
        low=low,
        high=high,
        ours=statistics.median(each) * small * MICRO,
        beside=small * MICRO,
        per="us/handler",
        pairs=len(each),
        notes={"floor_grows": round(floor_growth, 2)},
    )


WORKLOAD = Workload(
    name="tree",
    about="a Job with 1k, 20k, 100k handlers; the growth of its own cost from 1k to 100k",
    beside="asyncio.TaskGroup; itself at 1k",
    run=run,
    sizes={
        FULL: Size({1_000: 15, 20_000: 9, 100_000: 5}),
        QUICK: Size({1_000: 5, 20_000: 2}),
        TINY: Size({10: 1, 40: 1}),
    },
)
