"""Waiting for many futures at once, by ``concurrent.futures``: the host is served, and terminations are seen."""

from __future__ import annotations

import asyncio
import concurrent.futures
from collections.abc import Callable
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor
from typing import Any

import pytest

from agere import Commander, current_node
from agere.testing import ScriptedHost
from tests.support.order import Gate, Order
from tests.support.subprocesses import run_python

WAYS: dict[str, Callable[[list[Future[Any]]], object]] = {
    "wait": concurrent.futures.wait,
    "first": lambda futures: concurrent.futures.wait(futures, return_when=FIRST_COMPLETED),
    "as_completed": lambda futures: list(concurrent.futures.as_completed(futures)),
}


@pytest.fixture(params=WAYS)
def wait(request: pytest.FixtureRequest) -> Callable[[list[Future[Any]]], object]:
    return WAYS[request.param]


def me() -> Any:
    return current_node()


def test_deliveries_and_questions_are_seen_to(wait: Callable[[list[Future[Any]]], object]) -> None:
    shown = Order()

    def body() -> str:
        me().deliver(shown, "asking").result(20)  # somebody waits there by now
        answer = str(me().ask("well? "))
        me().deliver(shown, "done")
        return answer

    with Commander(host=ScriptedHost(["yes"])) as commander:
        future = commander.submit(body)
        wait([future])
        assert future.done()
        assert shown == ["asking", "done"]
        assert future.result() == "yes"


def test_among_the_futures_of_others(wait: Callable[[list[Future[Any]]], object]) -> None:
    with ThreadPoolExecutor() as pool, Commander() as commander:
        gate = Gate()
        theirs = pool.submit(gate.wait)
        ours = commander.submit(lambda: me().deliver(gate.open).result(20))
        wait([theirs, ours])
        wait([ours, theirs])
        assert {ours, theirs} == concurrent.futures.wait([ours, theirs]).done


def test_a_body_that_waits_there_can_be_terminated(wait: Callable[[list[Future[Any]]], object]) -> None:
    order, begun = Order(), Gate()

    def body() -> None:
        begun.open()
        try:
            wait(futures)
        except asyncio.CancelledError:
            order("broken off")
            raise

    with Commander() as commander:
        futures: list[Any] = [commander.submit(asyncio.Event().wait) for _ in range(3)]
        future = commander.submit(body)
        begun.wait()
        future.cancel()
        order.wait_for("broken off")
        concurrent.futures.wait([future])
        assert future.cancelled()
        assert not any(other.done() for other in futures)
        for other in futures:
            other.cancel()


def test_a_body_that_is_terminated_already() -> None:
    order = Order()

    def body() -> None:
        mine = me()
        other = commander.submit(asyncio.Event().wait)
        mine.cancel()
        while not mine._is_terminated_():
            pass
        try:
            concurrent.futures.wait([other])
        except asyncio.CancelledError:
            order("broken off")
        other.cancel()

    with Commander() as commander:
        concurrent.futures.wait([commander.submit(body)])
    assert order == ["broken off"]


def test_the_time_may_run_out() -> None:
    with Commander() as commander:
        gate = Gate()
        future = commander.submit(gate._pass)
        assert concurrent.futures.wait([future], 0.01).not_done == {future}
        with pytest.raises(TimeoutError):
            list(concurrent.futures.as_completed([future], 0.01))
        gate.open()


def test_a_fork_is_refused() -> None:
    run_python(
        """
        import concurrent.futures, os, threading
        from agere import Commander
        with Commander() as commander:
            gate = threading.Event()
            future = commander.submit(gate.wait)
            pid = os.fork()
            if pid == 0:
                try:
                    concurrent.futures.wait([future])
                except BaseException as error:
                    print(type(error).__name__, flush=True)
                os._exit(0)
            os.waitpid(pid, 0)
            gate.set()
        """
    ).check(out="CommanderForkedError\n")


def test_a_ctrl_c_just_before_the_sleep_is_seen() -> None:
    """Here it comes on another thread, once the main thread sleeps: likewise its sleep is not broken."""
    run_python(
        """
        import concurrent.futures, os, signal, threading
        from agere import Commander
        def interrupt_the_sleeper():
            while open(f"/proc/{os.getpid()}/stat").read().rpartition(")")[2].split()[0] != "S":
                pass
            os.kill(os.getpid(), signal.SIGINT)
            end.wait()
        end = threading.Event()
        with Commander() as commander:
            future = commander.submit(interrupt_the_sleeper)
            signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
            try:
                concurrent.futures.wait([future])
            except KeyboardInterrupt:
                print("seen")
            end.set()
        """
    ).check(out="seen\n")
