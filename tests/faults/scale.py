"""Class 7, scale: wide, deep, many, looping. ``--full`` adds the sizes that take minutes."""

from __future__ import annotations

import asyncio
import gc
import os
import threading
from collections.abc import Iterator
from pathlib import Path
from time import monotonic
from typing import Any

import agere
from agere import Callback, Commander, Job, handler, tasker
from agere.commander.edge import add_conditional_edge, add_edge
from agere.errors import NodeTerminatedError

from .ledger import Ledger
from .scenario import Scenario
from .stage import complete, make, wait_for
from .verdicts import Lost, check, same

LONG_SECONDS = 90.0


def scenarios() -> Iterator[Scenario]:
    for kind in ("handler", "job", "function", "mixed", "failing", "with callbacks"):
        yield _at_sizes(f"wide/{kind}", wide, (kind,), 100_000 if kind in ("handler", "job") else 20_000)
    for kind in ("put", "await", "tail", "tail that fails", "await that fails", "callbacks", "def"):
        size = {"put": 100_000, "await that fails": 3_000, "def": 300, "tail": 100_000}.get(kind, 20_000)
        yield _at_sizes(f"deep/{kind}", deep, (kind,), size)
    for how in ("cancel", "exit", "error in with", "drop the stream"):
        for kind in ("waiting for nothing", "awaiting the next", "put the next"):
            size = 100_000 if (how, kind) == ("cancel", "waiting for nothing") else 10_000
            yield _at_sizes(f"close-deep/{how}/{kind}", close_deep, (how, kind), size)
    for kind in ("async function", "async task", "def function"):
        yield _at_sizes(f"through/{kind}", through, (kind,), 20_000)
        yield Scenario(f"scale/through/{kind}/1000000".replace(" ", "-"), through, (kind, 1_000_000), 900.0, full=True)
    for kind in ("one", "two", "conditional", "resubmitted"):
        yield _at_sizes(f"loop/{kind}", loop, (kind,), 20_000)
        yield Scenario(f"scale/loop/{kind}/1000000".replace(" ", "-"), loop, (kind, 1_000_000), 900.0, full=True)
    yield _at_sizes("snapshot/deep", snapshot, (True,), 20_000)
    yield _at_sizes("snapshot/wide", snapshot, (False,), 20_000)
    yield _at_sizes("finishing-order/random", finishing_order, (), 5_000)


def _at_sizes(name: str, run: Any, args: tuple[Any, ...], size: int) -> Scenario:
    return Scenario(f"scale/{name}/{size}".replace(" ", "-"), run, (*args, size), limit=LONG_SECONDS, slow=True)


def memory() -> int:
    """Resident megabytes."""
    with Path("/proc/self/statm").open() as file:
        return int(file.read().split()[1]) * os.sysconf("SC_PAGE_SIZE") // 2**20


@handler
async def nothing(_: Any) -> int:
    return 7


@handler
async def fails(_: Any) -> None:
    raise LookupError("one of many")


class Nothing(Job[int]):
    @tasker
    async def task(self) -> int:
        return 7


def wide(kind: str, width: int) -> None:
    """One parent, very many children: flat cost each, every one accounted for."""
    counted = [0]

    def count() -> None:
        counted[0] += 1

    async def root() -> None:
        node = agere.current_node()
        for number in range(width):
            match kind if kind != "mixed" else ("handler", "job", "function")[number % 3]:
                case "handler":
                    node.call_handler(nothing())
                case "job":
                    node.put_job(Nothing())
                case "function":
                    node.submit(complete().coro)
                case "failing":
                    node.call_handler(fails())
                case "with callbacks":
                    job = Nothing()
                    job.add_callback_functions("at_job_end", {"function": count})
                    node.put_job(job)

    if kind == "failing":
        import logging

        logging.getLogger("agere.node").setLevel(logging.CRITICAL)
    with Commander[Any]() as commander:
        future = commander.submit(root)
        error = future.exception(LONG_SECONDS)
        same(len(commander.children), 0, "nodes left in the tree")
    if kind == "failing":
        check(isinstance(error, ExceptionGroup) and len(error.exceptions) == 100, f"the group: {error!r}")
        check(str(width) in str(error), f"no count in {error}")
    else:
        same(error, None, "the error")
    if kind == "with callbacks":
        same(counted[0], width, "callbacks")


@handler
async def dig(me: Any, depth: int, kind: str, reached: threading.Event | None = None) -> int:
    if depth == 0:
        if reached is not None:
            reached.set()
            await asyncio.Event().wait()
        if "fails" in kind:
            raise LookupError("at the bottom")
        return 0
    match kind:
        case "await" | "await that fails" | "awaiting the next":
            return 1 + await dig(depth - 1, kind, reached)
        case "put" | "put the next":
            me.call_handler(dig(depth - 1, kind, reached))
        case "tail" | "tail that fails":
            return dig(depth - 1, kind, reached)  # type: ignore[return-value]
        case "waiting for nothing":
            me.call_handler(dig(depth - 1, kind, reached))
            await asyncio.Event().wait()
        case "callbacks":
            below = dig(depth - 1, kind, reached)
            below.add_callback(Callback(at_handler_end={"function": _async_nothing}))
            me.call_handler(below)
    return depth


async def _async_nothing() -> None: ...


