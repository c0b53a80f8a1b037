"""The Commander: its life, its answers, and what it refuses."""

from __future__ import annotations

import asyncio
import contextlib
import gc
import logging
import threading
import weakref
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

import agere
from agere.commander import (
    PASS_WORD,
    BasicJob,
    BlockingCallError,
    Commander,
    CommanderAlreadyRunningError,
    CommanderAsync,
    CommanderNotRunError,
    HandlerCoroutine,
    Job,
    NodeActiveError,
    NodeTerminatedError,
    NotHandlerError,
    NotJobError,
    NotTaskerError,
    State,
    current_node,
    handler,
    tasker,
)
from tests.support.order import Gate, Order, Thread


class Exits(Job[None]):
    def __init__(self, result: Any = None) -> None:
        self.answer = result

    @tasker(PASS_WORD)
    async def task(self) -> None:
        await self.exit_commander(return_result=self.answer)


class Notes(Job[str]):
    def __init__(self, order: Order, item: Any, then: Any = None) -> None:
        self.order, self.item, self.then = order, item, then

    @tasker(PASS_WORD)
    async def task(self) -> str:
        self.order(self.item)
        if self.then is not None:
            raise self.then
        return f"<{self.item}>"


class NoTasker(Job[None]):
    async def task(self) -> None: ...


class Forever(Job[None]):
    def __init__(self, started: Gate) -> None:
        self.started = started

    @tasker
    async def task(self) -> None:
        self.started.open()
        await asyncio.Event().wait()


def nothing() -> None: ...


class TestStartAndExit:
    def test_async_name_is_the_same_class(self) -> None:
        assert CommanderAsync is Commander is agere.Commander

    def test_life(self) -> None:
        commander: Commander[str] = Commander(name="boss")
        assert not commander.running_status
        assert commander.state == "PENDING"
        assert commander.is_empty()
        assert commander.start() is commander
        assert commander.running_status
        assert commander.state == "ACTIVE"
        assert commander.name == "boss"
        assert commander.parent is None
        assert commander.commander is commander
        assert commander.ancestor_chain == []
        commander.exit("done")
        assert not commander.running_status
        assert commander.wait_for_exit() == "done"
        assert commander.state == "COMPLETED"

    def test_start_twice(self, commander: Commander[Any]) -> None:
        with pytest.raises(CommanderAlreadyRunningError):
            commander.start()
        with pytest.raises(CommanderAlreadyRunningError):
            commander.run(Exits())

    def test_exit_is_idempotent_and_the_first_result_counts(self) -> None:
        commander: Commander[int] = Commander().start()
        commander.exit(1)
        commander.exit(2)
        assert commander.wait_for_exit() == 1
        Commander().exit()  # never started: nothing to do

    def test_exit_from_many_threads(self) -> None:
        commander: Commander[int] = Commander().start()
        with ThreadPoolExecutor(8) as pool:
            list(pool.map(commander.exit, range(32)))
        assert not commander.running_status
        assert commander.wait_for_exit() in range(32)

    def test_exit_without_waiting(self) -> None:
        commander: Commander[int] = Commander().start()
        gate = Gate()
        commander.submit(gate._pass)
        commander.exit(5, wait=False)
        assert commander.wait_for_exit() == 5

    def test_exit_terminates_what_runs(self) -> None:
        commander: Commander[None] = Commander().start()
        started = Gate()
        job = Forever(started)
        future = commander.submit(job)
        started.wait()
        commander.exit()
        assert future.cancelled()
        assert job.state == "TERMINATED"

    @pytest.mark.parametrize("form", ["async", "def", "callback", "handler", "from_to_thread"])
    def test_exit_from_within_lets_the_caller_finish_its_step(self, form: str) -> None:
        commander: Commander[str] = Commander()
        order = Order()

        @handler
        async def asks(node: HandlerCoroutine[None]) -> None:
            commander.exit("out")
            order("after exit")

        def in_worker() -> None:
            commander.exit("out")
            order("after exit")

        async def in_body() -> None:
            commander.exit("out")
            order("after exit")

        async def by_thread() -> None:
            await asyncio.to_thread(in_worker)

        work: Any = {"async": in_body, "def": in_worker, "handler": asks, "from_to_thread": by_thread}.get(form)
        if form == "callback":
            work = Notes(order, "body")
            work.add_callback_functions("at_job_end", {"function": in_worker})
        elif form == "handler":
            work = asks()
        states = []
        unsubscribe = commander.subscribe(lambda event: states.append(getattr(event, "state", None)))
        assert commander.run(work) == "out"
        commander.__agere_listeners__.flush(5)
        unsubscribe()
        order.wait_for("after exit")
        if form != "from_to_thread":  # there it is the thread that asks: the body is no longer in a step
            assert State.COMPLETED in states
            assert State.TERMINATED not in states

    def test_start_again(self) -> None:
        commander: Commander[int] = Commander()
        for number in range(3):
            with commander:
                assert commander.submit(lambda: threading.get_ident()).result() > number
        with pytest.raises(CommanderNotRunError):
            commander.submit(nothing)


