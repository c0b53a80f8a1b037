"""submit: trivial Jobs from some threads, each with its Future, until all have run."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Callable
from concurrent.futures import Future
from dataclasses import dataclass
from typing import Any

from agere import Commander, Job, tasker
from benchmarks.measure import MICRO, Case, interleave
from benchmarks.workload import FULL, QUICK, TINY, Workload


@dataclass(frozen=True)
class Size:
    jobs: int
    threads: tuple[int, ...]
    pairs: int


class Trivial(Job[int]):
    @tasker
    async def task(self) -> int:
        return 1


async def trivial() -> int:
    return 1


def from_threads(submit: Callable[[], Future[Any]], count: int, threads: int) -> float:
    """Seconds until ``count`` submissions, shared between the threads, all have their result."""
    futures: list[list[Future[Any]]] = [[] for _ in range(threads)]

    def work(mine: list[Future[Any]]) -> None:
        for _ in range(count // threads):
            mine.append(submit())

    workers = [threading.Thread(target=work, args=(mine,)) for mine in futures]
    begun = time.perf_counter()
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    for mine in futures:
        for future in mine:
            future.result()
    return time.perf_counter() - begun


def ours(count: int, threads: int) -> float:
    with Commander[None]() as commander:
        return from_threads(lambda: commander.submit(Trivial()), count, threads)


def floor(count: int, threads: int) -> float:
    loop = asyncio.new_event_loop()
    thread = threading.Thread(target=loop.run_forever)
    thread.start()
    try:
        return from_threads(lambda: asyncio.run_coroutine_threadsafe(trivial(), loop), count, threads)
    finally:
        loop.call_soon_threadsafe(loop.stop)
        thread.join()
        loop.close()


def run(size: Size) -> list[Case]:
    return [
        interleave(
            lambda threads=threads: ours(size.jobs, threads),  # type: ignore[misc]
            lambda threads=threads: floor(size.jobs, threads),  # type: ignore[misc]
            size.pairs,
        ).ratio(f"{threads} thread{'s' if threads > 1 else ''}", 0.6, MICRO / size.jobs, "us/job")
        for threads in size.threads
    ]


WORKLOAD = Workload(
    name="submit",
    about="trivial Jobs from 1, 4, 16 threads, each made, submitted and with its Future, until all have run",
    beside="asyncio.run_coroutine_threadsafe",
    run=run,
    sizes={FULL: Size(20_000, (1, 4, 16), 9), QUICK: Size(4_000, (1, 4, 16), 3), TINY: Size(40, (1, 4), 1)},
)
