"""For the tests of programs that use Agere: a scripted model server on loopback, and a scripted person.

See ``docs/testing.md``. No client is imported until one is made.
"""

from agere.errors import ScriptError
from agere.hosts.scripted import ScriptedHost

from .answers import answer, cut, error_in_stream, failing, late, silent, text, tool_calls
from .gates import Gate
from .script import Request
from .scripted_llm import ScriptedLLM
from .steps import (
    Answer,
    Begin,
    Call,
    CallArguments,
    CallBegin,
    Cut,
    Delay,
    Delta,
    End,
    Raw,
    Refusal,
    Silence,
    StreamError,
    Text,
    Thinking,
    Usage,
)

__all__ = [
    "Answer",
    "Begin",
    "Call",
    "CallArguments",
    "CallBegin",
    "Cut",
    "Delay",
    "Delta",
    "End",
    "Gate",
    "Raw",
    "Refusal",
    "Request",
    "ScriptError",
    "ScriptedHost",
    "ScriptedLLM",
    "Silence",
    "StreamError",
    "Text",
    "Thinking",
    "Usage",
    "answer",
    "cut",
    "error_in_stream",
    "failing",
    "late",
    "silent",
    "text",
    "tool_calls",
]
