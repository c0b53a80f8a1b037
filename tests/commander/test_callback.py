"""Callbacks: how they are described, and when, where and how they run."""

from __future__ import annotations

import asyncio
import concurrent.futures
import contextvars
import functools
import logging
import threading
from typing import Any, get_args

import pytest

from agere.commander import (
    BasicJob,
    Callback,
    CallbackDict,
    CallbackError,
    Commander,
    HandlerCoroutine,
    Job,
    TaskNode,
    current_node,
    handler,
    tasker,
)
from agere.commander.callback import PHASES, Phase
from agere.commander.events import CallbackFailed
from tests.support.order import Gate, Order, turns

WORD: contextvars.ContextVar[str] = contextvars.ContextVar("WORD", default="unset")

ALL = [
    *("at_job_start", "at_handler_start", "at_exception", "at_terminate"),
    *("at_handler_end", "at_job_end", "at_commander_end"),
]
KINDS = ["def", "async def", "callable object", "async object", "lambda of a coroutine", "partial", "method"]


def make(kind: str, fn: Any) -> Any:
    """A callback of some kind that calls ``fn`` with what it gets."""

    async def async_function(*args: Any, **kwargs: Any) -> Any:
        await asyncio.sleep(0)
        return fn(*args, **kwargs)

    class Plain:
        def __call__(self, *args: Any, **kwargs: Any) -> Any:
            return fn(*args, **kwargs)

        def method(self, *args: Any, **kwargs: Any) -> Any:
            return fn(*args, **kwargs)

    class Async:
        async def __call__(self, *args: Any, **kwargs: Any) -> Any:
            return fn(*args, **kwargs)

    return {
        "def": fn,
        "async def": async_function,
        "callable object": Plain(),
        "async object": Async(),
        "lambda of a coroutine": lambda *args, **kwargs: async_function(*args, **kwargs),
        "partial": functools.partial(async_function),
        "method": Plain().method,
    }[kind]


class Plays(Job[Any]):
    """A job that comes through a given phase."""

    def __init__(self, phase: str = "at_job_end", started: Gate | None = None) -> None:
        self.phase, self.started = phase, started

    @tasker
    async def task(self) -> str:
        if self.phase == "at_exception":
            raise ValueError("on purpose")
        if self.phase == "at_terminate":
            if self.started is not None:
                self.started.open()
            await asyncio.Event().wait()
        return "value"


@handler
async def plays(node: HandlerCoroutine[str], phase: str, started: Gate) -> str:
    if phase == "at_exception":
        raise ValueError("on purpose")
    if phase == "at_terminate":
        started.open()
        await asyncio.Event().wait()
    return "value"


def play(phase: str, *callbacks: CallbackDict) -> TaskNode[Any]:
    """Run a node through ``phase`` on a commander of its own, to the commander's end."""
    started = Gate()
    node: TaskNode[Any] = plays(phase, started) if "handler" in phase else Plays(phase, started)
    node.add_callback_functions(phase, list(callbacks))  # type: ignore[arg-type]
    with Commander() as commander:
        future = commander.submit(node)
        if phase == "at_terminate":
            started.wait()
            node.cancel()
        concurrent.futures.wait([future], 10)
        assert future.done()
    return node


