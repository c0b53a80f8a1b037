"""Bodies that block the loop are reported, once per code line, with their stack."""

from __future__ import annotations

import asyncio
import logging
import threading
from collections.abc import Iterator
from time import monotonic
from typing import Any

import pytest

from agere.commander import BasicJob, Commander, Job, tasker
from tests.support.order import Order
from tests.support.subprocesses import run_python


class Told(logging.Handler):
    def __init__(self) -> None:
        super().__init__(logging.WARNING)
        self.order = Order()

    def emit(self, record: logging.LogRecord) -> None:
        if "blocked the event loop" in record.getMessage():
            self.order(record.getMessage())


@pytest.fixture
def told() -> Iterator[Order]:
    handler = Told()
    logging.getLogger("agere").addHandler(handler)
    yield handler.order
    logging.getLogger("agere").removeHandler(handler)


@pytest.fixture
def watched() -> Iterator[Commander[Any]]:
    commander: Commander[Any] = Commander(stall=0.05, name="watched")
    with commander:
        yield commander


def block_until_told(told: Order, count: int, seconds: float = 10) -> None:
    end = monotonic() + seconds
    pause = threading.Event()
    while len(told) < count and monotonic() < end:
        pause.wait(0.01)


def block(seconds: float = 0.3) -> None:
    threading.Event().wait(seconds)


def test_with_node_stack_and_what_to_do(watched: Commander[Any], told: Order) -> None:
    class Blocks(Job[None]):
        @tasker
        async def task(self) -> None:
            block_until_told(told, 1)

    watched.submit(Blocks()).result(20)
    (message,) = told.items
    for word in ("Blocks", "watched", "block_until_told", "test_stall.py", "await", "delegate", "def"):
        assert word in message


def test_a_callback_too(watched: Commander[Any], told: Order) -> None:
    job = BasicJob(lambda: 1)
    job.add_callback_functions("at_job_end", {"function": block_until_told, "params": {"args": (told, 1)}})
    watched.submit(job).result(20)
    assert len(told) == 1


def test_a_callback_without_python_code_too(watched: Commander[Any], told: Order) -> None:
    async def arrange() -> None:
        asyncio.get_running_loop().call_soon(held.acquire, True, 20)

    held = threading.Lock()
    held.acquire()
    future = watched.submit(arrange)
    block_until_told(told, 1)
    held.release()
    future.result(20)
    assert len(told) == 1


def test_once_per_code_line(watched: Commander[Any], told: Order) -> None:
    async def here() -> None:
        block(0.2)

    async def there() -> None:
        block(0.2)

    for _ in range(3):
        watched.submit(here).result(20)
    assert len(told) <= 1
    watched.submit(there).result(20)
    assert len(told) <= 2


def test_a_busy_loop_of_short_callbacks_is_none(watched: Commander[Any], told: Order) -> None:
    """One loop callback counts, not one busy iteration."""

    async def busy() -> None:
        end = monotonic() + 0.3
        while monotonic() < end:
            await asyncio.sleep(0)

    futures = [watched.submit(busy) for _ in range(4)]
    for future in futures:
        future.result(20)
    assert told == []


def test_def_bodies_and_awaits_do_not_count(watched: Commander[Any], told: Order) -> None:
    watched.submit(block, 0.2).result(20)
    watched.submit(asyncio.sleep, 0.2).result(20)
    assert told == []


def test_none_below_the_threshold() -> None:
    handler = Told()
    logging.getLogger("agere").addHandler(handler)
    try:
        with Commander(stall=30) as commander:

            async def short() -> None:
                block(0.1)

            commander.submit(short).result(20)
    finally:
        logging.getLogger("agere").removeHandler(handler)
    assert handler.order == []


def test_the_sampler_is_gone_with_the_last_commander() -> None:
    with Commander(), Commander():
        assert "agere-stall" in {thread.name for thread in threading.enumerate()}
    assert "agere-stall" not in {thread.name for thread in threading.enumerate()}


def test_our_own_work_on_very_many_nodes_is_not_blamed_on_anybody() -> None:
    program = """
        import asyncio
        from agere import BasicJob, Commander

        async def hold():
            await asyncio.sleep(60)

        commander = Commander(stall=0.01, lanes={"narrow": 1}).start()
        for _ in range(20_000):
            commander.submit(BasicJob(hold), lane="narrow")
        commander.exit()
    """  # in a process of its own: libraries of tests hook into the garbage collector
    said = run_python(program).check().err
    assert "a callback has blocked" not in said  # a busy machine delays bodies
