"""What holds for every window: the same programs with a real Tk window and a real Qt one, each in its own process."""

from __future__ import annotations

import textwrap
from collections.abc import Callable

import pytest

from tests.support.subprocesses import Outcome, run_python
from tests.support.x11 import open_screen

PRELUDE = """\
import os, signal, sys, threading, time
from concurrent.futures import CancelledError
from agere import Commander, current_node
from agere.errors import *
from tests.support.windows import open_window

window = open_window()
main = threading.get_ident()

def interrupt():
    os.kill(os.getpid(), signal.SIGINT)

"""

Run = Callable[..., Outcome]


@pytest.fixture(scope="module", params=["tk", "qt"])
def run(request: pytest.FixtureRequest):  # type: ignore[no-untyped-def]
    """Runs a program with a window; it has to end with code 0, and to say nothing on stderr."""
    toolkit = request.param

    def start(env: dict[str, str]) -> Run:
        def run(program: str, quiet: bool = True, code: int = 0) -> Outcome:
            outcome = run_python(PRELUDE + textwrap.dedent(program), toolkit, env=env)
            outcome.check(code=code)
            told = [line for line in outcome.err.splitlines() if "propagateSizeHints" not in line]
            assert not (quiet and told), str(outcome)
            return outcome

        return run

    if toolkit == "tk":
        pytest.importorskip("tkinter", reason="needs the Debian package python3-tk", exc_type=ImportError)
        with open_screen() as screen:
            yield start(screen.env)
    else:
        widgets = (
            "PySide6 (pip install 'agere[qt]') with the Debian packages libegl1 libgl1 libxkbcommon0 libfontconfig1"
        )
        pytest.importorskip("PySide6.QtWidgets", reason=f"needs {widgets}", exc_type=ImportError)
        yield start({"QT_QPA_PLATFORM": "offscreen"})


# -- deliveries


def test_ten_thousand_deliveries_keep_order_and_leave_the_window_responsive(run: Run) -> None:
    run(
        """
        ticks, seen, at = 0, [], []
        def tick():
            global ticks
            ticks += 1
        def show(number):
            seen.append(number)
            at.append(ticks)
            assert threading.get_ident() == main
            end = time.perf_counter() + 50e-6  # a delivery that has something to do
            while time.perf_counter() < end: pass
        def work():
            node = current_node()
            for number in range(10_000):
                node.deliver(show, number)
        with Commander(host=window.host()) as commander:
            window.every(1, tick)
            commander.submit(work).add_done_callback(lambda _: window.quit(), on_host=True)
            window.run()
        assert seen == list(range(10_000))
        # Half a second of deliveries, in turns of some 8 ms: between any two the window's own timer has its turn.
        assert len(set(at)) >= 20, len(set(at))
        most = max(at.count(tick) for tick in set(at))
        assert most < 1_000, most
        """
    )


def test_a_worker_that_keeps_pace_with_the_window_leaves_it_responsive_too(run: Run) -> None:
    run(
        """
        ticks, seen, at = 0, [], []
        def tick():
            global ticks
            ticks += 1
        def show(number):
            seen.append(number)
            at.append(ticks)
            end = time.perf_counter() + 50e-6
            while time.perf_counter() < end: pass
        def work():
            node = current_node()
            for number in range(20_000):
                while number - len(seen) > 300: time.sleep(0.001)
                node.deliver(show, number)
        with Commander(host=window.host()) as commander:
            window.every(1, tick)
            commander.submit(work).add_done_callback(lambda _: window.quit(), on_host=True)
            window.run()
        assert seen == list(range(20_000))
        most = max(at.count(tick) for tick in set(at))
        assert most < 1_000, most
        """
    )


def test_deliveries_of_several_workers_keep_each_ones_order(run: Run) -> None:
    run(
        """
        seen = {number: [] for number in range(8)}
        def work(mine):
            node = current_node()
            for number in range(200):
                last = node.deliver(seen[mine].append, number)
            assert last.result() is None
        with Commander(host=window.host()) as commander:
            futures = [commander.submit(work, number) for number in seen]
            window.when(lambda: all(future.done() for future in futures), window.quit)
            window.run()
        assert all(order == list(range(200)) for order in seen.values())
        """
    )


