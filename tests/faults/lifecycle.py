"""Class 3, lifecycle: every call by every place by every moment in the life of a commander; storms, cycles, nesting."""

from __future__ import annotations

import asyncio
import contextlib
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import CancelledError
from time import monotonic
from typing import Any

import agere
from agere import BasicJob, Commander, JobFuture
from agere.errors import (
    AgereError,
    BlockingCallError,
    CommanderAlreadyRunningError,
    CommanderNotRunError,
    DeadlockError,
    NodeTerminatedError,
)

from .ledger import FINAL, PATIENCE_SECONDS, Ledger
from .scenario import Scenario
from .stage import Work, complete, forever, make, wait_for, wait_for_ever
from .verdicts import Hang, check, same

PLACES = (
    "main",
    "thread",
    "16 threads",
    "loop body",
    "worker body",
    "sync callback",
    "async callback",
    "done callback",
    "host callback",
    "commander end",
    "subscriber",
    "asyncio",
    "other loop",
    "other worker",
)
MOMENTS = ("new", "idle", "busy", "stubborn", "leaving", "exited")
INSIDE = (
    "loop body",
    "worker body",
    "sync callback",
    "async callback",
    "done callback",
    "host callback",
    "commander end",
)
ON_LOOP = ("loop body", "sync callback", "async callback", "done callback", "commander end", "other loop")
GRACE_SECONDS = 0.2

CALLS: dict[str, Callable[[Commander[Any], JobFuture[Any] | None], Any]] = {
    "start": lambda commander, _: commander.start(),
    "run": lambda commander, _: commander.run(complete().coro, auto_exit=True),
    "run_auto": lambda commander, _: commander.run_auto(complete().coro),
    "exit": lambda commander, _: commander.exit("left"),
    "exit no wait": lambda commander, _: commander.exit("left", wait=False),
    "wait_for_exit": lambda commander, _: commander.wait_for_exit(1.0),
    "submit": lambda commander, _: commander.submit(complete().coro),
    "submit def": lambda commander, _: commander.submit(complete().plain),
    "submit lane": lambda commander, _: commander.submit(complete().coro, lane="narrow"),
    "result": lambda _, future: None if future is None else future.result(0.3),
    "exception": lambda _, future: None if future is None else future.exception(0.3),
    "cancel": lambda _, future: None if future is None else future.cancel(),
    "cancel commander": lambda commander, _: commander.cancel(),
    "tree": lambda commander, _: str(commander.tree()),
    "is_empty": lambda commander, _: (commander.is_empty(), commander.running_status, commander.questions),
    "with": lambda commander, _: _with(commander),
    "subscribe": lambda commander, _: commander.subscribe(lambda _: None)(),
    "run fresh": lambda _, __: agere.run(complete().coro),
}
ALLOWED = (
    BlockingCallError,
    DeadlockError,
    CommanderNotRunError,
    CommanderAlreadyRunningError,
    NodeTerminatedError,
    TimeoutError,
    asyncio.CancelledError,  # in a worker: the body that waits is being terminated
)


def _with(commander: Commander[Any]) -> None:
    with commander:
        commander.submit(complete().coro)


def scenarios() -> Iterator[Scenario]:
    turn = 0
    for call in CALLS:
        for place in PLACES:
            for moment in MOMENTS:
                if place in INSIDE and moment in ("new", "exited"):
                    continue
                name = f"lifecycle/{call}/{place}/{moment}".replace(" ", "-")
                turn += 1
                yield Scenario(name, called, (call, place, moment), full=turn % 2 == 0)
    for kind in ("async function", "def function", "async task", "tail", "mixed"):
        for end in ("exit", "auto exit", "leave with", "error in with", "cancel"):
            yield Scenario(f"lifecycle/storm/{kind}/{end}".replace(" ", "-"), storm, (kind, end), limit=30.0)
    for way in ("run", "start and exit", "with", "dropped", "agere.run", "async with", "failing run"):
        yield Scenario(f"lifecycle/cycles/{way}".replace(" ", "-"), cycles, (way,), limit=30.0)
    for depth in (2, 12):
        for kind in ("worker", "loop"):
            yield Scenario(f"lifecycle/nested/{kind}/{depth}", nested, (kind, depth), limit=20.0)
    for kind in ("async function", "def function", "async task"):
        yield Scenario(f"lifecycle/late-submission/{kind}".replace(" ", "-"), late_submissions, (kind,), limit=30.0)
        yield Scenario(f"lifecycle/two-commanders/{kind}".replace(" ", "-"), exchange, (kind,), limit=20.0)
    for refused in ("no job", "wrong", "active", "raising iterator"):
        yield Scenario(f"lifecycle/run-refused/{refused}".replace(" ", "-"), run_refused, (refused,))
    yield Scenario("lifecycle/results/stale", stale_results)
    yield Scenario("lifecycle/stuck-loop/queued-behind", stuck_loop, clean=False, limit=15.0)
    yield Scenario("lifecycle/hostile/cancel-all-tasks", cancel_all_tasks)
    yield Scenario("lifecycle/hostile/stop-the-loop", stop_the_loop)


