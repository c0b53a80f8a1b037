"""The dialogue agent that the tutorial leads to, written anew: Jobs, handlers, a fork, a circle, a callback."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterable, Callable, Iterable
from typing import Any

from agere.commander import PASS_WORD, Job, handler, tasker
from agere.utils.dispatcher import async_dispatcher_tools_call_for_openai
from agere.utils.llm_async_converters import LLMAsyncAdapter

Messages = list[dict[str, Any]]
Model = Callable[[Messages], Iterable[Any]]


class Setting:
    """What all parts of one talk share."""

    def __init__(self, model: Model, tools: dict[str, Callable[..., Any]], show: Callable[[str], Any], **style: bool):
        self.model, self.tools, self.show, self.style = model, tools, show, style
        self.messages: Messages = []


class TurnJob(Job):
    """One turn of the talk: ask the model, and leave its answer to others."""

    def __init__(self, setting: Setting):
        self.setting = setting
        super().__init__()

    @tasker(PASS_WORD)
    async def task(self):
        answer = AnswerJob(self.setting.model(self.setting.messages), self.setting)
        phrase = {"function": self.next_turn, "inject_task_node": True}
        answer.add_callback_functions(
            which="at_job_end", functions_info=[phrase] if self.setting.style.get("lists") else phrase
        )
        if self.setting.style.get("unawaited"):
            self.put_job(answer)
        else:
            await self.put_job(answer)

    async def next_turn(self, task_node):
        line = input("YOU: ")
        if line == "exit":
            await self.exit_commander(return_result="QUIT")
            return
        self.setting.messages.append({"role": "user", "content": line})
        await task_node.put_job(job=TurnJob(self.setting), parent=task_node.commander)


class AnswerJob(Job):
    """The model's answer; a handler does the work, as the tail."""

    def __init__(self, response: Iterable[Any], setting: Setting):
        super().__init__()
        self.response = response
        self.setting = setting

    @tasker(PASS_WORD)
    async def task(self):
        return Reader(self.setting).read(response=self.response)


class Reader:
    """Splits an answer in two lines."""

    def __init__(self, setting: Setting):
        self.setting = setting

    @handler(PASS_WORD)
    async def read(self, self_handler, response):
        """Fork."""
        make = await async_dispatcher_tools_call_for_openai(
            source=LLMAsyncAdapter().llm_to_async_iterable(response=response),
        )
        self_handler.call_handler(Lines(self.setting).to_person(make("to_user")))
        self_handler.call_handler(Lines(self.setting).to_tools(calls=make("function_call")))


class Lines:
    """The two lines."""

    def __init__(self, setting: Setting):
        self.setting = setting

    @handler(PASS_WORD)
    async def to_person(self, self_handler, said: AsyncIterable[str]) -> None:
        pieces = [piece async for piece in said]
        if pieces:
            self.setting.show("".join(pieces))
            self.setting.messages.append({"role": "assistant", "content": "".join(pieces)})

    @handler(PASS_WORD)
    async def to_tools(self, self_handler, calls: AsyncIterable[str]) -> None:
        done: Messages = []
        async for raw in calls:
            call = json.loads(raw)
            result = await asyncio.to_thread(self.setting.tools[call["name"]], **call["arguments"])
            done.append({"role": "tool", "tool_call_id": call["tool_call_id"], "content": json.dumps(result)})
        if not done:
            return
        self.setting.messages.extend(done)
        response = await asyncio.to_thread(self.setting.model, self.setting.messages)
        await self_handler.put_job(AnswerJob(response, self.setting))
