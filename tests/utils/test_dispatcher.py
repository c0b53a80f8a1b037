"""The dispatcher: reading in any order, cancelling, closing, dropping; and whole streams against an oracle."""

from __future__ import annotations

import asyncio
import contextvars
import gc
import json
import logging
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from agere.errors import ToolCallParseError, ToolCallTooLargeError
from agere.utils import puller
from agere.utils.dispatcher import RoleGenerator, async_dispatcher_tools_call_for_openai
from tests.utils.chunk_shapes import SHAPES, bare, call, calls, chunk, content, whole
from tests.utils.json_texts import arguments, cut

TWO = [
    content("Hello."),
    *whole('{"to_user": "One", "a": 1}', 0, size=3),
    *whole('{"b": 2, "to_user": "Two"}', 1, size=3),
]
TEXT = "Hello.\nOne\nTwo"
CALLS = [(0, {"a": 1}), (1, {"b": 2})]


def run(main: Callable[[], Awaitable[None]]) -> None:
    """Run on a loop of its own; no task, and nothing of the dispatcher, may be left."""

    async def checked() -> None:
        await main()
        assert asyncio.all_tasks() == {asyncio.current_task()}

    asyncio.run(checked())
    assert puller._running == {}


class Source:
    """An async iterator that records what happens to it.

    Items are chunks, exceptions to raise, or events to wait for.
    """

    def __init__(self, *items: Any, waiting: bool = False) -> None:
        self.items = list(items)
        self.waiting = waiting  # suspend before each chunk
        self.taken = 0
        self.closed = 0
        self.tasks: set[Any] = set()

    def __aiter__(self) -> Source:
        return self

    async def __anext__(self) -> Any:
        self.tasks.add(asyncio.current_task())
        if self.waiting:
            await asyncio.sleep(0)
        while True:
            if self.taken == len(self.items):
                raise StopAsyncIteration
            item = self.items[self.taken]
            if isinstance(item, asyncio.Event):
                await item.wait()
            self.taken += 1
            if isinstance(item, BaseException):
                raise item
            if not isinstance(item, asyncio.Event):
                return item

    async def aclose(self) -> None:
        self.tasks.add(asyncio.current_task())
        await asyncio.sleep(0)
        self.closed += 1


async def dispatch(source: Any, **options: Any) -> Any:
    return await async_dispatcher_tools_call_for_openai(source, **options)


async def read(generator: RoleGenerator) -> list[str]:
    return [item async for item in generator]


async def read_all(source: Any, order: str = "together", **options: Any) -> tuple[str, list[Any]]:
    make = await dispatch(source, **options)
    to_user, function_call = make("to_user"), make("function_call")
    if order == "together":
        texts, made = await asyncio.gather(read(to_user), read(function_call))
    elif order == "user first":
        texts, made = await read(to_user), await read(function_call)
    else:
        made, texts = await read(function_call), await read(to_user)
    assert all(texts)
    return "".join(texts), made


def brief(made: list[str]) -> list[Any]:
    return [(item["tool_call_index"], item["arguments"]) for item in map(json.loads, made)]


orders = pytest.mark.parametrize("order", ["together", "user first", "calls first"])
waits = pytest.mark.parametrize("waiting", [False, True])


# Reading


@orders
@waits
@pytest.mark.parametrize("shape", list(SHAPES))
def test_both_roles(order: str, waiting: bool, shape: str):
    async def main() -> None:
        source = Source(*map(SHAPES[shape], TWO), waiting=waiting)
        texts, made = await read_all(source, order)
        assert (texts, brief(made)) == (TEXT, CALLS)
        assert source.closed == 1
        assert len(source.tasks) == 1

    run(main)


def test_the_form_of_a_call():
    async def main() -> None:
        _, made = await read_all(Source(*whole('{"to_user": "x", "a": {"to_user": "stays"}}', name="tool")))
        assert [json.loads(item) for item in made] == [
            {
                "tool_call_index": 0,
                "tool_call_id": "call_0",
                "name": "tool",
                "arguments": {"a": {"to_user": "stays"}},
            }
        ]

    run(main)


def test_an_async_generator_as_source_and_another_flag():
    async def stream() -> AsyncIterator[Any]:
        for item in whole('{"say": "hi", "to_user": "no"}'):
            yield item

    async def main() -> None:
        texts, made = await read_all(stream(), to_user_flag="say")
        assert (texts, brief(made)) == ("hi", [(0, {"to_user": "no"})])

    run(main)


