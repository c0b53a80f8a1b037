"""Class 4, streams: kind of source by fault by consumer by how it ends; silent servers; a thousand stalled ones."""

from __future__ import annotations

import asyncio
import contextlib
import threading
from collections.abc import Callable, Iterator
from time import monotonic
from typing import Any

import agere
from agere import Commander
from agere.utils.llm_async_converters import LLMAsyncAdapter

from .child import agere_threads
from .ledger import PATIENCE_SECONDS, Ledger
from .scenario import Scenario
from .stage import ENDERS, FAULTS, forever, function_node
from .verdicts import Hang, check, same

SOURCES = (
    "generator",
    "iterator",
    "iterable",
    "callable to iterator",
    "async generator",
    "async iterator",
    "callable to async",
    "async callable",
)
POINTS = ("no fault", "opening", "first", "midway", "last")
CONSUMERS = ("reads all", "slow", "breaks off", "closes", "cancelled reads", "never reads", "drops", "reads in a task")
BLOCKED = ("next", "opening", "stubborn next")
ENDS = ("cancel", "exit", "close", "body ends", "with error", "drop")
ERRORS = ("ValueError", "CancelledError", "Uncommon", "MemoryError", "Frozen")
CHUNKS: list[Any] = [0, None, "", False, *range(4, 40)]
GRACE_SECONDS = 1.0


