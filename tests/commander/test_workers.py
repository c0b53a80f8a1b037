"""The worker threads of a session."""

from __future__ import annotations

import asyncio
import contextvars
import threading
from concurrent.futures import wait
from typing import Any

import pytest

from agere.commander import Commander, TaskNode, WorkerLimitError, current_node
from agere.commander.workers import WorkerPool, spawn
from tests.support.order import Gate, Order, in_thread

WORD: contextvars.ContextVar[str] = contextvars.ContextVar("WORD", default="unset")


def pool_of(commander: Commander[Any]) -> WorkerPool:
    session = commander._session_
    assert session is not None
    return session.workers


def me() -> TaskNode[Any]:
    node = current_node()
    assert node is not None
    return node


def test_made_on_demand_and_reused(commander: Commander[Any]) -> None:
    assert pool_of(commander).count == 0
    idents = set()
    for _ in range(20):
        idents.add(commander.submit(threading.get_ident).result(10))
        while not pool_of(commander)._idle:  # it goes idle a moment after its report
            commander.submit(asyncio.sleep, 0).result(10)
    assert len(idents) == 1
    assert pool_of(commander).count == 1


def test_as_many_as_are_blocked(commander: Commander[Any]) -> None:
    gate, order = Gate(), Order()

    def blocks() -> None:
        order("in")
        gate.wait()

    futures = [commander.submit(blocks) for _ in range(100)]
    order.wait_for("in", 100)
    assert pool_of(commander).count == 100
    gate.open()
    wait(futures, 10)


def test_daemons_named_after_the_commander() -> None:
    with Commander(name="boss") as commander:
        thread = commander.submit(threading.current_thread).result(10)
        assert thread.daemon
        assert thread.name.startswith("boss")
    thread.join(10)
    assert not thread.is_alive()


def test_the_default_executor_of_the_loop(commander: Commander[Any]) -> None:
    async def body() -> Any:
        thread = await asyncio.to_thread(threading.current_thread)
        loop = asyncio.get_running_loop()
        other = await loop.run_in_executor(None, threading.current_thread)
        with pytest.raises(ZeroDivisionError):
            await asyncio.to_thread(lambda: 1 // 0)
        return thread.name, other.name

    assert all("worker" in name for name in commander.submit(body).result(10))


def test_many_to_thread_calls_do_not_queue(commander: Commander[Any]) -> None:
    """asyncio's own default executor has cpu + 4 threads: these would deadlock there."""
    barrier = threading.Barrier(64)

    async def body() -> None:
        await asyncio.gather(*(asyncio.to_thread(barrier.wait, 20) for _ in range(64)))

    commander.submit(body).result(30)


def test_contexts_travel(commander: Commander[Any]) -> None:
    order = Order()

    async def body() -> None:
        order(WORD.get())
        WORD.set("body's")
        order(await asyncio.to_thread(WORD.get))
        order(await me().delegate(WORD.get))
        order(await me().submit(WORD.get))
        order(await me().submit(in_body))

    async def in_body() -> str:
        return WORD.get()

    token = WORD.set("submitter's")
    try:
        future = commander.submit(body)
        plain = commander.submit(lambda: (WORD.get(), me().submit(WORD.get).result()))
        WORD.set("later")
        future.result(10)
        assert plain.result(10) == ("submitter's", "submitter's")
    finally:
        WORD.reset(token)
    assert order == ["submitter's", "body's", "body's", "body's", "body's"]
    assert WORD.get() == "unset"


def test_one_bodys_context_is_not_anothers(commander: Commander[Any]) -> None:
    def sets() -> str:
        before = WORD.get()
        WORD.set("dirty")
        return before

    for _ in range(5):
        assert commander.submit(sets).result(10) == "unset"


def test_the_limit_is_a_clear_error_on_the_node(errors: Any) -> None:
    gate, order = Gate(), Order()

    def blocks() -> None:
        order("in")
        gate.wait()

    with Commander(max_workers=2) as commander:
        blocked = [commander.submit(blocks) for _ in range(2)]
        order.wait_for("in", 2)
        future = commander.submit(blocks)
        with pytest.raises(WorkerLimitError, match="max_workers"):
            future.result(10)
        assert future.node.state == "EXCEPTION"
        assert commander.submit(asyncio.sleep, 0, 7).result(10) == 7  # the loop goes on
        gate.open()
        wait(blocked, 10)
    assert len(errors) == 1


def test_when_the_system_refuses_a_thread(
    commander: Commander[Any], monkeypatch: pytest.MonkeyPatch, errors: Any
) -> None:
    original = threading.Thread.start

    def refuse(self: threading.Thread) -> None:
        if "worker" in self.name:
            raise RuntimeError("can't start new thread")
        original(self)

    monkeypatch.setattr(threading.Thread, "start", refuse)
    with pytest.raises(WorkerLimitError, match="refused"):
        commander.submit(lambda: 1).result(10)

    async def body() -> None:
        with pytest.raises(WorkerLimitError):
            await asyncio.to_thread(print)

    commander.submit(body).result(10)
    monkeypatch.undo()
    assert commander.submit(lambda: 1).result(10) == 1


def test_when_the_system_refuses_the_loop_thread(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(self: threading.Thread) -> None:
        raise RuntimeError("can't start new thread")

    monkeypatch.setattr(threading.Thread, "start", refuse)
    commander: Commander[Any] = Commander()
    with pytest.raises(WorkerLimitError):
        commander.start()
    monkeypatch.undo()
    assert not commander.running_status
    with commander:
        assert commander.submit(lambda: 1).result(10) == 1


def test_after_exit(commander: Commander[Any]) -> None:
    pool = pool_of(commander)
    commander.exit()
    with pytest.raises((WorkerLimitError, RuntimeError)):
        pool.submit(print)


def test_a_stuck_worker_does_not_hold_up_the_exit(errors: Any) -> None:
    gate, started = Gate(), Gate()

    def stuck() -> None:
        started.open()
        gate.wait()

    commander: Commander[Any] = Commander(grace=0.05).start()
    future = commander.submit(stuck)
    started.wait()
    commander.exit()
    assert future.done()
    assert not commander.running_status
    assert "abandoned" in errors.messages[0]
    assert "stuck" in errors.messages[0]
    gate.open()


def test_spawn_outside_of_a_commander() -> None:
    gate = Gate()
    spawn(gate.open)
    gate.wait()


def test_nodes_and_threads_know_each_other(commander: Commander[Any]) -> None:
    def body() -> Any:
        return [me(), in_thread(current_node)]  # a thread of one's own works for no node

    future = commander.submit(body)
    assert future.result(10) == [future.node, None]