def test_what_a_delivery_gives_and_raises_reaches_its_future(run: Run) -> None:
    outcome = run(
        """
        def fail():
            raise ValueError("in the window")
        async def work():
            import asyncio
            node = current_node()
            assert await asyncio.wrap_future(node.deliver(threading.get_ident)) == main
            try:
                await asyncio.wrap_future(node.deliver(fail))
            except ValueError as error:
                return str(error)
        with Commander(host=window.host()) as commander:
            future = commander.submit(work)
            future.add_done_callback(lambda _: window.quit(), on_host=True)
            future.add_done_callback(lambda _: 1 / 0, on_host=True)
            window.run()
            assert future.result() == "in the window"
        """,
        quiet=False,
    )
    assert outcome.err.count("Traceback") == 1
    assert "a call on the host's thread failed" in outcome.err


def test_deliveries_of_a_terminated_node_are_dropped(run: Run) -> None:
    run(
        """
        import asyncio
        seen, futures, delivered, unwinding = [], [], threading.Event(), threading.Event()
        async def work():
            futures.append(current_node().deliver(seen.append, "too late"))
            delivered.set()
            try:
                await asyncio.sleep(60)
            finally:
                unwinding.set()
        with Commander(host=window.host()) as commander:
            job = commander.submit(work)
            delivered.wait()
            job.cancel()
            unwinding.wait()
            job.add_done_callback(lambda _: window.quit(), on_host=True)
            window.run()
        assert seen == [] and futures[0].cancelled() and job.cancelled()
        """
    )


def test_a_delivery_with_an_event_loop_of_its_own_does_not_hold_up_the_others(run: Run) -> None:
    run(
        """
        seen = []
        def work():
            node = current_node()
            node.deliver(window.nested, lambda: len(seen) == 50)
            last = [node.deliver(seen.append, number) for number in range(50)][-1]
            last.result()
        with Commander(host=window.host()) as commander:
            commander.submit(work).add_done_callback(lambda _: window.quit(), on_host=True)
            window.run()
        assert seen == list(range(50))
        """
    )


# -- the window's thread waits


@pytest.mark.parametrize("wait", ["commander.exit()", "future.result()", "list(future.stream())"])
def test_while_the_windows_thread_waits_deliveries_go_on(run: Run, wait: str) -> None:
    run(
        f"""
        begun = threading.Event()
        def work():
            node = current_node()
            begun.set()
            for _ in range(1000):
                assert node.deliver(threading.get_ident).result() == main
        host = window.host()
        commander = Commander(host=host).start()
        def wait():
            begun.wait()
            {wait}
            assert future.done()
            window.quit()
        future = commander.submit(work)
        window.after(10, wait)
        window.run()
        commander.exit()
        if {wait!r} == "commander.exit()":
            assert future.cancelled()
        else:
            future.result()
        """
    )


def test_what_is_delivered_meanwhile_is_shown(run: Run) -> None:
    run(
        """
        painted = window.paints()
        def work():
            node = current_node()
            for number in range(5):
                before = len(painted)
                node.deliver(window.show, str(number)).result()
                end = time.monotonic() + 10
                while len(painted) == before:  # the window's thread is in result() all the time
                    assert time.monotonic() < end
                    time.sleep(0.001)
        with Commander(host=window.host()) as commander:
            window.after(50, lambda: (commander.submit(work).result(), window.quit()))
            window.run()
        """
    )


def test_leaving_a_with_block_on_the_windows_thread_serves_deliveries(run: Run) -> None:
    run(
        """
        seen = []
        def work():
            return [current_node().deliver(seen.append, number).result() for number in range(100)]
        with Commander(host=window.host()) as commander:
            commander.submit(work)
        assert seen == list(range(100))
        """
    )