def scenarios() -> Iterator[Scenario]:
    turn = 0
    for source in SOURCES:
        for point in POINTS:
            for consumer in CONSUMERS:
                turn += 1
                error = ERRORS[turn % len(ERRORS)]
                name = f"streams/read/{source}/{point}/{consumer}/{error}".replace(" ", "-")
                yield Scenario(name, reads, (source, point, consumer, error), full=(turn + turn // 8) % 2 == 0)
    for where in BLOCKED:
        for end in ENDS:
            for count in (1, 20):
                name = f"streams/blocked/{where}/{end}/{count}".replace(" ", "-")
                yield Scenario(name, blocked, (where, end, count), clean=where != "stubborn next")
    for end in ("exit", "cancel", "server speaks"):
        yield Scenario(f"streams/server/{end}".replace(" ", "-"), server, (end,), limit=15.0)
    yield Scenario("streams/stalled/1000-beside-a-live-one", stalled, (1000,), limit=30.0, slow=True)
    yield Scenario("streams/stalled/100-beside-a-live-one", stalled, (100,))
    for fault in (*FAULTS, *ENDERS):
        for end in ("body ends", "cancel", "exit"):
            yield Scenario(f"streams/close-raises/{fault}/{end}".replace(" ", "-"), close_raises, (fault, end))
    for emitter in ("loop", "worker"):
        for consumer in ("all", "breaks off", "slow", "late", "async", "drops", "closes"):
            name = f"streams/emit/{emitter}/{consumer}".replace(" ", "-")
            yield Scenario(name, emits, (emitter, consumer), limit=15.0)


class Source:
    """A source of ``CHUNKS`` that fails at a point, and knows whether it was closed."""

    def __init__(self, point: str, error: BaseException) -> None:
        self.point = point
        self.error = error
        self.closed = 0
        self.opened = 0

    def _at(self, number: int) -> None:
        last = len(CHUNKS)
        if number == {"first": 0, "midway": last // 2, "last": last}.get(self.point, -1):
            raise self.error

    def promised(self) -> list[Any]:
        count = {"opening": 0, "first": 0, "midway": len(CHUNKS) // 2}.get(self.point, len(CHUNKS))
        return CHUNKS[:count]

    def open(self) -> None:
        self.opened += 1
        if self.point == "opening":
            raise self.error

    def generate(self) -> Iterator[Any]:
        try:
            self.open()
            for number, chunk in enumerate(CHUNKS):
                self._at(number)
                yield chunk
            self._at(len(CHUNKS))
        finally:
            self.closed += 1

    async def generate_async(self) -> Any:
        try:
            self.open()
            for number, chunk in enumerate(CHUNKS):
                self._at(number)
                await asyncio.sleep(0)
                yield chunk
            self._at(len(CHUNKS))
        finally:
            self.closed += 1

    def as_(self, kind: str) -> Any:
        match kind:
            case "generator":
                return self.generate()
            case "iterator":
                return Iterated(self)
            case "iterable":
                return Opened(self)
            case "callable to iterator":
                return lambda: Opened(self)
            case "async generator":
                return self.generate_async()
            case "async iterator":
                return AsyncIterated(self)
            case "callable to async":
                return lambda: AsyncIterated(self)
            case "async callable":
                return self._open_async
        raise ValueError(kind)

    async def _open_async(self) -> Any:
        await asyncio.sleep(0)
        return AsyncIterated(self)


class Iterated:
    def __init__(self, source: Source) -> None:
        self.source = source
        self.number = -1

    def __iter__(self) -> Any:
        return self

    def step(self) -> Any:
        if self.number < 0:
            self.source.open()
        self.number += 1
        self.source._at(self.number)
        if self.number >= len(CHUNKS):
            return STOP
        return CHUNKS[self.number]

    def __next__(self) -> Any:
        chunk = self.step()
        if chunk is STOP:
            raise StopIteration
        return chunk

    def close(self) -> None:
        self.source.closed += 1


STOP = object()


class Opened:
    def __init__(self, source: Source) -> None:
        self.source = source

    def __iter__(self) -> Any:
        if self.source.point == "opening":
            raise self.source.error
        return Iterated(self.source)

    def close(self) -> None: ...


class AsyncIterated(Iterated):
    def __aiter__(self) -> Any:
        return self

    async def __anext__(self) -> Any:
        await asyncio.sleep(0)
        chunk = self.step()
        if chunk is STOP:
            raise StopAsyncIteration
        return chunk

    async def aclose(self) -> None:
        self.source.closed += 1

    __iter__ = None  # type: ignore[assignment]
    __next__ = None  # type: ignore[assignment]
    close = None  # type: ignore[assignment]


def reads(kind: str, point: str, consumer: str, fault: str) -> None:
    source = Source(point, FAULTS[fault]())
    ledger = Ledger()
    starts: list[int] = []
    ends: list[int] = []

    async def body() -> tuple[list[Any], BaseException | None]:
        stream = LLMAsyncAdapter().llm_to_async_iterable(
            source.as_(kind),
            at_receiving_start={"function": lambda: starts.append(1)},
            at_receiving_end=[{"function": _raises}, {"function": lambda: ends.append(1)}],
        )
        got: list[Any] = []
        error: BaseException | None = None
        try:
            await CONSUME[consumer](stream, got)
        except BaseException as raised:
            error = raised
        return got, error

    with Commander[Any](grace=GRACE_SECONDS) as commander:
        future = ledger.accept("body", commander.submit(ledger.watch("body", _watchable(body))))
        try:
            got, error = future.result(PATIENCE_SECONDS)
        except TimeoutError as late:
            raise Hang(f"the consumer that {consumer} hangs") from late
    ledger.audit()
    promised = source.promised()
    if consumer in ("reads all", "slow", "cancelled reads", "reads in a task"):
        same(got, promised, "the chunks")
        if point == "no fault":
            check(error is None, f"an end without fault raised {error!r}")
        else:
            check(error is not None, "the source's error did not arrive")
            wrapped = isinstance(error, RuntimeError)
            check(wrapped or type(error) is type(source.error), f"{error!r} arrived, not {source.error!r}")
        same((len(starts), len(ends)), (1, 1), "at_receiving_start and at_receiving_end")
    elif consumer in ("breaks off", "closes", "drops"):
        check(got == promised[: len(got)], f"the chunks: {got}")
        same(len(ends), 1, "at_receiving_end")
    check(source.closed <= 1, f"the source was closed {source.closed} times")
    if source.opened and kind != "async generator":
        check(source.closed == 1 or point != "no fault", "the source was not closed")


def _raises() -> None:
    raise LookupError("in at_receiving_end")


def _watchable(body: Callable[[], Any]) -> Any:
    return function_node(body)


async def _read_all(stream: Any, got: list[Any]) -> None:
    async for chunk in stream:
        got.append(chunk)


async def _read_slowly(stream: Any, got: list[Any]) -> None:
    async for chunk in stream:
        got.append(chunk)
        for _ in range(3):
            await asyncio.sleep(0)


async def _break_off(stream: Any, got: list[Any]) -> None:
    async with stream:
        async for chunk in stream:
            got.append(chunk)
            if len(got) >= 3:
                break


async def _close(stream: Any, got: list[Any]) -> None:
    with contextlib.suppress(StopAsyncIteration):
        got.append(await anext(stream))
    threads = [threading.Thread(target=stream.close) for _ in range(4)]
    for thread in threads:
        thread.start()
    await stream.aclose()
    await asyncio.to_thread(lambda: [thread.join() for thread in threads])


async def _cancelled_reads(stream: Any, got: list[Any]) -> None:
    cancels = 0
    while True:
        reader = asyncio.ensure_future(anext(stream, STOP))
        if cancels < 20:
            cancels += 1
            await asyncio.sleep(0)
            if not reader.done():
                reader.cancel()
                with contextlib.suppress(asyncio.CancelledError):
                    chunk = await reader
                    if chunk is STOP:
                        return
                    got.append(chunk)
                continue
        chunk = await reader
        if chunk is STOP:
            return
        got.append(chunk)


async def _never(stream: Any, got: list[Any]) -> None: ...


async def _drop(stream: Any, got: list[Any]) -> None:
    with contextlib.suppress(StopAsyncIteration):
        got.append(await anext(stream))
    del stream


async def _in_a_task(stream: Any, got: list[Any]) -> None:
    await asyncio.create_task(_read_all(stream, got))


CONSUME: dict[str, Callable[[Any, list[Any]], Any]] = {
    "reads all": _read_all,
    "slow": _read_slowly,
    "breaks off": _break_off,
    "closes": _close,
    "cancelled reads": _cancelled_reads,
    "never reads": _never,
    "drops": _drop,
    "reads in a task": _in_a_task,
}


class Silent:
    """A source whose reader is blocked until it is closed, or, if stubborn, much longer."""

    def __init__(self, where: str) -> None:
        self.where = where
        self.blocked = threading.Event()
        self.release = threading.Event()
        self.closed = 0

    def open(self) -> Any:
        if self.where == "opening":
            self.blocked.set()
            self.release.wait(PATIENCE_SECONDS)
        return self

    def __iter__(self) -> Any:
        return self

    def __next__(self) -> Any:
        self.blocked.set()
        self.release.wait(PATIENCE_SECONDS)
        raise StopIteration

    def close(self) -> None:
        self.closed += 1
        if self.where == "next":
            self.release.set()


def blocked(where: str, end: str, count: int) -> None:
    """Reader threads are blocked in their sources when everything ends: the loop is not held, nobody waits long."""
    sources = [Silent(where) for _ in range(count)]
    ledger = Ledger()
    streams: list[Any] = []
    commander: Commander[Any] = Commander(grace=GRACE_SECONDS)

    async def body(source: Silent) -> None:
        stream = LLMAsyncAdapter().llm_to_async_iterable(source.open if where == "opening" else source)
        if end != "drop":
            streams.append(stream)
        if end in ("body ends", "drop"):
            reader = asyncio.ensure_future(anext(stream, None))
            del stream
            while not source.blocked.is_set():
                await asyncio.sleep(0.001)
            if end == "drop":
                reader.cancel()
            return
        async for _ in stream:
            pass

    commander.start()
    for number, source in enumerate(sources):
        ledger.accept(str(number), commander.submit(body, source))
    for source in sources:
        if not source.blocked.wait(PATIENCE_SECONDS):
            raise Hang("a reader never came to its source")
    begun = monotonic()
    match end:
        case "cancel":
            for future in ledger.futures.values():
                future.cancel()
        case "close":
            for stream in streams:
                stream.close()
        case "exit":
            commander.exit()
        case "with error":
            commander.__exit__(ValueError, ValueError(), None)
    ledger.settle()
    commander.exit()
    check(monotonic() - begun < GRACE_SECONDS, f"ending took {monotonic() - begun:.2f} s")
    ledger.audit()
    for source in sources:
        source.release.set()
    if where == "next":
        end_by = monotonic() + 1.0
        while monotonic() < end_by and not all(source.closed for source in sources):
            threading.Event().wait(0.005)
        same({source.closed for source in sources}, {1}, "how often each source was closed")


def server(end: str) -> None:
    """A real client and a real server that falls silent: it sees the disconnect within a second."""
    from agere.testing import Gate, ScriptedLLM, text

    gate = Gate()
    with ScriptedLLM([text("Hel", gate, "lo")]) as llm:
        client = llm.client()
        got: list[str] = []
        first = threading.Event()

        async def body() -> str:
            stream = LLMAsyncAdapter().llm_to_async_iterable(
                lambda: client.chat.completions.create(model="any", messages=[], stream=True)
            )
            async for chunk in stream:
                if chunk.choices and chunk.choices[0].delta.content:
                    got.append(chunk.choices[0].delta.content)
                    first.set()
            return "".join(got)

        commander = Commander[Any](grace=GRACE_SECONDS).start()
        future = commander.submit(body)
        check(first.wait(PATIENCE_SECONDS), "nothing came")
        request = llm.wait_request()
        begun = monotonic()
        if end == "server speaks":
            gate.release()
            same(future.result(PATIENCE_SECONDS), "Hello", "the text")
        elif end == "cancel":
            future.cancel()
        else:
            commander.exit()
        if end != "server speaks":
            check(request.wait_disconnected(1.0), "the server did not see the disconnect within a second")
            check(monotonic() - begun < 1.0, "the disconnect took too long")
        commander.exit()
        client.close()


def stalled(count: int) -> None:
    """A thousand stalled streams hold up neither a live one nor the exit; their threads go."""
    sources = [Silent("next") for _ in range(count)]
    commander = Commander[Any](grace=5.0).start()

    async def waits(source: Silent) -> None:
        async for _ in LLMAsyncAdapter().llm_to_async_iterable(source):
            pass

    async def live() -> int:
        total = 0
        async for _ in LLMAsyncAdapter().llm_to_async_iterable(iter(range(5000))):
            total += 1
        return total

    futures = [commander.submit(waits, source) for source in sources]
    for source in sources:
        check(source.blocked.wait(PATIENCE_SECONDS), "a reader never came to its source")
    begun = monotonic()
    same(commander.submit(live).result(PATIENCE_SECONDS), 5000, "the live stream")
    check(monotonic() - begun < 3.0, "the live stream was held up")
    begun = monotonic()
    commander.exit()
    check(monotonic() - begun < 5.0, "the exit was held up")
    check(all(future.cancelled() for future in futures), "a stalled body has no outcome")
    for thread in agere_threads():
        thread.join(PATIENCE_SECONDS)
    same([thread.name for thread in agere_threads()], [], "threads left")
    same({source.closed for source in sources}, {1}, "how often each source was closed")


class Unclosable:
    def __init__(self, error: BaseException) -> None:
        self.error = error

    def close(self) -> None:
        raise self.error


def close_raises(fault: str, end: str) -> None:
    """A stream that belongs to a node raises when it is closed: the node ends all the same."""
    ledger = Ledger()
    attached = threading.Event()

    async def body() -> None:
        for _ in range(2):
            agere.current_node().attach_stream(Unclosable({**FAULTS, **ENDERS}[fault]()))
        attached.set()
        if end != "body ends":
            await forever()

    async def root() -> int:
        ledger.accept("body", agere.current_node().submit(ledger.watch("body", function_node(body))))
        return 7

    commander = Commander[Any](grace=GRACE_SECONDS).start()
    ledger.accept("root", commander.submit(ledger.watch("root", function_node(root))))
    check(attached.wait(PATIENCE_SECONDS), "the body never ran")
    with contextlib.suppress(SystemExit, KeyboardInterrupt):
        if end == "cancel":
            ledger.futures["body"].cancel()
        elif end == "exit":
            commander.exit()
        ledger.settle()
        commander.exit()
        commander.wait_for_exit(PATIENCE_SECONDS)
    ledger.audit()


def emits(emitter: str, consumer: str) -> None:
    """``emit`` to ``stream()``: everything, in order; breaking off cancels the job, and nobody hangs."""
    count = 5000
    endless = consumer in ("breaks off", "drops", "closes")

    async def loop() -> int:
        number = 0
        while endless or number < count:
            await agere.current_node().emit(number)
            number += 1
            if number % 64 == 0:
                await asyncio.sleep(0)
        return number

    def worker() -> int:
        number = 0
        node = agere.current_node()
        while endless or number < count:
            node.emit(number)
            number += 1
        return number

    ledger = Ledger()
    with Commander[Any](grace=GRACE_SECONDS) as commander:
        future = ledger.accept("emitter", commander.submit(loop if emitter == "loop" else worker))
        if consumer == "late":
            future.result(PATIENCE_SECONDS)
        got: list[int] = []
        if consumer == "async":
            asyncio.run(_collect(future, got))
        else:
            stream = future.stream()
            for number in stream:
                got.append(number)
                if consumer == "slow" and number % 500 == 0:
                    threading.Event().wait(0.005)
                if endless and len(got) == 100:
                    break
            if consumer == "closes":
                stream.close()
            del stream
        same(got, list(range(100 if endless else count)), "what arrived")
        ledger.settle()
        check(future.cancelled() == endless, f"the job {future}")
    ledger.audit()


async def _collect(future: Any, got: list[int]) -> None:
    async for number in future.stream():
        got.append(number)
