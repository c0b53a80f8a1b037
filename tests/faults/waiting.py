"""Class 8, blocking and waiting: who waits by for whom by how; and what blocks the loop is told of."""

from __future__ import annotations

import asyncio
import contextlib
import queue
import sys
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import CancelledError
from typing import Any

import agere
from agere import BasicJob, Commander, Job, JobFuture, tasker
from agere.commander import Host, Question
from agere.errors import BlockingCallError, DeadlockError

from .child import notes
from .ledger import PATIENCE_SECONDS, Ledger
from .scenario import Scenario
from .stage import Work, async_handler, complete, def_handler, function_node, make, wait_for
from .verdicts import Hang, check, same

WAITERS = (
    "async body",
    "async task",
    "def body",
    "def task",
    "tail",
    "def tail",
    "own task",
    "start callback",
    "exception callback",
    "end callback",
    "host callback",
)
FORMS = ("future", "stream")
CYCLES = ("itself", "its parent", "its grandparent")
LENDING = ("behind in the default lane", "behind in a narrow lane", "children in its lane", "a chain in its lane")
BLOCKS = ("async body", "handler", "start callback", "end callback", "async callback", "done callback", "user task")
GRACE_SECONDS = 0.3


def scenarios() -> Iterator[Scenario]:
    for waiter in WAITERS:
        for form in FORMS:
            for target in CYCLES:
                name = f"waiting/cycle/{waiter}/{target}/{form}".replace(" ", "-")
                yield Scenario(name, cycle, (waiter, target, form))
        for target in LENDING:
            yield Scenario(f"waiting/lending/{waiter}/{target}".replace(" ", "-"), lending, (waiter, target))
    for waiter in WAITERS[:-1]:
        for end in ("cancel itself", "cancel the job", "terminate itself", "cancel what it waits for", "time out"):
            for lane in ("narrow", "wide"):
                name = f"waiting/lane-after/{waiter}/{end}/{lane}".replace(" ", "-")
                yield Scenario(name, lane_after, (waiter, end, lane))
    for length in (2, 3, 7):
        for colours in ("async", "def", "mixed"):
            yield Scenario(f"waiting/ring/{length}/{colours}", ring, (length, colours))
    for place in BLOCKS:
        yield Scenario(f"waiting/stall/{place}".replace(" ", "-"), stall, (place,))
    for place in ("def body", "await", "idle", "short steps", "routed input"):
        yield Scenario(f"waiting/no-stall/{place}".replace(" ", "-"), no_stall, (place,))
    for form in ("cf.wait", "as_completed", "result", "exception", "for", "with"):
        yield Scenario(f"waiting/on-the-loop/{form}", on_the_loop, (form,))
    for colour in ("async", "def"):
        for width in (1, 3):
            yield Scenario(f"waiting/recursion/{colour}/{width}", recursion, (colour, width), limit=20.0)
        yield Scenario(f"waiting/cancelled-while-waiting/{colour}", cancelled_while_waiting, (colour,))
        yield Scenario(f"waiting/timeout/{colour}", timeouts, (colour,))


class Waiter:
    """A node whose body or callback waits for whatever ``target`` says at that moment."""

    def __init__(self, kind: str, form: str, target: Callable[[], JobFuture[Any]], lane: object = None) -> None:
        self.kind = kind
        self.form = form
        self.target = target
        self.lane = lane
        self.patience: float | None = None
        self.outcome: queue.SimpleQueue[Any] = queue.SimpleQueue()

    def _told(self, seconds: float) -> None:
        end = time.monotonic() + seconds
        while self.outcome.empty() and time.monotonic() < end:
            time.sleep(0.001)

    def node(self) -> Any:
        match self.kind:
            case "async body":
                return make("async function", Work(self.plain, self.coro))
            case "async task":
                return make("async task", Work(self.plain, self.coro))
            case "def body":
                return make("def function", Work(self.plain, self.coro))
            case "def task":
                return make("def task", Work(self.plain, self.coro))
            case "tail":
                return make("tail", Work(self.plain, self.coro))
            case "def tail":
                return BasicJob(def_handler(Work(self.plain, self.coro)))
            case "own task":
                return make("async task", Work(self.plain, self.in_a_task))
        node = BasicJob(_fails if self.kind == "exception callback" else int)
        node.add_callback_functions(
            {"start callback": "at_job_start", "exception callback": "at_exception"}.get(self.kind, "at_job_end"),
            {"function": self.plain, "on_host": True} if self.kind == "host callback" else {"function": self.coro},
        )
        return node

    async def in_a_task(self) -> None:
        await asyncio.create_task(self.coro())

    async def coro(self) -> None:
        try:
            future = self.target()
            if self.patience is not None:
                async with asyncio.timeout(self.patience):
                    await asyncio.shield(_value(future))
            if self.form == "stream":
                async for _ in future.stream():
                    pass
            self.outcome.put(await future)
        except (Exception, asyncio.CancelledError) as error:
            self.outcome.put(error)

    def plain(self) -> None:
        try:
            future = self.target()
            if self.form == "stream":
                for _ in future.stream():
                    pass
            self.outcome.put(future.result(self.patience))
        except (Exception, asyncio.CancelledError) as error:
            self.outcome.put(error)

    def get(self, commander: Commander[Any]) -> Any:
        if self.kind == "host callback":  # somebody has to serve the host meanwhile
            commander.submit(self._told, PATIENCE_SECONDS / 2).result(PATIENCE_SECONDS)
        try:
            return self.outcome.get(timeout=PATIENCE_SECONDS / 2)
        except queue.Empty as error:
            raise Hang("the waiting body or callback hangs, without a word") from error


