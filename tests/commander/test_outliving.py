"""A delegated call may outlive the node that waited for it. Nothing that it still does reaches anybody."""

from __future__ import annotations

import asyncio
import threading
from typing import Any

import pytest

from agere import Commander, current_node
from agere.commander import NodeTerminatedError
from agere.hosts import ScriptedHost

PATIENCE = 20


def test_what_a_delegated_call_does_after_its_node_was_terminated() -> None:
    inside, go_on, over = threading.Event(), threading.Event(), threading.Event()
    host = ScriptedHost(["an answer to nobody"])
    met: list[str] = []

    def outliving() -> None:
        node = current_node()
        assert node is not None
        inside.set()
        go_on.wait(PATIENCE)
        for act in (lambda: node.emit("late"), lambda: node.ask("late?"), lambda: node.submit(print, "late")):
            try:
                act()
            except BaseException as error:
                met.append(type(error).__name__)
        over.set()

    async def waiting() -> None:
        node = current_node()
        assert node is not None
        await node.delegate(outliving)

    async def above() -> str:
        node = current_node()
        assert node is not None
        future = node.submit(waiting)
        await asyncio.to_thread(inside.wait, PATIENCE)
        future.cancel()
        with pytest.raises(NodeTerminatedError):
            await future
        go_on.set()
        await asyncio.to_thread(over.wait, PATIENCE)
        return "done"

    with Commander[Any](host=host) as commander:
        future = commander.submit(above)
        assert list(future.stream()) == []
        assert future.result(PATIENCE) == "done"
    assert met == ["CancelledError", "CancelledError", "NodeEndedError"]
    assert host.asked == []
