"""The same agent for a single round: one question, its tool calls, its answer, and the commander exits by itself.

Here ``function_call_handler`` itself puts the next ``ResponseJob``: the answers of one question hang below each other.

Run it:  python examples/openai_chat_with_tools.py "What is the weather in Rome?"
"""

import json
import logging
import sys
from collections.abc import AsyncIterator
from typing import Any

from agere.addons.demo_weather import WEATHER_TOOL, get_current_weather
from agere.chat import ChatModel, explain, open_model
from agere.commander import PASS_WORD, CommanderAsync, HandlerCoroutine, Job, TaskNode, handler, tasker
from agere.errors import NoModelError
from agere.utils.dispatcher import async_dispatcher_tools_call_for_openai
from agere.utils.llm_async_converters import LLMAsyncAdapter

TOOLS = {"get_current_weather": get_current_weather}
MOST_MESSAGES = 20


class ResponseJob(Job[None]):
    """One answer of the model to the messages so far."""

    def __init__(self, model: ChatModel, messages: list[Any]) -> None:
        super().__init__()
        self.model = model
        self.messages = messages

    @tasker(PASS_WORD)
    async def task(self) -> HandlerCoroutine[None]:
        return handle_response(self.model, self.messages)


@handler(PASS_WORD)
async def handle_response(self_handler: TaskNode[Any], model: ChatModel, messages: list[Any]) -> None:
    make_role_generator = await async_dispatcher_tools_call_for_openai(
        source=LLMAsyncAdapter().llm_to_async_iterable(lambda: model.open_stream(messages, tools=[WEATHER_TOOL])),
    )
    self_handler.call_handler(user_handler(make_role_generator("to_user")))
    self_handler.call_handler(function_call_handler(make_role_generator("function_call"), model, messages))


@handler(PASS_WORD)
async def user_handler(self_handler: TaskNode[Any], user_gen: AsyncIterator[str]) -> None:
    async for text in user_gen:
        print(text, end="", flush=True)
    print(flush=True)


@handler(PASS_WORD)
async def function_call_handler(
    self_handler: TaskNode[Any], function_call_gen: AsyncIterator[str], model: ChatModel, messages: list[Any]
) -> None:
    calls: list[Any] = []
    results: list[Any] = []
    async for call_as_json in function_call_gen:
        call = json.loads(call_as_json)
        function = {"name": call["name"], "arguments": json.dumps(call["arguments"])}
        calls.append({"id": call["tool_call_id"], "type": "function", "function": function})
        try:
            result = await self_handler.delegate(TOOLS[call["name"]], **call["arguments"])
        except Exception as error:
            result = json.dumps({"error": repr(error)})  # the model can read it
        print(f"[tool] {call['name']} -> {result}", file=sys.stderr)
        results.append({"role": "tool", "tool_call_id": call["tool_call_id"], "content": result})
    if calls and len(messages) < MOST_MESSAGES:
        answered = [*messages, {"role": "assistant", "content": None, "tool_calls": calls}, *results]
        await self_handler.put_job(ResponseJob(model, answered))


def main() -> int:
    # Agere logs each failure with its traceback, unless somebody says otherwise; here it is told in one line instead.
    logging.getLogger("agere.node").setLevel(logging.CRITICAL)
    with open_model() as model:
        print(f"Model: {model.description}. The weather is invented.", file=sys.stderr)
        question = " ".join(sys.argv[1:]) or ask()
        if question in ("", "exit"):
            return 0
        job = ResponseJob(model, [{"role": "user", "content": question}])
        with CommanderAsync[Any]() as commander:
            # The Future resolves when all that the job led to has ended, and tells what failed in it, if anything did.
            error = commander.submit(job).exception()
        if error is not None:
            print(explain(error, model), file=sys.stderr)
            return 1
    return 0


def ask() -> str:
    try:
        return input("YOU: ").strip()
    except EOFError:
        return ""


if __name__ == "__main__":
    try:
        sys.exit(main())
    except KeyboardInterrupt:
        sys.exit(130)
    except NoModelError as error:
        sys.exit(str(error))
