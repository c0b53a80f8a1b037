"""A commander within somebody's own event loop: awaits, cancellation, timeouts, groups, other loops, anyio."""

from __future__ import annotations

import asyncio
import threading
from typing import Any

import anyio
import pytest

from agere import Commander, current_node
from agere.errors import NodeTerminatedError
from agere.testing import ScriptedLLM, silent
from agere.utils.llm_async_converters import LLMAsyncAdapter


class Sleeper:
    """A body that never ends by itself, and takes a moment to unwind."""

    def __init__(self, unwinding: float = 0.05) -> None:
        self.begun = threading.Event()
        self.unwound = threading.Event()
        self._unwinding = unwinding

    async def run(self) -> None:
        self.begun.set()
        try:
            await asyncio.sleep(3600)
        finally:
            await asyncio.sleep(self._unwinding)
            self.unwound.set()


async def double(number: int) -> int:
    await asyncio.sleep(0)
    return 2 * number


def add(number: int) -> int:
    return number + 1


def test_await_a_job_of_either_kind_and_the_loop_goes_on() -> None:
    async def main() -> None:
        ticks = 0

        async def tick() -> None:
            nonlocal ticks
            while True:
                ticks += 1
                await asyncio.sleep(0)

        ticking = asyncio.create_task(tick())
        async with Commander() as commander:
            assert await commander.submit(double, 4) == 8
            before = ticks
            gate = threading.Event()
            waiting = commander.submit(gate.wait)
            asyncio.get_running_loop().call_later(0.05, gate.set)
            assert await waiting
            assert ticks > before + 10
            assert await asyncio.gather(*(commander.submit(add, number) for number in range(100))) == [*range(1, 101)]
        ticking.cancel()

    asyncio.run(main())


def test_an_error_is_raised_where_the_job_is_awaited(caplog: pytest.LogCaptureFixture) -> None:
    async def main() -> None:
        async with Commander() as commander:
            with pytest.raises(ZeroDivisionError):
                await commander.submit(lambda: 1 / 0)

    asyncio.run(main())
    assert len(caplog.records) == 1


@pytest.mark.parametrize("how", ["cancel", "timeout", "wait_for"])
def test_cancelling_the_awaiter_cancels_the_job(how: str) -> None:
    async def main() -> None:
        async with Commander() as commander:
            sleeper = Sleeper()
            future = commander.submit(sleeper.run)
            if how == "cancel":

                async def wait() -> None:
                    await future

                waiting = asyncio.create_task(wait())
                await asyncio.to_thread(sleeper.begun.wait)
                waiting.cancel()
                with pytest.raises(asyncio.CancelledError):
                    await waiting
            elif how == "timeout":
                with pytest.raises(TimeoutError):
                    async with asyncio.timeout(0.1):
                        await future
            else:
                with pytest.raises(TimeoutError):
                    await asyncio.wait_for(future_as_task(future), 0.1)
            with pytest.raises(NodeTerminatedError):
                await future
            assert future.cancelled()
            assert sleeper.unwound.is_set() or not sleeper.begun.is_set()

    asyncio.run(main())


async def future_as_task(future: Any) -> Any:
    return await future


def test_a_shielded_job_goes_on() -> None:
    async def main() -> None:
        gate = threading.Event()
        async with Commander() as commander:
            future = commander.submit(gate.wait)
            with pytest.raises(TimeoutError):
                await asyncio.wait_for(asyncio.shield(future_as_task(future)), 0.05)
            gate.set()
            assert await future

    asyncio.run(main())


def test_a_failing_member_of_a_task_group_cancels_the_jobs_of_the_others(caplog: pytest.LogCaptureFixture) -> None:
    async def main() -> None:
        async with Commander() as commander:
            sleeper = Sleeper()
            futures = [commander.submit(sleeper.run)]

            def fail() -> None:
                sleeper.begun.wait()
                raise ValueError("one of them")

            with pytest.raises(ExceptionGroup) as raised:  # noqa: PT012 - the group is what raises
                async with asyncio.TaskGroup() as group:
                    group.create_task(future_as_task(futures[0]))
                    group.create_task(future_as_task(commander.submit(fail)))
            assert raised.group_contains(ValueError, match="one of them")
            await asyncio.to_thread(sleeper.unwound.wait)
            assert futures[0].cancelled() or await asyncio.to_thread(futures[0].exception) is not None

    asyncio.run(main())


