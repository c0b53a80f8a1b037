"""The tutorial's agent, in our own words, against a scripted model."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from agere.commander import PASS_WORD, CommanderAsync, Job, handler, tasker
from agere.hosts import ScriptedHost
from tests.support.order import Order
from tests.support.scripted_model import ScriptedModel, calls, text
from tests.support.subprocesses import run_on_terminal, run_python
from tests.support.talking_agent import Setting, TurnJob


def weather(location: str) -> dict[str, Any]:
    return {"location": location, "degrees": 22}


def a_model() -> ScriptedModel:
    """Two rounds: one with a tool in two places and words beside the call, one of words alone."""
    return ScriptedModel(
        calls(
            ("weather", {"to_user": "Let me look \u2600 \U0001f600.", "location": "Paris"}),
            ("weather", {"location": 'Quote"town'}),
        ),
        lambda messages: text(f"It is warm: {len([m for m in messages if m['role'] == 'tool'])} answers."),
        text("You are welcome."),
    )


@pytest.mark.parametrize("style", [{}, {"lists": True}, {"unawaited": True}], ids=str)
def test_the_looping_agent(style: dict[str, bool]) -> None:
    model, said = a_model(), Order()
    host = ScriptedHost(["thanks", "exit"])
    setting = Setting(model, {"weather": weather}, said, **style)
    setting.messages.append({"role": "user", "content": "How is the weather?"})
    commander: CommanderAsync[str] = CommanderAsync(host=host)
    out = commander.run(TurnJob(setting))
    assert out == "QUIT"
    assert said == ["Let me look \u2600 \U0001f600.", "It is warm: 2 answers.", "You are welcome."]
    assert host.asked == ["YOU: ", "YOU: "]
    assert [len(messages) for messages in model.heard] == [1, 4, 6]
    assert [message["role"] for message in setting.messages] == [
        "user",
        "assistant",
        "tool",
        "tool",
        "assistant",
        "user",
        "assistant",
    ]
    assert not commander.running_status


def test_again_after_exit() -> None:
    commander: CommanderAsync[str] = CommanderAsync(host=ScriptedHost(["exit", "exit"]))
    for _ in range(2):
        said = Order()
        setting = Setting(ScriptedModel(text("Hello.")), {}, said)
        assert commander.run(TurnJob(setting)) == "QUIT"
        assert said == ["Hello."]


def test_a_single_round_with_auto_exit() -> None:
    said = Order()

    class Single(TurnJob):
        async def next_turn(self, task_node: Any) -> None:
            said("the round is complete")

    setting = Setting(a_model(), {"weather": weather}, said)
    assert CommanderAsync[None]().run(Single(setting), auto_exit=True) is None
    # Only when both lines, and the answer to the tools' results, were through.
    assert said == ["Let me look \u2600 \U0001f600.", "It is warm: 2 answers.", "the round is complete"]


def test_a_failing_tool_ends_the_round_all_the_same(caplog: pytest.LogCaptureFixture) -> None:
    def broken(**_: Any) -> None:
        raise OSError("no network")

    said = Order()
    host = ScriptedHost(["go on", "exit"])
    model = ScriptedModel(calls(("weather", {"to_user": "Looking.", "location": "Rome"})), text("Next."))
    assert CommanderAsync[str](host=host).run(TurnJob(Setting(model, {"weather": broken}, said))) == "QUIT"
    assert said == ["Looking.", "Next."]
    assert [record.exc_info[1].args for record in caplog.records if record.exc_info and record.exc_info[1]] == [
        ("no network",)
    ]


def test_the_parts_one_by_one() -> None:
    """What the tutorial says of each."""
    order = Order()

    @handler(PASS_WORD)
    async def plain_function(self_handler: Any, word: str) -> str:
        order((word, self_handler.state, self_handler.parent))
        return word

    class Methods:
        @handler(PASS_WORD)
        async def method(self, any_name: Any, word: str) -> str:
            order((word, any_name.name))
            return word

    class Both(Job[str]):
        def __init__(self) -> None:
            self.callback_ran = False  # stored before super().__init__(): fine
            super().__init__()

        @tasker(PASS_WORD)
        async def task(self) -> Any:
            self.call_handler(plain_function("not awaited"))
            await self.call_handler(Methods().method("awaited call"))
            assert await plain_function("awaited itself") == "awaited itself"
            return Methods().method("tail")

    job = Both()

    def at_end(task_node: Any, *, more: str) -> None:
        assert task_node is job
        task_node.callback_ran = True
        order((more, task_node.result))

    job.add_callback_functions(
        which="at_job_end",
        functions_info={"function": at_end, "inject_task_node": True, "params": {"kwargs": {"more": "end"}}},
    )
    CommanderAsync[None]().run(job, auto_exit=True)
    assert job.callback_ran
    assert order.items[-1] == ("end", "tail")
    assert {item[0] for item in order.items} == {"not awaited", "awaited call", "awaited itself", "tail", "end"}


PROGRAM = """
from agere.commander import CommanderAsync
from tests.support.scripted_model import ScriptedModel, calls, text
from tests.support.talking_agent import Setting, TurnJob

model = ScriptedModel(
    calls(("weather", {"to_user": "Looking.", "location": "Paris"})), text("It is 22."), text("Bye."), text("More.")
)
if __name__ == "__main__":
    setting = Setting(model, {"weather": lambda location: 22}, lambda words: print("GPT:", words, flush=True))
    prompt = input("YOU: ")
    if prompt == "exit":
        print("QUIT")
    else:
        setting.messages.append({"role": "user", "content": prompt})
        out = CommanderAsync().run(TurnJob(setting))
        print(out)
"""


def test_as_a_script_with_piped_stdin() -> None:
    run_python(PROGRAM, stdin="weather?\nthanks\nexit\n").check(
        out="YOU: GPT: Looking.\nGPT: It is 22.\nYOU: GPT: Bye.\nYOU: QUIT\n"
    )
    run_python(PROGRAM, stdin="exit\n").check(out="YOU: QUIT\n")


def test_as_a_script_on_a_terminal() -> None:
    outcome = run_on_terminal(PROGRAM, [("YOU: ", "weather?\n"), ("YOU: ", "thanks\n"), ("YOU: ", "exit\n")]).check()
    assert outcome.out.endswith("QUIT\n")
    assert "GPT: It is 22." in outcome.out


def test_end_of_input_in_the_callback_is_told_and_can_be_interrupted() -> None:
    """The snippet does not catch EOFError: it is logged as the callback's failure; with auto_exit the run ends."""
    outcome = run_python(
        PROGRAM.replace("run(TurnJob(setting))", "run(TurnJob(setting), auto_exit=True)"), stdin="w?\n"
    )
    outcome.check()
    assert outcome.out.endswith("None\n")
    assert "EOFError" in outcome.err
    assert "at_job_end" in outcome.err


def test_in_a_running_loop() -> None:
    """A notebook."""
    said = Order()

    async def cell() -> str | None:
        setting = Setting(ScriptedModel(text("Hi.")), {}, said)
        return CommanderAsync[str](host=ScriptedHost(["exit"])).run(TurnJob(setting))

    assert asyncio.run(cell()) == "QUIT"
    assert said == ["Hi."]
