"""Class 2 again, wrong uses: by kind of node by place from where; each a specific error at the call."""

from __future__ import annotations

import asyncio
import contextlib
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import agere
from agere import BasicJob, Callback, Commander, HandlerCoroutine, Job, State, TaskNode, handler, tasker
from agere.commander.edge import add_conditional_edge, add_edge, add_join_edge
from agere.errors import (
    AgereError,
    AttributeNotSetError,
    CallbackError,
    CommanderNotRunError,
    NodeActiveError,
    NodeEndedError,
    NodeTerminatedError,
    NotHandlerError,
    NotJobError,
    NotTaskerError,
    PasswordError,
)

from .ledger import PATIENCE_SECONDS, Ledger
from .scenario import Scenario
from .stage import BODIES, complete, fail, forever, make, wait_for
from .verdicts import check, same

PLACES = ("main", "loop", "worker", "callback", "thread")


class NoTasker(Job[Any]):
    async def task(self) -> None: ...


class NoTask(Job[Any]): ...


@handler
async def one_argument(_: Any, word: str) -> str:
    return word


@dataclass
class Data(Job[Any]):
    """Unhashable, and compared by its value."""

    number: int = 0

    @tasker
    async def task(self) -> int:
        return self.number


class Falsy(Job[Any]):
    def __len__(self) -> int:
        return 0

    @tasker
    async def task(self) -> int:
        return 7


class Odd(Job[Any]):
    """Everything that Python asks of an object raises."""

    def __repr__(self) -> str:
        raise RuntimeError("no repr")

    def __eq__(self, other: object) -> bool:
        raise RuntimeError("no comparison")

    def __hash__(self) -> int:
        raise RuntimeError("no hash")

    def __bool__(self) -> bool:
        raise RuntimeError("no truth")

    @tasker
    async def task(self) -> int:
        return 7


class Mine(Job[Any]):
    """Assigns every public name, and never calls ``super().__init__()``."""

    def __init__(self) -> None:
        for name in dir(TaskNode):
            if not name.startswith("_"):
                setattr(self, name, "mine")

    @tasker
    async def task(self) -> int:
        return len(await one_argument("1234567"))


ODD_NODES: dict[str, Callable[[], Any]] = {
    "dataclass": lambda: Data(7),
    "falsy": Falsy,
    "odd": Odd,
    "every name assigned": Mine,
}


