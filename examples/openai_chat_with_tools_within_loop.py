"""A dialogue agent with a tool, built from Jobs, handlers and callbacks: it asks, answers, and asks again.

    ChatJob                  one question and all that follows from it; at its end: the next question
    |- ResponseJob           one answer of the model; at its end: the next request, if tools were called
    |  '- handle_response    forks the stream
    |     |- user_handler            prints what is meant for you
    |     '- function_call_handler   calls the tools
    '- ResponseJob ...

A Job ends when everything below it has ended. That is how the two branches of an answer come together again.

Run it:  python examples/openai_chat_with_tools_within_loop.py
"""

import json
import sys
from collections.abc import AsyncIterator, Iterable
from typing import Any

from agere.addons.demo_weather import WEATHER_TOOL, get_current_weather
from agere.chat import ChatModel, explain, open_model
from agere.commander import PASS_WORD, CommanderAsync, HandlerCoroutine, Job, TaskNode, handler, tasker
from agere.errors import NoModelError
from agere.utils.dispatcher import async_dispatcher_tools_call_for_openai
from agere.utils.llm_async_converters import LLMAsyncAdapter

TOOLS = {"get_current_weather": get_current_weather}
MOST_ROUNDS = 5  # answers to one question, after which the agent gives up


class Chat:
    """What the whole dialogue shares: the model, and the conversation so far."""

    def __init__(self, model: ChatModel) -> None:
        self.model = model
        self.context: list[Any] = []
        self.error: Exception | None = None

    def request(self) -> Iterable[Any]:
        """Ask the model. This blocks until it begins to answer, so it is called off the loop."""
        return self.model.open_stream(self.context, tools=[WEATHER_TOOL])


# -- the first Job: a question


class ChatJob(Job[None]):
    def __init__(self, chat: Chat, question: str) -> None:
        super().__init__()
        self.chat = chat
        self.length_before = len(chat.context)
        chat.context.append({"role": "user", "content": question})
        chat.error = None
        self.add_callback_functions(
            which="at_job_end",
            functions_info={"function": self.new_chat_callback, "inject_task_node": True},
        )

    @tasker(PASS_WORD)
    async def task(self) -> None:
        await self.put_job(ResponseJob(self.chat))

    async def new_chat_callback(self, task_node: TaskNode[Any]) -> None:
        """Everything that the question led to has ended: go on with the next one."""
        if self.chat.error is not None:
            print(f"\n{explain(self.chat.error, self.chat.model)}", file=sys.stderr)
            del self.chat.context[self.length_before :]  # as if it had not been asked
        await ask_next(self.chat, task_node)


async def ask_next(chat: Chat, task_node: TaskNode[Any]) -> None:
    """Ask the person, and begin a new ChatJob: beside the old one, not below it."""
    try:
        question = await task_node.ask("\nYOU: ")
    except EOFError:
        question = "exit"
    if question.strip() == "exit":
        await task_node.exit_commander(return_result="QUIT")
    elif question.strip():
        await task_node.put_job(ChatJob(chat, question), parent=task_node.commander)
    else:
        await ask_next(chat, task_node)


class FirstJob(Job[None]):
    def __init__(self, chat: Chat) -> None:
        super().__init__()
        self.chat = chat

    @tasker(PASS_WORD)
    async def task(self) -> None:
        await ask_next(self.chat, self)


# -- an answer, and what is in it


class ResponseJob(Job[None]):
    def __init__(self, chat: Chat, rounds: int = 1) -> None:
        super().__init__()
        self.chat = chat
        self.rounds = rounds
        self.said: list[str] = []
        self.calls: list[dict[str, Any]] = []
        self.results: list[dict[str, Any]] = []
        self.add_callback_functions(
            which="at_job_end",
            functions_info={"function": self.next_round_callback, "inject_task_node": True},
        )

    @tasker(PASS_WORD)
    async def task(self) -> HandlerCoroutine[None]:
        return ResponseHandler(self).handle_response()

    async def next_round_callback(self, task_node: TaskNode[Any]) -> None:
        """Both branches have ended: remember the answer, and send the tools' results to the model."""
        if self.chat.error is not None:
            return
        answer: dict[str, Any] = {"role": "assistant", "content": "".join(self.said)}
        if not self.calls:
            self.chat.context.append(answer)
            return
        self.chat.context += [{**answer, "tool_calls": self.calls}, *self.results]
        if self.rounds == MOST_ROUNDS:
            self.chat.error = RuntimeError(f"no answer after {MOST_ROUNDS} rounds of tool calls")
        else:
            await task_node.put_job(ResponseJob(self.chat, self.rounds + 1), parent=task_node.parent)


class ResponseHandler:
    """Handles one answer of the model."""

    def __init__(self, job: ResponseJob) -> None:
        self.job = job
        self.chat = job.chat

    @handler(PASS_WORD)
    async def handle_response(self, self_handler: TaskNode[Any]) -> None:
        """Fork: what is meant for the person goes one way, what is meant for the tools another."""
        make_role_generator = await async_dispatcher_tools_call_for_openai(
            source=LLMAsyncAdapter().llm_to_async_iterable(self.chat.request),
        )
        self_handler.call_handler(self.user_handler(make_role_generator("to_user")))
        self_handler.call_handler(self.function_call_handler(make_role_generator("function_call")))

    @handler(PASS_WORD)
    async def user_handler(self, self_handler: TaskNode[Any], user_gen: AsyncIterator[str]) -> None:
        """Print the text as it arrives."""
        try:
            async for text in user_gen:
                print(text, end="", flush=True)
                self.job.said.append(text)
            print(flush=True)
        except Exception as error:  # no network, a wrong key, ...: the dialogue goes on
            self.chat.error = error

    @handler(PASS_WORD)
    async def function_call_handler(self, self_handler: TaskNode[Any], function_call_gen: AsyncIterator[str]) -> None:
        """Call the tools, and keep what they say. Their errors are results, too: the model can read them."""
        try:
            async for call_as_json in function_call_gen:
                call = json.loads(call_as_json)
                arguments = json.dumps(call["arguments"])
                function = {"name": call["name"], "arguments": arguments}
                self.job.calls.append({"id": call["tool_call_id"], "type": "function", "function": function})
                try:
                    result = await self_handler.delegate(TOOLS[call["name"]], **call["arguments"])
                except Exception as error:
                    result = json.dumps({"error": repr(error)})
                print(f"\n[tool] {call['name']}({arguments}) -> {result}", file=sys.stderr)
                self.job.results.append({"role": "tool", "tool_call_id": call["tool_call_id"], "content": result})
        except Exception as error:
            self.chat.error = error


def main() -> int:
    with open_model() as model:
        print(f"Model: {model.description}. The weather is invented.", file=sys.stderr)
        commander = CommanderAsync[str]()
        print(commander.run(FirstJob(Chat(model))))
    return 0


if __name__ == "__main__":
    try:
        sys.exit(main())
    except KeyboardInterrupt:
        sys.exit(130)
    except NoModelError as error:
        sys.exit(str(error))