def called(call: str, place: str, moment: str) -> None:
    """A call may refuse, with an error that says so; it may not hang, nor harm the accounts."""
    commander: Commander[Any] = Commander(grace=GRACE_SECONDS)
    ledger = Ledger()
    future = set_scene(commander, moment, ledger)
    raised: list[BaseException] = []
    answers: list[float] = []
    done = threading.Event()

    def act() -> None:
        begun = monotonic()
        try:
            CALLS[call](commander, future)
        except BaseException as error:
            raised.append(error)
        finally:
            answers.append(monotonic() - begun)
            done.set()

    go(place, commander, act, ledger)
    if place == "commander end" or moment == "leaving":
        commander.exit()
    if not done.wait(PATIENCE_SECONDS):
        raise Hang(f"{call} has not come back")
    for error in raised:
        if not isinstance(error, ALLOWED):
            raise error
    if place in ON_LOOP and call in ("run", "run_auto", "wait_for_exit", "with", "run fresh") and moment != "leaving":
        # run_auto hands the work over if the commander runs already, and never blocks then.
        blocked = [error for error in raised if isinstance(error, BlockingCallError | CommanderNotRunError)]
        check(blocked or call == "run_auto", f"{call} was not refused on the loop: {raised}")
        check(max(answers) < 1.0, f"{call} blocked the loop for {max(answers):.1f} s")
    if call == "start" and moment in ("idle", "busy", "stubborn"):
        check(any(isinstance(error, CommanderAlreadyRunningError) for error in raised), f"start() twice: {raised}")
    with contextlib.suppress(SystemExit):
        commander.exit()
    check(not commander.running_status, "it still runs")
    ledger.settle()
    ledger.audit(ran=False)


def set_scene(commander: Commander[Any], moment: str, ledger: Ledger) -> JobFuture[Any] | None:
    """Bring a commander to a moment of its life. Gives the Future of what runs there, if anything does."""
    if moment == "new":
        return None
    commander.start()
    future = None
    if moment in ("busy", "leaving", "stubborn", "exited"):
        started = threading.Event()
        node = ledger.watch("scene", make("async function", wait_for_ever(started)))
        future = ledger.accept("scene", commander.submit(node))
        wait_for(started, "the scene")
    if moment in ("leaving", "stubborn"):
        started = threading.Event()

        async def stubborn() -> None:
            started.set()
            while True:
                with contextlib.suppress(asyncio.CancelledError):
                    await forever()

        ledger.accept("stubborn", commander.submit(stubborn))
        wait_for(started, "the scene")
    if moment == "exited":
        commander.exit()
    return future


def go(place: str, commander: Commander[Any], act: Callable[[], None], ledger: Ledger) -> None:
    """Have ``act`` called at a place. If that is inside the commander, it need not be over on return."""
    match place:
        case "main":
            act()
        case "thread":
            threading.Thread(target=act).start()
        case "16 threads":
            threads = [threading.Thread(target=act) for _ in range(16)]
            for thread in threads:
                thread.start()
            for thread in threads:
                thread.join(PATIENCE_SECONDS)
                if thread.is_alive():
                    raise Hang("one of sixteen has not come back")
        case "loop body":
            ledger.accept("body", commander.submit(_async(act)))
        case "worker body":
            ledger.accept("body", commander.submit(act))
        case "sync callback" | "async callback" | "host callback":
            node = ledger.watch("body", make("async handler", complete()))
            function = _async(act) if place == "async callback" else act
            node.add_callback_functions("at_handler_end", {"function": function, "on_host": place == "host callback"})
            ledger.accept("body", commander.submit(node)).exception(PATIENCE_SECONDS)
        case "done callback":
            gate = threading.Event()
            body = ledger.accept("body", commander.submit(gate.wait))
            body.add_done_callback(lambda _: act())
            gate.set()
        case "commander end":
            commander.add_callback_functions("at_commander_end", {"function": act})
        case "subscriber":
            once = iter([act])
            unsubscribe = commander.subscribe(lambda _: next(once, lambda: None)())
            if commander.running_status:
                commander.submit(complete().coro)
            else:
                act()
            unsubscribe_later(unsubscribe)
        case "asyncio":
            asyncio.run(_async(act)())
        case "other loop" | "other worker":
            with Commander[Any](grace=GRACE_SECONDS) as other:
                other.submit(_async(act) if place == "other loop" else act).exception(PATIENCE_SECONDS)


def unsubscribe_later(_unsubscribe: Callable[[], None]) -> None:
    """The subscription ends with the process: ending it now might drop the event that ``act`` waits for."""


