"""Class 6, the process: how it ends by what is running by where the main thread is; signals, forks, limits.

Each scenario has its process to itself anyway, so it simply is the program that forgets its ``exit()``, is
interrupted, forks, or dies. What it wrote and how it ended is looked at afterwards.
"""

from __future__ import annotations

import asyncio
import contextlib
import gc
import multiprocessing
import os
import pty
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor
from functools import partial
from pathlib import Path
from typing import Any

import agere
from agere import BasicJob, Commander, JobFuture
from agere.errors import AgereError, CommanderForkedError, NodeTerminatedError, WorkerLimitError

from .ledger import PATIENCE_SECONDS, Ledger
from .scenario import Ending, Scenario
from .stage import complete, forever, make, wait_for
from .verdicts import Lost, check, same

ENDINGS = ("end of main", "sys.exit", "exception", "main ends under threads")
RUNNING = ("async", "def wait", "def blocked", "swallows", "blocks the loop", "to_thread", "stream", "idle", "dropped")
WHERE = ("run", "result", "with", "leaving with", "wait_for_exit", "future wait", "callback on host")
UNDER = ("async", "def wait", "swallows", "def blocked", "cleans up")
PROMPT_SECONDS = 4.0
GRACE_SECONDS = 0.5


def scenarios() -> Iterator[Scenario]:
    for ending in ENDINGS:
        for running in RUNNING:
            name = f"process/forgotten/{ending}/{running}".replace(" ", "-")
            code = {"sys.exit": 7, "exception": 1}.get(ending, 0)
            yield Scenario(
                name, forgotten, (ending, running), 15.0, code, partial(_left_promptly, running), False, natural=True
            )
    for where in WHERE:
        for under in UNDER:
            for times in (1, 2):
                name = f"process/sigint/{where}/{under}/{times}".replace(" ", "-")
                after = partial(_interrupted, where, under, times)
                args = (where, under, times)
                yield Scenario(name, sigint, args, 15.0, -signal.SIGINT, after, False, natural=True)
    for where in ("run", "result", "with", "leaving with"):
        for under in ("async", "def wait", "swallows"):
            name = f"process/sigterm/{where}/{under}/handler-that-exits".replace(" ", "-")
            after = partial(_left_promptly, under)
            yield Scenario(name, sigterm, (where, under), 15.0, 7, after, False, natural=True)
            name = f"process/sigterm/{where}/{under}/default".replace(" ", "-")
            yield Scenario(name, sigterm_by_default, (where, under), 15.0, -signal.SIGTERM, after, False, natural=True)
        name = f"process/signal-handler/{where}/exit".replace(" ", "-")
        yield Scenario(name, handler_calls_exit, (where,), natural=True)
    for action in ("exit", "cancel", "submit"):
        yield Scenario(f"process/signal-handler/while-submitting/{action}", handler_in_a_flood, (action,), limit=30.0)
    for terminal in ("pty", "pipe"):
        for asker in ("input on the loop", "input in a worker", "ask", "ask in a worker"):
            for answer in ("line", "end of input", "sigint"):
                name = f"process/prompt/{terminal}/{asker}/{answer}".replace(" ", "-")
                yield Scenario(name, prompt, (terminal, asker, answer), limit=15.0)
    for forker in ("main", "worker", "loop"):
        for child in ("exits", "uses the old one", "makes its own", "execs"):
            yield Scenario(f"process/fork/{forker}/{child}".replace(" ", "-"), fork, (forker, child), limit=20.0)
    yield Scenario(
        "process/fork/process-pool/delegate", process_pool, limit=30.0, clean=False
    )  # spawn leaves its tracker
    for place in ("body", "def body", "callback", "done callback", "thread"):
        code = 0 if place == "thread" else 7
        yield Scenario(f"process/sys-exit/{place}".replace(" ", "-"), sys_exit, (place,), code=code, clean=False)
    for how in ("idle", "busy", "ended", "in a cycle"):
        yield Scenario(f"process/dropped/{how}".replace(" ", "-"), dropped, (how,))
    for limit in ("threads", "max_workers", "fds", "memory of the stack"):
        yield Scenario(f"process/limits/{limit}".replace(" ", "-"), limits, (limit,), limit=20.0)
    for thread in ("non-daemon", "daemon"):
        for what in ("runs", "starts late", "submits"):
            name = f"process/threads/{thread}/{what}".replace(" ", "-")
            yield Scenario(name, threads, (thread, what), 15.0, natural=True, clean=False)


