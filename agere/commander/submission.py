"""What calls return that are done when they return, and may be awaited all the same."""

from __future__ import annotations

from collections.abc import Generator
from typing import TYPE_CHECKING, Any, Generic, TypeVar

from .future import JobFuture

if TYPE_CHECKING:
    from .node import TaskNode

T = TypeVar("T")


class Immediate(Generic[T]):
    """A result that is there already. Awaiting it never suspends; not awaiting it is fine too."""

    __slots__ = ("value",)

    def __init__(self, value: T) -> None:
        self.value = value

    def __await__(self) -> Generator[Any, None, T]:
        return self.value
        yield  # makes this a generator, as __await__ has to be


class Submission(Generic[T]):
    """What ``put_job`` and ``call_handler`` return: the work is scheduled already.

    ``await submission`` never suspends and gives the JobFuture; in a plain ``def`` body use ``.future`` or
    ``.result()``.

    Attributes:
        node: the submitted node.
    """

    __slots__ = ("_context", "_future", "node")

    def __init__(self, node: TaskNode[T], future: JobFuture[T] | None) -> None:
        self.node = node
        self._future = future
        self._context = node._context_  # each run has its own: it tells the runs apart

    @property
    def future(self) -> JobFuture[T]:
        """Any thread. The run's Future, made now if nobody asked before.

        Raises:
            RuntimeError: the node has been run again since, and nobody had asked for this run's Future.
        """
        future = self._future
        if future is None:
            if self.node._context_ is not self._context:
                raise RuntimeError(
                    f"{self.node._describe_()} has been run again; ask for a run's Future before the next run"
                )
            self._future = future = self.node._future_of_run_()
        return future

    def result(self, timeout: float | None = None) -> T:
        """Any thread but an Agere loop. ``future.result(timeout)``."""
        return self.future.result(timeout)

    def cancel(self) -> bool:
        """Any thread. ``future.cancel()``."""
        return self.future.cancel()

    def __await__(self) -> Generator[Any, None, JobFuture[T]]:
        return self.future
        yield  # makes this a generator, as __await__ has to be

    def __repr__(self) -> str:
        return f"<Submission of {self.node._describe_()}>"
