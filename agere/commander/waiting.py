"""How a thread blocks until something happens: on a raw lock, in slices, pumping the host where it should.

A raw lock costs a tenth of a ``threading.Condition``. Slices, because an untimed wait does not see Ctrl-C on every
platform, and because a fork or a lost wake-up must not turn into a hang.
"""

from __future__ import annotations

import asyncio
import contextlib
import threading
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from time import monotonic
from typing import Protocol, TypeVar

from .failures import storable
from .sigterm import WindingDown

T = TypeVar("T")

SLICE_SECONDS = 0.25


class Waker(Protocol):
    """What makes a wait look again: a raw lock, or for an ``await`` something that wakes its loop."""

    def release(self) -> None:
        """Any thread. Have the wait look again; RuntimeError if it has been told to already."""


class Pump(Protocol):
    """What runs things on the waiting thread meanwhile (see ``host.py``)."""

    def enter(self, waker: Waker) -> None:
        """The calling thread begins to pump; release ``waker`` when there is something to do."""

    def work(self) -> None:
        """Do what there is to do, on the calling thread."""

    def catch_up(self) -> None:
        """What was waited for is there: make the deliveries that came before it, and ask nothing."""

    def leave(self, waker: Waker) -> None:
        """The calling thread pumps no longer."""


def wake_all(wakers: Sequence[Waker]) -> None:
    """Any thread. Let every wait look again. Safe against being early, late or twice."""
    for waker in tuple(wakers):
        try:
            waker.release()
        except RuntimeError:  # it has been woken already
            continue


def block_until(
    done: Callable[[], bool],
    wakers: list[threading.Lock],
    timeout: float | None,
    pump: Pump | None = None,
    each_slice: Callable[[], None] | None = None,
) -> bool:
    """Any thread that may block. Wait until ``done()``.

    Args:
        done: looked at after each wake-up.
        wakers: where the lock is put that is to be released when ``done`` may have become true. Who calls
            ``wake_all`` must make ``done`` true *before*.
        timeout: seconds, or None.
        pump: the host's work to do meanwhile.
        each_slice: called about four times a second; may raise.

    Returns:
        False when the time ran out.
    """
    waker = threading.Lock()
    waker.acquire()
    wakers.append(waker)
    if pump is not None:
        pump.enter(waker)
    try:
        with WindingDown():
            end = None if timeout is None else monotonic() + timeout
            while not done():
                if pump is not None:
                    pump.work()
                    if done():
                        break
                wait = SLICE_SECONDS
                if end is not None:
                    wait = min(wait, end - monotonic())
                    if wait <= 0:
                        return False
                if not waker.acquire(timeout=wait) and each_slice is not None:
                    each_slice()
            if pump is not None:
                pump.catch_up()
            return True
    finally:
        if pump is not None:
            pump.leave(waker)
        wakers.remove(waker)


class Latch:
    """An event that is set once, and waited for with ``block_until``."""

    __slots__ = ("_calls", "_wakers", "is_set")

    def __init__(self) -> None:
        self.is_set = False
        self._calls: list[Callable[[], object]] = []
        self._wakers: list[threading.Lock] = []

    def set(self) -> None:
        """Any thread."""
        self.is_set = True
        wake_all(self._wakers)
        while self._calls:
            self._calls.pop()()

    def call_when_set(self, call: Callable[[], object]) -> None:
        """Any thread. Call it once set, on the thread that sets it, or here if it is set. Twice does no harm."""
        self._calls.append(call)
        if self.is_set:
            call()

    def wait(
        self,
        timeout: float | None = None,
        pump: Pump | None = None,
        each_slice: Callable[[], None] | None = None,
    ) -> bool:
        """Any thread that may block. False when ``timeout`` (seconds) ran out."""
        return block_until(lambda: self.is_set, self._wakers, timeout, pump, each_slice)


def wrap(source: Future[T], loop: asyncio.AbstractEventLoop) -> asyncio.Future[T]:
    """Loop only. ``asyncio.wrap_future``, which hangs when the source fails with StopIteration."""
    target: asyncio.Future[T] = loop.create_future()

    def copy() -> None:
        if target.done():
            return
        if source.cancelled():
            target.cancel()
            return
        error = source.exception()
        if error is None:
            target.set_result(source.result())
        else:
            target.set_exception(storable(error))

    def tell(_: Future[T]) -> None:
        with contextlib.suppress(RuntimeError):  # the loop has closed: nobody waits any more
            loop.call_soon_threadsafe(copy)

    def pass_on_cancel(_: asyncio.Future[T]) -> None:
        if target.cancelled():
            source.cancel()

    source.add_done_callback(tell)
    target.add_done_callback(pass_on_cancel)
    return target
