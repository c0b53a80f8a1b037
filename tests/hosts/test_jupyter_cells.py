"""Agere in the cells of a real Jupyter kernel: running, awaiting, streaming, and where the output lands."""

from __future__ import annotations

import re

import pytest

from tests.support.kernel import BEFORE, Kernel
from tests.support.subprocesses import ROOT

WORK = """
async def double(x):
    await asyncio.sleep(0)
    return 2 * x

def triple(x):
    return 3 * x

async def count(n):
    for number in range(n):
        await current_node().emit(number)

def count_in_thread(n):
    for number in range(n):
        current_node().emit(number)

class Adding(Job):
    def __init__(self, a, b):
        self.a, self.b = a, b

    @tasker(PASS_WORD)
    async def task(self):
        return await add(self.a, self.b)

@handler(PASS_WORD)
async def add(self_handler, a, b):
    return a + b
"""


@pytest.fixture(autouse=True)
def work(kernel: Kernel) -> None:
    kernel.ok(WORK)


# -- running


@pytest.mark.parametrize(
    ("code", "value"),
    [
        ("agere.run(double, 2)", "4"),
        ("agere.run(triple, 2)", "6"),
        ("agere.run(Adding(1, 2))", "3"),
        ("Commander().run(Adding(1, 2), auto_exit=True)", "None"),
        (
            "with Commander() as c: results = [c.submit(double, n) for n in range(3)]\n[r.result() for r in results]",
            "[0, 2, 4]",
        ),
        ("async with Commander() as c: future = c.submit(triple, 3)\nawait future", "9"),
        ("async with Commander() as c: value = await c.submit(triple, 3)\nvalue", "9"),
        (
            "async with Commander() as c: both = await asyncio.gather(c.submit(double, 1), c.submit(triple, 1))\nboth",
            "[2, 3]",
        ),
        ("list(agere.stream(count, 4))", "[0, 1, 2, 3]"),
        ("with Commander() as c: items = [n for n in c.submit(count_in_thread, 4).stream()]\nitems", "[0, 1, 2, 3]"),
        ("async with Commander() as c: items = [n async for n in c.submit(count, 4).stream()]\nitems", "[0, 1, 2, 3]"),
        ("async with Commander() as c: items = [n for n in c.submit(count, 4).stream()]\nitems", "[0, 1, 2, 3]"),
    ],
)
def test_every_way_to_run_works_in_a_cell(kernel: Kernel, code: str, value: str) -> None:
    assert kernel.ok(code).value == (value if value != "None" else "")


def test_a_commander_serves_many_cells(kernel: Kernel) -> None:
    kernel.ok("c = Commander().start()")
    kernel.ok("first = c.submit(double, 1); second = c.submit(triple, 1)")
    assert kernel.ok("first.result(), await second, c.running_status").value == "(2, 3, True)"
    assert kernel.ok("c.exit(); c.running_status").value == "False"
    assert kernel.ok("c.run(double, auto_exit=True) if False else c.start().submit(double, 2).result()").value == "4"
    kernel.ok("c.exit()")


def test_tasks_of_ones_own_go_on_in_the_kernels_loop(kernel: Kernel) -> None:
    kernel.ok(
        """
        ticks = 0
        async def tick():
            global ticks
            while True:
                ticks += 1
                await asyncio.sleep(0.001)
        ticking = asyncio.create_task(tick())
        """
    )
    cell = kernel.ok(
        """
        before = ticks
        async with Commander() as c:
            await c.submit(asyncio.sleep, 0.1)
        ticks > before, ticking.done()
        """
    )
    assert cell.value == "(True, False)"
    assert (
        kernel.ok("agere.run(double, 3)\nawait asyncio.sleep(0)\nasyncio.get_running_loop().is_running()").value
        == "True"
    )
    kernel.ok("ticking.cancel()")


def test_a_task_of_ones_own_awaits_a_job(kernel: Kernel) -> None:
    kernel.ok(
        """
        c = Commander().start()
        gate = threading.Event()
        async def mine():
            print("from the task", await c.submit(gate.wait))
        task = asyncio.create_task(mine())
        """
    )
    kernel.ok("gate.set()\nawait task\nc.exit()")


def test_a_task_that_outlives_its_cell_prints_there(kernel: Kernel) -> None:
    first = kernel.ok(
        """
        gate = threading.Event()
        async def mine():
            async with Commander() as c:
                await c.submit(gate.wait)
            print("late")
        task = asyncio.create_task(mine())
        """
    )
    second = kernel.ok("gate.set()\nawait task")
    kernel.until(lambda: "late" in first.stdout, first)
    assert second.stdout == ""


