"""Reads the chunks of an OpenAI-compatible stream: what they say, whatever shape and habits they have.

Pure: no asyncio, no threads, no import of openai. A chunk may be an object of the openai package, a plain
dict from a server's JSON, or anything with the same attributes. What is missing, None, empty or of another
type counts as not said.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from agere.errors import ModelError
from agere.utils.fields import field, items, string


@dataclass(slots=True)
class CallDelta:
    """What one chunk, or several in a row, say about one tool call."""

    index: int | None
    id: str | None
    name: str | None
    arguments: str
    position: int = 0
    """The place within the chunk's list of calls: all that tells calls apart where nothing else is given."""


class ChunkReader:
    """Tells what the chunks of one stream say."""

    __slots__ = ("_index",)

    def __init__(self) -> None:
        self._index: int | None = None  # of the last call that was spoken of

    def read(self, chunks: Iterable[object]) -> Iterator[str | CallDelta]:
        """Read the next chunks.

        Args:
            chunks: chunks in the order of their arrival.

        Yields:
            ``str``: text for the user (``content`` or ``refusal``, never empty).
            ``CallDelta``: a piece of a tool call. Neighbouring fragments of the same call come as one.

        Raises:
            ModelError: a chunk is the server's report of an error. (The openai client raises that by itself.)
        """
        # Nearly all chunks hold some characters of text, or for the call of the chunk before, and nothing else.
        # They take short cuts, several times faster than the general way. Whatever does not fit one exactly
        # goes the general way, so that they decide nothing but speed.
        fragments: list[str] = []
        index = self._index
        for chunk in chunks:
            if index is not None:
                try:
                    if type(chunk) is dict:
                        (choice,) = chunk["choices"]
                        delta = choice["delta"]
                        (call,) = delta["tool_calls"]
                        function = call["function"]
                    else:
                        (choice,) = chunk.choices  # type: ignore[attr-defined]
                        choice = choice.__dict__
                        delta = choice["delta"].__dict__
                        (call,) = delta["tool_calls"]
                        call = call.__dict__
                        function = call["function"].__dict__
                    if (
                        call["index"] == index
                        and not call.get("id")
                        and (len(function) == 1 or not function.get("name"))
                        and (
                            len(delta) == 1
                            or not (delta.get("content") or delta.get("refusal") or delta.get("function_call"))
                        )
                        and not choice.get("index")
                    ):
                        fragments.append(function["arguments"])
                        continue
                except (AttributeError, KeyError, TypeError, ValueError):
                    pass
                if fragments:
                    yield CallDelta(index, None, None, _join(fragments))
                    fragments.clear()
            if text := _text_alone(chunk):
                yield text
                continue
            for said in _read_chunk(chunk):
                if isinstance(said, CallDelta):
                    index = self._index = said.index
                yield said
        if fragments:
            yield CallDelta(index, None, None, _join(fragments))


def _text_alone(chunk: object) -> str:
    """The text of a chunk that holds nothing else; "" if it does, or may."""
    try:
        if type(chunk) is dict:
            (choice,) = chunk["choices"]
            delta = choice["delta"]
        else:
            (choice,) = chunk.choices  # type: ignore[attr-defined]
            choice = choice.__dict__
            delta = choice["delta"].__dict__
        text = delta["content"]
        if (
            type(text) is str
            and (
                len(delta) == 1
                or not (delta.get("refusal") or delta.get("tool_calls") or delta.get("function_call") is not None)
            )
            and not choice.get("index")
        ):
            return text
    except (AttributeError, KeyError, TypeError, ValueError):
        pass
    return ""


def _read_chunk(chunk: object) -> Iterator[str | CallDelta]:
    """Read one chunk the general way."""
    choices = items(field(chunk, "choices"))
    if not choices and (error := field(chunk, "error")):
        message = f"The server ended the stream with an error: {field(error, 'message') or error}"
        raise ModelError(message, string(field(error, "code")))
    for choice in choices:
        if field(choice, "index"):
            continue  # of several alternative answers (n > 1), the first one is the answer
        delta = field(choice, "delta")
        for said in ("content", "refusal"):
            if text := _text(field(delta, said)):
                yield text
        for position, call in enumerate(items(field(delta, "tool_calls"))):
            index = field(call, "index")
            yield _call_delta(
                field(call, "function"),
                index=index if type(index) is int else None,
                id=string(field(call, "id")),
                position=position,
            )
        if (function := field(delta, "function_call")) is not None:  # the form before tool_calls
            yield _call_delta(function, index=None, id=None, position=0)


def _call_delta(function: object, *, index: int | None, id: str | None, position: int) -> CallDelta:  # noqa: A002 - the field's own name
    arguments = _arguments(field(function, "arguments"))
    return CallDelta(index, id, string(field(function, "name")), arguments, position)


def _arguments(value: object) -> str:
    if value is None:
        return ""
    return value if isinstance(value, str) else json.dumps(value)  # some servers send the object itself


def _join(fragments: list[str]) -> str:
    try:
        return "".join(fragments)
    except TypeError:
        return "".join(map(_arguments, fragments))


def _text(content: object) -> str:
    if isinstance(content, str):
        return content
    # Some servers send content in parts, of which those with a `text` are for the user.
    return "".join([string(field(part, "text")) or "" for part in items(content)])
