"""TaskNode: what it tells, how it takes work, how it ends, and that subclasses may do as they like."""

from __future__ import annotations

import asyncio
import concurrent.futures
import threading
from concurrent.futures import ProcessPoolExecutor, ThreadPoolExecutor
from multiprocessing import get_context
from typing import Any

import pytest

from agere.commander import (
    AttributeNotSetError,
    BasicJob,
    Callback,
    Commander,
    CommanderNotRunError,
    HandlerCoroutine,
    Job,
    JobFuture,
    NodeActiveError,
    NodeEndedError,
    NotHandlerError,
    NotJobError,
    State,
    TaskNode,
    WorkerLimitError,
    current_node,
    handler,
    tasker,
)
from tests.support.order import Gate, Order, turns


def me() -> TaskNode[Any]:
    node = current_node()
    assert node is not None
    return node


class Does(Job[Any]):
    """A job that does what it is given: ``function(self)``, async or not."""

    def __init__(self, function: Any = None) -> None:
        self.function = function

    @tasker
    async def task(self) -> Any:
        if self.function is None:
            return None
        value = self.function(self)
        return await value if asyncio.iscoroutine(value) else value


class DoesInWorker(Job[Any]):
    def __init__(self, function: Any) -> None:
        self.function = function

    @tasker
    def task(self) -> Any:
        return self.function(self)


async def forever(*_: Any) -> None:
    await asyncio.Event().wait()


def live_tree(commander: Commander[Any], depth: int = 3, width: int = 2) -> tuple[Job[Any], list[Job[Any]]]:
    """A tree of jobs whose leaves run for ever; the root and all nodes, parents before children."""
    nodes: list[Job[Any]] = []
    started = Order()

    def make(level: int) -> Job[Any]:
        async def body(job: Job[Any]) -> None:
            if level < depth:
                for _ in range(width):
                    job.put_job(make(level + 1))
            else:
                job.submit(forever)
            started(job)

        job = Does(body)
        nodes.append(job)
        return job

    root = make(1)
    commander.submit(root)
    started.wait_until(2**depth - 1)
    return root, nodes


class TestWhatItTells:
    def test_before_submission(self) -> None:
        job = Does()
        assert job.state == "PENDING"
        assert job.state is State.PENDING
        assert job.children == []
        assert job.ancestor_chain == []
        assert job.result is None
        assert job.exception is None
        assert job.data is None
        assert isinstance(job.callback, Callback)
        for name in ("parent", "commander"):
            with pytest.raises(AttributeNotSetError, match="submit"):
                getattr(job, name)
        assert not job.cancel()

    def test_bare(self) -> None:
        for cls in (TaskNode, HandlerCoroutine, Job, Commander):
            node: TaskNode[Any] = cls()
            assert node.state == "PENDING"
            assert node.name
            assert repr(node)

    def test_bare_ones_are_refused(self, commander: Commander[Any]) -> None:
        with pytest.raises(NotHandlerError):
            commander.call_handler(HandlerCoroutine())
        with pytest.raises(TypeError):
            commander.submit(TaskNode())
        with pytest.raises(CommanderNotRunError):
            TaskNode[Any]().submit(lambda: 1)
        with pytest.raises(CommanderNotRunError):
            TaskNode[Any]().deliver(lambda: 1)
        with pytest.raises(TypeError):
            commander.submit(Commander())
        with pytest.raises(TypeError):
            commander.submit(commander)

    def test_ids_are_unique(self) -> None:
        assert len({TaskNode[Any]().id for _ in range(100)}) == 100

    def test_names(self) -> None:
        @handler
        async def speak(node: HandlerCoroutine[None]) -> None: ...

        assert Does().name == "Does"
        assert BasicJob(forever, name="mine").name == "mine"
        assert speak().name == "speak"
        assert "speak" in repr(speak())
        assert str(Does().id) in repr(Does()) or "Does" in repr(Does())

    def test_life_of_a_job(self, commander: Commander[Any]) -> None:
        seen = Order()

        async def body(job: Job[Any]) -> str:
            seen(("body", job.state, job.result))
            return "value"

        job = Does(body)
        for phase in ("at_job_start", "at_job_end"):
            job.add_callback_functions(
                phase,  # type: ignore[arg-type]
                {
                    "function": lambda phase, task_node: seen((phase, task_node.state, task_node.result)),
                    "params": {"args": (phase,)},
                    "inject_task_node": True,
                },
            )
        assert commander.submit(job).result(10) == "value"
        assert seen == [
            ("at_job_start", "ACTIVE", None),
            ("body", "ACTIVE", None),
            ("at_job_end", "COMPLETED", "value"),
        ]
        assert job.state == "COMPLETED"

    def test_state_is_that_of_the_body_and_tail(self, commander: Commander[Any], errors: Any) -> None:
        def fails() -> None:
            raise ValueError("child")

        job = Does(lambda job: job.submit(fails) and None)
        future = commander.submit(job)
        assert isinstance(future.exception(10), ValueError)
        assert job.state == "COMPLETED"

    def test_family(self, commander: Commander[Any]) -> None:
        root, nodes = live_tree(commander)
        assert root.parent is commander
        assert len(root.children) == 2
        assert root not in root.children
        leaf = nodes[-1]
        chain = leaf.ancestor_chain
        assert chain[-1] is commander
        assert chain[-2] is root
        assert leaf.parent is chain[0]
        assert leaf in chain[0].children
        assert all(node.commander is commander for node in nodes)
        children = root.children
        children.clear()  # a snapshot
        assert len(root.children) == 2


