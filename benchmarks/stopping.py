"""How long it takes to stop: from Stop (or Ctrl-C) until the model's server sees the disconnect, host by host.

Run it from a checkout:  python -m benchmarks.stopping [ROUNDS]

A scripted server in this process says one word and then nothing. A program in another process asks it, and stops as
soon as the word is there. The clock is the system's monotonic one, which both read. The second column says when the
program was free again: the Future was resolved, ``result()`` or the window's loop had raised KeyboardInterrupt and the
work had unwound, so that a prompt would appear.
"""

from __future__ import annotations

import asyncio
import json
import os
import re
import shutil
import signal
import statistics
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import wait
from contextlib import contextmanager, suppress
from functools import partial
from pathlib import Path
from time import monotonic
from typing import Any

from agere import Commander, JobFuture, current_node
from agere.testing import ScriptedLLM, silent
from agere.utils.llm_async_converters import LLMAsyncAdapter
from agere.utils.stoppable import stoppable

ROOT = Path(__file__).parents[1]
ROUNDS = 20
CHILDREN: dict[str, Callable[[Asking, int], None]] = {}


# -- the programs that are stopped


class Asking:
    """Asks the server, and tells the process that measures.

    Attributes:
        heard: set when the server's word is there.
    """

    def __init__(self, url: str) -> None:
        import openai

        self.heard = threading.Event()
        self._client = openai.OpenAI(base_url=url, api_key="none", max_retries=0)

    def _request(self) -> Any:
        return self._client.chat.completions.create(
            model="any", messages=[{"role": "user", "content": "?"}], stream=True
        )

    def _hear(self, chunk: Any) -> None:
        if chunk.choices[0].delta.content:
            self.heard.set()
            node = current_node()
            if node is not None and self.on_heard is not None:
                node.deliver(self.on_heard)

    on_heard: Callable[[], object] | None = None

    async def awaiting(self) -> None:
        async for chunk in LLMAsyncAdapter().llm_to_async_iterable(self._request):
            self._hear(chunk)

    def plainly(self) -> None:
        for chunk in stoppable(self._request()):
            self._hear(chunk)

    def interrupt_when_heard(self) -> list[float]:
        """Ctrl-C, as soon as the word is there. Gives a list that then holds the time."""
        at: list[float] = []

        def interrupt() -> None:
            self.heard.wait()
            self.heard.clear()
            at.append(monotonic())
            os.kill(os.getpid(), signal.SIGINT)

        threading.Thread(target=interrupt).start()
        return at


def tell(stopped: float) -> None:
    """A round is over: now."""
    print(json.dumps({"stopped": stopped, "free": monotonic()}), flush=True)
    sys.stdin.readline()  # the next round begins when the server has seen this one's end


def child(name: str) -> Callable[[Callable[[Asking, int], None]], Callable[[Asking, int], None]]:
    def add(fn: Callable[[Asking, int], None]) -> Callable[[Asking, int], None]:
        CHILDREN[name] = fn
        return fn

    return add


def _cancel(body: Callable[[], Any], asking: Asking, rounds: int) -> None:
    with Commander[None]() as commander:
        for _ in range(rounds):
            future = commander.submit(body)
            asking.heard.wait()
            asking.heard.clear()
            stopped = monotonic()
            future.cancel()
            wait([future])
            tell(stopped)


@child("script: future.cancel(), async def body")
def script_cancel(asking: Asking, rounds: int) -> None:
    _cancel(asking.awaiting, asking, rounds)


@child("script: future.cancel(), def body")
def script_cancel_plain(asking: Asking, rounds: int) -> None:
    _cancel(asking.plainly, asking, rounds)


@child("script: Ctrl-C in result()")
def script_interrupt(asking: Asking, rounds: int) -> None:
    with Commander[None]() as commander:
        for _ in range(rounds):
            at = asking.interrupt_when_heard()
            with suppress(KeyboardInterrupt):
                commander.submit(asking.awaiting).result()
            tell(at[0])