def _fails() -> None:
    raise LookupError("of the body")


def cycle(kind: str, target: str, form: str) -> None:
    """A wait that could never end raises DeadlockError."""
    ledger = Ledger()
    accepted = threading.Event()

    def which() -> JobFuture[Any]:
        wait_for(accepted, "the submission")
        while target not in ledger.futures:  # its submitter was overtaken
            time.sleep(0.001)
        return ledger.futures[target]

    waiter = Waiter(kind, form, which)
    commander = Commander[Any](grace=GRACE_SECONDS).start()

    def parent() -> None:
        ledger.accept("itself", agere.current_node().submit(ledger.watch("itself", waiter.node())))
        accepted.set()

    def grandparent() -> None:
        ledger.accept("its parent", agere.current_node().submit(parent))

    ledger.accept("its grandparent", commander.submit(grandparent))
    found = waiter.get(commander)
    check(isinstance(found, DeadlockError), f"the wait gave {found!r}")
    ledger.settle()
    commander.exit()
    ledger.audit()


def lending(kind: str, target: str) -> None:
    """Waiting for what can only start after one's own place is free lends the place."""
    ledger = Ledger()
    lane = None if target == "behind in the default lane" else "narrow"
    accepted = threading.Event()

    def which() -> JobFuture[Any]:
        node = agere.current_node()
        commander = node.commander
        match target:
            case "behind in the default lane" | "behind in a narrow lane":
                wait_for(accepted, "the submission")
                return ledger.futures["behind"]
            case "children in its lane":
                futures = [commander.submit(make("async task", complete()), lane=lane) for _ in range(5)]
                return futures[-1]
            case _:
                return commander.submit(_Chain(5, lane), lane=lane)

    waiter = Waiter(kind, "future", which)
    commander = Commander[Any](grace=GRACE_SECONDS).start()

    async def root() -> None:
        node = agere.current_node()
        ledger.accept("waiter", node.submit(ledger.watch("waiter", waiter.node()), lane=lane))
        ledger.accept("behind", node.submit(ledger.watch("behind", make("async task", complete())), lane=lane))
        accepted.set()

    ledger.accept("root", commander.submit(root))
    same(waiter.get(commander), 7, "what was waited for")
    ledger.settle()
    commander.exit()
    ledger.audit()


def lane_after(kind: str, end: str, lane: str) -> None:
    """Whoever waits in a lane for what runs in it, and is broken off: all of its places are there afterwards."""
    gate, running, accepted = threading.Event(), threading.Event(), threading.Event()
    ledger = Ledger()
    waiting: list[Any] = []

    async def held() -> int:
        running.set()
        while not gate.is_set():
            await asyncio.sleep(0.001)
        return 7

    def which() -> JobFuture[Any]:
        waiting.append(agere.current_node())
        future = ledger.accept("held", agere.current_node().commander.submit(BasicJob(held), lane=lane))
        accepted.set()  # in a wide lane it may run before it is written down
        return future

    commander = Commander[Any](grace=GRACE_SECONDS, lanes={"narrow": 1, "wide": 2}).start()
    waiter = Waiter(kind, "future", which)
    if end == "time out":
        waiter.patience = 0.02
    future = ledger.accept("waiter", commander.submit(ledger.watch("waiter", waiter.node()), lane=lane))
    wait_for(accepted, "the submission")
    wait_for(running, "what is waited for")
    match end:
        case "cancel itself":
            waiting[0].cancel()
        case "cancel the job":
            future.cancel()
        case "terminate itself":
            waiting[0].terminate_task_node()
        case "cancel what it waits for":
            ledger.futures["held"].cancel()
    if end == "time out":
        waiter.get(commander)
    elif end != "cancel what it waits for" and kind != "end callback":  # a node in its end phase is not cancelled
        with contextlib.suppress(CancelledError, LookupError):
            future.result(PATIENCE_SECONDS / 2)  # it unwinds while what it waited for still runs
    gate.set()
    ledger.settle()
    for number in range(4):
        ledger.accept(str(number), commander.submit(make("async task", complete()), lane=lane))
    ledger.settle()
    commander.exit()
    ledger.audit()


