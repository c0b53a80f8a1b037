"""Stopping agents at a notebook, in a real Jupyter kernel: by the interrupt, in a cell, and with the kernel itself."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from time import monotonic

import pytest

from agere.testing import ScriptedLLM, silent
from tests.support.kernel import BEFORE, HOLD, Kernel

PROMPT_SECONDS = 4.0
"""What counts as prompt on a slow and busy machine. Front ends kill a kernel that takes five seconds to end."""

AGENTS = """
from openai import OpenAI
from agere.utils.llm_async_converters import LLMAsyncAdapter
from agere.utils.stoppable import stoppable

def request(client):
    return client.chat.completions.create(model="m", messages=[{"role": "user", "content": "hi"}], stream=True)

def blocking(client):
    waited()
    for chunk in stoppable(request(client)):
        current_node().emit(chunk.choices[0].delta.content or "")

@handler(PASS_WORD)
async def looping(self_handler, client):
    await waited_async()
    stream = LLMAsyncAdapter().llm_to_async_iterable(lambda: request(client))
    async for chunk in stream:
        await self_handler.emit(chunk.choices[0].delta.content or "")

def client_of(url):
    return OpenAI(base_url=url, api_key="k", max_retries=0)
"""

WAYS = {
    "result": "c.submit({work}).result()",
    "run": "other = Commander()\nother.run({node})",
    "agere.run": "agere.run({work})",
    "with": "with Commander() as other:\n    other.submit({work})",
    "for": "for text in c.submit({work}).stream():\n    print(text)",
    "agere.stream": "for text in agere.stream({work}):\n    print(text)",
    "await": "await c.submit({work})",
    "await in a with": "with Commander() as other:\n    await other.submit({work})",
    "async with": "async with Commander() as other:\n    other.submit({work})",
    "await in an async with": "async with Commander() as other:\n    await other.submit({work})",
    "async for": "async for text in c.submit({work}).stream():\n    print(text)",
    "gather": "await asyncio.gather(c.submit({work}))",
    "task": "async def mine():\n    await c.submit({work})\nawait asyncio.create_task(mine())",
    "wait_for": "await asyncio.wait_for(c.submit({work}), 100)",
}
OTHER_TASKS = {"gather", "task", "wait_for"}
"""There the kernel cancels the cell, as it does with whatever a cell awaits."""


@pytest.fixture
def server() -> Iterator[ScriptedLLM]:
    with ScriptedLLM(lambda _: silent("half")) as server:
        yield server


def work(agent: str) -> dict[str, str]:
    if agent == "blocking":
        return {"work": "blocking, client", "node": "lambda: blocking(client)"}
    return {"work": "looping(client)", "node": "looping(client)"}


def agents(server: ScriptedLLM) -> str:
    return HOLD + AGENTS + f"client = client_of({server.base_url!r})\nc = Commander().start()\n"


AT_ONCE = "waited = lambda: None\nwaited_async = lambda: asyncio.sleep(0)\n"
"""The agents of detached jobs wait for no cell."""


@pytest.mark.parametrize("agent", ["blocking", "looping"])
@pytest.mark.parametrize("way", WAYS)
def test_an_interrupt_stops_the_agent_wherever_the_cell_waits(
    kernel: Kernel, server: ScriptedLLM, way: str, agent: str
) -> None:
    kernel.ok(agents(server))
    cell = kernel.begin(WAYS[way].format(**work(agent)))
    kernel.until(lambda: "waiting" in cell.stdout, cell)
    request = server.wait_request(1)
    if "for" in way and way != "wait_for":
        kernel.until(lambda: "half" in cell.stdout, cell)
    at = kernel.interrupt()
    assert request.wait_disconnected()
    assert monotonic() - at < PROMPT_SECONDS
    kernel.finish(cell)
    assert cell.ended_at - at < PROMPT_SECONDS
    assert str(cell.error).startswith("CancelledError" if way in OTHER_TASKS else "KeyboardInterrupt"), str(cell)
    assert cell.stderr == ""
    assert kernel.ok("agere.run(lambda: 6 * 7), c.running_status").value == "(42, True)"
    kernel.ok("c.exit()")


@pytest.mark.parametrize("agent", ["blocking", "looping"])
def test_stopping_a_detached_agent_in_a_later_cell(kernel: Kernel, server: ScriptedLLM, agent: str) -> None:
    kernel.ok(agents(server) + AT_ONCE)
    call = work(agent)["work"]
    stops = ["future.cancel()", "stream = future.stream()\nnext(stream)\nstream.close()", "c.exit()"]
    for number, stop in enumerate(stops, start=1):
        kernel.ok(f"future = c.submit({call})")
        request = server.wait_request(number)
        kernel.ok(stop)
        assert request.wait_disconnected()
        assert kernel.ok("wait([future], 20)\nfuture.cancelled()").value == "True"


def test_breaking_out_of_a_stream_stops_the_agent(kernel: Kernel, server: ScriptedLLM) -> None:
    kernel.ok(agents(server))
    cell = kernel.ok("for text in c.submit(blocking, client).stream():\n    print(text)\n    if text: break")
    assert "half" in cell.stdout
    assert server.wait_request(1).wait_disconnected()
    kernel.ok("c.exit()")


def test_a_failure_of_the_work_is_raised_in_the_loop(kernel: Kernel) -> None:
    cell = kernel.run(
        """
        def counts():
            current_node().emit(1)
            raise LookupError("after one")
        for item in agere.stream(counts):
            print(item)
        """
    )
    assert cell.stdout == "1\n"
    assert cell.error == "LookupError: after one"


def test_a_slow_loop_holds_a_def_body_back(kernel: Kernel) -> None:
    """Streaming into synchronous code has back-pressure: the body is never more than a bounded number ahead."""
    cell = kernel.ok(
        """
        said = 0
        def counts():
            global said
            for number in range(5000):
                current_node().emit(number)
                said = number
        ahead, got = 0, []
        with Commander() as c:
            for item in c.submit(counts).stream():
                got.append(item)
                ahead = max(ahead, said - item)
                if item == 0:
                    time.sleep(0.3)
        got == list(range(5000)), ahead < 2500
        """
    )
    assert cell.value == "(True, True)"


def test_a_cell_that_swallows_its_interrupt_goes_on(kernel: Kernel) -> None:
    kernel.ok(
        HOLD + "c = Commander().start()\nasync def stuck():\n    await waited_async()\n    await asyncio.sleep(1000)"
    )
    cell = kernel.begin(
        """
        try:
            await c.submit(stuck)
        except KeyboardInterrupt:
            print("interrupted")
        print(await c.submit(lambda: current_node().ask("who? ")))
        """,
        "me",
    )
    kernel.until(lambda: "waiting" in cell.stdout, cell)
    kernel.interrupt()
    kernel.finish(cell)
    assert cell.stdout == "waiting\ninterrupted\nme\n", str(cell)
    kernel.ok("c.exit()")


# -- the end of the kernel

BUSY = {
    "idle": "pass",
    "blocked worker": "c.submit(threading.Event().wait)",
    "many blocked workers": "for _ in range(50): c.submit(threading.Event().wait)",
    "sleeping worker": "c.submit(time.sleep, 1000)",
    "to_thread": "async def body(): await asyncio.to_thread(time.sleep, 1000)\nc.submit(body)",
    "async": "async def body(): await asyncio.sleep(1000)\nc.submit(body)",
    "stuck loop": "async def body(): time.sleep(1000)\nc.submit(body)",
    "endless worker": "def body():\n    while True: pass\nc.submit(body)",
    "endless loop": "async def body():\n    while True: pass\nc.submit(body)",
    "swallowing": """
