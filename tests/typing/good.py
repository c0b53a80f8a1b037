"""A user's program: ``mypy --strict`` finds nothing here, and every type is what it should be."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from concurrent.futures import Future, as_completed
from typing import assert_type

import agere
from agere.commander import (
    PASS_WORD,
    BasicJob,
    Callback,
    CallbackDict,
    Commander,
    CommanderAsync,
    HandlerCoroutine,
    Job,
    JobFuture,
    State,
    TaskNode,
    TreeSnapshot,
    current_node,
    handler,
    tasker,
)
from agere.commander.edge import add_conditional_edge, add_edge, add_join_edge


class Count(Job[int]):
    def __init__(self, word: str, *, factor: int = 1) -> None:
        self.word = word
        self.factor = factor
        super().__init__()

    @tasker(PASS_WORD)
    async def task(self) -> int:
        future = await self.put_job(Count("inner"))
        assert_type(future, JobFuture[int])
        assert_type(await future, int)
        future_of_handler = await self.call_handler(shout("word", times=2))
        assert_type(future_of_handler, JobFuture[str])
        assert_type(await shout("word"), str)
        return len(self.word) * self.factor


class Plain(Job[str]):
    @tasker
    def task(self) -> str:
        return self.submit(shout("x")).result()


class WithTail(Job[str]):
    @tasker(PASS_WORD)
    async def task(self) -> HandlerCoroutine[str]:
        return shout("tail")


@handler(PASS_WORD)
async def shout(self_handler: HandlerCoroutine[str], word: str, times: int = 1) -> str:
    assert_type(self_handler.id, int)
    return word.upper() * times


@handler
def whisper(node: HandlerCoroutine[str], word: str) -> str:
    return word.lower()


class Chat:
    @handler(PASS_WORD)
    async def answer(self, self_handler: HandlerCoroutine[int], words: AsyncIterator[str], limit: int = 3) -> int:
        async for word in words:
            print(word)
        return limit

    @handler(PASS_WORD)
    async def begin(self, self_handler: HandlerCoroutine[int], words: AsyncIterator[str]) -> int:
        return await self.answer(words, limit=4)


async def words() -> AsyncIterator[str]:
    yield "word"


async def add(a: int, b: int = 0) -> int:
    return a + b


def multiply(a: int, b: int) -> float:
    return float(a * b)


async def callback(task_node: TaskNode[int]) -> None:
    assert_type(task_node.result, int | None)
    await task_node.exit_commander(return_result="QUIT")


def main() -> None:
    commander: Commander[str] = CommanderAsync()
    job = Count("word")
    info: CallbackDict = {"function": callback, "inject_task_node": True}
    job.add_callback_functions(which="at_job_end", functions_info=info)
    job.add_callback_functions("at_job_end", [info, {"function": print, "params": {"args": (1,), "kwargs": {}}}])
    job.add_callback(Callback(at_exception=info).merge(Callback()))
    assert_type(commander.run(job), str | None)
    assert_type(commander.run([job, Plain()], auto_exit=True), str | None)
    assert_type(commander.run_auto(job), bool)
    assert_type(agere.run(job), int)
    assert_type(agere.run(add, 1, b=2), int)
    assert_type(agere.run(multiply, 1, 2), float)
    assert_type(agere.run(shout("x")), str)

    with Commander[None](lanes={"llm": 8}, name="boss") as running:
        assert_type(running.submit(job), JobFuture[int])
        assert_type(running.submit(shout("x")), JobFuture[str])
        assert_type(running.submit(whisper("x"), lane="llm").result(), str)
        assert_type(running.submit(add, 1, b=2), JobFuture[int])
        assert_type(running.submit(multiply, 1, 2, lane="llm"), JobFuture[float])
        assert_type(running.submit(lambda: "x").result(), str)
        assert_type(running.submit(Chat().answer(words(), limit=2)), JobFuture[int])
        assert_type(running.put_job_threadsafe(Plain()).result(1.0), str)
        assert_type(running.call_handler_threadsafe(shout("x")).exception(), BaseException | None)
        assert_type(running.tree(), TreeSnapshot)
        assert_type(running.submit(BasicJob[int](add, 1)), JobFuture[int])
        future: Future[int] = running.submit(job)
        for done in as_completed([running.submit(add, n) for n in range(3)]):
            assert_type(done.result(), int)
        running.submit(job).add_done_callback(lambda one: print(one.result() + 1))
        for item in running.submit(job).stream():
            print(item)
        running.subscribe(lambda event: print(event.node, event.at))()
        print(future.result())

    first, second = Count("a"), Plain()
    add_edge(first, second, data={"any": "thing"})
    add_conditional_edge(first, {1: second, 2: first})
    add_join_edge([first, second], WithTail())
    assert_type(first.state, State)
    assert_type(first.result, int | None)
    node = current_node()
    if node is not None:
        print(node.name, node.ancestor_chain, node.children)
    print(commander.wait_for_exit(timeout=1.0))


async def on_my_loop() -> int:
    async with Commander[None]() as commander:
        value = await commander.submit(add, 1)
        assert_type(value, int)
        async for item in commander.submit(add, 1).stream():
            print(item)
        return value + await asyncio.wrap_future(commander.submit(add, 2))


class Own(Job[None]):
    """A subclass may assign public names; the type checker has no objection either."""

    def __init__(self) -> None:
        self.name = "mine"
        self.data = {"any": "thing"}


def chatting(commander: Commander[None]) -> None:
    """The agent in ten lines."""
    import agere
    from agere.chat import Answer

    def weather(location: str) -> str:
        return f"22 C in {location}"

    with agere.Chat(tools=[weather, agere.tool(weather, name="other")], system="Be brief.") as chat:
        assert_type(agere.run(chat.turn("Paris?")), Answer)
        assert_type(commander.submit(chat.turn("Paris?", events=True)).result().tool_calls[0].name, str)