def test_text_arrives_while_the_source_waits():
    async def main() -> None:
        more = asyncio.Event()
        start = calls(call('{"to_user": "Ros', 0, "i", "f"))
        source = Source(start, more, calls(call("es \\ud83d", 0)), more, calls(call('\\ude00"}', 0)))
        make = await dispatch(source)
        to_user = make("to_user")
        assert await anext(to_user) == "Ros"
        more.set()
        assert "".join(await read(to_user)) == "es \U0001f600"

    run(main)


def test_a_source_that_never_waits_does_not_starve_the_readers(monkeypatch: pytest.MonkeyPatch):
    times = iter(range(10**6))
    monkeypatch.setattr(puller, "monotonic", lambda: next(times))

    async def main() -> None:
        source = Source(*[content("x")] * 1000)
        make = await dispatch(source)
        async with make("to_user") as to_user:
            await anext(to_user)
            assert source.taken == 1

    run(main)


def test_reading_ahead_is_bounded():
    async def main() -> None:
        source = Source(*[content("x")] * 10_000)
        make = await dispatch(source)
        to_user = make("to_user")
        await anext(to_user)
        await asyncio.sleep(0)
        assert source.taken <= puller._AHEAD
        assert len("".join(await read(to_user))) + puller._AHEAD >= 10_000

    run(main)


def test_nothing_is_read_unless_somebody_reads():
    async def main() -> None:
        source = Source(*TWO)
        make = await dispatch(source)
        make("to_user"), make("function_call")
        for _ in range(5):
            await asyncio.sleep(0)
        assert source.taken == 0

    run(main)


def test_without_a_reader_the_source_rests():
    async def main() -> None:
        source = Source(*[content("x")] * 9, waiting=True)
        make = await dispatch(source)
        to_user = make("to_user")
        await anext(to_user)
        for _ in range(20):
            await asyncio.sleep(0)
        assert source.taken <= 2
        await to_user.aclose()

    run(main)


def test_reading_again_after_the_end():
    async def main() -> None:
        make = await dispatch(Source(*TWO))
        to_user = make("to_user")
        assert "".join(await read(to_user)) == TEXT
        assert await read(to_user) == []
        assert await read(make("to_user")) == []
        assert brief(await read(make("tool_call"))) == CALLS
        assert await read(make("function_call")) == []

    run(main)


def test_two_generators_of_a_role_share_it():
    async def main() -> None:
        make = await dispatch(Source(*TWO))
        first, second = make("function_call"), make("tool_call")
        items = [await anext(first), await anext(second)]
        assert brief(items) == CALLS
        assert await read(first) == await read(second) == []

    run(main)


def test_a_role_is_read_by_one_task_at_a_time():
    async def main() -> None:
        more = asyncio.Event()
        make = await dispatch(Source(more, content("x")))
        to_user = make("to_user")
        reader = asyncio.create_task(read(to_user))
        await asyncio.sleep(0)
        with pytest.raises(RuntimeError, match="Another task"):
            await anext(to_user)
        more.set()
        assert await reader == ["x"]

    run(main)


def test_an_empty_stream():
    async def main() -> None:
        source = Source()
        assert await read_all(source) == ("", [])
        assert source.closed == 1

    run(main)


def test_the_context_of_the_call_reaches_the_source():
    seen = []
    variable: contextvars.ContextVar[str] = contextvars.ContextVar("variable", default="")

    async def stream() -> AsyncIterator[Any]:
        seen.append(variable.get())
        yield content("x")

    async def main() -> None:
        variable.set("caller")
        make = await dispatch(stream())
        variable.set("reader")
        await read(make("to_user"))
        assert seen == ["caller"]

    run(main)


# Wrong use


def test_an_unknown_role_is_refused_at_once():
    async def main() -> None:
        make = await dispatch(Source())
        with pytest.raises(ValueError, match="'to_user', 'function_call', 'tool_call'"):
            make("user")

    run(main)


@pytest.mark.parametrize("source", [[1], iter([]), None, "text"])
def test_a_source_that_is_no_async_iterable(source: Any):
    async def main() -> None:
        with pytest.raises(TypeError, match="LLMAsyncAdapter"):
            await dispatch(source)
        with pytest.raises(ValueError, match="max_arguments"):
            await dispatch(Source(), max_arguments=0)

    run(main)


