"""stream: what it costs to carry a chunk from the reading thread to the loop."""

from __future__ import annotations

import asyncio
import threading
import time
from collections import deque
from collections.abc import AsyncIterator, Callable, Iterable, Iterator
from dataclasses import dataclass
from statistics import median
from typing import Any

from agere.utils.llm_async_converters import LLMAsyncAdapter
from benchmarks.measure import MICRO, Case, interleave
from benchmarks.workload import FULL, QUICK, TINY, Workload

END = object()

Carrier = Callable[[list[int]], AsyncIterator[Any]]
"""Carries the chunks of an iterable from a thread to the loop."""


@dataclass(frozen=True)
class Size:
    chunks: int
    pairs: int
    per_thread_call: int
    """How many chunks are also carried by ``to_thread(next)``, for comparison."""


class Coalesced:
    """The floor: a thread and the loop share a deque under a lock, and one wake-up serves all that has come by then.

    No bound, no errors, no closing.
    """

    def __init__(self, source: Iterable[Any]) -> None:
        self.source = source
        self.lock = threading.Lock()
        self.waiting: deque[Any] = deque()
        self.awake = True
        self.woken = asyncio.Event()
        self.loop = asyncio.get_running_loop()
        self.thread = threading.Thread(target=self._read)
        self.thread.start()

    def _read(self) -> None:
        for chunk in self.source:
            self._put(chunk)
        self._put(END)

    def _put(self, chunk: Any) -> None:
        with self.lock:
            self.waiting.append(chunk)
            wakes, self.awake = not self.awake, True
        if wakes:
            self.loop.call_soon_threadsafe(self.woken.set)

    def __aiter__(self) -> AsyncIterator[Any]:
        return self

    async def __anext__(self) -> Any:
        while True:
            with self.lock:
                if self.waiting:
                    chunk = self.waiting.popleft()
                    break
                self.awake = False
                self.woken.clear()
            await self.woken.wait()
        if chunk is END:
            self.thread.join()
            raise StopAsyncIteration
        return chunk


async def without_lock(source: Iterable[Any]) -> AsyncIterator[Any]:
    """The least that is possible: no lock, and a generator, which one cancelled read would end."""
    loop = asyncio.get_running_loop()
    waiting: deque[Any] = deque()
    woken = asyncio.Event()
    parked = False

    def read() -> None:
        nonlocal parked
        for chunk in source:
            waiting.append(chunk)
            if parked:
                parked = False
                loop.call_soon_threadsafe(woken.set)
        waiting.append(END)
        loop.call_soon_threadsafe(woken.set)

    thread = threading.Thread(target=read)
    thread.start()
    while True:
        while waiting:
            chunk = waiting.popleft()
            if chunk is END:
                thread.join()
                return
            yield chunk
        woken.clear()
        parked = True
        if not waiting:  # after parking: the reader appends first and then looks
            await woken.wait()
        parked = False


async def by_thread_calls(source: Iterable[Any]) -> AsyncIterator[Any]:
    """What people write first: every chunk is fetched by a call on a worker thread."""
    iterator: Iterator[Any] = iter(source)
    while (chunk := await asyncio.to_thread(next, iterator, END)) is not END:
        yield chunk


async def consume(kind: Carrier, chunks: list[int]) -> float:
    """Seconds from making the stream to its end."""
    begun = time.perf_counter()
    count = 0
    async for _ in kind(chunks):
        count += 1
    seconds = time.perf_counter() - begun
    if count != len(chunks):
        raise AssertionError(f"{count} chunks came, not {len(chunks)}")
    return seconds


def adapted(chunks: list[int]) -> AsyncIterator[int]:
    return LLMAsyncAdapter().llm_to_async_iterable(chunks)


def carry(kind: Carrier, chunks: list[int]) -> float:
    return asyncio.run(consume(kind, chunks))


def run(size: Size) -> list[Case]:
    chunks = list(range(size.chunks))
    each = MICRO / size.chunks
    floor = interleave(lambda: carry(adapted, chunks), lambda: carry(Coalesced, chunks), size.pairs)
    least = interleave(lambda: carry(adapted, chunks), lambda: carry(without_lock, chunks), size.pairs)
    few = chunks[: size.per_thread_call]
    to_thread = carry(by_thread_calls, few) / len(few) / (median(floor.beside) / size.chunks)
    return [
        floor.ratio(f"{size.chunks:,} instant chunks", 1.3, each, "us/chunk", to_thread_next_x=round(to_thread)),
        least.ratio("beside one without lock", None, each, "us/chunk"),
    ]


WORKLOAD = Workload(
    name="stream",
    about="instant chunks through LLMAsyncAdapter",
    beside="a plain coalesced thread-to-loop deque: a lock, no bound, no errors, no closing",
    run=run,
    sizes={FULL: Size(50_000, 31, 2_000), QUICK: Size(50_000, 7, 200), TINY: Size(200, 1, 5)},
)
