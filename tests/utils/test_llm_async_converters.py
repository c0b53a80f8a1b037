"""``LLMAsyncAdapter``: callbacks, what was received, real clients, life within a Commander."""

from __future__ import annotations

import asyncio
import logging
import threading
import weakref
from collections.abc import AsyncIterator, Callable, Iterator
from typing import Any

import openai
import pytest

import agere
from agere.commander import PASS_WORD, Commander, Job, handler, tasker
from agere.errors import CallbackError
from agere.testing import Gate, ScriptedLLM, cut, error_in_stream, failing, silent, text
from agere.utils.llm_async_converters import CallbackDict, LLMAsyncAdapter

PATIENCE = 10.0


async def everything(stream: Any) -> list[Any]:
    return [chunk async for chunk in stream]


async def until(event: threading.Event) -> None:
    assert await asyncio.to_thread(event.wait, PATIENCE)


def words(chunks: list[Any]) -> str:
    return "".join(chunk.choices[0].delta.content or "" for chunk in chunks if chunk.choices)


# Callbacks


class Log:
    """Notes what happens, in order."""

    def __init__(self) -> None:
        self.entries: list[Any] = []

    def note(self, *args: Any, **kwargs: Any) -> CallbackDict:
        return {"function": self.entries.append, "params": {"args": [*args]}} if not kwargs else self.fail()

    def fail(self, error: BaseException | None = None) -> CallbackDict:
        def failing_callback() -> None:
            raise error or ValueError("callback")

        return {"function": failing_callback}

    def note_async(self, entry: Any) -> CallbackDict:
        async def note() -> None:
            await asyncio.sleep(0)
            self.entries.append(entry)

        return {"function": note}

    async def read(self, stream: Any) -> None:
        async for chunk in stream:
            self.entries.append(chunk)


@pytest.mark.parametrize("kind", ["note", "note_async"])
@pytest.mark.parametrize("chunks", [[], [1, 2]])
def test_callbacks_run_around_the_chunks(kind: str, chunks: list[int]) -> None:
    log = Log()
    note: Callable[[Any], CallbackDict] = getattr(log, kind)
    adapter = LLMAsyncAdapter(at_receiving_start=note("start"), at_receiving_end=[note("end"), note("end 2")])

    async def main() -> None:
        stream = adapter.llm_to_async_iterable(
            chunks, at_receiving_start=[note("mine")], at_receiving_end=note("my end")
        )
        await log.read(stream)
        log.entries.append("after")
        await log.read(stream)

    asyncio.run(main())
    assert log.entries == ["start", "mine", *chunks, "end", "end 2", "my end", "after"]


def test_nothing_starts_before_something_has_come() -> None:
    log = Log()
    release = threading.Event()

    def source() -> Iterator[str]:
        log.entries.append("asked")
        assert release.wait(PATIENCE)
        yield "chunk"

    async def main() -> None:
        stream = LLMAsyncAdapter(log.note("start")).llm_to_async_iterable(source())
        reading = asyncio.create_task(log.read(stream))
        while not log.entries:
            await asyncio.sleep(0)
        log.entries.append("released")
        release.set()
        await reading

    asyncio.run(main())
    assert log.entries == ["asked", "released", "start", "chunk"]


@pytest.mark.parametrize("before", [0, 2])
def test_the_end_callback_runs_before_an_error_is_raised(before: int) -> None:
    log = Log()

    def source() -> Iterator[int]:
        yield from range(before)
        raise ZeroDivisionError

    async def main() -> None:
        with pytest.raises(ZeroDivisionError):
            await log.read(LLMAsyncAdapter(None, log.note("end")).llm_to_async_iterable(source()))

    asyncio.run(main())
    assert log.entries == [*range(before), "end"]