def test_autoawait_can_be_switched_and_nest_asyncio_be_there(kernel: Kernel) -> None:
    kernel.ok("%autoawait False")
    assert kernel.ok("agere.run(double, 1)").value == "2"
    kernel.ok("%autoawait asyncio")
    assert kernel.ok("async with Commander() as c: value = await c.submit(double, 2)\nvalue").value == "4"


@pytest.mark.parametrize("package", ["nest_asyncio", "nest_asyncio2"])
def test_nest_asyncio_does_no_harm(package: str) -> None:
    pytest.importorskip(package)
    with Kernel() as kernel:
        kernel.ok(f"import {package}\n{package}.apply()\n" + BEFORE + WORK)
        assert kernel.ok("agere.run(double, 1), asyncio.run(double(1))").value == "(2, 2)"
        kernel.ok("c = Commander().start()")
        assert kernel.ok("await c.submit(double, 2)").value == "4"
        asks = "async def asks():\n    return await agere.current_node().ask('who? ')"
        kernel.ok(asks)
        assert kernel.ok("await c.submit(asks)", "me").value == "'me'"
        assert (
            kernel.ok("async def main():\n    return await c.submit(asks)\nasyncio.run(main())", "you").value == "'you'"
        )
        assert kernel.ok("c.submit(asks).result()", "her").value == "'her'"
        kernel.ok("c.exit()")


def test_running_the_same_cell_again(kernel: Kernel) -> None:
    kernel.ok("started = threading.Semaphore(0)")
    again = """
        commander = Commander(name="mine").start()
        async def forever():
            started.release()
            await asyncio.sleep(1000)
        future = commander.submit(forever)
        started.acquire()
        """
    kernel.ok("old = []")
    for _ in range(3):
        kernel.ok(again)
        kernel.ok("old.append(commander)")
    assert kernel.ok("[one.running_status for one in old]").value == "[True, True, True]"
    kernel.ok("for one in old: one.exit()\ndel one, old")


def test_an_idle_commander_that_a_cell_replaces_closes_itself(kernel: Kernel) -> None:
    for _ in range(3):
        kernel.ok("commander = Commander(name='mine').start()\ncommander.submit(double, 2).result()")
    count = 'sum(thread.name.startswith("mine") and "loop" in thread.name for thread in threading.enumerate())'
    cell = kernel.ok(
        f"""
        end = time.monotonic() + 5
        while {count} > 1 and time.monotonic() < end:
            time.sleep(0.01)
        {count}
        """
    )
    assert cell.value == "1"
    kernel.ok("commander.exit()")


def test_the_program_of_the_page(kernel: Kernel) -> None:
    page = (ROOT / "docs" / "hosts" / "jupyter.md").read_text(encoding="utf-8")
    (program,) = re.findall(r"^```python\n(.*?)^```", page, re.MULTILINE | re.DOTALL)
    cell = kernel.ok(program)
    assert cell.value == "45"
    assert cell.stdout.split() == [str(number) for number in range(10)]
    assert (ROOT / "docs" / "hosts" / "notebook.png").stat().st_size < 150_000
    kernel.ok("commander.exit()")


def test_a_subshell_runs_jobs_too(kernel: Kernel) -> None:
    """What it cannot do: be interrupted, and be asked. Its cells run on a thread of their own."""
    cell = kernel.ok(
        """
        from contextvars import copy_context
        found = []
        def other_cell():  # as a subshell executes it: another thread, in which IPython's events come as well
            events = get_ipython().events
            events.trigger("pre_execute")
            found.append(agere.run(double, 4))
            events.trigger("post_execute")
        thread = threading.Thread(target=other_cell)
        thread.start()
        thread.join()
        found, agere.run(lambda: current_node().ask("still asked? "))
        """,
        "yes",
    )
    assert cell.value == "([8], 'yes')"


# -- where the output lands


def test_prints_land_in_the_cell_that_submitted(kernel: Kernel) -> None:
    """Of bodies, handlers, callbacks, worker threads, done callbacks and deliveries, all while a later cell runs."""
    kernel.ok("c = Commander().start()\ngate = threading.Event()")
    first = kernel.ok(
        """
        def say(text):
            print(f"<{text}>")

        class Talking(Job):
            def __init__(self):
                self.add_callback_functions("at_job_start", {"function": say, "params": {"args": ["start"]}})
                self.add_callback_functions("at_job_end", {"function": say, "params": {"args": ["end"]}})
                self.add_callback_functions(
                    "at_job_end", {"function": say, "params": {"args": ["end on host"]}, "on_host": True}
                )

            @tasker(PASS_WORD)
            async def task(self):
                await self.delegate(gate.wait)
                say("body")
                await asyncio.to_thread(say, "to_thread")
                await self.delegate(say, "delegate")
                self.deliver(say, "deliver")
                return talk()

        @handler(PASS_WORD)
        async def talk(self_handler):
            say("handler")
            self_handler.submit(in_worker)

        def in_worker():
            say("worker")
            logging.getLogger("mine").warning("<warned>")

        future = c.submit(Talking())
        future.add_done_callback(lambda _: say("done"))
        future.add_done_callback(lambda _: say("done on host"), on_host=True)
        """
    )
    second = kernel.ok("gate.set()\nfuture.result()\nprint('mine')")
    said = ["start", "body", "to_thread", "delegate", "deliver", "handler", "worker", "end", "end on host"]
    said += ["done", "done on host"]
    kernel.until(lambda: all(f"<{text}>" in first.stdout for text in said) and "<warned>" in first.stderr, first)
    assert second.stdout == "mine\n"
    assert second.stderr == ""
    kernel.ok("c.exit()")


