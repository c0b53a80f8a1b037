"""Questions to the person at a notebook: ``ask`` and ``input()``, in a real Jupyter kernel."""

from __future__ import annotations

import pytest

from tests.support.kernel import Kernel

ASKING = """
async def ask(text):
    return await current_node().ask(text)

def input_in_thread(text):
    return input(text)

async def input_on_loop(text):
    return input(text)

def ask_in_thread(text):
    return current_node().ask(text)

c = Commander().start()
"""

KINDS = ["ask", "ask_in_thread", "input_in_thread", "input_on_loop"]


@pytest.fixture(autouse=True)
def asking(kernel: Kernel) -> None:
    kernel.ok(ASKING)


def end(kernel: Kernel) -> None:
    kernel.ok("c.exit()")


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize(
    "code",
    [
        "c.submit({0}, 'who? ').result()",
        "agere.run({0}, 'who? ')",
        "await c.submit({0}, 'who? ')",
        "await asyncio.wait_for(c.submit({0}, 'who? '), 20)",
        "async with Commander() as other: future = other.submit({0}, 'who? ')\nawait future",
        "with Commander() as other: future = other.submit({0}, 'who? ')\nfuture.result()",
        "async def body(): return await c.submit({0}, 'who? ')\nawait asyncio.create_task(body())",
    ],
)
def test_a_question_is_asked_in_the_cell_that_waits(kernel: Kernel, kind: str, code: str) -> None:
    cell = kernel.ok(code.format(kind), "me")
    assert cell.value == "'me'"
    assert cell.prompts == ["who? "]
    end(kernel)


@pytest.mark.parametrize("code", ["list(future.stream())", "[item async for item in future.stream()]"])
def test_a_question_between_the_items_of_a_stream(kernel: Kernel, code: str) -> None:
    kernel.ok(
        """
        async def body():
            node = current_node()
            await node.emit(1)
            await node.emit(await node.ask("who? "))
        """
    )
    cell = kernel.ok(f"future = c.submit(body)\n{code}", "me")
    assert (cell.value, cell.prompts) == ("[1, 'me']", ["who? "])
    end(kernel)


def test_questions_never_mix(kernel: Kernel) -> None:
    """Of many threads and commanders at once: each answer comes to the one who asked."""
    cell = kernel.begin(
        """
        def body(number):
            first = current_node().ask(f"{number} a ")
            second = input(f"{number} b ")
            return first, second
        async def other(number):
            return await current_node().ask(f"{number} a "), await current_node().ask(f"{number} b ")
        with Commander() as d:
            futures = [d.submit(body, n) for n in range(4)] + [c.submit(other, n) for n in range(4, 8)]
            [f.result() for f in futures]
        sorted(f.result() for f in futures)
        """
    )
    for count in range(1, 17):
        kernel.until(lambda count=count: len(cell.prompts) == count, cell)  # type: ignore[misc]
        assert len(kernel.open_prompts) == 1
        kernel.answer(f"to {cell.prompts[-1]}")
    kernel.finish(cell)
    assert cell.value == str([(f"to {n} a ", f"to {n} b ") for n in range(8)]).replace("), ", "),\n ")
    end(kernel)


@pytest.mark.parametrize("kind", ["ask", "ask_in_thread", "input_in_thread"])
def test_a_detached_job_is_answered_by_a_later_cell(kernel: Kernel, kind: str) -> None:
    seen = "while not c.questions: time.sleep(0.005)\nc.questions[0].prompt"
    first = kernel.ok(f"future = c.submit({kind}, 'who? ')")
    assert kernel.ok(seen).value == "'who? '"
    assert kernel.ok("c.questions[0].answer('yes')\nfuture.result(), c.questions").value == "('yes', ())"
    for waiting in ("future.result()", "await future"):
        kernel.ok(f"future = c.submit({kind}, 'who? ')")
        kernel.ok(seen)
        cell = kernel.ok(waiting, "me")
        assert (cell.value, cell.prompts) == ("'me'", ["who? "])
    assert first.prompts == []
    end(kernel)


def test_input_on_the_loop_with_nobody_waiting_fails_and_says_what_to_do(kernel: Kernel) -> None:
    kernel.ok("future = c.submit(input_on_loop, 'who? ')\nwhile not future.done(): time.sleep(0.01)")
    cell = kernel.run("future.result()")
    assert "NobodyAnswersError" in str(cell.error)
    assert "node.ask(prompt)" in str(cell.error)
    end(kernel)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("code", ["c.submit({0}, 'who? ').result()", "await c.submit({0}, 'who? ')"])
def test_a_front_end_that_cannot_ask_makes_it_fail_at_once(kernel: Kernel, kind: str, code: str) -> None:
    cell = kernel.run(code.format(kind), stdin=False)
    assert str(cell.error).startswith("StdinNotImplementedError")
    assert "does not support input requests" in str(cell.error)
    assert "commander.questions" in cell.traceback
    assert kernel.ok(code.format(kind), "me").value == "'me'"
    end(kernel)


