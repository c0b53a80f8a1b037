"""The tool turn by smolagents, streamed. Its answer is a call of ``final_answer``: that is how its agents end."""

# mypy: ignore-errors
from __future__ import annotations

from collections.abc import Callable

from smolagents import OpenAIServerModel, ToolCallingAgent, tool

from benchmarks import bare_turn
from benchmarks.peer_turns.timing import tell
from benchmarks.scripted_server import ANSWER


@tool
def get_weather(place: str, to_user: str = "") -> str:
    """The weather of a place.

    Args:
        place: where.
        to_user: what to tell the user meanwhile.
    """
    return bare_turn.get_weather(place)


def make_turn(address: str) -> Callable[[], str]:
    model = OpenAIServerModel("any", api_base=address, api_key="scripted")
    agent = ToolCallingAgent([get_weather], model, stream_outputs=True, verbosity_level=-1)
    agent.logger.console.quiet = True  # what it prints is not what is measured

    def turn() -> str:
        last = None
        for step in agent.run(bare_turn.QUESTION["content"], stream=True):
            last = step
        return str(getattr(last, "output", last))

    return turn


if __name__ == "__main__":
    tell("smolagents", make_turn, ANSWER)