async def body():
    while True:
        try:
            await asyncio.sleep(1000)
        except asyncio.CancelledError:
            pass
c.submit(body)""",
    "question": "c.submit(lambda: current_node().ask('who? '))",
    "input": "c.submit(lambda: input('who? '))",
    "silent server": "c.submit(blocking, client)\nc.submit(looping(client))",
    "very silent server": "c.submit(blocking, mute)\nc.submit(looping(mute))",
}


@pytest.fixture(scope="module")
def mortal() -> Iterator[Kernel]:
    """A kernel that is restarted again and again."""
    with Kernel() as kernel:
        yield kernel


def begin_work(kernel: Kernel, busy: str, server: ScriptedLLM, mute: ScriptedLLM) -> None:
    kernel.ok(BEFORE + agents(server) + AT_ONCE)
    kernel.ok(f"mute = client_of({mute.base_url!r})\n" + BUSY[busy])
    for one in (server, mute):
        if ("silent" in busy) and (one is mute) == ("very" in busy):
            one.wait_request(2)
    kernel.ok("time.sleep(0.05)")


@pytest.fixture
def mute() -> Iterator[ScriptedLLM]:
    with ScriptedLLM(lambda _: silent(headers=False)) as server:
        yield server


@pytest.mark.leaves("fds")  # the channels to the new kernel
@pytest.mark.parametrize("busy", BUSY)
def test_restarting_and_shutting_down_are_prompt(
    mortal: Kernel, busy: str, server: ScriptedLLM, mute: ScriptedLLM
) -> None:
    begin_work(mortal, busy, server, mute)
    seconds = mortal.restart()
    assert seconds < PROMPT_SECONDS
    for one in (server, mute):
        assert all(request.wait_disconnected() for request in one.requests)
    assert mortal.ok("1 + 1").value == "2"


@pytest.mark.leaves("fds")  # as above
@pytest.mark.parametrize(
    "waiting", ["c.submit(threading.Event().wait).result()", "await c.submit(asyncio.sleep, 1000)"]
)
def test_restarting_while_a_cell_waits(mortal: Kernel, waiting: str) -> None:
    mortal.ok(BEFORE + "c = Commander().start()")
    cell = mortal.begin(f"print('begun', flush=True)\n{waiting}")
    mortal.until(lambda: "begun" in cell.stdout, cell)
    assert mortal.restart() < PROMPT_SECONDS


@pytest.mark.parametrize("busy", ["idle", "blocked worker", "stuck loop"])
def test_a_shut_down_kernel_has_run_what_ends_it(
    tmp_path: Path, busy: str, server: ScriptedLLM, mute: ScriptedLLM
) -> None:
    note = tmp_path / "note"
    with Kernel() as kernel:
        begin_work(kernel, busy, server, mute)
        kernel.ok(
            f"""
            async def tidy():
                try:
                    await asyncio.sleep(1000)
                finally:
                    open({str(note)!r}, "w").write("tidied")
            d = Commander().start()
            begun = d.submit(tidy)
            while not begun.running(): time.sleep(0.001)
            d.submit(asyncio.sleep, 0).result()
            """
        )
        assert kernel.shutdown() < PROMPT_SECONDS
    assert note.read_text() == "tidied"