class TestRun:
    def test_gives_the_result_of_the_exit(self) -> None:
        assert Commander[str]().run(Exits("QUIT")) == "QUIT"

    def test_again_after_exit_without_a_stale_result(self) -> None:
        commander: Commander[str] = Commander()
        assert commander.run(Exits("one")) == "one"
        assert commander.run(Exits()) is None
        assert commander.run(Notes(Order(), 1), auto_exit=True) is None
        assert commander.run(Exits("two")) == "two"

    def test_nothing_to_do(self) -> None:
        assert Commander[None]().run(None, auto_exit=True) is None
        assert Commander[None]().run([], auto_exit=True) is None
        assert Commander[None]().run(auto_exit=True) is None

    def test_blocks_until_somebody_exits(self) -> None:
        commander: Commander[int] = Commander()
        order = Order()
        thread = Thread(lambda: (order.wait_for("body"), order("exit"), commander.exit(3)))
        assert commander.run(Notes(order, "body")) == 3
        assert order == ["body", "exit"]
        thread.outcome()

    @pytest.mark.parametrize("make", [list, tuple, iter])
    def test_several_jobs(self, make: Any) -> None:
        order = Order()
        Commander[None]().run(make([Notes(order, number) for number in range(4)]), auto_exit=True)
        assert order == [0, 1, 2, 3]

    @pytest.mark.parametrize(
        ("refused", "error"),
        [(NoTasker(), NotTaskerError), (17, TypeError), (asyncio.Event, None), ("text", TypeError), (None, TypeError)],
        ids=["no tasker", "int", "callable", "str", "None"],
    )
    def test_refused_element(self, refused: Any, error: Any) -> None:
        order = Order()
        jobs = [Notes(order, "before"), refused, Notes(order, "after")]
        if error is None:
            Commander[None]().run(jobs, auto_exit=True)
            assert order == ["before", "after"]
            return
        commander: Commander[None] = Commander()
        with pytest.raises(error):
            commander.run(jobs)
        assert order == ["before"]
        assert not commander.running_status

    def test_raising_iterable(self) -> None:
        order = Order()

        def jobs() -> Any:
            yield Notes(order, "before")
            raise ZeroDivisionError

        with pytest.raises(ZeroDivisionError):
            Commander[None]().run(jobs())
        assert order == ["before"]

    def test_same_job_twice(self) -> None:
        started, gate = Gate(), Gate()

        async def body() -> None:
            started.open()
            await gate

        job = BasicJob[None](body)
        commander: Commander[None] = Commander()

        def let_go() -> None:
            started.wait()
            while not (commander._session_ is not None and commander._session_.auto_exit):
                threading.Event().wait(0.001)  # the second one has not been refused yet
            gate.open()

        thread = Thread(let_go)
        with pytest.raises(NodeActiveError):
            commander.run([job, job])
        assert job.state == "COMPLETED"
        thread.outcome()

    def test_handlers_and_functions_too(self) -> None:
        order = Order()

        @handler
        async def note(node: HandlerCoroutine[None]) -> None:
            order("handler")

        Commander[None]().run(note(), auto_exit=True)
        Commander[None]().run(lambda: order("function"), auto_exit=True)
        assert order == ["handler", "function"]

    def test_inside_a_running_loop(self) -> None:
        async def main() -> str | None:
            loop = asyncio.get_running_loop()
            result = Commander[str]().run(Exits("inside"))
            assert asyncio.get_running_loop() is loop
            assert agere.run(lambda: 5) == 5
            await asyncio.sleep(0)
            return result

        assert asyncio.run(main()) == "inside"

    def test_leaves_the_callers_loop_alone(self) -> None:
        loop = asyncio.new_event_loop()
        asyncio.set_event_loop(loop)
        try:
            Commander[None]().run(Exits())
            assert asyncio.get_event_loop_policy().get_event_loop() is loop
            assert not loop.is_closed()
        finally:
            asyncio.set_event_loop(None)
            loop.close()

    def test_on_any_thread_and_two_at_once(self) -> None:
        threads = [Thread(Commander[int]().run, Exits(number)) for number in range(4)]
        assert [thread.outcome() for thread in threads] == [0, 1, 2, 3]

    def test_same_commander_on_two_threads(self) -> None:
        commander: Commander[str] = Commander()
        started = Gate()
        thread = Thread(commander.run, Forever(started))
        started.wait()
        with pytest.raises(CommanderAlreadyRunningError):
            commander.run(Exits())
        commander.exit("x")
        assert thread.outcome() == "x"

    def test_a_failing_node_does_not_make_it_raise(self, errors: Any) -> None:
        assert Commander[None]().run(Notes(Order(), 1, then=ValueError("no")), auto_exit=True) is None
        assert len(errors) == 1

    def test_idle_after_a_failure_it_says_what_to_do(self, errors: Any) -> None:
        commander: Commander[None] = Commander()
        told = Order()

        class Told(logging.Handler):
            def emit(self, record: logging.LogRecord) -> None:
                if record.levelno == logging.WARNING:
                    told(record.getMessage())

        listener = Told()
        logging.getLogger("agere").addHandler(listener)
        thread = Thread(commander.run, Notes(Order(), 1, then=ValueError("no")))
        try:
            told.wait_until(1)
            commander.submit(nothing).result()
            commander.submit(nothing).result()
        finally:
            logging.getLogger("agere").removeHandler(listener)
            commander.exit()
            thread.outcome()
        assert len(told) == 1
        assert "auto_exit" in told.items[0]

    @pytest.mark.parametrize(
        "error", [SystemExit(3), KeyboardInterrupt("stop")], ids=["SystemExit", "KeyboardInterrupt"]
    )
    @pytest.mark.parametrize("where", ["async", "def", "callback", "async callback", "tail", "later"])
    def test_system_exit_and_interrupt_are_raised_again(self, error: BaseException, where: str, errors: Any) -> None:
        commander: Commander[None] = Commander()
        order = Order()

        async def body() -> None:
            raise error

        def in_worker() -> None:
            raise error

        async def later() -> None:
            await asyncio.sleep(0)
            raise error

        @handler
        async def tail(node: HandlerCoroutine[None]) -> None:
            raise error

        async def to_tail() -> Any:
            return tail()

        work: Any = {"async": body, "def": in_worker, "later": later, "tail": to_tail}.get(where)
        if work is None:
            work = Notes(order, 1)
            work.add_callback_functions("at_job_end", {"function": body if where == "async callback" else in_worker})
        other = Forever(Gate())
        with pytest.raises(type(error)) as caught:
            commander.run([other, work] if where == "def" else [work])
        assert caught.value is error
        assert not commander.running_status
        assert commander.run(Exits("fine again")) == "fine again"

    def test_refuses_on_a_loop_thread(self, commander: Commander[Any]) -> None:
        async def body() -> str:
            with pytest.raises(BlockingCallError, match="submit"):
                Commander[None]().run(Exits())
            with pytest.raises(BlockingCallError, match="async with"), Commander():
                pass
            with pytest.raises(BlockingCallError):
                commander.wait_for_exit()
            return "told"

        assert commander.submit(body).result(10) == "told"

    def test_nested_in_a_plain_def_body(self, commander: Commander[Any]) -> None:
        assert commander.submit(lambda: Commander[str]().run(Exits("inner"))).result(10) == "inner"
        assert commander.submit(lambda: agere.run(lambda: agere.run(lambda: 7))).result(10) == 7

    def test_hundreds_of_cycles(self) -> None:
        commander: Commander[int] = Commander()
        for number in range(100):
            assert commander.run(Exits(number)) == number
        for number in range(100):
            assert Commander[int]().run(Exits(number)) == number


