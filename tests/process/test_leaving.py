"""How whole programs end: exit codes, Ctrl-C, sys.exit, forks, forgotten commanders. Each in a process of its own."""

from __future__ import annotations

import os
import signal
from typing import Any

import pytest

from tests.support.subprocesses import run_on_terminal, run_python

COMMON = r"""
import asyncio, os, signal, sys, threading, time
import agere
from agere.commander import *

def say(*words):
    sys.stdout.write(" ".join(map(str, words)) + "\n")  # one write: lines of several threads stay whole
    sys.stdout.flush()

started = threading.Event()

def say_started():
    say("started")
    started.set()

async def forever():
    await asyncio.sleep(0.1)  # the main thread has come to its wait by then
    say_started()
    try:
        await asyncio.Event().wait()
    finally:
        say("unwound")

def blocked():
    say_started()
    threading.Event().wait()

class Endless(Job):
    @tasker(PASS_WORD)
    async def task(self):
        await forever()
"""


def run(program: str, **options: Any) -> Any:
    import textwrap

    return run_python(COMMON + textwrap.dedent(program), **options)


class TestInterpreterExit:
    def test_a_forgotten_exit_runs_finally_blocks(self) -> None:
        run(
            """
            c = Commander().start()
            future = c.submit(forever)
            started.wait()
            say("end of main")
            """
        ).check(out="started\nend of main\nunwound\n")

    @pytest.mark.parametrize("how", ["body", "to_thread", "delegate", "stream of a blocked source"])
    def test_blocked_workers_do_not_delay_it(self, how: str) -> None:
        outcome = run_python(
            COMMON
            + """
async def to_thread(): await asyncio.to_thread(blocked)
async def delegate(): await agere.current_node().delegate(blocked)
async def stream():
    from agere.utils.llm_async_converters import LLMAsyncAdapter
    async for _ in LLMAsyncAdapter().llm_to_async_iterable(response=iter(blocked, 1)): pass
work = {"body": blocked, "to_thread": to_thread, "delegate": delegate}.get(sys.argv[1], stream)
c = Commander().start()
c.submit(work)
started.wait()
say("end of main")
""",
            how,
            limit=15.0,
        )
        outcome.check(out="started\nend of main\n")
        assert outcome.seconds < 8

    def test_a_body_that_swallows_its_cancellation(self) -> None:
        run(
            """
            async def stubborn():
                say_started()
                while True:
                    try: await asyncio.sleep(3600)
                    except asyncio.CancelledError: pass
            c = Commander().start()
            c.submit(stubborn)
            started.wait()
            """,
            limit=15.0,
        ).check(out="started\n")

    def test_a_body_that_blocks_the_loop(self) -> None:
        run(
            """
            async def blocks():
                say_started()
                threading.Event().wait()
            c = Commander().start()
            c.submit(blocks)
            started.wait()
            """,
            limit=15.0,
        ).check(out="started\n")

    def test_from_a_non_daemon_thread(self) -> None:
        """The main thread has ended already: it works, or raises; never a hang."""
        outcome = run(
            """
            def other():
                threading.main_thread().join()
                with Commander() as c:
                    say(c.submit(lambda: "late work").result())
            t = threading.Thread(target=other)
            t.start()
            """,
            limit=15.0,
        )
        assert outcome.verdict in ("ok", "error"), outcome
        assert outcome.out == "late work\n" or "Error" in outcome.err, outcome

    def test_an_uncaught_exception_in_main(self) -> None:
        outcome = run(
            """
            c = Commander().start()
            c.submit(forever)
            started.wait()
            raise RuntimeError("main")
            """
        ).check(code=1)
        assert outcome.out == "started\nunwound\n"
        assert "RuntimeError: main" in outcome.err

    def test_dropped_commander(self) -> None:
        run(
            """
            def make():
                c = Commander(name="gone").start()
                c.submit(lambda: None).result()
            make()
            import gc; gc.collect()
            for t in threading.enumerate():
                if t.name == "gone-loop": t.join(5)
            say([t.name for t in threading.enumerate()])
            """
        ).check(out="['MainThread']\n")

    def test_after_shutdown_began_it_raises_or_works(self) -> None:
        """A submission from atexit: told, or run; never a hang."""
        outcome = run(
            """
            import atexit
            c = Commander().start()
            def late():
                try: say(c.submit(lambda: "ran").result(3))
                except Exception as e: say(type(e).__name__)
            atexit.register(late)
            """,
            limit=15.0,
        ).check()
        assert outcome.out in ("ran\n", "CommanderNotRunError\n")

    def test_nothing_on_stderr_after_a_clean_run(self) -> None:
        outcome = run(
            """
            say(Commander().run(lambda: agere.current_node().exit_commander("bye").value))
            with Commander() as c: say(c.submit(lambda: 3).result())
            say(agere.run(lambda: 4))
            """,
            options=("-W", "error", "-X", "dev"),
        ).check(out="bye\n3\n4\n")
        assert outcome.err == ""