def test_a_stream_is_read_on_the_windows_thread_and_broken_off(run: Run) -> None:
    run(
        """
        ended = []
        def work():
            try:
                for number in range(1_000_000):
                    current_node().emit(number)
                    if number % 100 == 0:
                        current_node().deliver(ended.append, "").result()
            finally:
                ended.append("ended")
        commander = Commander(host=window.host()).start()
        def read():
            got = []
            for number in future.stream():
                got.append(number)
                if number == 5000:
                    break
            assert got == list(range(5001))
            window.when(future.done, window.quit)
        future = commander.submit(work)
        window.after(10, read)
        window.run()
        commander.exit()
        assert future.cancelled() and ended[-1] == "ended"
        """
    )


def test_a_wait_within_a_delivery_for_its_own_node_is_refused(run: Run) -> None:
    run(
        """
        def work():
            node = current_node()
            return node.deliver(lambda: future.exception(5)).exception()
        with Commander(host=window.host()) as commander:
            future = commander.submit(work)
            future.add_done_callback(lambda _: window.quit(), on_host=True)
            window.run()
            assert isinstance(future.result(), DeadlockError)
        """
    )


# -- questions


def test_questions_appear_one_after_another_and_in_order_with_deliveries(run: Run) -> None:
    run(
        """
        told = []
        def work():
            node = current_node()
            node.deliver(told.append, "before")
            return node.ask("First?")
        async def second():
            return await current_node().ask("Second?")
        with Commander(host=window.host()) as commander:
            futures = [commander.submit(work)]
            window.when(lambda: commander.questions, lambda: futures.append(commander.submit(second)))
            shown = []
            def answer():
                shown.append((window.prompts(), list(told)))
                window.answer("one")
                window.when(lambda: window.prompts() == ["Second?"], lambda: (window.answer("two"),))
            window.when(lambda: window.prompts() and len(commander.questions) == 2, answer)
            window.when(lambda: len(futures) == 2 and all(f.done() for f in futures), window.quit)
            window.run()
            assert shown == [(["First?"], ["before"])]
            assert [future.result() for future in futures] == ["one", "two"]
            window.when(lambda: not window.prompts(), window.quit)
            window.run()
        """
    )


def test_a_question_answered_from_elsewhere_or_of_a_terminated_node_leaves_the_screen(run: Run) -> None:
    run(
        """
        def work(prompt):
            return current_node().ask(prompt)
        with Commander(host=window.host()) as commander:
            answered, terminated = commander.submit(work, "Yes?"), commander.submit(work, "No?")
            def after_one():
                left = commander.questions[0].prompt
                (answered if left == "Yes?" else terminated).cancel()
                window.when(lambda: not window.prompts() and answered.done() and terminated.done(), window.quit)
            def answer():
                commander.questions[0].answer("over there")
                def one_left():
                    return [question.prompt for question in commander.questions] == window.prompts()
                window.when(one_left, after_one)
            window.when(lambda: window.prompts() and len(commander.questions) == 2, answer)
            window.run()
            assert sorted((future.cancelled() for future in (answered, terminated))) == [False, True]
        """
    )


def test_a_dismissed_question_fails_clearly(run: Run) -> None:
    run(
        """
        def work():
            try:
                current_node().ask("Well?")
            except EOFError as error:
                return str(error)
        with Commander(host=window.host()) as commander:
            future = commander.submit(work)
            future.add_done_callback(lambda _: window.quit(), on_host=True)
            window.when(window.prompts, window.dismiss)
            window.run()
            assert future.result() == "the person closed the question without an answer"
        """
    )


def test_a_question_can_be_answered_while_the_windows_thread_waits(run: Run) -> None:
    run(
        """
        def work():
            return current_node().ask("Well?")
        with Commander(host=window.host()) as commander:
            window.when(window.prompts, lambda: window.answer("well"))  # as the person does
            assert commander.submit(work).result() == "well"
            assert not window.prompts()
        """
    )


def test_a_long_question_does_not_outgrow_the_screen(run: Run) -> None:
    run(
        """
        def work():
            return current_node().ask("Run this?\\n" + "x" * 60 + "\\n" + "line\\n" * 2000)
        heights = []
        with Commander(host=window.host()) as commander:
            future = commander.submit(work)
            future.add_done_callback(lambda _: window.quit(), on_host=True)
            window.when(lambda: window.dialog_height() > 100,
                        lambda: (heights.append(window.dialog_height()), window.answer("yes")))
            window.run()
            assert future.result() == "yes"
        assert heights[0] < 500, heights
        """
    )