def test_another_event_loop():
    async def begin() -> tuple[Any, Any]:
        make = await dispatch(Source(content("x"), asyncio.Event()))
        to_user = make("to_user")
        assert await anext(to_user) == "x"
        return make, to_user

    loop = asyncio.new_event_loop()
    try:
        make, to_user = loop.run_until_complete(begin())
        with pytest.raises(RuntimeError, match="another event loop"):
            asyncio.run(read(to_user))
        loop.run_until_complete(to_user.aclose())
    finally:
        loop.close()
    del make


# Errors


@orders
@waits
def test_errors_of_the_source_reach_each_reader_once_after_everything_before(order: str, waiting: bool):
    async def consume(generator: RoleGenerator) -> list[Any]:
        items: list[Any] = []
        try:
            async for item in generator:
                items.append(item)
        except OSError as error:
            items.append(error)
        assert await read(generator) == []
        return items

    async def main() -> None:
        failure = OSError("cut")
        source = Source(*TWO, calls(call('{"half', 2, "x", "f")), failure, content("never"), waiting=waiting)
        make = await dispatch(source)
        to_user, function_call = make("to_user"), make("function_call")
        if order == "together":
            texts, made = await asyncio.gather(consume(to_user), consume(function_call))
        elif order == "user first":
            texts, made = await consume(to_user), await consume(function_call)
        else:
            made, texts = await consume(function_call), await consume(to_user)
        assert texts.pop() is made.pop() is failure
        assert ("".join(texts), brief(made)) == (TEXT, CALLS)
        assert source.closed == 1

    run(main)


@pytest.mark.parametrize("failure", [KeyError("x"), asyncio.CancelledError(), SystemExit(3), GeneratorExit()])
def test_any_kind_of_error(failure: BaseException):
    async def main() -> None:
        make = await dispatch(Source(content("x"), failure))
        to_user = make("to_user")
        assert await anext(to_user) == "x"
        with pytest.raises(type(failure)) as caught:
            await anext(to_user)
        assert caught.value is failure

    run(main)


def test_a_source_that_fails_before_it_begins():
    class Bad:
        def __aiter__(self) -> Any:
            raise OSError("no stream")

    async def main() -> None:
        make = await dispatch(Bad())
        for role in ("to_user", "function_call"):
            with pytest.raises(OSError, match="no stream"):
                await anext(make(role))

    run(main)


@waits
def test_a_chunk_that_cannot_be_read(waiting: bool):
    class Chunk:
        @property
        def choices(self) -> Any:
            raise ZeroDivisionError

    async def main() -> None:
        source = Source(content("x"), Chunk(), asyncio.Event(), waiting=waiting)
        make = await dispatch(source)
        to_user = make("to_user")
        assert await anext(to_user) == "x"
        for role in ("to_user", "function_call"):
            with pytest.raises(ZeroDivisionError):
                await anext(make(role))
        assert source.closed == 1

    run(main)


@waits
def test_a_malformed_call_is_an_error_in_its_place_and_reading_goes_on(waiting: bool):
    async def main() -> None:
        bad = '{"to_user": "Oops", a}'
        source = Source(*whole("{}", 0), *whole(bad, 1), *whole('{"c": 1}', 2), *whole('{"a', 3), waiting=waiting)
        make = await dispatch(source)
        function_call = make("function_call")
        assert brief([await anext(function_call)]) == [(0, {})]
        with pytest.raises(ToolCallParseError) as caught:
            await anext(function_call)
        assert (caught.value.name, caught.value.id, caught.value.raw) == ("f", "call_1", bad)
        assert "not valid JSON" in str(caught.value)
        assert brief([await anext(function_call)]) == [(2, {"c": 1})]
        with pytest.raises(ToolCallParseError, match="cut off"):
            await anext(function_call)
        assert await read(function_call) == []
        assert await read(make("to_user")) == ["Oops"]

    run(main)


@orders
@waits
def test_a_runaway_call_ends_the_stream(order: str, waiting: bool):
    async def endless() -> AsyncIterator[Any]:
        yield calls(call('{"to_user": "', 0, "x", "f"))
        while True:
            if waiting:
                await asyncio.sleep(0)
            yield calls(call("ha ", 0))

    async def consume_calls(generator: RoleGenerator) -> None:
        with pytest.raises(ToolCallTooLargeError) as caught:
            await anext(generator)
        assert len(caught.value.raw) == 1000
        assert await read(generator) == []

    async def main() -> None:
        source = endless()
        make = await dispatch(source, max_arguments=1000)
        to_user, function_call = make("to_user"), make("function_call")
        if order == "together":
            texts, _ = await asyncio.gather(read(to_user), consume_calls(function_call))
        elif order == "user first":
            texts = await read(to_user)
            await consume_calls(function_call)
        else:
            await consume_calls(function_call)
            texts = await read(to_user)
        assert "".join(texts) == ("ha " * 1000)[: 1000 - len('{"to_user": "')]
        assert await anext(source, None) is None

    run(main)


