"""For the tests of programs that use Agere: a scripted model server on loopback, and a scripted person."""

from agere.hosts.scripted import ScriptedHost

from .scripted_llm import (
    Answer,
    Call,
    Cut,
    Delta,
    Gate,
    Raw,
    Request,
    ScriptedLLM,
    Silence,
    StreamError,
    cut,
    error_in_stream,
    failing,
    silent,
    text,
    tool_calls,
)

__all__ = [
    "Answer",
    "Call",
    "Cut",
    "Delta",
    "Gate",
    "Raw",
    "Request",
    "ScriptedHost",
    "ScriptedLLM",
    "Silence",
    "StreamError",
    "cut",
    "error_in_stream",
    "failing",
    "silent",
    "text",
    "tool_calls",
]
