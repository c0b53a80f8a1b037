"""The core of Agere: commanders, Jobs, handlers, callbacks."""

from typing import TYPE_CHECKING, Any

from agere.errors import (
    AgereError,
    AttributeNotSetError,
    BlockingCallError,
    CallbackError,
    CommanderAlreadyRunningError,
    CommanderForkedError,
    CommanderNotRunError,
    DeadlockError,
    HostError,
    HostGoneError,
    NobodyAnswersError,
    NodeActiveError,
    NodeEndedError,
    NodeTerminatedError,
    NotHandlerError,
    NotJobError,
    NotTaskerError,
    PasswordError,
    WorkerLimitError,
)

from .affinity import current_node
from .callback import Callback, CallbackDict, CallbackParams
from .emission import Emission, JobStream, StreamOverflowError
from .facade import Commander
from .future import JobFuture
from .handler import HandlerCoroutine, HandlerFunction, handler
from .host import Host
from .job import BasicJob, Job, tasker
from .listeners import Subscription
from .node import TaskNode
from .password import PASS_WORD
from .questions import Question
from .sigterm import TerminatedBySignal
from .snapshot import TreeSnapshot
from .state import State
from .submission import Submission

if TYPE_CHECKING:
    from .events import (
        CallbackFailed,
        Event,
        EventsLost,
        NodeCreated,
        NodeEnded,
        NodeStarted,
        QuestionAnswered,
        QuestionAsked,
        StreamClosed,
        StreamOpened,
    )

CommanderAsync = Commander

__all__ = [
    "PASS_WORD",
    "AgereError",
    "AttributeNotSetError",
    "BasicJob",
    "BlockingCallError",
    "Callback",
    "CallbackDict",
    "CallbackError",
    "CallbackFailed",
    "CallbackParams",
    "Commander",
    "CommanderAlreadyRunningError",
    "CommanderAsync",
    "CommanderForkedError",
    "CommanderNotRunError",
    "DeadlockError",
    "Emission",
    "Event",
    "EventsLost",
    "HandlerCoroutine",
    "HandlerFunction",
    "Host",
    "HostError",
    "HostGoneError",
    "Job",
    "JobFuture",
    "JobStream",
    "NobodyAnswersError",
    "NodeActiveError",
    "NodeCreated",
    "NodeEnded",
    "NodeEndedError",
    "NodeStarted",
    "NodeTerminatedError",
    "NotHandlerError",
    "NotJobError",
    "NotTaskerError",
    "PasswordError",
    "Question",
    "QuestionAnswered",
    "QuestionAsked",
    "State",
    "StreamClosed",
    "StreamOpened",
    "StreamOverflowError",
    "Submission",
    "Subscription",
    "TaskNode",
    "TerminatedBySignal",
    "TreeSnapshot",
    "WorkerLimitError",
    "current_node",
    "handler",
    "tasker",
]

_EVENTS = {
    "CallbackFailed",
    "Event",
    "EventsLost",
    "NodeCreated",
    "NodeEnded",
    "NodeStarted",
    "QuestionAnswered",
    "QuestionAsked",
    "StreamClosed",
    "StreamOpened",
}
"""Loaded at first use: making these classes would be a tenth of ``import agere``."""


def __getattr__(name: str) -> Any:
    if name not in _EVENTS:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from . import events

    globals()[name] = value = getattr(events, name)
    return value