# Cancelling


@pytest.mark.parametrize("role", ["to_user", "function_call"])
@waits
def test_a_cancelled_read_loses_nothing_for_anybody(role: str, waiting: bool):
    async def main() -> None:
        gates = [asyncio.Event() for _ in range(len(TWO))]
        source = Source(*[item for pair in zip(gates, TWO, strict=True) for item in pair], waiting=waiting)
        make = await dispatch(source)
        generators = {"to_user": make("to_user"), "function_call": make("function_call")}
        other = next(name for name in generators if name != role)
        got: dict[str, list[str]] = {"to_user": [], "function_call": []}

        async def keep(name: str) -> None:
            async for item in generators[name]:
                got[name].append(item)

        reading = asyncio.create_task(keep(other))
        for gate in gates:
            victim = asyncio.create_task(keep(role))
            await asyncio.sleep(0)
            await asyncio.sleep(0)
            gate.set()
            for _ in range(gates.index(gate) % 4):  # in different moments of the arrival
                await asyncio.sleep(0)
            victim.cancel()
            with pytest.raises(asyncio.CancelledError):
                await victim
        await asyncio.gather(reading, keep(role))
        assert "".join(got["to_user"]) == TEXT
        assert brief(got["function_call"]) == CALLS
        assert len(source.tasks) == 1

    run(main)


def test_a_read_with_a_timeout():
    async def main() -> None:
        more = asyncio.Event()
        make = await dispatch(Source(more, content("x")))
        to_user = make("to_user")
        for _ in range(3):
            with pytest.raises(TimeoutError):
                await asyncio.wait_for(anext(to_user), 0)
        more.set()
        assert await read(to_user) == ["x"]

    run(main)


def test_cancelling_the_only_reader_before_the_task_began():
    async def main() -> None:
        source = Source(*TWO)
        make = await dispatch(source)
        reader = asyncio.create_task(read(make("to_user")))
        asyncio.get_running_loop().call_soon(reader.cancel)
        with pytest.raises(asyncio.CancelledError):
            await reader
        assert "".join(await read(make("to_user"))) == TEXT

    run(main)


# Closing


@pytest.mark.parametrize("reads", [0, 1])
def test_the_source_closes_with_the_last_generator(reads: int):
    async def main() -> None:
        source = Source(content("x"), asyncio.Event())
        make = await dispatch(source)
        to_user, function_call = make("to_user"), make("function_call")
        for _ in range(reads):
            assert await anext(to_user) == "x"
        await function_call.aclose()
        assert source.closed == 0
        await to_user.aclose()
        assert source.closed == 1
        assert len(source.tasks) == 1
        assert asyncio.current_task() not in source.tasks
        await to_user.aclose()
        assert await read(to_user) == await read(function_call) == []
        assert source.closed == 1

    run(main)


def test_closing_one_role_leaves_the_other():
    async def main() -> None:
        make = await dispatch(Source(*TWO))
        async with make("to_user") as to_user, make("function_call") as function_call:
            await anext(to_user)
            await to_user.aclose()
            assert brief(await read(function_call)) == CALLS
            assert await read(to_user) == []

    run(main)


def test_closing_wakes_who_reads():
    async def main() -> None:
        source = Source(content("x"), asyncio.Event())
        make = await dispatch(source)
        async with make("to_user") as to_user:
            reader = asyncio.create_task(read(to_user))
            for _ in range(5):
                await asyncio.sleep(0)
        assert await reader == ["x"]
        assert source.closed == 1

    run(main)


def test_with_statements_one_after_the_other():
    async def main() -> None:
        make = await dispatch(Source(*TWO))
        async with make("to_user") as to_user:
            assert "".join(await read(to_user)) == TEXT
        async with make("function_call") as function_call:
            assert brief(await read(function_call)) == CALLS

    run(main)


def test_a_role_asked_for_after_the_stream_was_closed_early_is_told_so():
    async def main() -> None:
        make = await dispatch(Source(*TWO, asyncio.Event(), content("more")))
        async with make("to_user") as to_user:
            await anext(to_user)
        function_call = make("function_call")
        assert brief([await anext(function_call), await anext(function_call)]) == CALLS
        with pytest.raises(RuntimeError, match="closed before its end"):
            await anext(function_call)
        assert await read(function_call) == []

    run(main)


