"""Blocking streams in plain ``def`` bodies: they end when their node does, at once."""

from __future__ import annotations

import threading
from asyncio import CancelledError
from collections.abc import Iterator
from time import monotonic
from typing import Any

import pytest

from agere import Commander, current_node
from agere.commander import NodeTerminatedError
from agere.testing import ScriptedLLM, cut, silent, text
from agere.utils.stoppable import stoppable


def chunks(client: Any) -> Any:
    return client.chat.completions.create(model="m", messages=[{"role": "user", "content": "q"}], stream=True)


def speak(client: Any) -> str:
    said = []
    for chunk in stoppable(chunks(client)):
        word = chunk.choices[0].delta.content
        if word:
            current_node().emit(word)  # type: ignore[union-attr]
            said.append(word)
    return "".join(said)


class Endless:
    """Blocks in ``next`` until it is told to go on, as a source without a socket does."""

    def __init__(self) -> None:
        self.waiting = threading.Event()
        self.go_on = threading.Event()
        self.closed = 0

    def __iter__(self) -> Iterator[int]:
        return self

    def __next__(self) -> int:
        self.waiting.set()
        assert self.go_on.wait(10)
        return 1

    def close(self) -> None:
        self.closed += 1


def test_a_stream_that_ends_by_itself() -> None:
    with ScriptedLLM([text("a", "b"), text("c")]) as server, Commander[Any]() as commander:
        client = server.client()
        assert commander.submit(speak, client).result(10) == "ab"
        assert commander.submit(speak, client).result(10) == "c"


@pytest.mark.parametrize("end", ["cancel", "break", "exit"])
def test_a_read_that_waits_for_a_silent_server_ends_at_once(end: str) -> None:
    with ScriptedLLM([silent("a")]) as server, Commander[Any](grace=8) as commander:
        future = commander.submit(speak, server.client())
        words = future.stream()
        assert next(words) == "a"
        began = monotonic()
        {"cancel": future.cancel, "break": words.close, "exit": commander.exit}[end]()
        with pytest.raises(NodeTerminatedError):
            future.result(10)
        assert server.requests[0].wait_disconnected()
        assert monotonic() - began < 4


def test_errors_of_the_stream_come_through() -> None:
    with ScriptedLLM([cut("a")]) as server, Commander[Any](logger=_quiet()) as commander:
        error = commander.submit(speak, server.client()).exception(10)
    assert error is not None
    assert not isinstance(error, CancelledError)


def test_a_body_that_stops_reading_hangs_up_at_its_end() -> None:
    def first(client: Any) -> Any:
        return next(stoppable(chunks(client))).model

    with ScriptedLLM([silent("a")]) as server, Commander[Any]() as commander:
        assert commander.submit(first, server.client()).result(10) == "m"
        assert server.requests[0].wait_disconnected()


def test_without_a_node_it_iterates_and_can_be_closed() -> None:
    assert list(stoppable([1, 2, 3])) == [1, 2, 3]
    with stoppable(iter([1, 2])) as numbers:
        assert next(numbers) == 1
    with pytest.raises(CancelledError):
        next(numbers)
    ended = stoppable(iter([1]))
    assert list(ended) == [1]
    assert list(ended) == []
    ended.close()


def test_a_source_without_a_socket_stops_at_its_next_item_and_is_closed_once() -> None:
    source = Endless()

    def read() -> None:
        for _ in stoppable(source):
            pass

    with Commander[Any]() as commander:
        future = commander.submit(read)
        assert source.waiting.wait(10)
        future.cancel()
        source.go_on.set()
        with pytest.raises(NodeTerminatedError):
            future.result(10)
    assert source.closed == 1


def _quiet() -> Any:
    import logging

    logger = logging.getLogger("tests.quiet")
    logger.setLevel(logging.CRITICAL + 1)
    return logger