def test_input_is_asked_in_the_window(run: Run) -> None:
    run(
        """
        def work():
            return input("Well? ")
        with Commander(host=window.host()) as commander:
            future = commander.submit(work)
            future.add_done_callback(lambda _: window.quit(), on_host=True)
            window.when(window.prompts, lambda: window.answer("well"))
            window.run()
            assert future.result() == "well"
        """
    )


# -- the window goes


def test_a_window_that_goes_fails_what_waits_for_it_and_what_comes(run: Run) -> None:
    run(
        """
        import logging
        logging.getLogger("agere.node").setLevel(logging.CRITICAL)
        def ask():
            return current_node().ask("Well?")
        def deliver():
            return current_node().deliver(time.sleep, 0).result()
        host = window.host()
        commander = Commander(host=host).start()
        asking = commander.submit(ask)
        window.when(window.prompts, window.quit)
        window.run()
        delivering = commander.submit(deliver)  # nobody takes it any more
        while not host._calls: time.sleep(0.001)
        window.go()
        called = []
        for future in (asking, delivering, commander.submit(ask), commander.submit(deliver)):
            assert isinstance(future.exception(10), HostGoneError), future
            future.add_done_callback(called.append, on_host=True)
        assert not host.answers() and not called
        try:
            window.host()
        except (HostGoneError, HostError) as error:
            pass
        else:
            raise AssertionError("a host of nothing")
        commander.exit()
        """
    )


def test_a_host_is_made_on_the_windows_thread(run: Run) -> None:
    run(
        """
        errors = []
        def make():
            try:
                window.host()
            except HostError as error:
                errors.append(str(error))
        def elsewhere():
            thread = threading.Thread(target=make)
            thread.start()
            return thread
        elsewhere().join()
        window.after(0, elsewhere)  # with a running loop, Tk would take the calls over
        window.when(lambda: len(errors) == 2, window.quit)
        window.run()
        assert all("must be made on the thread" in error for error in errors), errors
        """
    )


def test_several_commanders_share_a_window_also_made_while_it_runs(run: Run) -> None:
    run(
        """
        seen = []
        def work(name):
            for number in range(100):
                current_node().deliver(seen.append, name).result()
        host = window.host()
        commanders = [Commander(host=host).start(), Commander(host=window.host()).start()]
        def more():
            commanders.append(Commander(host=host).start())
            futures = [commander.submit(work, number) for number, commander in enumerate(commanders)]
            window.when(lambda: all(future.done() for future in futures), window.quit)
        window.after(10, more)
        window.run()
        for commander in commanders:
            commander.exit()
        assert sorted(seen) == sorted([0, 1, 2] * 100)
        """
    )


def test_callbacks_on_the_windows_thread(run: Run) -> None:
    run(
        """
        from contextvars import ContextVar
        from agere.commander import Job, tasker, PASS_WORD
        request = ContextVar("request", default="none")
        where = []
        class Work(Job):
            def __init__(self):
                super().__init__()
                for phase in ("at_job_start", "at_job_end"):
                    self.add_callback_functions(phase, {"function": self.note, "on_host": True})
            def note(self):
                where.append(threading.get_ident())
            @tasker(PASS_WORD)
            async def task(self):
                return 5
        with Commander(host=window.host()) as commander:
            future = commander.submit(Work())
            request.set("mine")
            future.add_done_callback(
                lambda done: (where.append((done.result(), request.get(), threading.get_ident())), window.quit()),
                on_host=True)
            request.set("another")
            window.run()
        assert where == [main, main, (5, "mine", main)]
        """
    )


# -- Ctrl-C


def test_ctrl_c_ends_an_idle_loop_and_everything(run: Run) -> None:
    run(
        """
        import asyncio
        ended = []
        async def work():
            try:
                await asyncio.sleep(60)
            finally:
                ended.append("ended")
        try:
            with Commander(host=window.host()) as commander:
                future = commander.submit(work)
                window.after(50, lambda: threading.Timer(0.2, interrupt).start())
                window.run()
                raise AssertionError("it goes on")
        except KeyboardInterrupt:
            assert ended == ["ended"] and future.cancelled() and not commander.running_status
        else:
            raise AssertionError("no KeyboardInterrupt")
        assert signal.getsignal(signal.SIGINT) is signal.default_int_handler
        """
    )


