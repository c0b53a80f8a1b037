"""JobFuture: a true concurrent.futures.Future that a node's completion resolves."""

from __future__ import annotations

import asyncio
import concurrent.futures
import contextvars
import threading
from collections.abc import Callable
from typing import Any

import pytest

from agere.commander import (
    BlockingCallError,
    Commander,
    HandlerCoroutine,
    Job,
    JobFuture,
    NodeTerminatedError,
    TaskNode,
    current_node,
    handler,
    tasker,
)
from tests.support.order import Gate, Order, Thread, turns

WORD: contextvars.ContextVar[str] = contextvars.ContextVar("WORD", default="unset")


def me() -> TaskNode[Any]:
    node = current_node()
    assert node is not None
    return node


def fails(message: str = "no") -> None:
    raise ValueError(message)


class Tree(Job[str]):
    """A job with children that do as told."""

    def __init__(self, *children: Any, value: str = "value", error: Exception | None = None) -> None:
        self.children_to_be, self.value, self.error = children, value, error

    @tasker
    async def task(self) -> str:
        for child in self.children_to_be:
            self.submit(child)
        if self.error is not None:
            raise self.error
        return self.value


class TestBeingAFuture:
    def test_is_one(self, commander: Commander[Any]) -> None:
        future = commander.submit(lambda: 3)
        assert isinstance(future, concurrent.futures.Future)
        assert isinstance(future, JobFuture)
        assert future.result(10) == 3
        assert future.exception() is None
        assert future.done()
        assert not future.cancelled()
        assert not future.running()
        assert future.node.result == 3

    def test_wait_and_as_completed(self, commander: Commander[Any]) -> None:
        gates = [Gate() for _ in range(3)]
        futures = [commander.submit(gate._pass) for gate in gates]
        assert concurrent.futures.wait(futures, timeout=0.01).done == set()
        gates[1].open()
        done, rest = concurrent.futures.wait(futures, 10, concurrent.futures.FIRST_COMPLETED)
        assert done == {futures[1]}
        assert len(rest) == 2
        gates[2].open()
        each = concurrent.futures.as_completed(futures, 10)
        assert {next(each), next(each)} == {futures[1], futures[2]}
        gates[0].open()
        assert next(each) is futures[0]
        assert concurrent.futures.wait(futures, 10).not_done == set()

    def test_wait_for_the_first_exception(self, commander: Commander[Any], errors: Any) -> None:
        gate = Gate()
        futures = [commander.submit(gate._pass), commander.submit(fails)]
        done, _ = concurrent.futures.wait(futures, 10, concurrent.futures.FIRST_EXCEPTION)
        assert futures[1] in done
        gate.open()

    def test_wait_sees_cancelled_ones(self, commander: Commander[Any]) -> None:
        future = commander.submit(Gate()._pass)
        thread = Thread(concurrent.futures.wait, [future], 10)
        future.cancel()
        assert thread.outcome().done == {future}
        assert next(concurrent.futures.as_completed([future], 10)) is future

    def test_wrap_future(self, commander: Commander[Any], errors: Any) -> None:
        async def main() -> None:
            assert await asyncio.wrap_future(commander.submit(lambda: 4)) == 4
            with pytest.raises(ValueError, match="no"):
                await asyncio.wrap_future(commander.submit(fails))
            wrapped = asyncio.wrap_future(future := commander.submit(Gate()._pass))
            wrapped.cancel()
            with pytest.raises(asyncio.CancelledError):
                await wrapped
            await asyncio.to_thread(concurrent.futures.wait, [future], 10)
            assert future.cancelled()

        asyncio.run(main())

    def test_resolving_it_is_not_for_users(self, commander: Commander[Any]) -> None:
        future = commander.submit(lambda: 1)
        for call in (lambda: future.set_result(2), lambda: future.set_exception(None)):
            with pytest.raises(concurrent.futures.InvalidStateError):
                call()
        assert future.result(10) == 1

    def test_stays_pending_until_completion(self, commander: Commander[Any]) -> None:
        gate, body_over = Gate(), Gate()
        job = Tree(gate._pass)
        job.add_callback_functions("at_job_start", {"function": lambda: None})
        future = commander.submit(job)
        while job.result is None:  # the body returns its value; the child is still there
            commander.submit(body_over.open).result(10)
        assert not future.done()
        assert future.running()
        with pytest.raises(TimeoutError):
            future.result(0.01)
        gate.open()
        assert future.result(10) == "value"
        assert "finished" in repr(future)

    def test_timed_out_result_does_not_cancel(self, commander: Commander[Any]) -> None:
        gate = Gate()
        future = commander.submit(gate._pass)
        for wait in (future.result, future.exception):
            with pytest.raises(TimeoutError):
                wait(0)
            with pytest.raises(concurrent.futures.TimeoutError):
                wait(timeout=0.01)
        gate.open()
        assert future.result(10) is None

    def test_on_the_loop_it_refuses_and_names_the_alternative(self, commander: Commander[Any]) -> None:
        async def body() -> Any:
            future = me().submit(lambda: 5)
            with pytest.raises(BlockingCallError, match="await"):
                future.result()
            with pytest.raises(BlockingCallError, match="await"):
                future.exception()
            value = await future
            return value, future.result()  # it is there: nothing blocks

        assert commander.submit(body).result(10) == (5, 5)

    def test_from_many_threads(self, commander: Commander[Any]) -> None:
        gate = Gate()

        async def body() -> int:
            await gate
            return 6

        future = commander.submit(body)
        threads = [Thread(future.result, 10) for _ in range(8)]
        gate.open()
        assert [thread.outcome() for thread in threads] == [6] * 8

    def test_made_late(self, commander: Commander[Any], errors: Any) -> None:
        """The Future of a node that has ended gives what it would have given."""
        kept: list[Any] = []

        async def parent() -> None:
            kept.append(me().put_job(Tree(value="late")))
            kept.append(me().put_job(Tree(error=ValueError("late"))))

        with pytest.raises(ValueError, match="late"):
            commander.submit(parent).result(10)
        assert kept[0].future.result(10) == "late"
        with pytest.raises(ValueError, match="late"):
            kept[1].result(10)


