"""The tool turn by pydantic-ai, streamed."""

# mypy: ignore-errors
from __future__ import annotations

import asyncio
from collections.abc import Callable

from pydantic_ai import Agent
from pydantic_ai.models.openai import OpenAIChatModel
from pydantic_ai.providers.openai import OpenAIProvider

from benchmarks import bare_turn
from benchmarks.peer_turns.timing import tell
from benchmarks.scripted_server import ANSWER


def get_weather(place: str, to_user: str = "") -> str:
    """The weather of a place."""
    return bare_turn.get_weather(place)


def make_turn(address: str) -> Callable[[], str]:
    model = OpenAIChatModel("any", provider=OpenAIProvider(base_url=address, api_key="scripted"))
    agent = Agent(model, tools=[get_weather])
    loop = asyncio.new_event_loop()

    async def turn() -> str:
        async with agent.run_stream(bare_turn.QUESTION["content"]) as stream:
            return "".join([text async for text in stream.stream_text(delta=True, debounce_by=None)])

    return lambda: loop.run_until_complete(turn())


if __name__ == "__main__":
    tell("pydantic-ai-slim", make_turn, ANSWER)
