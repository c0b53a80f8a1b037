"""Lanes: first in, first out; widths; lending."""

from __future__ import annotations

import asyncio
import concurrent.futures
import threading
from collections import deque
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agere.commander import (
    PASS_WORD,
    BasicJob,
    Commander,
    HandlerCoroutine,
    Job,
    TaskNode,
    current_node,
    handler,
    tasker,
    tree,
)
from agere.commander.lanes import Lane
from tests.support.order import Gate, Order, turns


def me() -> TaskNode[Any]:
    node = current_node()
    assert node is not None
    return node


class Steps(Job[Any]):
    """An async job that records its begin and end, and waits in between."""

    def __init__(self, order: Order, name: Any, wait: Any = None, tail: Any = None) -> None:
        self.order, self.step, self.wait, self.tail = order, name, wait, tail

    @tasker
    async def task(self) -> Any:
        self.order(("begin", self.step))
        if self.wait is not None:
            await self.wait
        else:
            await turns(2)
        self.order(("end", self.step))
        return self.tail


class Most:
    """Counts how many are inside at once."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self.now = self.most = 0

    def __enter__(self) -> None:
        with self._lock:
            self.now += 1
            self.most = max(self.most, self.now)

    def __exit__(self, *_: object) -> None:
        with self._lock:
            self.now -= 1


class TestDefaultLane:
    def test_async_tasks_one_after_another_in_order(self, commander: Commander[Any]) -> None:
        order = Order()
        futures = [commander.submit(Steps(order, number)) for number in range(50)]
        concurrent.futures.wait(futures, 20)
        assert order == [item for number in range(50) for item in (("begin", number), ("end", number))]

    def test_also_those_put_in_a_body(self, commander: Commander[Any]) -> None:
        order = Order()

        async def body() -> None:
            for number in range(600):
                me().put_job(Steps(order, number))

        commander.submit(body).result(20)
        assert order == [item for number in range(600) for item in (("begin", number), ("end", number))]

    def test_until_task_returns_the_tail_runs_outside(self, commander: Commander[Any]) -> None:
        order, gate = Order(), Gate()

        @handler
        async def tail(node: HandlerCoroutine[None]) -> None:
            order("tail begins")
            await gate
            order("tail ends")

        first = commander.submit(Steps(order, 1, tail=tail()))
        second = commander.submit(Steps(order, 2))
        second.result(10)
        assert not first.done()
        gate.open()
        first.result(10)
        assert [item for item in order.items if "tail" not in str(item)] == [
            ("begin", 1),
            ("end", 1),
            ("begin", 2),
            ("end", 2),
        ]

    def test_def_tasks_start_without_being_waited_for(self, commander: Commander[Any]) -> None:
        gate, order = Gate(), Order()
        blocked = [commander.submit(BasicJob(gate.wait)) for _ in range(3)]

        class Plain(Job[None]):
            @tasker
            def task(self) -> None:
                order("def")
                gate.wait()

        blocked += [commander.submit(Plain()) for _ in range(3)]
        commander.submit(Steps(order, "async")).result(10)
        order.wait_for("def", 3)
        assert not any(future.done() for future in blocked)
        gate.open()
        concurrent.futures.wait(blocked, 10)

    def test_def_tasks_start_while_an_async_one_is_suspended(self, commander: Commander[Any]) -> None:
        gate, order = Gate(), Order()
        first = commander.submit(Steps(order, "suspended", gate))
        order.wait_for(("begin", "suspended"))

        class Plain(Job[None]):
            @tasker
            def task(self) -> None:
                order("def")

        commander.submit(Plain()).result(10)
        assert not first.done()
        gate.open()

    def test_handlers_and_functions_wait_in_none(self, commander: Commander[Any]) -> None:
        gate, order = Gate(), Order()
        commander.submit(Steps(order, "suspended", gate))
        order.wait_for(("begin", "suspended"))

        @handler
        async def fn(node: HandlerCoroutine[int]) -> int:
            return 1

        assert commander.submit(fn()).result(10) == 1
        assert commander.submit(turns).result(10) is None
        gate.open()

    def test_a_terminated_one_gives_its_turn_away(self, commander: Commander[Any]) -> None:
        order = Order()
        endless = [commander.submit(Steps(order, number, Gate())) for number in range(3)]
        last = commander.submit(Steps(order, "last"))
        for number, future in enumerate(endless):
            order.wait_for(("begin", number))
            assert ("begin", number + 1) not in order
            future.cancel()
        last.result(10)

    def test_a_failing_one_too(self, commander: Commander[Any], errors: Any) -> None:
        class Fails(Job[None]):
            @tasker
            async def task(self) -> None:
                raise ValueError

        commander.submit(Fails())
        commander.submit(Steps(Order(), "next")).result(10)

    def test_a_waiting_body_gives_its_place_up(self, commander: Commander[Any]) -> None:
        """The usual recursion: a job awaits the job that it has put."""

        class Factorial(Job[int]):
            def __init__(self, number: int) -> None:
                self.number = number

            @tasker
            async def task(self) -> int:
                if self.number == 0:
                    return 1
                return self.number * await (await self.put_job(Factorial(self.number - 1)))

        assert commander.submit(Factorial(20)).result(10) == 2432902008176640000

    def test_the_place_comes_back_before_a_new_job_starts(self, commander: Commander[Any]) -> None:
        order, gate, wait_over = Order(), Gate(), Gate()

        class Waits(Job[None]):
            @tasker
            async def task(self) -> None:
                order("waits")
                await self.submit(wait_over._pass)
                order("goes on")
                await turns(10)
                order("ends")

        first = commander.submit(Waits())
        order.wait_for("waits")
        others = [commander.submit(Steps(order, number, gate)) for number in range(3)]
        order.wait_for(("begin", 0))  # it has the place that was lent
        wait_over.open()
        while first.node.children:
            commander.submit(turns).result(10)
        commander.submit(turns).result(10)  # the wait has ended: it stands for its place now
        gate.open()
        concurrent.futures.wait([first, *others], 10)
        items = order.items
        assert items.index(("end", 0)) < items.index("goes on")
        assert items.index("ends") < items.index(("begin", 1))


class TestNamedLanes:
    @pytest.mark.parametrize("kind", ["async", "def"])
    @pytest.mark.parametrize("width", [1, 3])
    def test_width_is_never_passed_and_is_used(self, kind: str, width: int) -> None:
        most, full = Most(), threading.Barrier(width)

        async def on_loop() -> None:
            with most:
                while most.most < width:  # the others come too: the width is used
                    await turns(1)

        def in_worker() -> None:
            with most:
                full.wait(10)

        with Commander(lanes={"llm": width}) as commander:
            futures = [commander.submit(on_loop if kind == "async" else in_worker, lane="llm") for _ in range(12)]
            concurrent.futures.wait(futures, 20)
        assert all(future.exception() is None for future in futures)
        assert most.most == width

    def test_bodies_with_tails(self) -> None:
        most, order = Most(), Order()

        @handler
        async def tail(node: HandlerCoroutine[None]) -> None:
            with most:
                await turns(5)

        async def body() -> Any:
            with most:
                await turns(2)
            return tail()

        with Commander(lanes={"llm": 2}) as commander:
            for _ in range(6):
                commander.submit(body, lane="llm")
            commander.submit(order, "other lane")
        assert 1 <= most.most <= 2

    def test_their_children_do_not_count(self) -> None:
        gate, order = Gate(), Order()

        async def body(number: int) -> None:
            me().submit(gate._pass)
            order(number)

        with Commander(lanes={"llm": 1}) as commander:
            for number in range(3):
                commander.submit(body, number, lane="llm")
            order.wait_for(2)
            gate.open()
        assert order == [0, 1, 2]

    def test_an_unknown_key_is_a_lane_of_width_one_of_its_own(self, commander: Commander[Any]) -> None:
        most, others, order = Most(), Most(), Order()

        async def body(inside: Most, item: Any) -> None:
            with inside:
                order(item)
                await turns(3)

        futures = []
        for number in range(5):
            futures.append(commander.submit(body, most, number, lane=("any", "hashable")))
            futures.append(commander.submit(body, others, None, lane="another"))
        concurrent.futures.wait(futures, 10)
        assert most.most == others.most == 1
        assert [item for item in order.items if item is not None] == [0, 1, 2, 3, 4]

    def test_many_keys_are_not_kept(self, commander: Commander[Any]) -> None:
        for number in range(500):
            commander.submit(turns, lane=number).result(10)
        session = commander._session_
        assert session is not None
        assert len(session.scheduler._lanes) < 200

    def test_first_in_first_out_for_all_kinds(self) -> None:
        order = Order()

        @handler
        async def fn(node: HandlerCoroutine[None], item: Any) -> None:
            order(item)

        with Commander(lanes={"llm": 1}) as commander:
            for number in range(0, 60, 4):
                commander.submit(order, number, lane="llm")
                commander.submit(fn(number + 1), lane="llm")
                commander.submit(BasicJob(order, number + 2), lane="llm")
                commander.put_job(BasicJob(fn, number + 3), lane="llm")
        assert order == list(range(60))

    def test_a_job_in_a_named_lane_needs_no_place_in_the_default_one(self, commander: Commander[Any]) -> None:
        gate, order = Gate(), Order()
        commander.submit(Steps(order, "holds the default lane", gate))
        commander.submit(Steps(order, "other"), lane="other").result(10)
        gate.open()

    def test_terminated_in_the_queue(self, commander: Commander[Any]) -> None:
        gate, order = Gate(), Order()
        first = commander.submit(gate._pass, lane="x")
        second = commander.submit(order, "never", lane="x")
        third = commander.submit(order, "third", lane="x")
        second.cancel()
        gate.open()
        third.result(10)
        first.result(10)
        assert second.cancelled()
        assert order == ["third"]

    @pytest.mark.parametrize("kind", ["async", "def"])
    def test_waiting_lends_the_place(self, kind: str) -> None:
        """All places are taken by bodies that wait for jobs of the same lane: it goes on all the same."""

        async def on_loop(depth: int) -> int:
            return 0 if depth == 0 else 1 + await me().submit(on_loop, depth - 1, lane="llm")

        def in_worker(depth: int) -> int:
            return 0 if depth == 0 else 1 + me().submit(in_worker, depth - 1, lane="llm").result()

        with Commander(lanes={"llm": 2}) as commander:
            futures = [commander.submit(on_loop if kind == "async" else in_worker, 10, lane="llm") for _ in range(4)]
            assert [future.result(20) for future in futures] == [10] * 4

    @pytest.mark.parametrize("kind", ["async", "def"])
    def test_width_holds_with_lending(self, kind: str) -> None:
        most = Most()

        async def leaf() -> None:
            with most:
                await turns(2)

        async def on_loop() -> None:
            for _ in range(3):
                with most:
                    await turns(1)
                await me().submit(leaf, lane="llm")
            with most:
                await turns(1)

        def in_worker() -> None:
            for _ in range(3):
                with most:
                    pass
                me().submit(leaf, lane="llm").result()
            with most:
                pass

        with Commander(lanes={"llm": 2}) as commander:
            for _ in range(6):
                commander.submit(on_loop if kind == "async" else in_worker, lane="llm")
        assert 1 <= most.most <= 2

    @pytest.mark.parametrize("depth", [1, 3])
    @pytest.mark.parametrize("as_tail", [False, True])
    def test_a_handler_that_is_awaited_keeps_the_place(self, depth: int, as_tail: bool) -> None:
        """A body that is written as several handlers is one body still: the width holds."""
        most = Most()

        class Written(Job[None]):
            @tasker(PASS_WORD)
            async def task(self) -> Any:
                return self.step(depth) if as_tail else await self.step(depth)

            @handler(PASS_WORD)
            async def step(self, _: Any, depth: int) -> None:
                if depth:
                    await asyncio.gather(self.step(depth - 1), self.step(0))
                else:
                    with most:
                        await turns(3)

        with Commander(lanes={"llm": 1}) as commander:
            for _ in range(5):
                commander.submit(Written(), lane="llm")
        assert most.most <= depth + 1  # those of one body

    @pytest.mark.parametrize("colour", ["async", "def"])
    @pytest.mark.parametrize("depth", [0, 2])
    def test_what_such_a_handler_waits_for_gets_the_place(self, depth: int, colour: str) -> None:
        order = Order()

        class Written(Job[int]):
            @tasker(PASS_WORD)
            async def task(self) -> int:
                return await self.step(depth) + await self.step(depth)

            @handler(PASS_WORD)
            async def step(self, _: Any, depth: int) -> int:
                return await (self.step(depth - 1) if depth else self.last())

            if colour == "async":

                @handler(PASS_WORD)
                async def last(self, node: Any) -> int:
                    return int(await node.submit(order, "leaf", lane="llm") is None)

            else:

                @handler(PASS_WORD)
                def last(self, node: Any) -> int:
                    return int(node.submit(order, "leaf", lane="llm").result() is None)

        with Commander(lanes={"llm": 1}) as commander:
            futures = [commander.submit(Written(), lane="llm") for _ in range(3)]
            assert [future.result(20) for future in futures] == [2] * 3
        assert order == ["leaf"] * 6

    def test_a_timed_out_wait_takes_the_place_back(self) -> None:
        gate, order = Gate(), Order()

        def in_worker() -> None:
            with pytest.raises(TimeoutError):
                me().submit(gate._pass).result(0.01)
            order("took it back")
            first_done.open()

        first_done = Gate()
        with Commander(lanes={"llm": 1}) as commander:
            commander.submit(in_worker, lane="llm")
            commander.submit(order, "next", lane="llm").result(10)
            first_done.wait()
            gate.open()
        assert sorted(order.items) == ["next", "took it back"]

    def test_terminated_while_its_place_is_lent(self, commander: Commander[Any]) -> None:
        gate, order = Gate(), Order()

        async def body() -> None:
            await me().submit(gate._pass)

        first = commander.submit(body, lane="x")
        second = commander.submit(order, "second", lane="x")
        second.result(10)
        first.cancel()
        concurrent.futures.wait([first], 10)
        commander.submit(order, "third", lane="x").result(10)
        assert order == ["second", "third"]


class Places:
    """A lane with jobs that start when it says so, checked against what a lane is."""

    def __init__(self, width: int) -> None:
        self.width = width
        self.lane = Lane("model", width, self.start)
        self.running: list[Job[Any]] = []
        self.lent: list[Job[Any]] = []
        self.returning: deque[tuple[Job[Any], asyncio.Future[None]]] = deque()
        self.queue: deque[Job[Any]] = deque()

    def start(self, node: TaskNode[Any]) -> None:
        assert self.queue, "it started what was not queued"
        while self.queue[0]._phase_ != tree.QUEUED:
            self.queue.popleft()
        assert node is self.queue.popleft(), "not first in, first out"
        assert not self.waiting_to_return(), "a new job started before an old one had its place back"
        self.running.append(node)  # type: ignore[arg-type]
        self.check()

    def waiting_to_return(self) -> list[Job[Any]]:
        return [node for node, turn in self.returning if not turn.done()]

    def settle(self) -> None:
        while self.returning and self.returning[0][1].done():
            self.running.append(self.returning.popleft()[0])
        assert not any(turn.done() for _, turn in self.returning), "places came back out of order"
        self.check()

    def check(self) -> None:
        back = sum(turn.done() for _, turn in self.returning)
        assert len(self.running) + back <= self.width

    def at_rest(self) -> None:
        queued = [node for node in self.queue if node._phase_ == tree.QUEUED]
        if queued or self.waiting_to_return():
            assert len(self.running) == self.width, "a place is free, and somebody waits"


@given(
    st.integers(1, 4),
    st.lists(st.tuples(st.sampled_from(["put", "end", "lend", "back", "drop"]), st.integers(0, 99)), max_size=80),
)
def test_lane_against_a_model(width: int, moves: list[tuple[str, int]]) -> None:
    async def main() -> None:
        places = Places(width)
        lane = places.lane
        for move, number in moves:
            if move == "put":
                job: Job[Any] = Job()
                job._phase_ = tree.QUEUED
                places.queue.append(job)
                lane.put(job)
            elif move == "end" and places.running:
                lane.leave(places.running.pop(number % len(places.running)))
            elif move == "lend" and places.running:
                node = places.running.pop(number % len(places.running))
                places.lent.append(node)
                lane.lend(node)
            elif move == "back" and places.lent:
                node = places.lent.pop(number % len(places.lent))
                turn = lane.take_back(node)
                if turn is None:
                    places.running.append(node)
                else:
                    places.returning.append((node, turn))
            elif move == "drop" and places.queue:
                places.queue[number % len(places.queue)]._phase_ = tree.CLOSING
            places.settle()
            places.at_rest()

    asyncio.run(main())