def _async(act: Callable[[], None]) -> Callable[[], Any]:
    async def coro() -> None:
        act()

    return coro


def storm(kind: str, end: str) -> None:
    """32 threads submit while the commander ends: what was accepted has an outcome, what was refused was told."""
    commander: Commander[Any] = Commander(grace=1.0)
    accepted: list[JobFuture[Any]] = []
    refused: list[BaseException] = []
    others: list[BaseException] = []
    ready = threading.Barrier(33)

    def submit() -> None:
        ready.wait(PATIENCE_SECONDS)
        for number in range(400):
            body = kind if kind != "mixed" else ("async function", "def function", "async task", "tail")[number % 4]
            try:
                accepted.append(commander.submit(make(body, complete(number))))
            except CommanderNotRunError as error:
                refused.append(error)
                return
            except BaseException as error:
                others.append(error)
                return

    threads = [threading.Thread(target=submit) for _ in range(32)]
    commander.start()
    for thread in threads:
        thread.start()
    gate = threading.Event()
    hold = commander.submit(gate.wait)
    ready.wait(PATIENCE_SECONDS)
    try:
        match end:
            case "exit":
                commander.exit()
            case "auto exit":
                gate.set()
                commander.__exit__(None, None, None)
            case "leave with":
                gate.set()
                with contextlib.suppress(CommanderNotRunError), commander:
                    pass
                commander.exit()
            case "error in with":
                commander.__exit__(ValueError, ValueError(), None)
            case "cancel":
                for future in list(accepted):
                    future.cancel()
                commander.exit()
    except CommanderAlreadyRunningError:
        commander.exit()
    gate.set()
    for thread in threads:
        thread.join(PATIENCE_SECONDS)
        check(not thread.is_alive(), "a submitter hangs")
    check(not others, f"a submission raised {others[:1]}")
    open_ = [future for future in accepted if not future.done()]
    if open_:
        raise Hang(f"{len(open_)} of {len(accepted)} accepted are without outcome, e.g. {open_[0]}")
    for future in accepted:
        check(future.node.state in FINAL, f"{future.node} has no final state")
    check(hold.done(), "the first job is without outcome")
    check(not commander.running_status, "it still runs")


def cycles(way: str) -> None:
    """Hundreds of lives, one after another."""
    commander: Commander[Any] = Commander(grace=GRACE_SECONDS)
    for number in range(200):
        match way:
            case "run":
                same(commander.run(complete().coro, auto_exit=True), None, "the result")
            case "start and exit":
                commander.start()
                commander.submit(complete().plain if number % 2 else complete().coro)
                commander.exit(number)
                same(commander.wait_for_exit(1), number, "the result")
            case "with":
                with commander:
                    future = commander.submit(complete(number).coro)
                same(future.result(0), number, "the result")
            case "dropped":
                dropped = Commander[Any]().start()
                future = dropped.submit(complete(number).coro)
                same(future.result(PATIENCE_SECONDS), number, "the result")
                del dropped, future
            case "agere.run":
                same(agere.run(complete(number).coro), number, "the result")
            case "async with":
                asyncio.run(_one_async_life(commander, number))
            case "failing run":
                with contextlib.suppress(SystemExit):
                    commander.run(_exits)
                    raise AssertionError("SystemExit did not come out of run()")


async def _exits() -> None:
    raise SystemExit(3)


async def _one_async_life(commander: Commander[Any], number: int) -> None:
    async with commander:
        same(await commander.submit(complete(number).coro), number, "the result")


def nested(kind: str, depth: int) -> None:
    def worker(level: int) -> int:
        return level if level == depth else agere.run(worker, level + 1)

    async def loop(level: int) -> int:
        if level == depth:
            return level
        async with Commander[Any]() as inner:
            return await inner.submit(loop, level + 1)

    same(agere.run(worker if kind == "worker" else loop, 0), depth, "the result")


def late_submissions(kind: str) -> None:
    """``auto_exit`` against submissions from outside: each one runs, or is refused."""
    for _ in range(40):
        commander: Commander[Any] = Commander(grace=GRACE_SECONDS)
        accepted: list[JobFuture[Any]] = []
        started = threading.Event()

        def submit(commander: Any = commander, accepted: Any = accepted, started: Any = started) -> None:
            started.wait(PATIENCE_SECONDS)
            for _ in range(60):
                try:
                    accepted.append(commander.submit(make(kind, complete())))
                except CommanderNotRunError:
                    return

        thread = threading.Thread(target=submit)
        thread.start()
        commander.run(started.set, auto_exit=True)
        thread.join(PATIENCE_SECONDS)
        for future in accepted:
            check(future.done(), f"accepted, and open: {future}")
            same(future.result(0), 7, "what was accepted under auto_exit must run")


