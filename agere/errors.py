"""Every exception that Agere raises. All of them can be pickled, so that they cross process pools."""

from __future__ import annotations

from concurrent.futures import CancelledError


class AgereError(Exception):
    """Base of every error of this library."""


class AttributeNotSetError(AgereError, AttributeError):
    """An attribute was read that only a submitted node has (``parent``, ``commander``, ...)."""


class CommanderNotRunError(AgereError, RuntimeError):
    """Work was handed to a commander that is not running: not started yet, leaving, or gone."""


class CommanderForkedError(CommanderNotRunError):
    """The commander was started before a fork; its threads do not exist in this child process."""


class CommanderAlreadyRunningError(AgereError, RuntimeError):
    """``start`` or ``run`` was called on a commander that is running."""


class NotJobError(AgereError, TypeError):
    """Something that is no ``Job`` was put where a Job belongs."""


class NotTaskerError(AgereError, TypeError):
    """A Job has no ``task`` method, or one without the ``@tasker`` decorator."""


class NotHandlerError(AgereError, TypeError):
    """Something that was not made by a ``@handler`` function was called as a handler."""


class PasswordError(AgereError, ValueError):
    """``tasker`` or ``handler`` was given another password than ``PASS_WORD``."""


class CallbackError(AgereError, ValueError):
    """A callback was described wrongly: an unknown phase, no function, unknown keys."""


class NodeActiveError(AgereError, RuntimeError):
    """A node was submitted while it was queued or running."""


class NodeEndedError(AgereError, RuntimeError):
    """A child was put on a node that is ending or has ended."""


class NodeTerminatedError(AgereError, CancelledError):
    """The awaited node was terminated (cancelled) before it had a result."""


class DeadlockError(AgereError, RuntimeError):
    """A wait would have closed a cycle of bodies that wait for each other."""


class BlockingCallError(AgereError, RuntimeError):
    """A blocking wait was called on an event-loop thread of Agere, which it would have frozen."""


class WorkerLimitError(AgereError, RuntimeError):
    """No worker thread could be had: ``max_workers`` is reached, or the system refused a thread."""


class HostError(AgereError, RuntimeError):
    """The host could not do what it was asked to."""


class HostGoneError(HostError):
    """The host's window, kernel or process is gone."""


class NoKernelError(HostError):
    """A JupyterHost was made in a process that is not a Jupyter kernel."""


class NobodyAnswersError(HostError):
    """``input()`` was called where nobody can answer: no thread pumps the host. Use ``node.ask``."""


class ToolCallParseError(AgereError, ValueError):
    """A streamed tool call was truncated, malformed or too large.

    Attributes:
        message: what was wrong.
        name: the tool's name as far as it had come, or None.
        id: the call's id as far as it had come, or None.
        raw: the raw text of the arguments as far as it had come.
    """

    def __init__(self, message: str, name: str | None = None, id: str | None = None, raw: str = "") -> None:  # noqa: A002 - the field's own name
        super().__init__(message, name, id, raw)
        self.message = message
        self.name = name
        self.id = id
        self.raw = raw

    def __str__(self) -> str:
        return self.message


class ToolCallTooLargeError(ToolCallParseError):
    """A streamed tool call passed the size limit and was ended."""


class LocalLLMError(AgereError, RuntimeError):
    """The embedded model could not be fetched, verified or served."""


class NoModelError(AgereError, RuntimeError):
    """No model can be had: neither a key nor a server is named, and the embedded model is not there either."""


class ModelError(AgereError, RuntimeError):
    """The model's server ended a streamed answer with an error.

    Attributes:
        message: what the server said.
        code: the kind of error, as the server names it, or None.
    """

    def __init__(self, message: str, code: str | None = None) -> None:
        super().__init__(message, code)
        self.message = message
        self.code = code

    def __str__(self) -> str:
        return self.message


class IncompleteAnswerError(ModelError):
    """The model's server broke a streamed answer off, for instance by a content filter; ``code`` is its reason."""


class ScriptError(AgereError, AssertionError):
    """The script of a ``ScriptedLLM`` and the requests that it got do not fit."""


class ChatClosedError(AgereError, RuntimeError):
    """A turn was asked of a ``Chat`` that has been closed."""


class TurnLimitError(AgereError, RuntimeError):
    """A turn of a ``Chat`` passed one of its limits and was ended."""


class RoundLimitError(TurnLimitError):
    """The model went on calling tools and did not answer within ``max_rounds`` requests."""


class ToolCallLimitError(TurnLimitError):
    """The model asked for more tool calls in one turn than ``max_tool_calls``; those beyond were not made."""


class TimeLimitError(TurnLimitError, TimeoutError):
    """A turn took longer than ``max_seconds``."""


class TokenLimitError(TurnLimitError):
    """The model wrote more tokens in one turn than ``max_tokens``."""


class ToolDefinitionError(AgereError, ValueError):
    """A tool cannot be made from what was given: a missing hint, a type without a schema, a name, a clash of names."""


class ConversationError(AgereError):
    """Base of what goes wrong with a conversation."""


class MessageError(ConversationError, ValueError):
    """A message is none of the protocol, or cannot stand where it was put: a result without its call, say."""


class TurnError(ConversationError, RuntimeError):
    """A turn was begun, continued or ended at a wrong moment: one at a time, and whole."""


class ConversationFileError(ConversationError, ValueError):
    """A file holds no conversation, or a line of it is malformed. The file is left as it is."""


class ConversationInUseError(ConversationError, RuntimeError):
    """A conversation's file is in use: by another process, or by another object of this one."""


class ConversationClosedError(ConversationError, RuntimeError):
    """Something was to be said in a conversation that has been closed, or belongs to the process before a fork."""


class MCPServerError(AgereError, RuntimeError):
    """An MCP server could not be started or reached, or does not behave as one."""


class MCPCallError(AgereError, RuntimeError):
    """A tool of an MCP server failed: the server said so, or went away during the call."""
