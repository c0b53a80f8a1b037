"""Turn after turn, at a terminal or behind a pipe: plain synchronous code around a ``Chat``."""

from __future__ import annotations

from typing import Any

from agere.commander import Commander

from .agent import Chat
from .screen import Screen
from .trouble import explain
from .wording import ON_COMMAND_LINE

QUIT = "exit"


def talk(chat: Chat, screen: Screen) -> str | None:
    """Main thread. Talk with the person until ``exit`` ("QUIT" is returned), or the end of input (None).

    Raises:
        KeyboardInterrupt: Ctrl-C, after everything has been wound down.
        BrokenPipeError: nobody reads the answers any more.
    """
    with Commander[Any](name="agere-chat") as commander:
        while (question := _read_line(screen)) is not None:
            if question == QUIT:
                return "QUIT"
            if question:
                answer(commander, chat, screen, question)
    return None


def ask_once(chat: Chat, screen: Screen, question: str) -> bool:
    """Main thread. Have one question answered.

    Returns:
        Whether that went well; what went wrong has been shown.

    Raises:
        KeyboardInterrupt: Ctrl-C, after everything has been wound down.
        BrokenPipeError: nobody reads the answer any more.
    """
    with Commander[Any](name="agere-chat") as commander:
        return answer(commander, chat, screen, question)


def answer(commander: Commander[Any], chat: Chat, screen: Screen, question: str) -> bool:
    """Main thread. Have a question answered, and show what comes as it comes. See ``ask_once``."""
    try:
        with commander.submit(chat.turn(question, events=True)).stream() as events:
            for event in _told(events):
                screen.show(event)
    except _TurnFailedError as failed:
        screen.error(explain(failed.error, chat.open(), ON_COMMAND_LINE))
        return False
    screen.end_of_text()
    return True


class _TurnFailedError(Exception):
    """The turn has failed, not what shows it."""

    def __init__(self, error: Exception) -> None:
        super().__init__(error)
        self.error = error


def _told(events: Any) -> Any:
    try:
        yield from events
    except Exception as error:
        raise _TurnFailedError(error) from error


def _read_line(screen: Screen) -> str | None:
    """What the person types; None at the end of input."""
    prompt = screen.prompt()
    try:
        line = input(prompt)
    except (EOFError, RuntimeError, OSError):  # there may be no stdin at all, or a terminal that is gone
        return None
    screen.asked(line)
    return line.strip()
