"""The one door."""

from __future__ import annotations

import asyncio
import threading
from typing import Any

import pytest

from agere.commander import CommanderNotRunError
from agere.commander.mailbox import Mailbox
from tests.support.order import Gate, Order, Thread, turns


class Box:
    """A mailbox on the running loop, and what happened to it."""

    def __init__(self) -> None:
        self.empty, self.errors = Order(), Order()
        self.box = Mailbox(asyncio.get_running_loop(), self.empty.plain("empty"), self.errors)


def on_loop(main: Any) -> None:
    async def run() -> None:
        box = Box()
        try:
            await main(box)
        finally:
            box.box.shut()
            await turns(3)

    asyncio.run(run())


async def until(condition: Any) -> None:
    async with asyncio.timeout(10):
        while not condition():
            await asyncio.sleep(0.001)


def test_in_order_on_the_loop_thread() -> None:
    async def main(box: Box) -> None:
        order, threads = Order(), set()
        loop_thread = threading.get_ident()

        def take(item: Any) -> None:
            threads.add(threading.get_ident())
            order(item)

        def put() -> None:
            for number in range(5000):
                box.box.submit(take, number)

        await asyncio.to_thread(put)
        await until(lambda: len(order) == 5000)
        assert order == list(range(5000))
        assert threads == {loop_thread}
        assert box.box.empty

    on_loop(main)


def test_from_many_threads_each_in_its_order() -> None:
    async def main(box: Box) -> None:
        order = Order()

        def put(who: int) -> None:
            for number in range(500):
                box.box.submit(order, (who, number))

        threads = [Thread(put, who) for who in range(8)]
        await until(lambda: len(order) == 4000)
        for thread in threads:
            thread.outcome()
        for who in range(8):
            assert [number for item, number in order.items if item == who] == list(range(500))

    on_loop(main)


def test_one_wake_up_for_a_batch() -> None:
    async def main(box: Box) -> None:
        order, wakes = Order(), Order()
        loop = asyncio.get_running_loop()
        original = loop.call_soon_threadsafe

        def counted(*args: Any, **kwargs: Any) -> Any:
            wakes("wake")
            return original(*args, **kwargs)

        loop.call_soon_threadsafe = counted  # type: ignore[method-assign]
        thread = Thread(lambda: [box.box.submit(order, number) for number in range(100)])
        thread.outcome()  # the loop stands still meanwhile
        await until(lambda: len(order) == 100)
        assert len(wakes) <= 2

    on_loop(main)


def test_turns_are_bounded() -> None:
    """Other callbacks of the loop get their turn while thousands of items wait."""

    async def main(box: Box) -> None:
        order = Order()
        Thread(lambda: [box.box.submit(order, "item") for _ in range(5000)]).outcome()
        asyncio.get_running_loop().call_soon(lambda: asyncio.get_running_loop().call_soon(order, "another"))
        await until(lambda: len(order) == 5001)
        assert 0 < order.index("another") < 4000

    on_loop(main)


def test_refusing_and_shutting() -> None:
    async def main(box: Box) -> None:
        order = Order()
        box.box.submit(order, "accepted")
        box.box.refuse()
        with pytest.raises(CommanderNotRunError):
            box.box.submit(order, "refused")
        assert box.box.report(order, "report")
        box.box.shut()
        assert order == ["accepted", "report"]
        assert not box.box.report(order, "too late")
        with pytest.raises(CommanderNotRunError):
            box.box.submit(order, "refused")
        box.box.report_from_finalizer(order, "from a finalizer")
        await turns(3)
        assert box.box.empty

    on_loop(main)


def test_refuse_if_empty() -> None:
    async def main(box: Box) -> None:
        order = Order()
        box.box.submit(order, 1)
        assert not box.box.refuse_if_empty()
        await until(lambda: len(order) == 1)
        assert box.box.refuse_if_empty()
        with pytest.raises(CommanderNotRunError):
            box.box.submit(order, 2)

    on_loop(main)


def test_items_put_while_draining_are_drained() -> None:
    async def main(box: Box) -> None:
        order = Order()
        box.box.report(lambda: box.box.report(lambda: box.box.report(order, "third")))
        box.box.drain_all()
        assert order == ["third"]

    on_loop(main)


def test_one_failing_item_takes_no_other_along() -> None:
    async def main(box: Box) -> None:
        order = Order()
        for number in range(3):
            box.box.report(order, number)
            box.box.report(lambda: 1 // 0)
        await until(lambda: len(order) == 3)
        await until(lambda: len(box.errors) == 3)

    on_loop(main)


def test_a_lost_wake_up_is_made_good() -> None:
    """An interrupt may hit between the append and the wake-up; whoever waits nudges."""

    async def main(box: Box) -> None:
        order = Order()
        original, box.box._announce = box.box._announce, lambda batch: None  # type: ignore[method-assign]
        box.box.submit(order, "stuck")
        box.box._announce = original  # type: ignore[method-assign]
        await turns(5)
        assert order == []
        box.box.nudge()
        await until(lambda: len(order) == 1)

    on_loop(main)


def test_after_the_loop_has_closed() -> None:
    kept: list[Any] = []

    async def main(box: Box) -> None:
        kept.append(box.box)

    on_loop(main)
    box = kept[0]
    box.nudge()
    box.report_from_finalizer(print)
    assert not box.report(print)
    with pytest.raises(CommanderNotRunError):
        box.submit(print)


def test_told_when_empty() -> None:
    async def main(box: Box) -> None:
        gate = Gate()
        box.box.submit(gate.open)
        await gate
        await until(lambda: len(box.empty) >= 1)

    on_loop(main)
