"""``commander.watch()`` on a real terminal, read as a person sees it."""

from __future__ import annotations

import os
import signal
import sys
from pathlib import Path

import pytest

from tests.watch.screen import Program, Screen

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="needs a pseudo-terminal")

COMMON = r"""
import asyncio, logging, os, sys, threading, time
import agere
from agere import *

def told(name):  # a step that the test allows
    path = os.environ["STEPS"] + "/" + name
    while not os.path.exists(path): time.sleep(0.01)

async def step(name):
    path = os.environ["STEPS"] + "/" + name
    while not os.path.exists(path): await asyncio.sleep(0.01)

async def forever():
    await asyncio.Event().wait()
"""


class Watched(Program):
    """A program that watches a commander; the test lets it go on step by step."""

    def __init__(self, source: str, steps: Path, screen: Screen | None = None, stdout: Path | None = None) -> None:
        import textwrap

        self._steps = steps
        super().__init__(COMMON + textwrap.dedent(source), screen, stdout, {"STEPS": str(steps)})

    def allow(self, name: str) -> None:
        (self._steps / name).touch()


def view_is_away(screen: Screen) -> bool:
    return "active" not in screen.text


def test_the_live_tree(tmp_path: Path) -> None:
    program = """
    class Research(Job):
        @tasker
        async def task(self):
            self.submit(forever)
            await step("print")
            print("said by a body")
            await step("end")
            self.exit_commander()
            await forever()
    c = Commander(name="boss")
    watch = c.watch()
    print("before")
    c.run([Research(), BasicJob(forever, name="queued")])
    watch.stop()
    print("after", sys.stdout is sys.__stdout__, watch.running)
    """
    with Watched(program, tmp_path) as run:
        modes = run.modes
        run.until("└─ job queued")
        assert run.shown.lines[:4] == [
            "before",
            run.shown.lines[1],
            "├─ job Research #2 ACTIVE " + run.shown.lines[2].split("ACTIVE ")[1],
            run.shown.lines[3],
        ]
        assert "boss " in run.shown.lines[1]
        assert "2 active, 1 pending" in run.shown.lines[1]
        assert run.shown.lines[3].startswith("│  └─ handler forever #")
        assert run.shown.lines[4].endswith("PENDING")
        assert not run.shown.screen.cursor.hidden
        first = run.shown.lines[2]
        run.until(lambda screen: "queued" in screen.text and screen.lines[2] != first)  # it gets older
        run.allow("print")
        run.until("said by a body")
        run.until(lambda screen: len(screen.lines) > 5)
        assert run.shown.lines[:2] == ["before", "said by a body"]
        run.allow("end")
        assert run.end() == 0
        assert run.shown.lines[:2] == ["before", "said by a body"]
        assert run.shown.lines[2].startswith("boss has exited after ")
        assert run.shown.lines[2].endswith(": 3 terminated")
        assert run.shown.lines[3:] == ["after True False"]
        assert run.modes_now == modes


def test_streamed_text_stays_on_its_line(tmp_path: Path) -> None:
    program = """
    async def talks():
        for number in range(12):
            await step(f"word {number}")
            print(f"word{number}", end=" ", flush=True)
        await step("end")
        print()
    c = Commander()
    with c.watch(): c.run(talks, auto_exit=True)
    """
    with Watched(program, tmp_path, Screen(10, 40)) as run:
        run.until("talks")
        for number in range(12):
            run.allow(f"word {number}")
            run.until(lambda screen, word=f"word{number}": word in "".join(screen.lines[:2]))
        run.until("talks")
        assert run.shown.lines[:2] == [
            "word0 word1 word2 word3 word4 word5 word",
            "6 word7 word8 word9 word10 word11",
        ]
        assert "active" in run.shown.lines[2]
        run.allow("end")
        assert run.end() == 0
        assert run.shown.lines[1] == "6 word7 word8 word9 word10 word11"
        assert "has exited" in run.shown.lines[2]


