"""Class 1, callbacks: phase by fault by kind of body by kind of submission; flavour and position rotate."""

from __future__ import annotations

import asyncio
import contextlib
import functools
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import CancelledError
from typing import Any

from agere import Commander, State, TaskNode
from agere.errors import CommanderNotRunError, DeadlockError, NodeEndedError

from .child import notes
from .ledger import FINAL, PATIENCE_SECONDS, Ledger, kind_of
from .scenario import Scenario
from .stage import ENDERS, FAULTS, JOBS, SUBMISSIONS, Submitter, Work, complete, fail, forever, make, wait_for
from .verdicts import Hang, Lost, check, same

PHASES = ("start", "exception", "terminate", "end", "commander_end")
PLAIN = ("function", "callable object", "partial", "method")
ASYNC = ("async function", "async callable object", "lambda that returns a coroutine", "async partial")
POSITIONS = ("only", "first", "middle", "last")
BODIES = ("async task", "def task", "tail", "async handler", "def handler")
ACTS = ("submit below", "submit beside", "cancel itself", "terminate itself", "cancel its parent", "exit", "exit wait")
ASYNC_ACTS = ("await itself", "await its parent", "hang", "swallow cancellation", "await a job beside")
GRACE_SECONDS = 0.15


def scenarios() -> Iterator[Scenario]:
    turn = 0
    rest = 0
    for phase in PHASES:
        for fault in (*FAULTS, *ENDERS, *ACTS, *ASYNC_ACTS):
            for body in BODIES:
                for submission in SUBMISSIONS:
                    flavors = ASYNC if fault in ASYNC_ACTS else PLAIN + ASYNC
                    flavor = flavors[turn % len(flavors)]
                    position = POSITIONS[turn // 3 % len(POSITIONS)]
                    turn += 1
                    rest = (rest + 1) % 7
                    name = f"callbacks/at_{phase}/{fault}/{body}/{submission}/{flavor}/{position}".replace(" ", "-")
                    yield Scenario(
                        name, run, (phase, fault, body, submission, flavor, position), full=rest not in (0, 3)
                    )
    yield Scenario("callbacks/shared/by-many-nodes", shared)
    yield Scenario("callbacks/shared/changed-meanwhile", changed_meanwhile)
    for flavor in PLAIN + ASYNC:
        yield Scenario(f"callbacks/order/{flavor}".replace(" ", "-"), order, (flavor,))
    for fault in (*FAULTS, *ENDERS):
        for cancelled in (False, True):
            yield Scenario(f"callbacks/done-callback/{fault}/{cancelled}", done_callback, (fault, cancelled))
            yield Scenario(f"callbacks/on-host/{fault}/{cancelled}", on_host, (fault, cancelled))


class Plot:
    """The node under test, the callback that misbehaves, and what came of it."""

    def __init__(self, phase: str, fault: str) -> None:
        self.phase = phase
        self.fault = fault
        self.commander: Commander[Any] = Commander(grace=GRACE_SECONDS)
        self.ledger = Ledger()
        self.error = {**FAULTS, **ENDERS}[fault]() if fault in FAULTS or fault in ENDERS else None
        self.reached = threading.Event()
        self.refused: BaseException | None = None

    def plain(self, task_node: TaskNode[Any]) -> Any:
        self.reached.set()
        if self.error is not None:
            raise self.error
        try:
            self._act(task_node)
        except (NodeEndedError, CommanderNotRunError) as error:
            self.refused = error

    def _act(self, node: TaskNode[Any]) -> None:
        match self.fault:
            case "submit below":
                self.ledger.accept("below", node.submit(complete().coro))
            case "submit beside":
                self.ledger.accept("beside", self.commander.submit(complete().plain))
            case "cancel itself":
                node.cancel()
            case "terminate itself":
                node.terminate_task_node()
            case "cancel its parent":
                node.parent.cancel()
            case "exit":
                node.exit_commander("left")
            case "exit wait":
                self.commander.exit("left", wait=True)
            case _:
                raise ValueError(self.fault)

    async def coro(self, task_node: TaskNode[Any]) -> None:
        if self.fault not in ASYNC_ACTS:
            await asyncio.sleep(0)
            self.plain(task_node)
            return
        self.reached.set()
        match self.fault:
            case "await itself":
                await self._refused_wait(self.ledger.futures.get("target"))
            case "await its parent":
                await self._refused_wait(self.ledger.futures.get("root"))
            case "hang":
                await forever()
            case "swallow cancellation":
                while True:
                    try:
                        await forever()
                    except asyncio.CancelledError:
                        continue
            case "await a job beside":
                try:
                    future = self.commander.submit(make("async task", complete(3)), lane="narrow")
                except CommanderNotRunError as error:
                    self.refused = error
                else:
                    same(await future, 3, "the awaited job")

    async def _refused_wait(self, future: Any) -> None:
        if future is None or future.done():
            return
        try:
            await future
        except (DeadlockError, CancelledError) as error:
            self.refused = error


class Caller:
    def __init__(self, function: Callable[..., Any]) -> None:
        self.function = function

    def __call__(self, task_node: TaskNode[Any]) -> Any:
        return self.function(task_node)

    def method(self, task_node: TaskNode[Any]) -> Any:
        return self.function(task_node)


class AsyncCaller(Caller):
    async def __call__(self, task_node: TaskNode[Any]) -> Any:
        return await self.function(task_node)


def dress(plot: Plot, flavor: str) -> Callable[..., Any]:
    match flavor:
        case "function":
            return lambda task_node: plot.plain(task_node)
        case "callable object":
            return Caller(plot.plain)
        case "partial":
            return functools.partial(plot.plain)
        case "method":
            return Caller(plot.plain).method
        case "async function":
            return plot.coro
        case "async callable object":
            return AsyncCaller(plot.coro)
        case "lambda that returns a coroutine":
            return lambda task_node: plot.coro(task_node)
        case "async partial":
            return functools.partial(plot.coro)
    raise ValueError(flavor)


def run(phase: str, fault: str, body: str, submission: str, flavor: str, position: str) -> None:
    plot = Plot(phase, fault)
    ledger, commander = plot.ledger, plot.commander
    started = threading.Event()
    work = {"exception": fail(LookupError("of the body")), "terminate": _interruptible(started)}.get(phase, complete())
    node = ledger.watch("target", make(body, work))
    kind = "job" if body in JOBS else "handler"
    full_phase = f"at_{kind}_{phase}" if phase in ("start", "end") else f"at_{phase}"
    if position in ("middle", "last"):
        node.add_callback_functions(full_phase, {"function": ledger.record("before", full_phase)})
    node.add_callback_functions(full_phase, {"function": dress(plot, flavor), "inject_task_node": True})
    if position in ("first", "middle"):
        node.add_callback_functions(full_phase, {"function": ledger.record("after", full_phase)})

    # As run() does it, but held in our hands.
    commander.start()
    submitter = Submitter(commander, submission)
    future = submitter.submit(node)
    if submitter.root is not None:
        ledger.accept("root", submitter.root)
    if future is not None:
        ledger.accept("target", future)
    if phase == "terminate":
        wait_for(started, "the body")
        node.cancel()
    if phase != "commander_end":
        wait_for(plot.reached, "the callback")
    raised = finish(plot)

    if fault in ENDERS:
        check(raised is plot.error, f"the commander's end raised {raised!r}, not the callback's {plot.error!r}")
    else:
        check(raised is None, f"the commander's end raised {raised!r}")
    check(plot.reached.is_set(), "the callback never ran")
    ledger.audit()
    audit_neighbours(plot, position, full_phase)
    audit_outcome(plot, node, body)


def _interruptible(started: threading.Event) -> Work:
    from .stage import wait_for_ever

    return wait_for_ever(started)


def finish(plot: Plot) -> BaseException | None:
    """Leave as ``with`` does; whatever hangs needs an exit. Gives what that raises."""
    commander = plot.commander
    try:
        if plot.fault in ("hang", "swallow cancellation"):
            commander.exit()
            commander.wait_for_exit(PATIENCE_SECONDS)
        elif plot.fault in ENDERS and plot.phase != "commander_end":
            commander.wait_for_exit(PATIENCE_SECONDS)
        elif plot.fault in ("exit", "exit wait") and plot.phase != "commander_end":
            same(commander.wait_for_exit(PATIENCE_SECONDS), "left", "the result of the exit")
        else:
            if plot.phase != "commander_end" and plot.fault != "cancel its parent":
                usable(commander)
            commander.__exit__(None, None, None)
    except (SystemExit, KeyboardInterrupt) as error:
        return error
    except TimeoutError as error:
        raise Hang(str(error)) from error
    check(not commander.running_status, "it still runs after its end")
    return None


def usable(commander: Commander[Any]) -> None:
    """Everything else goes on."""
    same(commander.submit(complete(5).coro).result(PATIENCE_SECONDS), 5, "the next job")


def audit_neighbours(plot: Plot, position: str, full_phase: str) -> None:
    calls = plot.ledger.calls
    cut_off = plot.fault in ("hang", "swallow cancellation")
    if position in ("middle", "last"):
        same(calls.get("before"), [full_phase], "the callback before it")
    if position in ("first", "middle") and not cut_off:
        before_the_body = plot.phase == "start" and plot.fault in (*ENDERS, "cancel itself", "terminate itself")
        ended = before_the_body or plot.fault in ENDERS or plot.fault in ("exit", "exit wait", "cancel its parent")
        if not ended:
            same(calls.get("after"), [full_phase], "the callback after it")
        elif calls.get("after") not in (None, [full_phase]):
            raise Lost(f"the callback after it ran {calls.get('after')}")


def audit_outcome(plot: Plot, node: TaskNode[Any], body: str) -> None:
    """The outcome of the node, and what was said about the callback."""
    told = notes.count("failed in phase")
    natural = {"exception": State.EXCEPTION, "terminate": State.TERMINATED}.get(plot.phase, State.COMPLETED)
    if plot.fault in FAULTS:
        same(told, 1, "how often the failure of the callback was logged")
        same(node.state, natural, "the state")
        if natural is State.COMPLETED:
            same(node.result, 7, "the result")
        if natural is State.EXCEPTION:
            check(isinstance(node.exception, LookupError), f"the exception is {node.exception!r}")
        return
    check(node.state in FINAL, f"the state is {node.state}")
    if plot.fault == "submit below":
        below = plot.ledger.futures.get("below")
        takes = plot.phase in ("start", "exception")
        check((below is not None) == takes, f"a child in at_{plot.phase}: {below!r}, {plot.refused!r}")
        if below is not None:
            same(below.result(0), 7, "the child's result")
            check(below.node.parent is node, f"the child stands below {below.node.parent!r}")
    if plot.fault == "submit beside":
        beside = plot.ledger.futures.get("beside")
        check((beside is not None) == (plot.phase != "commander_end"), f"{beside!r}, {plot.refused!r}")
        if beside is not None:
            same(beside.result(0), 7, "the result of the job beside")
    if plot.fault in ("cancel itself", "terminate itself") and plot.phase == "start":
        same(node.state, State.TERMINATED, "the state")
    if plot.fault in ("exit", "exit wait") and plot.phase in ("exception", "terminate", "end"):
        same(node.state, natural, "the state: the callback that asks for the exit gets to finish its step")


def shared() -> None:
    """One Callback object, and one dict, for many nodes: each of them gets its own calls."""
    ledger = Ledger()
    calls: list[Any] = []
    info = {"function": lambda task_node: calls.append(task_node), "inject_task_node": True}
    with Commander() as commander:
        nodes = [make(BODIES[n % len(BODIES)], complete(n)) for n in range(50)]
        for number, node in enumerate(nodes):
            ledger.watch(str(number), node)
            node.add_callback_functions("at_job_end" if kind_of(node) == "job" else "at_handler_end", info)
            ledger.accept(str(number), commander.submit(node))
    ledger.audit()
    same(sorted(node.id for node in calls), [node.id for node in nodes], "whom the shared callback was called for")


def changed_meanwhile() -> None:
    """Callbacks added while a phase runs do not run in it, and harm nobody."""
    calls: list[str] = []
    node = make("async task", complete())

    def add(task_node: TaskNode[Any]) -> None:
        calls.append("first")
        task_node.add_callback_functions("at_job_end", {"function": lambda: calls.append("late")})

    node.add_callback_functions("at_job_end", {"function": add, "inject_task_node": True})
    node.add_callback_functions("at_job_end", {"function": lambda: calls.append("second")})
    with Commander() as commander:
        commander.submit(node).result(PATIENCE_SECONDS)
    same(calls, ["first", "second"], "the calls")


def order(flavor: str) -> None:
    """Twenty callbacks run one after another, as given, plain and async mixed."""
    calls: list[int] = []
    node = make("async task", complete())
    for number in range(20):
        plot = Plot("end", "submit beside")

        def plain(task_node: TaskNode[Any], number: int = number) -> None:
            calls.append(number)

        async def coro(task_node: TaskNode[Any], number: int = number) -> None:
            await asyncio.sleep(0)
            calls.append(number)

        plot.plain, plot.coro = plain, coro  # type: ignore[method-assign]
        chosen = flavor if number % 2 else ASYNC[number % 4]
        node.add_callback_functions("at_job_end", {"function": dress(plot, chosen), "inject_task_node": True})
    with Commander() as commander:
        commander.submit(node).result(PATIENCE_SECONDS)
    same(calls, list(range(20)), "the order")


def done_callback(fault: str, cancelled: bool) -> None:
    """A Future's done callback raises: its node, and the one above, end as if it had not."""
    error = {**FAULTS, **ENDERS}[fault]()
    commander: Commander[Any] = Commander(grace=GRACE_SECONDS)
    ledger = Ledger()
    after = threading.Event()

    def raise_it(_: object) -> None:
        raise error

    async def root() -> int:
        below = commander_submit()
        below.add_done_callback(raise_it)
        below.add_done_callback(lambda _: after.set())
        if cancelled:
            below.cancel()
        return 3

    def commander_submit() -> Any:
        import agere

        return ledger.accept("below", agere.current_node().submit(forever if cancelled else complete().coro))

    commander.start()
    future = ledger.accept("root", commander.submit(root))
    ledger.settle()
    raised = None
    try:
        if fault in ENDERS:
            commander.wait_for_exit(PATIENCE_SECONDS)
        else:
            same(future.result(0), 3, "the result above")
            usable(commander)
            commander.__exit__(None, None, None)
    except (SystemExit, KeyboardInterrupt) as caught:
        raised = caught
    except TimeoutError:
        commander.exit()
    wait_for(after, "the done callback after it")
    if raised is not None:
        check(raised is error, f"the commander raised {raised!r}")
    ledger.audit()


def on_host(fault: str, cancelled: bool) -> None:
    """Callbacks and deliveries for the host's thread raise there: nobody else may get to see it."""
    error = {**FAULTS, **ENDERS}[fault]()
    commander: Commander[Any] = Commander(grace=GRACE_SECONDS)
    ledger = Ledger()
    here: list[bool] = []

    def raise_it(*_: object) -> None:
        here.append(threading.current_thread() is threading.main_thread())
        raise error

    node = ledger.watch("target", make("async task", complete()))
    node.add_callback_functions("at_job_end", {"function": raise_it, "on_host": True})
    node.add_callback_functions("at_job_end", {"function": ledger.record("after", "at_job_end")})
    commander.start()
    try:
        future = ledger.accept("target", commander.submit(node))
        if cancelled:
            future.add_done_callback(raise_it, on_host=True)
        same(future.result(PATIENCE_SECONDS), 7, "the result")
        usable(commander)
        commander.__exit__(None, None, None)
    except (SystemExit, KeyboardInterrupt) as caught:
        check(caught is error, f"the main thread raised {caught!r}")
        with contextlib.suppress(SystemExit, KeyboardInterrupt):  # the second one of two
            commander.exit()
        commander.exit()
    check(here and all(here), f"where it was called: {here}")
    if fault in FAULTS:
        same(ledger.calls.get("after"), ["at_job_end"], "the callback after it")
    ledger.audit()