@pytest.mark.parametrize("kind", ["note", "note_async"])
@pytest.mark.parametrize("how", ["close", "aclose", "thread", "drop", "block"])
@pytest.mark.parametrize("read", [False, True])
def test_the_end_callback_runs_once_at_closing(how: str, read: bool, kind: str) -> None:
    ended: list[str] = []
    done = threading.Event()
    log = Log()

    def end() -> None:
        ended.append(threading.current_thread().name)
        done.set()

    async def main() -> None:
        adapter = LLMAsyncAdapter(at_receiving_end=[getattr(log, kind)("end"), {"function": end}])
        stream = adapter.llm_to_async_iterable([1, 2, 3])
        if read:
            await anext(stream)
        match how:
            case "close":
                stream.close()
            case "aclose":
                await stream.aclose()
                assert done.is_set()
            case "thread":
                await asyncio.to_thread(stream.close)
            case "block":
                async with stream:
                    pass
                assert done.is_set()
        del stream
        await until(done)

    asyncio.run(main())
    assert ended == [threading.current_thread().name], "on the loop, once"
    assert log.entries == ["end"]


@pytest.mark.parametrize("kind", ["note", "note_async"])
def test_the_end_callback_runs_without_any_loop(kind: str) -> None:
    log, done = Log(), threading.Event()
    adapter = LLMAsyncAdapter(at_receiving_end=[getattr(log, kind)("end"), {"function": done.set}])
    adapter.llm_to_async_iterable([1]).close()
    assert done.wait(PATIENCE)
    assert log.entries == ["end"]


@pytest.mark.parametrize("error", [ValueError("callback"), GeneratorExit(), asyncio.CancelledError()])
@pytest.mark.parametrize("place", [0, 1])
def test_a_callback_that_raises_is_logged_and_all_else_goes_on(
    error: BaseException, place: int, caplog: pytest.LogCaptureFixture
) -> None:
    log = Log()
    around = [log.note("a"), log.note_async("b")]
    around.insert(place, log.fail(error))
    logger = logging.getLogger("mine")

    async def main() -> None:
        await log.read(LLMAsyncAdapter(around, around, logger).llm_to_async_iterable([1]))

    asyncio.run(main())
    assert log.entries == ["a", "b", 1, "a", "b"]
    assert [record.name for record in caplog.records] == ["mine", "mine"]
    assert [record.message.split(":")[0] for record in caplog.records] == ["at_receiving_start", "at_receiving_end"]
    assert all(record.exc_info and record.exc_info[1] is error for record in caplog.records)


def test_a_cancelled_read_does_not_take_a_callback_along() -> None:
    log = Log()

    async def main() -> None:
        go = asyncio.Event()
        waiting = asyncio.Event()

        async def slow() -> None:
            waiting.set()
            await go.wait()
            log.entries.append("slow")

        stream = LLMAsyncAdapter([{"function": slow}, log.note("then")]).llm_to_async_iterable([1, 2])
        reading = asyncio.create_task(anext(stream))  # type: ignore[arg-type]
        await waiting.wait()
        reading.cancel()
        with pytest.raises(asyncio.CancelledError):
            await reading
        go.set()
        await log.read(stream)

    asyncio.run(main())
    assert log.entries == ["slow", "then", 1, 2]


def test_a_cancelled_read_at_the_end_does_not_take_the_error_along() -> None:
    async def main() -> None:
        go, waiting = asyncio.Event(), asyncio.Event()

        async def slow() -> None:
            waiting.set()
            await go.wait()

        def source() -> Iterator[int]:
            raise ZeroDivisionError
            yield

        stream = LLMAsyncAdapter(None, [{"function": slow}]).llm_to_async_iterable(source())
        reading = asyncio.create_task(everything(stream))
        await waiting.wait()
        reading.cancel()
        with pytest.raises(asyncio.CancelledError):
            await reading
        go.set()
        with pytest.raises(ZeroDivisionError):
            await everything(stream)

    asyncio.run(main())


def test_the_end_callback_comes_after_a_slow_start_callback() -> None:
    log = Log()

    async def main() -> None:
        go, waiting = asyncio.Event(), asyncio.Event()

        async def slow() -> None:
            waiting.set()
            await go.wait()
            log.entries.append("start")

        stream = LLMAsyncAdapter([{"function": slow}], log.note("end")).llm_to_async_iterable([1])
        reading = asyncio.create_task(everything(stream))
        await waiting.wait()
        stream.close()
        asyncio.get_running_loop().call_soon(go.set)
        await stream.aclose()
        assert await reading == []

    asyncio.run(main())
    assert log.entries == ["start", "end"]


