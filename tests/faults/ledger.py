"""Keeps accounts: what was accepted, which callbacks ran, how it ended."""

from __future__ import annotations

import threading
from collections.abc import Callable
from concurrent.futures import CancelledError
from typing import Any

from agere import Callback, Job, JobFuture, State, TaskNode

from .verdicts import Hang, Lost, Wrong

FINAL = (State.COMPLETED, State.EXCEPTION, State.TERMINATED)
PATIENCE_SECONDS = 6.0


def sequences(kind: str, state: State) -> list[list[str]]:
    """The orders in which the callbacks of a node that ended in ``state`` may have run, without at_commander_end."""
    start, end = f"at_{kind}_start", f"at_{kind}_end"
    if state is State.COMPLETED:
        return [[start, end]]
    if state is State.EXCEPTION:
        return [[start, "at_exception", end]]
    return [["at_terminate"], [start, "at_terminate"], [start, "at_exception", "at_terminate"]]


def kind_of(node: TaskNode[Any]) -> str:
    """As in the names of the phases."""
    return "job" if isinstance(node, Job) else "handler"


class Ledger:
    """The accounts of one scenario. Any thread."""

    def __init__(self) -> None:
        self.calls: dict[str, list[str]] = {}
        self.nodes: dict[str, TaskNode[Any]] = {}
        self.futures: dict[str, JobFuture[Any]] = {}
        self._lock = threading.Lock()

    def record(self, key: str, phase: str) -> Callable[[], None]:
        """A callback that notes that it ran."""

        def note() -> None:
            with self._lock:
                self.calls.setdefault(key, []).append(phase)

        return note

    def callback(self, key: str, kind: str) -> Callback:
        """Recording callbacks for every phase that a job (or a handler) has."""
        phases = (f"at_{kind}_start", "at_exception", "at_terminate", f"at_{kind}_end", "at_commander_end")
        return Callback(**{phase: {"function": self.record(key, phase)} for phase in phases})

    def watch(self, key: str, node: TaskNode[Any]) -> TaskNode[Any]:
        """Add recording callbacks for every phase to the node, in front of those it gets later."""
        node.add_callback(self.callback(key, kind_of(node)))
        self.nodes[key] = node
        return node

    def accept(self, key: str, future: JobFuture[Any]) -> JobFuture[Any]:
        """The node was accepted."""
        self.futures[key] = future
        self.nodes.setdefault(key, future.node)
        return future

    def settle(self, timeout: float = PATIENCE_SECONDS) -> None:
        """Every Future must be resolved by now, or soon."""
        for key, future in list(self.futures.items()):
            try:
                future.exception(timeout)
            except CancelledError:
                pass
            except TimeoutError as error:
                raise Hang(f"the Future of {key} is not resolved: {future.node.state}") from error

    def audit(self, *, after_exit: bool = True, ran: bool = True) -> None:
        """Each node one final state, its callbacks each once and in order, each Future resolved.

        Args:
            after_exit: the commander has ended: at_commander_end has run once on every watched node.
            ran: every watched node was accepted.
        """
        for key, future in self.futures.items():
            if not future.done():
                raise Lost(f"the Future of {key} is not resolved")
        for key, node in self.nodes.items():
            if node.state not in FINAL:
                raise Lost(f"{key} ended as {node.state}")
            if key not in self.calls:
                if ran and node.callback:
                    raise Lost(f"no callback of {key} ran; it is {node.state}")
                continue
            found = list(self.calls[key])
            ends = found.count("at_commander_end")
            if after_exit and ends != 1:
                raise Lost(f"at_commander_end of {key} ran {ends} times: {found}")
            if ends and found[-1] != "at_commander_end":
                raise Wrong(f"the commander's end came too early for {key}: {found}")
            found = [phase for phase in found if phase != "at_commander_end"]
            promised = sequences(kind_of(node), node.state)
            if found not in promised:
                missing = Lost if len(found) < min(map(len, promised)) else Wrong
                raise missing(f"callbacks of {key} ({node.state}): {found}, not one of {promised}")
