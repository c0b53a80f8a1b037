"""The leak finder finds leaks (the suite's fixture relies on it)."""

from __future__ import annotations

import asyncio
import contextlib
import os
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.support.leaks import FDS, Snapshot


@contextlib.contextmanager
def a_thread() -> Iterator[None]:
    gate = threading.Event()
    thread = threading.Thread(target=gate.wait, name="leaked one", daemon=True)
    thread.start()
    yield
    gate.set()
    thread.join()


@contextlib.contextmanager
def a_loop() -> Iterator[None]:
    loop = asyncio.new_event_loop()
    yield
    loop.close()


@contextlib.contextmanager
def a_task() -> Iterator[None]:
    async def pending() -> None:
        await asyncio.Event().wait()

    loop = asyncio.new_event_loop()
    task = loop.create_task(pending())
    loop.run_until_complete(asyncio.sleep(0))
    yield
    task.cancel()
    with contextlib.suppress(asyncio.CancelledError):
        loop.run_until_complete(task)
    loop.close()


@contextlib.contextmanager
def a_descriptor() -> Iterator[None]:
    number = os.open(os.devnull, os.O_RDONLY)
    yield
    os.close(number)


@pytest.mark.parametrize(
    ("leak", "kind", "words"),
    [
        (a_thread, "threads", ["thread", "leaked one", "threading.py"]),
        (a_loop, "loops", ["event loop", "not closed", "test_leaks.py"]),
        (a_task, "tasks", ["task is pending", "pending"]),
        (a_descriptor, "fds", ["file descriptor", os.devnull]),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_each_kind(leak: Any, kind: str, words: list[str]) -> None:
    if kind == "fds" and not Path(FDS).exists():
        pytest.skip("this system does not tell of open descriptors")
    before = Snapshot()
    with leak():
        found = "\n".join(before.leaks(patience=0.05))
        for word in words:
            assert word in found
        assert words[0] not in "\n".join(before.leaks(frozenset([kind]), patience=0.05))
    assert before.leaks() == []


def test_what_is_on_its_way_out_is_waited_for() -> None:
    before = Snapshot()
    gate = threading.Event()
    thread = threading.Thread(target=gate.wait, daemon=True)
    thread.start()
    threading.Timer(0.05, gate.set).start()
    assert before.leaks() == []
    thread.join()
