"""The one door from other threads into the loop. The only module that imports janus.

What crosses is a batch: a list that submitters go on filling until the loop takes it. Only the first item of a
batch costs a janus put and a wake-up of the loop; both happen outside of our lock. The loop reads with
``get_nowait`` from a scheduled drain, in bounded turns, because an awaited ``get`` costs a task switch more per
round trip, and an unbounded turn starves the bodies.
"""

from __future__ import annotations

import asyncio
import contextlib
import contextvars
import threading
from collections import deque
from collections.abc import Callable
from time import monotonic
from typing import Any, TypeAlias

import janus

from agere.errors import CommanderNotRunError

Item: TypeAlias = tuple[Callable[..., object], tuple[Any, ...]]

TURN_ITEMS = 1000
TURN_SECONDS = 0.005

OPEN, REFUSING, SHUT = range(3)


class Mailbox:
    """Submissions and reports of other threads, on their way to the loop.

    Args:
        loop: the loop that reads.
        on_empty: called on the loop whenever everything that was there has been processed.
        on_error: called on the loop with an exception that left an item: a defect, to be logged.
    """

    def __init__(
        self,
        loop: asyncio.AbstractEventLoop,
        on_empty: Callable[[], None],
        on_error: Callable[[BaseException], None],
    ) -> None:
        self._loop = loop
        self._on_empty = on_empty
        self._on_error = on_error
        self._queue: janus.Queue[list[Item]] = janus.Queue()
        self._context = contextvars.Context()  # of the drains: that of whoever happens to wake us has no business there
        self._lock = threading.Lock()
        self._batch: list[Item] | None = None  # the open batch, still filled by submitters
        self._state = OPEN
        self._taken: deque[Item] = deque()  # loop only: taken out, not yet processed

    def submit(self, fn: Callable[..., object], *args: Any) -> None:
        """Any other thread. Have ``fn(*args)`` called on the loop.

        Raises:
            CommanderNotRunError: the mailbox is closed.
        """
        item = (fn, args)
        with self._lock:
            if self._state != OPEN:
                raise CommanderNotRunError(
                    "the commander is leaving or has exited and takes no more work; start() it again first"
                )
            batch = self._batch
            if batch is not None:
                batch.append(item)
                return
            self._batch = batch = [item]
        self._announce(batch)

    def report(self, fn: Callable[..., object], *args: Any) -> bool:
        """Any other thread. Like ``submit``, for what running work has to say: taken until the very end.

        Returns:
            False when the session is over and nobody listens any more.
        """
        item = (fn, args)
        with self._lock:
            if self._state == SHUT:
                return False
            batch = self._batch
            if batch is not None:
                batch.append(item)
                return True
            self._batch = batch = [item]
        self._announce(batch)
        return True

    def report_from_finalizer(self, fn: Callable[..., object], *args: Any) -> None:
        """Any thread, also within the garbage collector: takes no lock of ours or of janus (not re-entrant)."""
        with contextlib.suppress(RuntimeError):  # the loop has closed: nobody is left to tell
            self._loop.call_soon_threadsafe(fn, *args)

    def nudge(self) -> None:
        """Any thread. Wake the loop if something waits: an interrupt may have hit between an append and its wake-up."""
        if self._batch is not None:
            with contextlib.suppress(RuntimeError):
                self._loop.call_soon_threadsafe(self._drain)

    @property
    def empty(self) -> bool:
        """Any thread. Whether nothing waits here."""
        return self._batch is None and not self._taken

    def refuse(self) -> None:
        """Any thread. Take no more submissions; reports still pass."""
        with self._lock:
            if self._state == OPEN:
                self._state = REFUSING

    def refuse_if_empty(self) -> bool:
        """Loop only. Close for submissions if nothing waits: decided under the lock, so none can slip between."""
        with self._lock:
            if self._batch is not None or self._taken:
                return False
            if self._state == OPEN:
                self._state = REFUSING
            return True

    def shut(self) -> None:
        """Loop only, last. Refuse everything, and process what has come."""
        with self._lock:
            self._state = SHUT
        self.drain_all()
        self._queue.close()

    def drain_all(self) -> None:
        """Loop only. Process everything that is here, without pausing."""
        self._take()
        while self._taken:
            self._process(self._taken.popleft())
            if not self._taken:
                self._take()

    def take_submitted(self, admit: Callable[..., object]) -> list[Any]:
        """Any other thread, when the loop is stuck. Shut, and hand over the first argument of each ``admit`` item."""
        with self._lock:
            self._state = SHUT
            batch, self._batch = self._batch, None
        items = [*self._taken.copy(), *(batch or ())]
        return [args[0] for fn, args in items if fn == admit]

    def reset_after_fork(self) -> None:
        """Forked child only. The lock may have been held at the fork, and nobody is left to read."""
        self._lock = threading.Lock()
        self._state = SHUT

    def _announce(self, batch: list[Item]) -> None:
        try:
            self._queue.sync_q.put_nowait(batch)
            self._loop.call_soon_threadsafe(self._drain, context=self._context)
        except (janus.SyncQueueShutDown, RuntimeError):
            pass  # the session has just ended, and has taken the batch by itself

    def _take(self) -> None:
        try:  # noqa: SIM105 - suppress() costs more than the get
            self._queue.async_q.get_nowait()
        except (janus.AsyncQueueEmpty, janus.AsyncQueueShutDown):
            pass
        with self._lock:
            # The batch is taken from here, not from the token: its token may still be on its way.
            batch, self._batch = self._batch, None
        if batch is not None:
            self._taken.extend(batch)

    def _drain(self) -> None:
        taken = self._taken
        if not taken:
            self._take()
        count = len(taken)
        if count > 1:
            until = monotonic() + TURN_SECONDS
            for done in range(min(TURN_ITEMS, count)):
                self._process(taken.popleft())
                if done & 31 == 31 and monotonic() > until:
                    break
        elif count:
            self._process(taken.popleft())
        if taken:
            self._loop.call_soon(self._drain)
        else:
            self._on_empty()

    def _process(self, item: Item) -> None:
        fn, args = item
        try:
            fn(*args)
        except BaseException as error:  # noqa: BLE001 - one item's failure must not take the others along
            self._on_error(error)