class TestSubclasses:
    """Internals live elsewhere: public names are the subclass's to assign."""

    NAMES = [
        *["id", "name", "state", "parent", "children", "ancestor_chain", "commander", "data", "result", "exception"],
        "callback",
        *["submit", "put_job", "call_handler", "cancel", "close_task_node", "terminate_task_node", "exit_commander"],
        *["add_callback_functions", "add_callback", "delegate", "emit", "ask", "deliver", "kind"],
        *["_state", "_parent", "_pending", "_session", "_future", "_loop", "_task", "_body", "_id", "_children"],
        *["future", "loop", "session", "status"],
    ]

    @pytest.mark.parametrize("init", ["before", "after", "without"])
    def test_may_assign_any_public_name(self, commander: Commander[Any], init: str) -> None:
        names = self.NAMES

        class Greedy(Job[Any]):
            def __init__(self) -> None:
                if init == "before":
                    super().__init__()
                for name in names:
                    setattr(self, name, f"mine: {name}")
                if init == "after":
                    super().__init__()

            @tasker
            async def task(self) -> Any:
                return {name: getattr(self, name) for name in names}

        job = Greedy()
        end = Order()
        TaskNode.add_callback_functions(job, "at_job_end", {"function": end.plain("end")})
        future = commander.submit(job)
        kept = future.result(10)
        assert kept == {name: f"mine: {name}" for name in names}
        assert end == ["end"]
        assert repr(job)
        assert repr(future)
        assert str(commander.tree())
        # and it can be terminated, and run again
        assert commander.submit(job).result(10) == kept

    def test_a_class_attribute_too(self, commander: Commander[Any]) -> None:
        class Named(Job[str]):
            name = "class name"  # type: ignore[assignment]
            state = "class state"  # type: ignore[assignment]

            @tasker
            async def task(self) -> str:
                return f"{self.name}, {self.state}"

        assert commander.submit(Named()).result(10) == "class name, class state"

    def test_terminating_a_greedy_one(self, commander: Commander[Any]) -> None:
        class Greedy(Job[None]):
            def __init__(self) -> None:
                self.cancel = self.children = self.state = "mine"  # type: ignore[assignment]

            @tasker
            async def task(self) -> None:
                await forever()

        future = commander.submit(Greedy())
        assert future.cancel()
        concurrent.futures.wait([future], 10)
        assert future.cancelled()

    def test_multiple_inheritance_and_dataclass(self, commander: Commander[Any]) -> None:
        from dataclasses import dataclass

        class Plain:
            def __init__(self, word: str) -> None:
                self.word = word

        class Mixed(Plain, Job[str]):
            @tasker
            async def task(self) -> str:
                return self.word

        @dataclass(eq=False)
        class Data(Job[str]):
            name: str  # type: ignore[assignment]
            parent: str = "p"  # type: ignore[assignment]

            @tasker
            async def task(self) -> str:
                return self.name + self.parent

        assert commander.submit(Mixed("mixed")).result(10) == "mixed"
        assert commander.submit(Data("d")).result(10) == "dp"

    def test_with_eq_and_without_hash(self, commander: Commander[Any]) -> None:
        from dataclasses import dataclass

        @dataclass
        class Data(Job[int]):
            value: int

            @tasker
            async def task(self) -> int:
                return self.value + await self.submit(lambda: 1)

        jobs = [Data(7) for _ in range(4)]
        assert [commander.submit(job, lane="eq").result(10) for job in jobs] == [8] * 4


