"""``Chat``, the agent in ten lines, and the command ``agere chat``: made of nothing but the public core.

``agent.py`` is the Chat, ``turn.py`` one question up to its answer (``record.py``: what it has come to, ``limits.py``,
``queue.py``: one turn after another, ``answer.py``: what it gives), ``model.py`` says which model answers and
``opening.py`` when it is opened, ``trouble.py`` what went wrong. ``conversation.py`` keeps what was said.
``dialogue.py`` and ``screen.py`` are the command's. ``agere.tools`` makes the calls.
"""

from .agent import Chat
from .answer import Answer, Timings, Usage
from .conversation import Conversation, Message
from .dialogue import ask_once, talk
from .model import ChatModel, open_model
from .screen import Screen, prepare_terminal
from .trouble import explain
from .turn import TurnJob

__all__ = [
    "Answer",
    "Chat",
    "ChatModel",
    "Conversation",
    "Message",
    "Screen",
    "Timings",
    "TurnJob",
    "Usage",
    "ask_once",
    "explain",
    "open_model",
    "prepare_terminal",
    "talk",
]
