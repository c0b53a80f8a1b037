"""Log records that tell which node has logged them."""

from __future__ import annotations

import asyncio
import io
import logging
from collections.abc import Iterator
from typing import Any

import pytest

import agere
from agere import Commander, NodeFilter, current_node
from agere.commander import BasicJob
from agere.hosts import ScriptedHost

FORMAT = "%(agere_node_id)s|%(agere_node_name)s|%(agere_node_path)s|%(message)s"


@pytest.fixture
def written() -> Iterator[io.StringIO]:
    """What a handler with the filter writes."""
    out = io.StringIO()
    handler = logging.StreamHandler(out)
    handler.setFormatter(logging.Formatter(FORMAT))
    handler.addFilter(NodeFilter())
    root = logging.getLogger()
    before = root.level
    root.addHandler(handler)
    root.setLevel(logging.INFO)
    yield out
    root.removeHandler(handler)
    root.setLevel(before)


log = logging.getLogger("somebody")


def test_on_the_loop_in_workers_in_callbacks_and_outside(written: io.StringIO) -> None:
    def plain() -> None:
        log.info("in a worker")

    async def body() -> None:
        log.info("on the loop")
        await asyncio.gather(asyncio.to_thread(log.info, "in a thread"), inner())
        await current_node().submit(plain)

    async def inner() -> None:
        log.info("in a task")

    with Commander(name="boss", host=ScriptedHost([])) as commander:
        log.info("outside")
        job = BasicJob(body, name="the job")
        job.add_callback_functions("at_job_end", {"function": lambda: log.info("in a callback")})
        commander.submit(job).result(10)
        (tail,) = {line.split("|")[0] for line in written.getvalue().splitlines() if line.endswith("on the loop")}
        worker = next(line.split("|")[0] for line in written.getvalue().splitlines() if line.endswith("worker"))
    way = f"boss#{commander.id} > the job#{job.id}"
    assert sorted(written.getvalue().splitlines()) == sorted(
        [
            "-|-|-|outside",
            f"{tail}|body|{way} > body#{tail}|on the loop",
            f"{tail}|body|{way} > body#{tail}|in a thread",
            f"{tail}|body|{way} > body#{tail}|in a task",
            f"{worker}|plain|{way} > body#{tail} > plain#{worker}|in a worker",
            f"{job.id}|the job|{way}|in a callback",
        ]
    )


def test_what_agere_tells_of_a_node_is_about_that_node(written: io.StringIO) -> None:
    def fails() -> None:
        raise ValueError("no")

    with Commander(name="boss") as commander:
        future = commander.submit(fails)
        assert isinstance(future.exception(10), ValueError)
    label = f"fails#{future.node.id}"
    first = written.getvalue().splitlines()[0]
    assert first == f"{future.node.id}|fails|boss#{commander.id} > {label}|{label} failed: ValueError: no"


def test_a_handler_without_the_filter_takes_the_defaults() -> None:
    record = logging.makeLogRecord({"msg": "bare"})
    assert logging.Formatter(FORMAT, defaults=NodeFilter.DEFAULTS).format(record) == "-|-|-|bare"


def test_it_lets_pass_what_a_filter_of_that_name_does() -> None:
    named = NodeFilter("one")
    assert named.filter(logging.makeLogRecord({"name": "one.two"}))
    assert not named.filter(logging.makeLogRecord({"name": "two"}))
    other: Any = logging.makeLogRecord({"name": "one", "agere_node_id": 3})
    assert named.filter(other)
    assert (other.agere_node_id, other.agere_node_name) == (3, "-")


def test_a_deep_path_stays_short(written: io.StringIO) -> None:
    async def level(number: int) -> None:
        if number:
            await current_node().submit(level, number - 1)
        else:
            log.info("bottom")

    agere.run(level, 500)
    line = written.getvalue().splitlines()[0]
    assert "more ..." in line
    assert len(line) < 1000
