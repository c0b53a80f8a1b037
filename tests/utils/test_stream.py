"""The hand-off between one reader and one consumer: order, errors, bounds, closing, loops."""

from __future__ import annotations

import asyncio
import contextlib
import contextvars
import gc
import queue
import subprocess
import sys
import threading
from collections.abc import AsyncIterator, Callable, Iterator
from time import monotonic
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agere.errors import WorkerLimitError
from agere.utils import readers
from agere.utils.llm_async_converters import LLMAsyncAdapter, StreamIterator

PATIENCE = 10.0


def stream_of(source: Any, **options: Any) -> StreamIterator[Any]:
    return LLMAsyncAdapter().llm_to_async_iterable(source, **options)


async def everything(stream: StreamIterator[Any]) -> list[Any]:
    return [chunk async for chunk in stream]


async def collect(stream: StreamIterator[Any], seen: list[Any]) -> None:
    async for chunk in stream:
        seen.append(chunk)


async def fail_within(stream: StreamIterator[Any]) -> None:
    async with stream:
        async for _ in stream:
            raise ZeroDivisionError


async def until(event: threading.Event) -> None:
    """Wait for a thread's event without holding the loop."""
    assert await asyncio.get_running_loop().run_in_executor(None, event.wait, PATIENCE)


class Source:
    """A blocking source that the test feeds: it counts what happens to it, and its ``close`` wakes its reader."""

    def __init__(self, *chunks: Any) -> None:
        self.feed: queue.SimpleQueue[Any] = queue.SimpleQueue()
        for chunk in chunks:
            self.feed.put(chunk)
        self.reading = threading.Event()
        self.closed = threading.Event()
        self.closes = 0
        self.thread: threading.Thread | None = None

    def __iter__(self) -> Source:
        return self

    def __next__(self) -> Any:
        self.thread = threading.current_thread()
        if self.feed.empty():
            self.reading.set()
        chunk = self.feed.get()
        if isinstance(chunk, BaseException):
            raise chunk
        return chunk

    def close(self) -> None:
        self.closes += 1
        self.feed.put(StopIteration())
        self.closed.set()

    def gone(self) -> bool:
        assert self.thread is not None
        self.thread.join(PATIENCE)
        return not self.thread.is_alive()


# What comes through


@given(chunks=st.lists(st.none() | st.integers() | st.text(), max_size=600), bound=st.integers(1, 40))
def test_every_chunk_comes_through_in_order(chunks: list[Any], bound: int) -> None:
    assert asyncio.run(everything(stream_of(chunks, max_buffered=bound))) == chunks


@given(chunks=st.lists(st.none() | st.integers(), max_size=300), bound=st.integers(1, 40))
def test_every_chunk_of_an_async_source_comes_through_in_order(chunks: list[Any], bound: int) -> None:
    async def source() -> AsyncIterator[Any]:
        for number, chunk in enumerate(chunks):
            if number % 7 == 0:
                await asyncio.sleep(0)
            yield chunk

    assert asyncio.run(everything(stream_of(source(), max_buffered=bound))) == chunks


def test_a_long_burst_comes_through_and_lets_others_run() -> None:
    async def main() -> int:
        turns = 0

        async def other() -> None:
            nonlocal turns
            while True:
                turns += 1
                await asyncio.sleep(0)

        task = asyncio.create_task(other())
        assert await everything(stream_of(range(100_000))) == list(range(100_000))
        task.cancel()
        return turns

    assert asyncio.run(main()) > 3


