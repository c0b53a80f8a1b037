"""Questions to the person: asked by nodes, answered by the host or by anybody who holds them."""

from __future__ import annotations

import asyncio
import threading
from concurrent.futures import Future, InvalidStateError
from time import time
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from .node import TaskNode


class WithdrawnError(asyncio.CancelledError):
    """Nobody will answer any more: the asking node is being terminated, or its commander leaves."""


class Question:
    """Something a node wants to know. Stands in ``commander.questions`` until it is answered.

    Attributes:
        prompt: what to show.
        node: the node that asks; None when ``input()`` was called by no node.
        asked_at: seconds since the epoch.
        blocks_loop: a routed ``input()`` on the loop thread waits for it: everything stands still until it ends.
    """

    __slots__ = ("asked_at", "blocks_loop", "future", "muted", "node", "prompt")

    def __init__(self, prompt: str, node: TaskNode[Any] | None, blocks_loop: bool = False) -> None:
        self.prompt = prompt
        self.node = node
        self.asked_at = time()
        self.blocks_loop = blocks_loop
        self.muted = False  # its commander is leaving: hosts show it no more
        self.future: Future[str] = Future()

    @property
    def open(self) -> bool:
        """Any thread. Whether nobody has answered yet."""
        return not self.future.done()

    def answer(self, text: str) -> bool:
        """Any thread. Answer it. Returns False if it has been answered or withdrawn already."""
        if not isinstance(text, str):
            raise TypeError(f"an answer is a str, as input() gives it, not {text!r}")
        try:
            self.future.set_result(text)
        except InvalidStateError:
            return False
        return True

    def fail(self, error: BaseException) -> bool:
        """Any thread. Have the asker raise ``error``. Returns False if it has been answered or withdrawn already."""
        try:
            self.future.set_exception(error)
        except InvalidStateError:
            return False
        return True

    def abort(self) -> None:
        """Loop only. The asking body is being terminated."""
        self.future.cancel()

    def __repr__(self) -> str:
        asker = "nobody" if self.node is None else self.node._label_()
        return f"<Question {self.prompt!r} of {asker}{'' if self.open else ', answered'}>"


class Questions:
    """The open questions of a session, in the order in which they were asked."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._open: dict[Question, None] = {}

    def add(self, question: Question) -> None:
        """Any thread. Until it has an answer."""
        with self._lock:
            self._open[question] = None
        question.future.add_done_callback(lambda _: self._remove(question))

    def all(self) -> tuple[Question, ...]:
        """Any thread. Those that stand open now."""
        with self._lock:
            return tuple(self._open)

    def withdraw_all(self, blocking_only: bool = False) -> None:
        """Any thread. Nobody will answer any more: the askers are cancelled.

        Args:
            blocking_only: only those for which the loop stands still.
        """
        for question in self.all():
            question.muted = True
            if question.blocks_loop or not blocking_only:
                question.future.cancel()

    def _remove(self, question: Question) -> None:
        with self._lock:
            self._open.pop(question, None)