class _Chain(Job[int]):
    """Each waits for the next, all in one lane."""

    def __init__(self, left: int, lane: object) -> None:
        super().__init__()
        self.left = left
        self.lane = lane

    @tasker
    async def task(self) -> int:
        return 7 if self.left == 0 else await self.submit(_Chain(self.left - 1, self.lane), lane=self.lane)


def ring(length: int, colours: str) -> None:
    """Bodies that wait for each other in a ring: one of them is told, and then all of them end."""
    futures: list[JobFuture[Any]] = []
    ready = threading.Event()
    waiters = []
    ledger = Ledger()
    for number in range(length):
        kind = {"async": "async body", "def": "def body"}.get(colours) or ("async body", "def body")[number % 2]

        def next_one(number: int = number) -> JobFuture[Any]:
            return futures[(number + 1) % length]

        waiters.append(Waiter(kind, "future", next_one))
    commander = Commander[Any](grace=GRACE_SECONDS).start()

    async def root() -> None:
        for number, waiter in enumerate(waiters):
            futures.append(ledger.accept(str(number), agere.current_node().submit(_after(ready, waiter))))

    ledger.accept("root", commander.submit(root))
    while len(futures) < length:
        threading.Event().wait(0.001)
    ready.set()
    found = [waiter.get(commander) for waiter in waiters]
    told = [answer for answer in found if isinstance(answer, DeadlockError)]
    check(len(told) == 1, f"who was told: {found}")
    ledger.settle()
    commander.exit()
    ledger.audit()


def _after(ready: threading.Event, waiter: Waiter) -> Any:
    async def coro() -> None:
        while not ready.is_set():
            await asyncio.sleep(0.001)
        await waiter.coro()

    def plain() -> None:
        wait_for(ready, "the start")
        waiter.plain()

    return function_node(coro if waiter.kind == "async body" else plain)


def stall(place: str) -> None:
    """What blocks the loop past the threshold is reported once per line, with its node and stack."""
    blocked = threading.Event()

    def block_here() -> None:
        time.sleep(0.25)
        blocked.set()

    async def coro() -> None:
        block_here()

    async def in_a_task() -> None:
        await asyncio.create_task(coro())

    with Commander[Any](stall=0.05, grace=2.0) as commander:
        for _ in range(2):
            match place:
                case "async body":
                    node = make("async task", Work(block_here, coro))
                case "handler":
                    node = async_handler(Work(block_here, coro))
                case "user task":
                    node = function_node(in_a_task)
                case _:
                    node = BasicJob(int)
            if place == "start callback":
                node.add_callback_functions("at_job_start", {"function": block_here})
            elif place == "end callback":
                node.add_callback_functions("at_job_end", {"function": block_here})
            elif place == "async callback":
                node.add_callback_functions("at_job_end", {"function": coro})
            future = commander.submit(node)
            if place == "done callback":
                future.add_done_callback(lambda _: block_here())
            future.result(PATIENCE_SECONDS)
            wait_for(blocked, "the block")
            blocked.clear()
    told = [record for record in notes.records if "has blocked the event loop" in str(record.msg)]
    same(len(told), 1, "how often it was reported")
    check("block_here" in told[0].getMessage(), f"no stack in {told[0].getMessage()!r}")
    if place not in ("done callback",):
        check(node.name in told[0].getMessage(), f"no node in {told[0].getMessage()!r}")


class Slow(Host):
    """A person who takes a while to answer."""

    def post(self, call: Callable[[], object]) -> None:
        call()

    def ask(self, question: Question) -> None:
        threading.Timer(0.3, question.answer, ("yes",)).start()

    def answers(self) -> bool:
        return True

    def pump(self) -> None:
        return None


def no_stall(place: str) -> None:
    """What does not block the loop is not reported; looking costs next to nothing."""
    host = Slow() if place == "routed input" else None
    with Commander[Any](stall=0.05, host=host) as commander:
        match place:
            case "def body":
                commander.submit(time.sleep, 0.3).result(PATIENCE_SECONDS)
            case "await":
                commander.submit(asyncio.sleep, 0.3).result(PATIENCE_SECONDS)
            case "idle":
                before = time.process_time()
                threading.Event().wait(0.8)
                spent = time.process_time() - before
                check(spent < 0.1, f"idling costs {spent / 0.8:.0%} of a core")
            case "short steps":
                commander.submit(_short_steps).result(PATIENCE_SECONDS)
            case "routed input":
                same(commander.submit(_asks).result(PATIENCE_SECONDS), "yes", "the answer")
    told = [record.getMessage() for record in notes.records if "has blocked the event loop" in str(record.msg)]
    same(told, [], "reports")