@pytest.mark.parametrize("ending", ["end", "error", "close"])
def test_chunks_that_come_briskly_come_through_before_the_source_speaks_again(ending: str) -> None:
    gate = threading.Event()

    def brisk() -> Iterator[int]:
        for number in range(200):
            until_then = monotonic() + 0.0001  # each comes while the consumer has just begun to wait
            while monotonic() < until_then:
                pass
            yield number
        assert gate.wait(PATIENCE)
        if ending == "error":
            raise ZeroDivisionError
        yield 200

    async def main() -> None:
        stream = stream_of(brisk())
        assert [await anext(stream) for _ in range(200)] == [*range(200)]
        rest = asyncio.create_task(everything(stream))
        await asyncio.sleep(0)
        if ending == "close":
            stream.close()
            assert await asyncio.wait_for(rest, PATIENCE) == []
        gate.set()
        if ending == "error":
            with pytest.raises(ZeroDivisionError):
                await asyncio.wait_for(rest, PATIENCE)
        elif ending == "end":
            assert await asyncio.wait_for(rest, PATIENCE) == [200]

    asyncio.run(main())


def test_reading_on_after_the_end_just_ends() -> None:
    async def main() -> None:
        stream = stream_of([1])
        assert await everything(stream) == [1]
        assert stream.closed
        assert await everything(stream) == []

    asyncio.run(main())


def test_nothing_is_read_before_the_first_read() -> None:
    source = Source(1)
    stream = stream_of(source)
    assert source.thread is None
    stream.close()
    assert source.closed.wait(PATIENCE)
    assert source.thread is None


# Errors


class Strange(BaseException):
    pass


ERRORS = [ValueError("x"), Strange("x"), KeyboardInterrupt(), SystemExit(3), GeneratorExit(), asyncio.CancelledError()]


@pytest.mark.parametrize("error", ERRORS, ids=lambda error: type(error).__name__)
@pytest.mark.parametrize("before", [0, 1, 50])
def test_an_error_arrives_after_the_chunks_before_it(error: BaseException, before: int) -> None:
    source = Source(*range(before), error)

    async def main() -> None:
        stream = stream_of(source)
        seen: list[int] = []
        with pytest.raises(type(error)) as caught:
            await collect(stream, seen)
        assert caught.value is error
        assert seen == list(range(before))
        assert stream.closed
        assert await everything(stream) == []

    asyncio.run(main())
    assert source.closes == 1
    assert source.gone()


def raises(error: BaseException) -> Any:
    raise error


class BadIter:
    def __init__(self, error: BaseException) -> None:
        self.error = error

    def __iter__(self) -> Iterator[Any]:
        raise self.error


@pytest.mark.parametrize("error", ERRORS[:2], ids=lambda error: type(error).__name__)
@pytest.mark.parametrize("make", [BadIter, lambda error: lambda: raises(error)], ids=["iter", "call"])
def test_an_error_at_the_start_arrives(make: Callable[[BaseException], Any], error: BaseException) -> None:
    with pytest.raises(type(error)):
        asyncio.run(everything(stream_of(make(error))))


@pytest.mark.parametrize(
    "source",
    [
        BadIter(StopIteration()),
        lambda: raises(StopIteration()),
        lambda: raises(StopAsyncIteration()),
        Source(StopAsyncIteration()),
    ],
    ids=["iter", "call", "call-async", "next-async"],
)
def test_an_error_that_looks_like_an_end_is_an_error(source: Any) -> None:
    with pytest.raises(RuntimeError, match="raised Stop"):
        asyncio.run(everything(stream_of(source)))


def test_an_async_source_fails_after_its_chunks() -> None:
    async def source() -> AsyncIterator[int]:
        yield 1
        yield 2
        raise Strange

    async def main() -> list[int]:
        seen: list[int] = []
        with pytest.raises(Strange):
            await collect(stream_of(source()), seen)
        return seen

    assert asyncio.run(main()) == [1, 2]


def test_no_thread_to_be_had_is_the_streams_error(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: Any) -> None:
        raise WorkerLimitError("all busy")

    monkeypatch.setattr(readers, "spawn", refuse)
    source = Source(1)
    with pytest.raises(WorkerLimitError, match="all busy"):
        asyncio.run(everything(stream_of(source)))
    assert source.closed.wait(PATIENCE), "closing does not depend on the pool"
    assert source.closes == 1


