"""Calls: each a node, side by side, results in order; whatever goes wrong is a result that the model can read."""

from __future__ import annotations

import asyncio
import contextvars
import functools
import json
import logging
import math
import re
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from dataclasses import field as dataclass_field
from datetime import date
from enum import Enum
from pathlib import Path
from typing import Annotated, Any

import pytest
from pydantic import BaseModel, Field, SecretStr

from agere import PASS_WORD, Commander, Job, TaskNode, current_node, handler, tasker
from agere.commander import NodeTerminatedError, Question
from agere.errors import ToolCallParseError
from agere.testing import ScriptedHost
from agere.tools import Tool, Toolbox, ToolCall, ToolResult, tool
from tests.support.documents import ROOT
from tests.support.subprocesses import run_python

PATIENCE = 20


class Silent(ScriptedHost):
    """Leaves questions open."""

    def ask(self, question: Question) -> None: ...


@pytest.fixture
def commander() -> Iterator[Commander[Any]]:
    with Commander[Any](host=Silent(), stall=60) as commander:
        yield commander


def call(name: str, number: int = 1, **arguments: Any) -> ToolCall:
    return ToolCall(f"call_{number}", name, arguments)


async def _turn(box: Toolbox, calls: list[ToolCall], **options: Any) -> list[ToolResult]:
    node = current_node()
    assert node is not None
    return await box.run_all(node, calls, **options)


def run(commander: Commander[Any], tools: list[Any], *calls: ToolCall, **options: Any) -> list[ToolResult]:
    return commander.submit(_turn, Toolbox(tools), list(calls), **options).result(PATIENCE)


def run_one(commander: Commander[Any], fn: Any, /, **arguments: Any) -> ToolResult:
    made = fn if isinstance(fn, Tool) else tool(fn)
    (result,) = run(commander, [made], call(made.name, **arguments))
    return result


def error_of(result: ToolResult) -> str:
    assert result.failed
    message: str = json.loads(result.content)["error"]
    assert result.message() == {"role": "tool", "tool_call_id": result.call.id, "content": result.content}
    return message


# -- where and when they run


def test_plain_tools_run_on_workers_and_async_ones_on_the_loop(commander: Commander[Any]) -> None:
    def plain() -> str:
        return threading.current_thread().name

    async def awaited() -> str:
        return threading.current_thread().name

    class Both:
        def __call__(self) -> str:
            return threading.current_thread().name

    loop = commander.submit(awaited).result(PATIENCE)
    results = run(commander, [plain, awaited, tool(Both(), name="both")], call("plain"), call("awaited"), call("both"))
    on_loop = [result.content == loop for result in results]
    assert on_loop == [False, True, False]
    assert "MainThread" not in [result.content for result in results]


def test_side_by_side_with_results_in_order(commander: Commander[Any]) -> None:
    both = threading.Barrier(3, timeout=PATIENCE)

    def meet(n: int) -> int:
        both.wait()
        return n

    async def quick(n: int) -> int:
        return n

    told: list[Any] = []
    calls = [call("meet", 1, n=1), call("quick", 2, n=2), call("meet", 3, n=3), call("none", 4), call("meet", 5, n=5)]
    results = run(commander, [meet, quick], *calls, on_result=lambda result: told.append(result.call.id))
    assert [result.content for result in results][:3] == ["1", "2", "3"]
    assert [result.value for result in results] == [1, 2, 3, None, 5]
    assert [result.call for result in results] == calls
    assert sorted(told) == [each.id for each in calls]
    assert told.index("call_2") < told.index("call_1"), "each is told as it comes"
    assert run(commander, [meet]) == []


def test_each_call_is_a_node_of_the_tools_name(commander: Commander[Any]) -> None:
    inside = threading.Barrier(3, timeout=PATIENCE)
    nodes: list[Any] = []

    def dig(deep: int) -> None:
        nodes.append(current_node())
        inside.wait()
        inside.wait()

    future = commander.submit(_turn, Toolbox([tool(dig, name="dig-deep", timeout=60)]), [call("dig-deep", deep=1)] * 2)
    inside.wait()
    tree = str(commander.tree())
    inside.wait()
    assert [result.failed for result in future.result(PATIENCE)] == [False, False]
    assert tree.count("    handler dig-deep #") == 2
    assert {node.name for node in nodes} == {"dig-deep"}
    assert all(node.ancestor_chain[0] is future.node for node in nodes)


