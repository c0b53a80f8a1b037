"""The states of a node, as users see them."""

from __future__ import annotations

from enum import StrEnum


class State(StrEnum):
    """Where a node's own body and tail stand (its Future tells of the whole subtree)."""

    PENDING = "PENDING"
    ACTIVE = "ACTIVE"
    COMPLETED = "COMPLETED"
    EXCEPTION = "EXCEPTION"
    TERMINATED = "TERMINATED"


COMPLETED = State.COMPLETED
TERMINATED = State.TERMINATED
"""The same; Python 3.11 takes ten times as long to find them as attributes of the class."""
