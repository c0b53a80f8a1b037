"""A real ipykernel, driven over its own protocol, from one thread.

``with Kernel() as kernel:`` starts one. ``kernel.run(code)`` executes a cell to its end; ``kernel.begin(code)`` only
sends it, and ``kernel.until(...)`` reads what the kernel says until something is true. Every message is sorted to the
cell that its ``parent_header`` names, as a notebook does: what a cell shows is what a person would see below it.
"""

from __future__ import annotations

import re
import textwrap
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from time import monotonic
from typing import Any, Self

import pytest
import zmq
from jupyter_client.blocking.client import BlockingKernelClient
from jupyter_client.manager import KernelManager

LIMIT_SECONDS = 30.0
"""When a cell, a kernel's start or its end counts as hanging. Slow machines get there; nothing else should."""

_COLORS = re.compile(r"\x1b\[[0-9;]*m")


@dataclass
class Cell:
    """One executed cell, with all that it has shown so far."""

    code: str
    id: str
    answers: list[str] = field(default_factory=list)
    stdout: str = ""
    stderr: str = ""
    result: dict[str, Any] = field(default_factory=dict)
    displays: list[dict[str, Any]] = field(default_factory=list)
    display_ids: list[str | None] = field(default_factory=list)
    prompts: list[str] = field(default_factory=list)
    error: str | None = None
    traceback: str = ""
    status: str | None = None
    idle: bool = False
    ended_at: float = 0.0

    @property
    def over(self) -> bool:
        """Whether it has replied and said all that belongs to its run."""
        return self.idle and self.status is not None

    @property
    def value(self) -> str:
        """The text of the last expression's value."""
        return str(self.result.get("text/plain", ""))

    def __str__(self) -> str:
        return (
            f"{self.code}\n--- {self.status}, value {self.value!r}, prompts {self.prompts}\n--- stdout\n{self.stdout}\n"
            f"--- stderr\n{self.stderr}\n--- {self.error}\n{self.traceback}"
        )


