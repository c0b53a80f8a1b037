"""The script: which answer belongs to which request, and what does not fit."""

from __future__ import annotations

import inspect
import itertools
import threading
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any, TypeAlias

from agere.errors import ScriptError
from agere.testing.answers import failing, text, tool_calls
from agere.testing.formats import Body
from agere.testing.gates import PATIENCE
from agere.testing.steps import Answer, Call


class Request(Mapping[str, Any]):
    """One request as the server saw it: a mapping (that of its body), and more.

    ``request["messages"]`` is ``request.body["messages"]``.

    Attributes:
        path: the path, which tells the wire format.
        body: the decoded JSON.
        headers: with lower-case names, without the client's key.
    """

    def __init__(self, path: str, body: Body, headers: dict[str, str]) -> None:
        self.path = path
        self.body = body
        self.headers = headers
        self._disconnected = threading.Event()
        self._answered = threading.Event()

    def __getitem__(self, key: str) -> Any:
        return self.body[key]

    def __iter__(self) -> Iterator[str]:
        return iter(self.body)

    def __len__(self) -> int:
        return len(self.body)

    def __eq__(self, other: object) -> bool:
        return self is other

    def __hash__(self) -> int:
        return id(self)

    def __repr__(self) -> str:
        return f"<Request {self.path} {self.body!r}>"

    @property
    def disconnected(self) -> bool:
        """Whether the client left before the answer was complete."""
        return self._disconnected.is_set()

    def wait_disconnected(self, timeout: float = PATIENCE) -> bool:
        """Wait until the server has seen that the client left before the answer was complete.

        Args:
            timeout: how many seconds to wait at most.

        Returns:
            Whether it has; False when the time is up.
        """
        return self._disconnected.wait(timeout)

    def wait_answered(self, timeout: float = PATIENCE) -> bool:
        """Wait until the server is through with this request, in whatever way; False when the time is up."""
        return self._answered.wait(timeout)

    def mark_disconnected(self) -> None:
        """Server thread. The client has left."""
        self._disconnected.set()

    def mark_answered(self) -> None:
        """Server thread. Nothing more is said to this request."""
        self._answered.set()


Reply: TypeAlias = Answer | str | Call
Script: TypeAlias = Reply | Callable[[Request], Reply]


class Dealer:
    """Deals the answers of a script out to requests, in the order of their arrival.

    Args:
        script: see ``ScriptedLLM``.

    Raises:
        TypeError: ``script``, or an entry of it, is nothing that can be one.
    """

    def __init__(self, script: Iterable[Script] | Callable[[Request], Reply]) -> None:
        self._dealt = 0
        self._length: int | None = None
        if callable(script):
            check_entry(script, "script")
            self._entries: Iterator[object] = itertools.repeat(script)
            return
        if isinstance(script, (str, Answer, Call, Mapping)) or not isinstance(script, Iterable):
            raise TypeError(
                f"A script is a list of answers, or one function of the request for all, not {_shown(script)}. "
                f"For a single answer write ScriptedLLM([...])."
            )
        if isinstance(script, Iterator):  # maybe endless: its entries are looked at when it is their turn
            self._entries = script
            return
        entries = list(script)
        for number, entry in enumerate(entries, 1):
            check_entry(entry, f"entry {number} of the script")
        self._entries = iter(entries)
        self._length = len(entries)

    @property
    def remaining(self) -> int | None:
        """Any thread. How many entries have not been dealt; None if the script is no list."""
        return None if self._length is None else self._length - self._dealt

    def draw(self, request: Request) -> tuple[int, object]:
        """Server thread, one at a time. The entry for ``request``, which is the next one, and its number.

        Raises:
            ScriptError: there is none.
        """
        number = self._dealt + 1
        try:
            entry = next(self._entries, None)
        except Exception as error:
            raise ScriptError(f"The script raised {error!r} for request {number}.") from error
        if entry is None:
            raise ScriptError(
                f"The script has no answer for request {number} (POST {request.path}): "
                f"it was used up after {self._dealt}."
            )
        self._dealt = number
        return number, entry


def answer_of(entry: object, number: int, request: Request) -> Answer:
    """Server thread. The answer that an entry gives to a request.

    Raises:
        ScriptError: it is no answer, or its function raised.
    """
    where = f"the script's answer for request {number}"
    if callable(entry):
        function, where = entry, f"what {_shown(entry)} returned for request {number}"
        try:
            entry = function(request)
        except Exception as error:
            raise ScriptError(f"{_shown(function)} raised {error!r} for request {number}.") from error
        if callable(entry):
            raise ScriptError(f"{where} is {_shown(entry)}, not an answer.")
    try:
        check_entry(entry, where)
    except TypeError as error:
        raise ScriptError(str(error)) from None
    return as_answer(entry)


def check_entry(entry: object, where: str) -> None:
    """Any thread. Raise TypeError unless ``entry`` can stand in a script."""
    if isinstance(entry, (Answer, str, Call)):
        return
    if callable(entry) and not isinstance(entry, type):
        if inspect.iscoroutinefunction(entry):
            raise TypeError(f"{where}: {_shown(entry)} is asynchronous; answers are given by plain functions.")
        try:
            inspect.signature(entry).bind(None)
        except TypeError:
            raise TypeError(f"{where}: {_shown(entry)} must take one argument, the request.") from None
        except ValueError:  # a builtin that does not tell its signature
            pass
        return
    raise TypeError(
        f"{where} is {_shown(entry)}. An answer is a string, a Call, what text(), tool_calls(), answer() and the like "
        "return, or a function of the request."
    )


def as_answer(entry: object) -> Answer:
    """Any thread. The answer that an entry stands for; a string is sent word by word."""
    if isinstance(entry, str):
        words = entry.split(" ")
        return text(*[word if index == 0 else " " + word for index, word in enumerate(words)])
    if isinstance(entry, Call):
        return tool_calls(entry)
    assert isinstance(entry, Answer)  # noqa: S101 - checked by the caller
    return entry


def refusal(error: ScriptError) -> Answer:
    """Any thread. What a client is told of a script that does not fit its request."""
    # Not 5xx: clients would try those again, and again.
    return failing(400, error.args[0])


def _shown(thing: object) -> str:
    if callable(thing) and not isinstance(thing, type):
        return f"the function {getattr(thing, '__qualname__', repr(thing))}"
    shown = repr(thing)
    return shown if len(shown) <= 100 else shown[:100] + "..."
