"""A call, as it is shown to the person who decides on it.

Nothing of it is left out: what a type keeps out of its ``repr`` or its JSON would run all the same.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from enum import Enum
from typing import Any

from .call import cut
from .contents import as_fields

LONGEST_SHOWN = 10_000  # characters of the arguments: what a person decides on must be seen
HIDDEN = "**********"


def as_shown(name: str, arguments: Mapping[str, Any], written: Mapping[str, Any]) -> str:
    """Any thread. A call on one line, in which every character prints.

    When all is too long, each argument is cut at its share of the room: a long one pushes no other out of sight.

    Args:
        name: of the tool.
        arguments: with which it is going to be called.
        written: what the model wrote. Of a secret (``SecretStr``) that alone is shown, and no default.

    Raises:
        RecursionError: a value is nested too deeply.
    """
    model_wrote = json.dumps(written, ensure_ascii=False)
    parts = [_visible(f"{each}={_text(value, model_wrote)}") for each, value in arguments.items()]
    if sum(map(len, parts)) > LONGEST_SHOWN:
        parts = [cut(part, LONGEST_SHOWN // len(parts)) for part in parts]
    return f"{_visible(name)}({cut(', '.join(parts), 2 * LONGEST_SHOWN)})"


def _text(value: Any, model_wrote: str) -> str:
    """``value`` as people read it, much like JSON."""
    if isinstance(value, Enum):
        value = value.value
    if value is None or isinstance(value, str | int | float):
        return json.dumps(value, ensure_ascii=False)
    if callable(getattr(type(value), "get_secret_value", None)):
        text = _text(value.get_secret_value(), model_wrote)
        return text if text in model_wrote else HIDDEN
    if (fields := as_fields(value)) is not None:
        value = fields
    if isinstance(value, Mapping):
        entries = (f"{_text(key, model_wrote)}: {_text(entry, model_wrote)}" for key, entry in value.items())
        return f"{{{', '.join(entries)}}}"
    if isinstance(value, list | tuple | set | frozenset):
        return f"[{', '.join(_text(entry, model_wrote) for entry in value)}]"
    if isinstance(value, bytes):
        return repr(value)
    return json.dumps(_own_text(value), ensure_ascii=False)


def _own_text(value: Any) -> str:
    """A date, a path, a number of some kind; or an object of which nobody but itself knows anything."""
    try:
        return str(value)
    except RecursionError:
        raise
    except Exception:  # noqa: BLE001 - somebody's __str__
        return object.__repr__(value)


def _visible(text: str) -> str:
    """``text`` with what does not print written out: control characters, and those that turn the direction."""
    return "".join(char if char.isprintable() else char.encode("unicode_escape").decode() for char in text)
