"""dispatcher: splitting streamed arguments of a tool call into text for the user and the call."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import AsyncIterator, Callable, Coroutine, Sequence
from dataclasses import dataclass
from functools import partial
from statistics import median
from typing import TYPE_CHECKING, Any

from agere.utils.dispatcher import async_dispatcher_tools_call_for_openai
from benchmarks.measure import MICRO, Case, Pairs, rounds
from benchmarks.workload import FULL, QUICK, TINY, Workload

if TYPE_CHECKING:
    from openai.types.chat import ChatCompletionChunk

FRAGMENT = 4
WORDS = "the weather in Paris is mild today and it will stay so until the evening when some rain may come "
ESCAPED_WORDS = 'caf\u00e9 "mild"\n na\u00efve\t \\o/ \U0001f327 "rain"\n '
"""At least one escape in every word, once it is JSON in plain ASCII."""


@dataclass(frozen=True)
class Size:
    pairs: dict[int, int]
    """How often, by the number of characters."""


@dataclass(frozen=True)
class Answer:
    """A streamed call, and what must come out of it."""

    chunks: list[ChatCompletionChunk]
    text: str
    arguments: dict[str, Any]


def make(kind: str, characters: int) -> Answer:
    """A call with so many characters of arguments, in fragments of four characters."""
    words = ESCAPED_WORDS if kind == "escapes" else WORDS
    room = characters - len('{"to_user": "", "place": "Paris"}')
    filling = words * max(1, round(room / (len(json.dumps(words)) - 2)))
    arguments = {"note": filling} if kind == "without to_user" else {"to_user": filling}
    arguments["place"] = "Paris"
    raw = json.dumps(arguments)
    pieces = [raw[at : at + FRAGMENT] for at in range(0, len(raw), FRAGMENT)]
    chunks = [opening_chunk(), *fragment_chunks(pieces)]
    text = arguments.pop("to_user", "")
    return Answer(chunks, text, arguments)


def opening_chunk() -> ChatCompletionChunk:
    """The chunk that names the function."""
    function = {"name": "get_weather", "arguments": ""}
    return _chunk({"index": 0, "id": "call_0", "type": "function", "function": function})


def fragment_chunks(pieces: Sequence[str]) -> list[ChatCompletionChunk]:
    """For each fragment a chunk as the openai client makes it.

    Equal fragments share one: a megabyte of chunks would fill the memory with what a stream throws away at once, and
    measure its caches.
    """
    chunk = _chunk({"index": 0, "function": {"arguments": ""}})
    choice = chunk.choices[0]
    delta = choice.delta
    assert delta.tool_calls is not None
    call = delta.tool_calls[0]
    assert call.function is not None
    made: dict[str, ChatCompletionChunk] = {}
    for piece in set(pieces):
        function = call.function.model_copy(update={"arguments": piece})
        calls = [call.model_copy(update={"function": function})]
        choices = [choice.model_copy(update={"delta": delta.model_copy(update={"tool_calls": calls})})]
        made[piece] = chunk.model_copy(update={"choices": choices})
    return [made[piece] for piece in pieces]


def _chunk(call: dict[str, Any]) -> ChatCompletionChunk:
    from openai.types.chat import ChatCompletionChunk

    choices = [{"index": 0, "delta": {"tool_calls": [call]}, "finish_reason": None}]
    envelope = {"id": "chatcmpl-1", "object": "chat.completion.chunk", "created": 1, "model": "any"}
    return ChatCompletionChunk.model_validate({**envelope, "choices": choices})


async def instantly(chunks: list[ChatCompletionChunk]) -> AsyncIterator[ChatCompletionChunk]:
    for chunk in chunks:
        yield chunk


async def split(answer: Answer) -> float:
    begun = time.perf_counter()
    make_generator = await async_dispatcher_tools_call_for_openai(instantly(answer.chunks))
    texts = [text async for text in make_generator("to_user")]
    calls = [call async for call in make_generator("function_call")]
    seconds = time.perf_counter() - begun
    if "".join(texts) != answer.text or [json.loads(call)["arguments"] for call in calls] != [answer.arguments]:
        raise AssertionError("the dispatcher has not given what was sent")
    return seconds


async def join_and_parse(answer: Answer) -> float:
    begun = time.perf_counter()
    fragments: list[str] = []
    async for chunk in instantly(answer.chunks):
        calls = chunk.choices[0].delta.tool_calls
        if calls and calls[0].function is not None:
            fragments.append(calls[0].function.arguments or "")
    arguments = json.loads("".join(fragments))
    seconds = time.perf_counter() - begun
    if arguments.pop("to_user", "") != answer.text or arguments != answer.arguments:
        raise AssertionError("the floor has not given what was sent")
    return seconds


def run(size: Size) -> list[Case]:
    least, most = min(size.pairs), max(size.pairs)
    cases: list[Case] = []
    for kind, goal in (("with to_user", 2.2), ("without to_user", 2.2), ("escapes", 4.4)):
        short = make(kind, least)
        for characters, pairs in size.pairs.items():
            answer = make(kind, characters)
            probes = [partial(each_fragment, split, answer), partial(each_fragment, join_and_parse, answer)]
            if characters == most:
                probes.append(partial(several, split, short))
            ours, beside, *small = rounds(probes, pairs)
            each = Pairs(ours, beside)
            cases.append(each.ratio(f"{_size(characters)}, {kind}", goal, MICRO, "us/fragment"))
        growth = Pairs(ours, small[0])
        cases.append(growth.ratio(f"{_size(least)} to {_size(most)}, {kind}", 1.3, MICRO, "us/fragment"))
    return cases


def each_fragment(measure: Callable[[Answer], Coroutine[Any, Any, float]], answer: Answer) -> float:
    return asyncio.run(measure(answer)) / len(answer.chunks)


def several(measure: Callable[[Answer], Coroutine[Any, Any, float]], answer: Answer) -> float:
    return median(each_fragment(measure, answer) for _ in range(9))


def _size(characters: int) -> str:
    return "1 MB" if characters == 1_000_000 else f"{characters // 1000} KB"


WORKLOAD = Workload(
    name="dispatcher",
    about="10 KB and 1 MB of arguments in fragments of 4 characters, split and compared with what was sent",
    beside="joining the fragments and parsing once; itself at 10 KB",
    run=run,
    sizes={
        FULL: Size({10_000: 31, 1_000_000: 9}),
        QUICK: Size({10_000: 7, 1_000_000: 1}),
        TINY: Size({1_000: 1, 4_000: 1}),
    },
)