class TestGivingWork:
    def test_scheduled_at_the_call_and_awaiting_never_suspends(self, commander: Commander[Any]) -> None:
        order = Order()

        @handler
        async def note(node: HandlerCoroutine[None], item: str) -> None:
            order(item)

        async def body(job: Job[Any]) -> None:
            job.put_job(Does(lambda _: order("job, not awaited")))
            job.call_handler(note("handler, not awaited"))
            before = len(order)
            loop = asyncio.get_running_loop()
            loop.call_soon(order, "the loop took a turn")
            future = await job.put_job(Does(lambda _: order("job, awaited")))
            other = await job.call_handler(note("handler, awaited"))
            assert len(order) == before  # no turn of the loop passed
            assert isinstance(future, JobFuture)
            assert isinstance(other, JobFuture)

        commander.submit(Does(body)).result(10)
        assert sorted(order.items) == [
            "handler, awaited",
            "handler, not awaited",
            "job, awaited",
            "job, not awaited",
            "the loop took a turn",
        ]

    def test_from_a_worker_thread(self, commander: Commander[Any]) -> None:
        @handler
        async def double(node: HandlerCoroutine[int], value: int) -> int:
            return value * 2

        def body(job: Job[Any]) -> list[Any]:
            first = job.put_job(Does(lambda _: 1))
            second = job.call_handler(double(2))
            third = job.submit(lambda: 3)
            assert first.node.parent is job
            return [first.result(10), second.future.result(10), third.result(10)]

        assert commander.submit(DoesInWorker(body)).result(10) == [1, 4, 3]

    def test_the_parent_is_known_at_once(self) -> None:
        """Also before the loop has come to it."""
        held, gate = Gate(), Gate()

        async def hold() -> None:
            held.open()
            gate.wait()

        with Commander(stall=30) as commander:
            commander.submit(hold)
            held.wait()
            try:
                job = Does()
                commander.put_job(job)
                assert job.state == "PENDING"
                assert job.parent is commander
                assert job.ancestor_chain == [commander]
            finally:
                gate.open()

    def test_parent_and_requester(self, commander: Commander[Any]) -> None:
        async def body(job: Job[Any]) -> list[Any]:
            return [
                job.put_job(Does(), parent=commander).node.parent,
                job.put_job(Does(), requester=commander).node.parent,
                commander.put_job(Does(), requester=job).node.parent,
                commander.put_job(Does(), parent=job, requester=commander).node.parent,
                job.put_job(Does()).node.parent,
            ]

        job = Does(body)
        assert commander.submit(job).result(10) == [commander, commander, job, job, job]

    def test_wrong_kinds(self, commander: Commander[Any]) -> None:
        @handler
        async def fn(node: HandlerCoroutine[None]) -> None: ...

        async def body(job: Job[Any]) -> None:
            for wrong in (None, 1, fn, fn(), Does, lambda: 1):
                with pytest.raises(NotJobError):
                    job.put_job(wrong)  # type: ignore[arg-type]
            for wrong in (None, 1, fn, Does(), Does, lambda: 1):
                with pytest.raises(NotHandlerError):
                    job.call_handler(wrong)  # type: ignore[arg-type]

        commander.submit(Does(body)).result(10)

    def test_an_ended_or_ending_parent_refuses(self, commander: Commander[Any]) -> None:
        order = Order()

        def at_end(task_node: Job[Any]) -> None:
            with pytest.raises(NodeEndedError, match=r"parent=task_node\.commander"):
                task_node.put_job(Does())
            with pytest.raises(NodeEndedError):
                task_node.submit(lambda: 1)
            task_node.put_job(Does(lambda _: order("elsewhere")), parent=task_node.commander)
            order("refused")

        job = Does()
        job.add_callback_functions("at_job_end", {"function": at_end, "inject_task_node": True})
        commander.submit(job).result(10)
        order.wait_for("elsewhere")
        assert order == ["refused", "elsewhere"]
        with pytest.raises(NodeEndedError, match="parent"):
            job.put_job(Does())  # from another thread
        with pytest.raises(NodeEndedError, match="parent"):
            commander.submit(lambda: 1, parent=job)
        fresh = Does(lambda _: order("reused"))
        with pytest.raises(NodeEndedError):
            job.put_job(fresh)
        job.put_job(fresh, parent=commander).result(10)  # an ended node may still submit elsewhere
        assert order.items[-1] == "reused"

    def test_a_never_submitted_parent_refuses(self, commander: Commander[Any]) -> None:
        with pytest.raises(CommanderNotRunError):
            Does().put_job(Does())
        with pytest.raises(CommanderNotRunError):
            commander.submit(lambda: 1, parent=Does())

    def test_a_terminated_parent_refuses(self, commander: Commander[Any]) -> None:
        refused = Order()

        async def body(job: Job[Any]) -> None:
            try:
                await forever()
            finally:
                try:
                    job.submit(lambda: 1)
                except NodeEndedError:
                    refused("refused")

        root = Does(body)
        future = commander.submit(root)
        commander.submit(lambda: 1).result(10)
        future.cancel()
        concurrent.futures.wait([future], 10)
        assert refused.items in (["refused"], [])  # [] if it had not started

    def test_losing_the_race_moves_to_the_nearest_live_ancestor(self, commander: Commander[Any]) -> None:
        """From another thread the parent was alive at the call, and has ended when the loop comes to it."""
        gate, accepted, blocked = Gate(), Gate(), Gate()
        child = Does(lambda job: [job.parent])

        def block() -> None:  # runs on the loop after the parent's body has returned, and before that is seen
            blocked.open()
            accepted.wait()

        @handler
        async def parent_body(node: HandlerCoroutine[Any]) -> None:
            asyncio.get_running_loop().call_soon(block)

        parent = parent_body()
        grand = DoesInWorker(lambda job: (job.call_handler(parent), gate.wait()))
        future = commander.submit(grand)
        blocked.wait()
        try:
            late = parent.put_job(child)
        finally:
            accepted.open()
            gate.open()
        assert late.result(10)[0] is grand
        future.result(10)

    def test_twice(self, commander: Commander[Any]) -> None:
        gate = Gate()
        job = Does(lambda _: gate._pass())
        future = commander.submit(job)
        with pytest.raises(NodeActiveError, match="ended"):
            commander.submit(job)

        async def on_loop(outer: Job[Any]) -> None:
            for _ in range(2):
                with pytest.raises(NodeActiveError):
                    outer.put_job(job)
                with pytest.raises(NodeActiveError):
                    outer.put_job(outer)

        commander.submit(Does(on_loop), lane="another").result(10)
        gate.open()
        future.result(10)
        assert commander.submit(job).result(10) is None

    def test_from_many_threads_one_wins(self, commander: Commander[Any]) -> None:
        for _ in range(20):
            gate = Gate()
            job = Does(lambda _, gate=gate: gate._pass())
            ready = threading.Barrier(4)

            def put(job: Job[Any] = job, ready: threading.Barrier = ready) -> bool:
                ready.wait(10)
                try:
                    commander.submit(job)
                except NodeActiveError:
                    return False
                return True

            with ThreadPoolExecutor(4) as pool:
                assert sum(pool.map(lambda _, put=put: put(), range(4))) == 1
            gate.open()


