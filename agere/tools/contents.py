"""What objects hold that are made of fields."""

from __future__ import annotations

import dataclasses
from typing import Any


def as_fields(value: Any) -> dict[str, Any] | None:
    """Any thread. All the fields of a pydantic model or a dataclass, also those kept out of texts; None for others."""
    from pydantic import BaseModel

    if isinstance(value, BaseModel):
        return {**vars(value), **(value.__pydantic_extra__ or {})}
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return {field.name: getattr(value, field.name, None) for field in dataclasses.fields(value)}
    return None
