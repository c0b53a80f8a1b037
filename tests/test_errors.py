"""Every error: its family, its message, and its way across processes."""

from __future__ import annotations

import concurrent.futures
import copy
import inspect
import pickle
from typing import Any

import pytest

import agere.commander
from agere import errors
from agere.errors import AgereError, ToolCallParseError, ToolCallTooLargeError

ALL = [
    value
    for value in vars(errors).values()
    if inspect.isclass(value) and issubclass(value, BaseException) and value.__module__ == errors.__name__
]


@pytest.mark.parametrize("error", ALL, ids=lambda error: error.__name__)
@pytest.mark.parametrize("protocol", range(pickle.HIGHEST_PROTOCOL + 1))
def test_pickles(error: type[Exception], protocol: int) -> None:
    parse = issubclass(error, ToolCallParseError)
    made = error("what was wrong", "tool", "call_1", '{"a') if parse else error("what was wrong")
    made.add_note("a note")
    back = pickle.loads(pickle.dumps(made, protocol))
    assert type(back) is error
    assert str(back) == str(made) == "what was wrong"
    assert back.args == made.args
    assert back.__notes__ == ["a note"]
    assert vars(back) == vars(made)
    assert str(copy.copy(made)) == str(made)


@pytest.mark.parametrize("error", ALL, ids=lambda error: error.__name__)
def test_is_documented_and_of_the_family(error: type[Exception]) -> None:
    assert error.__doc__
    assert issubclass(error, AgereError)
    assert issubclass(error, Exception)


@pytest.mark.parametrize(
    "name",
    [
        "AttributeNotSetError",
        "CommanderNotRunError",
        "CommanderAlreadyRunningError",
        "NotTaskerError",
        "NotHandlerError",
        "NotJobError",
        "NodeActiveError",
        "NodeEndedError",
        "NodeTerminatedError",
        "DeadlockError",
        "BlockingCallError",
        "WorkerLimitError",
        "PasswordError",
        "CallbackError",
        "CommanderForkedError",
        "HostError",
        "HostGoneError",
        "NobodyAnswersError",
        "AgereError",
    ],
)
def test_importable_from_the_commander(name: str) -> None:
    assert getattr(agere.commander, name) is getattr(errors, name)


@pytest.mark.parametrize(
    ("error", "builtin"),
    [
        ("AttributeNotSetError", AttributeError),
        ("CommanderNotRunError", RuntimeError),
        ("CommanderAlreadyRunningError", RuntimeError),
        ("NotJobError", TypeError),
        ("NotTaskerError", TypeError),
        ("NotHandlerError", TypeError),
        ("PasswordError", ValueError),
        ("CallbackError", ValueError),
        ("DeadlockError", RuntimeError),
        ("NodeTerminatedError", concurrent.futures.CancelledError),
        ("ToolCallParseError", ValueError),
    ],
)
def test_is_also_what_one_would_catch(error: str, builtin: type[Exception]) -> None:
    assert issubclass(getattr(errors, error), builtin)


def test_tool_call_errors_carry_what_there_was() -> None:
    error = ToolCallTooLargeError("too large", name="tool", id="call_1", raw="{...")
    assert (error.message, error.name, error.id, error.raw) == ("too large", "tool", "call_1", "{...")
    assert ToolCallParseError("bare").raw == ""


def _raise(error: BaseException) -> None:
    raise error


@pytest.mark.leaves("threads", "fds")  # the resource tracker of multiprocessing stays for the process
def test_across_a_process_pool() -> None:
    from multiprocessing import get_context

    with concurrent.futures.ProcessPoolExecutor(1, mp_context=get_context("spawn")) as pool:
        for error in (errors.DeadlockError("x"), ToolCallParseError("y", "n", "i", "r")):
            raised: Any = pool.submit(_raise, error).exception(30)
            assert type(raised) is type(error)
            assert vars(raised) == vars(error) or raised.args == error.args