# Bounds


@pytest.mark.parametrize("bound", [1, 2, 7])
@pytest.mark.parametrize("kind", ["thread", "task"])
def test_a_slow_consumer_makes_the_source_wait(bound: int, kind: str) -> None:
    taken = 0
    ahead = []

    def pulls() -> Iterator[int]:
        for number in range(200):
            ahead.append(number - taken)
            yield number

    async def pulls_async() -> AsyncIterator[int]:
        for number in pulls():
            yield number

    async def main() -> None:
        nonlocal taken
        stream = stream_of(pulls() if kind == "thread" else pulls_async(), max_buffered=bound)
        async for _ in stream:
            taken += 1
            await asyncio.sleep(0)

    asyncio.run(main())
    assert taken == 200
    assert max(ahead) <= bound + 1


def test_a_consumer_that_stops_reading_holds_the_reader() -> None:
    pulled = 0

    def endless() -> Iterator[int]:
        nonlocal pulled
        while True:
            pulled += 1
            yield pulled

    async def main() -> None:
        stream = stream_of(endless(), max_buffered=50)
        assert await anext(stream) == 1
        while not stream._stream.full:
            await asyncio.sleep(0)
        assert pulled <= 52
        await stream.aclose()

    asyncio.run(main())


@pytest.mark.parametrize("bound", [0, -1])
def test_a_bound_below_one_is_refused(bound: int) -> None:
    with pytest.raises(ValueError, match="at least 1"):
        stream_of([], max_buffered=bound)


# Cancelling


@given(plan=st.lists(st.integers(0, 4), max_size=40), ahead=st.booleans())
def test_a_cancelled_read_loses_nothing(plan: list[int], ahead: bool) -> None:
    """However a cancellation falls together with a chunk, each chunk is handed out once, in order."""
    source = Source()

    async def main() -> list[int]:
        stream = stream_of(source)
        seen = []
        for number, pauses in enumerate(plan):
            if ahead:
                source.feed.put(number)
            reading = asyncio.create_task(anext(stream))
            for _ in range(pauses):
                await asyncio.sleep(0)
            if not ahead:
                source.feed.put(number)
            reading.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                seen.append(await reading)
        source.feed.put(StopIteration())
        return seen + await everything(stream)

    assert asyncio.run(main()) == list(range(len(plan)))
    assert source.closes == 1


def test_a_cancelled_read_of_an_async_source_does_not_end_it() -> None:
    async def main() -> None:
        go = asyncio.Event()

        async def source() -> AsyncIterator[int]:
            await go.wait()
            yield 1
            yield 2

        stream = stream_of(source())
        for _ in range(3):
            with pytest.raises(TimeoutError):
                await asyncio.wait_for(anext(stream), 0.001)
        go.set()
        assert await everything(stream) == [1, 2]

    asyncio.run(main())


# Closing


def test_close_from_another_thread_ends_a_waiting_read() -> None:
    source = Source(1)

    async def main() -> None:
        stream = stream_of(source)
        assert await anext(stream) == 1
        waiting = asyncio.create_task(everything(stream))
        await until(source.reading)
        closer = threading.Thread(target=stream.close)
        closer.start()
        assert await waiting == []
        closer.join()
        assert stream.closed

    asyncio.run(main())
    assert source.gone()
    assert source.closes == 1


def test_close_is_idempotent_from_many_threads() -> None:
    source = Source(1)
    ends = []

    async def main() -> None:
        stream = LLMAsyncAdapter(at_receiving_end={"function": lambda: ends.append(1)}).llm_to_async_iterable(source)
        await anext(stream)
        await until(source.reading)
        start = threading.Barrier(8)

        def close() -> None:
            start.wait()
            stream.close()

        closers = [threading.Thread(target=close) for _ in range(8)]
        for closer in closers:
            closer.start()
        assert await everything(stream) == []
        for closer in closers:
            closer.join()
        await stream.aclose()
        await stream.aclose()

    asyncio.run(main())
    assert source.gone()
    assert source.closes == 1
    assert ends == [1]