# -- what runs


def say(word: str) -> None:
    os.write(1, f"<{word}>\n".encode())


def work(kind: str, started: threading.Event) -> Any:
    async def coro() -> None:
        try:
            started.set()
            await forever()
        finally:
            say("unwound")

    async def cleans_up() -> None:
        try:
            started.set()
            await forever()
        finally:
            await asyncio.sleep(0.05)
            say("unwound")

    def waits() -> None:
        future = agere.current_node().submit(forever)
        try:
            started.set()
            future.result()
        finally:
            say("unwound")

    def blocked() -> None:
        started.set()
        time.sleep(60)

    async def swallows() -> None:
        started.set()
        while True:
            with contextlib.suppress(asyncio.CancelledError):
                await forever()

    async def blocks() -> None:
        started.set()
        time.sleep(60)

    async def in_thread() -> None:
        await asyncio.to_thread(blocked)

    async def stream() -> None:
        from agere.utils.llm_async_converters import LLMAsyncAdapter

        async for _ in LLMAsyncAdapter().llm_to_async_iterable(iter(blocked, None)):
            pass

    match kind:
        case "async":
            return make("async task", _both(coro))
        case "cleans up":
            return make("async task", _both(cleans_up))
        case "def wait":
            return BasicJob(waits)
        case "def blocked":
            return BasicJob(blocked)
        case "swallows":
            return make("async task", _both(swallows))
        case "blocks the loop":
            return make("async task", _both(blocks))
        case "to_thread":
            return make("async task", _both(in_thread))
        case "stream":
            return make("async task", _both(stream))
    started.set()
    return BasicJob(int)


def _both(coro: Callable[[], Any]) -> Any:
    from .stage import Work

    return Work(lambda: None, coro)


UNWINDS = ("async", "def wait", "cleans up")


def _left_promptly(kind: str, ending: Ending) -> None:
    """After the end: it was prompt, and ``finally`` blocks ran."""
    check(ending.seconds < PROMPT_SECONDS, f"it took {ending.seconds:.1f} s")
    if kind in UNWINDS and "<unwound>" not in ending.output:
        raise Lost("the body's finally block did not run")


def forgotten(ending: str, running: str) -> None:
    """Nobody calls ``exit()``."""
    commander = Commander[Any]().start()
    started = threading.Event()
    future: Any = commander.submit(work(running, started))
    wait_for(started, "the body")
    if running == "dropped":
        del commander, future
        gc.collect()
    match ending:
        case "sys.exit":
            raise SystemExit(7)
        case "exception":
            raise LookupError("of the program")
        case "main ends under threads":
            threading.Thread(target=time.sleep, args=(0.2,)).start()


# -- signals


def _interrupt(when: threading.Event, times: int, number: int = signal.SIGINT) -> None:
    """A thread that is the person at the keyboard."""

    def press() -> None:
        when.wait(PATIENCE_SECONDS)
        time.sleep(0.1)  # until the main thread sits in its wait: there is no event for that
        for _ in range(times):
            os.kill(os.getpid(), number)
            time.sleep(0.15)

    threading.Thread(target=press, daemon=True).start()


def _wait_where(where: str, under: str, started: threading.Event) -> None:
    commander = Commander[Any](grace=GRACE_SECONDS)
    body = work(under, started)
    match where:
        case "run":
            commander.run(body)
        case "result":
            commander.start().submit(body).result()
        case "with":
            with commander:
                commander.submit(body)
                threading.Event().wait(60)
        case "leaving with":
            with commander:
                commander.submit(body)
        case "wait_for_exit":
            commander.start().submit(body)
            commander.wait_for_exit()
        case "future wait":
            import concurrent.futures as cf

            cf.wait([commander.start().submit(body)])
        case "callback on host":
            commander.start()
            body.add_callback_functions("at_job_start", {"function": lambda: time.sleep(60), "on_host": True})
            started.set()
            commander.submit(body).result()


def sigint(where: str, under: str, times: int) -> None:
    started = threading.Event()
    _interrupt(started, times)
    _wait_where(where, under, started)
    raise AssertionError("no KeyboardInterrupt")


def _interrupted(where: str, under: str, times: int, ending: Ending) -> None:
    check(ending.seconds < PROMPT_SECONDS, f"it took {ending.seconds:.1f} s")
    began = where != "callback on host"
    if times == 1 and began and under in UNWINDS and "<unwound>" not in ending.output:
        raise Lost("the body's finally block did not run")