class TestCancel:
    def test_a_running_one(self, commander: Commander[Any]) -> None:
        started, order = Gate(), Order()

        async def body() -> None:
            started.open()
            try:
                await asyncio.Event().wait()
            finally:
                await turns()
                order("unwound")

        future = commander.submit(body)
        started.wait()
        assert future.running()
        assert future.cancel()
        with pytest.raises(NodeTerminatedError):
            future.result(10)
        assert order == ["unwound"]  # it turns cancelled once it has unwound
        assert future.cancelled()
        assert future.cancel()
        assert future.node.state == "TERMINATED"
        with pytest.raises(concurrent.futures.CancelledError):
            future.exception()

    def test_a_queued_one_never_runs(self, commander: Commander[Any]) -> None:
        gate, order = Gate(), Order()

        class First(Job[None]):
            @tasker
            async def task(self) -> None:
                await gate

        class Second(Job[None]):
            @tasker
            async def task(self) -> None:
                order("ran")

        job = Second()
        job.add_callback_functions("at_terminate", {"function": order.plain("terminated")})
        job.add_callback_functions("at_job_start", {"function": order.plain("started")})
        job.add_callback_functions("at_job_end", {"function": order.plain("ended")})
        first = commander.submit(First())
        second = commander.submit(job)
        assert second.cancel()
        with pytest.raises(NodeTerminatedError):
            second.result(10)
        gate.open()
        first.result(10)
        assert order == ["terminated"]

    def test_a_finished_one(self, commander: Commander[Any]) -> None:
        future = commander.submit(lambda: 1)
        future.result(10)
        assert not future.cancel()

    def test_in_the_end_phase_it_is_too_late(self, commander: Commander[Any]) -> None:
        in_end, gate = Gate(), Gate()

        async def at_end() -> None:
            in_end.open()
            await gate

        job = Tree()
        job.add_callback_functions("at_job_end", {"function": at_end})
        future = commander.submit(job)
        in_end.wait()
        assert not future.cancel()
        assert not job.cancel()
        gate.open()
        assert future.result(10) == "value"

    def test_before_the_end_phase_it_is_not(self, commander: Commander[Any]) -> None:
        """The body has ended, a child lives: terminated all the same."""
        started = Gate()

        async def child() -> None:
            started.open()
            await asyncio.Event().wait()

        future = commander.submit(Tree(child))
        started.wait()
        assert future.cancel()
        with pytest.raises(NodeTerminatedError):
            future.result(10)

    def test_whoever_asked(self, commander: Commander[Any]) -> None:
        started = Gate()

        async def body() -> None:
            started.open()
            await asyncio.Event().wait()

        for way in (TaskNode.cancel, TaskNode.close_task_node, TaskNode.terminate_task_node):
            future = commander.submit(body)
            way(future.node)
            concurrent.futures.wait([future], 10)
            assert future.cancelled()

    def test_a_def_body(self, commander: Commander[Any]) -> None:
        """It cannot be interrupted; its Future turns cancelled when it returns, its waits raise."""
        started, gate = Gate(), Gate()

        def body() -> int:
            started.open()
            gate.wait()
            return 3

        future = commander.submit(body)
        started.wait()
        assert future.cancel()
        assert not future.done()
        gate.open()
        with pytest.raises(NodeTerminatedError):
            future.result(10)

    def test_a_def_body_that_waits(self, commander: Commander[Any]) -> None:
        child_started, order = Gate(), Order()

        async def child() -> None:
            child_started.open()
            await asyncio.Event().wait()

        def body() -> None:
            try:
                me().submit(child).result()
            except BaseException as error:
                order(isinstance(error, asyncio.CancelledError | concurrent.futures.CancelledError))
                raise

        future = commander.submit(body)
        child_started.wait()
        future.cancel()
        with pytest.raises(NodeTerminatedError):
            future.result(10)
        assert order == [True]