def test_prints_of_a_job_that_runs_between_and_after_cells(kernel: Kernel) -> None:
    kernel.ok("c = Commander().start()")
    first = kernel.ok(
        """
        async def late():
            await asyncio.sleep(0.05)
            print("late")
            current_node().deliver(print, "delivered")
        future = c.submit(late)
        """
    )
    kernel.until(lambda: "late" in first.stdout and "delivered" in first.stdout, first)
    kernel.ok("c.exit()")


def test_failures_are_told_once_in_the_cell_that_submitted(kernel: Kernel) -> None:
    kernel.ok("c = Commander().start()\ngate = threading.Event()")
    first = kernel.ok(
        """
        def wrong(x):
            gate.wait()
            return x / 0
        def bad_callback():
            raise KeyError("callback")
        future = c.submit(wrong, 1)
        with_callback = c.submit(wrong, 2)
        with_callback.node.add_callback_functions("at_job_end", {"function": bad_callback})
        """
    )
    second = kernel.run("gate.set()\nfuture.result()")
    assert second.error == "ZeroDivisionError: division by zero"
    assert "return x / 0" in second.traceback
    assert "raised in <wrong #" in second.traceback
    kernel.until(lambda: first.stderr.count("ZeroDivisionError: division by zero") == 4, first)
    assert first.stderr.count("Traceback (most recent call last)") == 2
    assert second.stderr == ""
    kernel.ok("wait([with_callback])\nc.exit()")


def test_a_failure_in_run_is_the_cells(kernel: Kernel) -> None:
    cell = kernel.run("def wrong():\n    raise LookupError('here')\nagere.run(wrong)")
    assert cell.error == "LookupError: here"
    assert cell.stderr.count("Traceback") == 1


def test_a_body_that_blocks_the_loop_is_told_of(kernel: Kernel) -> None:
    kernel.ok("c = Commander().start()")
    first = kernel.ok("async def blocks():\n    time.sleep(0.6)\nfuture = c.submit(blocks)")
    kernel.ok("future.result()\nc.exit()")
    kernel.until(lambda: "has blocked the event loop" in first.stderr, first)
    assert "time.sleep(0.6)" in first.stderr


def test_ten_thousand_deliveries_keep_order_and_leave_the_loop_alone(kernel: Kernel) -> None:
    cell = kernel.ok(
        """
        seen, most = [], 0
        async def watch():
            global most
            while True:
                before = len(seen)
                await asyncio.sleep(0)
                most = max(most, len(seen) - before)
        def slow(number):
            seen.append(number)
            if number % 100 == 0:
                time.sleep(0.002)
        def deliver():
            for number in range(10_000):
                last = current_node().deliver(slow, number)
            last.result()
        watching = asyncio.create_task(watch())
        async with Commander() as c:
            await c.submit(deliver)
        watching.cancel()
        seen == list(range(10_000)), most
        """
    )
    ordered, most = eval(cell.value)
    assert ordered
    assert most <= 500  # a turn of the loop ends after 8 ms: at the latest with its fourth sleep


def test_what_is_delivered_while_no_cell_waits_runs_when_the_kernel_is_idle(kernel: Kernel) -> None:
    kernel.ok("c = Commander().start()\nseen = []")
    kernel.ok(
        """
        def body():
            node = current_node()
            return node.deliver(lambda: seen.append(threading.current_thread() is threading.main_thread()) or 1 / 0)
        delivered = c.submit(body).result()
        """
    )
    cell = kernel.ok("await asyncio.wait([asyncio.wrap_future(delivered)])\nseen, repr(delivered.exception())")
    assert cell.value == "([True], \"ZeroDivisionError('division by zero')\")"
    kernel.ok("c.exit()")


def test_sys_exit_in_a_delivery_does_not_end_the_kernel(kernel: Kernel) -> None:
    first = kernel.ok("import sys\nc = Commander().start()\nf = c.submit(lambda: current_node().deliver(sys.exit, 3))")
    kernel.until(lambda: "SystemExit: 3" in first.stderr, first)
    kernel.ok("c.exit()")