class TestRunAgain:
    def test_after_completion_failure_and_termination(self, commander: Commander[Any], errors: Any) -> None:
        steps: list[Any] = []

        class Changes(Job[str]):
            @tasker
            async def task(self) -> str:
                return steps.pop(0)()

        def fail() -> str:
            raise ValueError("run 2")

        job = Changes()
        steps[:] = [lambda: "run 1", fail, lambda: "run 3"]
        assert commander.submit(job).result(10) == "run 1"
        with pytest.raises(ValueError, match="run 2"):
            commander.submit(job).result(10)
        assert (job.state, job.result) == ("EXCEPTION", None)
        assert isinstance(job.exception, ValueError)
        assert commander.submit(job).result(10) == "run 3"
        assert (job.state, job.result, job.exception) == ("COMPLETED", "run 3", None)

    def test_in_another_commander(self) -> None:
        job = Does(lambda job: job.commander.name)
        names = []
        for name in ("first", "second"):
            with Commander(name=name) as commander:
                names.append(commander.submit(job).result(10))
        assert names == ["first", "second"]

    def test_a_handler_object(self, commander: Commander[Any]) -> None:
        @handler
        async def fn(node: HandlerCoroutine[int], value: list[int]) -> int:
            value.append(0)
            return len(value)

        node = fn([])
        assert [commander.submit(node).result(10) for _ in range(3)] == [1, 2, 3]

    def test_callbacks_of_each_run(self, commander: Commander[Any]) -> None:
        order = Order()
        job = Does()
        job.add_callback_functions("at_job_end", {"function": order.plain("end")})
        for _ in range(3):
            commander.submit(job).result(10)
        assert order == ["end"] * 3


