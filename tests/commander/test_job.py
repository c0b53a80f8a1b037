"""Jobs and ``tasker``."""

from __future__ import annotations

import asyncio
import threading
from typing import Any

import pytest

from agere.commander import (
    PASS_WORD,
    BasicJob,
    Callback,
    Commander,
    HandlerCoroutine,
    Job,
    NodeActiveError,
    NodeTerminatedError,
    NotHandlerError,
    NotTaskerError,
    PasswordError,
    handler,
    tasker,
)
from tests.support.order import Gate, Order


class TestTasker:
    @pytest.mark.parametrize("password", ["", "wrong", PASS_WORD + " ", None, 7])
    def test_wrong_password(self, password: Any) -> None:
        with pytest.raises(PasswordError, match="PASS_WORD"):
            tasker(password)

    def test_the_password_is_the_tutorials(self) -> None:
        assert PASS_WORD == "I assure all time-consuming tasks are delegated externally."

    @pytest.mark.parametrize("decorate", [tasker, tasker(PASS_WORD)], ids=["bare", "password"])
    def test_forms(self, commander: Commander[Any], decorate: Any) -> None:
        thread = threading.current_thread

        class Async(Job[str]):
            @decorate
            async def task(self) -> str:
                return thread().name

        class Plain(Job[str]):
            @decorate
            def task(self) -> str:
                return thread().name

        class Static(Job[str]):
            @staticmethod
            @decorate
            async def task() -> str:
                return thread().name

        class StaticOutside(Job[str]):
            @decorate
            @staticmethod
            def task() -> str:
                return thread().name

        class Class(Job[str]):
            @classmethod
            @decorate
            def task(cls) -> str:
                return thread().name

        class Heir(Async): ...

        names = [commander.submit(cls()).result(10) for cls in (Async, Plain, Static, StaticOutside, Class, Heir)]
        kinds = ["loop" if name.endswith("-loop") else "worker" for name in names]
        assert kinds == ["loop", "worker", "loop", "worker", "worker", "loop"]

    def test_the_function_stays_a_function(self) -> None:
        class Mine(Job[int]):
            @tasker
            async def task(self) -> int:
                """Doc."""
                return 3

        assert Mine.task.__doc__ == "Doc."
        assert asyncio.run(Mine().task()) == 3

    def test_generators_are_refused(self) -> None:
        def generator(self: Any) -> Any:
            yield 1

        async def async_generator(self: Any) -> Any:
            yield 1

        for fn in (generator, async_generator):
            with pytest.raises(TypeError, match="generator"):
                tasker(fn)
        with pytest.raises((TypeError, PasswordError)):
            tasker(PASS_WORD)(3)  # type: ignore[type-var]

    def test_overriding_without_it(self, commander: Commander[Any]) -> None:
        class Good(Job[None]):
            @tasker
            async def task(self) -> None: ...

        class Bad(Good):
            async def task(self) -> None: ...

        class Nothing(Job[None]): ...

        class NoFunction(Job[None]):
            task = 3  # type: ignore[assignment]

        for job in (Bad(), Nothing(), NoFunction()):
            with pytest.raises(NotTaskerError, match="task"):
                commander.submit(job)
            with pytest.raises(NotTaskerError):
                commander.put_job(job)
            assert job.state == "PENDING"

    def test_a_task_assigned_to_the_object(self, commander: Commander[Any]) -> None:
        job: Job[int] = Job()

        @tasker
        async def task() -> int:
            return 12

        job.task = task  # type: ignore[method-assign]
        assert commander.submit(job).result(10) == 12

    def test_a_def_task_that_returns_a_coroutine(self, commander: Commander[Any]) -> None:
        async def later() -> str:
            return threading.current_thread().name

        class Plain(Job[Any]):
            @tasker
            def task(self) -> Any:
                return later()

        assert commander.submit(Plain()).result(10).endswith("-loop")