def _calls(node: Any, commander: Any) -> dict[str, tuple[Callable[[], Any], tuple[type[BaseException], ...]]]:
    """Wrong calls and what they must raise. ``node`` is a live node of ``commander``, or the commander itself."""
    below = commander if node is None else node
    return {
        "put no job": (lambda: below.put_job(3), (NotJobError,)),
        "put a handler": (lambda: below.put_job(one_argument("x")), (NotJobError,)),
        "put a class": (lambda: below.put_job(NoTask), (NotJobError,)),
        "put without tasker": (lambda: below.put_job(NoTasker()), (NotTaskerError,)),
        "put without task": (lambda: below.put_job(NoTask()), (NotTaskerError,)),
        "call no handler": (lambda: below.call_handler(3), (NotHandlerError,)),
        "call a function": (lambda: below.call_handler(one_argument), (NotHandlerError,)),
        "call a job": (lambda: below.call_handler(BasicJob(int)), (NotHandlerError,)),
        "call a bare node": (lambda: below.call_handler(HandlerCoroutine()), (NotHandlerError,)),
        "submit nothing": (lambda: below.submit(None), (TypeError,)),
        "submit a node": (lambda: below.submit(TaskNode()), (TypeError,)),
        "submit a commander": (lambda: below.submit(Commander()), (TypeError,)),
        "submit itself": (lambda: below.submit(commander), (TypeError,)),
        "submit wrong arguments": (lambda: below.submit(one_argument), (TypeError,)),
        "submit job with arguments": (lambda: below.submit(BasicJob(int), 3), (TypeError,)),
        "submit without tasker": (lambda: below.submit(NoTasker()), (NotTaskerError,)),
        "unhashable lane": (lambda: below.submit(BasicJob(int), lane=[]), (TypeError,)),
        "unhashable lane for put": (lambda: below.put_job(BasicJob(int), lane={}), (TypeError,)),
        "wrong arguments": (lambda: one_argument(), (TypeError,)),
        "wrong parent": (lambda: below.put_job(BasicJob(int), parent=3), (TypeError,)),
        "new parent": (lambda: below.put_job(BasicJob(int), parent=BasicJob(int)), (AgereError,)),
        "unknown phase": (lambda: below.add_callback_functions("at_nothing", {"function": int}), (CallbackError,)),
        "no callable": (lambda: below.add_callback_functions("at_job_end", {"function": 3}), (CallbackError,)),
        "unknown key": (
            lambda: below.add_callback_functions("at_job_end", {"function": int, "a": 1}),
            (CallbackError,),
        ),
        "no callback": (lambda: below.add_callback(3), (CallbackError,)),
        "odd Callback": (lambda: Callback(at_job_end=3), (CallbackError,)),
        "wrong password": (lambda: tasker("please"), (PasswordError,)),
        "wrong handler password": (lambda: handler("please"), (PasswordError,)),
        "edge to nothing": (lambda: add_edge(BasicJob(int), 3), (NotJobError,)),
        "edge from untasked": (lambda: add_edge(NoTasker(), BasicJob(int)), (NotTaskerError,)),
        "edge map": (lambda: add_conditional_edge(BasicJob(int), 3), (TypeError,)),
        "empty join": (lambda: add_join_edge([], BasicJob(int)), (ValueError,)),
        "no parent": (lambda: BasicJob(int).parent, (AttributeNotSetError,)),
        "no commander": (lambda: BasicJob(int).commander, (AttributeNotSetError,)),
        "not submitted": (lambda: BasicJob(int).submit(int), (CommanderNotRunError,)),
        "not submitted deliver": (lambda: BasicJob(int).deliver(int), (CommanderNotRunError,)),
        "generator body": (lambda: below.submit(_generator), (TypeError,)),
        "coroutine": (lambda: _with_coroutine(below.submit), (TypeError,)),
        "second start": (lambda: commander.start(), (AgereError,)),
        "emit is fine": (lambda: BasicJob(int).emit(3), ()),
        "cancel is fine": (lambda: BasicJob(int).cancel(), ()),
    }


def _generator() -> Any:
    yield 1


def _with_coroutine(submit: Callable[..., Any]) -> None:
    coroutine = forever()
    try:
        submit(coroutine)
    finally:
        coroutine.close()


def scenarios() -> Iterator[Scenario]:
    for place in PLACES:
        for call in _calls(None, None):
            yield Scenario(f"misuse/call/{call}/{place}".replace(" ", "-"), wrong_call, (call, place))
        for body in BODIES:
            for state in ("queued", "active", "completed", "failed", "terminated"):
                name = f"misuse/again/{state}/{body}/{place}".replace(" ", "-")
                yield Scenario(name, again, (state, body, place))
    for place in PLACES:
        for lane in (None, "narrow"):
            yield Scenario(f"misuse/odd-task/{place}/{lane}", odd_task, (place, lane))
    for odd in ODD_NODES:
        for place in PLACES:
            for lane in (None, "narrow"):
                name = f"misuse/odd-node/{odd}/{place}/{lane}".replace(" ", "-")
                yield Scenario(name, odd_node, (odd, place, lane))
    for body in BODIES:
        yield Scenario(f"misuse/two-commanders/{body}".replace(" ", "-"), two_commanders, (body,))
        yield Scenario(f"misuse/many-threads/{body}".replace(" ", "-"), many_threads, (body,))
        for place in PLACES:
            for parent in ("completed", "failed", "terminated"):
                name = f"misuse/ended-parent/{parent}/{body}/{place}".replace(" ", "-")
                yield Scenario(name, ended_parent, (parent, body, place))


