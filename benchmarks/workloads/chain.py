"""chain: how cost grows with depth. Each node the child of the last; run to its end, or closed from above."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass

from agere import Commander, HandlerCoroutine, Job, handler, tasker
from agere.commander import TaskNode
from benchmarks.measure import MICRO, Case, interleave
from benchmarks.workload import FULL, QUICK, TINY, Workload


@dataclass(frozen=True)
class Size:
    deep: int
    shallow: int
    pairs: int


class Bottom:
    """Where a chain ends: at once, or only when it is closed. ``reached`` tells that it has come so far."""

    def __init__(self, stays: bool) -> None:
        self.stays = stays
        self.reached = threading.Event()

    async def arrive(self) -> None:
        self.reached.set()
        if self.stays:
            await asyncio.Event().wait()


class Link(Job[None]):
    """A Job that puts the next one below itself."""

    def __init__(self, left: int, bottom: Bottom) -> None:
        self.left = left
        self.bottom = bottom

    @tasker
    async def task(self) -> None:
        if self.left:
            self.put_job(Link(self.left - 1, self.bottom))
        else:
            await self.bottom.arrive()


@handler
async def link(_: TaskNode[None], left: int, bottom: Bottom) -> None:
    """A handler that waits for the next one below itself: every body stays alive."""
    if left:
        await link(left - 1, bottom)
    else:
        await bottom.arrive()


Top = Callable[[int, Bottom], "Link | HandlerCoroutine[None]"]


def run_through(top: Top, depth: int) -> float:
    """Seconds for each node of a chain that runs to its end."""
    with Commander[None]() as commander:
        begun = time.perf_counter()
        commander.submit(top(depth, Bottom(stays=False))).result()
        return (time.perf_counter() - begun) / depth


def close(top: Top, depth: int) -> float:
    """Seconds for each node of a chain that is closed from above."""
    bottom = Bottom(stays=True)
    with Commander[None]() as commander:
        future = commander.submit(top(depth, bottom))
        bottom.reached.wait()
        ended = threading.Event()
        future.add_done_callback(lambda _: ended.set())
        begun = time.perf_counter()
        future.cancel()
        ended.wait()
        return (time.perf_counter() - begun) / depth


def often(measure: Callable[[Top, int], float], top: Top, depth: int, times: int) -> float:
    return sum(measure(top, depth) for _ in range(times)) / times


KINDS: dict[str, Top] = {"jobs": Link, "awaiting handlers": link}


def run(size: Size) -> list[Case]:
    times = min(10, size.deep // size.shallow)
    cases: list[Case] = []
    for kind, top in KINDS.items():
        for what, measure in (("", run_through), ("closing ", close)):
            pairs = interleave(
                lambda measure=measure, top=top: measure(top, size.deep),  # type: ignore[misc]
                lambda measure=measure, top=top: often(measure, top, size.shallow, times),  # type: ignore[misc]
                size.pairs,
                warm_up=False,
            )
            cases.append(pairs.ratio(f"{what}{kind}", 2.5, MICRO, "us/node"))
    return cases


WORKLOAD = Workload(
    name="chain",
    about="100k jobs, or handlers that await the next, each the child of the last; run to the end, or closed",
    beside="itself at 1k (flat but for garbage collection: the goal that the tree has)",
    run=run,
    sizes={FULL: Size(100_000, 1_000, 2), QUICK: Size(20_000, 1_000, 1), TINY: Size(100, 20, 1)},
)