class TestTail:
    def test_its_value_is_the_jobs(self, commander: Commander[Any]) -> None:
        order = Order()

        @handler
        async def tail(node: HandlerCoroutine[str], word: str) -> str:
            order(node.parent)
            return word

        class Ends(Job[str]):
            @tasker
            async def task(self) -> Any:
                return tail("tail")

        class EndsPlain(Job[str]):
            @tasker
            def task(self) -> Any:
                return tail("plain")

        for cls, word in ((Ends, "tail"), (EndsPlain, "plain")):
            job: Any = cls()
            assert commander.submit(job).result(10) == word
            assert job.result == word
            assert order.items[-1] is job  # a tail is a child

    def test_a_chain_of_tails(self, commander: Commander[Any]) -> None:
        @handler
        async def tail(node: HandlerCoroutine[Any], depth: int) -> Any:
            return tail(depth - 1) if depth else "bottom"

        assert commander.submit(BasicJob(tail(2000))).result(30) == "bottom"

    def test_its_failure_is_the_jobs_reported_once(self, commander: Commander[Any], errors: Any) -> None:
        order = Order()

        @handler
        async def tail(node: HandlerCoroutine[None]) -> None:
            raise ValueError("tail")

        job = BasicJob[None](tail())
        job.add_callback_functions("at_exception", {"function": order.plain("at_exception")})
        job.add_callback_functions("at_job_end", {"function": order.plain("at_job_end")})
        future = commander.submit(job)
        with pytest.raises(ValueError, match="tail"):
            future.result(10)
        assert job.state == "EXCEPTION"
        assert isinstance(job.exception, ValueError)
        assert order == ["at_exception", "at_job_end"]
        assert len(errors) == 1

    def test_closed_alone_it_leaves_its_job_terminated(self, commander: Commander[Any]) -> None:
        started = Gate()

        @handler
        async def tail(node: HandlerCoroutine[None]) -> None:
            started.open()
            await asyncio.Event().wait()

        made = tail()
        order = Order()
        job = BasicJob[None](made)
        job.add_callback_functions("at_terminate", {"function": order.plain("at_terminate")})
        job.add_callback_functions("at_job_end", {"function": order.plain("at_job_end")})
        future = commander.submit(job)
        started.wait()
        made.cancel()
        with pytest.raises(NodeTerminatedError):
            future.result(10)
        assert job.state == "TERMINATED"
        assert order == ["at_terminate"]

    def test_one_that_runs_elsewhere(self, commander: Commander[Any], errors: Any) -> None:
        gate = Gate()

        @handler
        async def tail(node: HandlerCoroutine[None]) -> None:
            await gate

        made = tail()
        running = commander.submit(made)
        commander.submit(lambda: 1).result(10)
        with pytest.raises(NodeActiveError):
            commander.submit(BasicJob(lambda: made)).result(10)
        gate.open()
        running.result(10)

    def test_one_that_was_called_before_it_was_returned(self, commander: Commander[Any]) -> None:
        runs = Order()

        @handler
        async def tail(node: HandlerCoroutine[str]) -> str:
            runs("ran")
            return "once"

        class Both(Job[str]):
            @tasker
            async def task(self) -> Any:
                made = tail()
                self.call_handler(made)
                return made

        assert commander.submit(Both()).result(10) == "once"
        assert runs == ["ran"]

    def test_a_handlers_tail(self, commander: Commander[Any]) -> None:
        @handler
        async def inner(node: HandlerCoroutine[int]) -> int:
            return 4

        @handler
        async def outer(node: HandlerCoroutine[int]) -> Any:
            return inner()

        async def body() -> int:
            return await outer()

        assert commander.submit(outer).result(10) == 4
        assert commander.submit(body).result(10) == 4


class TestBasicJob:
    def test_of_a_handler_and_of_functions(self, commander: Commander[Any]) -> None:
        @handler
        async def fn(node: HandlerCoroutine[str], word: str) -> str:
            return word

        async def add(a: int, *, b: int) -> int:
            return a + b

        assert commander.submit(BasicJob(fn("h"))).result(10) == "h"
        assert commander.submit(BasicJob(fn, "g")).result(10) == "g"
        assert commander.submit(BasicJob(add, 1, b=2)).result(10) == 3
        assert commander.submit(BasicJob(lambda: threading.current_thread().name)).result(10).find("worker") >= 0

    def test_wrong_arguments_at_the_call(self) -> None:
        async def add(a: int) -> int:
            return a

        with pytest.raises(TypeError):
            BasicJob(add)
        with pytest.raises(TypeError):
            BasicJob(3)
        with pytest.raises(NotHandlerError):
            BasicJob(HandlerCoroutine())

    def test_callback_and_name(self, commander: Commander[Any]) -> None:
        order = Order()
        callback = Callback(at_job_end={"function": lambda task_node: order(task_node.name), "inject_task_node": True})
        commander.submit(BasicJob(lambda: None, callback=callback, name="mine")).result(10)
        assert order == ["mine"]

    def test_runs_again(self, commander: Commander[Any]) -> None:
        order = Order()
        job = BasicJob[None](order, "x")
        for _ in range(3):
            commander.submit(job).result(10)
        assert order == ["x"] * 3


def test_init_takes_a_callback_and_a_name(commander: Commander[Any]) -> None:
    order = Order()

    class Mine(Job[None]):
        @tasker
        async def task(self) -> None: ...

    job = Mine(Callback(at_job_start={"function": order.plain("start")}), name="called")
    commander.submit(job).result(10)
    assert order == ["start"]
    assert job.name == "called"