def sigterm(where: str, under: str) -> None:
    started = threading.Event()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(7))
    _interrupt(started, 1, signal.SIGTERM)
    _wait_where(where, under, started)
    raise AssertionError("no SystemExit")


def sigterm_by_default(where: str, under: str) -> None:
    """Nobody has set a handler: it winds down, and the process ends by it."""
    started = threading.Event()
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    _interrupt(started, 1, signal.SIGTERM)
    _wait_where(where, under, started)
    raise AssertionError("no SystemExit")


def handler_calls_exit(where: str) -> None:
    """``commander.exit()`` in a signal handler: from anywhere."""
    started = threading.Event()
    commander = Commander[Any](grace=GRACE_SECONDS)
    signal.signal(signal.SIGUSR1, lambda *_: commander.exit("by signal", wait=False))
    _interrupt(started, 1, signal.SIGUSR1)
    body = work("async", started)
    match where:
        case "run":
            same(commander.run(body), "by signal", "the result")
        case "result":
            try:
                commander.start().submit(body).result()
            except NodeTerminatedError:
                return
            raise AssertionError("a result")
        case "with" | "leaving with":
            with commander:
                commander.submit(body)
            same(commander.wait_for_exit(), "by signal", "the result")


def handler_in_a_flood(action: str) -> None:
    """Signal handlers that call the commander, while the main thread is anywhere in a submission."""
    calls = [0]
    extra: list[JobFuture[Any]] = []
    for _ in range(8):
        commander = Commander[Any](grace=2.0).start()
        futures: list[JobFuture[Any]] = [commander.submit(complete().coro)]

        def act(*_: object, commander: Any = commander, futures: Any = futures) -> None:
            calls[0] += 1
            if action == "exit":
                commander.exit(wait=False)
            elif action == "cancel":
                futures[-1].cancel()
            else:
                with contextlib.suppress(AgereError):
                    extra.append(commander.submit(complete().coro))

        signal.signal(signal.SIGALRM, act)
        signal.setitimer(signal.ITIMER_REAL, 0.003, 0.0007)
        with contextlib.suppress(AgereError):
            for _ in range(4000):
                futures.append(commander.submit(complete().coro))
        signal.setitimer(signal.ITIMER_REAL, 0)
        for future in (*futures, *extra):
            with contextlib.suppress(NodeTerminatedError):
                future.result(PATIENCE_SECONDS)
        commander.exit()
    check(calls[0] >= 8, "no signal came")


# -- prompts


def prompt(terminal: str, asker: str, answer: str) -> None:
    """A body asks while the main thread waits in ``run``."""
    if terminal == "pty":
        ours, theirs = pty.openpty()
    else:
        theirs, ours = os.pipe()
    os.dup2(theirs, 0)
    os.close(theirs)
    sys.stdin = os.fdopen(0, "r", closefd=False)
    shown = threading.Event()

    def person() -> None:
        shown.wait(PATIENCE_SECONDS)
        time.sleep(0.1)
        if answer == "line":
            os.write(ours, b"yes\n")
        elif answer == "end of input":
            if terminal == "pty":
                os.write(ours, b"\x04")
            else:
                os.close(ours)
        else:
            os.kill(os.getpid(), signal.SIGINT)

    thread = threading.Thread(target=person)
    thread.start()
    told: list[Any] = []

    async def body() -> None:
        shown.set()
        try:
            told.append(input("well? ") if asker.startswith("input") else await agere.current_node().ask("well? "))
        except EOFError as error:
            told.append(error)

    def plain() -> None:
        shown.set()
        try:
            told.append(input("well? ") if asker.startswith("input") else agere.current_node().ask("well? "))
        except EOFError as error:
            told.append(error)

    commander = Commander[Any](grace=GRACE_SECONDS)
    interrupted = False
    begun = time.monotonic()
    try:
        commander.run(plain if asker.endswith("worker") else body, auto_exit=True)
    except KeyboardInterrupt:
        interrupted = True
    thread.join()
    check(time.monotonic() - begun < PROMPT_SECONDS, "it took too long")
    same(interrupted, answer == "sigint", "interrupted")
    if answer == "line":
        same(told, ["yes"], "the answer")
    elif answer == "end of input":
        check(len(told) == 1 and isinstance(told[0], EOFError), f"the answer: {told}")
    check(not commander.running_status, "it still runs")
    with contextlib.suppress(OSError):
        if not (answer == "end of input" and terminal == "pipe"):
            os.close(ours)
    with open(os.devnull) as null:  # noqa: PTH123
        os.dup2(null.fileno(), 0)


