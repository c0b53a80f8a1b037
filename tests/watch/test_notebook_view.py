"""``commander.watch()`` in a real kernel."""

from __future__ import annotations

import pytest

from tests.support.kernel import Kernel


def test_one_display_that_is_updated_also_after_the_cell(kernel: Kernel) -> None:
    kernel.ok("import asyncio, threading, agere\nfrom agere import *\ngo = threading.Event()")
    cell = kernel.begin(
        """
        commander = Commander(name="boss <b>").start()
        async def forever(): await asyncio.Event().wait()
        async def body():
            current_node().submit(forever)
            await forever()
        watch = commander.watch()
        future = commander.submit(body)
        """
    )
    kernel.finish(cell)
    assert cell.status == "ok", str(cell)
    kernel.until(lambda: any("2 active" in display["text/html"] for display in cell.displays), cell)
    live = cell.displays[-1]
    assert "boss &lt;b&gt;" in live["text/html"]
    assert "<script" not in live["text/html"]
    assert "forever" in live["text/plain"]
    later = kernel.ok("future.cancel()")
    assert later.displays == []
    kernel.until(lambda: "2 terminated" in cell.displays[-1]["text/html"], cell)
    kernel.ok("commander.exit()")
    kernel.until(lambda: "has exited" in cell.displays[-1]["text/html"], cell)
    assert kernel.ok("watch._thread.join(5); watch.running").value == "False"


def test_a_block_in_one_cell(kernel: Kernel) -> None:
    cell = kernel.ok(
        """
        from agere import *
        c = Commander()
        with c.watch():
            print(c.run(lambda: current_node().commander.exit(3)))
        """
    )
    assert cell.stdout == "3\n"
    kernel.until(lambda: "has exited" in cell.displays[-1]["text/html"], cell)
    assert "waiting for a commander" in cell.displays[0]["text/html"]


@pytest.mark.parametrize("thing", ["c", "c.tree()", "f"])
def test_what_a_cell_shows_of_things(kernel: Kernel, thing: str) -> None:
    cell = kernel.ok(f"import agere\nc = agere.Commander().start(); f = c.submit(int); f.result()\n{thing}")
    assert "<div style" in str(cell.result["text/html"])
    assert "text/plain" in cell.result
    kernel.ok("c.exit()")
