"""Questions to the person: asked by nodes, answered by the host or by anybody."""

from __future__ import annotations

import asyncio
import builtins
import concurrent.futures
import threading
from typing import Any

import pytest

from agere.commander import (
    BasicJob,
    Commander,
    Host,
    HostGoneError,
    NobodyAnswersError,
    Question,
    TaskNode,
    current_node,
)
from agere.hosts import ScriptedHost
from tests.support.order import Gate, Order, Thread


def me() -> TaskNode[Any]:
    node = current_node()
    assert node is not None
    return node


class Patient(Host):
    """Takes questions, and leaves them to others; runs deliveries at once on a thread of its own."""

    def __init__(self) -> None:
        self.asked = Order()

    def post(self, call: Any) -> None:
        Thread(call).outcome()

    def ask(self, question: Question) -> None:
        self.asked(question)

    def answers(self) -> bool:
        return True

    def pump(self) -> None:
        return None


class Gone(Patient):
    """Its window is closed."""

    def post(self, call: Any) -> None:
        raise HostGoneError("the window is closed")

    def ask(self, question: Question) -> None:
        raise HostGoneError("the window is closed")


async def asks_on_loop(prompt: str = "q? ") -> str:
    return await me().ask(prompt)


def asks_in_worker(prompt: str = "q? ") -> str:
    return me().ask(prompt)  # type: ignore[no-any-return]


async def inputs_on_loop(prompt: str = "q? ") -> str:
    return input(prompt)


def inputs_in_worker(prompt: str = "q? ") -> str:
    return input(prompt)


WAYS = [asks_on_loop, asks_in_worker, inputs_on_loop, inputs_in_worker]


@pytest.mark.parametrize("way", WAYS)
class TestEveryWay:
    def test_answered_by_the_host(self, way: Any) -> None:
        host = ScriptedHost(["yes", "no"])
        with Commander(host=host) as commander:
            assert commander.submit(way, "first? ").result(10) == "yes"
            assert commander.submit(way, "second? ").result(10) == "no"
        assert host.asked == ["first? ", "second? "]

    def test_the_hosts_errors_are_the_answer(self, way: Any, errors: Any) -> None:
        with Commander(host=ScriptedHost([EOFError("closed")])) as commander:
            with pytest.raises(EOFError, match="closed"):
                commander.submit(way).result(10)
            with pytest.raises(EOFError):  # used up
                commander.submit(way).result(10)

    def test_answered_from_anywhere(self, way: Any) -> None:
        host = Patient()
        with Commander(host=host) as commander:
            future = commander.submit(way, "anybody? ")
            host.asked.wait_until(1)
            (question,) = commander.questions
            assert question.prompt == "anybody? "
            assert question.node is future.node
            assert question.open
            assert question.asked_at > 0
            assert "anybody" in repr(question)
            assert question.answer("me")
            assert not question.answer("again")
            assert not question.open
            assert future.result(10) == "me"
            assert commander.questions == ()

    def test_a_host_that_is_gone(self, way: Any, errors: Any) -> None:
        with Commander(host=Gone()) as commander:
            with pytest.raises(HostGoneError, match="window"):
                commander.submit(way).result(10)
            assert commander.questions == ()

    def test_exit_withdraws_it(self, way: Any) -> None:
        host = Patient()
        commander: Commander[Any] = Commander(host=host).start()
        future = commander.submit(way)
        host.asked.wait_until(1)
        question = commander.questions[0]
        commander.exit()
        assert future.cancelled()
        assert future.node.state == "TERMINATED"
        assert not question.answer("too late")

    def test_termination_withdraws_it(self, way: Any) -> None:
        if way is inputs_on_loop:
            pytest.skip("it holds the loop: nothing can be terminated until it is answered")
        host = Patient()
        with Commander(host=host) as commander:
            future = commander.submit(way)
            host.asked.wait_until(1)
            future.cancel()
            concurrent.futures.wait([future], 10)
            assert future.cancelled()
            assert commander.questions == ()


class TestAsking:
    def test_several_stand_in_order(self) -> None:
        host = Patient()
        with Commander(host=host) as commander:
            futures = []
            for number in range(3):
                futures.append(commander.submit(asks_on_loop, f"{number}? "))
                host.asked.wait_until(number + 1)
            assert [question.prompt for question in commander.questions] == ["0? ", "1? ", "2? "]
            for number in (2, 0, 1):
                next(q for q in commander.questions if q.prompt == f"{number}? ").answer(str(number))
                assert futures[number].result(10) == str(number)

    def test_the_loop_goes_on_meanwhile(self) -> None:
        host = Patient()
        with Commander(host=host) as commander:
            future = commander.submit(asks_on_loop)
            host.asked.wait_until(1)
            assert commander.submit(asyncio.sleep, 0, 5).result(10) == 5
            commander.questions[0].answer("")
            assert future.result(10) == ""

    def test_failing_it(self, errors: Any) -> None:
        host = Patient()
        with Commander(host=host) as commander:
            future = commander.submit(asks_on_loop)
            host.asked.wait_until(1)
            question = commander.questions[0]
            assert question.fail(PermissionError("no"))
            assert not question.fail(PermissionError("no"))
            with pytest.raises(PermissionError):
                future.result(10)

    def test_an_answer_is_text(self) -> None:
        question = Question("q", None)
        with pytest.raises(TypeError):
            question.answer(3)  # type: ignore[arg-type]
        assert question.answer("3")

    def test_without_a_prompt(self) -> None:
        async def body() -> str:
            return await me().ask()

        with Commander(host=ScriptedHost(["x"])) as commander:
            assert commander.submit(body).result(10) == "x"


