"""The command ``agere``."""

from __future__ import annotations

import argparse
import contextlib
import os
import sys
import threading
from collections.abc import Sequence
from typing import TYPE_CHECKING

from agere._version import __version__
from agere.commander.sigterm import TerminatedBySignal, WindingDown
from agere.errors import NoModelError

if TYPE_CHECKING:
    from agere.chat import Chat

OK, FAILED, INTERRUPTED, TERMINATED = 0, 1, 130, 143

EPILOG = """\
Which model answers: with OPENAI_API_KEY, OPENAI_BASE_URL or --base-url that of the server, otherwise a small
embedded one (pip install 'agere[local]'). AGERE_MODEL stands in for --model. Answers go to stdout, everything
else to stderr. `exit`, the end of input or Ctrl-C ends the conversation."""


def main(argv: Sequence[str] | None = None) -> int:
    """Main thread. Run the command.

    Args:
        argv: its arguments; ``sys.argv[1:]`` by default.

    Returns:
        The exit code: 0, 1 (something went wrong), 2 (wrong usage), 130 (Ctrl-C), 143 (SIGTERM).
    """
    try:
        with WindingDown():
            return _run(_parse(argv))
    except TerminatedBySignal:
        return TERMINATED
    except KeyboardInterrupt:
        with contextlib.suppress(OSError):
            print(file=sys.stderr)  # noqa: T201 - the shell's prompt begins a line of its own
        return INTERRUPTED
    except BrokenPipeError:
        return FAILED
    except SystemExit as leaving:  # argparse: --help, --version, wrong usage
        return leaving.code if isinstance(leaving.code, int) else FAILED
    finally:
        _let_go_of_broken_pipes()


def _parse(argv: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="agere", description="LLM agents as a tree of small pieces.")
    parser.add_argument("--version", action="version", version=f"agere {__version__}")
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")
    chat = commands.add_parser(
        "chat",
        help="talk with a tool-calling agent",
        description="Talk with a tool-calling agent, or have one question answered.",
        epilog=EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    chat.add_argument("question", nargs="*", help="answer this and leave")
    chat.add_argument("--model", metavar="NAME", help="the model's name, or a .gguf file for the embedded one")
    chat.add_argument("--base-url", metavar="URL", type=_url, help="a server that speaks the OpenAI protocol")
    arguments = parser.parse_args(argv)
    if arguments.question and not " ".join(arguments.question).strip():
        chat.error("the question is empty")
    return arguments


def _url(text: str) -> str:
    from agere.chat.model import check_url

    try:
        return check_url(text)
    except ValueError as error:
        raise argparse.ArgumentTypeError(str(error)) from None


def _run(arguments: argparse.Namespace) -> int:
    import logging

    from agere.addons.demo_weather import weather_tool
    from agere.chat import Chat, Screen, ask_once, open_model, prepare_terminal, talk
    from agere.chat.wording import ON_COMMAND_LINE

    prepare_terminal()
    # What goes wrong in a turn is told in one line; a traceback is for programs that are being written.
    logging.getLogger("agere.node").setLevel(logging.CRITICAL)
    screen = Screen()
    question = " ".join(arguments.question).strip()
    person_types = not question and sys.stdin is not None and sys.stdin.isatty()
    try:
        # With one place, a question that comes early waits for the warming up instead of competing with it.
        parallel = 1 if person_types else 2
        with open_model(
            arguments.model, base_url=arguments.base_url, parallel=parallel, wording=ON_COMMAND_LINE
        ) as model:
            screen.note(f"Model: {model.description}.")
            if model.embedded:
                screen.note("For a better one set OPENAI_API_KEY, or name a server with --base-url.")
            with Chat([weather_tool()], model) as chat:
                for tool in chat.toolbox:
                    screen.note(f"Tool: {tool.name} ({tool.note}).")
                if question:
                    return OK if ask_once(chat, screen, question) else FAILED
                screen.note("`exit`, the end of input or Ctrl-C ends the conversation.")
                if person_types:
                    threading.Thread(target=_warm_up, args=(chat,), name="agere-warm-up", daemon=True).start()
                outcome = talk(chat, screen)
                if outcome is None:
                    screen.leave()
                else:
                    print(outcome)  # noqa: T201 - as in the tutorial
                return OK
    except NoModelError as error:
        screen.error(str(error))
        return FAILED


def _warm_up(chat: Chat) -> None:
    with contextlib.suppress(Exception):  # it only saves time; and closing the model breaks it off
        chat.warm_up()


def _let_go_of_broken_pipes() -> None:
    """The interpreter flushes at its exit, and would complain of a reader that has gone."""
    for stream in (sys.stdout, sys.stderr):
        try:
            if stream is not None:
                stream.flush()
        except (OSError, ValueError):
            with contextlib.suppress(OSError, ValueError):
                os.dup2(os.open(os.devnull, os.O_WRONLY), stream.fileno())