@pytest.mark.parametrize("kind", ["sync", "async"])
@pytest.mark.parametrize("phase", ["at_receiving_start", "at_receiving_end"])
def test_a_callback_may_close_the_stream(kind: str, phase: str) -> None:
    streams: list[Any] = []
    ends: list[int] = []

    async def close_async() -> None:
        await streams[0].aclose()

    async def main() -> None:
        info: CallbackDict = {"function": close_async if kind == "async" else lambda: streams[0].close()}
        adapter = LLMAsyncAdapter(at_receiving_end={"function": lambda: ends.append(1)})
        streams.append(adapter.llm_to_async_iterable([1], **{phase: info}))  # type: ignore[arg-type]
        assert await everything(streams[0]) == ([] if phase == "at_receiving_start" else [1])

    asyncio.run(main())
    streams.clear()
    assert ends == [1]


@pytest.mark.parametrize("wrong", [3, [3], {"func": print}, {"function": 3}, {"function": print, "when": 1}])
def test_a_callback_described_wrongly_is_refused_at_the_call(wrong: Any) -> None:
    with pytest.raises(CallbackError):
        LLMAsyncAdapter(at_receiving_start=wrong)
    with pytest.raises(CallbackError):
        LLMAsyncAdapter().llm_to_async_iterable([], at_receiving_end=wrong)


def test_without_a_node_none_is_injected() -> None:
    got: list[Any] = []

    def callback(*args: Any, **kwargs: Any) -> None:
        got.append((args, kwargs))

    info: CallbackDict = {
        "function": callback,
        "params": {"args": [1], "kwargs": {"a": 2}},
        "inject_task_node": True,
    }
    asyncio.run(everything(LLMAsyncAdapter(info).llm_to_async_iterable([])))
    assert got == [((1,), {"a": 2, "task_node": None})]


# What was received


def test_received_message_is_what_has_been_handed_out() -> None:
    adapter = LLMAsyncAdapter()
    assert adapter.received_message == []

    async def main() -> None:
        seen = []
        async for chunk in adapter.llm_to_async_iterable(range(500)):
            seen.append(chunk)
            assert adapter.received_message == seen
        assert await everything(adapter.llm_to_async_iterable([None])) == [None]
        assert adapter.received_message == [None], "of the newest stream"

    asyncio.run(main())


def test_a_stream_keeps_nothing_when_nobody_holds_the_adapter() -> None:
    class Chunk:
        pass

    async def main() -> None:
        alive: weakref.WeakSet[Chunk] = weakref.WeakSet()

        def source() -> Iterator[Chunk]:
            for _ in range(3000):
                chunk = Chunk()
                alive.add(chunk)
                yield chunk

        most = 0
        async for _ in LLMAsyncAdapter().llm_to_async_iterable(source(), max_buffered=100):
            most = max(most, len(alive))
        assert most <= 110

    asyncio.run(main())


# Real clients


def test_text_of_the_real_client_arrives_as_it_is_sent() -> None:
    gate = Gate()
    with ScriptedLLM([text("Hel", gate, "lo")]) as server:
        client = server.client()

        async def main() -> None:
            stream = LLMAsyncAdapter().llm_to_async_iterable(
                lambda: client.chat.completions.create(model="m", messages=[], stream=True)
            )
            first = [await anext(stream), await anext(stream)]
            assert words(first) == "Hel"
            gate.release()
            assert words(await everything(stream)) == "lo"

        asyncio.run(main())


def test_the_real_async_client_streams_and_hangs_up() -> None:
    with ScriptedLLM([text("Hel", "lo"), silent("Hm")]) as server:

        async def main() -> None:
            async with server.async_client() as client:

                async def request() -> Any:
                    return await client.chat.completions.create(model="m", messages=[], stream=True)

                assert words(await everything(LLMAsyncAdapter().llm_to_async_iterable(request))) == "Hello"
                stream = LLMAsyncAdapter().llm_to_async_iterable(request)
                await anext(stream)
                await stream.aclose()
                silent_request = await asyncio.to_thread(server.wait_request, 2)
                assert await asyncio.to_thread(silent_request.wait_disconnected)

        asyncio.run(main())


