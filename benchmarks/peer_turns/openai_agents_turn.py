"""The tool turn by openai-agents, streamed."""

# mypy: ignore-errors
from __future__ import annotations

import asyncio
from collections.abc import Callable

from agents import Agent, OpenAIChatCompletionsModel, Runner, function_tool, set_tracing_disabled
from openai import AsyncOpenAI
from openai.types.responses import ResponseTextDeltaEvent

from benchmarks import bare_turn
from benchmarks.peer_turns.timing import tell
from benchmarks.scripted_server import ANSWER


@function_tool
def get_weather(place: str, to_user: str = "") -> str:
    """The weather of a place."""
    return bare_turn.get_weather(place)


def make_turn(address: str) -> Callable[[], str]:
    set_tracing_disabled(True)
    client = AsyncOpenAI(base_url=address, api_key="scripted", max_retries=0)
    model = OpenAIChatCompletionsModel(model="any", openai_client=client)
    agent = Agent(name="weather", model=model, tools=[get_weather])
    loop = asyncio.new_event_loop()

    async def turn() -> str:
        said: list[str] = []
        async for event in Runner.run_streamed(agent, bare_turn.QUESTION["content"]).stream_events():
            if event.type == "raw_response_event" and isinstance(event.data, ResponseTextDeltaEvent):
                said.append(event.data.delta)
        return "".join(said)

    return lambda: loop.run_until_complete(turn())


if __name__ == "__main__":
    tell("openai-agents", make_turn, ANSWER)
