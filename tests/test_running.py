"""``agere.run`` and ``agere.stream``: one piece of work, from start to end."""

from __future__ import annotations

import asyncio
import gc
import logging
from typing import Any

import pytest

import agere
from agere.commander import BlockingCallError, Commander, HandlerCoroutine, Job, current_node, handler, tasker
from tests.support.order import Order, in_thread


class Notes(Job[str]):
    def __init__(self, order: Order, item: Any, then: Any = None) -> None:
        self.order, self.item, self.then = order, item, then

    @tasker
    async def task(self) -> str:
        self.order(self.item)
        if self.then is not None:
            raise self.then
        return f"<{self.item}>"


@handler
async def doubles(node: HandlerCoroutine[int], value: int) -> int:
    return 2 * value


def nothing() -> None: ...


@pytest.fixture
def commander() -> Any:
    with Commander() as commander:
        yield commander


@pytest.fixture
def errors(caplog: pytest.LogCaptureFixture) -> Any:
    """The test causes errors; keep them off the terminal."""
    caplog.set_level(logging.ERROR)
    return caplog


class TestTopLevel:
    def test_run_gives_or_raises(self, errors: Any) -> None:
        async def add(a: int, b: int) -> int:
            return a + b

        assert agere.run(add, 1, b=2) == 3
        assert agere.run(Notes(Order(), "job")) == "<job>"
        with pytest.raises(ValueError, match="no") as caught:
            agere.run(Notes(Order(), "job", then=ValueError("no")))
        assert any("Notes" in note for note in caught.value.__notes__)
        assert agere.run(doubles, 4) == 8
        assert agere.run(doubles(5)) == 10
        for wrong in (17, None, Notes, nothing()):
            with pytest.raises(TypeError):
                agere.run(wrong)  # type: ignore[call-overload]
        with pytest.raises(TypeError):
            agere.run(add, 1, 2, 3)

    def test_run_waits_for_descendants(self) -> None:
        order = Order()

        async def body() -> str:
            node = current_node()
            assert node is not None
            node.submit(Notes(order, "child"))
            return "value"

        assert agere.run(body) == "value"
        assert order == ["child"]

    def test_run_in_threads(self) -> None:
        assert in_thread(agere.run, lambda: in_thread(agere.run, lambda: 3)) == 3

    def test_run_on_a_loop_thread_refuses(self, commander: Commander[Any]) -> None:
        async def body() -> None:
            with pytest.raises(BlockingCallError, match=r"agere\.run\(\) would block.*submit"):
                agere.run(nothing)
            with pytest.raises(BlockingCallError, match=r"agere\.stream\(\) would block.*async for"):
                agere.stream(nothing)

        commander.submit(body).result(10)

    def test_stream(self) -> None:
        def work() -> None:
            node = current_node()
            assert node is not None
            for number in range(5):
                node.emit(number)

        assert list(agere.stream(work)) == [0, 1, 2, 3, 4]

    def test_stream_broken_off_cancels(self) -> None:
        order = Order()

        async def work() -> None:
            node = current_node()
            assert node is not None
            try:
                for number in range(10**9):
                    await node.emit(number)
                    await asyncio.sleep(0)
            finally:
                order("unwound")

        stream = agere.stream(work)
        for item in stream:
            if item == 3:
                break
        stream.close()
        assert order == ["unwound"]

    def test_stream_dropped_leaves_nothing(self) -> None:
        async def work() -> None:
            node = current_node()
            assert node is not None
            await node.emit(1)
            await asyncio.Event().wait()

        for item in agere.stream(work):
            assert item == 1
            break
        gc.collect()

    def test_stream_raises_the_failure_last(self, errors: Any) -> None:
        async def work() -> None:
            node = current_node()
            assert node is not None
            node.emit("first")
            raise ValueError("then")

        items = []
        with pytest.raises(ValueError, match="then"):  # noqa: PT012
            for item in agere.stream(work):
                items.append(item)
        assert items == ["first"]