class Kernel:
    """A kernel process and its one client."""

    def __init__(self) -> None:
        self._manager = KernelManager()
        self._client: BlockingKernelClient | None = None
        self._cells: dict[str, Cell] = {}
        self.open_prompts: list[Cell] = []
        """Cells whose prompt stands unanswered, in the order in which the prompts came."""

    def __enter__(self) -> Self:
        self._manager.start_kernel()
        try:
            self._connect()
        except BaseException:
            self.__exit__()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        try:
            if self._client is not None:
                self._client.stop_channels()
            if self._manager.has_kernel:
                self._manager.shutdown_kernel(now=True)
        finally:
            self._manager.cleanup_resources()

    @property
    def client(self) -> BlockingKernelClient:
        assert self._client is not None, "the kernel was not started"
        return self._client

    def _connect(self) -> None:
        self._client = self._manager.client()
        self._client.start_channels()
        self._client.wait_for_ready(timeout=LIMIT_SECONDS)

    # -- cells

    def begin(self, code: str, *answers: str, stdin: bool = True, silent: bool = False) -> Cell:
        """Send a cell. Its prompts are answered from ``answers``, then stand open."""
        code = textwrap.dedent(code).strip()
        identity = self.client.execute(code, allow_stdin=stdin, silent=silent)
        cell = self._cells[identity] = Cell(code, identity, list(answers))
        return cell

    def run(self, code: str, *answers: str, stdin: bool = True, silent: bool = False) -> Cell:
        """Execute a cell to its end, whatever that is."""
        cell = self.begin(code, *answers, stdin=stdin, silent=silent)
        return self.finish(cell)

    def ok(self, code: str, *answers: str, stdin: bool = True) -> Cell:
        """Execute a cell to its end, which must be a good one."""
        cell = self.run(code, *answers, stdin=stdin)
        assert cell.status == "ok", str(cell)
        return cell

    def finish(self, cell: Cell) -> Cell:
        """Read until the cell has ended."""
        self.until(lambda: cell.over, cell)
        return cell

    def until(self, there: Callable[[], bool], cell: Cell | None = None, limit: float = LIMIT_SECONDS) -> None:
        """Read what the kernel says until ``there()``."""
        end = monotonic() + limit
        poller = zmq.Poller()
        channels = {
            channel.socket: channel
            for channel in (self.client.iopub_channel, self.client.stdin_channel, self.client.shell_channel)
        }
        for socket in channels:
            poller.register(socket, zmq.POLLIN)
        while not there():
            ready = dict(poller.poll(max(0, int(1000 * (end - monotonic())))))
            if not ready:
                raise AssertionError(f"not within {limit} s:\n{cell if cell is not None else there}")
            for socket, channel in channels.items():
                if socket in ready:
                    self._take(channel.get_msg(timeout=LIMIT_SECONDS))

    def answer(self, text: str) -> None:
        """Answer the prompt that has stood open longest."""
        self.open_prompts.pop(0)
        self.client.input(text)

    def _take(self, message: dict[str, Any]) -> None:
        kind, content = message["msg_type"], message["content"]
        cell = self._cells.get(message["parent_header"].get("msg_id", ""))
        if kind == "update_display_data":  # it goes where its display is, as in a notebook
            display = content["transient"]["display_id"]
            cell = next((one for one in self._cells.values() if display in one.display_ids), None)
        if cell is None:
            return
        if kind == "stream":
            setattr(cell, content["name"], getattr(cell, content["name"]) + content["text"])
        elif kind == "execute_result":
            cell.result = content["data"]
        elif kind in {"display_data", "update_display_data"}:
            cell.displays.append(content["data"])
            cell.display_ids.append(content.get("transient", {}).get("display_id"))
        elif kind == "error":
            cell.error = f"{content['ename']}: {content['evalue']}"
            cell.traceback = _COLORS.sub("", "\n".join(content["traceback"]))
        elif kind == "status":
            cell.idle = content["execution_state"] == "idle"
        elif kind == "execute_reply":
            cell.status = content["status"]
            cell.ended_at = monotonic()
        elif kind == "input_request":
            cell.prompts.append(content["prompt"])
            if cell.answers:
                self.client.input(cell.answers.pop(0))
            else:
                self.open_prompts.append(cell)

    # -- its life

    def interrupt(self) -> float:
        """What the stop button of a notebook does. Returns when (``time.monotonic``)."""
        now = monotonic()
        self._manager.interrupt_kernel()
        self.open_prompts.clear()  # a front end drops them
        return now

    def restart(self) -> float:
        """What a notebook's restart button does. Returns the seconds until the old process had gone.

        Fails if the process had to be killed.
        """
        seconds = self._end(restart=True)
        self._manager.start_kernel()
        self.client.wait_for_ready(timeout=LIMIT_SECONDS)  # the ports are the same
        return seconds

    def shutdown(self) -> float:
        """Ask the kernel to end, as a front end does. Returns the seconds until its process had gone."""
        return self._end(restart=False)

    def _end(self, restart: bool) -> float:
        process = self._manager.provisioner.process  # type: ignore[union-attr]
        began = monotonic()
        self._manager.shutdown_kernel(now=False, restart=restart)  # interrupts, asks, waits, and kills in the end
        seconds = monotonic() - began
        assert process.returncode == 0, f"the kernel had to be killed: {process.returncode}"
        return seconds


# -- fixtures, which the conftest of the tests of hosts makes known

BEFORE = """
import asyncio, builtins, logging, threading, time
from concurrent.futures import wait
import agere
from agere import Callback, Commander, Job, PASS_WORD, current_node, handler, tasker
from agere.commander.host import default_host
_threads, _input = set(threading.enumerate()), builtins.input
"""

HOLD = """
def waited():
    "Hold a body until the cell that submitted it waits: from then on an interrupt finds it there."
    while not default_host().answers():
        time.sleep(0.002)
    print("waiting", flush=True)


async def waited_async():
    while not default_host().answers():
        await asyncio.sleep(0.002)
    print("waiting", flush=True)
"""

AFTER = """
def _left():
    return [thread.name for thread in threading.enumerate() if thread not in _threads and "IPython" not in thread.name]


_end = time.monotonic() + 5
while _left() and time.monotonic() < _end:
    time.sleep(0.01)
print(_left(), builtins.input == _input, default_host().answers())
"""

CLEAN_UP = """
import agere.commander.process
for _session in list(agere.commander.process._running):
    _session.commander().exit()
"""


@pytest.fixture(scope="module")
def shared_kernel() -> Iterator[Kernel]:
    """A kernel for all tests of a module."""
    with Kernel() as kernel:
        kernel.ok(BEFORE + HOLD)
        yield kernel


@pytest.fixture
def kernel(shared_kernel: Kernel) -> Iterator[Kernel]:
    """The module's kernel. What a test begins there, it ends: no thread is left, nobody waits, ``input`` is back."""
    yield shared_kernel
    cell = shared_kernel.ok(AFTER)
    if cell.stdout != "[] True False\n":
        shared_kernel.run(CLEAN_UP)  # or the next tests fail as well
    assert cell.stdout == "[] True False\n", f"left in the kernel:\n{cell}"
