"""SIGTERM in scripts, and what is left of the terminal after signals at awkward moments."""

from __future__ import annotations

import os
import signal
import textwrap
from pathlib import Path
from typing import Any

import pytest

from agere.testing import ScriptedLLM, silent
from tests.support.subprocesses import Outcome, run_on_terminal, run_python, wait_until_asleep

COMMON = r"""
import asyncio, atexit, os, signal, sys, termios, threading, time
import agere
from agere.commander import *

def say(*words):
    os.write(1, (" ".join(map(str, words)) + "\n").encode())

async def forever():
    while signal.getsignal(signal.SIGTERM) is signal.SIG_DFL:  # until the main thread has come to its wait
        await asyncio.sleep(0.001)
    say("started")
    try:
        await asyncio.Event().wait()
    finally:
        say("unwound")

def blocked():
    say("started")
    threading.Event().wait()
"""

TERM = -signal.SIGTERM
pytestmark = pytest.mark.skipif(os.name != "posix", reason="needs signals")


def terminated(program: str, times: int = 1, **options: Any) -> Outcome:
    """Run it, and send SIGTERM for each of the first ``times`` lines "started"."""
    signals = (("started", signal.SIGTERM),) * times
    return run_python(COMMON + textwrap.dedent(program), signals=signals, **options)


