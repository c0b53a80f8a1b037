"""Handlers: nodes that are functions."""

from __future__ import annotations

import asyncio
import gc
import threading
from typing import Any

import pytest

from agere.commander import (
    PASS_WORD,
    BasicJob,
    Callback,
    Commander,
    DeadlockError,
    HandlerCoroutine,
    NodeActiveError,
    NodeTerminatedError,
    PasswordError,
    TaskNode,
    current_node,
    handler,
)
from tests.support.order import Gate, Order


def me() -> TaskNode[Any]:
    node = current_node()
    assert node is not None
    return node


@handler(PASS_WORD)
async def at_module_level(self_handler: HandlerCoroutine[Any], a: int, b: int = 2, *rest: int, c: int = 3) -> Any:
    """Doc."""
    assert isinstance(self_handler, HandlerCoroutine)
    return self_handler, a, b, rest, c


@handler
def plain(node: HandlerCoroutine[Any], word: str) -> Any:
    return node, word, threading.current_thread().name


class Tools:
    factor = 10

    @handler(PASS_WORD)
    async def method(self, self_handler: HandlerCoroutine[Any], value: int, *, more: int = 0) -> Any:
        assert isinstance(self_handler, HandlerCoroutine)
        return self.factor * value + more

    @handler
    def plain_method(self, node: HandlerCoroutine[Any], value: int) -> Any:
        assert isinstance(node, HandlerCoroutine)
        return self.factor * value

    @staticmethod
    @handler(PASS_WORD)
    async def static(node: HandlerCoroutine[Any], value: int) -> Any:
        assert isinstance(node, HandlerCoroutine)
        return value

    @handler(PASS_WORD)
    @staticmethod
    async def static_inside(node: HandlerCoroutine[Any], value: int) -> Any:
        assert isinstance(node, HandlerCoroutine)
        return value

    @classmethod
    @handler(PASS_WORD)
    async def of_class(cls, node: HandlerCoroutine[Any], value: int) -> Any:
        assert isinstance(node, HandlerCoroutine)
        return cls.factor * value

    @handler(PASS_WORD)
    @classmethod
    async def of_class_inside(cls, node: HandlerCoroutine[Any], value: int) -> Any:
        assert isinstance(node, HandlerCoroutine)
        return cls.factor * value

    class Nested:
        @handler
        async def method(self, node: HandlerCoroutine[Any], value: int) -> Any:
            assert isinstance(node, HandlerCoroutine)
            return -value


class Heir(Tools):
    factor = 100


class TestWhereItCanStand:
    def test_on_a_function(self, commander: Commander[Any]) -> None:
        node = at_module_level(1, 5, 6, 7, c=8)
        assert isinstance(node, HandlerCoroutine)
        assert node.name == "at_module_level"
        assert at_module_level.__doc__ == "Doc."
        assert at_module_level.__name__ == "at_module_level"
        assert commander.submit(node).result(10) == (node, 1, 5, (6, 7), 8)

    def test_on_a_plain_function(self, commander: Commander[Any]) -> None:
        node = plain("w")
        made, word, thread = commander.submit(node).result(10)
        assert (made, word) == (node, "w")
        assert "worker" in thread

    @pytest.mark.parametrize(
        ("make", "value"),
        [
            (lambda: Tools().method(3, more=1), 31),
            (lambda: Heir().method(3), 300),
            (lambda: Tools.method(Tools(), 4), 40),
            (lambda: Tools().plain_method(3), 30),
            (lambda: Tools.static(5), 5),
            (lambda: Tools().static(5), 5),
            (lambda: Tools.static_inside(5), 5),
            (lambda: Tools().static_inside(5), 5),
            (lambda: Tools.of_class(3), 30),
            (lambda: Tools().of_class(3), 30),
            (lambda: Heir.of_class(3), 300),
            (lambda: Heir().of_class_inside(3), 300),
            (lambda: Tools.of_class_inside(3), 30),
            (lambda: Tools.Nested().method(3), -3),
        ],
        ids=lambda value: "" if callable(value) else str(value),
    )
    def test_in_a_class(self, commander: Commander[Any], make: Any, value: int) -> None:
        assert commander.submit(make()).result(10) == value

    def test_in_a_local_class(self, commander: Commander[Any]) -> None:
        class Local:
            @handler
            async def method(self, node: HandlerCoroutine[Any], value: int) -> Any:
                assert isinstance(node, HandlerCoroutine)
                return [value]

            @staticmethod
            @handler
            def static(node: HandlerCoroutine[Any], value: int) -> Any:
                assert isinstance(node, HandlerCoroutine)
                return [value]

            @classmethod
            @handler
            async def of_class(cls, node: HandlerCoroutine[Any], value: int) -> Any:
                assert isinstance(node, HandlerCoroutine)
                return [value]

        @handler
        async def function(node: HandlerCoroutine[Any], value: int) -> Any:
            return [value]

        for make in (Local().method, Local.static, Local().static, Local.of_class, Local().of_class, function):
            assert commander.submit(make(9)).result(10) == [9]

    def test_in_a_class_made_within_a_function_of_a_class(self, commander: Commander[Any]) -> None:
        def factory() -> type:
            class Made:
                @handler
                async def method(self, node: HandlerCoroutine[Any]) -> Any:
                    return type(self) is Made

            return Made

        assert commander.submit(factory()().method()).result(10) is True

    def test_assigned_to_a_class_later(self, commander: Commander[Any]) -> None:
        class Later: ...

        @handler
        async def method(self: Any, node: HandlerCoroutine[Any], value: int) -> Any:
            return type(self), value

        Later.method = method  # type: ignore[attr-defined]
        assert commander.submit(Later().method(1)).result(10) == (Later, 1)  # type: ignore[attr-defined]

    @pytest.mark.parametrize("password", ["", "wrong", None, 3])
    def test_wrong_password(self, password: Any) -> None:
        with pytest.raises(PasswordError, match="PASS_WORD"):
            handler(password)

    def test_what_it_refuses(self) -> None:
        def generator(node: Any) -> Any:
            yield 1

        async def async_generator(node: Any) -> Any:
            yield 1

        for fn in (generator, async_generator):
            with pytest.raises(TypeError, match="generator"):
                handler(fn)

        async def no_parameter() -> None: ...

        with pytest.raises(TypeError, match="reserved"):
            handler(no_parameter)()