class TestRunAuto:
    def test_runs_it(self) -> None:
        order = Order()
        assert Commander[None]().run_auto(Notes(order, 1)) is True
        assert order == [1]

    def test_hands_it_over_to_a_running_one(self, commander: Commander[Any]) -> None:
        order = Order()
        assert commander.run_auto(Notes(order, 1)) is False
        order.wait_for(1)
        assert commander.running_status

    def test_without_auto_exit(self) -> None:
        assert Commander[None]().run_auto(Exits(), auto_exit=False) is True


class TestAutoExit:
    def test_waits_for_the_whole_tree(self) -> None:
        order = Order()

        class Parent(Job[None]):
            @tasker
            async def task(self) -> None:
                self.put_job(Notes(order, "child"))
                self.submit(lambda: order("thread"))

        Commander[None]().run(Parent(), auto_exit=True)
        assert sorted(order.items) == ["child", "thread"]

    def test_a_late_submission_runs_or_raises(self) -> None:
        for _ in range(30):
            commander: Commander[None] = Commander()
            order = Order()
            ready = threading.Barrier(5)

            def storm(
                number: int,
                commander: Commander[None] = commander,
                order: Order = order,
                ready: threading.Barrier = ready,
            ) -> list[Any]:
                ready.wait(10)
                accepted = []
                for turn in range(50):
                    with contextlib.suppress(CommanderNotRunError):
                        accepted.append((turn, commander.submit(order, (number, turn))))
                return [(number, turn) for turn, future in accepted if future.result(10) is None]

            threads = [Thread(storm, number) for number in range(4)]
            commander.run(BasicJob[int](ready.wait, 10), auto_exit=True)
            accepted = [item for thread in threads for item in thread.outcome()]
            assert sorted(accepted) == sorted(order.items)


