"""Edges: pipelines, branches, joins and loops."""

from __future__ import annotations

import asyncio
import concurrent.futures
from itertools import pairwise
from typing import Any

import pytest

from agere.commander import (
    Commander,
    HandlerCoroutine,
    Job,
    NotHandlerError,
    NotJobError,
    NotTaskerError,
    TaskNode,
    current_node,
    handler,
    tasker,
)
from agere.commander.edge import add_conditional_edge, add_edge, add_join_edge
from tests.support.order import Gate, Order


class Step(Job[Any]):
    def __init__(self, order: Order, name: Any, result: Any = None) -> None:
        self.order, self.step, self.value = order, name, result

    @tasker
    async def task(self) -> Any:
        self.order((self.step, self.data) if self.data is not None else self.step)
        value = self.value(self) if callable(self.value) else self.value
        if isinstance(value, Exception):
            raise value
        return value


def run(*first: TaskNode[Any]) -> Commander[Any]:
    commander: Commander[Any] = Commander()
    commander.run(list(first), auto_exit=True)
    return commander


def test_a_pipeline_with_data() -> None:
    order = Order()
    steps = [Step(order, number) for number in range(4)]
    for before, after in pairwise(steps):
        add_edge(before, after, data=f"data for {after.step}")
    run(steps[0])
    assert order == [0, (1, "data for 1"), (2, "data for 2"), (3, "data for 3")]


def test_handlers_too() -> None:
    order = Order()

    @handler
    async def fn(node: HandlerCoroutine[str], name: str) -> str:
        order((name, node.data))
        return name

    first, second, third = fn("first"), fn("second"), Step(order, "third")
    add_edge(first, second, data=1)
    add_edge(from_node=second, to_node=third)
    run(first)
    assert order == [("first", None), ("second", 1), "third"]


def test_several_from_one_run_side_by_side() -> None:
    gate, order = Gate(), Order()

    class Branch(Job[None]):
        @tasker
        def task(self) -> None:
            order("in")
            order.wait_for("in", 3)

    first = Step(order, "first")
    for _ in range(3):
        add_edge(first, Branch())
    run(first)
    assert order == ["first", "in", "in", "in"]
    gate.open()


@pytest.mark.parametrize("result", ["left", "right", "nowhere", 3, None])
def test_conditional(result: Any) -> None:
    order = Order()
    first = Step(order, "first", result)
    ways = {"left": Step(order, "left!"), "right": Step(order, "right!"), None: Step(order, "none!")}
    add_conditional_edge(first, ways, data="d")
    run(first)
    taken = {"left": [("left!", "d")], "right": [("right!", "d")], None: [("none!", "d")]}
    assert order.items[1:] == taken.get(result, [])


def test_an_unhashable_result_is_told_and_the_path_ends(errors: Any) -> None:
    order = Order()
    first = Step(order, "first", [1])
    add_conditional_edge(first, {"x": Step(order, "x")})
    add_edge(first, Step(order, "other"))
    run(first)
    assert order == ["first", "other"]
    assert len(errors) == 1


def test_join() -> None:
    order = Order()
    sources = [Step(order, number) for number in range(3)]
    add_join_edge(sources, Step(order, "joined"), data="all")
    run(*sources)
    assert sorted(order.items[:3]) == [0, 1, 2]
    assert order.items[3:] == [("joined", "all")]


def test_join_of_branches_of_one_node_and_again() -> None:
    order = Order()
    first = Step(order, "first")
    branches = [Step(order, "branch") for _ in range(3)]
    joined = Step(order, "joined", lambda node: "again" if order.count("joined") < 3 else "end")
    for branch in branches:
        add_edge(first, branch)
    add_join_edge(branches, joined)
    add_conditional_edge(joined, {"again": first})
    run(first)
    assert order == ["first", "branch", "branch", "branch", "joined"] * 3


def test_join_does_not_fire_when_one_failed(errors: Any) -> None:
    order = Order()
    sources = [Step(order, 1), Step(order, 2, ValueError("no"))]
    add_join_edge(sources, Step(order, "joined"))
    run(*sources)
    assert sorted(order.items) == [1, 2]


def test_a_loop_through_the_same_node_objects() -> None:
    rounds = 2000
    order = Order()
    first = Step(order, "a")
    second = Step(order, "b", lambda node: "on" if len(order) < 2 * rounds else "end")
    add_edge(first, second)
    add_conditional_edge(second, {"on": first})
    run(first)
    assert order == ["a", "b"] * rounds


def test_to_itself() -> None:
    order = Order()
    node = Step(order, "x", lambda node: len(order) < 50)
    add_conditional_edge(node, {True: node})
    run(node)
    assert len(order) == 50


