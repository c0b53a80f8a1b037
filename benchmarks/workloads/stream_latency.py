"""stream_latency: how long a chunk of a slow stream is under way."""

from __future__ import annotations

import asyncio
import statistics
import time
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass

from agere.utils.llm_async_converters import LLMAsyncAdapter
from benchmarks.measure import MICRO, Case, interleave
from benchmarks.workload import FULL, QUICK, TINY, Workload
from benchmarks.workloads.stream import by_thread_calls


@dataclass(frozen=True)
class Size:
    chunks: int
    pairs: int


def paced(count: int) -> Iterator[float]:
    """A chunk each millisecond: the moment at which it was handed over."""
    for _ in range(count):
        time.sleep(0.001)
        yield time.perf_counter()


async def latency(stream: AsyncIterator[float]) -> float:
    return statistics.median([time.perf_counter() - handed_over async for handed_over in stream])


def ours(count: int) -> float:
    async def main() -> float:
        return await latency(LLMAsyncAdapter().llm_to_async_iterable(paced(count)))

    return asyncio.run(main())


def floor(count: int) -> float:
    return asyncio.run(latency(by_thread_calls(paced(count))))


def run(size: Size) -> list[Case]:
    pairs = interleave(lambda: ours(size.chunks), lambda: floor(size.chunks), size.pairs)
    return [pairs.ratio("1 ms pace, p50", 1.1, MICRO, "us")]


WORKLOAD = Workload(
    name="stream_latency",
    about="added latency of a chunk, of a blocking source at 1 ms pace",
    beside="await asyncio.to_thread(next, iterator) for each chunk",
    run=run,
    sizes={FULL: Size(400, 15), QUICK: Size(200, 3), TINY: Size(5, 1)},
)
