"""What a notebook shows of a commander: pictures of objects, and ``watch()`` in one display, in a real kernel."""

from __future__ import annotations

import pytest

from tests.support.kernel import Kernel


@pytest.mark.parametrize("shown", ["c", "future", "c.tree()"])
def test_a_cells_last_line_is_shown_as_a_picture(kernel: Kernel, shown: str) -> None:
    kernel.ok(
        """
        c = Commander(name="shown").start()
        gate = threading.Event()
        def busy(): gate.wait()
        future = c.submit(busy)
        while not future.running(): time.sleep(0.001)
        """
    )
    cell = kernel.ok(shown)
    assert "busy" in cell.result["text/html"]
    assert cell.value
    kernel.ok("gate.set()\nc.exit()")


def test_watch_updates_one_display_live_also_after_its_cell(kernel: Kernel) -> None:
    kernel.ok(
        """
        c = Commander(name="watched").start()
        gate = threading.Event()
        def busy(): gate.wait()
        future = c.submit(busy)
        """
    )
    cell = kernel.ok("watching = c.watch()")
    kernel.until(lambda: any("busy" in shown["text/html"] for shown in cell.displays), cell)
    other = kernel.ok("gate.set()\nprint(future.result())\nc.exit()")
    kernel.until(lambda: "exited" in cell.displays[-1]["text/html"], cell)
    assert len(set(cell.display_ids)) == 1
    assert cell.display_ids[0]
    assert (other.displays, other.stdout, other.stderr) == ([], "None\n", "")
    kernel.ok("watching.stop()")
