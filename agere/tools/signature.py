"""The parameters of a function, with their types. Refuses what a model cannot fill in."""

from __future__ import annotations

import functools
import inspect
import sys
import typing
from collections.abc import Callable, Mapping
from types import FrameType, MethodType
from typing import Any, NamedTuple

from agere.errors import ToolDefinitionError

REQUIRED: Any = inspect.Parameter.empty
"""The default of a parameter that has none."""

_REFUSED: dict[object, str] = {
    inspect.Parameter.VAR_POSITIONAL: "takes *{name}: a model fills in named arguments",
    inspect.Parameter.VAR_KEYWORD: "takes **{name}: a model needs to be told each argument's name and type",
    inspect.Parameter.POSITIONAL_ONLY: "has the positional-only parameter {name!r}: a model fills in named arguments",
}


class Parameter(NamedTuple):
    """One parameter.

    Attributes:
        name: as the function has it.
        hint: its type, evaluated, with what ``Annotated`` says.
        default: or ``REQUIRED``.
    """

    name: str
    hint: Any
    default: Any


def read_parameters(fn: Callable[..., Any], label: str, skip: int = 0) -> list[Parameter]:
    """Any thread. The parameters that a model is to fill in; those that a ``partial`` has bound are left out.

    Args:
        fn: any callable.
        label: how messages call it.
        skip: parameters at the beginning that are filled in otherwise (``self``).

    Raises:
        ToolDefinitionError: a parameter has no type, an unknown one, or is of a kind that no model can fill in.
    """
    try:
        signature = inspect.signature(fn)
    except (TypeError, ValueError) as error:
        raise ToolDefinitionError(
            f"{label} does not tell its parameters ({error}); wrap it in a function with type hints"
        ) from None
    bound = _bound_keywords(fn)
    source = plain_function(fn)
    found = []
    for parameter in list(signature.parameters.values())[skip:]:
        if parameter.name in bound:
            continue
        refused = _REFUSED.get(parameter.kind)
        if refused is not None:
            raise ToolDefinitionError(f"{label} {refused.format(name=parameter.name)}")
        if parameter.annotation is inspect.Parameter.empty:
            raise ToolDefinitionError(
                f"the parameter {parameter.name!r} of {label} has no type hint; write {parameter.name}: str, say"
            )
        hint = _evaluate(parameter.annotation, source, parameter.name, label)
        found.append(Parameter(parameter.name, hint, parameter.default))
    return found


def plain_function(fn: Any) -> Any:
    """Any thread. The function behind a ``partial``, a method, an object with ``__call__``, or a wrapper."""
    while True:
        if isinstance(fn, functools.partial):
            fn = fn.func
        elif isinstance(fn, MethodType | staticmethod | classmethod):
            fn = fn.__func__
        elif hasattr(fn, "__wrapped__"):
            fn = fn.__wrapped__
        elif not hasattr(fn, "__code__") and inspect.isfunction(getattr(type(fn), "__call__", None)):  # noqa: B004
            fn = type(fn).__call__
        else:
            return fn


def bound_arguments(fn: Any) -> dict[str, Any]:
    """Any thread. What a ``partial`` has bound, by the names of the parameters."""
    if not isinstance(fn, functools.partial):
        return {}
    return {**bound_arguments(fn.func), **inspect.signature(fn.func).bind_partial(*fn.args, **fn.keywords).arguments}


def _bound_keywords(fn: Any) -> set[str]:
    names: set[str] = set()
    while isinstance(fn, functools.partial):
        names.update(fn.keywords)
        fn = fn.func
    return names


class _Annotated:
    """Something that has one annotation, for ``typing.get_type_hints``."""

    def __init__(self, annotation: Any) -> None:
        self.__annotations__ = {"it": annotation}


def _evaluate(annotation: Any, source: Any, name: str, label: str) -> Any:
    names = getattr(source, "__globals__", {})
    try:
        hint = typing.get_type_hints(_Annotated(annotation), names, _names_around(source), include_extras=True)["it"]
    except Exception as error:
        advice = "it must name something that exists where the function is defined"
        if isinstance(error, NameError) and "<locals>" in getattr(source, "__qualname__", ""):
            advice += (
                ". The names of a function around it are out of reach once that has returned: decorate the tool there, "
                "with @agere.tool, or define what the hint names outside of functions"
            )
        raise ToolDefinitionError(
            f"the type hint {annotation!r} of the parameter {name!r} of {label} cannot be evaluated "
            f"({type(error).__name__}: {error}); {advice}"
        ) from error
    return hint


def _names_around(source: Any) -> Mapping[str, Any]:
    """The names of the functions in which ``source`` is being defined: hints in quotes may use them."""
    code = getattr(source, "__code__", None)
    if code is None:
        return {}
    found: dict[str, Any] = {}
    frame: FrameType | None = sys._getframe()  # what inspect.currentframe gives where there are frames
    while frame is not None:
        if frame.f_globals is source.__globals__ and code.co_qualname.startswith(
            f"{frame.f_code.co_qualname}.<locals>."
        ):
            found = {**frame.f_locals, **found}
        frame = frame.f_back
    for cell_name, cell in zip(code.co_freevars, source.__closure__ or (), strict=False):
        try:
            found[cell_name] = cell.cell_contents
        except ValueError:  # not assigned yet
            continue
    return found
