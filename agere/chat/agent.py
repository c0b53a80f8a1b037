"""What all turns of one agent share."""

from __future__ import annotations

from collections.abc import Iterable

from .conversation import Conversation
from .model import ChatModel
from .screen import Screen, View
from .tools import Tool, Toolbox

MAX_ROUNDS = 10


class Agent:
    """A model, tools, a conversation, and somebody who watches.

    Args:
        model: who answers.
        tools: what it may call.
        view: who watches; the terminal by default.
        conversation: what was said before; a new one by default.
        max_rounds: requests for one question, after which a turn is given up.

    Raises:
        ValueError: two tools have one name, or ``max_rounds`` is less than one.
    """

    def __init__(
        self,
        model: ChatModel,
        tools: Iterable[Tool] = (),
        view: View | None = None,
        conversation: Conversation | None = None,
        max_rounds: int = MAX_ROUNDS,
    ) -> None:
        if max_rounds < 1:
            raise ValueError(f"max_rounds is at least 1, not {max_rounds}")
        self.model = model
        self.toolbox = Toolbox(tools)
        self.view: View = Screen() if view is None else view
        self.conversation = Conversation(memory=model.memory) if conversation is None else conversation
        self.max_rounds = max_rounds
