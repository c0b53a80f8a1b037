"""What scenarios are made of: bodies of every kind, ways to submit them, faults to raise."""

from __future__ import annotations

import asyncio
import queue
import threading
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any

import agere
from agere import Commander, Job, JobFuture, TaskNode, handler, tasker
from agere.commander.edge import add_edge

from .ledger import PATIENCE_SECONDS
from .verdicts import Hang

JOBS = ("async task", "def task", "tail")
HANDLERS = ("async handler", "def handler", "async function", "def function", "lambda")
BODIES = (*JOBS, *HANDLERS)
SUBMISSIONS = ("main", "child", "worker", "edge")


@dataclass
class Work:
    """What a body does, in both colours."""

    plain: Callable[[], Any]
    coro: Callable[[], Awaitable[Any]]


def complete(value: Any = 7) -> Work:
    async def coro() -> Any:
        return value

    return Work(lambda: value, coro)


def fail(error: BaseException) -> Work:
    def plain() -> Any:
        raise error

    async def coro() -> Any:
        raise error

    return Work(plain, coro)


def wait_for_ever(started: threading.Event) -> Work:
    """Tells that it has started; then only a termination ends it, also in a plain ``def`` body."""

    def plain() -> Any:
        never = agere.current_node().submit(forever)
        started.set()
        never.result()

    async def coro() -> Any:
        started.set()
        await forever()

    return Work(plain, coro)


async def forever() -> None:
    await asyncio.Event().wait()


class AsyncTask(Job[Any]):
    def __init__(self, work: Work) -> None:
        super().__init__()
        self.work = work

    @tasker
    async def task(self) -> Any:
        return await self.work.coro()


class DefTask(Job[Any]):
    def __init__(self, work: Work) -> None:
        super().__init__()
        self.work = work

    @tasker
    def task(self) -> Any:
        return self.work.plain()


class TailTask(Job[Any]):
    def __init__(self, work: Work) -> None:
        super().__init__()
        self.work = work

    @tasker
    async def task(self) -> Any:
        return async_handler(self.work)


@handler
async def async_handler(_: Any, work: Work) -> Any:
    return await work.coro()


@handler
def def_handler(_: Any, work: Work) -> Any:
    return work.plain()


def make(body: str, work: Work) -> Any:
    """What can be given to ``submit``, once: a node, or for the function kinds a handler node made from one."""
    match body:
        case "async task":
            return AsyncTask(work)
        case "def task":
            return DefTask(work)
        case "tail":
            return TailTask(work)
        case "async handler":
            return async_handler(work)
        case "def handler":
            return def_handler(work)
        case "async function":
            return function_node(work.coro)
        case "def function":
            return function_node(work.plain)
        case "lambda":
            return function_node(lambda: work.coro())
    raise ValueError(body)


def function_node(function: Callable[..., Any]) -> Any:
    from agere.commander.work import as_node

    return as_node(function, (), {})


class Submitter:
    """Submits nodes to a commander in one of the ways of ``SUBMISSIONS``."""

    def __init__(self, commander: Commander[Any], how: str) -> None:
        self.commander = commander
        self.how = how
        self.root: JobFuture[Any] | None = None

    def submit(self, node: TaskNode[Any]) -> JobFuture[Any] | None:
        """Its Future; None for an edge, which makes none."""
        if self.how == "main":
            return self.commander.submit(node)
        if self.how == "edge":
            first = function_node(lambda: None)
            add_edge(first, node)
            self.root = self.commander.submit(first)
            return None
        made: queue.SimpleQueue[JobFuture[Any] | BaseException] = queue.SimpleQueue()

        def plain() -> None:
            try:
                made.put(agere.current_node().submit(node))
            except BaseException as error:
                made.put(error)

        async def coro() -> None:
            plain()

        self.root = self.commander.submit(coro if self.how == "child" else plain)
        future = made.get(timeout=PATIENCE_SECONDS)
        if isinstance(future, BaseException):
            raise future
        return future


def wait_for(event: threading.Event, what: str, timeout: float = PATIENCE_SECONDS) -> None:
    if not event.wait(timeout):
        raise Hang(f"{what} did not happen within {timeout} s")


class Frozen(Exception):
    """An exception that lets nobody write on it."""

    def __setattr__(self, name: str, value: object) -> None:
        raise AttributeError(f"{name} is read-only")


class Unprintable(Exception):
    def __str__(self) -> str:
        raise RuntimeError("this exception cannot be printed")


class Uncommon(BaseException):
    """Neither an Exception nor one that the interpreter knows."""


FAULTS: dict[str, Callable[[], BaseException]] = {
    "ValueError": lambda: ValueError("fault"),
    "StopIteration": lambda: StopIteration("fault"),
    "StopAsyncIteration": lambda: StopAsyncIteration("fault"),
    "CancelledError": lambda: asyncio.CancelledError("fault"),
    "GeneratorExit": lambda: GeneratorExit("fault"),
    "Uncommon": lambda: Uncommon("fault"),
    "Frozen": lambda: Frozen("fault"),
    "Unprintable": Unprintable,
    "ExceptionGroup": lambda: ExceptionGroup("fault", [ValueError("one"), KeyError("two")]),
    "TimeoutError": lambda: TimeoutError("fault"),
    "RecursionError": lambda: RecursionError("fault"),
    "MemoryError": lambda: MemoryError("fault"),
}
ENDERS: dict[str, Callable[[], BaseException]] = {
    "SystemExit": lambda: SystemExit(41),
    "KeyboardInterrupt": lambda: KeyboardInterrupt("fault"),
}