class TestInput:
    def test_is_routed_on_ageres_own_threads_alone_and_restored(self) -> None:
        before = builtins.input
        with Commander(host=ScriptedHost(["a", "b"])) as commander:
            assert builtins.input is not before
            with Commander(host=ScriptedHost(["inner"])) as other:
                assert other.submit(input, "q").result(10) == "inner"
                assert commander.submit(input, "q").result(10) == "a"
            assert builtins.input is not before
            assert commander.submit(asyncio.to_thread, input, "q").result(10) == "b"
        assert builtins.input is before

    def test_elsewhere_it_stays_what_it_was(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(builtins, "input", lambda prompt="": f"original {prompt}")
        with Commander(host=ScriptedHost()):
            assert input("main") == "original main"
            assert Thread(input, "thread").outcome() == "original thread"
        assert input("after") == "original after"

    def test_somebody_elses_replacement_is_left_alone(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """Who replaces input() while a commander runs keeps the replacement."""
        before = builtins.input
        commander: Commander[Any] = Commander(host=ScriptedHost()).start()
        mine = lambda prompt="": "mine"  # noqa: E731
        builtins.input = mine
        try:
            commander.exit()
            assert builtins.input is mine
        finally:
            builtins.input = before

    def test_with_nobody_pumping_it_raises_and_names_ask(self, errors: Any) -> None:
        with Commander() as commander:
            future = commander.submit(inputs_in_worker)
            done = Gate()
            future.add_done_callback(done.open)
            done.wait()  # the main thread waits elsewhere: it serves nobody
            with pytest.raises(NobodyAnswersError, match="ask"):
                future.result(10)

    def test_as_a_callback_of_the_tutorial(self) -> None:
        order = Order()

        async def callback(task_node: TaskNode[Any]) -> None:
            order(input("YOU: "))

        job = BasicJob(lambda: None)
        job.add_callback_functions("at_job_end", {"function": callback, "inject_task_node": True})
        with Commander(host=ScriptedHost(["typed"])) as commander:
            commander.submit(job)
        assert order == ["typed"]

    def test_no_stall_is_reported_while_it_waits(self, caplog: pytest.LogCaptureFixture) -> None:
        host = Patient()
        with Commander(host=host, stall=0.02) as commander:
            future = commander.submit(inputs_on_loop)
            host.asked.wait_until(1)
            threading.Event().wait(0.2)
            commander.questions[0].answer("x")
            assert future.result(10) == "x"
        assert not [record for record in caplog.records if "blocked the event loop" in record.getMessage()]


class TestDeliver:
    def test_on_the_hosts_thread_in_order_without_waiting(self) -> None:
        order = Order()
        gate = Gate()

        async def body() -> None:
            futures = [me().deliver(lambda n=n: order((n, threading.current_thread()))) for n in range(5)]
            assert not any(future.done() for future in futures)
            gate.open()
            for future in futures:
                await asyncio.wrap_future(future)

        with Commander() as commander:
            future = commander.submit(body)
            gate.wait()
            future.result(10)
        assert order == [(number, threading.main_thread()) for number in range(5)]

    def test_value_and_failure(self, errors: Any) -> None:
        def fails() -> None:
            raise KeyError("host")

        def body() -> Any:
            first, second = me().deliver(sorted, [2, 1], reverse=True), me().deliver(fails)
            with pytest.raises(KeyError):
                second.result(10)
            return first.result(10)

        with Commander() as commander:
            assert commander.submit(body).result(10) == [2, 1]

    def test_those_of_a_terminated_node_are_dropped(self) -> None:
        order = Order()
        kept: list[Any] = []

        async def body() -> None:
            kept.append(me().deliver(order, "never"))
            kept.append(me())
            await asyncio.Event().wait()

        with Commander() as commander:
            future = commander.submit(body)
            delivered = Gate()
            commander.submit(lambda: None).add_done_callback(delivered.open)
            delivered.wait()
            while len(kept) < 2:
                pass
            future.cancel()
            while future.node.state != "TERMINATED":
                pass
            while not future.done():  # nothing pumps
                pass
            commander.submit(lambda: me().deliver(lambda: None).result(10)).result(10)  # this does
            assert kept[0].cancelled()
        assert order == []

    def test_the_current_node_is_known_there(self) -> None:
        def body() -> Any:
            return me().deliver(lambda: [current_node()]).result(10)

        with Commander() as commander:
            future = commander.submit(body)
            assert future.result(10) == [future.node]
        assert current_node() is None

    def test_exit_pumps(self) -> None:
        order, started = Order(), Gate()

        async def body() -> None:
            started.open()
            await asyncio.Event().wait()

        job = BasicJob(body)
        job.add_callback_functions(
            "at_terminate", {"function": lambda: order(threading.current_thread()), "on_host": True}
        )
        commander: Commander[Any] = Commander().start()
        commander.submit(job)
        started.wait()
        commander.exit()
        assert order == [threading.main_thread()]

    def test_a_host_that_is_gone(self, errors: Any) -> None:
        with Commander(host=Gone()) as commander, pytest.raises(HostGoneError):
            commander.submit(lambda: me().deliver(print)).result(10)

    def test_in_the_callers_context(self) -> None:
        import contextvars

        word: contextvars.ContextVar[str] = contextvars.ContextVar("word", default="unset")

        def body() -> Any:
            word.set("body's")
            return me().deliver(word.get).result(10)

        with Commander() as commander:
            assert commander.submit(body).result(10) == "body's"
