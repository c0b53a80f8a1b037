"""Lifecycle events for subscribers."""

from __future__ import annotations

import asyncio
import contextlib
import contextvars
import dataclasses
import json
import logging
import os
import threading
import time
from collections.abc import Iterator
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from agere.commander import (
    BasicJob,
    Callback,
    CallbackFailed,
    Commander,
    Event,
    EventsLost,
    Job,
    NodeCreated,
    NodeEnded,
    NodeStarted,
    NodeTerminatedError,
    QuestionAnswered,
    QuestionAsked,
    StreamClosed,
    StreamOpened,
    TaskNode,
    current_node,
    tasker,
)
from agere.commander.edge import add_edge
from agere.commander.handler import HandlerSpec, make_handler
from agere.hosts import ScriptedHost
from tests.support.order import Gate, Order
from tests.support.subprocesses import run_python


def me() -> TaskNode[Any]:
    node = current_node()
    assert node is not None
    return node


def test_the_life_of_a_tree(commander: Commander[Any]) -> None:
    seen = Order()
    commander.subscribe(seen)

    async def body() -> None:
        await me().submit(lambda: 1)

    future = commander.submit(body)
    future.result(10)
    seen.wait_until(6)
    outer = future.node
    kinds = [(type(event), event.node is outer) for event in seen.items]
    assert kinds == [
        (NodeCreated, True),
        (NodeStarted, True),
        (NodeCreated, False),
        (NodeStarted, False),
        (NodeEnded, False),
        (NodeEnded, True),
    ]
    first, last = seen.items[0], seen.items[-1]
    assert first.parent is commander
    assert seen.items[2].parent is outer
    assert (last.state, last.exception) == ("COMPLETED", None)
    assert all(isinstance(event, Event) and event.at > 0 for event in seen.items)
    with pytest.raises(dataclasses.FrozenInstanceError):
        first.node = None


def test_outcomes(commander: Commander[Any], errors: Any) -> None:
    seen = Order()
    commander.subscribe(lambda event: seen(event) if isinstance(event, NodeEnded) else None)

    def fails() -> None:
        raise ValueError("no")

    with pytest.raises(ValueError, match="no"):
        commander.submit(fails).result(10)
    commander.submit(asyncio.Event().wait).cancel()
    seen.wait_until(2)
    assert [event.state for event in seen.items] == ["EXCEPTION", "TERMINATED"]
    assert isinstance(seen.items[0].exception, ValueError)


def test_unsubscribing(commander: Commander[Any]) -> None:
    first, second = Order(), Order()
    leave = commander.subscribe(first)
    commander.subscribe(second)
    commander.submit(lambda: 1).result(10)
    first.wait_until(3)
    leave()
    leave()
    commander.submit(lambda: 1).result(10)
    second.wait_until(6)
    assert len(first) == 3


def test_slow_and_raising_ones_harm_nobody(commander: Commander[Any], errors: Any) -> None:
    gate, seen, slow = Gate(), Order(), Order()
    main = threading.get_ident()

    def raises(event: Event) -> None:
        raise ValueError("subscriber")

    def waits(event: Event) -> None:
        gate.wait()
        slow(threading.get_ident() != main)

    for subscriber in (raises, waits, seen):
        commander.subscribe(subscriber)
    for _ in range(10):
        commander.submit(lambda: 1).result(10)
    seen.wait_until(30)
    assert len(slow) == 0
    gate.open()
    slow.wait_until(30)
    assert all(slow.items)
    assert all(record.name == "agere.events" for record in errors.records)


def test_nothing_is_made_when_nobody_listens(commander: Commander[Any], monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: Any, **__: Any) -> None:
        raise AssertionError("an event was published")

    monkeypatch.setattr(type(commander.__agere_listeners__), "_publish", refuse)
    commander.subscribe(print)()
    assert commander.submit(lambda: 1).result(10) == 1


def test_their_classes_are_not_even_loaded_before() -> None:
    run_python(
        """
        import sys
        import agere, agere.commander
        agere.run(lambda: 1)
        assert "agere.commander.events" not in sys.modules
        commander = agere.Commander()
        seen = []
        leave = commander.subscribe(seen.append)
        commander.run(lambda: 1, auto_exit=True)
        leave.drain()
        assert all(isinstance(event, agere.commander.Event) for event in seen) and seen
        """
    ).check()


def test_they_outlive_a_session() -> None:
    commander: Commander[Any] = Commander()
    seen = Order()
    leave = commander.subscribe(seen)
    for _ in range(2):
        commander.run(lambda: 1, auto_exit=True)
    seen.wait_until(6)
    leave()


def test_wrong_subscriber(commander: Commander[Any]) -> None:
    with pytest.raises(TypeError):
        commander.subscribe(3)  # type: ignore[arg-type]