def test_log_lines_of_all_handlers_come_above(tmp_path: Path) -> None:
    program = """
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    own = logging.getLogger("own"); own.addHandler(logging.StreamHandler(sys.stdout)); own.propagate = False
    def fails():
        told("log")
        logging.info("by the root's handler")
        own.warning("by a handler on stdout")
        raise ValueError("told by Agere")
    c = Commander()
    with c.watch(), c:
        future = c.submit(forever)
        c.submit(fails)
        told("end")
        future.cancel()
    handlers = [*logging.getLogger().handlers, *own.handlers]
    print([handler.stream is stream for handler, stream in zip(handlers, (sys.__stderr__, sys.__stdout__))])
    """
    with Watched(program, tmp_path, Screen(40, 100)) as run:
        run.until("fails")
        run.allow("log")
        run.until("ValueError: told by Agere")
        run.until("forever")
        text = run.shown.text
        order = [text.index(word) for word in ("root's handler", "handler on stdout", "told by Agere", "1 active")]
        assert order == sorted(order)
        run.allow("end")
        assert run.end() == 0
        assert run.shown.lines[-1] == "[True, True]"


@pytest.mark.parametrize("how", ["await current_node().ask('name? ')", "input('name? ')"])
def test_a_prompt_has_the_terminal_for_itself(tmp_path: Path, how: str) -> None:
    program = f"""
    import readline
    async def asks():
        await step("ask")
        print("hello", {how})
        await step("end")
    c = Commander()
    with c.watch(): c.run(asks, auto_exit=True)
    """
    with Watched(program, tmp_path) as run:
        run.until("asks")
        run.allow("ask")
        run.until(lambda screen: screen.lines == ["name?"])
        run.type("An")
        run.until(lambda screen: screen.lines == ["name? An"])
        run.type("n\n")
        run.until("hello Ann")
        run.until("1 active")
        assert run.shown.lines[:2] == ["name? Ann", "hello Ann"]
        run.allow("end")
        assert run.end() == 0


def test_input_of_the_main_program_and_paused(tmp_path: Path) -> None:
    program = """
    c = Commander()
    with c.watch() as watch, c:
        c.submit(forever)
        told("input")
        word = input("main? ")
        with watch.paused():
            print("paused", word)
            told("on")
        told("end")
        c.exit()
    """
    with Watched(program, tmp_path) as run:
        run.until("forever")
        run.allow("input")
        run.until(lambda screen: screen.lines == ["main?"])
        run.type("yes\n")
        run.until(lambda screen: screen.lines == ["main? yes", "paused yes"])
        run.allow("on")
        run.until("forever")
        run.allow("end")
        assert run.end() == 0


def test_ctrl_c_leaves_a_sane_terminal(tmp_path: Path) -> None:
    program = """
    async def busy():
        try: await forever()
        finally: print("unwound")
    c = Commander()
    with c.watch(): c.run(busy)
    """
    with Watched(program, tmp_path) as run:
        modes = run.modes
        run.until("busy")
        run.signal(signal.SIGINT)
        assert run.end() == -signal.SIGINT
        assert run.modes_now == modes
        assert not run.shown.screen.cursor.hidden
        assert run.shown.transcript[0] == "unwound", run.shown.transcript
        assert run.shown.transcript[1].endswith(": 1 terminated")
        assert run.shown.lines[-1] == "KeyboardInterrupt"
        assert "busy #" not in run.shown.text


def test_sigterm_and_a_forgotten_watch(tmp_path: Path) -> None:
    with Watched("c = Commander(); c.watch(); c.run(forever)", tmp_path) as run:
        run.until("forever")
        run.signal(signal.SIGTERM)
        assert run.end() == -signal.SIGTERM
        assert len(run.shown.lines) == 1
    with Watched("c = Commander(); c.watch(); c.start(); c.submit(forever); told('end')", tmp_path) as run:
        run.until("forever")
        run.allow("end")
        assert run.end() == 0
        assert "forever" not in run.shown.text
        assert "1 terminated" in run.shown.text


def test_a_piped_stdout_gets_the_prints_alone(tmp_path: Path) -> None:
    out = tmp_path / "out"
    program = """
    def prints():
        for number in range(50): print("line", number)
        print("unfinished", end="", flush=True)
        told("end")
    c = Commander()
    with c.watch(): c.run(prints, auto_exit=True)
    """
    with Watched(program, tmp_path, stdout=out) as run:
        run.until("prints")
        run.allow("end")
        assert run.end() == 0
        assert len(run.shown.lines) == 1
    assert out.read_text() == "".join(f"line {number}\n" for number in range(50)) + "unfinished"