def test_closing_twice_at_once_waits_for_both():
    async def main() -> None:
        source = Source(content("x"), asyncio.Event())
        make = await dispatch(source)
        to_user = make("to_user")
        await anext(to_user)
        closings = [asyncio.create_task(to_user.aclose()) for _ in range(2)]
        closings[0].cancel()
        await closings[1]
        assert source.closed == 1

    run(main)


def test_closing_a_source_that_is_only_closed_otherwise():
    closed = []

    class Response:
        """Like openai's AsyncStream: iterating makes an async generator, and close is a coroutine."""

        async def __aiter__(self) -> AsyncIterator[Any]:
            try:
                yield content("x")
                await asyncio.Event().wait()
            finally:
                closed.append("iterator")

        async def close(self) -> None:
            closed.append("source")

    class Plain(Source):
        aclose = None  # type: ignore[assignment]

        def close(self) -> None:
            closed.append("plain")

    async def main() -> None:
        for source in (Response(), Plain(content("x"), asyncio.Event())):
            make = await dispatch(source)
            async with make("to_user") as to_user:
                await anext(to_user)
        assert closed == ["iterator", "source", "plain"]

    run(main)


def test_a_source_that_fails_to_close_is_logged(caplog: pytest.LogCaptureFixture):
    class Bad(Source):
        async def aclose(self) -> None:
            raise OSError("will not close")

    class Worse(Source):
        async def __anext__(self) -> Any:
            try:
                return await super().__anext__()
            except asyncio.CancelledError:
                raise OSError("will not be cancelled") from None

    async def main() -> None:
        logger = logging.getLogger("test.dispatcher")
        for kind in (Bad, Worse):
            make = await dispatch(kind(content("x"), asyncio.Event()), logger=logger)
            async with make("to_user") as to_user:
                await anext(to_user)

    run(main)
    assert [record.name for record in caplog.records] == ["test.dispatcher"] * 2
    assert [str(record.exc_info[1]) for record in caplog.records if record.exc_info] == [
        "will not close",
        "will not be cancelled",
    ]


def test_a_source_that_swallows_its_cancellation():
    class Stubborn(Source):
        async def __anext__(self) -> Any:
            try:
                return await super().__anext__()
            except asyncio.CancelledError:
                return content("still here")

    async def main() -> None:
        source = Stubborn(content("x"), asyncio.Event())
        make = await dispatch(source)
        async with make("to_user") as to_user:
            await anext(to_user)
        assert source.closed == 1

    run(main)


# Dropping


def collected(caplog: pytest.LogCaptureFixture) -> list[str]:
    gc.collect()
    assert puller._running == {} or all(loop.is_closed() for loop in puller._running)
    return [record.getMessage() for record in caplog.records]


@pytest.mark.parametrize("reads", [0, 1])
@pytest.mark.parametrize("cycle", [False, True])
def test_dropped_generators_close_the_source(caplog: pytest.LogCaptureFixture, reads: int, cycle: bool):
    source = Source(content("x"), asyncio.Event())

    async def main() -> None:
        make = await dispatch(source)
        to_user = make("to_user")
        for _ in range(reads):
            await anext(to_user)
        if cycle:
            ring: list[Any] = [make, to_user]
            ring.append(ring)
            del ring
        del make
        gc.collect()
        await asyncio.sleep(0)
        assert source.closed == 0  # a generator is left
        del to_user
        gc.collect()
        for _ in range(9):
            await asyncio.sleep(0)
        assert source.closed == reads  # who never began has nothing to close

    if cycle:

        async def cyclic() -> None:
            make = await dispatch(source)
            ring: list[Any] = [make, make("to_user")]
            ring.append(ring)
            for _ in range(reads):
                await anext(ring[1])
            del make, ring
            gc.collect()
            for _ in range(9):
                await asyncio.sleep(0)
            assert source.closed == reads

        run(cyclic)
    else:
        run(main)
    assert collected(caplog) == []


def test_a_loop_that_is_closed_without_ceremony(caplog: pytest.LogCaptureFixture):
    async def main(keep: list[Any]) -> None:
        make = await dispatch(Source(content("x"), asyncio.Event()))
        to_user = make("to_user")
        await anext(to_user)
        keep.append(to_user)

    for _ in range(2):
        for drop_first in (True, False):
            keep: list[Any] = []
            loop = asyncio.new_event_loop()
            loop.run_until_complete(main([] if drop_first else keep))
            loop.close()
            keep.clear()
    run(lambda: read_nothing())
    assert collected(caplog) == []