def exchange(kind: str) -> None:
    """Two commanders hand each other work, from the loop and from workers, while one of them leaves."""
    one, two = Commander[Any](grace=GRACE_SECONDS).start(), Commander[Any](grace=GRACE_SECONDS).start()
    ledger = Ledger()
    count = iter(range(10**6))
    refused: list[BaseException] = []

    def bounce(here: Commander[Any], there: Commander[Any], left: int) -> int:
        if left:
            try:
                ledger.accept(str(next(count)), there.submit(_node(kind, lambda: bounce(there, here, left - 1))))
            except CommanderNotRunError as error:
                refused.append(error)
        return left

    for _ in range(10):
        ledger.accept(str(next(count)), one.submit(_node(kind, lambda: bounce(one, two, 30))))
    two.exit()
    ledger.settle()
    one.exit()
    ledger.settle()
    ledger.audit()


def _node(kind: str, plain: Callable[[], Any]) -> Any:
    async def coro() -> Any:
        return plain()

    return make(kind, Work(plain, coro))


def run_refused(refused: str) -> None:
    """``run([a, b])`` with a refused element: what stood before it finishes, then the error is raised."""
    ledger = Ledger()
    gate = threading.Event()
    first = ledger.watch("first", make("async task", _gated(gate)))

    def works() -> Iterator[Any]:
        try:
            yield first
            yield from others()
        finally:
            gate.set()  # run() has let go of the iterable: the refusal is behind it

    def others() -> Iterator[Any]:
        match refused:
            case "no job":
                yield 3
            case "wrong":
                yield BasicJob
            case "active":
                yield first
            case "raising iterator":
                raise LookupError("of the iterable")

    commander: Commander[Any] = Commander(grace=GRACE_SECONDS)
    try:
        commander.run(works())
    except (TypeError, AgereError, LookupError) as error:
        check(isinstance(error, LookupError) == (refused == "raising iterator"), f"run raised {error!r}")
    else:
        raise AssertionError("run() raised nothing")
    same(first.result, 7, "what was accepted before")
    ledger.audit()


def _gated(gate: threading.Event) -> Work:
    async def coro() -> int:
        while not gate.is_set():
            await asyncio.sleep(0.001)
        return 7

    return Work(lambda: 7, coro)


def stale_results() -> None:
    """A result belongs to its own session."""
    commander: Commander[Any] = Commander(grace=GRACE_SECONDS)
    for number in range(3):
        same(commander.run(lambda number=number: agere.current_node().exit_commander(number)), number, "the result")
        same(commander.run(complete().coro, auto_exit=True), None, "the result of a session without one")


def stuck_loop() -> None:
    """A body blocks the loop; what was accepted behind it gets an outcome all the same, within a bound."""
    commander: Commander[Any] = Commander(grace=0.2)
    commander.start()
    release, started = threading.Event(), threading.Event()
    ledger = Ledger()

    async def blocks() -> None:
        started.set()
        release.wait(30)

    ledger.accept("blocks", commander.submit(blocks))
    wait_for(started, "the body")
    for number in range(20):
        ledger.accept(str(number), commander.submit(make(("async task", "def function")[number % 2], complete())))
    begun = monotonic()
    commander.exit()
    check(monotonic() - begun < 5.0, "exit() took too long")
    ledger.settle(1.0)
    ledger.audit()
    try:
        commander.submit(int)
    except CommanderNotRunError:
        release.set()
        return
    raise AssertionError("it takes work although it has exited")


def cancel_all_tasks() -> None:
    """A body cancels every task of its loop, again and again: also those by which Agere itself leaves."""
    ledger = Ledger()
    started = threading.Barrier(3)

    async def hostile() -> None:
        started.wait(PATIENCE_SECONDS)
        try:
            await forever()
        finally:
            for _ in range(10):
                for task in asyncio.all_tasks():
                    if task is not asyncio.current_task():
                        task.cancel()
                await asyncio.sleep(0)

    def waits() -> None:
        started.wait(PATIENCE_SECONDS)

    commander: Commander[Any] = Commander(grace=GRACE_SECONDS)
    commander.start()
    for number in range(4):
        ledger.accept(f"lazy {number}", commander.submit(make("async task", wait_for_ever(threading.Event()))))
    ledger.accept("worker", commander.submit(waits))
    ledger.accept("hostile", commander.submit(hostile))
    started.wait(PATIENCE_SECONDS)
    commander.exit()
    check(not commander.running_status, "it still runs")
    ledger.settle()
    ledger.audit()


def stop_the_loop() -> None:
    async def stops() -> int:
        asyncio.get_running_loop().stop()
        await asyncio.sleep(0)
        return 7

    with Commander[Any](grace=GRACE_SECONDS) as commander, contextlib.suppress(CancelledError):
        same(commander.submit(stops).result(PATIENCE_SECONDS), 7, "the result")
