"""round_trip: from ``submit`` to ``result``, one Job after the other."""

from __future__ import annotations

import asyncio
import threading
from dataclasses import dataclass

from agere import Commander
from benchmarks.measure import MICRO, Case, interleave, median_latency, pinned
from benchmarks.workload import FULL, QUICK, TINY, Workload
from benchmarks.workloads.submit import Trivial, trivial


@dataclass(frozen=True)
class Size:
    calls: int
    pairs: int


def run(size: Size) -> list[Case]:
    loop = asyncio.new_event_loop()
    thread = threading.Thread(target=loop.run_forever)
    with pinned() as is_pinned, Commander[None]() as commander:
        thread.start()
        try:
            pairs = interleave(
                lambda: median_latency(lambda: commander.submit(Trivial()).result(), size.calls),
                lambda: median_latency(lambda: asyncio.run_coroutine_threadsafe(trivial(), loop).result(), size.calls),
                size.pairs,
            )
        finally:
            loop.call_soon_threadsafe(loop.stop)
            thread.join()
            loop.close()
    return [pairs.ratio("p50, one core" if is_pinned else "p50, not pinned", 1.1, MICRO, "us", pinned=is_pinned)]


WORKLOAD = Workload(
    name="round_trip",
    about="submit(job).result(), one after the other, the median, on one core",
    beside="run_coroutine_threadsafe(coroutine()).result()",
    run=run,
    sizes={FULL: Size(1_000, 21), QUICK: Size(300, 5), TINY: Size(5, 1)},
)