@pytest.mark.parametrize(
    ("answer", "error"),
    [
        (failing(401), openai.AuthenticationError),
        (failing(429), openai.RateLimitError),
        (failing(500), openai.InternalServerError),
        (error_in_stream("Hel"), openai.APIError),
        (cut("Hel"), openai.APIConnectionError),
    ],
    ids=["401", "429", "500", "in-stream", "cut"],
)
def test_errors_of_the_real_client_arrive(answer: Any, error: type[Exception]) -> None:
    with ScriptedLLM([answer]) as server:
        client = server.client()
        adapter = LLMAsyncAdapter()
        stream = adapter.llm_to_async_iterable(
            lambda: client.chat.completions.create(model="m", messages=[], stream=True)
        )
        with pytest.raises(error):
            asyncio.run(everything(stream))
        assert words(adapter.received_message) == ("" if answer.status != 200 else "Hel")


# Within a Commander


@pytest.mark.parametrize("how", ["cancel", "exit", "complete", "break"])
def test_a_nodes_stream_hangs_up_when_the_node_goes(how: str) -> None:
    with ScriptedLLM([silent("a")]) as server:
        client = server.client()
        reading = threading.Event()

        class Chat(Job[None]):
            @tasker(PASS_WORD)
            async def task(self) -> None:
                self.stream = LLMAsyncAdapter().llm_to_async_iterable(
                    lambda: client.chat.completions.create(model="m", messages=[], stream=True)
                )
                async for chunk in self.stream:
                    if chunk.choices[0].delta.content:
                        reading.set()
                        if how in {"complete", "break"}:
                            if how == "break":
                                del self.stream
                            break

        commander = Commander().start()
        future = commander.submit(Chat())
        assert reading.wait(PATIENCE)
        if how == "cancel":
            future.cancel()
        if how == "exit":
            commander.exit()
        assert server.wait_request().wait_disconnected()
        commander.exit()


def test_callbacks_and_source_know_the_node() -> None:
    seen: list[Any] = []

    def source() -> Iterator[int]:
        seen.append(agere.current_node())
        yield 1

    async def awaiting() -> AsyncIterator[int]:
        seen.append(agere.current_node())
        yield 1

    async def later(task_node: Any) -> None:
        await asyncio.sleep(0)
        seen.extend((task_node, agere.current_node()))

    info: CallbackDict = {"function": later, "inject_task_node": True}

    @handler(PASS_WORD)
    async def read(self_handler: Any, make: Any) -> None:
        seen.append(self_handler)
        await everything(LLMAsyncAdapter(info, info).llm_to_async_iterable(make()))

    with Commander() as commander:
        for make in (source, awaiting):
            commander.submit(read(make)).result(PATIENCE)
            assert len(seen) == 6
            assert set(seen) == {seen[0]}
            seen.clear()


def test_a_stream_that_is_handed_to_a_child_lives_on() -> None:
    @handler(PASS_WORD)
    async def consume(self_handler: Any, stream: Any) -> list[int]:
        return await everything(stream)

    class Make(Job[Any]):
        @tasker(PASS_WORD)
        async def task(self) -> Any:
            return consume(LLMAsyncAdapter().llm_to_async_iterable(range(1000)))

    with Commander() as commander:
        assert commander.submit(Make()).result(PATIENCE) == list(range(1000))


def test_no_node_holds_a_stream_that_is_over() -> None:
    freed = threading.Semaphore(0)

    @handler(PASS_WORD)
    async def read(self_handler: Any) -> None:
        for _ in range(3):
            stream = LLMAsyncAdapter().llm_to_async_iterable([1, 2])
            weakref.finalize(stream._stream, freed.release)
            await everything(stream)
        del stream
        for _ in range(3):
            assert await asyncio.to_thread(freed.acquire, timeout=PATIENCE)

    with Commander() as commander:
        commander.submit(read()).result(PATIENCE)
