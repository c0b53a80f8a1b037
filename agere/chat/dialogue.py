"""Turn after turn: asks the person, has the question answered, asks again."""

from __future__ import annotations

from typing import Any

from agere.commander import PASS_WORD, Commander, Job, TaskNode, tasker

from .agent import Agent
from .turn import ChatJob, show

QUIT = "exit"


class PromptJob(Job[None]):
    """Asks for the next question, and puts its turn beside itself. Ends the commander at ``exit`` or the end of input.

    Args:
        agent: the agent that is asked.
    """

    def __init__(self, agent: Agent) -> None:
        super().__init__()
        self.agent = agent

    @tasker(PASS_WORD)
    async def task(self) -> None:
        """Ask until there is a question."""
        question = ""
        while not question:
            shown = await self.read_line()
            if shown is None:
                self.exit_commander()
                return
            question = shown.strip()
        if question == QUIT:
            self.exit_commander(return_result="QUIT")
            return
        job = ChatJob(self.agent, question)
        job.add_callback_functions("at_job_end", {"function": self.ask_again, "inject_task_node": True})
        self.put_job(job, parent=self.commander)

    async def read_line(self) -> str | None:
        """What the person types; None at the end of input."""
        prompts: list[str] = []
        await show(self, lambda: prompts.append(self.agent.view.prompt()))
        try:
            line: str = await self.ask(prompts[0])
        except (EOFError, RuntimeError, OSError):  # there may be no stdin at all, or a terminal that is gone
            return None
        await show(self, self.agent.view.asked, line)
        return line

    async def ask_again(self, task_node: TaskNode[Any]) -> None:
        """A turn has ended, well or not."""
        if isinstance(task_node, ChatJob) and isinstance(task_node.turn.error, BrokenPipeError):
            task_node.exit_commander()  # nobody reads the answers any more
            return
        task_node.put_job(PromptJob(self.agent), parent=task_node.commander)


def talk(agent: Agent) -> str | None:
    """Main thread. Talk with the person until ``exit`` ("QUIT" is returned), or the end of input (None).

    Raises:
        KeyboardInterrupt: Ctrl-C, after everything has been wound down.
    """
    return Commander[str](name="agere-chat").run(PromptJob(agent))


def ask_once(agent: Agent, question: str) -> bool:
    """Main thread. Have one question answered.

    Returns:
        Whether that went well; what went wrong has been shown.

    Raises:
        KeyboardInterrupt: Ctrl-C, after everything has been wound down.
    """
    job = ChatJob(agent, question)
    with Commander[Any](name="agere-chat") as commander:
        commander.submit(job).result()
    return job.turn.error is None