def test_what_a_tool_emits_reaches_whoever_streams_the_turn(commander: Commander[Any]) -> None:
    def plain() -> None:
        node = current_node()
        assert node is not None
        node.emit("from a worker")

    async def awaited() -> None:
        node = current_node()
        assert node is not None
        await node.emit("from the loop")

    for fn in (plain, awaited):
        for timeout in (None, 60.0):
            made = tool(fn, timeout=timeout)
            future = commander.submit(_turn, Toolbox([made]), [call(made.name)])
            assert len(list(future.stream())) == 1


def test_contexts_travel(commander: Commander[Any]) -> None:
    request = contextvars.ContextVar("request", default="none")

    def plain() -> str:
        return request.get()

    async def awaited() -> str:
        return request.get()

    request.set("mine")
    for made in (tool(plain), tool(awaited), tool(plain, timeout=60), tool(awaited, timeout=60)):
        assert run_one(commander, made).content == "mine"


def test_a_tool_may_give_a_job_or_something_to_await(commander: Commander[Any]) -> None:
    class Sum(Job[int]):
        def __init__(self, a: int) -> None:
            super().__init__()
            self.a = a

        @tasker(PASS_WORD)
        async def task(self) -> int:
            return self.a + 1

    @handler(PASS_WORD)
    async def double(self_handler: TaskNode[Any], a: int) -> int:
        return 2 * a

    def job(a: int) -> Job[int]:
        return Sum(a)

    async def of_handler(a: int) -> Any:
        return double(a)

    def coroutine(a: int) -> Any:
        async def later() -> int:
            return -a

        return later()

    results = [run_one(commander, fn, a=3).content for fn in (job, of_handler, coroutine)]
    assert results == ["4", "6", "-3"]


def test_a_tool_may_submit_jobs_and_wait_for_them(commander: Commander[Any]) -> None:
    """The turn may be a Job that holds its place in the default lane: its wait for the calls lends it."""

    class Small(Job[int]):
        @tasker(PASS_WORD)
        async def task(self) -> int:
            return 7

    def plain() -> int:
        node = current_node()
        assert node is not None
        return node.submit(Small()).result(PATIENCE)

    async def awaited() -> int:
        node = current_node()
        assert node is not None
        return await node.submit(Small())

    class Turn(Job[list[Any]]):
        @tasker(PASS_WORD)
        async def task(self) -> list[Any]:
            box = Toolbox([plain, tool(awaited, timeout=60)])
            told: list[Any] = []
            results = await box.run_all(self, [call("plain"), call("awaited")], on_result=told.append)
            return [result.content for result in results]

    assert commander.submit(Turn()).result(PATIENCE) == ["7", "7"]


# -- results


class Shape(Enum):
    ROUND = "round"


class Point(BaseModel):
    x: int


@dataclass
class Line:
    begin: Point
    day: date


@pytest.mark.parametrize(
    ("value", "content"),
    [
        ("text", "text"),
        ("", ""),
        ("é\n", "é\n"),
        (None, "The call succeeded and gave no result."),
        ({"a": [1, None]}, '{"a":[1,null]}'),
        (True, "true"),
        (1.5, "1.5"),
        (math.nan, '"NaN"'),
        ([math.inf], '["Infinity"]'),
        (Path("p"), '"p"'),
        (Shape.ROUND, '"round"'),
        (Line(Point(x=1), date(2024, 1, 2)), '{"begin":{"x":1},"day":"2024-01-02"}'),
        ({3}, "[3]"),
        (b"bytes", '"bytes"'),
        ("a\ud800b", "a\ufffdb"),
        ("\ud83d\ude00", "\U0001f600"),
        ({"ключ": "знач"}, '{"ключ":"знач"}'),
    ],
)
def test_results_as_text(commander: Commander[Any], value: Any, content: str) -> None:
    async def awaited() -> Any:
        return value

    for fn in (lambda: value, awaited):
        result = run_one(commander, tool(fn, name="give"))
        assert not result.failed
        assert result.content == content
        assert result.value is value
        assert result.seconds >= 0
        result.content.encode()


@pytest.mark.parametrize("make", [object, lambda: b"\xff", lambda: [[]]], ids=["object", "bytes", "ring"])
def test_results_that_json_cannot_express(commander: Commander[Any], make: Callable[[], Any]) -> None:
    value = make()
    if isinstance(value, list):
        value[0] = value
    text = error_of(run_one(commander, tool(lambda: value, name="give")))
    assert text.startswith(f"the tool ran, and gave a {type(value).__name__}, which cannot be written as JSON: ")