def test_may_use_the_commander(commander: Commander[Any]) -> None:
    order = Order()

    def subscriber(event: Event) -> None:
        if isinstance(event, NodeEnded) and "more" not in order:
            order("more")
            commander.submit(order, "from a subscriber").result(10)

    leave = commander.subscribe(subscriber)
    commander.submit(lambda: 1)
    order.wait_for("from a subscriber")
    leave()


def test_questions_and_streams() -> None:
    seen = Order()

    class Closes:
        def close(self) -> None: ...

    async def body() -> str:
        me().attach_stream(Closes())
        return await me().ask("how? ")

    with Commander(host=ScriptedHost(["well"])) as commander:
        commander.subscribe(seen)
        future = commander.submit(body)
        assert future.result(10) == "well"
    commander.__agere_listeners__.flush(5)
    kinds = [type(event) for event in seen.items]
    assert {StreamOpened, StreamClosed, QuestionAsked, QuestionAnswered} <= set(kinds)
    assert kinds.index(StreamOpened) < kinds.index(StreamClosed)
    assert kinds.index(QuestionAsked) < kinds.index(QuestionAnswered)
    asked = next(event for event in seen.items if isinstance(event, QuestionAsked))
    assert asked.node is future.node
    assert asked.question.prompt == "how? "


# -- every kind, once per run, whatever happens


@dataclasses.dataclass
class Run:
    """What the events said of one run of one node."""

    kinds: list[str]
    state: str = ""


def runs_of(events: list[Event]) -> dict[tuple[int, int], Run]:
    """By node and run; the order of the three kinds is checked on the way."""
    found: dict[tuple[int, int], Run] = {}
    for event in events:
        if isinstance(event, NodeCreated | NodeStarted | NodeEnded):
            run = found.setdefault((event.node_id, event.run), Run([]))
            run.kinds.append({NodeCreated: "created", NodeStarted: "started", NodeEnded: "ended"}[type(event)])
            if isinstance(event, NodeEnded):
                run.state = str(event.state)
    return found


def check_runs(events: list[Event]) -> dict[tuple[int, int], Run]:
    runs = runs_of(events)
    for key, run in runs.items():
        assert run.kinds in (["created", "started", "ended"], ["created", "ended"]), (key, run)
        assert run.state == "TERMINATED" or "started" in run.kinds, (key, run)
    return runs


@contextlib.contextmanager
def recorded(**options: Any) -> Iterator[tuple[Commander[Any], list[Event]]]:
    """A running commander, and all that it tells until it has exited."""
    commander: Commander[Any] = Commander(**options)
    events: list[Event] = []
    subscription = commander.subscribe(events.append)
    with commander:
        yield commander, events
    assert subscription.drain(10)
    subscription()


def test_terminated_before_the_start() -> None:
    with recorded() as (commander, events):
        gate = Gate()
        held = commander.submit(BasicJob(gate.wait), lane="one")
        queued = commander.submit(BasicJob(gate.wait), lane="one")
        queued.cancel()
        with pytest.raises(NodeTerminatedError):
            queued.result(10)
        gate.open()
        held.result(10)
    runs = check_runs(events)
    assert runs[queued.node.id, 1] == Run(["created", "ended"], "TERMINATED")
    assert runs[held.node.id, 1].state == "COMPLETED"


def test_deep_closing_and_exit() -> None:
    with recorded() as (commander, events):
        there = Order()

        async def level(number: int) -> None:
            if number:
                me().submit(level, number - 1)
            else:
                there("bottom")
            await asyncio.Event().wait()

        first, second = commander.submit(level, 200), commander.submit(level, 50)
        there.wait_for("bottom", 2)
        first.cancel()
        with pytest.raises(NodeTerminatedError):
            first.result(20)
        commander.exit()
        assert second.cancelled()
    runs = check_runs(events)
    assert len(runs) == 252
    assert {run.state for run in runs.values()} == {"TERMINATED"}


def test_a_stuck_loop_and_what_stood_in_the_mailbox(errors: Any) -> None:
    commander: Commander[Any] = Commander(grace=0.1)
    events: list[Event] = []
    subscription = commander.subscribe(events.append)
    commander.start()
    held, gate = Gate(), Gate()

    async def blocks() -> None:
        held.open()
        gate.wait()

    stuck = commander.submit(blocks)
    held.wait()
    waiting = commander.submit(lambda: 1)
    commander.exit()
    gate.open()
    assert subscription.drain(10)
    subscription()
    runs = check_runs(events)
    assert runs[stuck.node.id, 1].state == "TERMINATED"
    assert runs[waiting.node.id, 1] == Run(["created", "ended"], "TERMINATED")


