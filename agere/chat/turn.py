"""One turn: a question, the model's answer, the tools it calls on the way, up to its last word.

The tree of a turn::

    turn                        a Job: one question; at its end the next turn of its Chat may begin
    '- answer_question          its tail: asks, has tools called, asks again, until the model answers
       |- read_answer           one request: emits the text as it arrives, and gathers the calls
       |- weather, ...          those calls, side by side
       '- read_answer ...       the next request

Nothing in here is private to Agere: ``docs/agent.md`` builds the same from its parts.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from time import monotonic
from typing import TYPE_CHECKING, Any

from agere.commander import PASS_WORD, HandlerCoroutine, Job, TaskNode, handler, tasker
from agere.errors import (
    RoundLimitError,
    TimeLimitError,
    TokenLimitError,
    ToolCallLimitError,
    ToolCallParseError,
    TurnLimitError,
)
from agere.tools import Toolbox, ToolCall, ToolResult
from agere.utils.dispatcher import async_dispatcher_tools_call_for_openai
from agere.utils.llm_async_converters import LLMAsyncAdapter

from .answer import Answer
from .limits import bound
from .prompt import Prompt
from .queue import Place
from .record import Turn
from .trouble import clean

if TYPE_CHECKING:
    from .agent import Chat
    from .model import ChatModel


class TurnJob(Job[Answer]):
    """One turn of a ``Chat``; made by ``Chat.turn``. Submit it like any Job. It can be submitted again once it ended.

    It emits text (``str``) as it arrives and, if asked to, ``ToolCall`` and ``ToolResult`` objects between; or nothing.
    Its result is an ``Answer``.

    Attributes:
        chat: the Chat.
        prompt: the question.
        events: whether it emits calls and results, too.
        quiet: whether it emits nothing.
    """

    def __init__(self, chat: Chat, prompt: Prompt, events: bool = False, quiet: bool = False) -> None:
        super().__init__(name="turn")
        self.chat = chat
        self.prompt = prompt
        self.events = events
        self.quiet = quiet
        self._place: Place | None = None
        self._turn: Turn | None = None
        # Here, not in a body: only at the end of all that it led to is the turn certain to be over, and may the next
        # one begin. (Its answer is kept in the body: who asked hears of it if that fails.) Not as methods of this
        # object: it would hold itself, and who drops its stream would wait for the garbage collector.
        self.add_callback_functions("at_job_end", {"function": _end, "inject_task_node": True})
        self.add_callback_functions("at_terminate", {"function": _end, "inject_task_node": True})

    @tasker(PASS_WORD)
    async def task(self) -> HandlerCoroutine[Answer]:
        """Only the tail: it may have to wait for another turn, and would hold up the lane."""
        self._turn = None
        self._place = Place(self, _end)
        return self.answer_question()

    @handler(PASS_WORD)
    async def answer_question(self, self_handler: TaskNode[Any]) -> Answer:
        """Ask, have tools called, ask again, until the model answers."""
        chat = self.chat
        if self._place is not None:
            await chat.queue.enter(self._place)
        chat.check_open()
        self._turn = turn = Turn(self.prompt, chat.conversation)
        seconds = chat.limits.seconds
        try:
            async with asyncio.timeout(seconds) as clock:
                model = await chat.open_model(self_handler)
                while True:
                    toolbox = await chat.toolbox.opened(self_handler)
                    calls = await self.read_answer(model, toolbox, turn)
                    if not calls:
                        break
                    self._check(turn, calls)
                    await self._call_tools(self_handler, toolbox, turn, calls)
                    _check_alive(turn)
        except TimeoutError as error:
            if not clock.expired():
                raise
            raise TimeLimitError(f"no answer within {seconds:g} s (max_seconds): turn given up") from error
        _check_alive(turn)
        answer = turn.answer(model.name)
        turn.keep()
        return answer

    @handler(PASS_WORD)
    async def read_answer(self, _: TaskNode[Any], model: ChatModel, toolbox: Toolbox, turn: Turn) -> list[ToolCall]:
        """Make one request, off the loop. Emit the text as it arrives, and gather the calls."""
        chat = self.chat
        opener = model.stream_opener(turn.context, toolbox.schemas, chat.options)
        most = chat.limits.tokens
        if most is not None:
            opener = bound(opener, most - turn.tokens, most)
        this = turn.begin_round()
        adapter = LLMAsyncAdapter()
        try:
            make_role_generator = await async_dispatcher_tools_call_for_openai(adapter.llm_to_async_iterable(opener))
            texts, calls = make_role_generator("to_user"), make_role_generator("function_call")
            async for text in texts:
                if this.begins_a_line and not self.events:
                    await self._say("\n")
                turn.hear(text)
                await self._say(text)
            wanted = [call async for call in _read_calls(calls, turn.calls)]
        except Exception as error:
            clean(error, model)
            raise
        finally:
            turn.end_round(adapter.received_message)
        turn.complete_round(wanted)
        return wanted

    async def _say(self, text: str) -> None:
        """Emit text. While the reader is slow, the turn's place in the queue says so to those who wait behind it."""
        if self.quiet:
            return
        place = self._place
        if place is not None:
            place.held_since = monotonic()
        await self.emit(text)
        if place is not None:
            place.held_since = None

    async def _call_tools(self, node: TaskNode[Any], toolbox: Toolbox, turn: Turn, calls: list[ToolCall]) -> None:
        """Make the calls of one answer."""

        def take(result: ToolResult) -> None:
            turn.take(result)
            if self.events:
                self.emit(result)

        if self.events:
            for call in calls:
                self.emit(call)
        if len(calls) == 1:  # nothing to do side by side: no task for it
            take(await toolbox.run(node, calls[0]))
        else:
            await toolbox.run_all(node, calls, on_result=take)

    def _check(self, turn: Turn, calls: list[ToolCall]) -> None:
        """The model wants to call tools. May the turn go on?"""
        limits = self.chat.limits
        error: TurnLimitError
        if limits.rounds is not None and turn.rounds >= limits.rounds:
            error = RoundLimitError(f"no answer after {turn.rounds} requests (max_rounds): turn given up")
        elif limits.tool_calls is not None and turn.calls > limits.tool_calls:
            error = ToolCallLimitError(
                f"the model asked for {turn.calls} tool calls, and at most {limits.tool_calls} are made "
                f"(max_tool_calls); the last {len(calls)} were not: turn given up"
            )
        elif limits.tokens is not None and turn.tokens >= limits.tokens:
            error = TokenLimitError(
                f"the model wrote {turn.tokens} tokens, and {limits.tokens} are the most (max_tokens): turn given up"
            )
        else:
            return
        for call in calls:  # so that the model, if the turn is kept, knows for certain
            turn.take(ToolResult.failure(call, f"this call was not made: {error}"))
        raise error


def _check_alive(turn: Turn) -> None:
    if turn.over:  # its loop was stuck, it was put out, and has come to life again
        raise asyncio.CancelledError


def _end(task_node: Any) -> None:
    """All that the turn led to has ended, or the turn was terminated. One that was not kept is given up."""
    job: TurnJob = task_node
    turn, place = job._turn, job._place
    try:
        if turn is not None:
            turn.give_up(job.chat.keep_said)
    finally:
        job._place = None
        if place is not None:
            job.chat.queue.leave(place)


async def _read_calls(calls: AsyncIterator[str], before: int) -> AsyncIterator[ToolCall]:
    """The calls as they come, malformed ones too; ``before`` came in earlier answers."""
    number = before
    while True:
        number += 1
        try:
            yield ToolCall.from_json(await anext(calls), number)
        except StopAsyncIteration:
            return
        except ToolCallParseError as error:
            yield ToolCall.malformed(error, number)
