"""Reads what streams are made of, be it objects of a client's package, plain dicts, or anything of that shape.

What is missing, None, empty or of another type counts as not said.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

_MISSING = object()


def field(thing: object, name: str) -> object:
    """The attribute or key; None where there is none."""
    if type(thing) is dict:
        return thing.get(name)
    value: object = getattr(thing, name, _MISSING)
    if value is not _MISSING:
        return value
    return thing.get(name) if isinstance(thing, Mapping) else None  # last, since asking that takes longest


def items(value: object) -> Sequence[object]:
    """A list's or tuple's items; none of anything else."""
    return value if isinstance(value, (list, tuple)) else ()


def string(value: object) -> str | None:
    """A string that says something, or None."""
    return value if isinstance(value, str) and value else None


def number(value: object) -> int | None:
    """An int (no bool), or None."""
    return value if type(value) is int else None
