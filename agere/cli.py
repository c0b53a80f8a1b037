"""The command ``agere``."""

from __future__ import annotations

import argparse
import contextlib
import os
import signal
import sys
import threading
from collections.abc import Iterator, Sequence

from agere._version import __version__
from agere.errors import NoModelError

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
        with _winding_down_at_sigterm():
            return _run(_parse(argv))
    except _Terminated:
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


class _Terminated(KeyboardInterrupt):
    """SIGTERM. It winds everything down as Ctrl-C does: a line editor, for one, must give the terminal back."""


@contextlib.contextmanager
def _winding_down_at_sigterm() -> Iterator[None]:
    def terminate(*_: object) -> None:
        raise _Terminated

    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = signal.signal(signal.SIGTERM, terminate)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)


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
    from agere.chat import Agent, Screen, ask_once, open_model, prepare_terminal, talk, weather_tool

    prepare_terminal()
    screen = Screen()
    question = " ".join(arguments.question).strip()
    tools = [weather_tool()]
    prime = not question and sys.stdin is not None and sys.stdin.isatty()
    try:
        with open_model(arguments.model, base_url=arguments.base_url, prime=prime) as model:
            screen.note(f"Model: {model.description}.")
            if model.embedded:
                screen.note("For a better one set OPENAI_API_KEY, or name a server with --base-url.")
            for tool in tools:
                screen.note(f"Tool: {tool.name} ({tool.note}).")
            agent = Agent(model, tools, screen)
            if question:
                return OK if ask_once(agent, question) else FAILED
            screen.note("`exit`, the end of input or Ctrl-C ends the conversation.")
            outcome = talk(agent)
            if outcome is None:
                screen.leave()
            else:
                print(outcome)  # noqa: T201 - as in the tutorial
            return OK
    except NoModelError as error:
        screen.error(str(error))
        return FAILED


def _let_go_of_broken_pipes() -> None:
    """The interpreter flushes at its exit, and would complain of a reader that has gone."""
    for stream in (sys.stdout, sys.stderr):
        try:
            if stream is not None:
                stream.flush()
        except (OSError, ValueError):
            with contextlib.suppress(OSError, ValueError):
                os.dup2(os.open(os.devnull, os.O_WRONLY), stream.fileno())