def test_leaving_the_block_closes() -> None:
    source = Source(1, 2, 3)

    async def main() -> None:
        stream = stream_of(source)
        with pytest.raises(ZeroDivisionError):
            await fail_within(stream)
        assert await everything(stream) == []

    asyncio.run(main())
    assert source.gone()
    assert source.closes == 1


def test_a_source_that_is_full_of_chunks_closes_in_its_own_thread() -> None:
    ended = []

    def endless() -> Iterator[int]:
        try:
            while True:
                yield 1
        finally:
            ended.append(threading.current_thread())

    async def main() -> None:
        async for _ in stream_of(endless(), max_buffered=3):
            break

    asyncio.run(main())
    for thread in threading.enumerate():
        if thread is not threading.current_thread():
            thread.join(PATIENCE)
    assert len(ended) == 1


def test_a_generator_that_refuses_to_be_closed_is_closed_by_its_reader() -> None:
    blocked, release, ended = threading.Event(), threading.Event(), []

    def generator() -> Iterator[int]:
        try:
            yield 1
            blocked.set()
            release.wait(PATIENCE)
            yield 2
        finally:
            ended.append(threading.current_thread().name)

    async def main() -> None:
        stream = stream_of(generator())
        await anext(stream)
        await until(blocked)
        await stream.aclose()  # does not wait for it
        assert ended == []
        assert await everything(stream) == []
        release.set()

    asyncio.run(main())
    for thread in threading.enumerate():
        if thread is not threading.current_thread():
            thread.join(PATIENCE)
    assert len(ended) == 1


def test_a_close_that_blocks_holds_up_nobody() -> None:
    class Stubborn(Source):
        release = threading.Event()

        def close(self) -> None:
            self.closed.set()
            assert self.release.wait(PATIENCE)
            super().close()

    source = Stubborn(1)

    async def main() -> None:
        stream = stream_of(source)
        await anext(stream)
        await until(source.reading)
        await stream.aclose()
        await until(source.closed)
        source.release.set()

    asyncio.run(main())
    assert source.gone()
    assert source.closes == 1


def test_a_close_that_fails_while_reading_is_tried_again_by_the_reader() -> None:
    class Busy(Source):
        def close(self) -> None:
            if not self.closed.is_set():
                self.closed.set()
                raise RuntimeError("busy")
            super().close()

    source = Busy(1)

    async def main() -> None:
        stream = stream_of(source)
        await anext(stream)
        await until(source.reading)
        stream.close()
        await until(source.closed)
        source.feed.put(2)

    asyncio.run(main())
    assert source.gone()
    assert source.closes == 1


def test_a_close_that_fails_for_good_is_logged(caplog: pytest.LogCaptureFixture) -> None:
    class Broken(Source):
        def close(self) -> None:
            raise RuntimeError("no way")

    assert asyncio.run(everything(stream_of(Broken(1, StopIteration())))) == [1]
    assert [record.exc_info[1].args for record in caplog.records if record.exc_info and record.exc_info[1]] == [
        ("no way",)
    ]


def test_iterator_and_source_are_both_closed() -> None:
    closed = []

    class Reply:
        def __iter__(self) -> Iterator[int]:
            try:
                yield 1
                yield 2
            finally:
                closed.append("iterator")

        def close(self) -> None:
            closed.append("source")

    async def main() -> None:
        async with stream_of(Reply(), max_buffered=1) as stream:
            await anext(stream)

    asyncio.run(main())
    for thread in threading.enumerate():
        if thread is not threading.current_thread():
            thread.join(PATIENCE)
    assert sorted(closed) == ["iterator", "source"]


