"""Waits that would never end are refused; all others go through."""

from __future__ import annotations

import asyncio
import concurrent.futures
from typing import Any

import pytest

from agere.commander import (
    BasicJob,
    Commander,
    DeadlockError,
    HandlerCoroutine,
    Job,
    JobFuture,
    TaskNode,
    current_node,
    handler,
    tasker,
)
from tests.support.order import Gate, Order

KINDS = ["async", "def"]


def me() -> TaskNode[Any]:
    node = current_node()
    assert node is not None
    return node


def waits_for(kind: str, get: Any) -> Any:
    """A body of that kind that waits for the Future that ``get()`` gives, as soon as there is one."""
    if kind == "async":

        async def on_loop() -> Any:
            return await get()

        return on_loop
    return lambda: get().result()


class Ring:
    """Bodies of which each waits for the next, once all of them run."""

    def __init__(self, kinds: list[str]) -> None:
        self.futures: list[JobFuture[Any]] = []
        self.ready = Gate()
        self.kinds = kinds

    def body(self, index: int) -> Any:
        def following() -> JobFuture[Any]:
            return self.futures[(index + 1) % len(self.futures)]

        if self.kinds[index] == "async":

            async def on_loop() -> Any:
                await self.ready
                return await following()

            return on_loop

        def in_worker() -> Any:
            self.ready.wait()
            return following().result()

        return in_worker

    def run(self, commander: Commander[Any]) -> list[BaseException | None]:
        for index in range(len(self.kinds)):
            self.futures.append(commander.submit(self.body(index)))
        self.ready.open()
        return [future.exception(10) for future in self.futures]


@pytest.mark.parametrize("kind", KINDS)
class TestRefused:
    def test_oneself(self, commander: Commander[Any], kind: str, errors: Any) -> None:
        there = Gate()
        kept: list[JobFuture[Any]] = []

        def get() -> JobFuture[Any]:
            return kept[0]

        if kind == "async":

            async def body() -> Any:
                await there
                return await kept[0]
        else:

            def body() -> Any:  # type: ignore[misc]
                there.wait()
                return kept[0].result()

        kept.append(commander.submit(body))
        there.open()
        with pytest.raises(DeadlockError, match=r"at_job_end|parent"):
            kept[0].result(10)

    @pytest.mark.parametrize("depth", [1, 3])
    def test_an_ancestor(self, commander: Commander[Any], kind: str, depth: int, errors: Any) -> None:
        kept: list[JobFuture[Any]] = []
        there = Gate()

        def level(number: int) -> None:
            if number:
                me().submit(level, number - 1)
                return
            there.wait()
            me().submit(waits_for(kind, lambda: kept[0]))

        kept.append(commander.submit(level, depth))
        there.open()
        with pytest.raises(DeadlockError):
            kept[0].result(10)

    def test_its_own_job_from_the_tail(self, commander: Commander[Any], kind: str, errors: Any) -> None:
        kept: list[JobFuture[Any]] = []
        there = Gate()
        if kind == "async":

            @handler
            async def tail(node: HandlerCoroutine[None]) -> None:
                await there
                await kept[0]
        else:

            @handler
            def tail(node: HandlerCoroutine[None]) -> None:  # type: ignore[misc]
                there.wait()
                kept[0].result()

        kept.append(commander.submit(BasicJob(tail())))
        there.open()
        with pytest.raises(DeadlockError):
            kept[0].result(10)

    def test_the_refused_one_goes_on(self, commander: Commander[Any], kind: str) -> None:
        if kind == "async":

            async def body() -> str:
                with pytest.raises(DeadlockError):
                    await kept[0]
                return "on"
        else:

            def body() -> str:  # type: ignore[misc]
                there.wait()
                with pytest.raises(DeadlockError):
                    kept[0].result()
                with pytest.raises(DeadlockError):
                    kept[0].exception(5)
                return "on"

        there = Gate()
        kept: list[JobFuture[Any]] = []
        gate = Gate()
        commander.submit(gate._pass)
        if kind == "async":

            async def first() -> None:
                kept.append(me().submit(body))
                gate.open()

            commander.submit(first).result(10)
        else:
            kept.append(commander.submit(body))
            there.open()
        assert kept[0].result(10) == "on"
        gate.open()


@pytest.mark.parametrize(
    "kinds",
    [["async"] * 2, ["def"] * 2, ["async", "def"], ["async"] * 3, ["def"] * 3, ["async", "def", "async", "def"]],
    ids="-".join,
)
def test_each_other(commander: Commander[Any], kinds: list[str], errors: Any) -> None:
    """The wait that closes the cycle is refused; its failure reaches the others."""
    raised = Ring(kinds).run(commander)
    assert all(isinstance(error, DeadlockError) for error in raised), raised