class TestExceptionsOfBodies:
    def test_unconfigured_logging_shows_them_on_stderr(self) -> None:
        outcome = run(
            """
            def fails(): raise ValueError("seen")
            Commander().run(fails, auto_exit=True)
            """
        ).check(out="")
        assert outcome.err.count("Traceback") == 1
        assert outcome.err.count("ValueError: seen") >= 1
        assert "fails" in outcome.err

    @pytest.mark.parametrize(
        ("where", "code", "expected"),
        [("body", "7", 7), ("async body", "None", 0), ("callback", "'words'", 1), ("async callback", "7", 7)],
    )
    def test_sys_exit(self, where: str, code: str, expected: int) -> None:
        outcome = run_python(
            COMMON
            + f"""
def leave(*_, **__): sys.exit({code})
async def later(*_, **__): sys.exit({code})
job = BasicJob({{"body": leave, "async body": later}}.get(sys.argv[1], str))
if "callback" in sys.argv[1]:
    job.add_callback_functions("at_job_end", {{"function": later if "async" in sys.argv[1] else leave}})
c = Commander()
job2 = BasicJob(forever)
try:
    c.run([job])
finally:
    say("run has ended", c.running_status)
say("not reached")
""",
            where,
        ).check(code=expected, out="run has ended False\n")
        assert "Traceback" not in outcome.err

    def test_sys_exit_in_a_job_of_a_with_block(self) -> None:
        run(
            """
            with Commander() as c:
                c.submit(sys.exit, 5)
            """
        ).check(code=5)

    def test_keyboard_interrupt_in_a_body(self) -> None:
        run(
            """
            def stop(): raise KeyboardInterrupt
            try: Commander().run(stop)
            except KeyboardInterrupt: say("again")
            """
        ).check(out="again\n")


