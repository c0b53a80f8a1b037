"""One turn: a question, the model's answer, the tools it calls on the way, up to its last word.

The tree of a turn, in the tutorial's style::

    ChatJob                              the turn; its end callback keeps or drops what was said
    |- ResponseJob                       one request; its end callback starts the next one, if tools were called
    |  '- handle_response                splits the stream
    |     |- user_handler                shows the text
    |     '- function_call_handler       gathers the calls, and runs the tools
    |        '- run_tool ...
    '- ResponseJob ...

A job ends when all below it has ended. So the end of a ``ResponseJob`` is the one moment at which both branches are
through, and at which its messages can be put together in the right order.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import contextmanager
from typing import Any, cast

from agere.commander import PASS_WORD, HandlerCoroutine, Job, TaskNode, handler, tasker
from agere.errors import AgereError, ToolCallParseError
from agere.utils.dispatcher import async_dispatcher_tools_call_for_openai
from agere.utils.llm_async_converters import LLMAsyncAdapter

from .agent import Agent
from .conversation import Message
from .tools import ToolCall, ToolResult
from .trouble import explain


class TooManyRoundsError(AgereError, RuntimeError):
    """The model went on calling tools without an answer."""


class Turn:
    """What a turn has come to. Loop only."""

    def __init__(self, agent: Agent, question: str) -> None:
        self.agent = agent
        self.before = agent.conversation.messages
        self.messages: list[Message] = [{"role": "user", "content": question}]
        self.rounds = 0
        self.calls = 0
        self.answered = False
        self.error: BaseException | None = None

    @contextmanager
    def failing(self) -> Iterator[None]:
        """What goes wrong in here is the turn's failure. The first counts: a broken stream reaches both branches."""
        try:
            yield
        except Exception as error:  # noqa: BLE001 - the end of the turn tells of it
            self.error = self.error or error


class Round:
    """What one request has brought."""

    def __init__(self) -> None:
        self.said: list[str] = []
        self.shown = asyncio.Event()
        self.results: list[ToolResult] = []

    def messages(self) -> list[Message]:
        """The answer and the results of its calls, as the conversation keeps them."""
        said: Message = {"role": "assistant", "content": "".join(self.said)}
        if not self.results:
            return [said]
        calls = [result.call.message() for result in self.results]
        return [{**said, "content": said["content"] or None, "tool_calls": calls}] + [
            result.message() for result in self.results
        ]


class ChatJob(Job[str]):
    """A whole turn.

    When it has ended, ``turn.error`` tells what went wrong, if anything did; then the conversation is as it was.

    Args:
        agent: the agent that is asked.
        question: what it is asked.
    """

    def __init__(self, agent: Agent, question: str) -> None:
        super().__init__()
        self.turn = Turn(agent, question)
        self.add_callback_functions("at_job_end", {"function": self.end_turn, "inject_task_node": True})

    @tasker(PASS_WORD)
    async def task(self) -> None:
        """Make the first request."""
        self.put_job(ResponseJob(self.turn))

    async def end_turn(self, task_node: TaskNode[Any]) -> None:
        """Keep what was said, or tell what went wrong."""
        turn = self.turn
        if turn.answered:
            turn.agent.conversation.add_turn(turn.messages)
            return
        turn.error = turn.error or RuntimeError("the turn ended without an answer")
        if not isinstance(turn.error, BrokenPipeError):  # then nobody is there to be told
            await show(task_node, turn.agent.view.error, explain(turn.error, turn.agent.model))


class ResponseJob(Job[None]):
    """One request to the model, and all that follows from it at once."""

    def __init__(self, turn: Turn) -> None:
        super().__init__()
        self.turn = turn
        self.round = Round()
        self.add_callback_functions("at_job_end", {"function": self.next_round, "inject_task_node": True})

    @tasker(PASS_WORD)
    async def task(self) -> HandlerCoroutine[None]:
        """Have the answer handled."""
        return ResponseHandler(self.turn, self.round).handle_response()

    async def next_round(self, task_node: TaskNode[Any]) -> None:
        """Both branches are through: send the tools' results back to the model."""
        turn = self.turn
        if turn.error is not None:
            return
        turn.messages += self.round.messages()
        turn.rounds += 1
        if not self.round.results:
            turn.answered = True
            return
        with turn.failing():
            if turn.rounds >= turn.agent.max_rounds:
                raise TooManyRoundsError(f"the model called tools {turn.rounds} times without an answer: turn given up")
            task_node.put_job(ResponseJob(turn), parent=task_node.parent)


class ResponseHandler:
    """Handles one answer: what is for the user, and what is for the tools."""

    def __init__(self, turn: Turn, round_: Round) -> None:
        self.turn = turn
        self.agent = turn.agent
        self.round = round_

    @handler(PASS_WORD)
    async def handle_response(self, self_handler: TaskNode[Any]) -> None:
        """Make the request, off the loop, and fork its answer."""
        turn, model, toolbox = self.turn, self.agent.model, self.agent.toolbox
        messages = cast("Any", [*turn.before, *turn.messages])
        with turn.failing():
            make_role_generator = await async_dispatcher_tools_call_for_openai(
                source=LLMAsyncAdapter().llm_to_async_iterable(lambda: model.open_stream(messages, toolbox.schemas))
            )
            self_handler.call_handler(self.user_handler(make_role_generator("to_user")))
            self_handler.call_handler(self.function_call_handler(make_role_generator("function_call")))

    @handler(PASS_WORD)
    async def user_handler(self, self_handler: TaskNode[Any], user_gen: AsyncIterator[str]) -> None:
        """Show the text as it arrives."""
        view = self.agent.view
        try:
            with self.turn.failing():
                async for text in user_gen:
                    self.round.said.append(text)
                    await show(self_handler, view.text, text)
                await show(self_handler, view.end_of_text)
        finally:
            self.round.shown.set()

    @handler(PASS_WORD)
    async def function_call_handler(self, self_handler: TaskNode[Any], function_call_gen: AsyncIterator[str]) -> None:
        """Gather the calls; then run the tools, side by side."""
        turn = self.turn
        with turn.failing():
            calls = [call async for call in self.read_calls(function_call_gen)]
            await self.round.shown.wait()  # what the model says comes before what it does
            if turn.error is None:
                futures = [self_handler.submit(self.run_tool(call)) for call in calls]
                results = [await future for future in futures]
                self.round.results = [result for result in results if result is not None]

    async def read_calls(self, function_call_gen: AsyncIterator[str]) -> AsyncIterator[ToolCall]:
        """The calls as they come, malformed ones too."""
        while True:
            self.turn.calls += 1
            try:
                yield ToolCall.from_json(await anext(function_call_gen), self.turn.calls)
            except StopAsyncIteration:
                return
            except ToolCallParseError as error:
                yield ToolCall.malformed(error, self.turn.calls)

    @handler(PASS_WORD)
    async def run_tool(self, self_handler: TaskNode[Any], call: ToolCall) -> ToolResult | None:
        """Make one call, and show it. Gives nothing if it cannot be shown: the turn has failed then."""
        with self.turn.failing():
            await show(self_handler, self.agent.view.call, call)
            result = await self.agent.toolbox.run(self_handler, call)
            await show(self_handler, self.agent.view.result, result)
            return result
        return None


async def show(node: TaskNode[Any], fn: Callable[..., None], *args: Any) -> None:
    """Loop only. Have the person's thread show something; raises what that raises (a pipe that is gone, say)."""
    await asyncio.wrap_future(node.deliver(fn, *args))
