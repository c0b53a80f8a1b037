"""A dangerous tool: the person is asked before each call, and what they say goes back to the model.

``needs_approval=True`` is all that it takes. The question goes through the host, so that it appears where the person
is: here in the terminal, in a notebook below the cell, in a window of Tk or Qt. (``commander.questions`` lists what is
open, to be answered by a program.) Nothing real is deleted.

Run it:  python examples/approve_a_tool.py "Please delete old.txt"
"""

import logging
import sys
from typing import Any

from agere import Chat, Commander, tool
from agere.chat import explain, open_model
from agere.errors import NoModelError
from agere.tools import ToolCall, ToolResult

FILES = {"old.txt": "a shopping list", "report.doc": "the report that is due on Monday"}


@tool(needs_approval=True)
def delete_file(path: str) -> str:
    """Delete a file for good."""
    del FILES[path]  # an unknown one raises KeyError, which the model is told
    return f"deleted {path}"


def main() -> int:
    # Agere logs each failure with its traceback, unless somebody says otherwise; here it is told in one line instead.
    logging.getLogger("agere.node").setLevel(logging.CRITICAL)
    prompt = " ".join(sys.argv[1:]) or "Please delete old.txt"
    with open_model() as model, Chat([delete_file], model) as chat, Commander[Any]() as commander:
        print(f"Model: {model.description}.", file=sys.stderr)
        try:
            # While this waits for the next event, the main thread also puts the question to the person.
            for event in commander.submit(chat.turn(prompt, events=True)).stream():
                if isinstance(event, ToolCall):
                    print(f"[tool] {event.name}({dict(event.arguments)})", file=sys.stderr)
                elif isinstance(event, ToolResult):
                    print(f"[tool] {event.call.name} -> {event.content}", file=sys.stderr)
                else:
                    print(event, end="", flush=True)
        except Exception as error:
            print(explain(error, model), file=sys.stderr)
            return 1
    print(f"\nStill there: {', '.join(FILES)}")
    return 0


if __name__ == "__main__":
    try:
        sys.exit(main())
    except KeyboardInterrupt:
        sys.exit(130)
    except NoModelError as error:
        sys.exit(str(error))