def test_two_loops_share_a_commander() -> None:
    got: list[Any] = []

    async def elsewhere(commander: Commander[Any]) -> None:
        future = commander.submit(double, 21)
        got.append(await future)
        got.extend([text async for text in commander.submit(speak, 5).stream()])

    async def main() -> None:
        async with Commander[Any]() as commander:
            other = threading.Thread(target=lambda: asyncio.run(elsewhere(commander)))
            other.start()
            assert [text async for text in commander.submit(speak, 3).stream()] == [0, 1, 2]
            await asyncio.to_thread(other.join)

    asyncio.run(main())
    assert got == [42, 0, 1, 2, 3, 4]


async def speak(count: int) -> None:
    node = current_node()
    assert node is not None
    for number in range(count):
        await node.emit(number)


@pytest.mark.parametrize("how", ["break", "cancel", "aclose"])
def test_leaving_a_stream_cancels_its_job_and_hangs_up(how: str) -> None:
    async def answer(server: ScriptedLLM) -> None:
        client, node = server.client(), current_node()
        assert node is not None
        chunks = LLMAsyncAdapter().llm_to_async_iterable(
            lambda: client.chat.completions.create(
                model="any", messages=[{"role": "user", "content": "?"}], stream=True
            )
        )
        async for chunk in chunks:
            await node.emit(chunk.choices[0].delta.content or "")

    async def main(server: ScriptedLLM) -> None:
        async with Commander[Any]() as commander:
            future = commander.submit(answer, server)
            there = asyncio.Event()

            async def read() -> None:
                async for text in future.stream():
                    if text == "Half":
                        there.set()
                        if how == "break":
                            break

            if how == "aclose":
                stream = future.stream()
                async for text in stream:
                    if text == "Half":
                        await stream.aclose()
            else:
                reading = asyncio.create_task(read())
                await there.wait()
                if how == "cancel":
                    reading.cancel()
                await asyncio.wait([reading])
            assert await asyncio.to_thread(server.requests[0].wait_disconnected)
            with pytest.raises(NodeTerminatedError):
                await future

    with ScriptedLLM([silent("Half")]) as server:
        asyncio.run(main(server))


def test_leaving_waits_for_the_unwinding_however_often_it_is_cancelled() -> None:
    sleeper = Sleeper(unwinding=0.3)
    commanders: list[Commander[Any]] = []

    async def inner() -> None:
        async with Commander[Any]() as commander:
            commanders.append(commander)
            await commander.submit(sleeper.run)

    async def main() -> None:
        task = asyncio.create_task(inner())
        await asyncio.to_thread(sleeper.begun.wait)
        for _ in range(4):
            task.cancel()
            await asyncio.sleep(0.02)
        with pytest.raises(asyncio.CancelledError):
            await task

    asyncio.run(main())
    assert sleeper.unwound.is_set()
    assert not commanders[0].running_status


@pytest.mark.parametrize("awaits", ["the job", "something else"])
def test_a_scope_of_anyio_that_is_cancelled(awaits: str) -> None:
    sleeper = Sleeper(unwinding=0.2)
    commander: Commander[Any] = Commander()

    async def main() -> None:
        with anyio.move_on_after(0.2) as scope:
            async with commander:
                future = commander.submit(sleeper.run)
                if awaits == "the job":
                    await future
                await anyio.sleep(60)
        assert scope.cancelled_caught
        assert future.cancelled()

    anyio.run(main)
    assert not commander.running_status
    assert sleeper.unwound.is_set() or not sleeper.begun.is_set()


def test_a_commander_of_longer_life_than_a_loop() -> None:
    with Commander[Any]() as commander:
        for number in range(3):  # as in a program that calls asyncio.run again and again
            assert asyncio.run(future_as_task(commander.submit(double, number))) == 2 * number
