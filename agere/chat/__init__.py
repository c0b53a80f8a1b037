"""The agent of ``agere chat``: made of nothing but Jobs, handlers and callbacks, to be read and taken apart.

``model.py`` says which model answers, ``turn.py`` is one question up to its answer (the tutorial's Jobs and handlers),
``dialogue.py`` asks for the next one, ``tools.py`` runs tools, ``screen.py`` shows it all to a person.
"""

from .conversation import Conversation, Message
from .dialogue import PromptJob, ask_once, talk
from .model import ChatModel, open_model
from .screen import Screen, View
from .tools import Tool, ToolCall, ToolResult, weather_tool
from .trouble import explain
from .turn import ChatJob, TooManyRoundsError

__all__ = [
    "ChatJob",
    "ChatModel",
    "Conversation",
    "Message",
    "PromptJob",
    "Screen",
    "Tool",
    "ToolCall",
    "ToolResult",
    "TooManyRoundsError",
    "View",
    "ask_once",
    "explain",
    "open_model",
    "talk",
    "weather_tool",
]