async def read_nothing() -> None:
    assert await read_all(Source()) == ("", [])


def test_forgotten_at_the_end_of_asyncio_run(caplog: pytest.LogCaptureFixture):
    keep = []
    source = Source(content("x"), asyncio.Event())

    async def main() -> None:
        make = await dispatch(source)
        keep.append(make("to_user"))
        await anext(keep[0])

    asyncio.run(main())
    assert source.closed == 1

    async def later() -> None:
        with pytest.raises(RuntimeError, match="was cancelled"):
            await anext(keep[0])

    asyncio.run(later())
    keep.clear()
    assert collected(caplog) == []


def test_errors_that_reach_nobody_are_logged(caplog: pytest.LogCaptureFixture):
    async def main() -> None:
        make = await dispatch(Source(*whole("{", 0), *whole("[]", 1)))
        function_call = make("function_call")
        with pytest.raises(ToolCallParseError):
            await anext(function_call)
        del make, function_call
        await asyncio.sleep(0)

        make = await dispatch(Source(*whole("{", 0), OSError("cut")))
        with pytest.raises(OSError, match="cut"):
            await anext(make("to_user"))
        del make
        await asyncio.sleep(0)

    run(main)
    assert [record.name for record in caplog.records] == ["agere.dispatcher"]
    assert "no JSON object" in caplog.text


# Against the oracle


@settings(deadline=None, max_examples=60)
@given(st.data())
def test_any_calls_cut_anywhere_read_anyhow(data: st.DataObject):
    cases = data.draw(st.lists(arguments(), min_size=1, max_size=3))
    chunks: list[Any] = []
    for number, (text, _, _) in enumerate(cases):
        chunks.append(calls(call("", number, f"call_{number}", "f")))
        chunks += [calls(call(piece, number)) for piece in data.draw(cut(text))]
    chunks += [chunk({}, "tool_calls"), bare([])]
    shape = data.draw(st.sampled_from(["dict", "openai"]))
    order = data.draw(st.sampled_from(["together", "user first", "calls first"]))
    source = Source(*map(SHAPES[shape], chunks), waiting=data.draw(st.booleans()))

    async def main() -> None:
        texts, made = await read_all(source, order)
        assert texts == "\n".join([to_user for _, to_user, _ in cases if to_user])
        assert brief(made) == [(number, rest) for number, (_, _, rest) in enumerate(cases)]
        assert source.closed == 1

    run(main)


junk = st.recursive(
    st.sampled_from([None, 0, 1, True, "", "x", '{"to_user": "x"}', "}", 1.5]),
    lambda inner: (
        st.lists(inner, max_size=2)
        | st.dictionaries(
            st.sampled_from(
                ["choices", "delta", "tool_calls", "function", "index", "id", "name", "arguments", "content", "text"]
            ),
            inner,
            max_size=4,
        )
    ),
    max_leaves=8,
)


@settings(deadline=None, max_examples=100)
@given(st.lists(junk | junk.map(lambda delta: chunk(delta)) | junk.map(lambda c: calls(c)), max_size=6), st.booleans())  # type: ignore[arg-type]
def test_fuzzed_chunks_end_in_calls_and_parse_errors_only(chunks: list[Any], waiting: bool):
    async def main() -> None:
        make = await dispatch(Source(*chunks, waiting=waiting))
        for text in await read(make("to_user")):
            text.encode()
        function_call = make("function_call")
        while True:
            try:
                json.loads(await anext(function_call))
            except ToolCallParseError:
                pass
            except StopAsyncIteration:
                break

    run(main)


@pytest.mark.skipif(not hasattr(asyncio, "eager_task_factory"), reason="Python 3.12 and later have eager tasks")
@orders
@waits
def test_eager_tasks(order: str, waiting: bool):
    async def main() -> None:
        asyncio.get_running_loop().set_task_factory(asyncio.eager_task_factory)  # type: ignore[attr-defined]
        texts, made = await read_all(Source(*TWO, waiting=waiting), order)
        assert (texts, brief(made)) == (TEXT, CALLS)
        with pytest.raises(ToolCallTooLargeError):
            await read_all(Source(*TWO, waiting=waiting), "calls first", max_arguments=9)
        await asyncio.sleep(0)

    run(main)