def dig_def(depth: int) -> int:
    return 0 if depth == 0 else 1 + agere.current_node().submit(dig_def, depth - 1).result()


def deep(kind: str, depth: int) -> None:
    """A chain of nodes, each below the one before: no recursion anywhere."""
    import logging

    logging.getLogger("agere.node").setLevel(logging.CRITICAL)
    with Commander[Any]() as commander:
        future = commander.submit(dig_def, depth) if kind == "def" else commander.submit(dig(depth, kind))
        error = future.exception(LONG_SECONDS)
        if "fails" in kind:
            check(isinstance(error, LookupError), f"the error: {error!r}")
            return
        same(error, None, "the error")
        promised = {"await": depth, "def": depth, "tail": 0}.get(kind, depth)
        same(future.result(0), promised, "the result")


def close_deep(how: str, kind: str, depth: int) -> None:
    """A deep tree is torn down from its leaves, by a worklist."""
    reached = threading.Event()
    commander = Commander[Any](grace=LONG_SECONDS).start()
    future = commander.submit(dig(depth, kind, reached))
    stream = future.stream() if how == "drop the stream" else None
    wait_for(reached, "the bottom", LONG_SECONDS)
    match how:
        case "cancel":
            future.cancel()
        case "exit":
            commander.exit()
        case "error in with":
            commander.__exit__(ValueError, ValueError(), None)
        case "drop the stream":
            del stream
    try:
        future.result(LONG_SECONDS)
    except NodeTerminatedError:
        pass
    else:
        raise AssertionError("the terminated tree has a result")
    if commander.running_status:
        same(len(commander.children), 0, "nodes left in the tree")
    commander.exit()


def through(kind: str, count: int) -> None:
    """Very many nodes through one commander: memory returns to where it was."""
    with Commander[Any]() as commander:
        _batches(commander, kind, min(5_000, count))
        gc.collect()
        before = memory()
        _batches(commander, kind, count)
        gc.collect()
        grown = memory() - before
        same(len(commander.children), 0, "nodes left in the tree")
    if grown > 16:
        raise Lost(f"{grown} MB did not come back")


def _batches(commander: Commander[Any], kind: str, count: int) -> None:
    done = 0
    while done < count:
        futures = [commander.submit(make(kind, complete())) for _ in range(min(200, count - done))]
        done += len(futures)
        for future in futures:
            same(future.result(LONG_SECONDS), 7, "the result")


class Turn(Job[str]):
    def __init__(self, left: list[int]) -> None:
        super().__init__()
        self.left = left

    @tasker
    async def task(self) -> str:
        self.left[0] -= 1
        return "on" if self.left[0] > 0 else "over"


def loop(kind: str, rounds: int) -> None:
    """Loops through the same node objects: each round costs the same, nothing grows."""
    left = [rounds]
    first, second = Turn(left), Turn(left)
    match kind:
        case "one" | "resubmitted":
            add_conditional_edge(first, {"on": first})
        case "two":
            add_conditional_edge(first, {"on": second})
            add_conditional_edge(second, {"on": first})
        case "conditional":
            middle = nothing()
            add_conditional_edge(first, {"on": middle})
            add_edge(middle, first)

    async def root() -> None:
        agere.current_node().put_job(first)

    with Commander[Any]() as commander:
        if kind == "resubmitted":
            gc.collect()
            before = memory()
            while left[0] > 0:
                add = Turn([1])
                for _ in range(100):
                    same(commander.submit(add).result(LONG_SECONDS), "over", "the result")
                left[0] -= 100
        else:
            begun = left[0]
            gc.collect()
            before = memory()
            commander.submit(root).result(LONG_SECONDS * 9)
            same(begun - left[0], rounds, "rounds")
        gc.collect()
        if memory() - before > 16:
            raise Lost(f"{memory() - before} MB grew in {rounds} rounds")


def snapshot(deeply: bool, size: int) -> None:
    """The picture of a large tree: taken, printed, walked and dropped without recursion."""
    reached = threading.Event()
    commander = Commander[Any](grace=LONG_SECONDS).start()
    if deeply:
        commander.submit(dig(size, "waiting for nothing", reached))
    else:

        async def root() -> None:
            node = agere.current_node()
            for _ in range(size):
                node.submit(asyncio.Event().wait)
            reached.set()

        commander.submit(root)
    wait_for(reached, "the tree", LONG_SECONDS)
    picture = commander.tree()
    check(len(picture) >= size, f"{len(picture)} nodes in the picture")
    check(len(str(picture)) < 300_000, "the text is too long to read")
    picture.to_dict()
    del picture
    commander.exit()


def finishing_order(count: int) -> None:
    """Children that finish in random order, while others come: the cost of a departure does not depend on it."""
    import random

    dice = random.Random(1)
    ledger = Ledger()
    with Commander[Any]() as commander:
        gates = [asyncio.Event() for _ in range(count)]

        async def root() -> None:
            node = agere.current_node()
            for number, gate in enumerate(gates):
                ledger.accept(str(number), node.submit(gate.wait))
            await asyncio.sleep(0)
            order = list(range(count))
            dice.shuffle(order)
            for number in order:
                gates[number].set()
                if number % 16 == 0:
                    await asyncio.sleep(0)

        begun = monotonic()
        commander.submit(root).result(LONG_SECONDS)
        check(monotonic() - begun < 20.0, "it took too long")
    ledger.audit()