def test_an_async_source_is_closed_in_the_task_that_read_it() -> None:
    tasks = []

    async def source() -> AsyncIterator[int]:
        tasks.append(asyncio.current_task())
        try:
            yield 1
            await asyncio.Event().wait()
        finally:
            await asyncio.sleep(0)
            tasks.append(asyncio.current_task())

    async def main() -> None:
        async with stream_of(source()) as stream:
            assert await anext(stream) == 1
        assert len(tasks) == 2  # aclose has waited for it
        assert tasks[0] is tasks[1]
        assert tasks[0] is not asyncio.current_task()

    asyncio.run(main())


def test_an_async_source_is_closed_from_another_thread() -> None:
    class Chunks:
        closes = 0

        def __aiter__(self) -> Chunks:
            return self

        async def __anext__(self) -> int:
            await asyncio.Event().wait()
            return 1

        async def close(self) -> None:
            Chunks.closes += 1

    async def main() -> None:
        stream = stream_of(Chunks())
        reading = asyncio.create_task(everything(stream))
        await asyncio.sleep(0)
        await asyncio.to_thread(stream.close)
        assert await reading == []
        await stream.aclose()

    asyncio.run(main())
    assert Chunks.closes == 1


def test_an_async_source_that_was_never_read_is_closed() -> None:
    class Chunks:
        closed = False

        def __aiter__(self) -> Chunks:
            return self

        async def __anext__(self) -> int:
            return 1

        async def aclose(self) -> None:
            self.closed = True

    async def main() -> None:
        chunks = Chunks()
        await stream_of(chunks).aclose()
        assert chunks.closed

    asyncio.run(main())


def test_stalled_streams_do_not_hold_up_a_live_one() -> None:
    sources = [Source(0) for _ in range(250)]

    async def main() -> None:
        stalled = [stream_of(source) for source in sources]
        for stream in stalled:
            assert await anext(stream) == 0
        waiting = [asyncio.create_task(everything(stream)) for stream in stalled]
        assert await everything(stream_of(range(1000))) == list(range(1000))
        for stream in stalled:
            stream.close()
        assert await asyncio.gather(*waiting) == [[]] * 250

    asyncio.run(main())
    assert all(source.gone() for source in sources)
    assert {source.closes for source in sources} == {1}


# Dropping


def test_a_dropped_stream_closes_its_source() -> None:
    source = Source(1)

    async def main() -> None:
        async for _ in stream_of(source):
            await until(source.reading)
            break
        await until(source.closed)

    asyncio.run(main())
    assert source.gone()
    assert source.closes == 1


@pytest.mark.parametrize("in_loop", [True, False])
def test_a_stream_dropped_unread_closes_its_source(in_loop: bool) -> None:
    source = Source(1)

    async def main() -> None:
        stream_of(source)

    if in_loop:
        asyncio.run(main())
    else:
        stream_of(source)
    assert source.closed.wait(PATIENCE)
    assert source.closes == 1


def test_a_stream_dropped_in_a_cycle_closes_its_source() -> None:
    source = Source(1)

    async def main() -> None:
        stream = stream_of(source)
        await anext(stream)
        await until(source.reading)
        cycle: list[Any] = [stream]
        cycle.append(cycle)

    asyncio.run(main())
    gc.collect()
    assert source.closed.wait(PATIENCE)
    assert source.gone()


def test_a_cancelled_consumer_that_holds_the_stream_alone_closes_it() -> None:
    source = Source(1)

    async def consume() -> None:
        async for _ in stream_of(source):
            pass

    async def main() -> None:
        consumer = asyncio.create_task(consume())
        await until(source.reading)
        consumer.cancel()
        with pytest.raises(asyncio.CancelledError):
            await consumer
        del consumer
        await until(source.closed)

    asyncio.run(main())
    assert source.gone()