@child("script: Ctrl-C in run()")
def script_interrupt_run(asking: Asking, rounds: int) -> None:
    for _ in range(rounds):
        at = asking.interrupt_when_heard()
        with suppress(KeyboardInterrupt):
            Commander[None]().run(asking.awaiting)
        tell(at[0])


@child("asyncio: task.cancel()")
def asyncio_cancel(asking: Asking, rounds: int) -> None:
    async def main() -> None:
        async def ask(future: JobFuture[None]) -> None:
            await future

        async with Commander[None]() as commander:
            for _ in range(rounds):
                future = commander.submit(asking.awaiting)
                task = asyncio.create_task(ask(future))
                await asyncio.to_thread(asking.heard.wait)
                asking.heard.clear()
                stopped = monotonic()
                task.cancel()
                with suppress(asyncio.CancelledError):
                    await task
                await asyncio.to_thread(wait, [future])
                await asyncio.to_thread(tell, stopped)

    asyncio.run(main())


def _stop_button(host: Any, run: Callable[[], object], leave: Callable[[], object], asking: Asking, left: int) -> None:
    """``run`` runs the window; the button is pressed in its thread when the word is shown."""
    stopped = 0.0
    with Commander[None](host=host) as commander:

        def begin() -> None:
            nonlocal future
            future = commander.submit(asking.awaiting)
            future.add_done_callback(ended, on_host=True)

        def press() -> None:
            nonlocal stopped
            stopped = monotonic()
            future.cancel()

        def ended(_: object) -> None:
            nonlocal left
            tell(stopped)
            left -= 1
            if left:
                begin()
            else:
                leave()

        future: JobFuture[None]
        asking.on_heard = press
        begin()
        run()


def _interrupt_window(host: Any, run: Callable[[], object], asking: Asking, rounds: int) -> None:
    for _ in range(rounds):
        at = asking.interrupt_when_heard()
        with suppress(KeyboardInterrupt), Commander[None](host=host) as commander:
            commander.submit(asking.awaiting)
            run()
        tell(at[0])


@child("Tk: Stop button")
def tk_stop(asking: Asking, rounds: int) -> None:
    import tkinter

    from agere.hosts import TkHost

    root = tkinter.Tk()
    _stop_button(TkHost(root), root.mainloop, root.quit, asking, rounds)


@child("Tk: Ctrl-C")
def tk_interrupt(asking: Asking, rounds: int) -> None:
    import tkinter

    from agere.hosts import TkHost

    root = tkinter.Tk()
    _interrupt_window(TkHost(root), root.mainloop, asking, rounds)


@child("Qt: Stop button")
def qt_stop(asking: Asking, rounds: int) -> None:
    from PySide6.QtWidgets import QApplication

    from agere.hosts import QtHost

    app = QApplication([])
    _stop_button(QtHost(), app.exec, app.quit, asking, rounds)


@child("Qt: Ctrl-C")
def qt_interrupt(asking: Asking, rounds: int) -> None:
    from PySide6.QtWidgets import QApplication

    from agere.hosts import QtHost

    app = QApplication([])
    _interrupt_window(QtHost(), app.exec, asking, rounds)


# -- measuring


class Measured:
    """The times of one program, in seconds from Stop."""

    def __init__(self) -> None:
        self.disconnected: list[float] = []
        self.free: list[float] = []


def measure(name: str, rounds: int, env: dict[str, str]) -> Measured:
    measured = Measured()
    pipe = subprocess.PIPE
    with ScriptedLLM(lambda _: silent("word")) as server:
        command = [sys.executable, "-m", "benchmarks.stopping", "--child", name, server.base_url, str(rounds)]
        with subprocess.Popen(command, stdin=pipe, stdout=pipe, text=True, cwd=ROOT, env=env) as process:
            assert process.stdin is not None
            assert process.stdout is not None
            for count in range(1, rounds + 1):
                seen = server.wait_request(count, timeout=30).wait_disconnected(30)
                at = monotonic()
                line = process.stdout.readline()
                if not seen or not line:
                    raise RuntimeError(f"{name}: the program has ended, or was not stopped")
                told = json.loads(line)
                measured.disconnected.append(at - told["stopped"])
                measured.free.append(told["free"] - told["stopped"])
                process.stdin.write("\n")
                process.stdin.flush()
    return measured