class TestInterrupt:
    WAYS = {
        "run": ("c = Commander(); c.run(Endless())", False),
        "run with auto_exit": ("c = Commander(); c.run(Endless(), auto_exit=True)", False),
        "result": ("c = Commander().start(); c.submit(Endless()).result()", True),
        "exception": ("c = Commander().start(); c.submit(Endless()).exception()", True),
        "wait_for_exit": ("c = Commander().start(); c.submit(Endless()); c.wait_for_exit()", False),
        "with": ("with c: c.submit(Endless())", False),
        "result in with": ("with c: c.submit(Endless()).result()", False),
        "sleep in with": ("with c: c.submit(Endless()); time.sleep(30)", False),
        "agere.run": ("agere.run(forever)", False),
    }

    @pytest.mark.parametrize("ways", [list(WAYS)[:5], list(WAYS)[5:]], ids=", ".join)
    def test_terminates_waits_for_the_unwinding_and_raises(self, ways: list[str]) -> None:
        program = COMMON
        for way in ways:
            wait, running = self.WAYS[way]
            program += f"""
c = Commander()
try:
    {wait}
except KeyboardInterrupt:
    say("interrupted", {way!r})
assert c.running_status is {running}
c.exit()
"""
        run_python(program, signals=(("started", signal.SIGINT),) * len(ways)).check(
            out="".join(f"started\nunwound\ninterrupted {way}\n" for way in ways)
        )

    def test_in_the_iteration_over_a_stream(self) -> None:
        outcome = run(
            """
            c = Commander().start()
            future = c.submit(forever)
            try: next(future.stream())
            except KeyboardInterrupt: pass
            try: future.result(10)
            except NodeTerminatedError: say("terminated", c.running_status)
            c.exit()
            try: list(agere.stream(forever))
            except KeyboardInterrupt: pass
            """,
            signals=(("started", signal.SIGINT), ("started", signal.SIGINT)),
        ).check()
        assert outcome.out == "started\nunwound\nterminated True\nstarted\nunwound\n"

    def test_uncaught(self) -> None:
        outcome = run("Commander().run(Endless())", signals=(("started", signal.SIGINT),))
        outcome.check(code=-signal.SIGINT)
        assert "KeyboardInterrupt" in outcome.err
        assert outcome.out == "started\nunwound\n"

    def test_result_terminates_that_subtree_only(self) -> None:
        run(
            """
            c = Commander().start()
            async def other():
                await asyncio.sleep(0)
                await asyncio.Event().wait()
            others = c.submit(other)
            future = c.submit(forever)
            try: future.result()
            except KeyboardInterrupt: say("interrupted")
            say(future.cancelled(), others.done(), c.submit(lambda: 4).result())
            c.exit()
            """,
            signals=(("started", signal.SIGINT),),
        ).check(out="started\nunwound\ninterrupted\nTrue False 4\n")

    def test_a_worker_that_is_stuck_is_waited_for_no_longer_than_the_grace(self) -> None:
        outcome = run(
            """
            c = Commander(grace=0.3)
            try: c.run(blocked)
            except KeyboardInterrupt: say("interrupted")
            """,
            signals=(("started", signal.SIGINT),),
            limit=15.0,
        ).check(out="started\ninterrupted\n")
        assert "abandoned" in outcome.err

    def test_twice_in_a_row(self) -> None:
        outcome = run(
            """
            async def slow():
                say_started()
                try: await asyncio.Event().wait()
                finally:
                    say("unwinding")
                    await asyncio.sleep(3600)
            c = Commander(grace=1.0)
            try: c.run(slow)
            except KeyboardInterrupt: say("interrupted")
            """,
            signals=(("started", signal.SIGINT), ("unwinding", signal.SIGINT)),
            limit=15.0,
        )
        assert outcome.verdict != "hang", outcome
        assert outcome.code in (0, -signal.SIGINT), outcome

    def test_during_a_def_body_in_result(self) -> None:
        outcome = run(
            """
            def waits():
                inner = agere.current_node().submit(forever)
                try: inner.result()
                except BaseException as e: say(type(e).__name__); raise
            c = Commander()
            with c:
                try: c.submit(waits).result()
                except KeyboardInterrupt: say("interrupted")
            """,
            signals=(("started", signal.SIGINT),),
        ).check()
        assert sorted(outcome.lines) == ["CancelledError", "interrupted", "started", "unwound"]

    def test_sigterm_winds_down_and_ends_it_as_any_program(self) -> None:
        run("Commander().run(Endless())", signals=(("started", signal.SIGTERM),)).check(
            code=-signal.SIGTERM, out="started\nunwound\n"
        )

    def test_sigterm_turned_into_exit(self) -> None:
        run(
            """
            c = Commander()
            signal.signal(signal.SIGTERM, lambda *_: c.exit("terminated", wait=False))
            say(c.run(Endless()))
            """,
            signals=(("started", signal.SIGTERM),),
        ).check(out="started\nunwound\nterminated\n")

    def test_sigterm_turned_into_system_exit(self) -> None:
        outcome = run(
            """
            signal.signal(signal.SIGTERM, lambda *_: sys.exit(9))
            with Commander() as c:
                c.submit(Endless()).result()
            """,
            signals=(("started", signal.SIGTERM),),
        ).check(code=9)
        assert outcome.out == "started\nunwound\n"

    def test_in_asyncio_run_around_async_with(self) -> None:
        outcome = run(
            """
            async def main():
                async with Commander() as c:
                    await c.submit(forever)
            try: asyncio.run(main())
            except KeyboardInterrupt: say("interrupted")
            """,
            signals=(("started", signal.SIGINT),),
        ).check()
        assert outcome.out.startswith("started\n")
        assert "unwound\n" in outcome.out
        assert outcome.out.endswith("interrupted\n")


