"""The randomized soak: ``python -m tests.faults.soak --seeds 1000``; a failing seed replays with ``--seed N``.

A seed gives a plan: trees of jobs, tails, handlers, functions, edges, lanes, emissions, streams and callbacks, with
faults at random points, submitted from several threads, cancelled at random moments, under a commander that leaves
in a random way. Whatever happens, the accounts must balance:

- every submission was either accepted or refused with an error that says so;
- every accepted node ended in exactly one of the three states, with the outcome that its Future tells;
- its callbacks ran each exactly once per run, in order; the commander's end came last;
- every Future is resolved; a parent ended after its children;
- nothing is alive afterwards.

The plan is the same for the same seed; the interleaving of the threads is the machine's. So replay it a few times.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import os
import random
import sys
import threading
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import CancelledError
from dataclasses import dataclass, field, replace
from time import monotonic
from typing import Any

import agere
from agere import BasicJob, Commander, Job, JobFuture, State, TaskNode, tasker
from agere.commander.edge import add_conditional_edge, add_edge, add_join_edge
from agere.errors import AgereError, DeadlockError
from agere.utils.llm_async_converters import LLMAsyncAdapter

from .child import notes
from .ledger import FINAL, PATIENCE_SECONDS, Ledger, kind_of
from .runner import Pool
from .scenario import Scenario
from .stage import BODIES, ENDERS, FAULTS, Work, forever, make
from .verdicts import Lost, Outcome, Verdict, Wrong, check

PREFIX = "soak/"
LIMIT_SECONDS = 40.0
LANES = (None, None, None, "one", "three", "unknown")
LEAVING = ("all done", "all done", "exit", "exit in a body", "error", "two threads exit", "cancel all", "auto exit")
ACTS = ("submit below", "submit beside", "cancel itself", "cancel its parent", "terminate itself")
FAULT_RATE = 0.18


@dataclass
class Plan:
    """One node to be."""

    key: str
    body: str
    lane: str | None
    steps: list[tuple[Any, ...]] = field(default_factory=list)
    callbacks: list[tuple[str, bool, str]] = field(default_factory=list)
    edges: list[tuple[str, Any]] = field(default_factory=list)


class Planner:
    """Turns a seed into plans."""

    def __init__(self, seed: int) -> None:
        self.dice = random.Random(seed)
        self.count = 0
        self.leaving = self.dice.choice(LEAVING)
        self.endless = self.leaving not in ("all done", "auto exit")
        self.faults = self.dice.choice((0.0, FAULT_RATE, FAULT_RATE, 0.5))
        self.enders = self.dice.random() < 0.1
        self.threads = self.dice.randrange(1, 7)
        self.when = self.dice.randrange(1, 120)
        self.roots = [
            [self.plan(self.dice.randrange(5)) for _ in range(self.dice.randrange(1, 9))] for _ in range(self.threads)
        ]
        self.cancels = [self.dice.randrange(1, 150) for _ in range(self.dice.randrange(4))]

    def fault(self) -> str | None:
        if self.dice.random() >= self.faults:
            return None
        if self.enders and self.dice.random() < 0.05:
            return self.dice.choice(list(ENDERS))
        return self.dice.choice([name for name in FAULTS if name not in ("GeneratorExit", "Uncommon", "Unprintable")])

    def plan(self, depth: int) -> Plan:
        dice = self.dice
        self.count += 1
        plan = Plan(str(self.count), dice.choice(BODIES), dice.choice(LANES))
        for _ in range(dice.randrange(1, 5)):
            kind = dice.choice(
                (
                    "pause",
                    "pause",
                    "child",
                    "child",
                    "child",
                    "await",
                    "await",
                    "emit",
                    "read",
                    "delegate",
                    "act",
                    "wait",
                )
            )
            if kind in ("child", "await"):
                if depth > 0 and self.count < 150:
                    plan.steps.append((kind, self.plan(depth - 1), dice.choice(("submit", "put or call"))))
            elif kind == "act":
                if dice.random() < 0.3:
                    plan.steps.append((kind, dice.choice(("cancel a child", "terminate a child", "cancel itself"))))
            elif kind == "wait":
                if self.endless and dice.random() < 0.2:
                    plan.steps.append((kind,))
            elif kind == "read":
                plan.steps.append((kind, dice.randrange(30), dice.random() < 0.3, self.endless and dice.random() < 0.2))
            else:
                plan.steps.append((kind, dice.randrange(1, 6)))
        fault = self.fault()
        if fault:
            plan.steps.insert(dice.randrange(len(plan.steps) + 1), ("raise", fault))
        if depth > 0 and dice.random() < 0.2:
            plan.steps.append(("tail", self.plan(depth - 1)))
        for _ in range(dice.randrange(3)):
            phase = dice.choice(("start", "exception", "terminate", "end", "commander_end"))
            act = self.fault() or (dice.choice(ACTS) if dice.random() < 0.2 else "nothing")
            plan.callbacks.append((phase, dice.random() < 0.5, act))
        if dice.random() < 0.15:
            kind = dice.choice(("edge", "conditional", "loop", "join"))
            plan.edges.append((kind, self.plan(0) if kind != "loop" else dice.randrange(1, 5)))
        return plan


class Looping(Job[Any]):
    """Runs once more for as long as it says "on"."""

    def __init__(self, work: Work, rounds: int) -> None:
        super().__init__()
        self.work = work
        self.left = rounds

    @tasker
    async def task(self) -> Any:
        value = await self.work.coro()
        self.left -= 1
        return "on" if self.left > 0 else value


class Soak:
    """One run of a plan."""

    def __init__(self, seed: int) -> None:
        self.planner = Planner(seed)
        self.ledger = Ledger()
        self.commander: Commander[Any] = Commander(grace=0.4, lanes={"one": 1, "three": 3})
        self.attempts = Counter[str]()
        self.ended: dict[str, list[int]] = {}
        self.built: Counter[str] = Counter()
        self.unforeseen: list[BaseException] = []
        self._lock = threading.Lock()
        self._clock = 0
        self._alarms: list[tuple[int, threading.Event]] = []

    # -- the course of things

    def run(self) -> None:
        planner = self.planner
        self.commander.start()
        leave = self.alarm(planner.when)
        helpers = [threading.Thread(target=self._cancel_some, args=(self.alarm(at),)) for at in planner.cancels]
        submitters = [threading.Thread(target=self._submit_all, args=(plans,)) for plans in planner.roots]
        for thread in (*helpers, *submitters):
            thread.start()
        try:
            self._leave(planner.leaving, leave, submitters)
        except (SystemExit, KeyboardInterrupt) as error:
            check(planner.enders, f"the commander raised {error!r}")
        except LookupError as error:
            check(planner.leaving == "error", f"the commander raised {error!r}")
        self.ring_all()
        for thread in (*submitters, *helpers):
            thread.join(PATIENCE_SECONDS)
            if thread.is_alive():
                raise Lost(f"{thread} has not come back")
        with contextlib.suppress(SystemExit, KeyboardInterrupt):
            self.commander.exit()
            self.commander.wait_for_exit(PATIENCE_SECONDS)
        self.audit()

    def _leave(self, how: str, leave: threading.Event, submitters: list[threading.Thread]) -> None:
        commander = self.commander
        if how in ("all done", "auto exit"):
            for thread in submitters if how == "all done" else ():
                thread.join(LIMIT_SECONDS / 2)
            commander.__exit__(None, None, None)
            return
        leave.wait(0.5)
        match how:
            case "exit":
                commander.exit()
            case "exit in a body":
                with contextlib.suppress(AgereError):
                    commander.submit(lambda: agere.current_node().exit_commander("x"))
                commander.wait_for_exit(PATIENCE_SECONDS)
            case "error":
                with commander_left_by_error(commander):
                    raise LookupError("in the with block")
            case "two threads exit":
                threads = [threading.Thread(target=commander.exit) for _ in range(2)]
                for thread in threads:
                    thread.start()
                for thread in threads:
                    thread.join(PATIENCE_SECONDS)
            case "cancel all":
                for thread in submitters:
                    thread.join(LIMIT_SECONDS / 2)
                self._cancel_all()
                commander.__exit__(None, None, None)

    def _cancel_all(self) -> None:
        """Also what terminated ``def`` bodies still submit, which moves to live ancestors, until nothing is left."""
        end = monotonic() + LIMIT_SECONDS / 2
        while monotonic() < end:
            for future in list(self.ledger.futures.values()):
                future.cancel()
            for node in list(self.ledger.nodes.values()):
                node.cancel()  # what an edge has started has no Future
            self.ledger.settle()
            if not self.commander.children:
                return
            threading.Event().wait(0.01)
        raise Lost(f"cancelled, and still there: {self.commander.tree()}")

    def _submit_all(self, plans: list[Plan]) -> None:
        for plan in plans:
            self.submit(None, plan, "submit")

    def _cancel_some(self, when: threading.Event) -> None:
        when.wait(0.5)
        futures = list(self.ledger.futures.values())
        for future in futures[:: max(1, len(futures) // 3)]:
            future.cancel()

    # -- time: counted in callbacks, so that "at a random moment" does not depend on the machine's speed

    def alarm(self, at: int) -> threading.Event:
        event = threading.Event()
        self._alarms.append((at, event))
        return event

    def tick(self) -> int:
        with self._lock:
            self._clock += 1
            now = self._clock
        for at, event in self._alarms:
            if now >= at:
                event.set()
        return now

    def ring_all(self) -> None:
        for _, event in self._alarms:
            event.set()

    # -- building and submitting

    def build(self, plan: Plan, loops: int = 0) -> Any:
        with self._lock:  # below a node that runs again, the same plan makes another node
            self.built[plan.key] += 1
            plan = replace(plan, key=f"{plan.key}.{self.built[plan.key]}")
        work = Work(lambda: self._plain(plan), lambda: self._coro(plan))
        node: Any = Looping(work, loops) if loops else make(plan.body, work)
        node.soak_key = plan.key
        self.watch(plan, node)
        for phase, in_async, act in plan.callbacks:
            full = f"at_{kind_of(node)}_{phase}" if phase in ("start", "end") else f"at_{phase}"
            function = self._async_callback(act) if in_async else self._callback(act)
            node.add_callback_functions(full, {"function": function, "inject_task_node": True})
        for kind, detail in plan.edges:
            match kind:
                case "edge":
                    add_edge(node, self.build(detail), data=plan.key)
                case "conditional":
                    add_conditional_edge(node, {7: self.build(detail), "other": BasicJob(int)})
                case "join":
                    add_join_edge([node], self.build(detail))
        return node

    def watch(self, plan: Plan, node: TaskNode[Any]) -> None:
        self.ledger.watch(plan.key, node)
        kind = kind_of(node)

        def end() -> None:
            now = self.tick()
            with self._lock:
                self.ended.setdefault(plan.key, []).append(now)

        for phase in (f"at_{kind}_end", "at_terminate"):
            node.add_callback_functions(phase, {"function": end})

    def submit(self, parent: TaskNode[Any] | None, plan: Plan, how: str) -> JobFuture[Any] | None:
        loops = next((detail for kind, detail in plan.edges if kind == "loop"), 0)
        node = self.build(plan, loops)
        if loops:
            add_conditional_edge(node, {"on": node})
        target = self.commander if parent is None else parent
        with self._lock:
            self.attempts["made"] += 1
        try:
            if how == "submit":
                future = target.submit(node, lane=plan.lane)
            elif isinstance(node, Job):
                future = target.put_job(node, lane=plan.lane).future
            else:
                future = target.call_handler(node).future
        except AgereError:
            with self._lock:
                self.attempts["refused"] += 1
                del self.ledger.nodes[node.soak_key]
            return None
        except BaseException as error:
            self.unforeseen.append(error)
            raise
        with self._lock:
            self.attempts["accepted"] += 1
        self.ledger.accept(node.soak_key, future)
        return future

    # -- bodies

    async def _coro(self, plan: Plan) -> Any:
        node = self._here()
        children: list[JobFuture[Any]] = []
        for step in plan.steps:
            match step:
                case ("pause", times):
                    for _ in range(times):
                        await asyncio.sleep(0)
                case ("await", child, how):
                    future = self.submit(node, child, how)
                    if future is not None:
                        children.append(future)
                        with contextlib.suppress(Exception):
                            await future
                case ("read", count, breaks, silent):
                    await self._read(count, breaks, silent)
                case ("delegate", number):
                    check(await node.delegate(abs, -number) == number, "a delegated call")
                case ("emit", number):
                    await node.emit(number)
                case ("wait",):
                    await forever()
                case ("tail", child):
                    return self._tail(child)
                case _:
                    self._step(node, step, children)
        return 7

    def _plain(self, plan: Plan) -> Any:
        node = self._here()
        children: list[JobFuture[Any]] = []
        for step in plan.steps:
            match step:
                case ("pause", times):
                    threading.Event().wait(times / 5000)
                case ("await", child, how):
                    future = self.submit(node, child, how)
                    if future is not None:
                        children.append(future)
                        with contextlib.suppress(Exception):
                            future.result()
                case ("delegate", number):
                    check(node.delegate(abs, -number) == number, "a delegated call")
                case ("emit", number):
                    node.emit(number)
                case ("wait",):
                    never = node.submit(forever)
                    self.extra(never)
                    never.result()
                case ("tail", child):
                    return self._tail(child)
                case ("read", *_):
                    pass
                case _:
                    self._step(node, step, children)
        return 7

    def _here(self) -> TaskNode[Any]:
        node = agere.current_node()
        if node is None:
            raise Lost("a body without a node")
        self.tick()
        return node

    def _step(self, node: TaskNode[Any], step: tuple[Any, ...], children: list[JobFuture[Any]]) -> None:
        match step:
            case ("raise", fault):
                raise {**FAULTS, **ENDERS}[fault]()
            case ("child", child, how):
                future = self.submit(node, child, how)
                if future is not None:
                    children.append(future)
            case ("act", "cancel a child"):
                for future in children[:1]:
                    future.cancel()
            case ("act", "terminate a child"):
                for future in children[:1]:
                    future.node.terminate_task_node()
            case ("act", "cancel itself"):
                node.cancel()

    def _tail(self, plan: Plan) -> Any:
        plan.body = "async handler" if plan.body not in ("async handler", "def handler") else plan.body
        return self.build(plan)

    async def _read(self, count: int, breaks: bool, silent: bool) -> None:
        released = threading.Event()

        def source() -> Iterator[int]:
            yield from range(count)
            if silent:
                released.wait(2.0)

        stream = LLMAsyncAdapter().llm_to_async_iterable(source())
        try:
            async for number in stream:
                if breaks and number > 3:
                    break
        finally:
            released.set()
            stream.close()

    # -- callbacks

    def _callback(self, act: str) -> Callable[..., None]:
        def call(task_node: TaskNode[Any]) -> None:
            self.tick()
            if act in FAULTS or act in ENDERS:
                raise {**FAULTS, **ENDERS}[act]()
            with contextlib.suppress(AgereError):
                match act:
                    case "submit below":
                        self.extra(task_node.submit(_seven))
                    case "submit beside":
                        self.extra(self.commander.submit(_seven))
                    case "cancel itself":
                        task_node.cancel()
                    case "cancel its parent":
                        if task_node.parent is not self.commander or self.planner.endless:
                            task_node.parent.cancel()
                    case "terminate itself":
                        task_node.terminate_task_node()

        return call

    def _async_callback(self, act: str) -> Callable[..., Any]:
        plain = self._callback(act)

        async def call(task_node: TaskNode[Any]) -> None:
            await asyncio.sleep(0)
            plain(task_node)
            await asyncio.sleep(0)

        return call

    def extra(self, future: JobFuture[Any]) -> None:
        with self._lock:
            self.built["extra"] += 1
            self.ledger.accept(f"extra {self.built['extra']}", future)

    # -- the accounts

    def audit(self) -> None:
        ledger = self.ledger
        if self.unforeseen:
            raise Wrong(f"a submission raised {self.unforeseen[0]!r}")
        made, accepted, refused = (self.attempts[word] for word in ("made", "accepted", "refused"))
        check(made == accepted + refused, f"{made} submissions, {accepted} accepted, {refused} refused")
        check(len(self.commander.children) == 0, f"left in the tree: {self.commander.children}")
        for key, future in ledger.futures.items():
            if not future.done():
                raise Lost(f"the Future of {key} ({future.node}) is not resolved")
            if future.node.state not in FINAL:
                raise Lost(f"{key} ({future.node}) has no final state")
            self._audit_outcome(key, future)
        for key, node in ledger.nodes.items():
            calls = ledger.calls.get(key, [])
            if key.startswith("extra"):
                continue
            if calls or key in ledger.futures:
                self._audit_callbacks(key, node, list(calls))
        self._audit_order()

    @staticmethod
    def _audit_outcome(key: str, future: JobFuture[Any]) -> None:
        state = future.node.state
        try:
            error = future.exception(0)
        except CancelledError:
            if state is not State.TERMINATED and not isinstance(future.node, Looping):
                raise Wrong(f"the Future of {key} is cancelled, the node {state}") from None
            return
        if state is State.EXCEPTION and error is None and not isinstance(future.node, Looping):
            raise Wrong(f"{key} is {state}, its Future has a result")

    @staticmethod
    def _audit_callbacks(key: str, node: TaskNode[Any], calls: list[str]) -> None:
        kind = kind_of(node)
        ends = calls.count("at_commander_end")
        if ends != 1 or calls[-1] != "at_commander_end":
            raise Lost(f"at_commander_end of {key} ({node}): {calls}")
        calls.pop()
        runs = 0
        while calls:
            runs += 1
            found = []
            for phase in (f"at_{kind}_start", "at_exception"):
                if calls and calls[0] == phase:
                    found.append(calls.pop(0))
            if not calls or calls[0] not in (f"at_{kind}_end", "at_terminate"):
                raise Lost(f"the callbacks of {key} ({node}) do not end: {found} + {calls}")
            found.append(calls.pop(0))
            if found[-1] == f"at_{kind}_end" and found[0] != f"at_{kind}_start":
                raise Wrong(f"the callbacks of {key} ({node}): {found}")
            last = found[-1]
        if runs > 1 and not isinstance(node, Looping):
            raise Wrong(f"{key} ({node}) ran {runs} times")
        if (last == "at_terminate") != (node.state is State.TERMINATED):
            raise Wrong(f"{key} is {node.state} after {last}")

    def _audit_order(self) -> None:
        """A parent ends after its children: those that it had in the end, since some move to live ancestors."""
        for child, node in self.ledger.nodes.items():
            if child not in self.ended or isinstance(node, Looping):
                continue
            above = node.parent
            parent = getattr(above, "soak_key", "")
            if parent in self.ended and not isinstance(above, Looping):
                check(self.ended[child][-1] < self.ended[parent][0], f"{parent} ended before its child {child}")


@contextlib.contextmanager
def commander_left_by_error(commander: Commander[Any]) -> Iterator[None]:
    try:
        yield
    except LookupError as error:
        commander.__exit__(LookupError, error, None)
        raise


async def _seven() -> int:
    return 7


def run_seed(seed: int) -> None:
    """One seed, in this process."""
    soak = Soak(seed)
    picture = threading.Timer(LIMIT_SECONDS - 2.0, lambda: print(soak.planner.leaving, soak.commander.tree(), sep="\n"))
    picture.daemon = True
    picture.start()
    try:
        soak.run()
    finally:
        picture.cancel()
        picture.join()
    for record in notes.records:
        if isinstance(record.exc_info and record.exc_info[1], DeadlockError):
            raise Wrong("a plan without cycles met a DeadlockError")


def scenario(name: str) -> Scenario:
    """The scenario of a name ``soak/N``."""
    return Scenario(name, run_seed, (int(name.removeprefix(PREFIX)),), limit=LIMIT_SECONDS)


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.faults.soak", description=__doc__.split("\n")[0])
    parser.add_argument("--seeds", type=int, default=200, help="how many")
    parser.add_argument("--first", type=int, default=0, help="the first one")
    parser.add_argument("--seed", type=int, help="this one alone, with what it wrote")
    parser.add_argument("--times", type=int, default=1, help="how often each: threads interleave differently")
    parser.add_argument("-j", "--jobs", type=int, default=min(4, os.cpu_count() or 1), help="processes at once")
    options = parser.parse_args()
    seeds = [options.seed] if options.seed is not None else range(options.first, options.first + options.seeds)
    scenarios = [scenario(f"{PREFIX}{seed}") for seed in seeds for _ in range(options.times)]
    begun = monotonic()
    bad: list[Outcome] = []
    with Pool(scenarios, options.jobs) as pool:
        for number, outcome in enumerate(pool, 1):
            if outcome.verdict is not Verdict.OK:
                bad.append(outcome)
                print(
                    f"{outcome.verdict.upper()} --seed {outcome.name.removeprefix(PREFIX)}: {outcome.detail}",
                    flush=True,
                )
            if options.seed is not None:
                print(outcome.output)
            elif number % 200 == 0:
                print(f"... {number} of {len(scenarios)}, {len(bad)} bad, {monotonic() - begun:.0f} s", flush=True)
    print(f"{len(scenarios)} runs, {len(bad)} bad, {monotonic() - begun:.1f} s")
    return 1 if bad else 0


if __name__ == "__main__":
    sys.exit(main())