def measure_asgi(rounds: int, env: dict[str, str]) -> Measured:
    """The example's server; the client that goes away is here."""
    import httpx2 as httpx

    measured = Measured()
    with ScriptedLLM(lambda _: silent("word")) as server:
        variables = {**env, "OPENAI_BASE_URL": server.base_url, "OPENAI_API_KEY": "none"}
        command = [sys.executable, str(ROOT / "examples/asgi_app.py"), "0"]
        with subprocess.Popen(
            command, stderr=subprocess.PIPE, stdout=subprocess.DEVNULL, text=True, env=variables
        ) as app:
            assert app.stderr is not None
            lines = (re.search(r"http://127\.0\.0\.1:\d+(?= \(Press)", line) for line in app.stderr)
            url = next(found[0] for found in lines if found)
            threading.Thread(target=app.stderr.read, daemon=True).start()
            for count in range(1, rounds + 1):
                with httpx.stream("GET", f"{url}/answer?question=Why", timeout=30, trust_env=False) as response:
                    next(response.iter_text())
                    stopped = monotonic()
                    response.close()
                if not server.wait_request(count).wait_disconnected(30):
                    raise RuntimeError("the job was not stopped")
                measured.disconnected.append(monotonic() - stopped)
            app.send_signal(signal.SIGINT)
    return measured


@contextmanager
def screen() -> Iterator[str | None]:
    """A display for Tk: the one that is there, or a virtual one."""
    if os.environ.get("DISPLAY") or sys.platform != "linux":
        yield os.environ.get("DISPLAY", "")
    elif shutil.which("Xvfb") is None:
        yield None
    else:
        reading, writing = os.pipe()
        with subprocess.Popen(["Xvfb", "-displayfd", str(writing)], pass_fds=[writing], stderr=subprocess.DEVNULL) as x:
            os.close(writing)
            with os.fdopen(reading) as told:
                yield f":{told.readline().strip()}"
            x.terminate()


def in_ms(seconds: list[float]) -> str:
    if not seconds:
        return f"{'-':>8} {'-':>8}"
    return f"{statistics.median(seconds) * 1000:8.1f} {max(seconds) * 1000:8.1f}"


def main(rounds: int) -> None:
    env = {**os.environ, "PYTHONPATH": str(ROOT), "QT_QPA_PLATFORM": os.environ.get("QT_QPA_PLATFORM", "offscreen")}
    print(f"{rounds} rounds each, ms".ljust(42), "server sees it".rjust(17), "free again".rjust(18))
    print(" " * 42, f"{'median':>8} {'worst':>8} {'median':>9} {'worst':>8}")
    with screen() as display:
        rows: dict[str, Callable[[], Measured]] = {
            name: partial(measure, name, rounds, {**env, "DISPLAY": display or ""}) for name in CHILDREN
        }
        rows["asyncio: an ASGI server's client goes away"] = partial(measure_asgi, rounds, env)
        for name, run in rows.items():
            if display is None and name.startswith("Tk"):
                print(f"{name:42} needs a screen, or the Debian package xvfb")
                continue
            measured = run()
            print(f"{name:42} {in_ms(measured.disconnected)} {in_ms(measured.free):>18}", flush=True)


if __name__ == "__main__":
    if sys.argv[1:2] == ["--child"]:
        CHILDREN[sys.argv[2]](Asking(sys.argv[3]), int(sys.argv[4]))
    else:
        main(int(sys.argv[1]) if sys.argv[1:] else ROUNDS)