class TestStorm:
    def test_submissions_from_many_threads_during_exit(self) -> None:
        """Each accepted one is accounted for, each refused one told."""
        commander: Commander[None] = Commander(grace=2).start()
        ready = threading.Barrier(17)

        async def wait_long() -> None:
            await asyncio.sleep(3600)

        def storm(number: int) -> list[Any]:
            ready.wait(10)
            futures = []
            for turn in range(100):
                try:
                    futures.append(commander.submit((nothing, wait_long)[turn % 2]))
                except CommanderNotRunError:
                    break
            return futures

        threads = [Thread(storm, number) for number in range(16)]
        ready.wait(10)
        commander.exit()
        futures = [future for thread in threads for future in thread.outcome()]
        assert all(future.done() for future in futures)
        assert all(future.node.state in ("COMPLETED", "TERMINATED") for future in futures)


class TestRefusals:
    @pytest.mark.parametrize("when", ["before start", "after exit"])
    @pytest.mark.parametrize(
        "call",
        [
            lambda commander: commander.submit(nothing),
            lambda commander: commander.submit(Exits()),
            lambda commander: commander.put_job_threadsafe(Exits()),
            lambda commander: commander.put_job(Exits()),
            lambda commander: commander.call_handler_threadsafe(handler(_a_handler)()),
            lambda commander: commander.submit(nothing, parent=commander),
        ],
        ids=["function", "job", "put_job_threadsafe", "put_job", "call_handler_threadsafe", "parent"],
    )
    def test_not_running(self, call: Any, when: str) -> None:
        commander: Commander[None] = Commander()
        if when == "after exit":
            commander.run(Exits())
        with pytest.raises(CommanderNotRunError, match=r"start|run"):
            call(commander)

    def test_a_refused_node_can_be_used_later(self) -> None:
        commander: Commander[str] = Commander()
        job = Exits("later")
        with pytest.raises(CommanderNotRunError):
            commander.submit(job)
        assert commander.run(job) == "later"

    @pytest.mark.parametrize("work", [None, 3, "text", [], object(), Exits])
    def test_no_work(self, commander: Commander[Any], work: Any) -> None:
        with pytest.raises(TypeError):
            commander.submit(work)

    def test_a_coroutine_is_no_work(self, commander: Commander[Any]) -> None:
        async def fn() -> None: ...

        coroutine = fn()
        with pytest.raises(TypeError, match="coroutine"):
            commander.submit(coroutine)
        coroutine.close()

    def test_specific_errors(self, commander: Commander[Any]) -> None:
        made = handler(_a_handler)()
        with pytest.raises(NotTaskerError, match="PASS_WORD"):
            commander.submit(NoTasker())
        with pytest.raises(NotTaskerError, match="task"):
            commander.put_job_threadsafe(Job())
        with pytest.raises(NotJobError):
            commander.put_job_threadsafe(made)  # type: ignore[arg-type]
        with pytest.raises(NotJobError, match="instance"):
            commander.put_job_threadsafe(Exits)  # type: ignore[arg-type]
        with pytest.raises(NotHandlerError):
            commander.call_handler_threadsafe(Exits())  # type: ignore[arg-type]
        with pytest.raises(NotHandlerError):
            commander.call_handler_threadsafe(HandlerCoroutine())
        with pytest.raises(TypeError):
            commander.submit(Exits(), 1)
        with pytest.raises(TypeError):
            commander.submit(nothing, 1)
        with pytest.raises(TypeError):
            commander.submit(nothing, parent="me")  # type: ignore[call-overload]

    @pytest.mark.parametrize(
        ("options", "error"),
        [
            ({"max_workers": 0}, ValueError),
            ({"max_workers": 1.5}, ValueError),
            ({"max_workers": True}, ValueError),
            ({"grace": -1}, ValueError),
            ({"grace": "5"}, ValueError),
            ({"grace": float("nan")}, ValueError),
            ({"stall": 0}, ValueError),
            ({"stall": float("inf")}, ValueError),
            ({"lanes": {"llm": 0}}, ValueError),
            ({"lanes": {"llm": "8"}}, ValueError),
            ({"lanes": [("llm", 8)]}, TypeError),
            ({"host": "terminal"}, TypeError),
            ({"logger": "agere"}, TypeError),
        ],
        ids=str,
    )
    def test_options(self, options: dict[str, Any], error: type[Exception]) -> None:
        with pytest.raises(error):
            Commander(**options)