# -- forks


def fork(forker: str, child: str) -> None:
    commander = Commander[Any](grace=GRACE_SECONDS).start()
    future = commander.submit(forever)
    codes: list[int] = []

    def in_child() -> int:
        if child == "exits":
            return 0
        if child == "execs":
            os.execv(sys.executable, [sys.executable, "-c", "import agere; raise SystemExit(agere.run(int))"])
        if child == "uses the old one":
            return _use_the_old_one(commander, future)
        same(agere.run(complete().coro), 7, "the child's own commander")
        same(commander.run(lambda: agere.current_node().exit_commander(8)), 8, "the old one, started anew")
        with Commander[Any]() as own:
            same(own.submit(complete().plain).result(PATIENCE_SECONDS), 7, "its worker")
        return 0

    def do() -> None:
        pid = os.fork()
        if pid == 0:
            code = 98
            try:
                code = in_child()
            except BaseException:
                import traceback

                traceback.print_exc()
            finally:
                os._exit(code)
        codes.append(os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]))

    async def on_loop() -> None:
        do()

    if forker == "main":
        do()
    else:
        commander.submit(on_loop if forker == "loop" else do).result(PATIENCE_SECONDS * 2)
    same(codes, [0], "how the child ended")
    same(commander.submit(complete().coro).result(PATIENCE_SECONDS), 7, "the parent goes on")
    check(not future.done(), "the parent's job was harmed")
    commander.exit()


def _use_the_old_one(commander: Commander[Any], future: JobFuture[Any]) -> int:
    begun = time.monotonic()
    refused = 0
    for call in (
        lambda: commander.submit(complete().coro),
        lambda: future.result(),
        lambda: future.result(3),
        lambda: future.exception(3),
        lambda: commander.wait_for_exit(3),
        lambda: future.node.submit(complete().coro),
        lambda: next(iter(future.stream())),
    ):
        try:
            call()
        except CommanderForkedError:
            refused += 1
    check(not commander.running_status, "the child takes it for running")
    future.cancel()
    commander.exit()
    str(commander.tree())
    commander.is_empty()
    same(refused, 7, "calls that said that the session is the parent's")
    check(time.monotonic() - begun < 4.0, "the child was held up")
    return 0


def _square(number: int) -> int:
    return number * number


def process_pool() -> None:
    async def body(number: int, pool: ProcessPoolExecutor) -> int:
        return await agere.current_node().delegate(_square, number, executor=pool)

    for method in ("fork", "spawn"):
        context = multiprocessing.get_context(method)
        with Commander[Any]() as commander, ProcessPoolExecutor(2, mp_context=context) as pool:
            futures = [commander.submit(body, number, pool) for number in range(4)]
            same([future.result(PATIENCE_SECONDS) for future in futures], [0, 1, 4, 9], "the results")


# -- leaving in other ways


def sys_exit(place: str) -> None:
    """``sys.exit(7)`` in a body or callback ends the program with 7, out of ``run()``."""

    async def coro() -> None:
        sys.exit(7)

    def plain() -> None:
        sys.exit(7)

    commander = Commander[Any](grace=GRACE_SECONDS)
    match place:
        case "body":
            commander.run(coro)
        case "def body":
            commander.run(plain)
        case "callback":
            job = BasicJob(int)
            job.add_callback_functions("at_job_end", {"function": plain})
            commander.run(job)
        case "done callback":
            gate = threading.Event()
            commander.start()
            commander.submit(gate.wait).add_done_callback(lambda _: plain())
            gate.set()
            commander.wait_for_exit()
        case "thread":  # as without Agere: it ends that thread
            thread = threading.Thread(target=plain)
            thread.start()
            thread.join()


