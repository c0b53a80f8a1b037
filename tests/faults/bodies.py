"""Class 2, bodies: what leaves them by kind of body by submission by living children by who receives it."""

from __future__ import annotations

import asyncio
import contextlib
import gc
import threading
import time
import weakref
from collections.abc import Iterator
from concurrent.futures import CancelledError
from typing import Any

import agere
from agere import BasicJob, Commander, JobFuture, State
from agere.errors import NodeTerminatedError

from .child import notes
from .ledger import FINAL, PATIENCE_SECONDS, Ledger
from .scenario import Scenario
from .stage import BODIES, ENDERS, FAULTS, Work, complete, forever, make, wait_for, wait_for_ever
from .verdicts import Hang, check, same

CHILDREN = ("no child", "async child", "def child", "ended child")
RECEIVERS = ("nobody", "awaiter", "worker", "passes on")
RESPONSES = ("obey", "swallow", "return", "raise", "linger", "submit")
ENDS = ("cancel", "cancel node", "close parent", "terminate", "exit", "leave with")
GRACE_SECONDS = 0.2


def scenarios() -> Iterator[Scenario]:
    turn = 0
    for fault in (*FAULTS, *ENDERS):
        for body in BODIES:
            for receiver in RECEIVERS:
                for children in CHILDREN:
                    turn += 1
                    name = f"bodies/raise/{fault}/{body}/{receiver}/{children}".replace(" ", "-")
                    # A third of all, and each pair of two of these.
                    yield Scenario(name, fails, (fault, body, receiver, children), full=(turn + turn // 4) % 3 != 0)
    for response in RESPONSES:
        for body in BODIES:
            for end in ENDS:
                for children in ("no child", "async child"):
                    turn += 1
                    name = f"bodies/terminated/{response}/{body}/{end}/{children}".replace(" ", "-")
                    yield Scenario(name, terminated, (response, body, end, children), full=turn % 2 == 0)
    for fault in (*FAULTS, *ENDERS):
        for width in (2, 150):
            name = f"bodies/group/{fault}/{width}"
            yield Scenario(name, group, (fault, width))
    for fault in ("no fault", *FAULTS):
        for body in BODIES:
            for end in ("ends", "awaited", "cancelled"):
                turn += 1
                name = f"bodies/no-cycle/{fault}/{body}/{end}".replace(" ", "-")
                yield Scenario(name, no_cycle, (fault, body, end), full=turn % 2 == 0)
    for fault in FAULTS:
        yield Scenario(f"bodies/delegate/{fault}", delegate, (fault,))
        yield Scenario(f"bodies/same-exception/{fault}", same_exception, (fault,))


def as_seen(error: BaseException, body: str) -> tuple[type[BaseException], bool]:
    """What Python makes of an exception that leaves a body of this kind, and whether it is the same object."""
    on_loop = not body.startswith("def")
    if isinstance(error, StopIteration) and on_loop:
        return RuntimeError, False
    if isinstance(error, asyncio.CancelledError) and on_loop:
        return asyncio.CancelledError, False
    return type(error), True


def fails(fault: str, body: str, receiver: str, children: str) -> None:
    error = {**FAULTS, **ENDERS}[fault]()
    ledger = Ledger()
    gate = threading.Event()
    commander: Commander[Any] = Commander(grace=GRACE_SECONDS)
    failed = threading.Event()

    def spawn() -> None:
        if children == "no child":
            return
        work = complete() if children == "ended child" else _waits(gate)
        kind = "def function" if children == "def child" else "async task"
        ledger.accept("child", agere.current_node().submit(ledger.watch("child", make(kind, work))))

    def plain() -> None:
        spawn()
        raise error

    async def coro() -> None:
        spawn()
        raise error

    target = ledger.watch("target", make(body, Work(plain, coro)))
    target.add_callback_functions("at_exception", {"function": failed.set})
    caught: list[BaseException] = []
    seen, same_object = as_seen(error, body)

    async def awaiter() -> str:
        future = ledger.accept("target", agere.current_node().submit(target))
        try:
            await future
        except BaseException as raised:
            caught.append(raised)
            if receiver == "passes on":
                raise
        return "root"

    def worker() -> str:
        try:
            ledger.accept("target", agere.current_node().submit(target)).result()
        except BaseException as raised:
            caught.append(raised)
        return "root"

    async def nobody() -> str:
        ledger.accept("target", agere.current_node().submit(target))
        return "root"

    commander.start()
    work = {"awaiter": awaiter, "worker": worker, "passes on": awaiter, "nobody": nobody}[receiver]
    root = ledger.accept("root", commander.submit(work))
    if fault in ENDERS:
        raised = None
        try:
            commander.wait_for_exit(PATIENCE_SECONDS)
        except (SystemExit, KeyboardInterrupt) as left:
            raised = left
        check(raised is error, f"the commander raised {raised!r}")
        gate.set()
        ledger.audit()
        return

    wait_for(failed, "the body's failure")
    while "target" not in ledger.futures:  # its submitter was overtaken
        threading.Event().wait(0.001)
    if children in ("async child", "def child"):
        check(not ledger.futures["target"].done(), "complete although a child lives")
        same(target.state, State.ACTIVE if not target.exception else target.state, "the state before the child's end")
    gate.set()
    ledger.settle()
    outcome = ledger.futures["target"].exception(0)
    check(isinstance(outcome, seen), f"the Future raises {outcome!r}")
    check(not same_object or outcome is error, f"the Future raises {outcome!r}, which is another object")
    same(target.state, State.EXCEPTION, "the state")
    check(isinstance(target.exception, seen), f"node.exception is {target.exception!r}")
    audit_root(root, receiver, caught, outcome)
    same(commander.submit(complete(5).coro).result(PATIENCE_SECONDS), 5, "the next job")
    commander.__exit__(None, None, None)
    ledger.audit()
    if seen is type(error) and seen is not asyncio.CancelledError and fault != "StopIteration":
        same(notes.count("failed: "), 1, "how often the failure was logged")


def audit_root(root: JobFuture[Any], receiver: str, caught: list[BaseException], outcome: BaseException | None) -> None:
    if receiver == "nobody":
        same(root.node.state, State.COMPLETED, "the parent's state")
        check(root.exception(0) is outcome, f"what the parent's Future raises: {root.exception(0)!r}")
        return
    check(caught, "the receiver got nothing")
    if receiver == "passes on":
        same(root.node.state, State.EXCEPTION, "the parent's state")
        check(root.exception(0) is not None, "the parent's Future has nothing")
        return
    same(root.exception(0), None, "what the parent's Future raises, although a body has received it")
    same(root.result(0), "root", "the parent's result")


def _waits(gate: threading.Event) -> Work:
    async def coro() -> None:
        while not gate.is_set():
            await asyncio.sleep(0.002)

    def plain() -> None:
        wait_for(gate, "the child's gate")

    return Work(plain, coro)


def terminated(response: str, body: str, end: str, children: str) -> None:
    """A body is terminated, and responds in its own way."""
    ledger = Ledger()
    started = threading.Event()
    commander: Commander[Any] = Commander(grace=GRACE_SECONDS)
    refused: list[BaseException] = []

    def spawn() -> None:
        if children != "no child":
            ledger.accept("child", agere.current_node().submit(ledger.watch("child", make("async task", _forever()))))

    def respond() -> bool:
        """Whether to go on waiting."""
        if response == "obey":
            raise asyncio.CancelledError
        if response == "raise":
            raise LookupError("while unwinding")
        if response == "submit":
            for parent in (None, commander):
                try:
                    ledger.accept("late", agere.current_node().submit(complete().coro, parent=parent))
                except Exception as error:
                    refused.append(error)
        return response == "swallow"

    async def coro() -> None:
        spawn()
        started.set()
        while True:
            try:
                await forever()
            except asyncio.CancelledError:
                if response == "linger":
                    await asyncio.sleep(GRACE_SECONDS / 4)
                if not respond():
                    return

    release = threading.Event()

    def plain() -> None:
        spawn()
        waited = agere.current_node().submit(forever)
        started.set()
        while True:
            try:
                waited.result()
            except (asyncio.CancelledError, CancelledError):
                if response == "linger":
                    release.wait(GRACE_SECONDS / 4)
                if not respond() or release.wait(PATIENCE_SECONDS):  # swallowed: stuck in what nothing breaks off
                    return

    target = ledger.watch("target", make(body, Work(plain, coro)))

    async def parent() -> None:
        ledger.accept("target", agere.current_node().submit(target))

    commander.start()
    root = ledger.accept("root", commander.submit(parent))
    wait_for(started, "the body")
    _end(end, commander, root, ledger)
    if response == "swallow":
        commander.exit()
    ledger.settle()
    release.set()
    commander.exit()
    ledger.audit()
    allowed = {State.TERMINATED, State.EXCEPTION} if response == "raise" else {State.TERMINATED}
    if end == "terminate" and body == "tail":
        allowed = {State.TERMINATED}
    check(target.state in allowed, f"the state is {target.state}")
    check(all(future.done() for future in ledger.futures.values()), "a Future is open")
    if "late" in ledger.futures:
        check(ledger.futures["late"].node.state in FINAL, "the late job has no end")


def _end(end: str, commander: Commander[Any], root: JobFuture[Any], ledger: Ledger) -> None:
    target = ledger.futures["target"]
    match end:
        case "cancel":
            check(target.cancel(), "cancel() said False")
        case "cancel node":
            check(target.node.cancel(), "cancel() said False")
        case "close parent":
            root.node.close_task_node()
        case "terminate":
            target.node.terminate_task_node()
            with contextlib.suppress(TimeoutError, CancelledError):
                target.exception(GRACE_SECONDS / 4)
            commander.exit()  # its children live on elsewhere
        case "exit":
            commander.exit()
        case "leave with":
            commander.__exit__(ValueError, ValueError(), None)


def _forever() -> Work:
    async def coro() -> None:
        await forever()

    return Work(lambda: None, coro)


def group(fault: str, width: int) -> None:
    """Many children fail and nobody receives it: a group of the first 100 with a count; one child alone: itself."""
    errors = [{**FAULTS, **ENDERS}[fault]() for _ in range(width)]
    commander: Commander[Any] = Commander(grace=GRACE_SECONDS)

    async def root() -> None:
        for error in errors:
            agere.current_node().submit(_raiser(error))

    with contextlib.suppress(SystemExit, KeyboardInterrupt), commander:
        future = commander.submit(root)
    check(future.done(), "the Future is open")
    if fault in ENDERS:
        return
    raised = future.exception(0)
    check(isinstance(raised, BaseExceptionGroup), f"the Future raises {raised!r}")
    same(len(raised.exceptions), min(width, 100), "how many it carries")
    check(str(width) in str(raised), f"no count in {raised}")
    same(notes.count("failed: "), width, "how many failures were logged")


def _raiser(error: BaseException) -> BasicJob[Any]:
    def plain() -> None:
        raise error

    return BasicJob(plain)


def no_cycle(fault: str, body: str, end: str) -> None:
    """Nothing of a completed node waits for the garbage collector: neither the node, nor the commander.

    A failed one may: its exception, with its frames, refers to it, and it to the exception.
    """
    gc.collect()
    gc.disable()
    strict = fault == "no fault" and end == "ends"
    nodes: list[Any] = []
    started = threading.Event()
    commander: Commander[Any] | None = Commander(grace=GRACE_SECONDS)
    dropped = weakref.ref(commander)

    def run(commander: Commander[Any]) -> None:
        work = complete() if fault == "no fault" else _raises(fault)
        node = make(body, wait_for_ever(started) if end == "cancelled" else work)
        nodes.append(weakref.ref(node))
        if end == "awaited":

            async def awaiter(node: Any) -> None:
                with contextlib.suppress(BaseException):
                    await agere.current_node().submit(node)

            future = commander.submit(awaiter, node)
        else:
            future = commander.submit(node)
        if end == "cancelled":
            wait_for(started, "the body")
            future.cancel()
        with contextlib.suppress(BaseException):
            future.result(PATIENCE_SECONDS)

    commander.start()
    run(commander)
    run_through(commander)
    notes.records.clear()  # a log record holds the exception, and it the frames
    until = time.monotonic() + 2.0
    while nodes[0]() is not None and time.monotonic() < until:
        time.sleep(0.002)
        if not strict:
            gc.collect()
    check(nodes[0]() is None, "the node is still there")
    del commander
    until = time.monotonic() + 2.0
    while dropped() is not None and time.monotonic() < until:
        time.sleep(0.002)
        if not strict:
            gc.collect()
    check(dropped() is None, "the commander is still there")


def _raises(fault: str) -> Work:
    """A new exception for each run: it holds its frames, and must not be held by the scenario."""

    def plain() -> None:
        raise FAULTS[fault]()

    async def coro() -> None:
        raise FAULTS[fault]()

    return Work(plain, coro)


def run_through(commander: Commander[Any]) -> None:
    """One more on the loop and one on a worker: what they keep of the last call goes."""
    commander.submit(complete().coro).result(PATIENCE_SECONDS)
    commander.submit(complete().plain).result(PATIENCE_SECONDS)


def delegate(fault: str) -> None:
    """What a delegated function raises arrives in the body that awaits it."""
    error = FAULTS[fault]()

    def plain() -> None:
        raise error

    async def body() -> str:
        try:
            await agere.current_node().delegate(plain)
        except BaseException as caught:
            return type(caught).__name__
        return "nothing"

    with Commander[Any](grace=GRACE_SECONDS) as commander:
        future = commander.submit(body)
        try:
            found = future.result(PATIENCE_SECONDS)
        except TimeoutError as late:
            commander.exit()
            raise Hang("the delegating body hangs") from late
    expected = {"StopIteration": "RuntimeError"}.get(fault, type(error).__name__)
    same(found, expected, "what arrived")


def same_exception(fault: str) -> None:
    """One exception object raised by many nodes, twice each, and looked at from several threads."""
    error = FAULTS[fault]()
    with Commander[Any](grace=GRACE_SECONDS) as commander:
        for _ in range(2):
            futures = [commander.submit(_raiser(error)) for _ in range(10)]
            for future in futures:
                check(future.exception(PATIENCE_SECONDS) is error, f"{future.exception(0)!r}")
        cancelled = commander.submit(forever)
        cancelled.cancel()
        try:
            cancelled.result(PATIENCE_SECONDS)
        except NodeTerminatedError:
            return
    raise AssertionError("the cancelled job has a result")