class TestClosing:
    @pytest.mark.parametrize("way", ["cancel", "close_task_node", "future"])
    def test_the_subtree_leaf_first(self, commander: Commander[Any], way: str) -> None:
        root, nodes = live_tree(commander)
        order = Order()
        for node in nodes:
            node.add_callback_functions(
                "at_terminate", {"function": lambda task_node: order(task_node), "inject_task_node": True}
            )
            node.add_callback_functions("at_job_end", {"function": order.plain("an end callback")})
        parents = {node: node.parent for node in nodes}
        future = commander.submit(lambda: 1) and None
        ended: list[Any] = []
        unsubscribe = commander.subscribe(ended.append)
        if way == "cancel":
            assert root.cancel()
        elif way == "close_task_node":
            root.close_task_node()
        else:
            future = commander.submit(forever, parent=root)
            assert root.cancel()
            concurrent.futures.wait([future], 10)
        order.wait_until(len(nodes))
        while root.children or root in commander.children:
            commander.submit(lambda: 1).result(10)
        unsubscribe()
        assert len(order) == len(set(order.items)) == len(nodes)
        for node in nodes:
            if parents[node] in nodes:
                assert order.index(node) < order.index(parents[node])
        assert all(node.state == "TERMINATED" for node in nodes)

    def test_the_rest_of_the_tree_lives(self, commander: Commander[Any]) -> None:
        root, nodes = live_tree(commander)
        first, second = root.children
        first.cancel()
        while len(root.children) == 2:
            commander.submit(lambda: 1).result(10)
        assert root.children == [second]
        assert first.state == "TERMINATED"
        assert second.state == "ACTIVE"
        alive = [node for node in nodes if node.state == "ACTIVE"]
        assert len(alive) == len(nodes) - 3

    def test_again_is_harmless(self, commander: Commander[Any]) -> None:
        root, _ = live_tree(commander)
        order = Order()
        root.add_callback_functions("at_terminate", {"function": order.plain("terminated")})
        for _ in range(5):
            root.cancel()
        while root in commander.children:
            commander.submit(lambda: 1).result(10)
        assert not root.cancel()
        assert order == ["terminated"]

    def test_from_within(self, commander: Commander[Any]) -> None:
        order = Order()

        async def body(job: Job[Any]) -> None:
            await job.close_task_node()
            order("the step went on")
            await asyncio.sleep(0)
            order("never")

        future = commander.submit(Does(body))
        concurrent.futures.wait([future], 10)
        assert future.cancelled()
        assert order == ["the step went on"]

    def test_a_body_that_takes_its_time(self, commander: Commander[Any]) -> None:
        started, order = Gate(), Order()

        async def body(job: Job[Any]) -> None:
            started.open()
            try:
                await forever()
            except asyncio.CancelledError:
                await turns(20)
                order("cleaned up")
                raise

        future = commander.submit(Does(body))
        started.wait()
        future.cancel()
        concurrent.futures.wait([future], 10)
        assert order == ["cleaned up"]

    @pytest.mark.parametrize("how", ["returns", "raises"])
    def test_a_body_that_swallows_its_cancellation(self, commander: Commander[Any], how: str, errors: Any) -> None:
        started = Gate()

        async def body(job: Job[Any]) -> str:
            started.open()
            try:
                await forever()
            except asyncio.CancelledError:
                if how == "raises":
                    raise ValueError("instead") from None
            return "instead"

        job = Does(body)
        order = Order()
        job.add_callback_functions("at_terminate", {"function": order.plain("terminated")})
        future = commander.submit(job)
        started.wait()
        future.cancel()
        concurrent.futures.wait([future], 10)
        assert future.cancelled()
        assert job.state == "TERMINATED"
        assert order == ["terminated"]
        assert len(errors) == (1 if how == "raises" else 0)  # no error is silent

    def test_a_cancellation_that_nobody_asked_for_is_a_failure(self, commander: Commander[Any], errors: Any) -> None:
        async def by_itself() -> None:
            raise asyncio.CancelledError

        async def by_a_task() -> None:
            task = asyncio.create_task(forever())
            task.cancel()
            await task

        async def own_task() -> None:
            task = asyncio.current_task()
            assert task is not None
            task.cancel()
            await asyncio.sleep(0)

        def in_worker() -> None:
            raise asyncio.CancelledError

        for body in (by_itself, by_a_task, own_task, in_worker):
            future = commander.submit(body)
            with pytest.raises(asyncio.CancelledError):
                future.result(10)
            assert not future.cancelled()
            assert future.node.state == "EXCEPTION"
        assert len(errors) == 4

    @pytest.mark.parametrize("error", [StopIteration("x"), StopAsyncIteration("x"), GeneratorExit("x"), KeyError("x")])
    @pytest.mark.parametrize("kind", ["async", "def"])
    def test_odd_exceptions(self, commander: Commander[Any], error: BaseException, kind: str, errors: Any) -> None:
        async def on_loop() -> None:
            raise error

        def in_worker() -> None:
            raise error

        future = commander.submit(on_loop if kind == "async" else in_worker)
        raised = future.exception(10)
        assert raised is error or raised.__cause__ is error
        assert future.node.state == "EXCEPTION"
        assert len(errors) == 1


