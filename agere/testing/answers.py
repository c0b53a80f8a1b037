"""Functions that make the usual answers of a script."""

from __future__ import annotations

import itertools

from agere.testing.gates import Gate
from agere.testing.steps import (
    Answer,
    Begin,
    Call,
    Cut,
    Delay,
    End,
    Silence,
    Step,
    StreamError,
    Text,
    Usage,
    check_step,
)


def answer(*parts: str | Call | Step, finish_reason: str | None = None, usage: Usage | None = None) -> Answer:
    """An answer made of words, tool calls and other steps, in their order.

    Args:
        parts: strings (each is sent as one piece of text), calls, and steps as they stand.
        finish_reason: default ``tool_calls`` where there are calls, else ``stop``. ``length`` says that the
            answer was cut off by its limit of tokens.
        usage: the tokens that the server says it took.

    Raises:
        TypeError: one of ``parts`` is none of these.
    """
    steps: list[Step] = [Begin()]
    calls = 0
    for part in parts:
        if isinstance(part, str):
            steps.append(Text(part))
        elif isinstance(part, Call):
            steps += part.steps(calls)
            calls += 1
        else:
            check_step(part)
            steps.append(part)
    steps.append(End(finish_reason or ("tool_calls" if calls else "stop")))
    return Answer(steps, usage=usage or Usage())


def text(*pieces: str | Step, finish_reason: str = "stop", usage: Usage | None = None) -> Answer:
    """An answer in words: each string a chunk, other steps in between as they stand."""
    for piece in pieces:
        if isinstance(piece, Call):
            check_step(piece)
    return answer(*pieces, finish_reason=finish_reason, usage=usage)


def tool_calls(
    *calls: Call, content: str | None = None, interleave: bool = False, usage: Usage | None = None
) -> Answer:
    """An answer that calls tools, several side by side if you like.

    Args:
        calls: one or more.
        content: what is said before the calls.
        interleave: mix the fragments of the calls, as some servers do.
        usage: the tokens that the server says it took.

    Raises:
        TypeError: no calls, or something else among them.
    """
    if not calls:
        raise TypeError("tool_calls takes one Call or more.")
    for call in calls:
        if not isinstance(call, Call):
            raise TypeError(f"tool_calls takes Calls, not {call!r}; answer() takes words and steps as well.")
    said = [Text(content)] if content else []
    streams = [list(call.steps(index)) for index, call in enumerate(calls)]
    if interleave:
        mixed = itertools.chain.from_iterable(itertools.zip_longest(*streams))
        steps = [step for step in mixed if step is not None]
    else:
        steps = list(itertools.chain.from_iterable(streams))
    return Answer([Begin(), *said, *steps, End("tool_calls")], usage=usage or Usage())


def silent(*pieces: str, headers: bool = True) -> Answer:
    """An answer that stops talking after ``pieces``, or says nothing at all, not even its headers."""
    if not headers:
        if pieces:
            raise ValueError("An answer without headers cannot say anything: silent(headers=False) takes no pieces.")
        return Answer(before_headers=Silence())
    return text(*pieces, Silence())


def cut(*pieces: str) -> Answer:
    """An answer whose connection drops after ``pieces``."""
    return text(*pieces, Cut())


def failing(status: int, message: str = "scripted failure", **headers: str) -> Answer:
    """An answer with an HTTP error: 401, 429, 500, ...; ``retry_after="7"`` sends the header ``retry-after``."""
    if type(status) is not int or not 400 <= status <= 599:
        raise ValueError(f"failing takes an HTTP error between 400 and 599, not {status!r}.")
    return Answer(status=status, message=message, headers=headers)


def error_in_stream(*pieces: str, message: str = "scripted failure", code: str = "server_error") -> Answer:
    """An answer that breaks off with an error event after ``pieces``."""
    return text(*pieces, StreamError(message, code))


def late(answer: Answer, wait: Gate | Delay | float) -> Answer:
    """The same answer, after a gate or a pause (in seconds) before the server says anything at all."""
    before = wait if isinstance(wait, (Gate, Delay)) else Delay(wait)
    return Answer(answer.steps, answer.status, answer.message, before, answer.done, dict(answer.headers), answer.usage)
