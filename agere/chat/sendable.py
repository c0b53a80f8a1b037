"""Texts as UTF-8 can carry them, wherever they stand in a piece of JSON."""

from __future__ import annotations

from typing import Any

from agere.tools.call import sendable

__all__ = ["all_sendable", "sendable"]


def all_sendable(value: Any) -> Any:
    """Any thread. ``value`` with each half of a surrogate pair in its texts replaced; what is no JSON is left alone.

    Such texts come from file names, from the command line and from a stdin in another encoding. One of them would fail
    the request that carries it, and each that follows in the same conversation.
    """
    if isinstance(value, str):
        return sendable(value)
    if type(value) is dict:
        return {all_sendable(key): all_sendable(one) for key, one in value.items()}
    if type(value) is list or type(value) is tuple:
        return type(value)(map(all_sendable, value))
    return value