class TestPrompt:
    ASKS = """
class Asks(Job):
    @tasker(PASS_WORD)
    async def task(self):
        self.add_callback_functions("at_job_end", {{"function": self.more, "inject_task_node": True}})
    async def more(self, task_node):
        word = {ask}
        say("<" + word + ">")
        if word == "exit":
            await self.exit_commander(return_result="QUIT")
            return
        await task_node.put_job(Asks(), parent=task_node.commander)
say(Commander().run(Asks()))
"""
    WAYS = {
        "input": 'input("YOU: ")',
        "ask": 'await task_node.ask("YOU: ")',
        "input in a thread": 'await asyncio.to_thread(input, "YOU: ")',
    }

    @pytest.mark.parametrize("way", WAYS)
    def test_piped_stdin(self, way: str) -> None:
        run_python(COMMON + self.ASKS.format(ask=self.WAYS[way]), stdin="one\ntwo\nexit\n").check(
            out="YOU: <one>\nYOU: <two>\nYOU: <exit>\nQUIT\n"
        )

    @pytest.mark.parametrize("way", WAYS)
    def test_on_a_terminal(self, way: str) -> None:
        outcome = run_on_terminal(
            COMMON + self.ASKS.format(ask=self.WAYS[way]), [("YOU: ", "one\n"), ("YOU: ", "exit\n")]
        ).check()
        assert "<one>" in outcome.out
        assert outcome.out.endswith("QUIT\n")

    @pytest.mark.parametrize("way", WAYS)
    @pytest.mark.parametrize("where", ["terminal", "pipe"])
    def test_ctrl_c_at_the_prompt(self, way: str, where: str) -> None:
        program = COMMON + self.ASKS.format(ask=self.WAYS[way]).replace(
            "say(Commander().run(Asks()))",
            "try: say(Commander().run(Asks()))\nexcept KeyboardInterrupt: say('interrupted')",
        )
        if where == "terminal":
            outcome = run_on_terminal(program, [("YOU: ", "\x03")])
        else:  # a pipe that stays open, and silent
            program = program.replace("word = ", "say('at the prompt')\n        word = ")
            outcome = run_python(
                f"import os, sys\npipe = os.pipe()\nos.dup2(pipe[0], 0)\n{program}",
                signals=(("at the prompt", signal.SIGINT),),
            )
        outcome.check()
        assert outcome.out.endswith("interrupted\n")

    def test_end_of_input(self) -> None:
        outcome = run_python(
            COMMON
            + """
async def asks():
    try: await agere.current_node().ask("YOU: ")
    except EOFError: say("EOF on the loop")
def asks_too():
    try: agere.current_node().ask("YOU: ")
    except EOFError: say("EOF in a worker")
    try: input("YOU: ")
    except EOFError: say("EOF of input()")
Commander().run([asks, ], auto_exit=True)
Commander().run([asks_too], auto_exit=True)
""",
            stdin="",
        ).check()
        assert outcome.out.replace("YOU: ", "") == "EOF on the loop\nEOF in a worker\nEOF of input()\n"

    def test_input_is_restored(self) -> None:
        run(
            """
            import builtins
            before = builtins.input
            c = Commander().start()
            say(builtins.input is before, input("main: "))
            c.exit()
            say(builtins.input is before, input("main: "))
            """,
            stdin="a\nb\n",
        ).check(out="main: False a\nmain: True b\n")

    def test_with_nobody_pumping_it_raises_and_names_ask(self) -> None:
        outcome = run(
            """
            c = Commander().start()
            def asks():
                try: input("who? ")
                except Exception as e: say(type(e).__name__, "ask" in str(e))
            c.submit(asks)
            time.sleep(2.5)
            """,
            limit=15.0,
        ).check()
        assert outcome.out.startswith("NobodyAnswersError True\n")

    def test_result_pumps(self) -> None:
        run(
            """
            with Commander() as c:
                say(c.submit(lambda: agere.current_node().ask("name? ")).result())
                say(c.submit(lambda: input("again? ")).result())
            """,
            stdin="Ann\nBob\n",
        ).check(out="name? Ann\nagain? Bob\n")

    def test_many_ask_at_once(self) -> None:
        outcome = run(
            """
            def asks(n): return n, agere.current_node().ask(f"q{n} ")
            with Commander() as c:
                futures = [c.submit(asks, n) for n in range(5)]
                answers = [f.result()[1] for f in futures]
            say(sorted(answers))
            """,
            stdin="a\nb\nc\nd\ne\n",
        ).check()
        assert outcome.out.endswith("['a', 'b', 'c', 'd', 'e']\n")

    def test_termination_while_a_question_stands(self) -> None:
        """The asker unwinds at once, and the question is gone."""
        run(
            """
            async def asks():
                try: await agere.current_node().ask("q ")
                except BaseException as e: say(type(e).__name__); raise
            async def canceller():
                say("cancelling", future.cancel())
            c = Commander().start()
            future = c.submit(asks)
            while not c.questions: pass
            say(len(c.questions), c.questions[0].prompt)
            future.cancel()
            while c.questions: pass  # result() would put an open one to the person
            try: future.result()
            except CancelledError2: pass
            say(c.questions)
            c.exit()
            """.replace("CancelledError2", "NodeTerminatedError"),
        ).check(out="1 q \nCancelledError\n()\n")


