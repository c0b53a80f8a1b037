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
