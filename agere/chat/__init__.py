"""The agent of ``agere chat``: made of nothing but Jobs, handlers and callbacks, to be read and taken apart.

``model.py`` says which model answers, ``turn.py`` is one question up to its answer (the tutorial's Jobs and handlers),
``dialogue.py`` asks for the next one, ``tools.py`` runs tools, ``screen.py`` shows it all to a person.
"""

from .agent import Agent
from .conversation import Conversation, Message
from .dialogue import PromptJob, ask_once, talk
from .model import ChatModel, open_model
from .screen import Screen, View, prepare_terminal
from .tools import Tool, ToolCall, ToolResult, weather_tool
from .trouble import explain
from .turn import ChatJob, TooManyRoundsError

__all__ = [
    "Agent",
    "ChatJob",
    "ChatModel",
    "Conversation",
    "Message",
    "PromptJob",
    "Screen",
    "TooManyRoundsError",
    "Tool",
    "ToolCall",
    "ToolResult",
    "View",
    "ask_once",
    "explain",
    "open_model",
    "prepare_terminal",
    "talk",
    "weather_tool",
]