class TestAwait:
    """On any loop."""

    @pytest.fixture(params=["own loop", "body", "other commander's body"])
    def drive(self, request: pytest.FixtureRequest, commander: Commander[Any]) -> Callable[[Any], Any]:
        def own(main: Any) -> Any:
            return asyncio.run(main())

        def other(main: Any) -> Any:
            with Commander() as another:
                return another.submit(main).result(10)

        return {"own loop": own, "body": lambda main: commander.submit(main).result(10)}.get(request.param, other)

    def test_value_failure_and_termination(
        self, drive: Callable[[Any], Any], commander: Commander[Any], errors: Any
    ) -> None:
        async def main() -> str:
            assert await commander.submit(lambda: 8) == 8
            with pytest.raises(ValueError, match="no"):
                await commander.submit(fails)
            future = commander.submit(Gate()._pass)
            future.cancel()
            with pytest.raises(NodeTerminatedError):
                await future
            assert await asyncio.gather(*(commander.submit(lambda n=n: n) for n in range(20))) == list(range(20))
            return "done"

        assert drive(main) == "done"

    def test_cancelling_the_awaiter_cancels_the_job(
        self, drive: Callable[[Any], Any], commander: Commander[Any]
    ) -> None:
        started = Gate()

        async def body() -> None:
            started.open()
            await asyncio.Event().wait()

        async def main() -> JobFuture[None]:
            future = commander.submit(body)

            async def awaits() -> None:
                await future

            task = asyncio.create_task(awaits())
            await turns()
            await started
            task.cancel()
            with pytest.raises(asyncio.CancelledError):
                await task
            return future

        future = drive(main)
        concurrent.futures.wait([future], 10)
        assert future.cancelled()

    def test_wait_for_times_out(self, drive: Callable[[Any], Any], commander: Commander[Any]) -> None:
        async def main() -> JobFuture[None]:
            future = commander.submit(Gate()._pass)

            async def awaits() -> None:
                await future

            with pytest.raises(TimeoutError):
                await asyncio.wait_for(awaits(), 0.01)
            return future

        future = drive(main)
        concurrent.futures.wait([future], 10)
        assert future.cancelled()

    def test_shield_prevents_it(self, drive: Callable[[Any], Any], commander: Commander[Any]) -> None:
        gate, inner = Gate(), Order()

        async def main() -> JobFuture[None]:
            future = commander.submit(gate._pass)

            async def awaits() -> None:
                await future
                inner("over")

            task = asyncio.ensure_future(awaits())
            with pytest.raises(TimeoutError):
                await asyncio.wait_for(asyncio.shield(task), 0.01)
            assert not future.done()
            gate.open()
            await task
            return future

        future = drive(main)
        assert future.result(10) is None
        assert inner == ["over"]

    def test_asyncio_takes_it_as_it_is(self, drive: Callable[[Any], Any], commander: Commander[Any]) -> None:
        gate = Gate()

        async def main() -> None:
            future = commander.submit(gate._pass)
            shielded = asyncio.shield(future)
            with pytest.raises(TimeoutError):
                await asyncio.wait_for(asyncio.shield(shielded), 0.01)
            assert not future.done()
            gate.open()
            await shielded
            assert await asyncio.wait_for(commander.submit(lambda: 1), 10) == 1
            async with asyncio.timeout(10), asyncio.TaskGroup() as group:
                task = group.create_task(_await(commander.submit(lambda: 2)))
            assert task.result() == 2
            assert [await each for each in asyncio.as_completed([commander.submit(lambda: 3)])] == [3]

        drive(main)

    def test_a_cancelled_awaiter_does_not_cancel_one_it_no_longer_awaits(self, commander: Commander[Any]) -> None:
        async def main() -> None:
            future = commander.submit(lambda: 1)
            await future
            with pytest.raises(asyncio.CancelledError):
                await asyncio.gather(_cancel_me())
            assert future.result() == 1

        asyncio.run(main())