def dropped(how: str) -> None:
    """A commander that nobody holds any more: idle, it closes itself; live work keeps it alive."""
    before = {thread.ident for thread in threading.enumerate()}
    commander: Any = Commander[Any](grace=GRACE_SECONDS).start()
    gate = threading.Event()
    ledger = Ledger()
    if how == "busy":
        ledger.accept("work", commander.submit(gate.wait, PATIENCE_SECONDS))
    if how == "ended":
        commander.exit()
    if how == "in a cycle":
        commander.me = commander
    del commander
    gc.collect()
    if how == "busy":
        gate.set()
        ledger.settle()
        same(ledger.futures["work"].result(0), True, "the work of a dropped commander")
        ledger = Ledger()
    end = time.monotonic() + PATIENCE_SECONDS
    while time.monotonic() < end:
        gc.collect()
        left = [thread.name for thread in threading.enumerate() if thread.ident not in before]
        if not left:
            return
        time.sleep(0.01)
    raise Lost(f"threads of a dropped commander: {left}")


def limits(limit: str) -> None:
    """The system, or ``max_workers``, refuses: a clear error on the node or at the call, never a hang."""
    gate = threading.Event()
    match limit:
        case "max_workers":
            with Commander[Any](max_workers=4, grace=GRACE_SECONDS) as commander:
                futures = [commander.submit(gate.wait, PATIENCE_SECONDS) for _ in range(20)]
                _refused_workers(futures, gate, 4)
        case "threads":
            with Commander[Any](grace=GRACE_SECONDS) as commander:
                name = "_start_joinable_thread" if sys.version_info >= (3, 13) else "_start_new_thread"
                real, count = getattr(threading, name), [0]

                def limited(*args: Any, **kwargs: Any) -> Any:
                    count[0] += 1
                    if count[0] > 4:
                        raise RuntimeError("can't start new thread")
                    return real(*args, **kwargs)

                setattr(threading, name, limited)
                futures = [commander.submit(gate.wait, PATIENCE_SECONDS) for _ in range(20)]
                _refused_workers(futures, gate, 4)
                try:
                    Commander().start()
                except WorkerLimitError:
                    setattr(threading, name, real)
                    return
                raise AssertionError("a commander without a thread")
        case "fds":
            _low_on_fds()
        case "memory of the stack":
            code = "import agere; print(agere.run(lambda: sum(range(10))))"
            done = subprocess.run(
                ["/bin/sh", "-c", f"ulimit -s 1024; exec {sys.executable} -c '{code}'"],
                check=False,
                capture_output=True,
                text=True,
                timeout=PATIENCE_SECONDS * 2,
            )
            same(done.stdout.strip(), "45", f"the result ({done.stderr})")


def _refused_workers(futures: list[JobFuture[Any]], gate: threading.Event, limit: int) -> None:
    refused = 0
    for future in futures[limit:]:
        error = future.exception(PATIENCE_SECONDS)
        check(isinstance(error, WorkerLimitError), f"over the limit: {error!r}")
        refused += 1
    gate.set()
    for future in futures[:limit]:
        same(future.result(PATIENCE_SECONDS), True, "a body that had a worker")
    same(refused, len(futures) - limit, "how many were refused")


def _low_on_fds() -> None:
    import resource

    def count() -> int:
        return len(list(Path("/proc/self/fd").iterdir()))

    before = count()
    resource.setrlimit(resource.RLIMIT_NOFILE, (before + 12, before + 12))
    started: list[Commander[Any]] = []
    refused = None
    for _ in range(12):
        commander = Commander[Any](grace=GRACE_SECONDS)
        try:
            started.append(commander.start())
        except (OSError, AgereError) as error:
            refused = error
            check(not commander.running_status, "it claims to run")
            break
    check(refused is not None, "no limit was met")
    for commander in started:
        same(commander.submit(complete().coro).result(PATIENCE_SECONDS), 7, "one that was started before")
        commander.exit()
    gc.collect()
    check(count() <= before + 1, f"{count() - before} descriptors leaked")
    same(agere.run(complete().coro), 7, "afterwards")


def threads(kind: str, what: str) -> None:
    """Threads that use commanders while the main thread has come to its end: nothing hangs, all is told."""
    gate = threading.Event()
    commander = Commander[Any](grace=GRACE_SECONDS)

    def use() -> None:
        try:
            if what == "runs":
                agere.run(asyncio.sleep, 0.3)
            elif what == "starts late":
                threading.main_thread().join()
                agere.run(complete().coro)
            else:
                commander.start()
                gate.set()
                while True:
                    commander.submit(complete().coro).result(PATIENCE_SECONDS)
        except (AgereError, RuntimeError) as error:
            say(f"told {type(error).__name__}")
        finally:
            gate.set()

    threading.Thread(target=use, daemon=kind == "daemon").start()
    if what == "submits":
        wait_for(gate, "the thread")
