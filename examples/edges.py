r"""Jobs joined by edges: a branch, two that run side by side, a join, and a loop that asks for the next topic.

    Ask --topic--> Pro  --\
     ^  \--topic--> Contra --> (join) Judge --+
     |                                       |
     +---------------------------------------+

Each node is one object; the loop runs the same objects again and again. An edge fires when its node has completed.

Run it:  python examples/edges.py
"""

import sys
from typing import Any

from agere import Commander, HandlerCoroutine, Job, TaskNode, handler, tasker
from agere.chat import ChatModel, explain, open_model
from agere.commander.edge import add_conditional_edge, add_edge, add_join_edge
from agere.errors import NoModelError
from agere.utils.llm_async_converters import LLMAsyncAdapter


class Ask(Job[str]):
    """Asks for a topic. Its result decides on the edge that is taken."""

    topic = ""

    @tasker
    def task(self) -> str:
        try:
            self.topic = self.ask("\nTOPIC: ").strip()
        except EOFError:
            return "exit"
        return "exit" if self.topic == "exit" else "topic" if self.topic else "nothing"


class Argue(Job[None]):
    """Has the model write a sentence. ``data`` comes from the edge that leads here."""

    text = ""

    def __init__(self, model: ChatModel, ask: Ask) -> None:
        super().__init__()
        self.model = model
        self.asked = ask

    @tasker
    async def task(self) -> HandlerCoroutine[None]:
        return self.argue()  # what takes its time is a handler: Jobs start one after another, handlers run side by side

    @handler
    async def argue(self, self_handler: TaskNode[Any]) -> None:
        question = f"Write one short sentence {self.data} {self.asked.topic}."
        said = []
        try:
            chunks = LLMAsyncAdapter().llm_to_async_iterable(
                lambda: self.model.open_stream([{"role": "user", "content": question}])
            )
            async for chunk in chunks:
                said += [choice.delta.content or "" for choice in chunk.choices]
            self.text = " ".join("".join(said).split())
        except Exception as error:  # an edge fires after success only, and the loop is to go on
            self.text = f"({explain(error, self.model)})"


class Judge(Job[str]):
    """Comes when both have argued."""

    def __init__(self, pro: Argue, contra: Argue) -> None:
        super().__init__()
        self.pro, self.contra = pro, contra

    @tasker
    def task(self) -> str:
        print(f"pro:    {self.pro.text}\ncontra: {self.contra.text}", flush=True)
        return "the contra" if len(self.contra.text) > len(self.pro.text) else "the pro"


class Say(Job[None]):
    @tasker
    def task(self) -> None:
        print(self.data, flush=True)


class Leave(Job[None]):
    @tasker
    def task(self) -> None:
        self.exit_commander(return_result="QUIT")


def main() -> int:
    with open_model() as model:
        print(f"Model: {model.description}.", file=sys.stderr)
        ask = Ask()
        pro, contra = Argue(model, ask), Argue(model, ask)
        judge = Judge(pro, contra)
        verdicts = {side: Say(name=side) for side in ("the pro", "the contra")}

        # The branch: what `ask` returns names the next node. Two edges from one node run side by side.
        add_conditional_edge(ask, {"topic": pro, "nothing": ask, "exit": Leave()}, data="in favour of")
        add_conditional_edge(ask, {"topic": contra}, data="against")
        # The join: once both have ended.
        add_join_edge([pro, contra], judge)
        # Another branch, and from each of its ends back to the beginning.
        for side, say in verdicts.items():
            add_conditional_edge(judge, {side: say}, data=f"{side} has more to say")
            add_edge(say, ask)

        print(Commander[str]().run(ask))
    return 0


if __name__ == "__main__":
    try:
        sys.exit(main())
    except KeyboardInterrupt:
        sys.exit(130)
    except NoModelError as error:
        sys.exit(str(error))