async def _await(future: JobFuture[Any]) -> Any:
    return await future


async def _cancel_me() -> None:
    task = asyncio.current_task()
    assert task is not None
    task.cancel()
    await asyncio.sleep(0)


class TestDoneCallbacks:
    def test_called_with_the_future(self, commander: Commander[Any]) -> None:
        gate, order = Gate(), Order()
        future = commander.submit(gate._pass)
        future.add_done_callback(order)
        future.add_done_callback(lambda _: order(threading.current_thread().name))
        gate.open()
        order.wait_until(2)
        assert order.items[0] is future
        future.add_done_callback(lambda _: order("at once"))
        assert order.items[-1] == "at once"

    def test_in_the_callers_context(self, commander: Commander[Any]) -> None:
        gate, order = Gate(), Order()
        WORD.set("outer")
        future = commander.submit(gate._pass)
        WORD.set("adder")
        future.add_done_callback(lambda _: order(WORD.get()))
        WORD.set("unset")
        gate.open()
        order.wait_until(1)
        assert order == ["adder"]

    def test_a_raising_one_is_logged_and_harms_nobody(self, commander: Commander[Any], errors: Any) -> None:
        gate, order = Gate(), Order()
        future = commander.submit(gate._pass)
        future.add_done_callback(lambda _: fails())
        future.add_done_callback(order.plain("second"))
        gate.open()
        order.wait_for("second")
        assert future.result(10) is None
        assert [type(error) for error in errors.exceptions] == [ValueError]

    def test_on_host(self, commander: Commander[Any]) -> None:
        """The main thread is the host here: it serves while it waits."""
        gate, order = Gate(), Order()
        future = commander.submit(gate._pass)
        future.add_done_callback(
            lambda _: (order(threading.current_thread()), commander.exit(wait=False)), on_host=True
        )
        gate.open()
        commander.wait_for_exit(10)
        assert order == [threading.main_thread()]

    def test_may_submit(self, commander: Commander[Any]) -> None:
        order = Order()
        future = commander.submit(lambda: 1)
        future.add_done_callback(lambda _: commander.submit(order, "submitted"))
        order.wait_for("submitted")


