"""A session's way to the person: deliveries to the host's thread, and questions."""

from __future__ import annotations

import asyncio
import contextvars
from collections.abc import Callable
from concurrent.futures import Future
from typing import TYPE_CHECKING, Any

from agere.errors import NobodyAnswersError

from . import tree
from .affinity import current_node, here
from .failures import storable
from .host import Host, wait_for_somebody
from .questions import Question, Questions, WithdrawnError
from .state import State
from .waiting import Latch

if TYPE_CHECKING:
    from .node import TaskNode
    from .session import Session


class Delivery:
    """A call on its way to the host's thread.

    Attributes:
        future: what it gives; cancelled if the node is terminated before its turn comes.
    """

    __slots__ = ("_call", "_context", "_even_if_ending", "_node", "future")

    def __init__(self, node: TaskNode[Any], call: Callable[[], Any], even_if_ending: bool) -> None:
        self._node = node
        self._call = call
        self._even_if_ending = even_if_ending
        self._context = contextvars.copy_context()
        self.future: Future[Any] = Future()

    def __call__(self) -> None:
        """Host's thread. Its turn has come."""
        node, future = self._node, self.future
        terminated = node._phase_ == tree.CLOSING or (
            node._phase_ >= tree.ENDING and not self._even_if_ending and node._state_ is State.TERMINATED
        )
        if terminated:
            future.cancel()
        if not future.set_running_or_notify_cancel():
            return
        value, error = None, None
        before, here.node = here.node, node
        try:
            value = self._context.run(self._call)
        except BaseException as raised:  # noqa: BLE001 - it is the Future's to raise
            error = raised
        finally:
            here.node = before
        # Outside of the try: on the main thread Ctrl-C can come at any moment, also in the Future's callbacks.
        if error is None:
            future.set_result(value)
            return
        future.set_exception(storable(error))
        if isinstance(error, SystemExit | KeyboardInterrupt):
            raise error

    def refuse(self, error: BaseException) -> None:
        """Any thread. Its turn will never come: the host has gone."""
        if self.future.set_running_or_notify_cancel():
            self.future.set_exception(error)


class Person:
    """The person, as one session's nodes reach them.

    Attributes:
        open: the open questions.
    """

    def __init__(self, session: Session, host: Host) -> None:
        self._session = session
        self._host = host
        self._listeners = session.listeners
        self.open = Questions()

    def deliver(self, node: TaskNode[Any], call: Callable[[], Any], even_if_ending: bool = False) -> Future[Any]:
        """Any thread. Run ``call`` on the host's thread unless the node is terminated before."""
        delivery = Delivery(node, call, even_if_ending)
        self._host.post(delivery)
        return delivery.future

    async def ask(self, node: TaskNode[Any], prompt: str) -> str:
        """Loop only. Ask the person, for ``await node.ask(prompt)``."""
        question = self._question(prompt, node, blocks_loop=False)
        return await asyncio.wrap_future(question.future)

    def ask_blocking(self, prompt: str, by_input: bool, node: TaskNode[Any] | None = None) -> str:
        """Loop or worker thread. Ask the person and wait.

        Raises:
            NobodyAnswersError: ``input()`` was called and nobody pumps the host.
        """
        node = node if node is not None else current_node()
        if node is not None and node._is_terminated_():
            raise asyncio.CancelledError(f"{node._describe_()} is being terminated")
        later = not self._session.on_loop and self._host.will_ask_later()
        if by_input and not later and not wait_for_somebody(self._host):
            raise NobodyAnswersError(
                "input() on a thread of a commander is answered on the main thread while it waits in run() or "
                "result(), and it does not; use `await node.ask(prompt)`, which can be answered from anywhere"
            )
        question = self._question(prompt, node, blocks_loop=self._session.on_loop)
        gates = None if node is None or self._session.on_loop else node._more_().gates
        if node is not None and gates is not None:
            gates[question] = None
            if node._phase_ == tree.CLOSING:  # terminated since the first look: nobody saw the gate
                question.abort()
        was_in_input, self._session.in_input = self._session.in_input, self._session.on_loop
        try:
            waiting = Latch()
            question.future.add_done_callback(lambda _: waiting.set())
            waiting.wait(each_slice=self._session.refuse_in_fork)
            if question.future.cancelled():
                raise WithdrawnError("nobody will answer any more")
            return question.future.result()
        finally:
            self._session.in_input = was_in_input
            if gates is not None:
                gates.pop(question, None)

    def _question(self, prompt: str, node: TaskNode[Any] | None, blocks_loop: bool) -> Question:
        question = Question(prompt, node, blocks_loop)
        self.open.add(question)
        if self._listeners.active and node is not None:
            self._listeners.question_asked(node, question)
        try:
            self._host.ask(question)
        except BaseException as error:
            question.fail(error)
            raise
        if self._session.exit_asked:
            self.open.withdraw_all(blocking_only=True)
        if self._session.leaving:
            self.open.withdraw_all()
        return question