async def _a_handler(node: HandlerCoroutine[None]) -> None: ...


class TestSubmit:
    def test_every_kind_of_work(self, commander: Commander[Any]) -> None:
        async def add(a: int, b: int = 0, *, c: int = 0) -> int:
            return a + b + c

        def multiply(a: int, b: int = 1) -> int:
            return a * b

        @handler
        async def negate(node: HandlerCoroutine[int], value: int) -> int:
            return -value

        assert commander.submit(add, 1, 2, c=3).result(10) == 6
        assert commander.submit(multiply, 4, b=5).result(10) == 20
        assert commander.submit(negate(7)).result(10) == -7
        assert commander.submit(negate, 8).result(10) == -8
        assert commander.submit(Notes(Order(), "x")).result(10) == "<x>"
        assert commander.put_job_threadsafe(Notes(Order(), "y")).result(10) == "<y>"
        assert commander.call_handler_threadsafe(negate(9)).result(10) == -9

    def test_async_runs_on_the_loop_and_def_on_a_worker(self, commander: Commander[Any]) -> None:
        async def where_async() -> str:
            asyncio.get_running_loop()
            return threading.current_thread().name

        def where() -> str:
            with pytest.raises(RuntimeError):
                asyncio.get_running_loop()
            assert threading.current_thread().daemon
            return threading.current_thread().name

        assert commander.submit(where_async).result(10).endswith("-loop")
        assert "worker" in commander.submit(where).result(10)

    def test_below_a_given_parent(self, commander: Commander[Any]) -> None:
        gate = Gate()
        job = Forever(gate)
        commander.submit(job)
        gate.wait()
        child = commander.submit(asyncio.Event().wait, parent=job)
        assert commander.submit(nothing, parent=job).result(10) is None
        while child.node.state != "ACTIVE":  # it was accepted; it starts when the loop comes to it
            commander.submit(nothing).result(10)
        assert child.node.parent is job
        assert child.node.ancestor_chain == [job, commander]
        assert job.children == [child.node]
        assert commander.children == [job]

    def test_current_node(self, commander: Commander[Any]) -> None:
        assert current_node() is None

        async def body() -> Any:
            in_task = await asyncio.create_task(_current())
            in_thread = await asyncio.to_thread(current_node)
            return current_node(), in_task, in_thread

        future = commander.submit(body)
        assert future.result(10) == (future.node,) * 3
        future = commander.submit(lambda: [current_node()])
        assert future.result(10) == [future.node]


