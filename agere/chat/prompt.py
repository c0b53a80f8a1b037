"""What a person asks: text, or text with pictures and the like."""

from __future__ import annotations

import reprlib
from collections.abc import Mapping, Sequence
from typing import Any, TypeAlias

from agere.errors import MessageError

from .conversation_messages import checked

Prompt: TypeAlias = "str | Sequence[Mapping[str, Any]]"
"""A text, or a list of content parts of the OpenAI protocol."""

_NEEDED = {
    "text": ("text", str, "a str"),
    "image_url": ("image_url", Mapping, 'a dict such as {"url": "https://..."}'),
    "input_audio": ("input_audio", Mapping, 'a dict such as {"data": "...", "format": "wav"}'),
    "file": ("file", Mapping, 'a dict such as {"file_id": "..."}'),
}
"""What the kinds of part that the protocol has cannot do without. Servers know others, too."""


def check_prompt(prompt: object) -> Prompt:
    """Any thread. A copy of ``prompt``, if a turn can be asked so.

    Raises:
        TypeError: it is neither a str nor a list.
        ValueError: it is empty.
        MessageError: a part of the list is none.
    """
    if isinstance(prompt, str):
        if not prompt.strip():
            raise ValueError("the prompt is empty")
        return prompt
    if not isinstance(prompt, list | tuple):
        hint = ": put it into a list" if isinstance(prompt, Mapping) else ""
        raise TypeError(f"a prompt is a str or a list of content parts, not {type(prompt).__name__}{hint}")
    if not prompt:
        raise ValueError("the prompt is empty")
    for number, part in enumerate(prompt, 1):
        _check_part(part, f"part {number} of the prompt")
    if all(part["type"] == "text" and not part["text"].strip() for part in prompt):
        raise ValueError("the prompt is empty")
    parts: Prompt = checked({"role": "user", "content": list(prompt)})["content"]
    return parts


def _check_part(part: object, which: str) -> None:
    if not isinstance(part, Mapping):
        raise MessageError(
            f'{which} is {reprlib.repr(part)}; a part is a dict such as {{"type": "text", "text": "..."}}'
        )
    kind = part.get("type")
    if not isinstance(kind, str):
        raise MessageError(f'{which} has no "type" such as "text" or "image_url": {reprlib.repr(part)}')
    key, wanted, words = _NEEDED.get(kind, ("type", str, ""))
    if not isinstance(part.get(key), wanted):
        raise MessageError(f'{which}, of the type "{kind}", has to have under "{key}" {words}')
    if kind == "image_url" and not isinstance(part["image_url"].get("url"), str):
        raise MessageError(f'{which}: its image_url has no "url", a str (of the web, or data:image/png;base64,...)')
