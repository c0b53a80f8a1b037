"""Jobs: nodes that are classes."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from typing import Any, TypeVar, cast, overload

from agere.errors import NotTaskerError

from .body import refuse_generators, runs_on_loop
from .callback import Callback
from .node import TaskNode
from .password import check_password

T = TypeVar("T")
F = TypeVar("F", bound=Callable[..., Any])

ON_LOOP = "__agere_on_loop__"
"""What ``tasker`` leaves on a function: whether it runs on the loop (True) or on a worker thread (False)."""


@overload
def tasker(password: F, /) -> F: ...
@overload
def tasker(password: str) -> Callable[[F], F]: ...
def tasker(password: Any) -> Any:
    """Mark a Job's ``task`` method: ``@tasker(PASS_WORD)``, or bare ``@tasker``.

    An ``async def`` task runs on the loop and must not block it; a plain ``def`` task runs on a worker thread.

    Args:
        password: ``PASS_WORD``.

    Raises:
        PasswordError: another password.
        TypeError: the task is a generator, or no function.
    """
    if isinstance(password, str) or not (callable(password) or isinstance(password, staticmethod | classmethod)):
        check_password("tasker", password)
        return _mark
    return _mark(password)


def _mark(task: F) -> F:
    function = cast("Any", task.__func__ if isinstance(task, staticmethod | classmethod) else task)
    if not callable(function):
        raise TypeError(f"@tasker decorates a function, not {task!r}")
    refuse_generators("the task", function)
    setattr(function, ON_LOOP, runs_on_loop(function))
    return task


class Job(TaskNode[T]):
    """A piece of work: put what it needs into the object, and what it does into ``task``.

    ``task`` must be decorated with ``@tasker(PASS_WORD)``. What it returns is the Job's result; a handler that it
    returns is run as the Job's tail, and gives the result. It is complete when all that it put has completed too.

    Args:
        callback: callbacks of the Job.
        name: a name for people; the class's by default.
    """

    _kind_ = "job"
    __agere_name__: str | None = None

    def __init__(self, callback: Callback | None = None, name: str | None = None) -> None:
        if callback is not None:
            TaskNode.add_callback(self, callback)
        if name is not None:
            self.__agere_name__ = name

    def task(self) -> Any:
        """What the Job does. Override it, with ``@tasker(PASS_WORD)``."""
        raise NotTaskerError(f"{type(self).__name__} has no task")

    def _name_(self) -> str:
        return self.__agere_name__ or type(self).__name__

    def _check_work_(self) -> None:
        if getattr(self.task, ON_LOOP, None) is not None:
            return
        name = type(self).__name__
        if inspect.getattr_static(type(self), "task", None) is inspect.getattr_static(Job, "task"):
            raise NotTaskerError(f"{name} defines no task; give it a method `task` with @tasker(PASS_WORD)")
        raise NotTaskerError(f"{name}.task is not decorated; write @tasker(PASS_WORD) above it")

    def _runs_on_loop_(self) -> bool:
        return getattr(self.task, ON_LOOP) is True

    def _call_body_(self) -> Any:
        return self.task()


class BasicJob(Job[T]):
    """A Job made of what is there: a handler, or a function and its arguments.

    Args:
        work: a handler (run as the Job's tail), or a plain function, ``async`` or not.
        *args: a function's arguments.
        callback: callbacks of the Job.
        name: a name for people.
        **kwargs: a function's keyword arguments.

    Raises:
        TypeError: ``work`` is neither, or the arguments do not fit.
    """

    def __init__(
        self,
        work: Any,
        /,
        *args: Any,
        callback: Callback | None = None,
        name: str | None = None,
        **kwargs: Any,
    ) -> None:
        from .work import as_handler

        super().__init__(callback, name)
        self.__agere_handler__ = as_handler(work, args, kwargs)

    @tasker
    async def task(self) -> Any:
        """Give the handler as the tail."""
        return self.__agere_handler__
