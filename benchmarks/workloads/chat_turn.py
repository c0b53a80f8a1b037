"""chat_turn: the turn of ``turn``, through ``agere.Chat``.

The Chat keeps the conversation, so that each turn has a Chat of its own, made outside of the time that counts. The
bare loop makes the same requests: it tells of the tool, and asks for the usage.
"""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import Any

from benchmarks.bare_turn import QUESTION, bare_turn, check
from benchmarks.measure import MILLI, Case, interleave
from benchmarks.scripted_server import server
from benchmarks.workload import FULL, QUICK, TINY, Workload


@dataclass(frozen=True)
class Size:
    pairs: int


def run(size: Size) -> list[Case]:
    import openai

    from agere import Chat, Commander, tool

    @tool(to_user=True)
    def get_weather(place: str) -> str:
        """The weather in a place."""
        return f"22 degrees in {place}"

    with (
        server() as address,
        openai.OpenAI(base_url=address, api_key="scripted", max_retries=0) as client,
        Commander[None]() as commander,
    ):

        def ours() -> float:
            chat = Chat([get_weather], "any", client)
            begun = time.perf_counter()
            answer = commander.submit(chat.turn(QUESTION["content"])).result()
            seconds = time.perf_counter() - begun
            check(answer.said.replace("\n", "", 1))
            return seconds

        def streamed() -> float:
            chat = Chat([get_weather], "any", client)
            begun = time.perf_counter()
            said = "".join(commander.submit(chat.turn(QUESTION["content"])).stream())
            seconds = time.perf_counter() - begun
            check(said.replace("\n", "", 1))
            return seconds

        options: Any = {"tools": [get_weather.schema], "stream_options": {"include_usage": True}}

        def bare() -> float:
            begun = time.perf_counter()
            said = bare_turn(client, **options)
            seconds = time.perf_counter() - begun
            check(said)
            return seconds

        return [
            interleave(ours, bare, size.pairs).difference("added", 4.0, MILLI, "ms"),
            interleave(streamed, bare, size.pairs).difference("added, read as it comes", None, MILLI, "ms"),
        ]


WORKLOAD = Workload(
    name="chat_turn",
    about="a tool turn (two streamed model calls) through agere.Chat, with a server in its own process",
    beside="the bare synchronous loop that makes the same requests",
    run=run,
    sizes={FULL: Size(121), QUICK: Size(9), TINY: Size(1)},
)