class TestDescribing:
    def test_the_seven(self) -> None:
        assert sorted(PHASES) == sorted(ALL) == sorted(get_args(Phase))

    @pytest.mark.parametrize("phase", ["", "at_end", "AT_JOB_END", "at_job_end ", None, 3])
    def test_unknown_phase(self, phase: Any) -> None:
        job = Plays()
        with pytest.raises(CallbackError, match="at_job_end"):
            job.add_callback_functions(phase, {"function": print})
        with pytest.raises(CallbackError):
            Callback().add(phase, {"function": print})
        if isinstance(phase, str):
            with pytest.raises((CallbackError, TypeError)):
                Callback(**{phase: {"function": print}})
            with pytest.raises((CallbackError, TypeError)):
                Callback().update(**{phase: {"function": print}})

    @pytest.mark.parametrize(
        "info",
        [
            {},
            {"function": 3},
            {"function": None},
            {"fn": print},
            {"function": print, "inject": True},
            {"function": print, "params": [1]},
            {"function": print, "params": {"arg": 1}},
            "text",
            3,
            [3],
            ["function"],
            [{"function": print}, {}],
            print,
        ],
        ids=str,
    )
    def test_malformed(self, info: Any) -> None:
        job = Plays()
        with pytest.raises(CallbackError):
            job.add_callback_functions("at_job_end", info)
        with pytest.raises(CallbackError):
            Callback(at_job_end=info)
        assert not job.callback

    def test_add_callback_takes_a_callback(self) -> None:
        with pytest.raises(CallbackError):
            Plays().add_callback({"function": print})  # type: ignore[arg-type]
        with pytest.raises(CallbackError):
            Callback().merge({"function": print})  # type: ignore[arg-type]

    def test_update_replaces_and_merge_adds(self) -> None:
        order = Order()

        def info(word: str) -> CallbackDict:
            return {"function": order, "params": {"args": (word,)}}

        callback = Callback(at_job_start=info("old start"), at_job_end=info("old end"))
        assert callback.update(at_job_end=[info("new end"), info("new end 2")], at_exception=None) is callback
        other = Callback(at_job_end=info("other's end"), at_job_start=info("other's start"))
        assert callback.merge(other) is callback
        copied = callback.copy()
        callback.update(at_job_start=[])
        job = BasicJob(lambda: None, callback=callback)
        with Commander() as commander:
            commander.submit(job)
        assert order == ["new end", "new end 2", "other's end"]
        with Commander() as commander:
            commander.submit(BasicJob(lambda: None, callback=copied))
        assert order.items[3:5] == ["old start", "other's start"]

    def test_truth_and_repr(self) -> None:
        assert not Callback()
        assert Callback(at_job_end={"function": print})
        assert "at_job_end" in repr(Callback(at_job_end={"function": print}))

    def test_a_node_keeps_no_tie_to_the_callback_it_was_given(self) -> None:
        order = Order()
        shared = Callback(at_job_end={"function": order.plain("shared")})
        first, second = BasicJob(lambda: None, callback=shared), BasicJob(lambda: None, callback=shared)
        first.add_callback_functions("at_job_end", {"function": order.plain("first only")})
        with Commander() as commander:
            commander.submit(second).result(10)
            assert order == ["shared"]
            commander.submit(first).result(10)
        assert order == ["shared", "shared", "first only"]


class TestForms:
    @pytest.mark.parametrize("phase", ALL)
    @pytest.mark.parametrize("kind", KINDS)
    def test_each_phase_each_kind(self, phase: str, kind: str, errors: Any) -> None:
        order = Order()
        node = play(
            phase,
            {"function": make(kind, lambda *args, **kwargs: order((args, kwargs)))},
            {
                "function": make(kind, lambda *args, **kwargs: order((args, kwargs))),
                "params": {"args": (1, 2), "kwargs": {"three": 3}},
                "inject_task_node": True,
            },
            {"function": make(kind, lambda *args, **kwargs: order((args, kwargs))), "params": {"args": [4]}},
            {"function": make(kind, lambda **kwargs: order(kwargs)), "inject_task_node": True},
        )
        assert order == [
            ((), {}),
            ((1, 2), {"three": 3, "task_node": node}),
            ((4,), {}),
            {"task_node": node},
        ]

    def test_a_single_dict_or_a_list_and_again(self) -> None:
        order = Order()
        job = Plays()
        job.add_callback_functions("at_job_end", {"function": order.plain(1)})
        job.add_callback_functions(which="at_job_end", functions_info=[{"function": order.plain(2)}])
        job.add_callback_functions("at_job_end", ({"function": order.plain(n)} for n in (3, 4)))
        job.add_callback(Callback(at_job_end={"function": order.later(5)}))
        job.callback.add("at_job_end", {"function": order.plain(6)})
        job.add_callback_functions("at_job_end", [])
        with Commander() as commander:
            commander.submit(job)
        assert order == [1, 2, 3, 4, 5, 6]


