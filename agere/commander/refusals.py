"""What is refused at the call, and what the message says. Any thread."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NoReturn

from agere.errors import CommanderNotRunError, NodeEndedError, NotHandlerError, NotJobError

from . import tree
from .affinity import here

if TYPE_CHECKING:
    from .node import TaskNode


def refuse_abandoned() -> None:
    """Any thread. Raise CommanderNotRunError on the thread of a body that was given up on."""
    ticket = here.ticket
    if ticket is not None and ticket.dead:
        raise CommanderNotRunError(
            f"{ticket.node._describe_()} did not unwind in time and was abandoned; it submits no more"
        )


def refuse_job(job: object) -> NoReturn:
    """Any thread. Say what is wrong with something that is put as a Job."""
    from .work import describe, hint

    raise NotJobError(f"a Job is needed here, not {describe(job)}{hint(job)}")


def refuse_handler(handler: object) -> NoReturn:
    """Any thread. Say what is wrong with something that is called as a handler."""
    from .work import describe, hint

    raise NotHandlerError(
        f"call_handler takes what a @handler function returns, not {describe(handler)}{hint(handler)}"
    )


def raise_ended(target: TaskNode[Any]) -> None:
    """Any thread. Refuse a child for a node that takes none any more."""
    if target._parent_ is None and target._phase_ != tree.NEW and target._kind_ == "commander":
        raise CommanderNotRunError(f"{target._describe_()} is leaving and takes no more work")
    if target._phase_ in tree.IDLE_PHASES and target._state_ is None:
        raise CommanderNotRunError(f"{target._describe_()} is not running; submit it, or start() the commander, first")
    raise NodeEndedError(
        f"{target._describe_()} is ending or has ended and takes no children; "
        "put the work elsewhere, e.g. with parent=task_node.commander"
    )