class TestFailures:
    def test_one_failure_as_itself_with_a_note(self, commander: Commander[Any], errors: Any) -> None:
        error = ValueError("mine")
        inner = Tree(error=error)
        future = commander.submit(Tree(Tree(inner)))
        with pytest.raises(ValueError, match="mine") as caught:
            future.result(10)
        assert caught.value is error
        assert future.exception() is error
        (note,) = error.__notes__
        assert str(inner.id) in note
        assert "Tree" in note
        assert note.count(">") >= 3
        assert len(errors) == 1

    def test_the_body_returned_a_value_but_a_child_failed(self, commander: Commander[Any], errors: Any) -> None:
        job = Tree(fails)
        with pytest.raises(ValueError, match="no"):
            commander.submit(job).result(10)
        assert job.state == "COMPLETED"  # its own body and tail; the Future tells of the subtree
        assert job.result == "value"
        assert job.exception is None

    def test_several_as_a_group(self, commander: Commander[Any], errors: Any) -> None:
        future = commander.submit(Tree(fails, Tree(fails, error=KeyError("deep")), error=OSError("own")))
        with pytest.raises(ExceptionGroup) as caught:
            future.result(10)
        assert sorted(type(error).__name__ for error in caught.value.exceptions) == [
            "KeyError",
            "OSError",
            "ValueError",
            "ValueError",
        ]
        assert "4" in caught.value.message
        assert len(errors) == 4

    def test_the_first_hundred_and_a_count(self, commander: Commander[Any], errors: Any) -> None:
        with pytest.raises(ExceptionGroup) as caught:
            commander.submit(Tree(*[fails] * 130)).result(10)
        assert len(caught.value.exceptions) == 100
        assert "130" in caught.value.message

    def test_every_future_above_tells(self, commander: Commander[Any], errors: Any) -> None:
        inner = Tree(error=ValueError("once"))
        middle = Tree(inner)
        kept: list[Any] = []

        async def outer() -> None:
            future = me().submit(middle)
            kept.append(future)

        futures = [commander.submit(outer)]
        for future in (*futures, *kept):
            with pytest.raises(ValueError, match="once"):
                future.result(10)
        assert len(errors) == 1

    @pytest.mark.parametrize("way", ["await future", "result in def", "await handler", "exception in def"])
    def test_received_failures_do_not_climb(self, commander: Commander[Any], way: str, errors: Any) -> None:
        @handler
        async def failing(node: HandlerCoroutine[None]) -> None:
            raise ValueError("received")

        async def awaits() -> str:
            with pytest.raises(ValueError, match="received"):
                await (failing() if way == "await handler" else me().submit(failing))
            return "fine"

        def takes() -> str:
            future = me().submit(failing)
            if way == "exception in def":
                assert isinstance(future.exception(), ValueError)
            else:
                with pytest.raises(ValueError, match="received"):
                    future.result()
            return "fine"

        outer = commander.submit(Tree(takes if "def" in way else awaits))
        assert outer.result(10) == "value"
        assert len(errors) == 1

    def test_taking_it_outside_of_a_body_receives_nothing(self, commander: Commander[Any], errors: Any) -> None:
        kept: list[Any] = []
        told, gate = Gate(), Gate()

        async def outer() -> None:
            kept.append(me().submit(fails))
            told.open()
            await gate

        future = commander.submit(outer)
        told.wait()
        with pytest.raises(ValueError, match="no"):
            kept[0].result(10)
        gate.open()
        with pytest.raises(ValueError, match="no"):
            future.result(10)

    def test_a_late_receipt_counts(self, commander: Commander[Any], errors: Any) -> None:
        """The child failed long before the body takes its result."""
        failed = Gate()

        async def outer() -> str:
            future = me().submit(fails)
            future.add_done_callback(failed.open)
            await failed
            await turns()
            with pytest.raises(ValueError, match="no"):
                future.result()
            return "fine"

        assert commander.submit(Tree(outer)).result(10) == "value"

    def test_at_exception_only_observes(self, commander: Commander[Any], errors: Any) -> None:
        order = Order()
        job = Tree(error=ValueError("seen"))
        job.add_callback_functions("at_exception", {"function": order.plain("observed")})
        with pytest.raises(ValueError, match="seen"):
            commander.submit(Tree(job)).result(10)
        assert order == ["observed"]

    def test_received_and_raised_again_is_logged_once(self, commander: Commander[Any], errors: Any) -> None:
        async def outer() -> None:
            await me().submit(fails)

        with pytest.raises(ValueError, match="no"):
            commander.submit(Tree(outer)).result(10)
        assert len(errors) == 1

    def test_received_and_another_raised(self, commander: Commander[Any], errors: Any) -> None:
        async def outer() -> None:
            try:
                await me().submit(fails)
            except ValueError as error:
                raise KeyError("other") from error

        with pytest.raises(KeyError) as caught:
            commander.submit(outer).result(10)
        assert isinstance(caught.value.__cause__, ValueError)
        assert len(errors) == 2

    def test_a_terminated_child_is_no_failure(self, commander: Commander[Any]) -> None:
        async def outer() -> str:
            me().submit(Gate()._pass).cancel()
            return "fine"

        assert commander.submit(outer).result(10) == "fine"

    def test_logged_where_it_arose_with_a_traceback(self, commander: Commander[Any], errors: Any) -> None:
        with pytest.raises(ValueError, match="no"):
            commander.submit(fails).result(10)
        (record,) = errors.records
        assert record.name == "agere.node"
        assert record.levelname == "ERROR"
        assert "fails" in record.getMessage()
        assert record.exc_info[2] is not None

    def test_a_logger_of_ones_own(self, errors: Any) -> None:
        import logging

        with Commander(logging.getLogger("agere.mine")) as commander:
            commander.submit(fails)
        assert [record.name for record in errors.records] == ["agere.mine"]


