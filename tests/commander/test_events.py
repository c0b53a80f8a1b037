"""Lifecycle events for subscribers."""

from __future__ import annotations

import asyncio
import dataclasses
import threading
from typing import Any

import pytest

from agere.commander import (
    Commander,
    Event,
    NodeCreated,
    NodeEnded,
    NodeStarted,
    QuestionAnswered,
    QuestionAsked,
    StreamClosed,
    StreamOpened,
    TaskNode,
    current_node,
)
from agere.hosts import ScriptedHost
from tests.support.order import Gate, Order


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

    monkeypatch.setattr(type(commander.__agere_listeners__), "publish", refuse)
    commander.subscribe(print)()
    assert commander.submit(lambda: 1).result(10) == 1


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