def at(place: str, commander: Commander[Any], act: Callable[[Any], Any]) -> Any:
    """Call ``act(node)`` at that place: the current node, or the commander where there is none. What it raises is
    raised here."""
    found: list[Any] = []
    raised: list[BaseException] = []
    told = threading.Event()

    def guarded(node: Any) -> None:
        try:
            found.append(act(node))
        except BaseException as error:
            raised.append(error)
        finally:
            told.set()

    async def coro() -> None:
        guarded(agere.current_node())

    if place == "main":
        guarded(commander)
    elif place == "loop":
        commander.submit(coro)
    elif place == "worker":
        commander.submit(lambda: guarded(agere.current_node()))
    elif place == "callback":
        caller = make("async handler", complete())
        info = {"function": lambda task_node: guarded(task_node), "inject_task_node": True}
        caller.add_callback_functions("at_handler_start", info)
        commander.submit(caller)
    else:
        thread = threading.Thread(target=guarded, args=(commander,))
        thread.start()
    wait_for(told, "the call")
    if raised:
        raise raised[0]
    return found[0]


def wrong_call(call: str, place: str) -> None:
    """Raises what it should, right there; the commander goes on."""
    with Commander[Any](grace=0.3) as commander:
        _, promised = _calls(None, commander)[call]
        try:
            at(place, commander, lambda node: _calls(node, commander)[call][0]())
        except promised:
            pass
        else:
            check(not promised, f"nothing was raised, not one of {promised}")
        same(commander.submit(complete(5).coro).result(PATIENCE_SECONDS), 5, "the next job")
        same(len(commander.tree()), 1, "nodes in the tree")


def again(state: str, body: str, place: str) -> None:
    """A node is submitted a second time: refused while it lives, run anew once it has ended."""
    ledger = Ledger()
    started, gate = threading.Event(), threading.Event()

    def plain() -> int:
        started.set()
        wait_for(gate, "the gate")
        return 7

    async def coro() -> int:
        started.set()
        while not gate.is_set():
            await asyncio.sleep(0.001)
        return 7

    from .stage import Work

    work = {"completed": complete(), "failed": fail(ValueError("again"))}.get(state, Work(plain, coro))
    with Commander[Any](grace=0.3, lanes={"blocked": 1}) as commander:
        node = make(body, work)
        if state == "queued":
            first = ledger.accept("blocker", commander.submit(Work(plain, coro).coro, lane="blocked"))
            future = ledger.accept("first", commander.submit(node, lane="blocked"))
        else:
            first = future = ledger.accept("first", commander.submit(node))
        if state in ("active", "terminated"):
            wait_for(started, "the body")
        if state == "terminated":
            future.cancel()
            commander.submit(complete().plain).result(PATIENCE_SECONDS)  # it comes after the request: that has arrived
            gate.set()
        if state in ("completed", "failed", "terminated"):
            ledger.settle()
            gate.clear()
            second = ledger.accept("second", at(place, commander, lambda current: current.submit(node)))
            gate.set()
            ledger.settle()
            check(second is not future, "both runs have one Future")
            if state != "failed":
                same(second.result(0), 7, "the second run")
            check(future.cancelled() == (state == "terminated"), "the first run's Future changed")
        else:
            before = node.state
            try:
                at(place, commander, lambda current: current.submit(node))
            except NodeActiveError:
                pass
            else:
                raise AssertionError(f"a node that is {node.state} was accepted once more")
            same(node.state, before, "the state after the refusal")
            gate.set()
            same(future.result(PATIENCE_SECONDS), 7, "the run that was under way")
        check(first.done() or first.result(PATIENCE_SECONDS) == 7, "the blocker")
    ledger.audit()


def odd_node(odd: str, place: str, lane: object) -> None:
    """Jobs that do unusual things to what objects have: queued, awaited, a parent, cancelled, run again."""
    with Commander[Any](grace=0.3) as commander:
        job = ODD_NODES[odd]()
        same(at(place, commander, lambda node: node.submit(job, lane=lane)).result(PATIENCE_SECONDS), 7, "the result")
        same(commander.submit(job, lane=lane).result(PATIENCE_SECONDS), 7, "the second run")
        other = ODD_NODES[odd]()

        async def awaiting() -> int:
            return await agere.current_node().submit(other, lane=lane)

        same(commander.submit(awaiting).result(PATIENCE_SECONDS), 7, "the awaited result")
        waiting = [commander.submit(ODD_NODES[odd](), lane="blocked") for _ in range(3)]
        for future in waiting:
            future.cancel()
        for future in waiting:
            with contextlib.suppress(NodeTerminatedError):
                same(future.result(PATIENCE_SECONDS), 7, "a job that was quicker than its cancellation")
            check(future.done(), "a Future is open")
        str(commander.tree())


