"""The main thread's host while it waits, and while what was interrupted unwinds; and in whose context calls run."""

from __future__ import annotations

import asyncio
import contextvars
import logging
import threading

import pytest

from agere import Commander, current_node
from agere.commander.host import MainThreadHost
from agere.commander.questions import Question
from agere.commander.waiting import Pump, block_until
from tests.commander.conftest import Errors

WHO: contextvars.ContextVar[str] = contextvars.ContextVar("who", default="nobody")


class InterruptedHost(MainThreadHost):
    """A person who presses Ctrl-C at each prompt."""

    def __init__(self) -> None:
        super().__init__()
        self.read_prompts: list[str] = []

    def read(self, prompt: str) -> str:
        self.read_prompts.append(prompt)
        raise KeyboardInterrupt


def ask() -> str:
    node = current_node()
    assert node is not None
    return str(node.ask("who? "))


@pytest.mark.parametrize("way", ["result", "run", "with"])
def test_after_ctrl_c_at_a_prompt_nothing_is_asked_while_the_work_unwinds(way: str) -> None:
    host = InterruptedHost()
    commander: Commander[None] = Commander(host=host)

    def wait_in_a_block() -> None:
        with commander:
            commander.submit(ask)

    def wait_for_the_result() -> None:
        try:
            commander.start().submit(ask).result()
        finally:
            commander.exit()

    ways = {"result": wait_for_the_result, "run": lambda: commander.run(ask), "with": wait_in_a_block}
    with pytest.raises(KeyboardInterrupt):
        ways[way]()
    assert host.read_prompts == ["who? "]
    assert not host.answers()


def test_what_was_delivered_before_the_outcome_is_shown_before_it() -> None:
    shown: list[int] = []

    def tell() -> None:
        node = current_node()
        assert node is not None
        for number in range(100):
            node.deliver(shown.append, number)

    with Commander[None](host=MainThreadHost()) as commander:
        for _ in range(20):
            commander.submit(tell).result()
            assert shown == list(range(100))
            shown.clear()
        future = commander.submit(tell)
        ended = threading.Event()
        future.add_done_callback(lambda _: ended.set())
        assert ended.wait(20)  # nobody pumps meanwhile
        assert shown == []
        future.result()
        assert shown == list(range(100))
        shown.clear()
        commander.submit(tell)
    assert shown == list(range(100))


def test_a_wait_does_not_end_before_what_was_posted_by_then() -> None:
    host = MainThreadHost()
    shown: list[str] = []
    looks = 0

    def done() -> bool:
        nonlocal looks
        looks += 1
        if looks == 2:  # after the host's work: nothing else would run it
            host.post(lambda: shown.append("last words"))
            host.post(lambda: host.post(lambda: shown.append("afterwards")))
        return looks == 2

    assert block_until(done, [], 20, host)
    assert shown == ["last words"]
    host.work()
    assert shown == ["last words", "afterwards"]


def test_deliveries_are_made_while_an_exit_waits() -> None:
    delivered: list[str] = []
    began = threading.Event()

    async def last_words() -> None:
        node = current_node()
        assert node is not None
        node.add_callback_functions(
            "at_terminate", {"function": delivered.append, "params": {"args": ["gone"]}, "on_host": True}
        )
        began.set()
        await asyncio.sleep(1000)

    commander: Commander[None] = Commander(host=MainThreadHost()).start()
    commander.submit(last_words)
    assert began.wait(20)
    commander.exit()
    assert delivered == ["gone"]


def test_a_host_that_knows_nothing_of_unwinding_serves_as_ever() -> None:
    class Own(MainThreadHost):
        def pump(self) -> Pump | None:
            return None

        def ask(self, question: Question) -> None:
            question.answer("me")

    with Commander[None](host=Own()) as commander:
        assert commander.submit(ask).result() == "me"


def test_a_callback_on_the_host_runs_in_the_context_of_the_submitter() -> None:
    seen: list[str] = []

    def body() -> None:
        node = current_node()
        assert node is not None
        callback = {"function": lambda: seen.append(WHO.get()), "on_host": True}
        node.add_callback_functions("at_handler_end", callback)

    with Commander[None]() as commander:
        WHO.set("me")
        future = commander.submit(body)
        WHO.set("nobody")
        future.result()
    assert seen == ["me"]


def test_log_records_about_a_node_are_written_in_its_context(errors: Errors) -> None:
    seen: list[tuple[str, str]] = []

    class Seeing(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            seen.append((record.msg, WHO.get()))

    async def blocks() -> None:
        threading.Event().wait(0.3)

    def fails() -> None:
        raise LookupError

    handler = Seeing()
    logging.getLogger("agere.node").addHandler(handler)
    try:
        with Commander[None](stall=0.05) as commander:
            WHO.set("me")
            futures = [commander.submit(fails), commander.submit(blocks)]
            WHO.set("nobody")
            for future in futures:
                future.exception()
    finally:
        logging.getLogger("agere.node").removeHandler(handler)
    told = {message.split(" ")[1]: who for message, who in seen}
    assert told == {"failed:": "me", "has": "me"}
    assert len(errors) == 1