async def _current() -> Any:
    return current_node()


class TestWaitForExit:
    def test_never_started(self) -> None:
        with pytest.raises(CommanderNotRunError):
            Commander().wait_for_exit()

    def test_timeout(self, commander: Commander[Any]) -> None:
        with pytest.raises(TimeoutError):
            commander.wait_for_exit(0.01)
        assert commander.running_status

    def test_many_waiters(self, commander: Commander[Any]) -> None:
        threads = [Thread(commander.wait_for_exit) for _ in range(8)]
        commander.exit("bye")
        assert [thread.outcome() for thread in threads] == ["bye"] * 8

    def test_in_a_worker_of_its_own_it_refuses(self, commander: Commander[Any], errors: Any) -> None:
        future = commander.submit(commander.wait_for_exit)
        with pytest.raises(RuntimeError):
            future.result(10)


class TestIsEmpty:
    def test_tells(self, commander: Commander[Any]) -> None:
        assert commander.is_empty()
        gate = Gate()
        future = commander.submit(gate._pass)
        assert not commander.is_empty()
        gate.open()
        future.result(10)
        ended = Order()
        commander.submit(nothing).add_done_callback(ended.plain("x"))
        ended.wait_for("x")
        while not commander.is_empty():  # the Future resolves a moment before the parent is counted down
            commander.submit(nothing).result(10)
        assert commander.is_empty()


