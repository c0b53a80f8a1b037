"""How long it takes to stop in a notebook, as ``benchmarks.stopping`` measures it for other hosts.

Run it from a checkout:  python -m benchmarks.stopping_jupyter [ROUNDS]

A scripted server in this process says one word and then nothing; a real Jupyter kernel asks it in a cell. As soon as
the cell has shown the word and waits, the kernel is interrupted as a notebook's stop button does it, or a later cell
cancels the job. "Free again" is when the cell's reply is here: then the next cell runs. IPython's traceback is part of
it.
"""

from __future__ import annotations

import sys
from time import monotonic

from agere.testing import ScriptedLLM, silent
from benchmarks.stopping import ROUNDS, Measured, in_ms
from tests.support.kernel import Kernel

SETUP = """
import time
from openai import OpenAI
from agere import Commander, current_node
from agere.commander.host import default_host
from agere.utils.llm_async_converters import LLMAsyncAdapter
from agere.utils.stoppable import stoppable

client = OpenAI(base_url={url!r}, api_key="none", max_retries=0)
commander = Commander().start()

def ask():
    chunks = client.chat.completions.create(model="any", messages=[{{"role": "user", "content": "?"}}], stream=True)
    for chunk in stoppable(chunks):
        text = chunk.choices[0].delta.content
        if text:
            current_node().emit(text)
            while detached is False and not default_host().answers():
                time.sleep(0.001)
            print(text, flush=True)

detached = False
"""

CELLS = {
    "Jupyter: interrupt in result()": "commander.submit(ask).result()",
    "Jupyter: interrupt in run()": "Commander().run(ask)",
    "Jupyter: interrupt in a for loop": "for text in commander.submit(ask).stream(): pass",
    "Jupyter: interrupt in await": "await commander.submit(ask)",
}


def interrupted(cell: str, rounds: int) -> Measured:
    """Interrupt a cell that waits."""
    measured = Measured()
    with ScriptedLLM(lambda _: silent("word")) as server, Kernel() as kernel:
        kernel.ok(SETUP.format(url=server.base_url))
        for count in range(1, rounds + 1):
            waiting = kernel.begin(cell)
            kernel.until(lambda waiting=waiting: "word" in waiting.stdout, waiting)  # type: ignore[misc]
            stopped = kernel.interrupt()
            if not server.wait_request(count).wait_disconnected(30):
                raise RuntimeError(f"{cell} was not stopped")
            measured.disconnected.append(monotonic() - stopped)
            measured.free.append(kernel.finish(waiting).ended_at - stopped)
    return measured


def cancelled(rounds: int) -> Measured:
    """Cancel a detached job in a later cell. The clock is the system's monotonic one, which both processes read."""
    measured = Measured()
    with ScriptedLLM(lambda _: silent("word")) as server, Kernel() as kernel:
        kernel.ok(SETUP.format(url=server.base_url) + "detached = True")
        for count in range(1, rounds + 1):
            first = kernel.ok("future = commander.submit(ask)")
            kernel.until(lambda first=first: "word" in first.stdout, first)  # type: ignore[misc]
            cell = kernel.begin("stopped = time.monotonic()\nfuture.cancel()\nstopped")
            if not server.wait_request(count).wait_disconnected(30):
                raise RuntimeError("the job was not stopped")
            at = monotonic()
            stopped = float(kernel.finish(cell).value)
            measured.disconnected.append(at - stopped)
            measured.free.append(cell.ended_at - stopped)
    return measured


def main(rounds: int) -> None:
    print(f"{rounds} rounds each, ms".ljust(42), "server sees it".rjust(17), "free again".rjust(18))
    print(" " * 42, f"{'median':>8} {'worst':>8} {'median':>9} {'worst':>8}")
    for name, cell in CELLS.items():
        measured = interrupted(cell, rounds)
        print(f"{name:42} {in_ms(measured.disconnected)} {in_ms(measured.free):>18}", flush=True)
    measured = cancelled(rounds)
    print(f"{'Jupyter: future.cancel() in a cell':42} {in_ms(measured.disconnected)} {in_ms(measured.free):>18}")


if __name__ == "__main__":
    main(int(sys.argv[1]) if sys.argv[1:] else ROUNDS)
