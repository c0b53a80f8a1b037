"""The scripted OpenAI-protocol server of the tests, in a process of its own. It ends when its input does.

For every request without a tool's result it answers with a call of ``get_weather``, else with a few sentences (as a
call of ``final_answer`` where there is such a tool: smolagents wants it so).
"""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from benchmarks.processes import environment

TO_USER = "I will look up the weather in Paris for you."
ANSWER = " ".join(["It is 22 degrees in Paris, and it will stay so until the evening."] * 3)


@contextmanager
def server() -> Iterator[str]:
    """The address of a server in another process, which ends with this context."""
    process = subprocess.Popen(
        [sys.executable, "-m", "benchmarks.scripted_server"],
        env=environment(),
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    assert process.stdin is not None
    assert process.stdout is not None
    try:
        yield process.stdout.readline().strip()
    finally:
        process.stdin.close()
        process.stdout.close()
        process.wait()


def main() -> None:
    from agere.testing import Answer, Call, ScriptedLLM, tool_calls

    def answer(body: dict[str, Any]) -> Answer | str:
        if any(message["role"] == "tool" or "22 degrees" in str(message["content"]) for message in body["messages"]):
            if any(tool["function"]["name"] == "final_answer" for tool in body.get("tools") or ()):
                return tool_calls(Call("final_answer", {"answer": ANSWER}, pieces=(6,)))
            return ANSWER
        return tool_calls(Call("get_weather", {"place": "Paris"}, to_user=TO_USER, pieces=(4,)))

    with ScriptedLLM(answer) as llm:
        sys.stdout.write(llm.base_url + "\n")
        sys.stdout.flush()
        sys.stdin.read()


if __name__ == "__main__":
    main()