def test_tails_edges_and_reruns_are_runs_of_their_own() -> None:
    with recorded() as (commander, events):
        rounds = Order()

        async def step() -> None:
            rounds("step")
            if len(rounds) == 5:
                me().commander.exit()

        first, second = BasicJob(step), BasicJob(step)
        add_edge(first, second)
        add_edge(second, first)
        commander.submit(first)
        commander.wait_for_exit(20)
    runs = check_runs(events)
    assert [key for key in runs if key[0] == first.id][-1][1] == 3
    # Each job's run has a tail; the tail is the same node again. The last successor may be ended by the exit.
    started = [key for key, run in runs.items() if "started" in run.kinds]
    assert len(started) in (10, 11)


def test_streams_are_opened_and_closed_in_pairs() -> None:
    class Closes:
        def close(self) -> None: ...

    with recorded() as (commander, events):
        stream = Closes()

        async def body() -> None:
            me().attach_stream(stream)
            me().attach_stream(stream)
            me().attach_stream(Closes())
            me().detach_stream(stream)

        ended = commander.submit(body)
        ended.result(10)
        ended.node.attach_stream(Closes())  # closed at once
    count = [sum(isinstance(event, kind) for event in events) for kind in (StreamOpened, StreamClosed)]
    assert count == [3, 3]


def test_a_failing_callback_is_told(errors: Any) -> None:
    with recorded() as (commander, events):
        job = BasicJob(lambda: 1)
        job.add_callback_functions("at_job_end", {"function": lambda: {}[1]})
        commander.submit(job).result(10)
    (failed,) = [event for event in events if isinstance(event, CallbackFailed)]
    assert failed.node is job
    assert failed.phase == "at_job_end"
    assert isinstance(failed.exception, KeyError)
    assert failed.to_dict()["exception"].startswith("KeyError: ")


def test_a_withdrawn_question_is_answered_too() -> None:
    asked = Gate()
    with recorded() as (commander, events):
        leave = commander.subscribe(lambda event: asked.open() if isinstance(event, QuestionAsked) else None)

        async def body() -> None:
            await me().ask("well? ")

        future = commander.submit(body)
        asked.wait()
        future.cancel()
    leave()
    told = [event for event in events if isinstance(event, QuestionAsked | QuestionAnswered)]
    assert [type(event) for event in told] == [QuestionAsked, QuestionAnswered]
    assert told[0].to_dict()["prompt"] == "well? "


def test_what_an_event_tells(commander: Commander[Any]) -> None:
    seen = Order()
    before = (time.time(), time.monotonic())
    subscription = commander.subscribe(seen)
    job = BasicJob(lambda: 1, name="the job")
    commander.submit(job).result(10)
    assert subscription.drain(10)
    created, started, ended = (event for event in seen.items if event.node is job)
    assert (created.node_id, created.parent_id, created.run) == (job.id, commander.id, 1)
    assert (created.name, created.kind) == ("the job", "job")
    assert before[0] <= created.at
    assert before[1] <= created.clock <= started.clock <= ended.clock <= time.monotonic()
    told = json.loads(json.dumps(ended.to_dict()))
    assert told["event"] == "NodeEnded"
    assert (told["state"], told["exception"]) == ("COMPLETED", None)


