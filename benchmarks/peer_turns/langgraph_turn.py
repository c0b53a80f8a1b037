"""The tool turn by langgraph, streamed."""

# mypy: ignore-errors
from __future__ import annotations

from collections.abc import Callable

from langchain.agents import create_agent
from langchain_core.tools import tool
from langchain_openai import ChatOpenAI

from benchmarks import bare_turn
from benchmarks.peer_turns.timing import tell
from benchmarks.scripted_server import ANSWER


@tool
def get_weather(place: str, to_user: str = "") -> str:
    """The weather of a place."""
    return bare_turn.get_weather(place)


def make_turn(address: str) -> Callable[[], str]:
    model = ChatOpenAI(model="any", base_url=address, api_key="scripted", max_retries=0, streaming=True)
    graph = create_agent(model, [get_weather])

    def turn() -> str:
        question = {"messages": [bare_turn.QUESTION]}
        return "".join(
            str(chunk.content)
            for chunk, about in graph.stream(question, stream_mode="messages")
            if about["langgraph_node"] != "tools"
        )

    return turn


if __name__ == "__main__":
    tell("langgraph", make_turn, ANSWER)