def test_after_ctrl_c_the_window_can_be_run_again(run: Run) -> None:
    run(
        """
        host, seen = window.host(), []
        def work():
            current_node().deliver(seen.append, "delivered").result()
            interrupt()
        for count in range(1, 6):
            try:
                with Commander(host=host) as commander:
                    commander.submit(work)
                    window.run()
                    raise AssertionError("it goes on")
            except KeyboardInterrupt:
                assert len(seen) == count
        """
    )


def test_ctrl_c_while_a_callback_of_the_window_waits(run: Run) -> None:
    outcome = run(
        """
        import asyncio
        with Commander(host=window.host()) as commander:
            def wait():
                threading.Timer(0.3, interrupt).start()
                commander.submit(asyncio.sleep, 60).result()
            window.after(10, wait)
            try:
                window.run()
            except KeyboardInterrupt:
                assert not commander.tree().to_dict()["children"]
                print("interrupted")
        """,
        quiet=False,  # PySide6 prints what leaves a slot
    )
    assert outcome.out == "interrupted\n"


def test_ctrl_c_with_a_question_on_the_screen(run: Run) -> None:
    run(
        """
        def work():
            return current_node().ask("Well?")
        with Commander(host=window.host()) as commander:
            window.when(window.prompts, lambda: threading.Timer(0.1, interrupt).start())
            try:
                commander.submit(work).result()
            except KeyboardInterrupt:
                assert not commander.questions and not window.prompts()
            else:
                raise AssertionError("no KeyboardInterrupt")
        """
    )


def test_a_program_that_handles_sigint_itself_keeps_its_handler(run: Run) -> None:
    run(
        """
        came = []
        def handler(*_):
            came.append(1)
            window.quit()
        signal.signal(signal.SIGINT, handler)
        with Commander(host=window.host()):
            window.after(200, lambda: threading.Timer(0.1, interrupt).start())
            window.run()
        assert came == [1] and signal.getsignal(signal.SIGINT) is handler
        """
    )


def test_sys_exit_in_a_delivery_ends_the_program(run: Run) -> None:
    run(
        """
        def work():
            current_node().deliver(sys.exit, 3).result()
        with Commander(host=window.host(), grace=1) as commander:
            commander.submit(work)
            window.run()
            raise AssertionError("it goes on")
        """,
        code=3,
        quiet=False,
    )


# -- without the toolkit


@pytest.mark.parametrize(
    ("host", "package", "remedy"),
    [("TkHost", "tkinter", "python3-tk"), ("QtHost", "PySide6", "pip install 'agere[qt]'")],
)
def test_a_missing_toolkit_is_told_when_its_host_is_used(host: str, package: str, remedy: str) -> None:
    run_python(
        f"""
        import sys
        sys.modules[{package!r}] = None  # not installed
        import agere, agere.hosts
        from agere.hosts import *
        assert {host!r} in dir(agere.hosts)
        try:
            from agere.hosts import {host}
        except ImportError as error:
            assert {remedy!r} in str(error), error
        else:
            raise AssertionError
        try:
            agere.hosts.Nothing
        except AttributeError as error:
            assert "Nothing" in str(error)
        """
    ).check()


def test_no_toolkit_is_imported_before_its_host_is_used() -> None:
    run_python(
        """
        import sys
        import agere, agere.hosts, agere.testing
        agere.Commander().run(auto_exit=True)
        assert not {"tkinter", "_tkinter", "PySide6", "shiboken6"} & set(sys.modules)
        """
    ).check()


def test_wrong_windows_are_refused(run: Run) -> None:
    run(
        """
        from agere import hosts
        host = getattr(hosts, {"tk": "TkHost", "qt": "QtHost"}[sys.argv[1]])
        try:
            host("a window")
        except TypeError as error:
            assert "'a window'" in str(error)
        else:
            raise AssertionError
        """
    )
