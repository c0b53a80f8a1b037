"""Pictures of the task tree."""

from __future__ import annotations

import asyncio
import dataclasses
import json
import pickle
from typing import Any

import pytest

from agere.commander import BasicJob, Commander, TaskNode, TreeSnapshot, current_node
from tests.support.order import Gate, Order


def me() -> TaskNode[Any]:
    node = current_node()
    assert node is not None
    return node


@pytest.fixture
def grown(commander: Commander[Any]) -> Commander[Any]:
    """A commander with a job, that has two functions below it, and a queued job."""
    ready = Order()

    async def leaf() -> None:
        ready("leaf")
        await asyncio.Event().wait()

    async def body() -> None:
        for _ in range(2):
            me().submit(leaf)

    class Holds(BasicJob[Any]): ...

    commander.submit(Holds(body, name="root job"))
    ready.wait_for("leaf", 2)
    return commander


def test_what_it_shows(grown: Commander[Any]) -> None:
    picture = grown.tree()
    assert isinstance(picture, TreeSnapshot)
    assert (picture.kind, picture.id, picture.name, picture.state) == ("commander", grown.id, grown.name, "ACTIVE")
    (job,) = picture.children
    assert (job.kind, job.name, job.state) == ("job", "root job", "ACTIVE")
    assert job.age is not None
    assert job.age >= 0
    names = [node.name for node in picture]
    assert names.count("leaf") == 2
    assert len(picture) == len(names) == 5  # the commander, the job, its tail, two leaves
    assert [node.kind for node in picture] == ["commander", "job", "handler", "handler", "handler"]


def test_prints_as_text(grown: Commander[Any]) -> None:
    text = str(grown.tree())
    lines = text.splitlines()
    assert len(lines) == 5
    assert lines[0].startswith("commander ")
    assert all(line.startswith("  ") for line in lines[1:])
    assert "job root job #" in lines[1]
    assert "ACTIVE" in lines[1]
    assert " s" in lines[1]
    assert repr(grown.tree()).startswith("commander ")


def test_is_immutable_and_plain_data(grown: Commander[Any]) -> None:
    picture = grown.tree()
    with pytest.raises(dataclasses.FrozenInstanceError):
        picture.name = "other"  # type: ignore[misc]
    assert isinstance(picture.children, tuple)
    assert pickle.loads(pickle.dumps(picture)) == picture
    data = json.loads(json.dumps(picture.to_dict()))
    assert data["kind"] == "commander"
    assert data["children"][0]["name"] == "root job"
    grown.exit()
    assert len(picture) == 5


def test_from_the_loop_a_worker_and_after_exit(grown: Commander[Any]) -> None:
    async def on_loop() -> int:
        return len(grown.tree())

    assert grown.submit(on_loop).result(10) == 6
    assert grown.submit(lambda: len(grown.tree())).result(10) == 6
    grown.exit()
    assert len(grown.tree()) == 1
    assert grown.tree().state == "COMPLETED"
    assert len(Commander().tree()) == 1


def test_while_a_body_blocks_the_loop() -> None:
    held, gate = Gate(), Gate()

    async def blocks() -> None:
        held.open()
        gate.wait()

    with Commander(stall=0.05) as commander:
        commander.submit(blocks)
        held.wait()
        assert [node.name for node in commander.tree()][1:] == ["blocks"]
        gate.open()


def test_deep_and_wide_ones_stay_readable(commander: Commander[Any]) -> None:
    bottom = Order()

    async def level(number: int) -> None:
        if number:
            me().submit(level, number - 1)
        else:
            for _ in range(2000):
                me().submit(asyncio.Event().wait)
            bottom("there")
        await asyncio.Event().wait()

    commander.submit(level, 3000)
    bottom.wait_for("there")
    picture = commander.tree()
    assert len(picture) == 5002
    text = str(picture)
    assert len(text.splitlines()) < 1100
    assert "more" in text.splitlines()[-1]
    assert sum(1 for _ in picture) == 5002


def test_arguments_and_data_are_not_shown(commander: Commander[Any]) -> None:
    gate = Gate()

    async def with_key(key: str) -> None:
        me().data = key
        await gate

    future = commander.submit(with_key, "sk-secret")
    while not future.running():
        pass
    assert "sk-secret" not in str(commander.tree())
    assert "sk-secret" not in str(commander.tree().to_dict())
    assert "sk-secret" not in repr(future)
    assert "sk-secret" not in repr(future.node)
    gate.open()