class TestSigterm:
    WAYS = {
        "run": "Commander().run(forever)",
        "run with auto_exit": "Commander().run(forever, auto_exit=True)",
        "result": "Commander().start().submit(forever).result()",
        "exception": "Commander().start().submit(forever).exception()",
        "wait_for_exit": "c = Commander().start(); c.submit(forever); c.wait_for_exit()",
        "leaving with": "with Commander() as c: c.submit(forever)",
        "result in with": "with Commander() as c: c.submit(forever).result()",
        "sleep in with": "with Commander() as c: c.submit(forever); time.sleep(30)",
        "agere.run": "agere.run(forever)",
        "stream": "list(Commander().start().submit(forever).stream())",
        "agere.stream": "list(agere.stream(forever))",
    }

    @pytest.mark.parametrize("way", WAYS)
    def test_it_unwinds_and_the_process_ends_by_it(self, way: str) -> None:
        outcome = terminated(self.WAYS[way]).check(code=TERM, out="started\nunwound\n")
        assert outcome.err == ""

    def test_everything_on_the_way_out_runs(self) -> None:
        program = """
            import logging, logging.handlers
            target = logging.StreamHandler(sys.stdout)
            logging.getLogger().addHandler(logging.handlers.MemoryHandler(99, target=target))
            class Endless(Job):
                @tasker
                async def task(self): await forever()
            def last(): print("in atexit")
            atexit.register(last)
            job = Endless(Callback(at_terminate={"function": say, "params": {"args": ["at_terminate"]}}))
            def fails():
                raise ValueError
            try:
                with Commander() as c:
                    c.submit(forever)
                    c.run_auto(job)
                    logging.warning("buffered")
            finally:
                print("finally")
            """
        signals = (("started", 0), ("started", signal.SIGTERM))  # once both have begun
        outcome = run_python(COMMON + textwrap.dedent(program), signals=signals).check(code=TERM)
        assert sorted(outcome.lines) == sorted(
            ["started", "started", "unwound", "unwound", "at_terminate", "finally", "in atexit", "buffered"]
        )

    def test_streams_hang_up(self) -> None:
        with ScriptedLLM([silent("One.\n")]) as server:
            program = f"""
            import openai
            client = openai.OpenAI(base_url={server.base_url!r}, api_key="none")
            from agere.utils.stoppable import stoppable
            def answer():
                chat = client.chat.completions.create(model="scripted", messages=[], stream=True)
                for chunk in stoppable(chat):
                    if chunk.choices and chunk.choices[0].delta.content: say("started")
            Commander().run(answer)
            """
            terminated(program).check(code=TERM)
            assert server.requests[0].wait_disconnected()

    def test_other_commanders_end_too(self) -> None:
        terminated(
            """
            other = Commander().start()
            future = Commander().start().submit(time.sleep, 30)
            other.submit(forever)
            future.result()
            """
        ).check(code=TERM, out="started\nunwound\n")

    def test_it_is_bounded(self) -> None:
        outcome = terminated("Commander(grace=0.3).run(blocked)", limit=15.0).check(code=TERM)
        assert "abandoned" in outcome.err

    def test_a_second_one_ends_it_at_once(self) -> None:
        outcome = terminated(
            """
            def slow():
                say("started")
                def again():
                    while not me.cancelled() and me.node.state != "TERMINATED" and c.running_status:
                        time.sleep(0.05)
                        if c._session_.exit_asked: say("started"); time.sleep(60)
                threading.Thread(target=again, daemon=True).start()
                threading.Event().wait()
            c = Commander(grace=60).start()
            me = c.submit(slow)
            c.wait_for_exit()
            """,
            2,
            limit=15.0,
        ).check(code=TERM)
        assert outcome.out == "started\nstarted\n"

    def test_a_handler_of_ones_own_is_left_alone(self) -> None:
        terminated(
            """
            c = Commander()
            def mine(*_): say("mine"); c.exit("by hand", wait=False)
            signal.signal(signal.SIGTERM, mine)
            say(c.run(forever), signal.getsignal(signal.SIGTERM) is mine)
            """
        ).check(out="started\nmine\nunwound\nby hand True\n")

    def test_one_that_is_set_in_between_stays(self) -> None:
        run_python(
            COMMON
            + """
def mine(*_): pass
with Commander() as c:
    signal.signal(signal.SIGTERM, mine)
say(signal.getsignal(signal.SIGTERM) is mine)
"""
        ).check(out="True\n")

    def test_ignored_is_ignored(self) -> None:
        terminated(
            """
            signal.signal(signal.SIGTERM, signal.SIG_IGN)
            async def brief():
                say("started")
                await asyncio.sleep(0.5)
                say("done")
            Commander().run(brief, auto_exit=True)
            """
        ).check(out="started\ndone\n")

    def test_the_default_is_restored(self) -> None:
        run_python(
            COMMON
            + """
def default(): return signal.getsignal(signal.SIGTERM) is signal.SIG_DFL
assert default()
with Commander() as c:
    assert not default()
    with Commander() as d: d.submit(lambda: 1).result()
    assert not default()
assert default()
Commander().run(lambda: None, auto_exit=True)
try: Commander().run(3)
except TypeError: pass
try:
    with Commander() as c: raise KeyError
except KeyError: pass
c = Commander().start(); c.submit(lambda: 1).result(); assert default(); c.exit()
seen = []
def elsewhere():
    with Commander() as c: seen.append(default())
thread = threading.Thread(target=elsewhere); thread.start(); thread.join()
assert default() and seen == [True]
"""
        ).check()

    def test_outside_of_the_waits_it_ends_the_program_at_once(self) -> None:
        terminated(
            """
            c = Commander().start()
            c.submit(blocked)
            time.sleep(30)
            """
        ).check(code=TERM, out="started\n")

    def test_whoever_catches_it_goes_on(self) -> None:
        terminated(
            """
            try: Commander().run(forever)
            except SystemExit: say("caught")
            """
        ).check(code=0, out="started\nunwound\ncaught\n")

    def test_a_forked_child_ends_as_processes_do(self) -> None:
        run_python(
            COMMON
            + """
import warnings; warnings.simplefilter("ignore")
with Commander() as c:
    pid = os.fork()
    if pid == 0:
        try: time.sleep(30)
        finally: say("not to be seen")
    time.sleep(0.2)
    os.kill(pid, signal.SIGTERM)
    say(os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]))
    say(signal.getsignal(signal.SIGTERM) is not signal.SIG_DFL)
"""
        ).check(out=f"{TERM}\nTrue\n")

    def test_a_worker_that_forks_for_a_pool(self) -> None:
        run_python(
            COMMON
            + """
import multiprocessing, warnings
warnings.simplefilter("ignore")
def body():
    process = multiprocessing.get_context("fork").Process(target=time.sleep, args=(30,))
    process.start(); process.terminate(); process.join()
    return process.exitcode
with Commander() as c: say(c.submit(body).result())
""",
            limit=15.0,
        ).check(out=f"{TERM}\n")

    def test_input_on_the_loop_does_not_hold_it_up(self) -> None:
        outcome = run_python(
            "import os\npipe = os.pipe()\nos.dup2(pipe[0], 0)\n"
            + COMMON
            + """
async def asks():
    say("started")
    input("? ")
with Commander() as c: c.submit(asks).result()
""",
            signals=(("started", signal.SIGTERM),),
        ).check(code=TERM)
        assert outcome.seconds < 8


