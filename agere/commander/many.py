"""What ``concurrent.futures.wait`` and ``as_completed`` block on, when there are Agere's futures among theirs.

Left to themselves they sleep on a ``threading.Event``: the host's thread would serve nobody meanwhile, a ``def`` body
could not be terminated there, and a Ctrl-C that comes just before the sleep would wait until it ends (CPython looks for
signals before it goes to sleep and when the sleep is broken, and a thread may wait long for the GIL in between).
"""

from __future__ import annotations

import asyncio
import threading
from typing import TYPE_CHECKING, Any

from . import tree
from .affinity import here
from .waiting import block_until, wake_all

if TYPE_CHECKING:
    from .node import TaskNode
    from .session import Session


class Waiters(list[Any]):
    """Those who wait for a future, as ``concurrent.futures`` installs them.

    Args:
        session: of the future.
    """

    def __init__(self, session: Session) -> None:
        super().__init__()
        self._session = session

    def append(self, waiter: Any) -> None:
        """The thread that waits, with the future's condition held: nobody has set the waiter's event yet."""
        super().append(waiter)
        if type(getattr(waiter, "event", None)) is threading.Event:
            waiter.event = ServedEvent(self._session)


class ServedEvent(threading.Event):
    """An event whose wait serves the host, and ends when the waiting body is terminated.

    Args:
        session: of the first future that is waited for.
    """

    def __init__(self, session: Session) -> None:
        super().__init__()
        self._session = session
        self._wakers: list[threading.Lock] = []
        self._node: TaskNode[Any] | None = None  # whose body waits
        self._is_broken_off = False

    def set(self) -> None:
        """Any thread."""
        super().set()
        wake_all(self._wakers)

    def wait(self, timeout: float | None = None) -> bool:
        """The thread that waits. Whether it was set within ``timeout`` seconds.

        Raises:
            asyncio.CancelledError: the body that waits is being terminated.
            KeyboardInterrupt, SystemExit: on the main thread.
        """
        session = self._session
        self._node = node = here.node
        gates = None if node is None or node._session_ is None else node._more_().gates
        if gates is not None:
            gates[self] = None
        try:
            block_until(self._is_over, self._wakers, timeout, session.pump_for_this_thread(), self._look_around)
        finally:
            if gates is not None:
                gates.pop(self, None)
        if node is not None and self._is_terminated() and not self.is_set():
            raise asyncio.CancelledError(f"{node._describe_()} is being terminated")
        return self.is_set()

    def abort(self) -> None:
        """Loop only. The waiting body is being terminated."""
        self._is_broken_off = True
        wake_all(self._wakers)

    def _is_over(self) -> bool:
        return self.is_set() or self._is_terminated()

    def _is_terminated(self) -> bool:
        node = self._node
        # The phase, too: it may have been terminated before anybody could see the gate.
        return self._is_broken_off or (node is not None and node._phase_ == tree.CLOSING)

    def _look_around(self) -> None:
        self._session.mailbox.nudge()
        self._session.refuse_in_fork()
