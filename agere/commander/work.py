"""What counts as work for ``submit``, and what somebody meant who passed something else. Any thread."""

from __future__ import annotations

import functools
import inspect
import reprlib
from typing import Any

from .body import refuse_generators
from .handler import IS_HANDLER, HandlerCoroutine, HandlerSpec, make_handler
from .job import Job
from .node import TaskNode


def as_node(work: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> TaskNode[Any]:
    """A node for ``work``: itself if it is a Job or a handler, else one for the function. Raises TypeError."""
    if isinstance(work, Job):
        work._check_work_()
        _refuse_arguments(work, args, kwargs)
        return work
    return as_handler(work, args, kwargs)


def as_handler(work: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> HandlerCoroutine[Any]:
    """A handler node for ``work``. Raises TypeError."""
    if isinstance(work, HandlerCoroutine):
        work._check_work_()
        _refuse_arguments(work, args, kwargs)
        return work
    if getattr(work, IS_HANDLER, False):
        made: HandlerCoroutine[Any] = work(*args, **kwargs)
        return made
    if not callable(work) or isinstance(work, TaskNode) or (isinstance(work, type) and issubclass(work, TaskNode)):
        raise TypeError(f"a Job, a handler or a function is needed here, not {describe(work)}{hint(work)}")
    function = work
    while isinstance(function, functools.partial):
        function = function.func
    refuse_generators("the function", function)
    return make_handler(HandlerSpec(work, None), args, kwargs)


def _refuse_arguments(work: TaskNode[Any], args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
    if args or kwargs:
        raise TypeError(f"{work._describe_()} takes no further arguments; only functions do")


def hint(work: object) -> str:
    """What somebody who passed this probably meant."""
    if inspect.iscoroutine(work):
        return "; pass the async function and its arguments, not the coroutine"
    if isinstance(work, type) and issubclass(work, TaskNode):
        return "; pass an instance of it"
    if getattr(work, IS_HANDLER, False):
        return "; call it first"
    if isinstance(work, HandlerCoroutine):
        return "; a handler goes to call_handler or submit"
    if isinstance(work, Job):
        return "; a Job goes to put_job or submit"
    return ""


def describe(work: object) -> str:
    """Something that was passed, for a message; never raises."""
    if isinstance(work, TaskNode):
        return work._describe_()
    try:
        return reprlib.repr(work)
    except Exception:  # noqa: BLE001 - somebody's __repr__
        return f"a {type(work).__name__}"