WATCHED = (
    COMMON
    + """
before = termios.tcgetattr(0)
pid = os.fork()
if pid:  # it looks at the terminal when the program has ended, however that was
    for number in (signal.SIGINT, signal.SIGTERM): signal.signal(number, signal.SIG_IGN)
    code = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
    say("terminal", "sane" if termios.tcgetattr(0) == before else "spoilt", "code", code)
    os._exit(0)
signal.signal(signal.SIGINT, signal.default_int_handler)
"""
)


class TestTheTerminal:
    """The terminal's modes are the same before and after, and the exit code is what a shell expects."""

    ASKS = {
        "input": "async def asks(): input('? ')",
        "ask": "async def asks(): await agere.current_node().ask('? ')",
        "input in a worker": "def asks(): input('? ')",
    }

    @pytest.mark.parametrize("asker", ASKS)
    @pytest.mark.parametrize("readline", ["with readline", "without"])
    def test_ctrl_c_at_a_prompt(self, asker: str, readline: str) -> None:
        edits = "import readline\n" if readline == "with readline" else ""
        program = WATCHED + edits + self.ASKS[asker] + "\nCommander().run(asks)\n"
        outcome = run_on_terminal(program, [("? ", "half a li"), ("half a li", "\x03")])
        assert f"terminal sane code {-signal.SIGINT}" in outcome.out, str(outcome)
        assert "KeyboardInterrupt" in outcome.out

    def test_ctrl_c_in_a_stream(self) -> None:
        program = WATCHED + (
            "async def talks():\n"
            "    print('Once upon', end=' ', flush=True)\n"
            "    await asyncio.Event().wait()\n"
            "Commander().run(talks)\n"
        )
        outcome = run_on_terminal(program, [("Once upon", "\x03")])
        assert f"terminal sane code {-signal.SIGINT}" in outcome.out, str(outcome)

    def test_twice_in_a_row(self) -> None:
        program = WATCHED + (
            "async def slow():\n"
            "    try:\n"
            "        await agere.current_node().ask('? ')\n"
            "    finally:\n"
            "        say('unwinding')\n"
            "        await asyncio.sleep(30)\n"
            "Commander(grace=20).run(slow)\n"
        )
        outcome = run_on_terminal(program, [("? ", "\x03"), ("unwinding", "\x03")])
        assert f"terminal sane code {-signal.SIGINT}" in outcome.out, str(outcome)
        assert outcome.seconds < 15

    def test_sigterm_at_a_prompt(self) -> None:
        def terminate(pid: int) -> None:
            children = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
            wait_until_asleep(int(children[0]))
            os.kill(int(children[0]), signal.SIGTERM)

        if not Path(f"/proc/self/task/{os.getpid()}/children").exists():
            pytest.skip("needs Linux's /proc to find the child")
        program = WATCHED + "import readline\n" + self.ASKS["ask"] + "\nCommander().run(asks)\n"
        outcome = run_on_terminal(program, [("? ", "half a li"), ("half a li", terminate)])
        assert f"terminal sane code {TERM}" in outcome.out, str(outcome)