def test_fires_after_completed_only(errors: Any) -> None:
    order = Order()
    failing = Step(order, "fails", ValueError("no"))
    add_edge(failing, Step(order, "never"))
    run(failing)
    assert order == ["fails"]
    terminated = Step(order, "terminates", lambda node: node.cancel())
    add_edge(terminated, Step(order, "never"))

    class Endless(Job[None]):
        @tasker
        async def task(self) -> None:
            self.cancel()
            await asyncio.Event().wait()

    endless = Endless()
    add_edge(endless, Step(order, "never"))
    run(endless)
    assert order == ["fails"]


def test_fires_after_the_descendants_of_the_node(commander: Commander[Any]) -> None:
    gate, order = Gate(), Order()
    first = Step(order, "first", lambda node: node.submit(gate._pass) and None)
    add_edge(first, Step(order, "next"))
    future = commander.submit(first)
    order.wait_for("first")
    commander.submit(asyncio.sleep, 0).result(10)
    assert "next" not in order
    gate.open()
    future.result(10)
    order.wait_for("next")


def test_the_successor_joins_the_parent_and_is_counted_before(commander: Commander[Any]) -> None:
    order = Order()
    first, second = Step(order, "first"), Step(order, "second", lambda node: order(node.parent))
    add_edge(first, second)
    outer = Step(order, "outer", lambda node: node.put_job(first) and None)
    outer.add_callback_functions("at_job_end", {"function": order.plain("outer's end")})
    commander.submit(outer).result(10)
    assert order == ["outer", "first", "second", outer, "outer's end"]


def test_into_an_active_node_it_runs_once_more(commander: Commander[Any]) -> None:
    gate, order = Gate(), Order()

    class Target(Job[None]):
        @tasker
        async def task(self) -> None:
            order(("target", self.data))
            await gate

    target = Target()
    future = commander.submit(target, lane="its own")
    order.wait_until(1)
    first = Step(order, "first")
    add_edge(first, target, data="edge")
    holder = Step(order, "holder", lambda node: node.put_job(first) and None)
    held = commander.submit(holder)
    order.wait_for("first")
    while first.state != "COMPLETED":
        commander.submit(asyncio.sleep, 0).result(10)
    assert not held.done()  # the successor is counted below the first one's parent
    gate.open()
    future.result(10)
    held.result(10)
    assert order.items == [("target", None), "holder", "first", ("target", "edge")]


def test_the_order_of_completing(commander: Commander[Any]) -> None:
    """End callbacks, streams, successors, the Future."""
    order = Order()

    class Closes:
        def close(self) -> None:
            order(("stream", second.state))

    first = Step(order, "body", lambda node: node.attach_stream(Closes()))
    second = Step(order, "successor's body")
    add_edge(first, second)
    first.add_callback_functions("at_job_end", {"function": order.later("end callback")})

    async def outer() -> None:
        node = current_node()
        assert node is not None
        node.submit(first).add_done_callback(lambda _: order(("future", second in node.children)))

    commander.submit(outer).result(10)
    assert order == ["body", "end callback", ("stream", "PENDING"), ("future", True), "successor's body"]


def test_termination_of_the_tree_ends_the_paths(commander: Commander[Any]) -> None:
    order = Order()
    first = Step(order, "a")
    add_edge(first, first)
    outer = Step(order, "outer", lambda node: node.put_job(first) and None)
    future = commander.submit(outer)
    order.wait_until(20)
    future.cancel()
    concurrent.futures.wait([future], 10)
    assert future.cancelled()
    assert commander.children == []


def test_exit_in_a_loop_of_edges() -> None:
    order = Order()
    first = Step(order, "a", lambda node: node.exit_commander("out") and None if len(order) > 10 else None)
    add_edge(first, first)
    assert Commander[str]().run(first) == "out"


def test_the_context_travels_along(commander: Commander[Any]) -> None:
    import contextvars

    word: contextvars.ContextVar[str] = contextvars.ContextVar("word", default="unset")
    order = Order()
    first = Step(order, "first")
    second = Step(order, "second", lambda node: order(word.get()))
    add_edge(first, second)
    contextvars.copy_context().run(lambda: (word.set("submitter's"), commander.submit(first)))
    order.wait_for("submitter's")


@pytest.mark.parametrize(
    ("add", "error"),
    [
        (lambda job: add_edge(job, 3), NotJobError),
        (lambda job: add_edge(None, job), NotJobError),
        (lambda job: add_edge(job, Commander()), NotJobError),
        (lambda job: add_edge(job, HandlerCoroutine()), NotHandlerError),
        (lambda job: add_edge(job, Job()), NotTaskerError),
        (lambda job: add_conditional_edge(job, {1: 2}), NotJobError),
        (lambda job: add_conditional_edge(job, [job]), TypeError),
        (lambda job: add_join_edge([], job), ValueError),
        (lambda job: add_join_edge([job, 3], job), NotJobError),
    ],
)
def test_bad_input(add: Any, error: type[Exception]) -> None:
    job = Step(Order(), "x")
    with pytest.raises(error):
        add(job)