class TestPhases:
    def run(self, node: TaskNode[Any], terminate: Gate | None = None) -> Order:
        """Record every phase that a node comes through."""
        order = Order()
        for phase in ALL:
            node.add_callback_functions(
                phase,  # type: ignore[arg-type]
                {
                    "function": lambda phase, task_node: order((phase, task_node.state, task_node.result)),
                    "params": {"args": (phase,)},
                    "inject_task_node": True,
                },
            )
        with Commander() as commander:
            future = commander.submit(node)
            if terminate is not None:
                terminate.wait()
                node.cancel()
            concurrent.futures.wait([future], 10)
        return order

    def test_of_a_job(self) -> None:
        assert self.run(Plays()) == [
            ("at_job_start", "ACTIVE", None),
            ("at_job_end", "COMPLETED", "value"),
            ("at_commander_end", "COMPLETED", "value"),
        ]

    def test_of_a_handler(self) -> None:
        assert self.run(plays("", Gate())) == [
            ("at_handler_start", "ACTIVE", None),
            ("at_handler_end", "COMPLETED", "value"),
            ("at_commander_end", "COMPLETED", "value"),
        ]

    def test_of_a_function_in_a_worker(self) -> None:
        @handler
        def fn(node: HandlerCoroutine[str]) -> str:
            return "value"

        assert [item[0] for item in self.run(fn()).items] == ["at_handler_start", "at_handler_end", "at_commander_end"]

    @pytest.mark.parametrize("which", ["job", "handler"])
    def test_of_a_failure(self, which: str, errors: Any) -> None:
        node: TaskNode[Any] = Plays("at_exception") if which == "job" else plays("at_exception", Gate())
        order = self.run(node)
        assert [item[0] for item in order.items] == [
            f"at_{which}_start",
            "at_exception",
            f"at_{which}_end",  # also after a failure
            "at_commander_end",
        ]
        assert order.items[2][1] == "EXCEPTION"
        assert isinstance(node.exception, ValueError)

    @pytest.mark.parametrize("which", ["job", "handler"])
    def test_of_a_termination(self, which: str) -> None:
        gate = Gate()
        node: TaskNode[Any] = Plays("at_terminate", gate) if which == "job" else plays("at_terminate", gate)
        assert [item[:2] for item in self.run(node, gate).items] == [
            (f"at_{which}_start", "ACTIVE"),
            ("at_terminate", "TERMINATED"),  # instead of the end callbacks
            ("at_commander_end", "TERMINATED"),
        ]

    def test_the_exception_is_there_in_at_exception(self, errors: Any) -> None:
        order = Order()
        play(
            "at_exception",
            {"function": lambda task_node: order(repr(task_node.exception)), "inject_task_node": True},
        )
        assert order == ["ValueError('on purpose')"]

    def test_end_waits_for_all_descendants(self, commander: Commander[Any]) -> None:
        gate, order = Gate(), Order()

        async def child() -> None:
            await gate
            order("child")

        async def body() -> None:
            node = current_node()
            assert node is not None
            node.submit(lambda: node.submit(child))

        job = BasicJob(body)
        job.add_callback_functions("at_job_end", {"function": order.plain("end")})
        future = commander.submit(job)
        gate.open()
        future.result(10)
        assert order == ["child", "end"]

    def test_the_future_resolves_after_them(self, commander: Commander[Any]) -> None:
        order, in_end, gate = Order(), Gate(), Gate()

        async def at_end() -> None:
            in_end.open()
            await gate
            order("end")

        job = Plays()
        job.add_callback_functions("at_job_end", {"function": at_end})
        future = commander.submit(job)
        future.add_done_callback(order.plain("future"))
        in_end.wait()
        assert not future.done()
        gate.open()
        order.wait_for("future")
        assert order == ["end", "future"]

    def test_the_parent_completes_after_them(self, commander: Commander[Any]) -> None:
        order = Order()

        async def body() -> None:
            node = current_node()
            assert node is not None
            child = Plays()
            child.add_callback_functions("at_job_end", {"function": order.later("child's")})
            node.put_job(child)

        job = BasicJob(body)
        job.add_callback_functions("at_job_end", {"function": order.plain("parent's")})
        commander.submit(job).result(10)
        assert order == ["child's", "parent's"]

    def test_the_outcome_is_frozen_before_them(self, commander: Commander[Any]) -> None:
        """What an end callback does changes no outcome any more."""
        order = Order()

        def at_end(task_node: Job[Any]) -> None:
            order((task_node.state, task_node.result, task_node.exception, task_node.children))
            order(task_node.cancel())
            raise KeyError("late")

        logging.getLogger("agere.node").disabled = True
        try:
            job = Plays()
            job.add_callback_functions("at_job_end", {"function": at_end, "inject_task_node": True})
            assert commander.submit(job).result(10) == "value"
        finally:
            logging.getLogger("agere.node").disabled = False
        assert job.state == "COMPLETED"
        assert order == [("COMPLETED", "value", None, []), False]

    def test_start_is_awaited_before_the_body(self, commander: Commander[Any]) -> None:
        order = Order()
        for work in (BasicJob(order, "body"), BasicJob(_note_async, order)):
            order.items.clear()
            node: Any = work
            node.add_callback_functions("at_job_start", {"function": order.later("start")})
            commander.submit(node).result(10)
        assert order == ["start", "body", "start", "body"]

    def test_termination_during_a_start_callback(self, commander: Commander[Any]) -> None:
        order, started = Order(), Gate()

        async def at_start() -> None:
            started.open()
            await asyncio.Event().wait()

        for job in (BasicJob(order, "body"), BasicJob(_note_async, order), _Worker(order)):
            job.add_callback_functions("at_job_start", {"function": at_start})
            job.add_callback_functions("at_terminate", {"function": order.plain("terminated")})
            future = commander.submit(job)
            started.wait()
            job.cancel()
            concurrent.futures.wait([future], 10)
            assert future.cancelled()
        assert order == ["terminated"] * 3

    def test_at_exception_may_retry_below_the_node(self, commander: Commander[Any], errors: Any) -> None:
        order = Order()

        def retry(task_node: Job[Any]) -> None:
            task_node.put_job(BasicJob(order, "again"))

        job = Plays("at_exception")
        job.add_callback_functions("at_exception", {"function": retry, "inject_task_node": True})
        job.add_callback_functions("at_job_end", {"function": order.plain("end")})
        with pytest.raises(ValueError, match="on purpose"):
            commander.submit(job).result(10)
        assert order == ["again", "end"]

    def test_at_commander_end_runs_last_and_once(self, commander: Commander[Any]) -> None:
        order = Order()
        job = Plays()
        job.add_callback_functions("at_commander_end", {"function": order.plain("node's")})
        commander.add_callback_functions("at_commander_end", {"function": order.later("commander's")})
        for _ in range(3):
            commander.submit(job).result(10)
        endless = Plays("at_terminate", started := Gate())
        endless.add_callback_functions("at_terminate", {"function": order.plain("terminated")})
        commander.submit(endless)
        started.wait()
        commander.exit()
        assert order == ["terminated", "node's", "commander's"]

    def test_at_commander_end_added_while_it_runs(self, commander: Commander[Any]) -> None:
        order = Order()

        async def body() -> None:
            node = current_node()
            assert node is not None
            node.add_callback_functions("at_commander_end", {"function": order.plain("added")})

        commander.submit(body).result(10)
        commander.exit()
        assert order == ["added"]


