"""Class 5, the dispatcher: generated answers, cut anywhere, read in every manner; and all of it against an oracle."""

from __future__ import annotations

import asyncio
import contextlib
import json
import random
from collections.abc import Iterator
from typing import Any

from agere import Commander
from agere.errors import ToolCallParseError
from agere.utils.dispatcher import async_dispatcher_tools_call_for_openai
from agere.utils.llm_async_converters import LLMAsyncAdapter

from .ledger import PATIENCE_SECONDS
from .scenario import Scenario
from .verdicts import check, same

READERS = (
    "both at once",
    "user first",
    "calls first",
    "only user",
    "only calls",
    "neither",
    "read twice",
    "closed early",
    "reader cancelled",
    "in two nodes",
    "dropped",
)
ENDS = ("whole", "cut off", "source error", "trailing usage", "runaway", "malformed")
SEEDS = 6


def scenarios() -> Iterator[Scenario]:
    for readers in READERS:
        for end in ENDS:
            for via in ("async source", "thread"):
                name = f"dispatcher/{readers}/{end}/{via}".replace(" ", "-")
                yield Scenario(name, dispatch, (readers, end, via))


class Answer:
    """A generated answer of a model: its chunks, and what they say."""

    def __init__(self, seed: int, end: str) -> None:
        dice = random.Random(f"{seed} {end}")
        self.error = LookupError("of the source") if end == "source error" else None
        self.calls: list[dict[str, Any]] = []
        self.texts: list[str] = []
        self.chunks: list[dict[str, Any]] = []
        if dice.random() < 0.3:
            self.texts.append(_text(dice))
            self._say(dice, {"content": self.texts[0]}, "content")
        for index in range(dice.randrange(1, 4)):
            flag = _text(dice) if dice.random() < 0.7 else None
            arguments = {_text(dice, 6): _value(dice) for _ in range(dice.randrange(4))}
            arguments.pop("to_user", None)
            spoken = list(arguments.items())
            if flag is not None:
                spoken.insert(dice.randrange(len(spoken) + 1), ("to_user", flag))
            raw = json.dumps(dict(spoken), ensure_ascii=dice.random() < 0.5)
            last = index == 99
            self._call(dice, index, raw, last)
            self.calls.append(
                {"tool_call_index": index, "tool_call_id": f"id{index}", "name": "tool", "arguments": arguments}
            )
            if flag:
                self.texts.append(flag)
        self.broken = 0
        match end:
            case "cut off":
                self._call(dice, 3, '{"a": [1, 2', True)
                self.broken = 1
            case "malformed":
                self._call(dice, 3, '{"a": nope}', True)
                self.broken = 1
            case "runaway":
                self._call(dice, 3, '{"a": "' + "x" * 5000, True)
                self.broken = 1
            case "trailing usage":
                self.chunks.append({"choices": [{"index": 0, "delta": {}, "finish_reason": "tool_calls"}]})
                self.chunks.append({"choices": [], "usage": {"total_tokens": 3}})

    def _call(self, dice: random.Random, index: int, raw: str, _last: bool) -> None:
        self._delta({"tool_calls": [{"index": index, "id": f"id{index}", "function": {"name": "tool"}}]})
        for piece in _cut(dice, raw):
            self._delta({"tool_calls": [{"index": index, "function": {"arguments": piece}}]})

    def _say(self, dice: random.Random, delta: dict[str, str], key: str) -> None:
        for piece in _cut(dice, delta[key]):
            self._delta({key: piece})

    def _delta(self, delta: dict[str, Any]) -> None:
        self.chunks.append({"choices": [{"index": 0, "delta": delta, "finish_reason": None}]})

    async def stream(self) -> Any:
        for chunk in self.chunks:
            await asyncio.sleep(0)
            yield chunk
        if self.error is not None:
            raise self.error

    def iterate(self) -> Iterator[Any]:
        yield from self.chunks
        if self.error is not None:
            raise self.error


def _cut(dice: random.Random, text: str) -> Iterator[str]:
    longest = dice.choice((1, 3, 9, 200))
    while text:
        length = dice.randrange(1, longest + 1)
        yield text[:length]
        text = text[length:]


