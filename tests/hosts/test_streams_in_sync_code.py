"""``for text in future.stream():`` on any thread: order, back-pressure, breaking off, and errors raised in the loop.

The same on the threads of windows: ``test_tk_and_qt.py``.
"""

from __future__ import annotations

import asyncio
import logging
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import wait
from typing import Any

import pytest

import agere
from agere import Commander, current_node
from agere.commander import PASS_WORD, Job, TaskNode, tasker
from agere.commander.awaiting import AHEAD
from agere.commander.emission import BOUND
from agere.errors import BlockingCallError, NodeTerminatedError
from agere.testing import ScriptedLLM, silent
from agere.utils.llm_async_converters import LLMAsyncAdapter
from agere.utils.stoppable import stoppable

COUNT = 20_000


def emitter() -> TaskNode[Any]:
    node = current_node()
    assert node is not None
    return node


def emit_plainly(made: list[int], count: int) -> str:
    for number in range(count):
        emitter().emit(number)
        made.append(number)
    return "result"


async def emit_awaiting(made: list[int], count: int) -> str:
    for number in range(count):
        await emitter().emit(number)
        made.append(number)
    return "result"


@pytest.fixture
def commander() -> Iterator[Commander[Any]]:
    with Commander[Any](grace=1) as running:
        yield running


@pytest.mark.parametrize("body", [emit_plainly, emit_awaiting])
def test_a_slow_reader_holds_the_job_up(commander: Commander[Any], body: Callable[..., Any]) -> None:
    made: list[int] = []
    ready = threading.Event()

    def when_read(made: list[int], count: int) -> Any:
        ready.wait()
        return emitter().submit(body, made, count).result()

    future = commander.submit(when_read, made, COUNT)
    stream = future.stream()
    ready.set()
    most = 0
    for place, number in enumerate(stream):
        assert number == place
        most = max(most, len(made) - place)
        if place == 0:
            settle(made)
            assert len(made) < COUNT
    assert len(made) == COUNT
    assert most <= BOUND + AHEAD + 1
    assert future.result() == "result"


def settle(made: list[int]) -> None:
    """Wait until the job does not go on any more."""
    pause, before = threading.Event(), -1
    while before != len(made):
        before = len(made)
        pause.wait(0.1)


def test_many_emitters_below_one_job_share_the_bound(commander: Commander[Any]) -> None:
    made: list[int] = []
    ready = threading.Event()

    def parent() -> None:
        ready.wait()
        for future in [emitter().submit(emit_plainly, made, 2_000) for _ in range(8)]:
            future.result()

    future = commander.submit(parent)
    stream = future.stream()
    ready.set()
    first = next(stream)
    settle(made)
    assert len(made) <= BOUND + 8 * (AHEAD + 1)
    assert len([first, *stream]) == 16_000


@pytest.mark.parametrize("body", [emit_plainly, emit_awaiting])
@pytest.mark.parametrize("how", ["break", "close", "with", "drop", "error"])
def test_breaking_off_cancels_the_job(commander: Commander[Any], body: Callable[..., Any], how: str) -> None:
    made: list[int] = []
    future = commander.submit(body, made, 10**9)
    if how == "break":
        for number in future.stream():
            if number == 3_000:
                break
    elif how == "error":

        def read() -> None:
            for number in future.stream():
                if number == 3_000:
                    raise LookupError

        with pytest.raises(LookupError):
            read()
    elif how == "with":
        with future.stream() as stream:
            next(stream)
    else:
        stream = future.stream()
        next(stream)
        if how == "close":
            stream.close()
            assert list(stream) == []
        else:
            del stream
    wait([future], 10)
    assert future.cancelled()
    with pytest.raises(NodeTerminatedError):
        future.result()


@pytest.mark.parametrize("how", ["close", "drop"])
def test_end_callbacks_do_not_wait_for_a_reader_who_has_left(commander: Commander[Any], how: str) -> None:
    ready = threading.Event()

    class Late(Job[None]):
        def __init__(self) -> None:
            super().__init__()
            self.add_callback_functions("at_job_end", {"function": self.end, "inject_task_node": True})

        @tasker(PASS_WORD)
        def task(self) -> None:
            ready.wait()

        async def end(self, task_node: TaskNode[Any]) -> None:
            for number in range(5 * BOUND):
                await task_node.emit(number)

    future = commander.submit(Late())
    stream = future.stream()
    ready.set()
    next(stream)  # it has begun to end, which nobody can cancel any more
    if how == "close":
        stream.close()
    else:
        del stream
    future.result(10)


def test_an_error_is_raised_in_the_loop_after_what_came_before_it(
    commander: Commander[Any], caplog: pytest.LogCaptureFixture
) -> None:
    def fail() -> None:
        for number in range(3):
            emitter().emit(number)
        raise ValueError("in the job")

    got = []
    with pytest.raises(ValueError, match="in the job"):  # noqa: PT012 - the loop is what raises
        for number in commander.submit(fail).stream():
            got.append(number)
    assert got == [0, 1, 2]
    assert [record.levelno for record in caplog.records] == [logging.ERROR]


def test_a_terminated_job_ends_the_loop_with_an_error(commander: Commander[Any]) -> None:
    def work() -> None:
        emitter().emit("one")
        emitter().submit(asyncio.sleep, 3600).result()

    future = commander.submit(work)
    stream = future.stream()
    assert next(stream) == "one"
    future.cancel()
    with pytest.raises(NodeTerminatedError):
        next(stream)


def test_on_any_thread_but_a_loop(commander: Commander[Any]) -> None:
    def read() -> list[int]:
        return list(commander.submit(emit_plainly, [], 2_000).stream())

    got: list[list[int]] = []
    threads = [threading.Thread(target=lambda: got.append(read())) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    got.append(commander.submit(read).result())  # a worker thread of the commander itself
    assert got == [list(range(2_000))] * 5

    async def on_the_loop() -> None:
        with pytest.raises(BlockingCallError, match="async for"):
            next(emitter().submit(emit_plainly, [], 10).stream())

    commander.submit(on_the_loop).result()


def test_agere_stream_needs_no_commander() -> None:
    def work() -> str:
        for number in range(5_000):
            emitter().emit(number)
        return "unread"

    assert list(agere.stream(work)) == list(range(5_000))


@pytest.mark.parametrize("kind", ["def", "async def"])
def test_breaking_off_hangs_up_on_the_server(kind: str) -> None:
    with ScriptedLLM([silent("Half an ", "answer")]) as server, Commander[Any](grace=1) as commander:
        client = server.client()

        def request() -> Any:
            return client.chat.completions.create(model="any", messages=[{"role": "user", "content": "?"}], stream=True)

        def plainly() -> None:
            for chunk in stoppable(request()):
                emitter().emit(chunk.choices[0].delta.content or "")

        async def awaiting() -> None:
            async for chunk in LLMAsyncAdapter().llm_to_async_iterable(request):
                await emitter().emit(chunk.choices[0].delta.content or "")

        for text in commander.submit(plainly if kind == "def" else awaiting).stream():
            if text == "answer":
                break
        assert server.requests[0].wait_disconnected()