async def _note_async(order: Order) -> None:
    order("body")


class _Worker(Job[None]):
    def __init__(self, order: Order) -> None:
        self.order = order

    @tasker
    def task(self) -> None:
        self.order("body")


class TestWhereTheyRun:
    @pytest.mark.parametrize("phase", ALL)
    @pytest.mark.parametrize("kind", ["def", "async def"])
    def test_on_the_loop_in_the_nodes_context(self, phase: str, kind: str, errors: Any) -> None:
        order = Order()

        def look() -> None:
            order((threading.current_thread().name.endswith("-loop"), WORD.get(), current_node()))

        token = WORD.set("submitter's")
        try:
            node = play(phase, {"function": make(kind, look)})
        finally:
            WORD.reset(token)
        assert order == [(True, "submitter's", node)]

    def test_no_task_where_none_is_async(self, commander: Commander[Any]) -> None:
        order = Order()

        def look() -> None:
            order(len(asyncio.all_tasks(asyncio.get_running_loop())))

        async def body() -> None:
            order(len(asyncio.all_tasks()))

        job = BasicJob(body)
        for phase in ("at_job_start", "at_job_end"):
            job.add_callback_functions(phase, [{"function": look}] * 3)  # type: ignore[arg-type]
        commander.submit(job).result(10)
        assert max(order.items) <= 1

    def test_on_host(self) -> None:
        order = Order()
        info: CallbackDict = {
            "function": lambda task_node: order((threading.current_thread(), task_node.state)),
            "inject_task_node": True,
            "on_host": True,
        }
        job = Plays()
        job.add_callback_functions("at_job_start", info)
        job.add_callback_functions("at_job_end", [info, {"function": order.plain("after it")}])
        Commander[None]().run(job, auto_exit=True)
        main = threading.main_thread()
        assert order == [(main, "ACTIVE"), (main, "COMPLETED"), "after it"]

    def test_a_raising_one_on_host(self, errors: Any) -> None:
        def fails() -> None:
            raise ValueError("on the host")

        order = Order()
        job = Plays()
        job.add_callback_functions("at_job_end", [{"function": fails, "on_host": True}, {"function": order.plain(1)}])
        Commander[None]().run(job, auto_exit=True)
        assert order == [1]
        assert len(errors) == 1