def test_one_that_is_too_slow_is_told_how_much_it_lost(
    commander: Commander[Any], monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr("agere.commander.listeners.LIMIT", 10)
    gate, held, seen = Gate(), Gate(), Order()

    def slow(event: Event) -> None:
        held.open()
        gate.wait()
        seen(event)

    subscription = commander.subscribe(slow)
    commander.submit(lambda: 1).result(10)
    held.wait()
    for _ in range(20):
        commander.submit(lambda: 1).result(10)
    gate.open()
    assert subscription.drain(10)
    lost = [event for event in seen.items if isinstance(event, EventsLost)]
    assert len(lost) == 1
    assert len(seen) - 1 + lost[0].count == 63
    assert lost[0].to_dict()["count"] == lost[0].count
    assert sum("behind" in record.getMessage() for record in caplog.records) == 1
    commander.submit(lambda: 1).result(10)
    assert subscription.drain(10)
    assert seen.items[-1].state == "COMPLETED"


def test_draining(commander: Commander[Any]) -> None:
    gate, held, seen = Gate(), Gate(), Order()

    def slow(event: Event) -> None:
        held.open()
        gate.wait()
        seen(subscription.drain())

    subscription = commander.subscribe(slow)
    assert subscription.drain(0)
    commander.submit(lambda: 1).result(10)
    held.wait()
    assert not subscription.drain(0)
    gate.open()
    assert subscription.drain(10)
    assert seen == [False] * 3


def test_in_context(commander: Commander[Any], errors: Any) -> None:
    """A context variable that is set at the start is there in the body, its worker thread, and what it submits."""
    here: contextvars.ContextVar[str] = contextvars.ContextVar("here", default="nowhere")
    seen: list[tuple[str, str]] = []

    def mark(event: Event) -> None:
        if isinstance(event, NodeStarted):
            here.set(f"{here.get()}/{event.name}")
        elif isinstance(event, NodeEnded):
            seen.append((event.name, here.get()))
            raise ValueError("harmless")

    def inner() -> str:
        return here.get()

    async def outer() -> str:
        return f"{here.get()} {await me().submit(inner)}"

    class Task(Job[str]):
        @tasker
        async def task(self) -> str:
            return await me().submit(outer)

    leave = commander.subscribe(mark, in_context=True)
    assert commander.submit(Task()).result(10) == "nowhere/Task/outer nowhere/Task/outer/inner"
    job = BasicJob(inner, callback=Callback(at_job_start={"function": lambda: here.set(here.get() + "!")}))
    assert commander.submit(job).result(10) == "nowhere/BasicJob!/inner"
    leave()
    assert here.get() == "nowhere"
    assert ("inner", "nowhere/Task/outer/inner") in seen
    assert commander.submit(inner).result(10) == "nowhere"
    assert all(record.name == "agere.events" for record in errors.records)


def test_the_program_ends_before_a_slow_subscriber() -> None:
    program = """
    import time, sys
    from agere import Commander
    commander = Commander()
    def slow(event):
        sys.stdout.write("read\\n"); sys.stdout.flush()
        if sys.argv[1] == "slow": time.sleep(60)
    commander.subscribe(slow)
    with commander:
        for _ in range(5): commander.submit(lambda: 1).result()
    """
    assert run_python(program, "quick").check().out == "read\n" * 15
    outcome = run_python(program, "slow").check()
    assert "has not read 14 events" in outcome.err
    assert outcome.seconds < 10


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
def test_a_forked_child_reads_its_own() -> None:
    outcome = run_python(
        """
        import os, threading, warnings
        from agere import Commander
        warnings.simplefilter("ignore")
        commander, held, gate = Commander(), threading.Event(), threading.Event()
        def reads(event):
            if os.getpid() == parent:
                held.set(); gate.wait()
            os.write(1, b"read\\n")
        parent = os.getpid()
        subscription = commander.subscribe(reads)
        with commander: commander.submit(int).result()
        held.wait()
        if os.fork() == 0:
            with commander: commander.submit(int).result()
            assert subscription.drain(10)
            os._exit(0)
        os.wait()
        os.write(1, b"--\\n")
        gate.set()
        """
    ).check()
    assert outcome.out == "read\n" * 3 + "--\n" + "read\n" * 3


class Tree:
    """A random tree of bodies, and what befalls them."""

    def __init__(self, plan: list[Any]) -> None:
        self.accepted: set[tuple[int, int]] = set()
        self.plan = plan

    def submit(self, parent: TaskNode[Any], plan: list[Any]) -> None:
        for kind, fate, below in plan:
            node = self.make(kind, fate, below)
            future = parent.submit(node, lane="narrow" if fate == "laned" else None)
            if fate == "cancelled":
                future.cancel()
            self.accepted.add((node.id, 1))

    def make(self, kind: str, fate: str, below: list[Any]) -> TaskNode[Any]:
        def plain() -> None:
            self.submit(me(), below)
            if fate == "fails":
                raise ValueError("planned")

        async def coro() -> None:
            plain()
            if fate == "waits":
                await asyncio.Event().wait()
            if fate == "closes":
                me().close_task_node()
            if fate == "alone":
                me().terminate_task_node()

        if kind == "job":
            return BasicJob(coro)
        if kind == "def job":
            return BasicJob(plain)
        return make_handler(HandlerSpec(plain if kind == "def" else coro, None), (), {})


fates = st.sampled_from(["completes", "fails", "cancelled", "waits", "closes", "alone", "laned"])
kinds = st.sampled_from(["job", "def job", "async", "def"])
plans = st.recursive(
    st.lists(st.tuples(kinds, fates, st.just([])), max_size=3),
    lambda below: st.lists(st.tuples(kinds, fates, below), max_size=3),
    max_leaves=12,
)


@settings(max_examples=40)
@given(plan=plans)
def test_each_accepted_node_is_told_of_once_per_run(plan: list[Any]) -> None:
    logging.disable(logging.CRITICAL)
    try:
        with recorded(lanes={"narrow": 1}) as (commander, events):
            tree = Tree(plan)
            tree.submit(commander, plan)
            commander.submit(asyncio.sleep, 0).result(10)
            commander.exit()
    finally:
        logging.disable(logging.NOTSET)
    runs = check_runs(events)
    assert tree.accepted <= set(runs)
    parents = {(event.node_id, event.parent_id) for event in events if isinstance(event, NodeCreated)}
    known = {commander.id, *(node for node, _ in runs)}
    assert all(parent in known for _, parent in parents)
