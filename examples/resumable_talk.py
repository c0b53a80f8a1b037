"""A talk that goes on where it was, after the program has ended, or was killed.

The conversation is in a file: one line of JSON for each message, appended as the talk goes on. Kill the program in the
middle of an answer, and start it again.

Run it:  python examples/resumable_talk.py [FILE]
"""

import logging
import sys
from typing import Any

from agere import Chat, Commander, Conversation
from agere.chat import explain, open_model
from agere.errors import ConversationFileError, ConversationInUseError, NoModelError

SHOWN = 4  # messages of the last time


def talk(commander: Commander[Any], chat: Chat) -> None:
    while (prompt := ask()) is not None:
        if not prompt:
            continue
        try:
            for text in commander.submit(chat.turn(prompt)).stream():
                print(text, end="", flush=True)
        except Exception as error:
            print(explain(error, chat.open()), file=sys.stderr)
        print()


def ask() -> str | None:
    try:
        prompt = input("YOU: ").strip()
    except EOFError:
        return None
    return None if prompt == "exit" else prompt


def main() -> int:
    # Agere logs each failure with its traceback, unless somebody says otherwise; here it is told in one line instead.
    logging.getLogger("agere.node").setLevel(logging.CRITICAL)
    path = sys.argv[1] if len(sys.argv) > 1 else "talk.jsonl"
    with open_model() as model, Conversation(max_tokens=model.memory, path=path) as conversation:
        print(f"Model: {model.description}. The talk is in {path}.", file=sys.stderr)
        for message in conversation.messages[-SHOWN:]:
            if message.get("content"):
                print(f"({message['role']}: {message['content']})")
        with Chat(model=model, conversation=conversation) as chat, Commander[Any]() as commander:
            talk(commander, chat)
    return 0


if __name__ == "__main__":
    try:
        sys.exit(main())
    except KeyboardInterrupt:
        sys.exit(130)
    except (NoModelError, ConversationFileError, ConversationInUseError) as error:
        sys.exit(str(error))
