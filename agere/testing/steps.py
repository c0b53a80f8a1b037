"""What a script is made of: the steps of an answer, the calls in it, and the answer as a whole.

Steps say what the model says, not how a protocol puts it, so that one script plays in each of the wire formats.
"""

from __future__ import annotations

import itertools
import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, TypeAlias

from agere.testing.gates import Gate


@dataclass(frozen=True)
class Text:
    """A piece of the answer in words."""

    text: str


@dataclass(frozen=True)
class Refusal:
    """A piece of a refusal. Where a format has no place for refusals (Messages), it is text."""

    text: str


@dataclass(frozen=True)
class Thinking:
    """A piece of what the model thinks before it answers (``reasoning_content`` in chat completions)."""

    text: str


@dataclass(frozen=True)
class CallBegin:
    """A tool call begins. ``index`` counts the calls of the answer from 0."""

    index: int
    id: str
    name: str


@dataclass(frozen=True)
class CallArguments:
    """A piece of a call's arguments."""

    index: int
    text: str


@dataclass(frozen=True)
class Begin:
    """The answer begins: what the protocol says before the model says anything."""


@dataclass(frozen=True)
class End:
    """The answer is complete.

    Attributes:
        finish_reason: as in chat completions: ``stop``, ``tool_calls``, ``length``, ``content_filter``. The other
            formats say the same in their own words.
    """

    finish_reason: str = "stop"


@dataclass(frozen=True)
class Delta:
    """One chunk of chat completions with this delta, sent as it stands (None is sent as null).

    The other formats send what it says, as far as they have words for it.
    """

    delta: dict[str, Any] | None
    finish_reason: str | None = None


@dataclass(frozen=True)
class Raw:
    """Bytes as they stand: a whole server-sent event, half of one, or no event at all. Only in streamed answers."""

    data: bytes


@dataclass(frozen=True)
class StreamError:
    """An error within the stream, as servers send it when they fail midway. A whole answer becomes a status 500.

    Attributes:
        message: what the server says.
        code: the kind of error, default ``server_error``.
    """

    message: str
    code: str = "server_error"


@dataclass(frozen=True)
class Cut:
    """The connection drops here."""


@dataclass(frozen=True)
class Silence:
    """Nothing more comes, until the client leaves."""


@dataclass(frozen=True)
class Delay:
    """The answer pauses for some seconds. A ``Gate`` is better where the test can tell when to go on."""

    seconds: float

    def __post_init__(self) -> None:
        if not isinstance(self.seconds, (int, float)) or not 0 <= self.seconds < float("inf"):
            raise ValueError(f"Delay takes seconds, 0 or more, not {self.seconds!r}.")


Step: TypeAlias = (
    Text
    | Refusal
    | Thinking
    | CallBegin
    | CallArguments
    | Begin
    | End
    | Delta
    | Raw
    | StreamError
    | Cut
    | Silence
    | Delay
    | Gate
)
STEPS = (
    Text, Refusal, Thinking, CallBegin, CallArguments, Begin, End, Delta, Raw, StreamError, Cut, Silence, Delay, Gate
)  # fmt: skip


@dataclass(frozen=True)
class Usage:
    """How many tokens the server says that an answer took.

    Attributes:
        input: tokens of the request.
        output: tokens of the answer; None counts one for each piece.
    """

    input: int = 1
    output: int | None = None

    def __post_init__(self) -> None:
        for count in (self.input, 0 if self.output is None else self.output):
            if type(count) is not int or count < 0:
                raise ValueError(f"Usage counts tokens, 0 or more, not {count!r}.")


