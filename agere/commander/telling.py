"""Log records about a node are written in its context, as what its body prints.

A Jupyter kernel finds the cell below which a line belongs by a context variable; filters and formatters of people's
own read theirs.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from .node import TaskNode


def tell(log: Callable[..., None], node: TaskNode[Any], message: str, *args: object, **more: Any) -> None:
    """Any thread. Call ``log(message, *args, **more)`` in (a copy of) the node's context."""
    context = node._context_
    more.setdefault("stacklevel", 2)
    if context is None:
        log(message, *args, **more)
    else:
        context.copy().run(log, message, *args, **more)
