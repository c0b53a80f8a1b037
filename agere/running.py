"""One piece of work, from start to end: ``agere.run`` and ``agere.stream``."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Coroutine, Iterator
from typing import Any, Self, TypeVar, overload

from agere.commander import Commander, JobStream, TaskNode
from agere.commander.affinity import refuse_on_loop

R = TypeVar("R")


@overload
def run(work: TaskNode[R], /) -> R: ...
@overload
def run(work: Callable[..., Coroutine[Any, Any, R]], /, *args: Any, **kwargs: Any) -> R: ...
@overload
def run(work: Callable[..., R], /, *args: Any, **kwargs: Any) -> R: ...
def run(work: Any, /, *args: Any, **kwargs: Any) -> Any:
    """Any thread but an Agere loop. Run work on a Commander of its own, and return its result or raise its failure.

    Like ``asyncio.run``, but it also works inside a running event loop, in a notebook, and on any thread.

    Args:
        work: a Job, a handler, or a function, ``async`` or not.
        *args: a function's arguments.
        **kwargs: a function's keyword arguments.

    Raises:
        TypeError: ``work`` is no work, or the arguments do not fit.
        BlockingCallError: called on a loop thread of Agere.
        BaseException: what the work failed with.
    """
    refuse_on_loop("agere.run()", "use `await agere.current_node().submit(...)` there")
    with Commander[Any]() as commander:
        return commander.submit(work, *args, **kwargs).result()


def stream(work: Any, /, *args: Any, **kwargs: Any) -> RunStream:
    """Any thread but an Agere loop. Run work on a Commander of its own, and iterate over what it emits.

    Closing the iterator cancels the work, and so does dropping it, as ``break`` does with one that has no other name; a
    failure of the work is raised after its last item. ``with agere.stream(...) as items:`` closes it for certain.

    Args:
        work: a Job, a handler, or a function, ``async`` or not.
        *args: a function's arguments.
        **kwargs: a function's keyword arguments.

    Raises:
        TypeError: ``work`` is no work, or the arguments do not fit.
        BlockingCallError: called on a loop thread of Agere.
    """
    refuse_on_loop("agere.stream()", "use `async for ... in agere.current_node().submit(...).stream()` there")
    commander: Commander[Any] = Commander()
    commander.start()
    try:
        return RunStream(commander, commander.submit(work, *args, **kwargs).stream())
    except BaseException:
        commander.exit()
        raise


class RunStream(Iterator[Any]):
    """What ``agere.stream`` returns: an iterator that owns its Commander."""

    def __init__(self, commander: Commander[Any], items: JobStream) -> None:
        self._commander = commander
        self._items = items

    def __next__(self) -> Any:
        try:
            return next(self._items)
        except BaseException:
            self.close()
            raise

    def close(self) -> None:
        """Any thread. Stop listening: cancels the work if it has not completed."""
        self._items.close()
        self._commander.exit()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def __del__(self) -> None:
        # The job's and the commander's own finalizers end them, without waiting; this only drops them together.
        with contextlib.suppress(AttributeError):
            del self._items, self._commander