class TestRuns:
    def test_each_run_has_its_own_future(self, commander: Commander[Any]) -> None:
        class Counts(Job[int]):
            runs = 0

            @tasker
            async def task(self) -> int:
                self.runs += 1
                return self.runs

        job = Counts()
        futures = []
        for _ in range(3):
            futures.append(commander.submit(job))
            futures[-1].result(10)
        assert [future.result() for future in futures] == [1, 2, 3]
        assert all(future.node is job for future in futures)
        assert len(set(map(id, futures))) == 3
        assert job.result == 3


class TestStream:
    def test_what_the_node_and_its_descendants_emit(self, commander: Commander[Any]) -> None:
        async def child() -> None:
            me().emit("child")

        async def body() -> str:
            me().emit("first")
            await me().submit(child)
            await me().submit(lambda: me().emit("worker"))
            await me().emit(None)
            return "value"

        future = commander.submit(body)
        assert list(future.stream()) == ["first", "child", "worker", None]
        assert future.result(10) == "value"

    def test_async_iteration(self, commander: Commander[Any]) -> None:
        async def body() -> None:
            for number in range(5):
                await me().emit(number)
                await asyncio.sleep(0)

        async def main() -> list[int]:
            return [item async for item in commander.submit(body).stream()]

        assert asyncio.run(main()) == [0, 1, 2, 3, 4]
        assert commander.submit(main).result(10) == [0, 1, 2, 3, 4]

    def test_sync_iteration_on_the_loop_refuses(self, commander: Commander[Any]) -> None:
        async def body() -> list[int]:
            stream = me().submit(lambda: me().emit(1)).stream()
            with pytest.raises(BlockingCallError, match="async for"):
                next(stream)
            return [item async for item in stream]

        assert commander.submit(body).result(10) == [1]

    def test_in_a_def_body(self, commander: Commander[Any]) -> None:
        def source() -> None:
            for number in range(3):
                me().emit(number)

        def body() -> list[int]:
            return list(me().submit(source).stream())

        assert commander.submit(body).result(10) == [0, 1, 2]

    @pytest.mark.parametrize("way", ["close", "with", "drop", "break in for"])
    def test_break_cancels_the_job(self, commander: Commander[Any], way: str) -> None:
        async def body() -> None:
            me().emit(1)
            await asyncio.Event().wait()

        future = commander.submit(body)
        stream = future.stream()
        if way == "break in for":
            del stream
            future = commander.submit(body)
            for _ in future.stream():
                break
        elif way == "with":
            with stream:
                assert next(stream) == 1
        else:
            assert next(stream) == 1
            if way == "close":
                stream.close()
                stream.close()
                assert list(stream) == []
            else:
                del stream
        concurrent.futures.wait([future], 10)
        assert future.cancelled()

    def test_async_break_cancels(self, commander: Commander[Any]) -> None:
        async def body() -> None:
            me().emit(1)
            await asyncio.Event().wait()

        async def main() -> JobFuture[None]:
            future = commander.submit(body)
            async for _ in future.stream():
                break
            async with commander.submit(body).stream() as stream:
                assert await anext(stream) == 1
            return future

        future = asyncio.run(main())
        concurrent.futures.wait([future], 10)
        assert future.cancelled()

    def test_failure_after_the_last_item(self, commander: Commander[Any], errors: Any) -> None:
        async def body() -> None:
            me().emit("before")
            raise ValueError("after")

        stream = commander.submit(body).stream()
        assert next(stream) == "before"
        with pytest.raises(ValueError, match="after"):
            next(stream)
        assert list(stream) == []

    def test_what_was_emitted_before_it_was_opened(self, commander: Commander[Any]) -> None:
        future = commander.submit(lambda: [me().emit(number) for number in range(10)])
        future.result(10)
        assert list(future.stream()) == list(range(10))

    def test_one_consumer(self, commander: Commander[Any]) -> None:
        future = commander.submit(lambda: me().emit(1))
        stream = future.stream()
        with pytest.raises(RuntimeError, match="consumer"):
            future.stream()
        assert list(stream) == [1]

    @pytest.mark.parametrize("kind", ["async", "def"])
    def test_a_slow_consumer_holds_the_emitter_up(self, commander: Commander[Any], kind: str) -> None:
        total = 10_000
        emitted = Order()

        async def body() -> None:
            for number in range(total):
                await me().emit(number)
                emitted(number)

        def in_worker() -> None:
            for number in range(total):
                me().emit(number)
                emitted(number)

        stream = commander.submit(body if kind == "async" else in_worker).stream()
        emitted.wait_until(1000)
        commander.submit(lambda: None).result(10)
        assert len(emitted) < total
        assert list(stream) == list(range(total))

    def test_termination_frees_a_held_up_emitter(self, commander: Commander[Any]) -> None:
        emitted = Order()

        def in_worker() -> None:
            while True:
                me().emit(1)
                emitted(1)

        future = commander.submit(in_worker)
        stream = future.stream()
        emitted.wait_until(1000)
        future.cancel()
        concurrent.futures.wait([future], 10)
        assert future.cancelled()
        stream.close()

    def test_emit_with_nobody_there(self, commander: Commander[Any]) -> None:
        async def body() -> None:
            await me().emit("nobody")

        assert commander.submit(body).result(10) is None
        TaskNode().emit("nowhere")

    def test_too_much_for_nobody(self, commander: Commander[Any]) -> None:
        from agere.commander import StreamOverflowError
        from agere.commander.emission import BACKLOG

        async def body() -> None:
            for number in range(BACKLOG + 1):
                me().emit(number)

        future = commander.submit(body)
        future.result(10)
        with pytest.raises(StreamOverflowError):
            future.stream()
