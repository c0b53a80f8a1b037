"""Bounded looks at the live tree."""

from __future__ import annotations

import asyncio
import threading
from typing import Any

import pytest

from agere.commander import BasicJob, Commander, TaskNode, current_node
from agere.commander.glance import MAX_DEPTH, Glance, Line, glance, glance_of
from tests.support.order import Gate, Order


def me() -> TaskNode[Any]:
    node = current_node()
    assert node is not None
    return node


async def wait() -> None:
    await asyncio.Event().wait()


def shown(seen: Glance) -> list[tuple[int, str, int]]:
    return [(line.depth, line.name, line.more) for line in seen.lines]


def test_all_of_a_small_tree(commander: Commander[Any]) -> None:
    there = Order()

    async def body(count: int) -> None:
        for _ in range(count):
            me().submit(wait)
        there("there")
        await wait()

    commander.submit(body, 2)
    commander.submit(body, 0)
    commander.submit(BasicJob(wait), lane="one")
    commander.submit(BasicJob(wait, name="queued"), lane="one")
    there.wait_for("there", 2)
    while len(commander.tree()) < 8:
        pass
    seen = glance(commander, 30)
    assert shown(seen)[1:] == [
        (1, "body", 0),
        (2, "wait", 0),
        (2, "wait", 0),
        (1, "body", 0),
        (1, "BasicJob", 0),
        (2, "wait", 0),
        (1, "queued", 0),
    ]
    assert [line.guide for line in seen.lines] == ["", "├─ ", "│  ├─ ", "│  └─ ", "├─ ", "├─ ", "│  └─ ", "└─ "]
    assert (seen.pending, seen.active, seen.at_least) == (1, 6, False)
    assert [line.state for line in seen.lines][-1] == "PENDING"
    assert seen.lines[-1].age is None
    assert seen.lines[1].age is not None
    picture = glance_of(commander.tree(), 30)
    assert shown(picture) == shown(seen)
    assert (picture.pending, picture.active) == (1, 6)


@pytest.mark.parametrize("lines", [1, 2, 3, 5, 10, 30, 200])
def test_bounded_lines_shallow_ones_first(commander: Commander[Any], lines: int) -> None:
    there = Order()

    async def body(count: int) -> None:
        for _ in range(count):
            me().submit(wait)
        there("there")
        await wait()

    for count in (300, 3, 3):
        commander.submit(body, count)
    there.wait_for("there", 3)
    for seen in (glance(commander, lines), glance_of(commander.tree(), lines)):
        assert 1 <= len(seen.lines) <= lines
        assert seen.active == 309
        # Every node stands somewhere: on its line, or in a count of those directly below a node that is shown.
        tops = [line for line in seen.lines if line.depth == 1]
        assert sum(line.more if not line.kind else 1 for line in tops) + (seen.lines[0].more) == 3
        for index, line in enumerate(seen.lines):
            if line.kind and line.depth == 1:
                below = []
                for other in seen.lines[index + 1 :]:
                    if other.depth <= 1:
                        break
                    below.append(other)
                assert sum(1 if one.kind else one.more for one in below) + line.more in (300, 3)


def test_the_oldest_of_many(commander: Commander[Any]) -> None:
    for number in range(100):
        commander.submit(BasicJob(wait, name=f"job {number}"), lane="one")
    while len(commander.tree()) < 102:
        pass
    seen = glance(commander, 12)
    assert [line.name for line in seen.lines if line.depth == 1] == [*(f"job {n}" for n in range(4)), ""]
    assert seen.lines[-1] == Line("└─ ", 1, more=96)
    assert seen.pending == 99


def test_deep_ones(commander: Commander[Any]) -> None:
    bottom = Gate()

    async def level(number: int) -> None:
        if number:
            me().submit(level, number - 1)
        else:
            bottom.open()
        await wait()

    commander.submit(level, 3000)
    bottom.wait()
    seen = glance(commander, 200)
    assert seen.active == 3001
    assert max(line.depth for line in seen.lines) == MAX_DEPTH
    assert seen.lines[-1].more == 1


def test_while_the_loop_stands_still() -> None:
    held, gate = Gate(), Gate()

    async def blocks() -> None:
        held.open()
        gate.wait()

    with Commander(stall=30) as commander:
        commander.submit(blocks)
        held.wait()
        assert [line.name for line in glance(commander, 10).lines][1:] == ["blocks"]
        gate.open()


def test_while_everything_changes(commander: Commander[Any]) -> None:
    """Looks at a tree in full change neither fail nor go on for ever, and see most of it."""
    over = threading.Event()

    async def churn() -> None:
        while not over.is_set():
            await asyncio.gather(*(me().submit(asyncio.sleep, 0) for _ in range(50)))

    for _ in range(20):
        commander.submit(wait)
    future = commander.submit(churn)
    while not future.running():
        pass
    for _ in range(300):
        seen = glance(commander, 30)
        assert 1 <= len(seen.lines) <= 30
        assert seen.lines[0].kind == "commander"
    over.set()
    future.result(10)


def test_a_queued_rerun_has_no_age(commander: Commander[Any]) -> None:
    job = BasicJob(lambda: 1)
    commander.submit(job).result(10)
    gate = Gate()
    held = commander.submit(BasicJob(gate.wait), lane="one")
    again = commander.submit(job, lane="one")
    commander.submit(asyncio.sleep, 0).result(10)
    (line,) = [line for line in glance(commander, 10).lines if line.id == job.id]
    assert (line.state, line.age) == ("PENDING", None)
    (node,) = [node for node in commander.tree() if node.id == job.id]
    assert node.age is None
    gate.open()
    held.result(10)
    again.result(10)
