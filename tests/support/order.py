"""Recorders and gates: how tests watch and steer what runs on other threads, without sleeping."""

from __future__ import annotations

import asyncio
import contextlib
import threading
from collections.abc import Callable, Generator
from typing import Any

LIMIT_SECONDS = 20.0
"""A hang limit, not an expectation."""


class Order:
    """Records what happened, in order, from any thread."""

    def __init__(self) -> None:
        self._changed = threading.Condition()
        self._items: list[Any] = []

    def __call__(self, item: Any) -> None:
        with self._changed:
            self._items.append(item)
            self._changed.notify_all()

    @property
    def items(self) -> list[Any]:
        with self._changed:
            return list(self._items)

    def __eq__(self, other: object) -> bool:
        return self.items == other

    __hash__ = None  # type: ignore[assignment]

    def __len__(self) -> int:
        return len(self.items)

    def __contains__(self, item: Any) -> bool:
        return item in self.items

    def index(self, item: Any) -> int:
        return self.items.index(item)

    def count(self, item: Any) -> int:
        return self.items.count(item)

    def plain(self, item: Any) -> Callable[..., None]:
        """A callback that records ``item``."""
        return lambda *_, **__: self(item)

    def later(self, item: Any) -> Callable[..., Any]:
        """An async callback that records ``item``."""

        async def record(*_: Any, **__: Any) -> None:
            await asyncio.sleep(0)
            self(item)

        return record

    def wait_for(self, item: Any, times: int = 1) -> None:
        """Any thread but a loop's. Wait until ``item`` was recorded that often."""
        with self._changed:
            assert self._changed.wait_for(lambda: self._items.count(item) >= times, LIMIT_SECONDS), (
                f"{item!r} never came; there is {self._items}"
            )

    def wait_until(self, length: int) -> None:
        """Any thread but a loop's. Wait until so many items were recorded."""
        with self._changed:
            assert self._changed.wait_for(lambda: len(self._items) >= length, LIMIT_SECONDS), (
                f"{length} items never came; there is {self._items}"
            )

    def __repr__(self) -> str:
        return f"Order({self.items})"


class Gate:
    """Opened once, from any thread; ``wait()`` for it on threads, ``await`` it on any loop."""

    def __init__(self) -> None:
        self._event = threading.Event()
        self._lock = threading.Lock()
        self._waiters: list[tuple[asyncio.AbstractEventLoop, asyncio.Future[None]]] = []

    def open(self, *_: Any, **__: Any) -> None:
        with self._lock:
            self._event.set()
            waiters, self._waiters = self._waiters, []
        for loop, waiter in waiters:
            with contextlib.suppress(RuntimeError):
                loop.call_soon_threadsafe(lambda waiter=waiter: waiter.done() or waiter.set_result(None))

    @property
    def is_open(self) -> bool:
        return self._event.is_set()

    def wait(self) -> None:
        assert self._event.wait(LIMIT_SECONDS), "the gate was never opened"

    def __await__(self) -> Generator[Any, None, None]:
        return self._pass().__await__()

    async def _pass(self) -> None:
        with self._lock:
            if self._event.is_set():
                return
            loop = asyncio.get_running_loop()
            waiter = loop.create_future()
            self._waiters.append((loop, waiter))
        await waiter


def turns(count: int = 5) -> Any:
    """Await it to let the loop take some turns."""

    async def take() -> None:
        for _ in range(count):
            await asyncio.sleep(0)

    return take()


def in_thread(fn: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
    """Run ``fn`` on a plain thread of its own, wait for it, and give its value or raise what it raised."""
    thread = Thread(fn, *args, **kwargs)
    return thread.outcome()


class Thread:
    """A plain thread that runs ``fn`` at once; ``outcome()`` joins it and gives what ``fn`` gave or raised."""

    def __init__(self, fn: Callable[..., Any], *args: Any, **kwargs: Any) -> None:
        self._value: Any = None
        self._error: BaseException | None = None

        def run() -> None:
            try:
                self._value = fn(*args, **kwargs)
            except BaseException as error:
                self._error = error

        self._thread = threading.Thread(target=run, name="test-thread", daemon=True)
        self._thread.start()

    def outcome(self) -> Any:
        self._thread.join(LIMIT_SECONDS)
        assert not self._thread.is_alive(), "the thread hangs"
        if self._error is not None:
            raise self._error
        return self._value