@pytest.mark.parametrize("kind", KINDS)
def test_each_others_ancestors(commander: Commander[Any], kind: str, errors: Any) -> None:
    """A child of one waits for the other, and a child of the other for the one."""
    kept: list[JobFuture[Any]] = []
    there = Gate()

    def parent(other: int) -> None:
        there.wait()
        me().submit(waits_for(kind, lambda: kept[other]))

    kept += [commander.submit(parent, 1), commander.submit(parent, 0)]
    there.open()
    raised = [future.exception(10) for future in kept]
    assert all(isinstance(error, DeadlockError) for error in raised), raised


def test_a_handler_that_awaits_one_that_waits_for_it(commander: Commander[Any], errors: Any) -> None:
    @handler
    async def inner(node: HandlerCoroutine[None], outer: TaskNode[Any]) -> None:
        await outer  # type: ignore[misc]

    @handler
    async def outer(node: HandlerCoroutine[None]) -> None:
        await inner(node)

    with pytest.raises(DeadlockError):
        commander.submit(outer).result(10)


@pytest.mark.parametrize("kind", KINDS)
class TestAllowed:
    def test_children_siblings_and_their_descendants(self, commander: Commander[Any], kind: str) -> None:
        def leaf() -> str:
            return "leaf"

        def mid() -> JobFuture[str]:
            return [me().submit(leaf)]  # type: ignore[return-value]

        def outer() -> str:
            sibling = me().submit(leaf)
            below = me().submit(mid).result()[0]  # type: ignore[index]
            first = me().submit(waits_for(kind, lambda: sibling))
            second = me().submit(waits_for(kind, lambda: first))
            return first.result() + second.result() + below.result()

        assert commander.submit(outer).result(10) == "leafleafleaf"

    def test_many_wait_for_one(self, commander: Commander[Any], kind: str) -> None:
        gate = Gate()

        async def target() -> int:
            await gate
            return 5

        future = commander.submit(target)
        waiting = [commander.submit(waits_for(kind, lambda: future)) for _ in range(10)]
        gate.open()
        assert [one.result(10) for one in waiting] == [5] * 10

    def test_after_a_refusal_nothing_is_left_behind(self, commander: Commander[Any], kind: str, errors: Any) -> None:
        for _ in range(3):
            assert all(isinstance(error, DeadlockError) for error in Ring([kind, kind]).run(commander))
            assert commander.submit(waits_for(kind, lambda: commander.submit(lambda: 1))).result(10) == 1


def test_a_job_that_can_only_start_after_the_waiter_returns(commander: Commander[Any]) -> None:
    """It is queued behind the waiting body in the default lane: the place is lent."""
    order = Order()

    class Later(Job[str]):
        @tasker
        async def task(self) -> str:
            order("later")
            return "later"

    class First(Job[str]):
        @tasker
        async def task(self) -> str:
            later = self.commander.put_job(Later())
            value = await later.future
            order("first")
            return value

    assert commander.submit(First()).result(10) == "later"
    assert order == ["later", "first"]


def test_waiting_for_what_another_commander_runs_is_not_searched(commander: Commander[Any]) -> None:
    with Commander() as other:

        async def there() -> int:
            return await other.submit(lambda: 3)

        assert commander.submit(there).result(10) == 3


def test_long_chains_cost_no_recursion(commander: Commander[Any]) -> None:
    """Each waits for the one before it: a chain of waits across the tree, 3000 long."""

    async def body() -> int:
        future: JobFuture[int] | None = None
        gate = Gate()

        async def first() -> int:
            await gate
            return 0

        async def following(before: JobFuture[int]) -> int:
            return 1 + await before

        future = me().submit(first)
        for _ in range(300):
            future = me().submit(following, future)
        gate.open()
        return await future

    assert commander.submit(body).result(20) == 300


def test_cancelling_a_chain_of_waits(commander: Commander[Any]) -> None:
    """Deeper than recursion goes."""
    started = Gate()

    @handler
    async def deeper(node: HandlerCoroutine[None], depth: int) -> None:
        if depth == 0:
            started.open()
            await asyncio.Event().wait()
        await deeper(depth - 1)

    future = commander.submit(deeper(3000))
    started.wait()
    future.cancel()
    concurrent.futures.wait([future], 20)
    assert future.cancelled()
