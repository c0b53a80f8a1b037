"""How many tokens a message takes: exactly, by a tokenizer, or by an estimate."""

from __future__ import annotations

import json
import string
from collections.abc import Callable, Iterator, Sized
from typing import Any, Protocol, TypeAlias, runtime_checkable

from .conversation_messages import Message

Counter: TypeAlias = Callable[[Message], int]
"""Gives the tokens of one message, a whole number from 0 up."""

LETTERS_PER_TOKEN = 4
OTHERS_PER_TOKEN = 2
PER_MESSAGE = 5
PER_IMAGE = 765

_LETTERS = (string.ascii_letters + " \n").encode()


@runtime_checkable
class Tokenizer(Protocol):
    """What ``tiktoken``, ``tokenizers`` and ``transformers`` have in common."""

    def encode(self, text: str) -> Any:
        """The tokens of a text: something that has a length."""


def estimate(message: Message) -> int:
    """Any thread. An estimate of a message's tokens, without a tokenizer.

    A token for 4 letters or spaces of ASCII (OpenAI's rule of thumb for English), one for 2 bytes of everything else
    (digits, marks, other scripts in UTF-8), 5 for the message itself (its role and the marks around it), 765 for each
    image. See ``docs/conversation.md`` for how far off that is.
    """
    letters = others = 0
    for text in _texts(message):
        data = text.encode("utf-8", "surrogatepass")
        rest = len(data.translate(None, _LETTERS))
        letters += len(data) - rest
        others += rest
    return PER_MESSAGE + PER_IMAGE * _images(message) + -(-letters // LETTERS_PER_TOKEN) - (-others // OTHERS_PER_TOKEN)


def count_with(
    tokenizer: Tokenizer | Callable[[str], Any], *, per_message: int = PER_MESSAGE, per_image: int = PER_IMAGE
) -> Counter:
    """Any thread. A counter that has the texts of a message counted by a tokenizer.

    Args:
        tokenizer: something with ``encode(text)`` (of ``tiktoken``, ``tokenizers``, ``transformers``), or a function
            of a text. It gives the tokens, or their number.
        per_message: tokens that the model's chat template puts around each message.
        per_image: tokens that an image takes.

    Raises:
        TypeError: ``tokenizer`` is neither.
    """
    # tiktoken's encode() refuses texts that look like its special tokens; encode_ordinary() takes them as text.
    encode = getattr(tokenizer, "encode_ordinary", None) or getattr(tokenizer, "encode", None) or tokenizer
    if not callable(encode):
        raise TypeError(f"a tokenizer has an encode(text), or is a function of a text, unlike {tokenizer!r}")

    def count(message: Message) -> int:
        return per_message + per_image * _images(message) + sum(_length(encode(text)) for text in _texts(message))

    return count


def as_counter(counter: Any) -> Counter:
    """Any thread. What a conversation was given to count with. Raises TypeError."""
    if counter is None:
        return estimate
    if callable(getattr(counter, "encode", None)):
        return count_with(counter)
    if not callable(counter):
        raise TypeError(
            "counter is a function that gives the tokens of a message, or a tokenizer with encode(text), "
            f"not {counter!r}"
        )
    made: Counter = counter
    return made


def count(counter: Counter, message: Message) -> int:
    """Any thread. What ``counter`` says, if it makes sense. Raises ValueError."""
    tokens = counter(message)
    if isinstance(tokens, bool) or not isinstance(tokens, int) or tokens < 0:
        raise ValueError(f"the counter gave {tokens!r} for a message; tokens are a whole number from 0 up")
    return tokens


def _length(tokens: int | Sized) -> int:
    return tokens if isinstance(tokens, int) else len(tokens)


def _texts(message: Message) -> Iterator[str]:
    """All of a message that a model reads as text."""
    content = message.get("content")
    if isinstance(content, str):
        yield content
    for part in content if isinstance(content, list) else ():
        text = part.get("text", part.get("refusal"))
        if isinstance(text, str):
            yield text
    for key in ("name", "tool_call_id", "refusal"):
        if isinstance(message.get(key), str):
            yield message[key]
    for call in message.get("tool_calls") or ():
        yield json.dumps(call, ensure_ascii=False)


def _images(message: Message) -> int:
    content = message.get("content")
    return sum(part.get("type") == "image_url" for part in content) if isinstance(content, list) else 0