async def _short_steps() -> None:
    for _ in range(100):
        time.sleep(0.004)
        await asyncio.sleep(0)


async def _asks() -> str:
    return input("well? ")


def on_the_loop(form: str) -> None:
    """No blocking wait for a job on the loop thread: it raises, and names what to do instead."""
    import concurrent.futures as cf

    async def body() -> str:
        future = agere.current_node().submit(asyncio.sleep, 0.05)
        begun = time.monotonic()
        try:
            match form:
                case "cf.wait":
                    cf.wait([future], 2)
                case "as_completed":
                    list(cf.as_completed([future], 2))
                case "result":
                    future.result()
                case "exception":
                    future.exception()
                case "for":
                    for _ in future.stream():
                        pass
                case "with":
                    with Commander():
                        pass
        except BlockingCallError as error:
            return str(error)
        finally:
            check(time.monotonic() - begun < 1.0, "it blocked the loop")
        return ""

    told = agere.run(body)
    check(told, "nothing was raised")


def recursion(colour: str, width: int) -> None:
    """The usual recursion, awaiting one's own children, through a lane of this width."""

    async def loop(depth: int) -> int:
        if depth == 0:
            return 1
        node = agere.current_node()
        futures = [node.submit(BasicJob(loop, depth - 1), lane="narrow") for _ in range(2)]
        return sum([await future for future in futures])

    def worker(depth: int) -> int:
        if depth == 0:
            return 1
        node = agere.current_node()
        futures = [node.submit(BasicJob(worker, depth - 1), lane="narrow") for _ in range(2)]
        return sum(future.result() for future in futures)

    depth = 8 if colour == "async" else 5
    with Commander[Any](grace=GRACE_SECONDS, lanes={"narrow": width}) as commander:
        job = BasicJob(loop if colour == "async" else worker, depth)
        try:
            same(commander.submit(job, lane="narrow").result(PATIENCE_SECONDS), 2**depth, "the sum")
        except TimeoutError as error:
            commander.exit()
            raise Hang(f"a lane of width {width} deadlocks") from error


def cancelled_while_waiting(colour: str) -> None:
    """Twenty bodies wait for one; some are cancelled meanwhile: they end at once, the others get the value."""
    gate = threading.Event()
    ledger = Ledger()
    with Commander[Any](grace=GRACE_SECONDS) as commander:
        target = ledger.accept("target", commander.submit(gate.wait, PATIENCE_SECONDS))
        waiting = threading.Semaphore(0)

        async def coro() -> bool:
            waiting.release()
            return await asyncio.shield(_value(target))

        def plain() -> bool:
            waiting.release()
            return bool(target.result())

        for number in range(20):
            ledger.accept(str(number), commander.submit(coro if colour == "async" else plain))
        for _ in range(20):
            waiting.acquire(timeout=PATIENCE_SECONDS)
        if colour == "def":
            for number in range(0, 20, 2):
                ledger.futures[str(number)].cancel()
            for number in range(0, 20, 2):
                try:
                    ledger.futures[str(number)].result(PATIENCE_SECONDS)
                except CancelledError:
                    continue
                raise AssertionError("a cancelled waiter has a value")
        gate.set()
        for number in range(1, 20, 2):
            same(ledger.futures[str(number)].result(PATIENCE_SECONDS), True, "the value")
    ledger.audit()


async def _value(target: JobFuture[bool]) -> bool:
    return await target


def timeouts(colour: str) -> None:
    """A wait that runs out of time neither cancels the job nor breaks a later wait."""
    gate = threading.Event()

    async def coro() -> list[Any]:
        found: list[Any] = []
        for _ in range(3):
            try:
                async with asyncio.timeout(0.01):
                    await asyncio.shield(_value(target))
            except TimeoutError:
                found.append("late")
        gate.set()
        found.append(await target)
        return found

    def plain() -> list[Any]:
        found: list[Any] = []
        for _ in range(3):
            try:
                target.result(0.01)
            except TimeoutError:
                found.append("late")
        gate.set()
        found.append(target.result())
        return found

    with Commander[Any](grace=GRACE_SECONDS) as commander:
        target = commander.submit(gate.wait, PATIENCE_SECONDS)
        found = commander.submit(coro if colour == "async" else plain).result(PATIENCE_SECONDS)
    same(found, ["late", "late", "late", True], "what the waits gave")
    sys.stdout.flush()
