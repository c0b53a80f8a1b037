"""The accounting of whole trees: random trees of jobs, handlers and functions, with failures and cancellations."""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections import Counter
from dataclasses import dataclass, field
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from agere.commander import (
    Commander,
    CommanderNotRunError,
    HandlerCoroutine,
    Job,
    NodeEnded,
    NodeEndedError,
    NodeTerminatedError,
    TaskNode,
    handler,
    tasker,
)
from tests.support.order import Order

PHASES = ["at_job_start", "at_handler_start", "at_exception", "at_terminate", "at_handler_end", "at_job_end"]
KINDS = ["job", "def job", "handler", "def handler", "function", "def function"]


@dataclass
class Plan:
    """What one node is to do."""

    kind: str
    fails: bool
    awaits: bool
    lane: Any
    tail: bool
    cancels: str
    children: list[Plan] = field(default_factory=list)

    @property
    def size(self) -> int:
        return 1 + sum(child.size for child in self.children)


def plans(children: Any) -> Any:
    return st.builds(
        Plan,
        kind=st.sampled_from(KINDS),
        fails=st.sampled_from([False, False, False, True]),
        awaits=st.booleans(),
        lane=st.sampled_from([None, None, "narrow", "wide"]),
        tail=st.booleans(),
        cancels=st.sampled_from([""] * 6 + ["child", "parent", "itself", "alone"]),
        children=children,
    )


trees = st.recursive(plans(st.just([])), lambda inner: plans(st.lists(inner, max_size=4)), max_leaves=12)


class Expected(Exception):
    """A failure by plan."""


TOLD = (Expected, CommanderNotRunError, NodeEndedError)
"""What a body may fail with: by plan, or because it submits while the commander leaves or it is terminated itself."""


class Run:
    """One tree at work, and everything that happened in it."""

    def __init__(self, commander: Commander[Any]) -> None:
        self.commander = commander
        self.order = Order()
        self.nodes: list[TaskNode[Any]] = []
        self.futures: list[Any] = []

    def make(self, plan: Plan, is_tail: bool = False) -> TaskNode[Any]:
        run = self

        def prepare(node: TaskNode[Any]) -> list[Any]:
            """Submit the children; those to be awaited are returned."""
            awaited = []
            for child in plan.children[1 if plan.tail else 0 :]:
                below = run.make(child)
                future = node.submit(below, lane=child.lane)
                run.futures.append(future)
                if plan.awaits:
                    awaited.append(future)
                if plan.cancels == "child":
                    below.cancel()
            if plan.cancels == "parent" and node.parent is not run.commander and node.parent is not None:
                node.parent.cancel()
            elif plan.cancels == "itself":
                node.cancel()
            elif plan.cancels == "alone":
                node.terminate_task_node()
            return awaited

        def finish() -> Any:
            if plan.fails:
                raise Expected
            if plan.tail and plan.children and plan.children[0].kind not in ("job", "def job"):
                return run.make(plan.children[0], is_tail=True)
            return "value"

        async def body(node: TaskNode[Any]) -> Any:
            for future in prepare(node):
                with contextlib.suppress(*TOLD, ExceptionGroup, NodeTerminatedError):
                    await future
            await asyncio.sleep(0)
            return finish()

        def def_body(node: TaskNode[Any]) -> Any:
            for future in prepare(node):
                with contextlib.suppress(*TOLD, ExceptionGroup, NodeTerminatedError):
                    future.result()
            return finish()

        class Async(Job[Any]):
            @tasker
            async def task(self) -> Any:
                return await body(self)

        class Plain(Job[Any]):
            @tasker
            def task(self) -> Any:
                return def_body(self)

        @handler
        async def on_loop(node: HandlerCoroutine[Any]) -> Any:
            return await body(node)

        @handler
        def in_worker(node: HandlerCoroutine[Any]) -> Any:
            return def_body(node)

        node: TaskNode[Any] = {"job": Async, "def job": Plain}.get(
            plan.kind, in_worker if "def" in plan.kind else on_loop
        )()
        for phase in PHASES:
            node.add_callback_functions(
                phase,  # type: ignore[arg-type]
                {"function": lambda phase, task_node: run.order((phase, task_node)), "inject_task_node": True}
                | {"params": {"args": (phase,)}},  # type: ignore[arg-type]
            )
        run.nodes.append(node)
        return node


