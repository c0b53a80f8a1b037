"""A group talk: several roles speak at once, each with a Chat, and so a conversation, of its own.

In each round all of them are asked at the same time, and hear afterwards what the others have said. A ``Voice`` is a
Job that reads its Chat's turn as it streams, and has each line shown by the main thread; ``Round`` puts all of them.

Run it:  python examples/group_talk.py "Should we eat breakfast?"
"""

import logging
import sys
from typing import Any

from agere import Chat, Commander, Job, tasker
from agere.chat import explain, open_model
from agere.errors import NoModelError

ROLES = {
    "Ann": "You are Ann, who is always in favour. Answer in one or two short sentences.",
    "Bob": "You are Bob, who is always against it. Answer in one or two short sentences.",
    "Eve": "You are Eve, who asks a short question about everything.",
}
ROUNDS = 2


class Voice(Job[str]):
    """One role, in one round. A plain ``def`` task: it may block, and runs on a worker thread."""

    def __init__(self, who: str, chat: Chat, prompt: str) -> None:
        super().__init__(name=who)
        self.chat = chat
        self.prompt = prompt

    @tasker
    def task(self) -> str:
        turn = self.submit(self.chat.turn(self.prompt))
        line = ""
        for text in turn.stream():
            # All speak at the same time: each line is shown when it is whole.
            *whole, line = (line + text).replace(". ", ".\n").split("\n")
            for one in whole:
                self.deliver(show, self.name, one)
        self.deliver(show, self.name, line)
        return str(turn.result())


class Round(Job[dict[str, str]]):
    """All roles at once; what each has said is the result."""

    def __init__(self, chats: dict[str, Chat], prompts: dict[str, str]) -> None:
        super().__init__()
        self.voices = {who: Voice(who, chat, prompts[who]) for who, chat in chats.items()}

    @tasker
    def task(self) -> dict[str, str]:
        futures = {who: self.submit(voice) for who, voice in self.voices.items()}
        return {who: future.result() for who, future in futures.items()}


def talk(commander: Commander[Any], chats: dict[str, Chat], topic: str) -> None:
    prompts = dict.fromkeys(chats, topic)
    for number in range(1, ROUNDS + 1):
        print(f"-- round {number}", flush=True)
        said = commander.submit(Round(chats, prompts)).result()  # shows meanwhile what is delivered
        prompts = {
            who: " ".join(f"{other} says: {text}" for other, text in said.items() if other != who) for who in chats
        }


def show(who: str, line: str) -> None:
    if line.strip():
        print(f"{who}: {line.strip()}", flush=True)


def main() -> int:
    # Agere logs each failure with its traceback, unless somebody says otherwise; here it is told in one line instead.
    logging.getLogger("agere.node").setLevel(logging.CRITICAL)
    topic = " ".join(sys.argv[1:]) or "Should everybody learn to play the piano?"
    with open_model() as model:
        print(f"Model: {model.description}.", file=sys.stderr)
        # One model for all; the small embedded one would not stop by itself.
        chats = {who: Chat(model=model, system=role, options={"max_tokens": 60}) for who, role in ROLES.items()}
        try:
            with Commander[Any]() as commander:
                talk(commander, chats, topic)
        except Exception as error:
            print(explain(error, model), file=sys.stderr)
            return 1
    return 0


if __name__ == "__main__":
    try:
        sys.exit(main())
    except KeyboardInterrupt:
        sys.exit(130)
    except NoModelError as error:
        sys.exit(str(error))
