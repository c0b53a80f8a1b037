"""On Python 3.11 pydantic refuses ``typing.TypedDict`` and takes that of ``typing_extensions``.

This makes one of the other, wherever it stands in a type.
"""

from __future__ import annotations

import functools
import operator
import sys
import types
import typing
from typing import Any


def acceptable(hint: Any) -> Any:
    """Any thread. ``hint`` with every ``typing.TypedDict`` in it as pydantic takes it."""
    return hint if sys.version_info >= (3, 12) else _convert(hint, {})


def _convert(hint: Any, made: dict[Any, Any]) -> Any:
    if typing.is_typeddict(hint) and type(hint).__module__ == "typing":
        return _remake(hint, made)
    origin, arguments = typing.get_origin(hint), typing.get_args(hint)
    if origin is None or origin is typing.Literal:
        return hint
    changed = tuple(_convert(argument, made) if _is_type(argument) else argument for argument in arguments)
    if changed == arguments:
        return hint
    if origin is types.UnionType:
        return functools.reduce(operator.or_, changed)
    if origin in (typing.Annotated, typing.Required, typing.NotRequired):
        return hint.copy_with(changed[:1])
    return origin[changed]


def _is_type(argument: Any) -> bool:
    return isinstance(argument, type) or typing.get_origin(argument) is not None


def _remake(hint: Any, made: dict[Any, Any]) -> Any:
    import typing_extensions  # pydantic brings it along

    if hint in made:
        return made[hint]
    made[hint] = hint  # one that holds itself is left as it is, to be refused by name
    fields = {
        name: _marked(_convert(kind, made), name in hint.__required_keys__)
        for name, kind in typing.get_type_hints(hint, include_extras=True).items()
    }
    make: Any = typing_extensions.TypedDict
    remade = make(hint.__name__, fields)
    remade.__doc__ = hint.__doc__
    made[hint] = remade
    return remade


def _marked(kind: Any, required: bool) -> Any:
    if typing.get_origin(kind) in (typing.Required, typing.NotRequired):
        return kind  # written in the class; with annotations in quotes the class itself does not know of it
    return typing.Required[kind] if required else typing.NotRequired[kind]