@settings(max_examples=60)
@given(st.lists(trees, min_size=1, max_size=3), st.booleans())
def test_random_trees(forest: list[Plan], exits: bool) -> None:
    logging.getLogger("agere.node").disabled = True
    commander: Commander[Any] = Commander(lanes={"wide": 3}, grace=10, stall=30)
    ended = Order()
    try:
        with commander:
            unsubscribe = commander.subscribe(lambda event: ended(event) if isinstance(event, NodeEnded) else None)
            run = Run(commander)
            roots = [commander.submit(run.make(plan), lane=plan.lane) for plan in forest]
            run.futures += roots
            if exits:
                commander.exit()
    finally:
        logging.getLogger("agere.node").disabled = False
    commander.__agere_listeners__.flush(10)
    unsubscribe()

    assert all(future.done() for future in run.futures), "a Future was not resolved"
    finals: Counter[Any] = Counter()
    events = ended.items
    for event in events:
        finals[event.node] += 1
        assert event.state in ("COMPLETED", "EXCEPTION", "TERMINATED")
    submitted = [node for node in run.nodes if node._session_ is not None]
    for node in submitted:
        assert finals[node] == 1, f"{node} ended {finals[node]} times"
        assert node.state in ("COMPLETED", "EXCEPTION", "TERMINATED")
        assert node.children == []
    place = {event.node: index for index, event in enumerate(events)}
    for event in events:
        if event.parent is not commander and event.parent in place:
            assert place[event.node] < place[event.parent], "a parent ended before its child"
    phases: dict[Any, list[str]] = {node: [] for node in run.nodes}
    for phase, node in run.order.items:
        phases[node].append(phase)
    for node in submitted:
        kind = "job" if isinstance(node, Job) else "handler"
        seen = phases[node]
        assert len(seen) == len(set(seen)), f"{node}: a callback ran twice: {seen}"
        last = "at_terminate" if node.state == "TERMINATED" else f"at_{kind}_end"
        assert seen[-1] == last, f"{node}: {seen}"
        assert set(seen) <= {f"at_{kind}_start", "at_exception", last}
        if node.state == "COMPLETED":
            assert seen == [f"at_{kind}_start", last]
        if node.state == "EXCEPTION":
            assert "at_exception" in seen
            assert isinstance(node.exception, TOLD)
    for future in run.futures:
        if future.node.state == "TERMINATED":
            assert future.cancelled()
        else:
            error = future.exception()
            assert error is None or isinstance(error, (*TOLD, ExceptionGroup)), error
            if future.node.state == "EXCEPTION":
                assert error is not None or future.node.exception is not None
    assert commander.is_empty()


class TestScale:
    def test_wide(self, commander: Commander[Any]) -> None:
        count = 20_000
        order = Order()

        class Leaf(Job[None]):
            @tasker
            async def task(self) -> None: ...

        class Root(Job[str]):
            @tasker
            async def task(self) -> str:
                for _ in range(count):
                    self.put_job(Leaf())
                return "wide"

        root = Root()
        root.add_callback_functions("at_job_end", {"function": order.plain("end")})
        assert commander.submit(root).result(40) == "wide"
        assert order == ["end"]

    def test_deep(self, commander: Commander[Any], errors: Any) -> None:
        """A chain of children, closed from its bottom by a failure that climbs all of it."""
        depth = 10_000

        class Level(Job[None]):
            def __init__(self, level: int) -> None:
                self.level = level

            @tasker
            async def task(self) -> None:
                if self.level == 0:
                    raise ValueError("bottom")
                self.put_job(Level(self.level - 1))

        with pytest.raises(ValueError, match="bottom") as caught:
            commander.submit(Level(depth)).result(40)
        assert len(caught.value.__notes__[0]) < 5000
        assert len(errors) == 1

    def test_closing_a_deep_one(self, commander: Commander[Any]) -> None:
        depth = 10_000
        bottom = Order()

        @handler
        async def level(node: HandlerCoroutine[None], number: int) -> None:
            if number:
                node.call_handler(level(number - 1))
            else:
                bottom("there")
            await asyncio.Event().wait()

        future = commander.submit(level(depth))
        bottom.wait_for("there")
        future.cancel()
        with pytest.raises(NodeTerminatedError):
            future.result(40)
        assert commander.children == []

    def test_memory_comes_back(self) -> None:
        import gc
        import weakref

        gone: weakref.WeakSet[TaskNode[Any]] = weakref.WeakSet()

        class Leaf(Job[None]):
            @tasker
            async def task(self) -> None: ...

        with Commander() as commander:
            for _ in range(50):
                jobs = [Leaf() for _ in range(20)]
                gone.update(jobs)
                for future in [commander.submit(job) for job in jobs]:
                    future.result(10)
                del jobs, future
            commander.submit(asyncio.sleep, 0).result(10)
            gc.collect()
            assert len(gone) <= 1
