"""How each wire format puts what a script says."""

from __future__ import annotations

from .anthropic_messages import MessagesFormat
from .chat_completions import ChatCompletionsFormat
from .common import Body, WireFormat
from .openai_responses import ResponsesFormat

FORMATS: dict[str, type[WireFormat]] = {
    "/chat/completions": ChatCompletionsFormat,
    "/responses": ResponsesFormat,
    "/messages": MessagesFormat,
}
"""The formats by the end of the path under which they are served."""

__all__ = ["FORMATS", "Body", "WireFormat"]
