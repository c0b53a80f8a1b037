"""``commander.watch()``: its life, its costs, and that nothing of it reaches the program."""

from __future__ import annotations

import asyncio
import gc
import io
import logging
import sys
import threading
import time
import weakref
from typing import Any

import pytest

from agere.commander import BasicJob, Commander, TaskNode, current_node
from agere.watch import Watch
from agere.watch.lines import LinesView
from tests.support.order import Gate, Order, in_thread
from tests.support.subprocesses import run_python


def me() -> TaskNode[Any]:
    node = current_node()
    assert node is not None
    return node


class Written:
    """What was written to stderr, which is no terminal."""

    def __init__(self, capsys: pytest.CaptureFixture[str]) -> None:
        self._capsys = capsys
        self._text = ""

    def getvalue(self) -> str:
        self._text += self._capsys.readouterr().err
        return self._text


@pytest.fixture
def err(capsys: pytest.CaptureFixture[str]) -> Written:
    return Written(capsys)


def ended(watch: Watch) -> None:
    watch._thread.join(10)
    assert not watch.running


def test_plain_lines_when_piped(err: Written) -> None:
    commander: Commander[Any] = Commander(name="boss")

    def fails() -> None:
        raise ValueError("no\nnewline")

    async def body() -> None:
        await me().submit(asyncio.sleep, 0)
        with pytest.raises(ValueError):
            await me().submit(fails)

    logging.disable(logging.CRITICAL)
    with commander.watch():
        commander.run(BasicJob(body, name="the job"), auto_exit=True)
    logging.disable(logging.NOTSET)
    lines = [line.split(" s ", 1)[-1] for line in err.getvalue().splitlines()]
    said = [" ".join(word for word in line.split() if not word.startswith("#")) for line in lines]
    assert said[0] == "job the job started"
    assert said[1:4] == ["handler body started", "handler sleep started", "handler sleep COMPLETED after 0.0 s"]
    assert any(
        line.startswith("handler fails EXCEPTION after 0.") and line.endswith("ValueError: no�newline") for line in said
    )
    assert lines[1].startswith("    handler body")  # two levels down
    assert said[-1].startswith("boss has exited after ")
    assert said[-1].endswith("3 completed, 1 failed")


def test_a_bounded_number_of_lines(err: Written) -> None:
    commander: Commander[Any] = Commander()

    async def body() -> None:
        for _ in range(5000):
            me().submit(asyncio.sleep, 0)

    with commander.watch():
        commander.run(body, auto_exit=True)
    lines = err.getvalue().splitlines()
    assert len(lines) < 400
    assert ": 5,001 completed (" in lines[-1]
    assert lines[-1].endswith(" lines left out)")


def test_it_ends_with_the_commander(err: Written) -> None:
    commander: Commander[Any] = Commander()
    watch = commander.watch()
    assert watch.running
    commander.run(lambda: 1, auto_exit=True)
    ended(watch)
    assert err.getvalue().count("has exited") == 1
    commander.run(lambda: 1, auto_exit=True)
    assert err.getvalue().count("has exited") == 1
    assert not commander.__agere_listeners__.active


def test_one_that_runs_already(err: Written) -> None:
    with Commander() as commander:
        gate = Gate()
        future = commander.submit(BasicJob(gate.wait, name="early"))
        while not future.running():
            pass
        watch = commander.watch()
        gate.open()
        future.result(10)
    ended(watch)
    assert "early" in err.getvalue()


def test_a_block_shows_every_session(err: Written) -> None:
    commander: Commander[Any] = Commander()
    with commander.watch() as watch:
        for number in range(2):
            commander.run([BasicJob(int) for _ in range(number + 1)], auto_exit=True)
    assert not watch.running
    said = [line.split(": ")[1] for line in err.getvalue().splitlines() if "has exited" in line]
    assert said == ["2 completed", "4 completed"]
    assert not commander.__agere_listeners__.active


def test_stopping_from_anywhere_and_again(err: Written) -> None:
    with Commander() as commander:
        watch = commander.watch()
        in_thread(watch.stop)
        assert not watch.running
        watch.stop()
        other = commander.watch()

        async def on_loop() -> None:
            other.stop()

        commander.submit(on_loop).result(10)
        assert not other.running
        assert commander.submit(lambda: 3).result(10) == 3
        with commander.watch().paused():
            pass


def test_one_that_never_starts_is_not_held(err: Written) -> None:
    commander: Commander[Any] | None = Commander()
    assert commander is not None
    watch = commander.watch()
    gone = weakref.ref(commander)
    commander = None
    gc.collect()
    ended(watch)
    assert gone() is None