class TestRaising:
    @pytest.mark.parametrize("phase", ALL)
    @pytest.mark.parametrize("kind", ["def", "async def", "lambda of a coroutine"])
    @pytest.mark.parametrize("place", [0, 1, 2], ids=["first", "middle", "last"])
    def test_is_logged_with_phase_and_node_and_everything_else_goes_on(
        self, phase: str, kind: str, place: int, errors: Any
    ) -> None:
        order = Order()

        def fails() -> None:
            raise KeyError("callback")

        infos: list[CallbackDict] = [{"function": order.plain(n)} for n in range(2)]
        infos.insert(place, {"function": make(kind, fails)})
        node = play(phase, *infos)
        assert order == [0, 1]
        told = [record for record in errors.records if record.exc_info and isinstance(record.exc_info[1], KeyError)]
        (record,) = told
        assert phase in record.getMessage()
        assert node.name in record.getMessage()
        assert record.name == "agere.node"
        assert len(errors) == (2 if phase == "at_exception" else 1)
        expected = {"at_exception": "EXCEPTION", "at_terminate": "TERMINATED"}.get(phase, "COMPLETED")
        assert node.state == expected

    @pytest.mark.parametrize(
        "error",
        [StopIteration("x"), StopAsyncIteration("x"), asyncio.CancelledError("x"), BaseException("x")],
        ids=lambda error: type(error).__name__,
    )
    @pytest.mark.parametrize("kind", ["def", "async def"])
    def test_odd_ones(self, commander: Commander[Any], error: BaseException, kind: str, errors: Any) -> None:
        def fails() -> None:
            raise error

        order = Order()
        job = Plays()
        for phase in ("at_job_start", "at_job_end"):
            job.add_callback_functions(phase, [{"function": make(kind, fails)}, {"function": order.plain(phase)}])  # type: ignore[arg-type]
        assert commander.submit(job).result(10) == "value"
        assert order == ["at_job_start", "at_job_end"]
        assert len(errors) == 2

    def test_wrong_arguments(self, commander: Commander[Any], errors: Any) -> None:
        job = Plays()
        job.add_callback_functions("at_job_end", {"function": lambda: None, "inject_task_node": True})
        assert commander.submit(job).result(10) == "value"
        assert isinstance(errors.exceptions[0], TypeError)

    def test_is_an_event(self, commander: Commander[Any], errors: Any) -> None:
        def fails() -> None:
            raise KeyError("callback")

        seen = Order()
        commander.subscribe(lambda event: seen(event) if isinstance(event, CallbackFailed) else None)
        job = Plays()
        job.add_callback_functions("at_job_end", {"function": fails})
        commander.submit(job).result(10)
        seen.wait_until(1)
        event = seen.items[0]
        assert (event.node, event.phase) == (job, "at_job_end")
        assert isinstance(event.exception, KeyError)

    def test_cancelling_its_own_task(self, commander: Commander[Any], errors: Any) -> None:
        async def fails() -> None:
            task = asyncio.current_task()
            assert task is not None
            task.cancel()
            await asyncio.sleep(0)

        order = Order()
        job = Plays()
        job.add_callback_functions("at_job_end", [{"function": fails}, {"function": order.plain("next")}])
        future = commander.submit(job)
        assert future.result(10) == "value"

    def test_a_generator_function_is_no_async_callback(self, commander: Commander[Any]) -> None:
        def generator() -> Any:
            yield 1

        job = Plays()
        job.add_callback_functions("at_job_end", {"function": generator})
        assert commander.submit(job).result(10) == "value"