class TestWith:
    def test_leaving_finishes_accepted_work(self) -> None:
        order = Order()
        with Commander() as commander:
            for number in range(10):
                commander.submit(Notes(order, number))
            commander.submit(lambda: commander.submit(lambda: order("late")))
        assert sorted(order.items, key=str) == [*range(10), "late"]
        assert not commander.running_status

    def test_an_exception_terminates_it(self) -> None:
        gate = Gate()
        with pytest.raises(ZeroDivisionError), Commander() as commander:  # noqa: PT012
            future = commander.submit(Forever(gate))
            gate.wait()
            raise ZeroDivisionError
        assert future.cancelled()
        assert not commander.running_status

    def test_exit_within(self) -> None:
        with Commander[int]() as commander:
            commander.exit(4)
            assert not commander.running_status
        assert commander.wait_for_exit() == 4

    def test_system_exit_in_a_body_is_raised_at_the_end(self) -> None:
        def leave() -> None:
            raise SystemExit(9)

        with pytest.raises(SystemExit), Commander() as commander:
            commander.submit(leave)

    def test_async_with(self) -> None:
        order = Order()

        async def main() -> None:
            async with Commander() as commander:
                assert await commander.submit(lambda: 3) == 3
                commander.submit(Notes(order, "accepted"))
            assert not commander.running_status

        asyncio.run(main())
        assert order == ["accepted"]

    def test_async_with_keeps_the_callers_loop_alive(self) -> None:
        async def main() -> int:
            gate = Gate()
            ticks = 0
            async with Commander() as commander:
                commander.submit(gate._pass)

                async def tick() -> None:
                    nonlocal ticks
                    await asyncio.sleep(0)
                    ticks += 1
                    gate.open()

                ticking = asyncio.ensure_future(tick())
            await ticking
            return ticks

        assert asyncio.run(main()) == 1

    def test_async_with_exception(self) -> None:
        async def main() -> Any:
            gate = Gate()
            future = None
            with pytest.raises(ZeroDivisionError):  # noqa: PT012
                async with Commander() as commander:
                    future = commander.submit(Forever(gate))
                    await gate
                    raise ZeroDivisionError
            return future

        assert asyncio.run(main()).cancelled()

    def test_async_with_in_a_body_of_another_commander(self, commander: Commander[Any]) -> None:
        async def body() -> int:
            async with Commander() as inner:
                return await inner.submit(lambda: 11)

        assert commander.submit(body).result(10) == 11


class TestTwoCommanders:
    def test_exchange_work(self, commander: Commander[Any]) -> None:
        with Commander() as other:

            async def there(depth: int) -> int:
                assert current_node() is not None
                target = (commander, other)[depth % 2]
                return depth if depth == 0 else 1 + await target.submit(there, depth - 1)

            assert commander.submit(there, 20).result(10) == 20

            def blocking(depth: int) -> int:
                target = (commander, other)[depth % 2]
                return depth if depth == 0 else 1 + target.submit(blocking, depth - 1).result(10)

            assert commander.submit(blocking, 10).result(10) == 10

    def test_a_node_belongs_to_one_at_a_time(self, commander: Commander[Any]) -> None:
        gate = Gate()
        job = Forever(gate)
        commander.submit(job)
        gate.wait()
        with Commander() as other, pytest.raises(NodeActiveError):
            other.submit(job)
        assert job.commander is commander


class TestDropped:
    def test_an_idle_one_closes_itself(self) -> None:
        commander: Commander[Any] = Commander(name="dropped").start()
        commander.submit(nothing).result(10)
        thread = next(thread for thread in threading.enumerate() if thread.name == "dropped-loop")
        gone = weakref.ref(commander)
        del commander
        gc.collect()
        thread.join(10)
        assert not thread.is_alive()
        gc.collect()
        assert gone() is None

    def test_live_work_keeps_it_alive(self) -> None:
        order = Order()
        gate = Gate()

        async def work() -> None:
            await gate
            order("done")

        commander: Commander[Any] = Commander(name="working").start()
        thread = next(thread for thread in threading.enumerate() if thread.name == "working-loop")
        future = commander.submit(work)
        del commander
        gc.collect()
        gate.open()
        assert future.result(10) is None
        assert order == ["done"]
        del future
        for _ in range(20):
            gc.collect()
            thread.join(0.2)
            if not thread.is_alive():
                break
        assert not thread.is_alive()


def test_the_result_type_of_a_terminated_one() -> None:
    commander: Commander[None] = Commander().start()
    gate = Gate()
    future = commander.submit(Forever(gate))
    commander.exit()
    with pytest.raises(NodeTerminatedError):
        future.result()
