"""Agere: LLM agents as a tree of small pieces, inside a program you already have."""

from typing import TYPE_CHECKING, Any

from . import default_host as _default_host  # noqa: F401 - says which host a commander gets
from ._version import __version__
from .commander import (
    PASS_WORD,
    BasicJob,
    Callback,
    Commander,
    CommanderAsync,
    HandlerCoroutine,
    Job,
    JobFuture,
    State,
    TaskNode,
    current_node,
    handler,
    tasker,
)
from .running import run, stream

if TYPE_CHECKING:
    from .chat import Chat, Conversation
    from .node_filter import NodeFilter
    from .tools import tool
    from .tools.mcp import MCPTools

__all__ = [
    "PASS_WORD",
    "BasicJob",
    "Callback",
    "Chat",
    "Commander",
    "CommanderAsync",
    "Conversation",
    "HandlerCoroutine",
    "Job",
    "JobFuture",
    "MCPTools",
    "NodeFilter",
    "State",
    "TaskNode",
    "__version__",
    "current_node",
    "handler",
    "run",
    "stream",
    "tasker",
    "tool",
]

_AT_FIRST_USE = {
    "Chat": "agere.chat",
    "Conversation": "agere.chat",
    "MCPTools": "agere.tools.mcp",
    "NodeFilter": "agere.node_filter",
    "tool": "agere.tools",
}
"""Names whose modules load what takes its time, such as pydantic and in the end the client, or are rarely needed."""

_PACKAGES = {"addons", "chat", "hosts", "testing", "tools", "utils"}


def __getattr__(name: str) -> Any:
    """Load what is too heavy for ``import agere``."""
    from importlib import import_module

    if name in _PACKAGES:
        return import_module(f"{__name__}.{name}")
    if name not in _AT_FIRST_USE:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    globals()[name] = value = getattr(import_module(_AT_FIRST_USE[name]), name)
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *_AT_FIRST_USE, *_PACKAGES})