class TestWhatTheyDo:
    @pytest.mark.parametrize("phase", ["at_job_end", "at_terminate", "at_exception", "at_job_start"])
    @pytest.mark.parametrize("kind", ["def", "async def"])
    def test_submit_elsewhere(self, phase: str, kind: str, errors: Any) -> None:
        order = Order()

        def submit(task_node: Job[Any]) -> None:
            task_node.put_job(job=BasicJob(order, "next"), parent=task_node.commander)

        play(phase, {"function": make(kind, submit), "inject_task_node": True})
        assert order == ["next"]

    def test_a_cycle_of_turns(self) -> None:
        """The tutorial's loop: each turn's end starts the next one."""
        order = Order()

        class Turn(Job[None]):
            def __init__(self, number: int) -> None:
                self.number = number
                super().__init__()

            @tasker
            async def task(self) -> None:
                order(self.number)
                self.add_callback_functions(
                    which="at_job_end", functions_info={"function": self.again, "inject_task_node": True}
                )

            async def again(self, task_node: Turn) -> None:
                if self.number == 300:
                    await self.exit_commander(return_result="QUIT")
                    return
                await task_node.put_job(job=Turn(self.number + 1), parent=task_node.commander)

        assert Commander[str]().run(Turn(1)) == "QUIT"
        assert order == list(range(1, 301))

    @pytest.mark.parametrize("phase", ALL)
    @pytest.mark.parametrize("kind", ["def", "async def"])
    def test_exit(self, phase: str, kind: str, errors: Any) -> None:
        order = Order()
        node: TaskNode[Any] | None = None

        def leave(task_node: TaskNode[Any]) -> None:
            task_node.exit_commander("from a callback")
            order("left")

        commander: Commander[str] = Commander()
        started = Gate()
        node = plays(phase, started) if "handler" in phase else Plays(phase, started)
        node.add_callback_functions(
            phase,  # type: ignore[arg-type]
            [{"function": make(kind, leave), "inject_task_node": True}, {"function": order.later("the next callback")}],
        )
        commander.start()
        future = commander.submit(node)
        if phase == "at_terminate":
            started.wait()
            node.cancel()
        if phase == "at_commander_end":
            future.result(10)
            commander.exit("first")
        assert commander.wait_for_exit(10) == ("first" if phase == "at_commander_end" else "from a callback")
        assert order.items[0] == "left"
        assert future.done()

    def test_terminate_another(self, commander: Commander[Any]) -> None:
        started = Gate()
        victim = Plays("at_terminate", started)
        future = commander.submit(victim, lane="its own")
        started.wait()
        job = BasicJob(lambda: None)
        job.add_callback_functions("at_job_end", {"function": victim.close_task_node})
        commander.submit(job).result(10)
        concurrent.futures.wait([future], 10)
        assert future.cancelled()

    def test_terminate_itself_at_start(self, commander: Commander[Any]) -> None:
        order = Order()
        for kind in ("def", "async def"):
            job = BasicJob(order, "body")
            job.add_callback_functions(
                "at_job_start", {"function": make(kind, lambda task_node: task_node.cancel()), "inject_task_node": True}
            )
            job.add_callback_functions("at_terminate", {"function": order.plain("terminated")})
            future = commander.submit(job)
            concurrent.futures.wait([future], 10)
            assert future.cancelled()
        assert order == ["terminated"] * 2

    def test_add_callbacks_to_the_running_phase(self, commander: Commander[Any]) -> None:
        order = Order()

        def adds(task_node: Job[Any]) -> None:
            order("first")
            task_node.add_callback_functions("at_job_end", {"function": order.plain("added")})

        job = Plays()
        job.add_callback_functions("at_job_end", {"function": adds, "inject_task_node": True})
        commander.submit(job).result(10)
        assert order.items[0] == "first"
        commander.submit(job).result(10)
        assert order.count("added") >= 1

    def test_awaiting_a_future_in_one(self, commander: Commander[Any]) -> None:
        order = Order()

        async def at_end(task_node: Job[Any]) -> None:
            order(await task_node.submit(lambda: "worker", parent=task_node.commander))
            await turns()

        job = Plays()
        job.add_callback_functions("at_job_end", {"function": at_end, "inject_task_node": True})
        commander.submit(job).result(10)
        assert order == ["worker"]