def test_a_dropped_async_source_is_closed() -> None:
    async def main() -> None:
        closed = asyncio.Event()

        async def source() -> AsyncIterator[int]:
            try:
                yield 1
                await asyncio.Event().wait()
            finally:
                closed.set()

        async for _ in stream_of(source()):
            break
        await asyncio.wait_for(closed.wait(), PATIENCE)

    asyncio.run(main())


EXIT = """
import asyncio, threading, sys
from agere.utils.llm_async_converters import LLMAsyncAdapter

def stalled():
    yield 1
    reading.set()
    threading.Event().wait()

class Source:
    def __iter__(self): return iter([1])
    def close(self): pass

reading = threading.Event()
unread = LLMAsyncAdapter().llm_to_async_iterable(Source())
stream = LLMAsyncAdapter().llm_to_async_iterable(stalled())

async def main():
    await anext(stream)
    await asyncio.to_thread(reading.wait)

asyncio.run(main())
sys.kept = [unread, stream]
print("done")
"""


def test_streams_that_live_at_interpreter_exit_do_not_hold_it_up() -> None:
    done = subprocess.run([sys.executable, "-W", "error", "-c", EXIT], capture_output=True, text=True, timeout=PATIENCE)
    assert (done.returncode, done.stdout, done.stderr) == (0, "done\n", "")


# Loops


def test_a_stream_belongs_to_the_loop_that_first_read_it() -> None:
    source = Source(1, 2, 3)
    stream = stream_of(source)

    async def read() -> Any:
        return await anext(stream)

    assert asyncio.run(read()) == 1
    with pytest.raises(RuntimeError, match=r"another event loop, which has closed.*first read"):
        asyncio.run(read())
    stream.close()
    assert source.gone()


def test_a_stream_has_one_reader_at_a_time() -> None:
    source = Source()

    async def main() -> None:
        stream = stream_of(source)
        first = asyncio.create_task(everything(stream))
        await until(source.reading)
        with pytest.raises(RuntimeError, match="being read by another task"):
            await anext(stream)
        source.feed.put("still")
        source.feed.put(StopIteration())
        assert await first == ["still"]

    asyncio.run(main())


def test_a_reader_whose_consumers_loop_has_closed_leaves() -> None:
    source = Source(1)

    async def read() -> Any:
        return await anext(stream)

    stream = stream_of(source)
    assert asyncio.run(read()) == 1
    source.feed.put(2)
    source.feed.put(3)
    stream.close()
    assert source.gone()


def test_a_loop_that_ends_ends_the_task_of_an_async_source() -> None:
    ended = []

    async def source() -> AsyncIterator[int]:
        try:
            yield 1
            await asyncio.Event().wait()
        finally:
            ended.append(True)

    kept = []

    async def main() -> None:
        kept.append(stream_of(source()))
        await anext(kept[0])

    asyncio.run(main())
    assert ended == [True]


# Functions that make the request


def test_a_function_is_called_on_the_worker_thread() -> None:
    caller = []

    def request() -> list[int]:
        caller.append(threading.current_thread())
        return [1, 2]

    assert asyncio.run(everything(stream_of(request))) == [1, 2]
    assert caller[0] is not threading.current_thread()


async def async_numbers() -> AsyncIterator[int]:
    yield 1
    yield 2


async def returns_async() -> AsyncIterator[int]:
    return async_numbers()


async def returns_list() -> list[int]:
    return [1, 2]


class AsyncCallable:
    async def __call__(self) -> list[int]:
        return [1, 2]


@pytest.mark.parametrize(
    "opener",
    [
        async_numbers,
        lambda: async_numbers(),
        returns_async,
        lambda: returns_async(),
        returns_list,
        lambda: returns_list(),
        AsyncCallable(),
        lambda: (number for number in (1, 2)),
    ],
)
def test_a_function_may_return_either_kind_directly_or_awaitably(opener: Callable[[], Any]) -> None:
    assert asyncio.run(everything(stream_of(opener))) == [1, 2]