class TestArguments:
    @pytest.mark.parametrize(
        "call",
        [
            lambda: at_module_level(),
            lambda: at_module_level(1, c=1, d=2),
            lambda: at_module_level(b=1),
            lambda: at_module_level(1, a=1),
            lambda: plain(),
            lambda: plain("a", "b"),
            lambda: Tools().method(),
            lambda: Tools().method(1, 2),
            lambda: Tools.static(),
            lambda: Tools.of_class(1, 2),
        ],
    )
    def test_wrong_ones_raise_at_the_call(self, call: Any) -> None:
        with pytest.raises(TypeError):
            call()

    def test_a_parameter_named_like_ours(self, commander: Commander[Any]) -> None:
        @handler
        async def fn(node: HandlerCoroutine[Any], self: int, work: int, fn: int, args: int, kwargs: int) -> Any:
            return self, work, fn, args, kwargs

        assert commander.submit(fn(1, work=2, fn=3, args=4, kwargs=5)).result(10) == (1, 2, 3, 4, 5)
        assert commander.submit(fn(self=1, work=2, fn=3, args=4, kwargs=5)).result(10) == (1, 2, 3, 4, 5)

    def test_a_callback_among_them_is_attached(self, commander: Commander[Any]) -> None:
        order = Order()

        @handler
        async def fn(node: HandlerCoroutine[Any], first: Callback, *, callback: Callback | None = None) -> Any:
            order("body")
            return isinstance(first, Callback) and isinstance(callback, Callback)

        first = Callback(at_handler_start={"function": order.plain("start")})
        second = Callback(at_handler_end=[{"function": order.plain("end")}, {"function": order.later("end 2")}])
        assert commander.submit(fn(first, callback=second)).result(10) is True
        assert order == ["start", "body", "end", "end 2"]

    def test_a_method_takes_a_callback_too(self, commander: Commander[Any]) -> None:
        order = Order()

        class Has:
            @handler
            async def fn(self, node: HandlerCoroutine[Any], callback: Callback) -> None: ...

        commander.submit(Has().fn(Callback(at_handler_end={"function": order.plain("end")}))).result(10)
        assert order == ["end"]


class TestUnused:
    def test_leaves_no_warning(self) -> None:
        """Coroutines are made per run: one that never runs needs no closing (warnings are errors here)."""
        for _ in range(3):
            at_module_level(1)
            Tools().method(2)
        gc.collect()

    def test_terminated_before_it_ran(self, commander: Commander[Any]) -> None:
        gate = Gate()

        async def body() -> None:
            me().call_handler(at_module_level(1))
            await gate

        future = commander.submit(body)
        future.cancel()
        with pytest.raises(NodeTerminatedError):
            future.result(10)
        gc.collect()