class TestTerminatingOne:
    def test_its_children_move_to_the_nearest_live_ancestor(self, commander: Commander[Any]) -> None:
        root, nodes = live_tree(commander)
        first, _ = root.children
        grandchildren = first.children
        order = Order()
        for node in nodes:
            node.add_callback_functions("at_terminate", {"function": order, "params": {"args": (node,)}})
        first.terminate_task_node()
        while first in root.children:
            commander.submit(lambda: 1).result(10)
        assert first.state == "TERMINATED"
        assert order == [first]
        assert set(grandchildren) < set(root.children)
        assert all(child.parent is root and child.state == "ACTIVE" for child in grandchildren)

    def test_a_running_body(self, commander: Commander[Any]) -> None:
        started, gate, order = Gate(), Gate(), Order()

        async def child(job: Job[Any]) -> str:
            started.open()
            await gate
            order(job.parent)
            return "child"

        kept: list[Any] = []

        async def body(job: Job[Any]) -> None:
            kept.append(await job.call_handler(handler(_call)(child)))
            await forever()

        job = Does(body)
        future = commander.submit(job)
        started.wait()
        job.terminate_task_node()
        concurrent.futures.wait([future], 10)
        assert future.cancelled()
        gate.open()
        assert kept[0].result(10) == "child"
        assert order == [commander]

    def test_from_within(self, commander: Commander[Any]) -> None:
        gate = Gate()
        kept: list[Any] = []

        async def body(job: Job[Any]) -> None:
            kept.append(job.submit(gate._pass))
            await job.terminate_task_node()
            await forever()

        future = commander.submit(Does(body))
        concurrent.futures.wait([future], 10)
        assert future.cancelled()
        assert not kept[0].done()
        gate.open()
        assert kept[0].result(10) is None


async def _call(node: HandlerCoroutine[Any], fn: Any) -> Any:
    return await fn(node)


def square(number: int) -> int:
    return number * number