class Changing(Job[Any]):
    """Its ``task`` is fine when it is looked at first, and raises ever after."""

    looked = 0

    @property
    def task(self) -> Any:  # type: ignore[override]
        self.looked += 1
        if self.looked > 1:
            raise LookupError("the task is gone")
        return tasker(complete().plain)


def odd_task(place: str, lane: object) -> None:
    """What cannot be started, although it was accepted, fails."""
    with Commander[Any](grace=0.3) as commander:
        try:
            future = at(place, commander, lambda node: node.submit(Changing(), lane=lane))
        except LookupError:
            return
        check(isinstance(future.exception(PATIENCE_SECONDS), LookupError), f"{future.exception(0)!r}")
        same(future.node.state, State.EXCEPTION, "the state")


def two_commanders(body: str) -> None:
    """Two commanders take the same node at once: one gets it, the other is told; then the other way round."""
    one, two = Commander[Any](grace=0.3).start(), Commander[Any](grace=0.3).start()
    node = make(body, complete())
    barrier = threading.Barrier(2)
    accepted: list[Any] = []
    refused: list[BaseException] = []

    def submit(commander: Commander[Any]) -> None:
        for _ in range(20):
            barrier.wait(PATIENCE_SECONDS)
            try:
                accepted.append(commander.submit(node))
            except NodeActiveError as error:
                refused.append(error)

    threads = [threading.Thread(target=submit, args=(commander,)) for commander in (one, two)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(PATIENCE_SECONDS)
    same(len(accepted) + len(refused), 40, "submissions that were answered")
    for future in accepted:
        same(future.result(PATIENCE_SECONDS), 7, "the result")
    one.exit()
    two.exit()
    same(node.state, State.COMPLETED, "the state")


def many_threads(body: str) -> None:
    """Sixteen threads submit one node: exactly one is accepted as long as it lives."""
    gate = threading.Event()
    from .stage import Work

    async def coro() -> int:
        while not gate.is_set():
            await asyncio.sleep(0.001)
        return 7

    def plain() -> int:
        wait_for(gate, "the gate")
        return 7

    with Commander[Any](grace=0.3) as commander:
        node = make(body, Work(plain, coro))
        accepted: list[Any] = []
        refused: list[BaseException] = []
        barrier = threading.Barrier(16)

        def submit() -> None:
            barrier.wait(PATIENCE_SECONDS)
            try:
                accepted.append(commander.submit(node))
            except NodeActiveError as error:
                refused.append(error)

        threads = [threading.Thread(target=submit) for _ in range(16)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(PATIENCE_SECONDS)
        gate.set()
        same((len(accepted), len(refused)), (1, 15), "accepted and refused")
        same(accepted[0].result(PATIENCE_SECONDS), 7, "the result")


def ended_parent(parent: str, body: str, place: str) -> None:
    """A child for a node that has ended: refused, with a word about where it could go; and the child is unharmed."""
    with Commander[Any](grace=0.3) as commander:
        work = {"completed": complete(), "failed": fail(ValueError("parent"))}.get(parent)
        above = make("async task", work) if work else make("async task", _endless())
        future = commander.submit(above)
        if parent == "terminated":
            future.cancel()
        with contextlib.suppress(ValueError, AgereError):
            future.result(PATIENCE_SECONDS)
        node = make(body, complete())
        same(commander.submit(node).result(PATIENCE_SECONDS), 7, "the child's first run")
        try:
            at(place, commander, lambda current: current.submit(node, parent=above))
        except NodeEndedError as error:
            check("commander" in str(error), f"the error does not say what to do: {error}")
        else:
            raise AssertionError("an ended node took a child")
        same((node.state, node.result), (State.COMPLETED, 7), "the refused child's state and result")
        same(commander.submit(node).result(PATIENCE_SECONDS), 7, "the child's second run")


def _endless() -> Any:
    from .stage import Work

    return Work(lambda: None, forever)