# -- what goes wrong


class OddError(Exception):
    def __str__(self) -> str:
        raise ValueError("no")


def _raise(error: BaseException) -> None:
    raise error


@pytest.mark.parametrize(
    ("error", "text"),
    [
        (ValueError("no such place"), "ValueError: no such place"),
        (SystemExit(3), "SystemExit: 3"),
        (StopIteration("x"), "StopIteration"),
        (ExceptionGroup("two", [ValueError("a")]), "ExceptionGroup: two (1 sub-exception)"),
        (asyncio.CancelledError(), "the tool was cancelled from within"),
        (NodeTerminatedError("x"), "NodeTerminatedError: x"),
        (TimeoutError(), "TimeoutError: "),
        (OddError(), "OddError: (its text cannot be had)"),
        (AssertionError(), "AssertionError: "),
    ],
    ids=lambda value: type(value).__name__ if isinstance(value, BaseException) else "",
)
def test_a_tool_that_raises(commander: Commander[Any], error: BaseException, text: str) -> None:
    async def awaited() -> None:
        _raise(error)

    plain = functools.partial(_raise, error)
    for timeout in (None, 60.0):
        for fn in (plain, awaited):
            result = run_one(commander, tool(fn, name="fail", timeout=timeout))
            said = error_of(result)
            assert text in said or (isinstance(error, StopIteration) and "StopIteration" in said)
            assert result.error is not None
    assert commander.submit(len, "the commander goes on").result(PATIENCE) == 21


def test_a_failure_is_logged_for_those_who_want_it(commander: Commander[Any], caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.INFO, "agere.tools"):
        run_one(commander, tool(functools.partial(_raise, ValueError("x")), name="fail"))
    (record,) = [record for record in caplog.records if record.name.startswith("agere")]
    assert record.levelno == logging.INFO
    assert record.exc_info is not None


def test_the_page_tells_how_to_see_a_failure() -> None:
    page = (ROOT / "docs" / "tools.md").read_text(encoding="utf-8")
    (told,) = [line for line in page.split("\n- ") if line.startswith("`ToolResult.error` keeps the exception.")]
    lines = [code for code in re.findall("`(.*?)`", told) if code.startswith("logging.")]
    assert lines
    outcome = run_python(
        f"""
        import logging
        {"; ".join(lines)}
        import agere
        from agere.tools import Toolbox, ToolCall

        def fail() -> None:
            raise ValueError("it went wrong")

        async def make_call():
            await Toolbox([fail]).run(agere.current_node(), ToolCall("c", "fail", {{}}))

        agere.run(make_call)
        """
    )
    outcome.check()
    assert "Traceback" in outcome.err
    assert "ValueError: it went wrong" in outcome.err


@pytest.mark.parametrize("kind", ["plain", "async"])
@pytest.mark.parametrize("timeout", [None, 60.0])
def test_a_keyboard_interrupt_is_not_swallowed(kind: str, timeout: float | None) -> None:
    async def awaited() -> None:
        raise KeyboardInterrupt

    def plain() -> None:
        raise KeyboardInterrupt

    made = tool(plain if kind == "plain" else awaited, name="stop", timeout=timeout)
    with pytest.raises(KeyboardInterrupt):
        Commander[Any]().run(handler(PASS_WORD)(_as_handler)(Toolbox([made])))


async def _as_handler(self_handler: TaskNode[Any], box: Toolbox) -> Any:
    return await box.run_all(self_handler, [call("stop")])


def test_a_job_of_the_tool_that_fails(commander: Commander[Any], caplog: pytest.LogCaptureFixture) -> None:
    def plain() -> str:
        node = current_node()
        assert node is not None
        node.submit(_raise, ValueError("below"))
        return "fine"

    with caplog.at_level(logging.CRITICAL, "agere.node"):
        assert error_of(run_one(commander, plain)) == "ValueError: below"


@pytest.mark.parametrize("told", [False, True])
def test_a_job_of_the_tool_that_breaks_itself_off(
    commander: Commander[Any], caplog: pytest.LogCaptureFixture, told: bool
) -> None:
    def one() -> None:
        node = current_node()
        assert node is not None
        node.submit(_raise, asyncio.CancelledError())

    def two() -> None:
        one()
        one()

    options: dict[str, Any] = {"on_result": [].append} if told else {}
    with caplog.at_level(logging.CRITICAL, "agere.node"):
        results = run(commander, [one, two], call("one"), call("two"), **options)
    assert error_of(results[0]) == "what the tool had submitted was cancelled from within"
    assert "BaseExceptionGroup: 2 nodes failed" in error_of(results[1])


