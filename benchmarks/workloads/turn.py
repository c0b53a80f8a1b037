"""turn: two streamed model calls and a tool between them, with the real ``openai`` client.

The scripted server of the tests runs in a process of its own, so that neither side pays for it.
"""

from __future__ import annotations

import json
import time
from collections.abc import AsyncIterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from agere import Commander, HandlerCoroutine, Job, handler, tasker
from agere.commander import TaskNode
from agere.utils.dispatcher import async_dispatcher_tools_call_for_openai
from agere.utils.llm_async_converters import LLMAsyncAdapter
from benchmarks.bare_turn import QUESTION, bare_turn, check, get_weather, with_result
from benchmarks.measure import MILLI, Case, interleave
from benchmarks.scripted_server import server
from benchmarks.workload import FULL, QUICK, TINY, Workload

if TYPE_CHECKING:
    import openai


@dataclass(frozen=True)
class Size:
    pairs: int


class Turn(Job[None]):
    """A whole turn, in the shape that the tutorial gives it. ``said`` is complete when it is."""

    def __init__(self, client: openai.OpenAI) -> None:
        self.client = client
        self.said: list[str] = []

    @tasker
    async def task(self) -> None:
        self.put_job(Response(self, [QUESTION]))


class Response(Job[None]):
    """One request, and what follows from it."""

    def __init__(self, turn: Turn, messages: list[Any]) -> None:
        self.turn = turn
        self.messages = messages

    @tasker
    async def task(self) -> HandlerCoroutine[None]:
        return self.handle_response()

    @handler
    async def handle_response(self, node: TaskNode[None]) -> None:
        create = self.turn.client.chat.completions.create
        make_generator = await async_dispatcher_tools_call_for_openai(
            LLMAsyncAdapter().llm_to_async_iterable(lambda: create(model="any", messages=self.messages, stream=True))
        )
        node.call_handler(self.handle_text(make_generator("to_user")))
        node.call_handler(self.handle_calls(make_generator("function_call")))

    @handler
    async def handle_text(self, _: TaskNode[None], texts: AsyncIterator[str]) -> None:
        async for text in texts:
            self.turn.said.append(text)

    @handler
    async def handle_calls(self, node: TaskNode[None], calls: AsyncIterator[str]) -> None:
        async for text in calls:
            found = json.loads(text)
            call = {"id": found["tool_call_id"], "name": found["name"], "arguments": found["arguments"]}
            result = get_weather(**found["arguments"])
            node.put_job(Response(self.turn, with_result(self.messages, call, result)))


def run(size: Size) -> list[Case]:
    import openai

    with (
        server() as address,
        openai.OpenAI(base_url=address, api_key="scripted", max_retries=0) as client,
        Commander[None]() as commander,
    ):

        def ours() -> float:
            begun = time.perf_counter()
            turn = Turn(client)
            commander.submit(turn).result()
            seconds = time.perf_counter() - begun
            check("".join(turn.said))
            return seconds

        def bare() -> float:
            begun = time.perf_counter()
            said = bare_turn(client)
            seconds = time.perf_counter() - begun
            check(said)
            return seconds

        return [interleave(ours, bare, size.pairs).difference("added", 3.0, MILLI, "ms")]


WORKLOAD = Workload(
    name="turn",
    about="a tool turn (two streamed model calls) with the real openai client and a server in its own process",
    beside="the bare synchronous loop over the same streams",
    run=run,
    sizes={FULL: Size(121), QUICK: Size(9), TINY: Size(1)},
)