def _text(dice: random.Random, longest: int = 30) -> str:
    letters = 'ab"\\\n\té{}[]:,\u2028\U0001f600/ 0'
    return "".join(dice.choice(letters) for _ in range(dice.randrange(1, longest)))


def _value(dice: random.Random, depth: int = 0) -> Any:
    kind = dice.randrange(7 if depth < 3 else 5)
    if kind == 5:
        return [_value(dice, depth + 1) for _ in range(dice.randrange(3))]
    if kind == 6:
        return {_text(dice, 6): _value(dice, depth + 1) for _ in range(dice.randrange(3))}
    return (None, True, dice.randrange(-99, 99), dice.random(), _text(dice))[kind]


def dispatch(readers: str, end: str, via: str) -> None:
    for seed in range(SEEDS):
        answer = Answer(seed, end)
        with Commander[Any](grace=1.0) as commander:
            commander.submit(_read, readers, answer, via).result(PATIENCE_SECONDS)


async def _read(readers: str, answer: Answer, via: str) -> None:
    source: Any = answer.stream() if via == "async source" else None
    if source is None:
        source = LLMAsyncAdapter().llm_to_async_iterable(answer.iterate())
    make = await async_dispatcher_tools_call_for_openai(source, max_arguments=2000)
    user, calls = make("to_user"), make("function_call")
    texts: list[str] = []
    found: list[Any] = []
    errors: list[BaseException] = []

    async def read_user(limit: int | None = None) -> None:
        await _drain(user, texts, errors, limit)

    async def read_calls(limit: int | None = None) -> None:
        await _drain(calls, found, errors, limit)

    full_texts = full_calls = True
    match readers:
        case "both at once":
            await asyncio.gather(read_user(), read_calls())
        case "user first":
            await read_user()
            await read_calls()
        case "calls first":
            await read_calls()
            await read_user()
        case "only user":
            full_calls = False
            await read_user()
        case "only calls":
            full_texts = False
            await read_calls()
        case "neither" | "dropped":
            full_texts = full_calls = False
        case "read twice":
            await read_user(2)
            await read_calls(1)
            await asyncio.gather(read_user(), read_calls())
            check([text async for text in user] == [] or errors, "a second reading gave something")
        case "closed early":
            full_texts = full_calls = False
            await read_user(1)
            await user.aclose()
            await calls.aclose()
            same([text async for text in user], [], "what a closed reader gives")
        case "reader cancelled":
            for _ in range(5):
                reader = asyncio.ensure_future(read_user(1))
                await asyncio.sleep(0)
                reader.cancel()
                with contextlib.suppress(asyncio.CancelledError):
                    await reader
            await asyncio.gather(read_user(), read_calls())
        case "in two nodes":
            import agere

            node = agere.current_node()
            one, two = node.submit(read_user), node.submit(read_calls)
            await one
            await two
    if readers == "dropped":
        del user, calls, make
        return
    if full_texts:
        heard = "".join(texts)
        promised = "\n".join(answer.texts)
        check(heard == promised or (answer.broken and heard.startswith(promised)), f"{heard!r}, not {promised!r}")
    if full_calls:
        same([json.loads(call) for call in found], answer.calls, "the calls")
        broken = [error for error in errors if isinstance(error, ToolCallParseError)]
        same(len(broken), answer.broken, "parse errors")
    if answer.error is not None and (full_texts or full_calls):
        same(
            sum(error is answer.error for error in errors),
            int(full_texts) + int(full_calls),
            "the source's error arrived",
        )
    await user.aclose()
    await calls.aclose()


async def _drain(reader: Any, got: list[Any], errors: list[BaseException], limit: int | None) -> None:
    while limit is None or limit > 0:
        try:
            got.append(await anext(reader))
        except StopAsyncIteration:
            return
        except asyncio.CancelledError:
            raise
        except Exception as error:
            errors.append(error)
            if not isinstance(error, ToolCallParseError):
                return
        if limit is not None:
            limit -= 1