def test_small_terminals_and_broad_names(tmp_path: Path) -> None:
    program = """
    c = Commander(name="名前" * 30)
    with c.watch(), c:
        for number in range(50): c.submit(BasicJob(forever, name=f"日本語 {number} " * 10))
        c.submit(forever)
        told("print")
        for number in range(5): print("line", number)
        told("end")
        c.exit()
    """
    screen = Screen(8, 30)
    with Watched(program, tmp_path, screen) as run:
        run.until("日本")
        assert len(run.shown.lines) <= 8
        run.allow("print")
        run.until("line 4")
        run.until(lambda screen: "日本" in screen.text)
        run.allow("end")
        assert run.end() == 0
        assert run.shown.transcript[:5] == [f"line {number}" for number in range(5)]
        assert len(run.shown.transcript) == 6


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
def test_a_forked_child_prints_straight(tmp_path: Path) -> None:
    program = """
    import warnings; warnings.simplefilter("ignore")
    c = Commander()
    with c.watch(), c:
        c.submit(forever)
        told("fork")
        watch_threads = threading.active_count()
        if os.fork() == 0:
            print("child", sys.stdout is sys.__stdout__)
            sys.stdout.flush()
            os._exit(0)
        os.wait()
        told("end")
        c.exit()
    """
    with Watched(program, tmp_path) as run:
        run.until("forever")
        run.allow("fork")
        run.until("child True")
        run.allow("end")
        assert run.end() == 0


def test_without_rich(tmp_path: Path) -> None:
    program = """
    sys.modules["rich"] = None
    c = Commander()
    try: c.watch()
    except ImportError as error: print(error)
    with c.watch("lines"): c.run(asyncio.sleep, 0) if 0 else c.run(BasicJob(asyncio.sleep, 0), auto_exit=True)
    print("went on")
    """
    with Watched(program, tmp_path, Screen(24, 200)) as run:
        assert run.end() == 0
        assert "pip install 'agere[rich]'" in run.shown.text
        assert "job BasicJob #" in run.shown.text
        assert run.shown.lines[-1] == "went on"


def test_a_dumb_terminal_gets_plain_lines(tmp_path: Path) -> None:
    program = """
    os.environ["TERM"] = "dumb"
    c = Commander(name="boss")
    with c.watch(): c.run(BasicJob(asyncio.sleep, 0), auto_exit=True)
    """
    with Watched(program, tmp_path) as run:
        assert run.end() == 0
        assert "BasicJob #" in run.shown.text
        assert "COMPLETED after" in run.shown.text


def test_two_watches_stand_one_below_the_other(tmp_path: Path) -> None:
    program = """
    one, two = Commander(name="one"), Commander(name="two")
    with one.watch(), two.watch(), one, two:
        one.submit(BasicJob(forever, name="first job"))
        two.submit(BasicJob(forever, name="second job"))
        told("print")
        print("a print")
        told("exit")
        one.exit()
        told("end")
        two.exit()
    """
    with Watched(program, tmp_path) as run:
        both = ("first job", "second job")
        run.until(lambda screen: all(name in screen.text for name in both))
        run.allow("print")
        run.until(lambda screen: all(name in screen.text for name in ("a print", *both)))
        assert run.shown.lines[0] == "a print"
        run.allow("exit")
        run.until(lambda screen: "one has exited" in screen.text and "second job" in screen.text)
        assert "first job" not in run.shown.text
        run.allow("end")
        assert run.end() == 0
        assert [line.split(" after")[0] for line in run.shown.lines] == ["a print", "one has exited", "two has exited"]


def test_an_interactive_prompt_is_left_alone(tmp_path: Path) -> None:
    program = """
    sys.ps1 = ">>> "
    c = Commander(name="boss")
    with c.watch(): c.run(BasicJob(asyncio.sleep, 0), auto_exit=True)
    """
    with Watched(program, tmp_path) as run:
        assert run.end() == 0
        assert "COMPLETED after" in run.shown.text


def test_an_unfinished_line_within_a_pause_stays(tmp_path: Path) -> None:
    program = """
    c = Commander()
    with c.watch() as watch, c:
        c.submit(forever)
        told("pause")
        with watch.paused():
            print("half", end="")
            sys.stdout.flush()
        told("on")
        print(" and half")
        told("end")
        c.exit()
    """
    with Watched(program, tmp_path) as run:
        run.until("forever")
        run.allow("pause")
        run.until(lambda screen: screen.lines[:1] == ["half"] and "forever" in screen.text)
        run.allow("on")
        run.until("half and half")
        run.allow("end")
        assert run.end() == 0
        assert run.shown.lines[0] == "half and half"
