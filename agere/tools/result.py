"""What a tool gave, as text for the model."""

from __future__ import annotations

from typing import Any

from agere.errors import AgereError

from .call import sendable

NOTHING = "The call succeeded and gave no result."


class ResultNotJsonError(AgereError, TypeError):
    """A tool's result is no text and cannot be written as JSON."""


def as_text(value: Any) -> str:
    """Any thread. A str as it is; None in words; everything else as JSON, by pydantic's rules.

    Dataclasses, pydantic models, enums, dates, paths, sets and so on are what pydantic makes of them. Infinities and
    NaN become strings: JSON has none. An object with a method ``as_tool_result`` says itself what a model reads of it
    (the answer of another Chat does).

    Raises:
        ResultNotJsonError: there is no JSON for it.
    """
    if isinstance(value, str):
        return sendable(str(value))
    if value is None:
        return NOTHING
    if callable(told := getattr(type(value), "as_tool_result", None)):
        return sendable(str(told(value)))
    from pydantic_core import to_json

    try:
        return sendable(to_json(value, inf_nan_mode="strings").decode())
    except (ValueError, RecursionError) as error:  # PydanticSerializationError is a ValueError
        raise ResultNotJsonError(
            f"the tool ran, and gave a {type(value).__name__}, which cannot be written as JSON: {error}"
        ) from error