def test_unknown_tools_wrong_arguments_and_malformed_calls(commander: Commander[Any]) -> None:
    def look(where: str) -> str:
        return where

    bad = ToolCall.malformed(ToolCallParseError("The arguments were cut off.", "look", "call_9", '{"wh'), 9)
    long = "x" * 100_000
    results = run(
        commander,
        [look],
        call("lock", where="x"),
        call(long),
        call("look", what="x"),
        bad,
        call("look", where=long[1:]),
    )
    nameless = ToolCall.malformed(ToolCallParseError("A tool call came without a name.", None, None, "{}"), 7)
    (result,) = run(commander, [look], nameless)
    assert error_of(result) == "A tool call came without a name. They began with: '{}'"
    texts = [error_of(result) for result in results[:4]]
    assert texts[0] == "there is no tool named 'lock'; there is: look"
    assert "xxx... (99936 more characters)" in texts[1]
    assert texts[2].startswith("wrong arguments: where: Field required; what: ")
    assert texts[3] == "The arguments were cut off. They began with: '{\"wh'"
    assert results[4].content == long[1:], "what a tool gives is never cut"
    assert "there is: none" in error_of(run(commander, [], call("x"))[0])


def test_errors_are_cut_at_a_size_that_a_model_can_read(commander: Commander[Any]) -> None:
    text = error_of(run_one(commander, tool(functools.partial(_raise, ValueError("x" * 1_000_000)), name="fail")))
    assert 1000 < len(text) < 3000
    assert text.endswith("more characters)")


def test_what_the_model_writes_is_data(commander: Commander[Any]) -> None:
    def look(where: str) -> str:
        return where

    for evil in ("__class__", "{0.__class__}", "%s", "look.__globals__", "", "a b", "\x1b[2J", "\ud800"):
        (unknown,) = run(commander, [look], ToolCall("call_1", evil, {evil: evil}))
        error_of(unknown).encode("utf-8", "surrogatepass")
        sent = unknown.call.message()["function"]
        assert sent["name"].replace("_", "a").replace("-", "a").isalnum()
        assert len(sent["name"]) <= 64
        json.dumps([unknown.call.message(), unknown.message()], ensure_ascii=False).encode()
        assert run_one(commander, look, where=evil).content.encode() is not None or evil == "\ud800"


# -- time


def test_an_async_tool_that_takes_too_long(commander: Commander[Any]) -> None:
    unwound = threading.Event()
    closed: list[bool] = []

    class Stream:
        def close(self) -> None:
            closed.append(True)

    async def slow() -> None:
        node = current_node()
        assert node is not None
        node.attach_stream(Stream())
        node.submit(asyncio.sleep, 3600)
        try:
            await asyncio.sleep(3600)
        finally:
            unwound.set()

    began = time.monotonic()
    result = run_one(commander, tool(slow, timeout=0.05))
    assert error_of(result) == "the tool slow timed out after 0.05 s"
    assert isinstance(result.error, TimeoutError)
    assert unwound.is_set()
    assert closed == [True]
    assert time.monotonic() - began < PATIENCE


def test_a_plain_tool_that_takes_too_long_is_left_behind(
    commander: Commander[Any], caplog: pytest.LogCaptureFixture
) -> None:
    go_on, ended = threading.Event(), threading.Event()

    def stuck() -> None:
        go_on.wait(PATIENCE)
        ended.set()
        raise ValueError("too late")

    def asking() -> str:
        node = current_node()
        assert node is not None
        try:
            answer: str = node.ask("? ")
        finally:
            ended.set()
        return answer

    # Its worker thread must have begun by then, also on a busy machine.
    result = run_one(commander, tool(stuck, timeout=1))
    assert error_of(result) == "the tool stuck timed out after 1 s"
    assert not ended.is_set()
    go_on.set()
    assert ended.wait(PATIENCE)
    ended.clear()
    assert "timed out" in error_of(run_one(commander, tool(asking, timeout=1)))
    assert ended.wait(PATIENCE), "a wait that Agere knows is broken off"
    assert commander.questions == ()
    deadline = time.monotonic() + PATIENCE
    while "when nobody waited" not in caplog.text and time.monotonic() < deadline:
        time.sleep(0.01)
    assert "the tool stuck failed, when nobody waited for it" in caplog.text