def test_a_dropped_commander_closes_although_it_is_watched(err: Written) -> None:
    commander: Commander[Any] | None = Commander().start()
    assert commander is not None
    commander.submit(lambda: 1).result(10)
    watch = commander.watch()
    session = commander._session_
    assert session is not None
    commander = None
    end = time.monotonic() + 10
    while not session.closed and time.monotonic() < end:
        gc.collect()
        time.sleep(0.01)
    assert session.closed
    ended(watch)


@pytest.mark.parametrize("broken", ["begin", "show", "end"])
def test_a_view_that_fails_harms_nobody(
    err: Written, broken: str, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def fails(*_: Any) -> None:
        raise RuntimeError("broken view")

    monkeypatch.setattr(LinesView, broken, fails)
    with Commander() as commander:
        watch = commander.watch()
        if broken == "end":
            watch.stop()
        ended(watch)
        assert commander.submit(lambda: 7).result(10) == 7
    assert [record.name for record in caplog.records] == ["agere.watch"]
    assert not commander.__agere_listeners__.active


def test_a_closed_stderr(monkeypatch: pytest.MonkeyPatch) -> None:
    class Closed(io.StringIO):
        def write(self, text: str) -> int:
            raise BrokenPipeError

    for stream in (Closed(), None):
        monkeypatch.setattr(sys, "stderr", stream)
        commander: Commander[Any] = Commander()
        with commander.watch() as watch:
            assert commander.run(lambda: me().commander.exit(7)) == 7
        ended(watch)


def test_wrong_arguments() -> None:
    commander: Commander[Any] = Commander()
    with pytest.raises(ValueError, match="style is one of auto, terminal, notebook, lines"):
        commander.watch("fancy")  # type: ignore[arg-type]
    for lines in (0, -1, 1.5, True):
        with pytest.raises(ValueError, match="lines is a whole number"):
            commander.watch(lines=lines)  # type: ignore[arg-type]
    assert not commander.__agere_listeners__.active


def test_a_huge_tree_costs_a_bounded_share(err: Written) -> None:
    """The views come seldom enough, and the loop answers meanwhile."""
    there = Order()

    async def wide() -> None:
        for _ in range(50_000):
            me().submit(asyncio.Event().wait)
        there("wide")
        await asyncio.Event().wait()

    commander: Commander[Any] = Commander(stall=60).start()
    try:
        commander.submit(wide)
        there.wait_for("wide")
        commander.submit(asyncio.sleep, 0).result(20)
        watch = commander.watch()
        clock = time.pthread_getcpuclockid(watch._thread.ident or 0)
        began, used, answers = time.monotonic(), time.clock_gettime(clock), 0
        while time.monotonic() - began < 2.0:
            commander.submit(asyncio.sleep, 0).result(20)
            answers += 1
            time.sleep(0.01)
        share = (time.clock_gettime(clock) - used) / (time.monotonic() - began)
        watch.stop()
    finally:
        commander.exit()
    assert share < 0.25, share
    assert answers > 2, answers


def test_it_does_not_keep_the_process_alive() -> None:
    outcome = run_python(
        """
        import agere, sys
        never = agere.Commander(); never.watch()
        runs = agere.Commander().start(); runs.watch()
        import threading
        runs.submit(threading.Event().wait)
        print("end of main")
        """
    ).check(out="end of main\n")
    assert outcome.seconds < 10
    assert "Fatal" not in outcome.err
    assert "has exited" in outcome.err


def test_without_rich_on_a_pipe_it_just_works() -> None:
    outcome = run_python(
        """
        import sys
        sys.modules["rich"] = None
        import agere
        c = agere.Commander()
        with c.watch(): c.run(lambda: 1, auto_exit=True)
        """
    ).check(out="")
    assert "1 completed" in outcome.err


def test_nothing_is_imported_for_it_before() -> None:
    run_python(
        """
        import sys, agere
        agere.Commander(); agere.run(lambda: 1)
        loaded = [name for name in sys.modules if name.startswith(("agere.watch", "agere.rendering", "rich"))]
        assert not loaded, loaded
        """
    ).check()


def test_no_thread_to_be_had(monkeypatch: pytest.MonkeyPatch, err: Written) -> None:
    from agere.errors import WorkerLimitError

    def refuse(self: threading.Thread) -> None:
        raise RuntimeError("can't start new thread")

    commander: Commander[Any] = Commander()
    with monkeypatch.context() as patched:
        patched.setattr(threading.Thread, "start", refuse)
        with pytest.raises(WorkerLimitError, match="refused the watch's thread"):
            commander.watch()
    assert not commander.__agere_listeners__.active