@dataclass
class Answer:
    """What the server does for one request. The functions of this package make the usual ones.

    Attributes:
        steps: one after the other; gates may stand among them.
        status: another status than 200 makes it an error answer with ``message``.
        message: the error's message.
        before_headers: a gate, a delay or a Silence before the server says anything at all.
        done: end a stream of chat completions with ``[DONE]``, as servers do.
        headers: further headers of the answer; ``_`` in a name stands for ``-``.
        usage: the tokens that the server says it took.
    """

    steps: Sequence[Step] = ()
    status: int = 200
    message: str = ""
    before_headers: Gate | Silence | Delay | None = None
    done: bool = True
    headers: dict[str, str] = field(default_factory=dict)
    usage: Usage = field(default_factory=Usage)

    def __post_init__(self) -> None:
        if isinstance(self.steps, str):
            raise TypeError(f"Answer takes a list of steps; for an answer in words write text({self.steps!r}).")
        self.steps = list(self.steps)
        begun: set[int] = set()
        for step in self.steps:
            check_step(step)
            if isinstance(step, CallBegin):
                if step.index in begun:
                    raise ValueError(f"The call {step.index} of an answer begins twice.")
                begun.add(step.index)
            elif isinstance(step, CallArguments) and step.index not in begun:
                raise ValueError(f"There are arguments of a call {step.index} before its CallBegin.")
        if type(self.status) is not int or not 200 <= self.status <= 599:
            raise ValueError(f"An answer's status is an HTTP status between 200 and 599, not {self.status!r}.")
        if not isinstance(self.before_headers, (Gate, Silence, Delay, type(None))):
            raise TypeError(f"before_headers takes a Gate, a Silence or a Delay, not {self.before_headers!r}.")
        if not isinstance(self.usage, Usage):
            raise TypeError(f"usage takes a Usage, not {self.usage!r}.")
        for name, value in self.headers.items():
            if not isinstance(value, str):
                raise TypeError(f"The header {name!r} must be a string, not {value!r}.")


def check_step(step: object) -> None:
    """Any thread. Raise TypeError unless ``step`` is a step."""
    if isinstance(step, STEPS):
        return
    if isinstance(step, type):
        raise TypeError(f"A step is missing its parentheses: {step.__name__}().")
    hint = "; give it to tool_calls() or answer()" if isinstance(step, Call) else ""
    raise TypeError(f"{step!r} is no step of an answer{hint}. Steps: {', '.join(kind.__name__ for kind in STEPS)}.")


@dataclass
class Call:
    """A tool call that the scripted model makes.

    Attributes:
        name: the tool.
        arguments: an object, the raw text that is sent for it (malformed, if you like), or the fragments of that
            text as a list, among which steps may stand: a Gate that holds the rest of the arguments back.
        to_user: if given, stands in front of an object's arguments as ``to_user``.
        id: default ``call_0``, ``call_1``, ... by the place in the answer.
        pieces: the lengths in which the text of the arguments is cut; the last one repeats.
    """

    name: str
    arguments: Mapping[str, Any] | str | Sequence[str | Step] = field(default_factory=dict)
    to_user: str | None = None
    id: str | None = None
    pieces: Sequence[int] = (8,)

    def __post_init__(self) -> None:
        if not isinstance(self.name, str):
            raise TypeError(f"A call's name must be a string, not {self.name!r}.")
        if isinstance(self.arguments, Mapping):
            try:
                json.dumps(dict(self.arguments))
            except (TypeError, ValueError) as error:
                raise TypeError(f"The arguments of the call {self.name!r} cannot be put as JSON: {error}.") from None
        elif self.to_user is not None:
            raise ValueError(f"to_user of the call {self.name!r} needs an object for arguments, not raw text.")
        elif not isinstance(self.arguments, str):
            for part in self.arguments:
                if not isinstance(part, str):
                    check_step(part)
        pieces = self.pieces
        if not pieces or any(type(length) is not int or length < 1 for length in pieces):
            raise ValueError(f"pieces of the call {self.name!r} must be lengths, 1 or more, not {pieces!r}.")

    @property
    def text(self) -> str:
        """The arguments as the model writes them."""
        if isinstance(self.arguments, str):
            return self.arguments
        if isinstance(self.arguments, Mapping):
            told = {} if self.to_user is None else {"to_user": self.to_user}
            return json.dumps({**told, **self.arguments}, ensure_ascii=False)
        return "".join([part for part in self.arguments if isinstance(part, str)])

    def steps(self, index: int) -> Iterator[Step]:
        """The call as steps, as the ``index``-th of its answer."""
        yield CallBegin(index, f"call_{index}" if self.id is None else self.id, self.name)
        if isinstance(self.arguments, (str, Mapping)):
            text, start = self.text, 0
            lengths = itertools.chain(self.pieces, itertools.repeat(self.pieces[-1]))
            while start < len(text):
                length = next(lengths)
                yield CallArguments(index, text[start : start + length])
                start += length
        else:
            for part in self.arguments:
                yield CallArguments(index, part) if isinstance(part, str) else part