def test_what_was_left_behind_reaches_nobody(commander: Commander[Any]) -> None:
    go_on = threading.Event()
    later: list[str] = []

    def stuck() -> None:
        node = current_node()
        assert node is not None
        go_on.wait(PATIENCE)
        for act in (lambda: node.emit("late"), lambda: node.ask("late?"), lambda: node.submit(print, "late")):
            try:
                act()
            except BaseException as error:
                later.append(type(error).__name__)

    async def outlasting() -> str:
        node = current_node()
        assert node is not None
        (result,) = await Toolbox([tool(stuck, timeout=1)]).run_all(node, [call("stuck")])
        go_on.set()
        while len(later) < 3:
            await asyncio.sleep(0.01)
        return result.content

    future = commander.submit(outlasting)
    assert list(future.stream()) == []
    assert "timed out" in future.result(PATIENCE)
    assert later == ["CancelledError", "CancelledError", "NodeEndedError"]
    assert commander.questions == ()


def test_a_tool_that_does_not_let_itself_be_cancelled(
    commander: Commander[Any], caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("agere.tools.running.UNWIND_SECONDS", 0.1)
    stop = threading.Event()

    async def stubborn() -> str:
        while not stop.is_set():
            try:
                await asyncio.sleep(0.01)
            except asyncio.CancelledError:
                continue
        return "x"

    assert "timed out" in error_of(run_one(commander, tool(stubborn, timeout=0.05)))
    assert "does not let itself be cancelled" in caplog.text
    stop.set()


def test_in_time(commander: Commander[Any]) -> None:
    async def quick() -> str:
        return "x"

    assert run_one(commander, tool(quick, timeout=60)).content == "x"
    assert run_one(commander, tool(lambda: "y", name="y", timeout=60)).content == "y"


def test_a_timeout_harms_no_other_call(commander: Commander[Any]) -> None:
    async def slow() -> None:
        await asyncio.sleep(3600)

    async def quick() -> str:
        await asyncio.sleep(0.1)
        return "x"

    calls = [call("slow", 1), call("quick", 2), call("slow", 3)]
    results = run(commander, [tool(slow, timeout=0.05), quick], *calls)
    assert [result.failed for result in results] == [True, False, True]


# -- cancelling


@pytest.mark.parametrize("timeout", [None, 60.0])
@pytest.mark.parametrize("told", [False, True])
def test_cancelling_the_turn_cancels_its_calls(commander: Commander[Any], timeout: float | None, told: bool) -> None:
    running = threading.Barrier(3, timeout=PATIENCE)
    over = threading.Barrier(3, timeout=PATIENCE)

    async def awaited() -> None:
        try:
            await asyncio.to_thread(running.wait)
            await asyncio.sleep(3600)
        finally:
            commander.submit(over.wait)

    def plain() -> None:
        node = current_node()
        assert node is not None
        running.wait()
        try:
            node.ask("? ")
        finally:
            over.wait()

    box = Toolbox([tool(awaited, timeout=timeout), tool(plain, timeout=timeout)])
    options: dict[str, Any] = {"on_result": print} if told else {}
    future = commander.submit(_turn, box, [call("awaited"), call("plain")], **options)
    running.wait()
    assert future.cancel()
    with pytest.raises(NodeTerminatedError):
        future.result(PATIENCE)
    over.wait()


def test_cancelling_one_call_tells_the_model(commander: Commander[Any]) -> None:
    async def leaving() -> None:
        node = current_node()
        assert node is not None
        node.cancel()
        await asyncio.sleep(3600)

    def staying() -> str:
        return "x"

    results = run(commander, [leaving, staying], call("leaving"), call("staying"))
    assert error_of(results[0]) == "this call was cancelled"
    assert results[1].content == "x"


def test_a_wait_that_is_broken_off_cancels_the_calls(commander: Commander[Any]) -> None:
    over = threading.Event()
    clocks: list[asyncio.Timeout] = []

    async def slow() -> None:
        try:
            clocks[0].reschedule(asyncio.get_running_loop().time())
            await asyncio.sleep(3600)
        finally:
            over.set()

    async def hasty() -> str:
        node = current_node()
        assert node is not None
        try:
            async with asyncio.timeout(None) as clock:
                clocks.append(clock)
                await Toolbox([slow]).run(node, call("slow"))
        except TimeoutError:
            return "gone"
        return "stayed"

    assert commander.submit(hasty).result(PATIENCE) == "gone"
    assert over.wait(PATIENCE)


def test_a_teller_that_raises_breaks_the_calls_off(commander: Commander[Any]) -> None:
    async def quick() -> None: ...

    async def slow() -> None:
        await asyncio.sleep(3600)

    def tell(result: ToolResult) -> None:
        raise ZeroDivisionError

    future = commander.submit(_turn, Toolbox([quick, slow]), [call("quick"), call("slow")], on_result=tell)
    with pytest.raises(ZeroDivisionError):
        future.result(PATIENCE)


def test_an_exit_with_calls_under_way() -> None:
    running = threading.Event()

    async def slow() -> None:
        running.set()
        await asyncio.sleep(3600)

    with Commander[Any](host=ScriptedHost()) as commander:
        future = commander.submit(_turn, Toolbox([tool(slow, timeout=60)]), [call("slow")])
        assert running.wait(PATIENCE)
        commander.exit()
    assert future.cancelled()


# -- approval


def approving(host: ScriptedHost, made: Tool, **arguments: Any) -> ToolResult:
    with Commander[Any](host=host) as commander:
        return run_one(commander, made, **arguments)


def test_a_person_approves() -> None:
    done: list[str] = []

    def delete(path: str, force: bool = False) -> str:
        done.append(path)
        return "gone"

    for yes in ("y", "yes", " Y ", "YES\n"):
        host = ScriptedHost([yes])
        result = approving(host, tool(delete, needs_approval=True, to_user=True), path="a b", force=True)
        assert result.content == "gone"
        assert host.asked == ['Allow delete(path="a b", force=true)? [y/N, or say why not] ']
    assert done == ["a b"] * 4


@pytest.mark.parametrize(
    ("answer", "told"),
    [
        ("", "the person refused this call; it was not made"),
        ("n", "the person refused this call; it was not made"),
        ("No", "the person refused this call; it was not made"),
        ("not that one, the other", "the person refused this call, saying: not that one, the other; it was not made"),
        ("yes, but not today", "the person refused this call, saying: yes, but not today; it was not made"),
        (EOFError("closed"), "nobody could be asked (EOFError: closed); it was not made"),
        (OSError("no terminal"), "nobody could be asked (OSError: no terminal)"),
    ],
)
def test_a_person_refuses(answer: str | BaseException, told: str) -> None:
    def delete(path: str) -> None:
        pytest.fail("it was not approved")

    result = approving(ScriptedHost([answer]), tool(delete, needs_approval=True, timeout=60), path="x")
    assert told in error_of(result)


def test_an_approval_where_it_is_needed() -> None:
    asked: list[Any] = []

    def plain(arguments: dict[str, Any]) -> bool:
        asked.append(arguments["day"])
        return bool(arguments["day"].year > 2000)

    async def awaited(arguments: dict[str, Any]) -> bool:
        return plain(arguments)

    def act(day: date) -> str:
        return "acted"

    for needs in (plain, awaited):
        host = ScriptedHost(["n"])
        assert approving(host, tool(act, needs_approval=needs), day="1999-01-01").content == "acted"
        assert host.asked == []
        assert "refused" in error_of(approving(host, tool(act, needs_approval=needs), day="2001-01-01"))
    assert asked == [date(1999, 1, 1), date(2001, 1, 1)] * 2


async def _unsure(arguments: dict[str, Any]) -> bool:
    return bool(arguments["nothing"])


@pytest.mark.parametrize(
    ("needs", "logged"),
    [
        (lambda arguments: arguments["nothing"], "KeyError: 'nothing'"),
        (_unsure, "KeyError: 'nothing'"),
        (lambda arguments: None, "needs_approval gave None instead of True or False"),
        (lambda arguments: "no", "needs_approval gave 'no'"),
        (lambda arguments: _raise(SystemExit(3)), "SystemExit: 3"),
        (lambda arguments: _raise(asyncio.CancelledError()), "CancelledError"),
    ],
)
def test_in_doubt_a_call_is_not_made(needs: Any, logged: str, caplog: pytest.LogCaptureFixture) -> None:
    def act() -> None:
        pytest.fail("it was not approved")

    result = approving(ScriptedHost(["y"]), tool(act, needs_approval=needs))
    assert error_of(result) == (
        "whether this call needs the approval of a person could not be found out; it was not made"
    )
    (record,) = [record for record in caplog.records if record.levelno >= logging.WARNING]
    assert record.message == "needs_approval of the tool act failed: the call was not made"
    assert "Traceback" in caplog.text
    assert logged in caplog.text


KEPT: list[str] = []
OPAQUE = object()


class Nested(BaseModel):
    force: bool = True
    quiet: bool = Field(default=False, repr=False, exclude=True)


@dataclass
class Plan:
    day: date
    secret: SecretStr
    hidden: int = dataclass_field(default=7, repr=False)


def test_what_is_judged_and_shown_is_what_will_run() -> None:
    """The arguments with the function's own defaults; and the function still has its own."""
    judged: list[dict[str, Any]] = []
    ran: list[tuple[Any, ...]] = []

    def is_forced(arguments: dict[str, Any]) -> bool:
        judged.append(arguments)
        return bool(arguments.get("force"))

    def remove(
        path: str,
        force: bool = True,
        kept: list[str] = KEPT,
        opaque: Any = OPAQUE,
        words: str = Field("all"),
        from_: Annotated[str, Field(alias="from")] = "here",
        limit: float = math.inf,
    ) -> str:
        ran.append((path, force, kept, opaque, words, from_, limit))
        return "removed"

    host = ScriptedHost(["no", "yes"])
    made = tool(remove, needs_approval=is_forced)
    with Commander[Any](host=host) as commander:
        assert "refused" in error_of(run_one(commander, made, path="/x"))
        assert run_one(commander, made, path="/x", force=False).content == "removed"
        assert run_one(commander, made, path="/x").content == "removed"
    whole = {
        "path": "/x",
        "force": True,
        "kept": KEPT,
        "opaque": OPAQUE,
        "words": "all",
        "from_": "here",
        "limit": math.inf,
    }
    assert judged == [whole, {**whole, "force": False}, whole]
    for arguments in judged:
        assert arguments["kept"] is KEPT
    assert [given[:2] for given in ran] == [("/x", False), ("/x", True)]
    for given in ran:
        assert given[2] is KEPT
        assert given[3] is OPAQUE
    assert len(host.asked) == 2
    for prompt in host.asked:
        assert prompt.startswith(
            'Allow remove(path="/x", words="all", force=true, kept=[], opaque="<object object at 0x'
        )
        assert prompt.endswith('", from_="here", limit=Infinity)? [y/N, or say why not] ')


def test_a_method_and_a_partial_are_judged_by_all_that_will_run() -> None:
    class Disk:
        @tool(needs_approval=lambda arguments: bool(arguments["force"]))
        def remove(self, path: str, force: bool = True) -> str:
            return f"removed {path}"

    def remove(path: str, token: str, force: bool, day: int = 1) -> str:
        return f"removed {path}"

    needs = Disk.remove.needs_approval
    host = ScriptedHost(["y"] * 3)
    bound = functools.partial(functools.partial(remove, "/p"), "key", force=True)
    with Commander[Any](host=host) as commander:
        assert run_one(commander, Disk().remove, path="/x").content == "removed /x"
        assert run_one(commander, tool(bound, needs_approval=needs)).content == "removed /p"
        assert run_one(commander, tool(bound, needs_approval=lambda a: sorted(a) == ["day", "force", "path", "token"]))
    assert [prompt.partition("?")[0] for prompt in host.asked] == [
        'Allow remove(path="/x", force=true)',
        "Allow remove(day=1)",
        "Allow remove(day=1)",
    ]


def test_the_defaults_of_a_schema_are_judged_and_shown() -> None:
    seen: list[Any] = []
    schema = {"properties": {"path": {}, "force": {"type": "boolean", "default": True}, "odd": True}}
    host = ScriptedHost(["y"])
    made = Tool.from_schema("remove", "", schema, seen.append, needs_approval=lambda arguments: arguments["force"])
    approving(host, made, path="/x")
    approving(host, made, path="/x", force=False)
    assert host.asked == ['Allow remove(path="/x", force=true)? [y/N, or say why not] ']
    assert seen == [{"path": "/x"}, {"path": "/x", "force": False}], "to apply them is its own affair"


def test_all_of_a_value_is_shown() -> None:
    def act(
        nested: Nested,
        plan: Plan,
        table: dict[Shape, set[int]],
        raw: bytes,
        path: Path,
        key: SecretStr = SecretStr("hush"),  # noqa: B008
    ) -> None: ...

    host = ScriptedHost(["n"])
    plan = {"day": "2024-01-02", "secret": "of the model"}
    approving(
        host,
        tool(act, needs_approval=True),
        nested={},
        plan=plan,
        table={"round": [1]},
        raw="b\x1b",
        path="a\u202eb",
    )
    assert host.asked == [
        'Allow act(nested={"force": true, "quiet": false}, '
        'plan={"day": "2024-01-02", "secret": "of the model", "hidden": 7}, table={"round": [1]}, '
        "raw=b'b\\x1b', path=\"a\\u202eb\", key=**********)? [y/N, or say why not] "
    ]


def test_what_is_long_pushes_nothing_out_of_sight() -> None:
    def act(text: str, more: str, force: bool = True) -> None: ...

    host = ScriptedHost(["n"])
    approving(host, tool(act, needs_approval=True), text="x" * 100_000, more="y" * 100_000)
    (prompt,) = host.asked
    assert len(prompt) < 11_000
    assert prompt.count("more characters)") == 2
    assert prompt.endswith(", force=true)? [y/N, or say why not] ")


def test_what_cannot_be_shown_is_not_made(caplog: pytest.LogCaptureFixture) -> None:
    deep: list[Any] = []
    for _ in range(900):
        deep = [deep]
    host = ScriptedHost()
    made = Tool.from_schema("act", "", {}, lambda arguments: pytest.fail("it was not approved"), needs_approval=True)
    assert "could not be shown to one; it was not made" in error_of(approving(host, made, deep=deep))
    assert host.asked == []
    assert "a call of the tool act cannot be shown to a person: not made" in caplog.text


def test_wrong_arguments_are_not_shown_to_the_person() -> None:
    def act(n: int) -> None: ...

    host = ScriptedHost()
    assert "wrong arguments" in error_of(approving(host, tool(act, needs_approval=True), n="x"))
    assert host.asked == []


def test_nothing_is_hidden_from_the_person() -> None:
    def act(text: str) -> None: ...

    evil = "\x1b[2J\r safe \u202e\u200b\x7f\ud800" + "x" * 20_000
    host = ScriptedHost(["n"])
    result = approving(host, Tool.from_schema("act", "", {}, print, needs_approval=True), **{"text\n": evil})
    assert result.failed
    (prompt,) = host.asked
    assert prompt.isprintable()
    for shown in ("text\\n", "\\u001b[2J\\r safe \\u202e\\u200b\\x7f\\ud800", "more characters)", "[y/N"):
        assert shown in prompt


def test_a_long_refusal_is_cut() -> None:
    def act() -> None: ...

    assert len(error_of(approving(ScriptedHost(["x" * 100_000]), tool(act, needs_approval=True)))) < 3000


def test_the_wait_for_an_approval_counts_for_no_timeout(commander: Commander[Any]) -> None:
    async def act() -> str:  # on the loop: no worker thread to wait for
        return "acted"

    future = commander.submit(_turn, Toolbox([tool(act, needs_approval=True, timeout=0.2)]), [call("act")])
    deadline = time.monotonic() + PATIENCE
    while not commander.questions and time.monotonic() < deadline:
        time.sleep(0.01)
    time.sleep(0.3)  # longer than the timeout: nothing may happen in this time
    (question,) = commander.questions
    assert question.node is not None
    assert question.node.name == "act"
    question.answer("y")
    assert future.result(PATIENCE)[0].content == "acted"


def test_a_question_of_a_cancelled_turn_is_withdrawn(commander: Commander[Any]) -> None:
    def act() -> None: ...

    future = commander.submit(_turn, Toolbox([tool(act, needs_approval=True)]), [call("act")])
    deadline = time.monotonic() + PATIENCE
    while not commander.questions and time.monotonic() < deadline:
        time.sleep(0.01)
    future.cancel()
    with pytest.raises(NodeTerminatedError):
        future.result(PATIENCE)
    assert commander.questions == ()


# -- calls


def test_calls_without_ids_get_some() -> None:
    text = json.dumps({"tool_call_index": 0, "tool_call_id": None, "name": "look", "arguments": {"a": "é"}})
    made = ToolCall.from_json(text, 7)
    assert made.id == "call_7"
    assert made.message()["function"] == {"name": "look", "arguments": '{"a": "é"}'}
    bad = ToolCall.malformed(ToolCallParseError("cut off.", None, None, '{"a'), 8)
    assert (bad.id, bad.name, bad.arguments) == ("call_8", "unknown", {})
    assert "cut off" in (bad.trouble or "")