class TestDelegate:
    def test_a_worker_thread(self, commander: Commander[Any]) -> None:
        async def body(job: Job[Any]) -> Any:
            assert await job.delegate(square, 4) == 16
            assert await job.delegate(sorted, [2, 1], reverse=True) == [2, 1]
            with pytest.raises(ZeroDivisionError):
                await job.delegate(lambda: 1 // 0)
            return await job.delegate(lambda: (threading.current_thread().name, current_node()))

        job = Does(body)
        name, node = commander.submit(job).result(10)
        assert "worker" in name
        assert node is job

    def test_an_async_function_is_refused_or_awaited(self, commander: Commander[Any]) -> None:
        """Never a coroutine that nobody awaits."""

        async def three() -> int:
            return 3

        async def body(job: Job[Any]) -> Any:
            try:
                return [await job.delegate(three)]
            except TypeError:
                return [3]

        assert commander.submit(Does(body)).result(10) == [3]

    def test_in_a_def_body(self, commander: Commander[Any]) -> None:
        def body(job: Job[Any]) -> Any:
            with ThreadPoolExecutor(1) as pool:
                return job.delegate(square, 5), job.delegate(square, 6, executor=pool)

        assert commander.submit(DoesInWorker(body)).result(10) == (25, 36)

    def test_a_thread_pool(self, commander: Commander[Any]) -> None:
        with ThreadPoolExecutor(1, "mine") as pool:

            async def body(job: Job[Any]) -> str:
                return await job.delegate(lambda: threading.current_thread().name, executor=pool)

            assert commander.submit(Does(body)).result(10).startswith("mine")

    @pytest.mark.leaves("fds", "threads")  # the resource tracker of multiprocessing stays for the process
    def test_a_process_pool(self, commander: Commander[Any]) -> None:
        with ProcessPoolExecutor(1, mp_context=get_context("spawn")) as pool:

            async def body(job: Job[Any]) -> int:
                return await job.delegate(square, 7, executor=pool)

            assert commander.submit(Does(body)).result(30) == 49

    def test_termination_while_delegating(self, commander: Commander[Any]) -> None:
        started, gate = Gate(), Gate()

        def blocks() -> None:
            started.open()
            gate.wait()

        future = commander.submit(Does(lambda job: _await(job.delegate(blocks))))
        started.wait()
        future.cancel()
        concurrent.futures.wait([future], 10)
        assert future.cancelled()
        gate.open()

    def test_at_the_limit(self, errors: Any) -> None:
        gate = Gate()
        with Commander(max_workers=1) as commander:
            blocked = commander.submit(gate.wait)

            async def body(job: Job[Any]) -> str:
                with pytest.raises(WorkerLimitError, match="max_workers"):
                    await job.delegate(square, 1)
                with pytest.raises(WorkerLimitError):
                    await asyncio.to_thread(square, 1)
                return "told"

            assert commander.submit(Does(body)).result(10) == "told"
            with pytest.raises(WorkerLimitError):
                commander.submit(lambda: 1).result(10)
            gate.open()
            blocked.result(10)
            while True:  # the thread is free a moment after the Future resolves
                try:
                    assert commander.submit(lambda: 2).result(10) == 2
                    break
                except WorkerLimitError:
                    continue


async def _await(awaitable: Any) -> Any:
    return await awaitable


class TestStreamsOfANode:
    class Closes:
        def __init__(self, order: Order) -> None:
            self.order = order

        def close(self) -> None:
            self.order("closed")

    def test_closed_at_the_end_after_the_end_callbacks(self, commander: Commander[Any]) -> None:
        order = Order()
        job = Does(lambda job: job.attach_stream(self.Closes(order)))
        job.add_callback_functions("at_job_end", {"function": order.plain("end callback")})
        commander.submit(job).result(10)
        assert order == ["end callback", "closed"]

    def test_closed_at_termination(self, commander: Commander[Any]) -> None:
        order, started = Order(), Gate()

        async def body(job: Job[Any]) -> None:
            job.attach_stream(self.Closes(order))
            started.open()
            await forever()

        future = commander.submit(Does(body))
        started.wait()
        future.cancel()
        concurrent.futures.wait([future], 10)
        assert order == ["closed"]

    def test_attached_too_late(self, commander: Commander[Any]) -> None:
        order = Order()
        job = Does()
        commander.submit(job).result(10)
        job.attach_stream(self.Closes(order))
        assert order == ["closed"]

    def test_a_raising_close(self, commander: Commander[Any], errors: Any) -> None:
        order = Order()

        class Raises:
            def close(self) -> None:
                raise OSError("cannot")

        async def body(job: Job[Any]) -> None:
            job.attach_stream(Raises())
            job.attach_stream(self.Closes(order))

        commander.submit(Does(body)).result(10)
        assert order == ["closed"]
        assert len(errors) == 1