class TestFork:
    pytestmark = pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")

    CHILDREN = {
        "c.submit(lambda: 1)": "CommanderForkedError",
        "future.result(5)": "CommanderForkedError",
        "c.wait_for_exit(5); say('over')": None,
        "c.exit(); say('exit is harmless')": "exit is harmless",
        "future.cancel(); say('cancel is harmless')": "cancel is harmless",
        "say(c.running_status)": "False",
        "c.tree(); c.questions; c.is_empty(); repr(future); say('looked')": "looked",
        "say(agere.run(lambda: 6))": "6",
        "say(Commander().run(lambda: agere.current_node().commander.exit(7)))": "7",
        "say(agere.run(lambda: agere.run(lambda: 8)))": "8",
        "c.start(); say(c.submit(lambda: 9).result()); c.exit()": "9",
        "say(input('? '))": "? EOFError",
    }

    def test_forked_children(self) -> None:
        """A dead session there: it says so, and never hangs; a new commander works."""
        program = (
            COMMON
            + f"""
import warnings; warnings.simplefilter("ignore")
c = Commander().start()
future = c.submit(forever)
started.wait()
for child in {list(self.CHILDREN)!r}:
    pid = os.fork()
    if pid == 0:
        try: exec(child)
        except BaseException as e: say(type(e).__name__)
        finally: os._exit(0)
    os.waitpid(pid, 0)
    say("--")
say("parent", c.submit(lambda: 5).result())
c.exit()
"""
        )
        outcome = run_python(program, stdin="").check()
        parts = outcome.out.removeprefix("started\n").split("\n--\n")
        assert len(parts) == len(self.CHILDREN) + 1, outcome
        for (child, says), said in zip(self.CHILDREN.items(), parts, strict=False):
            assert says is None or said == says, (child, said, outcome)
        assert parts[-1] == "parent 5\nunwound\n"

    def test_a_child_that_ends_as_a_program_does(self) -> None:
        outcome = run(
            """
            c = Commander().start()
            future = c.submit(forever)
            started.wait()
            import warnings; warnings.simplefilter("ignore")
            if os.fork() == 0:
                say("child ends")
                sys.exit(0)
            os.wait()
            say("parent", c.submit(lambda: 5).result())
            c.exit()
            """,
            limit=15.0,
        ).check()
        assert outcome.lines[:2] == ["started", "child ends"]
        assert outcome.lines[-2:] == ["parent 5", "unwound"]

    def test_fork_in_a_worker_and_multiprocessing(self) -> None:
        run(
            """
            import multiprocessing, warnings
            warnings.simplefilter("ignore")
            def square(n): return n * n
            def body():
                with multiprocessing.get_context("fork").Pool(2) as pool:
                    return pool.map(square, range(4))
            with Commander() as c: say(c.submit(body).result())
            """,
            limit=15.0,
        ).check(out="[0, 1, 4, 9]\n")

    def test_fork_and_exec(self) -> None:
        run(
            """
            import subprocess
            def body():
                return subprocess.run([sys.executable, "-c", "print(3)"], capture_output=True, text=True).stdout
            with Commander() as c: say(c.submit(body).result().strip())
            """
        ).check(out="3\n")


class TestLimits:
    def test_threads(self) -> None:
        """The system refuses threads: an error on the node."""
        outcome = run(
            """
            original = threading.Thread.start
            def start(self):
                if len(threading.enumerate()) > 20: raise RuntimeError("can't start new thread")
                original(self)
            threading.Thread.start = start
            gate = threading.Event()
            with Commander() as c:
                futures = [c.submit(gate.wait) for _ in range(40)]
                errors = set()
                c.submit(asyncio.sleep, 0.1).result()
                for f in futures:
                    if f.done(): errors.add(type(f.exception()).__name__)
                gate.set()
            say(errors)
            """
        ).check(out="{'WorkerLimitError'}\n")
        assert "refused" in outcome.err

    def test_file_descriptors(self) -> None:
        """No descriptors for a loop: start() says so, and works when there are some."""
        outcome = run(
            """
            import resource
            agere.run(lambda: 1)
            files = []
            soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
            resource.setrlimit(resource.RLIMIT_NOFILE, (64, hard))
            try:
                while True: files.append(open("/dev/null"))
            except OSError: pass
            c = Commander()
            try: c.start()
            except Exception as e: say("refused", isinstance(e, (OSError, RuntimeError)), c.running_status)
            for f in files: f.close()
            with c: say(c.submit(lambda: 2).result())
            say(agere.run(lambda: 3))
            """,
            limit=15.0,
        )
        outcome.check(out="refused True False\n2\n3\n")