def test_an_async_function_is_awaited_on_the_loop() -> None:
    async def main() -> None:
        loop = asyncio.get_running_loop()

        async def request() -> list[int]:
            assert asyncio.get_running_loop() is loop
            return [1]

        assert await everything(stream_of(request)) == [1]

    asyncio.run(main())


def test_what_a_function_returns_after_closing_is_closed() -> None:
    asked, release = threading.Event(), threading.Event()
    source = Source(1)

    def request() -> Source:
        asked.set()
        release.wait(PATIENCE)
        return source

    async def main() -> None:
        stream = stream_of(request)
        reading = asyncio.create_task(everything(stream))
        await until(asked)
        stream.close()
        assert await reading == []
        release.set()
        await until(source.closed)

    asyncio.run(main())
    assert source.closes == 1
    assert source.thread is None, "nothing was read"


@pytest.mark.skipif(sys.version_info < (3, 12), reason="Python 3.12 and later have eager tasks")
def test_an_async_source_in_an_eager_task() -> None:
    async def main() -> None:
        asyncio.get_running_loop().set_task_factory(getattr(asyncio, "eager_task_factory"))  # noqa: B009
        assert await everything(stream_of(async_numbers())) == [1, 2]
        stream = stream_of(async_numbers())
        assert await anext(stream) == 1
        await stream.aclose()

    asyncio.run(main())


def test_a_coroutine_that_a_function_returns_after_closing_is_closed() -> None:
    asked, release = threading.Event(), threading.Event()

    def request() -> Any:
        asked.set()
        release.wait(PATIENCE)
        return returns_list()  # warns if it is never awaited nor closed

    async def main() -> None:
        stream = stream_of(request)
        reading = asyncio.create_task(everything(stream))
        await until(asked)
        stream.close()
        assert await reading == []
        release.set()
        while not isinstance(stream._stream._reader, readers.TaskReader):
            await asyncio.sleep(0)
        await stream.aclose()

    asyncio.run(main())


class Whole:
    """Like a pydantic model."""

    def model_dump(self) -> dict[str, int]:
        return {}

    def __iter__(self) -> Iterator[tuple[str, int]]:
        return iter([("id", 1)])


@pytest.mark.parametrize(
    ("source", "says"),
    [(None, "NoneType"), (3, "int"), (lambda x: x, "needs arguments"), (Whole(), "stream=True")],
)
def test_what_cannot_be_streamed_is_refused_at_the_call(source: Any, says: str) -> None:
    with pytest.raises(TypeError, match=says) as caught:
        stream_of(source)
    assert "stream=True" in str(caught.value)


def test_a_coroutine_is_refused_at_the_call() -> None:
    coroutine = returns_list()
    with pytest.raises(TypeError, match=r"(has to|must) be awaited"):
        stream_of(coroutine)
    coroutine.close()


@pytest.mark.parametrize("wrong", [3, Whole(), lambda: [1]])
@pytest.mark.parametrize("kind", ["plain", "async"])
def test_a_function_that_returns_no_stream_is_the_streams_error(wrong: Any, kind: str) -> None:
    async def opener() -> Any:
        return wrong

    with pytest.raises(TypeError, match="stream=True"):
        asyncio.run(everything(stream_of(opener if kind == "async" else lambda: wrong)))


# Contexts

who: contextvars.ContextVar[str] = contextvars.ContextVar("who")


@pytest.mark.parametrize("kind", ["thread", "task"])
def test_the_source_runs_in_the_context_of_its_maker(kind: str) -> None:
    def plain() -> Iterator[str]:
        yield who.get()

    async def awaiting() -> AsyncIterator[str]:
        yield who.get()

    async def main() -> None:
        who.set("maker")
        stream = stream_of(plain() if kind == "thread" else awaiting())
        who.set("reader")
        assert await everything(stream) == ["maker"]

    asyncio.run(main())
