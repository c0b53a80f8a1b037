"""Scripts that are wrong are refused where they are written."""

from __future__ import annotations

from typing import Any

import pytest

from agere.testing import (
    Answer,
    Call,
    CallArguments,
    CallBegin,
    Delay,
    End,
    Gate,
    Request,
    ScriptedLLM,
    Text,
    Usage,
    answer,
    failing,
    late,
    silent,
    text,
    tool_calls,
)


async def asynchronous(request: Request) -> str:
    return ""


@pytest.mark.parametrize(
    ("script", "problem"),
    [
        ("hello", r"'hello'\. For a single answer write ScriptedLLM\(\[\.\.\.\]\)"),
        (text("a"), "list of answers"),
        (Call("f"), "list of answers"),
        (7, "list of answers, or one function of the request for all, not 7"),
        (["a", 7], "entry 2 of the script is 7"),
        ([None], "entry 1 of the script is None"),
        ([Text("a")], "entry 1 of the script is Text"),
        ([str], "entry 1 of the script is <class 'str'>"),
        ([asynchronous], "asynchronous is asynchronous"),
        ([lambda: "a"], "must take one argument, the request"),
        (lambda a, b: "a", "must take one argument, the request"),
    ],
)
def test_scripts(script: Any, problem: str) -> None:
    with pytest.raises(TypeError, match=problem):
        ScriptedLLM(script)


@pytest.mark.parametrize(
    ("make", "kind", "problem"),
    [
        (lambda: text("a", 7), TypeError, "7 is no step of an answer"),
        (lambda: text(Call("f")), TypeError, r"give it to tool_calls\(\) or answer\(\)"),
        (lambda: text("a", Gate), TypeError, r"missing its parentheses: Gate\(\)"),
        (lambda: tool_calls(), TypeError, "one Call or more"),
        (lambda: tool_calls("f"), TypeError, "takes Calls, not 'f'"),
        (lambda: answer(b"a"), TypeError, "no step"),
        (lambda: Answer("words"), TypeError, r"write text\('words'\)"),
        (lambda: Answer([CallArguments(0, "{")]), ValueError, "arguments of a call 0 before its CallBegin"),
        (lambda: Answer([CallBegin(0, "c", "f")] * 2), ValueError, "call 0 of an answer begins twice"),
        (lambda: Answer(status=99), ValueError, "between 200 and 599, not 99"),
        (lambda: Answer(before_headers=1), TypeError, "before_headers takes"),
        (lambda: Answer(usage=3), TypeError, "usage takes a Usage"),
        (lambda: Answer(headers={"retry-after": 7}), TypeError, "'retry-after' must be a string, not 7"),
        (lambda: Call(7), TypeError, "name must be a string"),
        (lambda: Call("f", {"a": object()}), TypeError, "'f' cannot be put as JSON"),
        (lambda: Call("f", ["{", 3]), TypeError, "3 is no step"),
        (lambda: Call("f", "{}", to_user="x"), ValueError, "needs an object"),
        (lambda: Call("f", pieces=()), ValueError, "1 or more"),
        (lambda: Call("f", pieces=(3, 0)), ValueError, "1 or more"),
        (lambda: Delay(-1), ValueError, "0 or more, not -1"),
        (lambda: Delay("1"), ValueError, "not '1'"),
        (lambda: late(text("a"), -1), ValueError, "0 or more"),
        (lambda: Usage(-1), ValueError, "0 or more"),
        (lambda: Usage(1, "2"), ValueError, "not '2'"),
        (lambda: failing(200), ValueError, "between 400 and 599, not 200"),
        (lambda: silent("a", headers=False), ValueError, "takes no pieces"),
    ],
)
def test_answers(make: Any, kind: type[Exception], problem: str) -> None:
    with pytest.raises(kind, match=problem):
        make()


def test_the_end_of_an_answer() -> None:
    assert answer("a", Call("f")).steps[-1] == End("tool_calls")
    assert answer("a").steps[-1] == End("stop")
    assert answer(Call("f"), finish_reason="length").steps[-1] == End("length")


def test_a_request_is_a_mapping() -> None:
    request = Request("/v1/responses", {"model": "m"}, {})
    assert (request["model"], request.get("input"), list(request), len(request)) == ("m", None, ["model"], 1)
    assert request != Request("/v1/responses", {"model": "m"}, {})
    assert len({request, request}) == 1
    assert repr(request) == "<Request /v1/responses {'model': 'm'}>"


def test_requests_are_counted_from_one() -> None:
    with ScriptedLLM() as server:
        with pytest.raises(ValueError, match="no request 0"):
            server.wait_request(0)
        with pytest.raises(TimeoutError, match=r"0 requests came within 0\.01 s, not 2"):
            server.wait_request(2, timeout=0.01)