class TestAwaiting:
    def test_runs_it_as_a_child_and_gives_its_value(self, commander: Commander[Any]) -> None:
        async def body() -> Any:
            node = at_module_level(1)
            value = await node
            assert value[0] is node
            assert node.state == "COMPLETED"
            return [node.parent]

        future = commander.submit(body)
        assert future.result(10) == [future.node]

    def test_in_a_def_body_by_result(self, commander: Commander[Any]) -> None:
        assert commander.submit(lambda: me().submit(plain("x")).result()[1]).result(10) == "x"

    def test_when_body_and_tail_have_ended_not_its_children(self, commander: Commander[Any]) -> None:
        gate, order = Gate(), Order()

        @handler
        async def tail(node: HandlerCoroutine[str]) -> str:
            order("tail")
            return "value"

        @handler
        async def outer(node: HandlerCoroutine[str]) -> Any:
            node.submit(gate._pass)
            return tail()

        async def body() -> str:
            value = await outer()
            order("awaited")
            gate.open()
            return value

        assert commander.submit(body).result(10) == "value"
        assert order == ["tail", "awaited"]

    def test_its_failure_belongs_to_the_awaiter(self, commander: Commander[Any], errors: Any) -> None:
        @handler
        async def fails(node: HandlerCoroutine[None]) -> None:
            raise ValueError("mine")

        async def receives() -> str:
            with pytest.raises(ValueError, match="mine"):
                await fails()
            return "received"

        async def lets_it_out() -> None:
            await fails()

        assert commander.submit(receives).result(10) == "received"
        assert len(errors) == 1
        with pytest.raises(ValueError, match="mine"):
            commander.submit(lets_it_out).result(10)
        assert len(errors) == 2

    def test_terminated(self, commander: Commander[Any]) -> None:
        started = Gate()

        @handler
        async def endless(node: HandlerCoroutine[None]) -> None:
            started.open()
            await asyncio.Event().wait()

        node = endless()

        async def body() -> str:
            with pytest.raises(NodeTerminatedError):
                await node
            return "told"

        future = commander.submit(body)
        started.wait()
        node.cancel()
        assert future.result(10) == "told"

    def test_cancelling_the_awaiter_ends_it(self, commander: Commander[Any]) -> None:
        started, order = Gate(), Order()

        @handler
        async def endless(node: HandlerCoroutine[None]) -> None:
            started.open()
            try:
                await asyncio.Event().wait()
            finally:
                order("unwound")

        async def body() -> str:
            async def awaits() -> None:
                await endless()

            task = asyncio.create_task(awaits())
            await started
            task.cancel()
            with pytest.raises(asyncio.CancelledError):
                await task
            return "on"

        assert commander.submit(body).result(10) == "on"
        assert order == ["unwound"]

    def test_gathered(self, commander: Commander[Any]) -> None:
        order = Order()

        @handler
        async def slow(node: HandlerCoroutine[int], number: int) -> int:
            order(node.parent)
            await asyncio.sleep(0)
            return number

        async def body() -> list[int]:
            async def awaits(number: int) -> int:
                return await slow(number)

            return await asyncio.gather(*(awaits(number) for number in range(10)))

        future = commander.submit(body)
        assert future.result(10) == list(range(10))
        assert set(map(id, order.items)) == {id(future.node)}

    def test_twice(self, commander: Commander[Any]) -> None:
        runs = Order()

        @handler
        async def fn(node: HandlerCoroutine[int]) -> int:
            runs("run")
            return 7

        async def body() -> list[int]:
            node = fn()
            return [await node, await node]

        assert commander.submit(body).result(10) == [7, 7]
        assert runs == ["run"]

    def test_one_that_was_called(self, commander: Commander[Any]) -> None:
        async def body() -> Any:
            node = at_module_level(4)
            me().call_handler(node)
            return (await node)[1]

        assert commander.submit(body).result(10) == 4

    def test_itself(self, commander: Commander[Any], errors: Any) -> None:
        @handler
        async def selfish(node: HandlerCoroutine[None]) -> None:
            await node

        with pytest.raises(DeadlockError):
            commander.submit(selfish).result(10)

    def test_outside_of_a_commander(self) -> None:
        async def main() -> None:
            assert (await at_module_level(1))[1] == 1
            assert (await plain("w"))[1] == "w"
            node = at_module_level(2)
            await node
            with pytest.raises(NodeActiveError):
                await node

        asyncio.run(main())

    def test_a_running_one_from_another_loop(self, commander: Commander[Any]) -> None:
        gate, started = Gate(), Gate()

        @handler
        async def fn(node: HandlerCoroutine[int]) -> int:
            started.open()
            await gate
            return 3

        node = fn()
        commander.submit(node)
        started.wait()

        async def main() -> int:
            asyncio.get_running_loop().call_soon(gate.open)
            return await node

        assert asyncio.run(main()) == 3


class TestStates:
    def test_a_handler_given_to_a_job_runs_again_with_it(self, commander: Commander[Any]) -> None:
        node = at_module_level(1)
        job = BasicJob[Any](node)
        assert commander.submit(job).result(10)[1] == 1
        assert commander.submit(job).result(10)[1] == 1
        assert node.state == "COMPLETED"
