"""Agere: LLM agents as a tree of small pieces, inside a program you already have."""

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

__all__ = [
    "PASS_WORD",
    "BasicJob",
    "Callback",
    "Commander",
    "CommanderAsync",
    "HandlerCoroutine",
    "Job",
    "JobFuture",
    "State",
    "TaskNode",
    "__version__",
    "current_node",
    "handler",
    "run",
    "stream",
    "tasker",
]
