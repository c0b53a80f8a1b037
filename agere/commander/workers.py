"""Worker threads: made on demand, reused, daemons, never joined at interpreter exit.

``concurrent.futures.ThreadPoolExecutor`` queues work behind its last thread and is joined before ``atexit``
handlers run: a body that waits for another would deadlock, and a stuck one would hold up the exit of the
process. Here each call gets a thread at once or an error.
"""

from __future__ import annotations

import contextlib
import contextvars
import logging
import threading
from collections.abc import Callable, Iterable
from concurrent.futures import Future, ThreadPoolExecutor
from time import monotonic
from typing import TYPE_CHECKING, Any, ParamSpec, TypeVar

from agere.errors import WorkerLimitError

from .affinity import current_node, here
from .failures import storable

if TYPE_CHECKING:
    from .node import TaskNode
    from .session import Session

P = ParamSpec("P")
T = TypeVar("T")

IDLE_SECONDS = 10.0
"""How long a worker without work stays. Long enough to serve a talk, short enough to leave no crowd behind."""

LINGER_SECONDS = 0.1
"""What all workers together that are busy at the end get: most have told their result, and are on their last steps."""

logger = logging.getLogger("agere.workers")


class Ticket:
    """The pass of one run of a plain ``def`` body: tells that run from later runs of the same node."""

    __slots__ = ("asked_exit", "dead", "node", "thread")

    def __init__(self, node: TaskNode[Any]) -> None:
        self.node = node
        self.thread = 0
        self.asked_exit = False  # the body asked the commander to exit: it gets to finish
        self.dead = False  # abandoned: nothing that this run still does counts


class _Worker:
    __slots__ = ("call", "thread", "wake")

    def __init__(self, call: Callable[[], object]) -> None:
        self.call: Callable[[], object] | None = call
        self.wake = threading.Lock()
        self.wake.acquire()
        self.thread: threading.Thread | None = None


class WorkerPool(ThreadPoolExecutor):
    """The worker threads of one session. A ``ThreadPoolExecutor`` by type only: asyncio's default must be one."""

    def __init__(self, session: Session, max_workers: int) -> None:
        super().__init__(max_workers=1)  # makes no thread: ``submit`` is ours
        self._session = session
        self._limit = max_workers
        self._guard = threading.Lock()
        self._idle: list[_Worker] = []
        self._all: set[_Worker] = set()
        self._count = 0
        self._made = 0
        self._closed = False

    @property
    def count(self) -> int:
        """Any thread. How many worker threads exist now."""
        return self._count

    def start(self, fn: Callable[..., object], *args: Any) -> None:
        """Any thread. Run ``fn(*args)`` on a worker at once; its exceptions are logged.

        Raises:
            WorkerLimitError: ``max_workers`` are busy, the system refused a thread, or the pool is closed.
        """

        def call() -> None:
            fn(*args)

        with self._guard:
            if self._closed:
                raise WorkerLimitError("the commander has exited: it has no worker threads any more")
            if self._idle:
                worker = self._idle.pop()
                worker.call = call
                worker.wake.release()
                return
            if self._count >= self._limit:
                raise WorkerLimitError(
                    f"all {self._limit} worker threads are busy; raise max_workers, "
                    "or bound the work with a lane: Commander(lanes={'llm': 8})"
                )
            self._count += 1
            self._made += 1
            number = self._made
            worker = _Worker(call)
            self._all.add(worker)
        thread = threading.Thread(
            target=self._work, args=(worker,), name=f"{self._session.name}-worker-{number}", daemon=True
        )
        worker.thread = thread
        try:
            thread.start()
        except RuntimeError as error:
            with self._guard:
                self._count -= 1
                self._all.discard(worker)
            raise WorkerLimitError(f"the system refused a worker thread ({error}); {self._count} exist") from error

    def submit(self, fn: Callable[P, T], /, *args: P.args, **kwargs: P.kwargs) -> Future[T]:
        """Any thread. ``Executor.submit``: the caller's context and node travel with the call."""
        future: Future[T] = Future()
        context = contextvars.copy_context()
        node = current_node()

        def call() -> None:
            if not future.set_running_or_notify_cancel():
                return
            here.node = node
            try:
                value = context.run(fn, *args, **kwargs)
            except BaseException as error:  # noqa: BLE001 - it is the Future's to raise
                future.set_exception(storable(error))
            else:
                future.set_result(value)
            finally:
                here.node = None

        self.start(call)
        return future

    def shutdown(self, wait: bool = True, *, cancel_futures: bool = False) -> None:
        """Any thread. Take no more work; idle workers end (and are joined), busy ones end after their call."""
        with self._guard:
            self._closed = True
            idle, self._idle = self._idle, []
            busy = self._all.difference(idle)
        for worker in idle:
            worker.wake.release()
        if wait:
            _join(idle, 1.0)
            _join(busy, LINGER_SECONDS)

    def _work(self, worker: _Worker) -> None:
        here.session = self._session
        while True:
            call, worker.call = worker.call, None
            if call is not None:
                try:
                    call()
                except BaseException:
                    logger.exception("a worker's call failed")
                call = None  # what the call held must not live until the next one
            elif self._closed:
                break
            with self._guard:
                if self._closed:
                    break
                self._idle.append(worker)
            if not worker.wake.acquire(timeout=IDLE_SECONDS):
                with self._guard:
                    if worker in self._idle:
                        self._idle.remove(worker)
                        break
                worker.wake.acquire()  # work was put here between the timeout and the lock
        with self._guard:
            self._count -= 1
            self._all.discard(worker)


def _join(workers: Iterable[_Worker], seconds: float) -> None:
    until = monotonic() + seconds
    for worker in workers:
        if worker.thread is not None and worker.thread is not threading.current_thread():
            with contextlib.suppress(RuntimeError):  # it is just being started
                worker.thread.join(max(0.0, until - monotonic()))


def spawn(fn: Callable[..., object], *args: Any) -> None:
    """Any thread. Run ``fn(*args)`` on a worker of the calling thread's commander, else on a thread of its own.

    Raises:
        WorkerLimitError: no thread could be had.
    """
    session = here.session
    if session is not None and not session.closed:
        session.workers.start(fn, *args)
        return
    try:
        threading.Thread(target=fn, args=args, name="agere-worker", daemon=True).start()
    except RuntimeError as error:
        raise WorkerLimitError(f"the system refused a thread ({error})") from error