def test_the_end_of_input_is_an_eof_error(kernel: Kernel) -> None:
    assert str(kernel.run("c.submit(ask, 'who? ').result()", "\x04").error).startswith("EOFError")
    end(kernel)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize(
    ("code", "error"),
    [
        ("c.submit({0}, 'who? ').result()", "KeyboardInterrupt"),
        ("await c.submit({0}, 'who? ')", "KeyboardInterrupt"),
        ("agere.run({0}, 'who? ')", "KeyboardInterrupt"),
        ("await asyncio.gather(c.submit({0}, 'who? '))", "CancelledError"),
    ],
)
def test_after_an_interrupt_at_a_prompt_the_next_cell_asks_anew(
    kernel: Kernel, kind: str, code: str, error: str
) -> None:
    cell = kernel.begin(code.format(kind))
    kernel.until(lambda: bool(cell.prompts), cell)
    kernel.interrupt()
    kernel.finish(cell)
    if kind == "input_on_loop":  # raised where input() was called, as ever, which ends the commander
        assert cell.status == "error"
        kernel.ok("c.exit()\nc.start()")
    else:
        assert str(cell.error).startswith(error), str(cell)
        assert cell.prompts == ["who? "]
    assert kernel.ok("c.questions").value == "()"
    following = kernel.ok(f"c.submit({kind}, 'and now? ').result()", "me")
    assert (following.value, following.prompts) == ("'me'", ["and now? "])
    assert kernel.ok("input('mine? ')", "plain").value == "'plain'"
    end(kernel)


def test_another_jobs_question_outlives_an_interrupt(kernel: Kernel) -> None:
    kernel.ok("other = c.submit(ask, 'other? ')\nwhile not c.questions: time.sleep(0.005)")
    cell = kernel.begin("c.submit(ask, 'mine? ').result()")
    kernel.until(lambda: bool(cell.prompts), cell)
    assert cell.prompts == ["other? "]
    kernel.interrupt()
    kernel.finish(cell)
    assert kernel.ok("[question.prompt for question in c.questions]").value == "['other? ']"
    assert kernel.ok("await other", "still here").value == "'still here'"
    end(kernel)


def test_a_cell_that_waits_for_nothing_of_ours_is_not_asked(kernel: Kernel) -> None:
    kernel.ok("future = c.submit(ask, 'who? ')\nwhile not c.questions: time.sleep(0.005)")
    assert kernel.ok("await asyncio.sleep(0.3)").prompts == []
    assert kernel.ok("input('mine? ')", "plain").prompts == ["mine? "]
    assert kernel.ok("future.result()", "me").value == "'me'"
    end(kernel)


def test_a_task_of_an_earlier_cell_asks_only_below_a_running_one(kernel: Kernel) -> None:
    first = kernel.ok("async def mine():\n    return await c.submit(ask, 'who? ')\ntask = asyncio.create_task(mine())")
    seen = "while not c.questions and not task.done(): await asyncio.sleep(0.005)"  # it may be answered first
    assert kernel.ok(seen, "me").prompts in ([], ["who? "])
    second = kernel.ok("await task", "me")
    assert second.value == "'me'"
    assert first.prompts == []
    end(kernel)


def test_input_is_the_kernels_own_after_the_last_exit(kernel: Kernel) -> None:
    """Cells exchange ``input``: the routing is there while the commander runs, whenever that is, and not after."""
    end(kernel)
    look = "from agere.commander.input_routing import is_routed\nis_routed()"
    assert kernel.ok(look).value == "False"
    kernel.ok("c.start()")
    assert [kernel.ok(look).value for _ in range(2)] == ["True", "True"]
    assert kernel.ok("await asyncio.sleep(0)\nis_routed()").value == "True"
    assert kernel.ok("future = c.submit(input_in_thread, 'who? ')\nfuture.result()", "me").value == "'me'"
    between = (
        "seen = []\nasyncio.get_event_loop().call_later(0.1, lambda: seen.append((is_routed(), type(input).__name__)))"
    )
    kernel.ok(between)
    kernel.ok("await asyncio.sleep(0.3)")  # in this cell, or before it
    kernel.ok("c.exit()")
    for _ in range(2):
        assert kernel.ok("is_routed(), type(input).__name__").value == "(False, 'method')"
    kernel.ok(between)
    kernel.ok("1")
    kernel.ok("while not seen: await asyncio.sleep(0.01)\nassert not seen[0][0], seen")


def test_a_cell_that_runs_other_cells(kernel: Kernel) -> None:
    cell = kernel.ok(
        """
        get_ipython().run_cell("inner = c.submit(ask, 'inner? ').result()")
        async def body(): return await c.submit(ask, 'outer? ')
        inner, await asyncio.gather(body())
        """,
        "one",
        "two",
    )
    assert cell.value == "('one', ['two'])"
    end(kernel)
