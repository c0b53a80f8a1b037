"""Showing an agent's work to a person: answers on stdout, everything else on stderr."""

from __future__ import annotations

import json
import os
import sys
from contextlib import suppress
from typing import TextIO

from agere.tools import ToolCall, ToolResult

SHOWN_OF_A_RESULT = 200  # characters
GREEN, DIM, RED = "32", "2", "31"


class Screen:
    """A terminal, files or pipes. Main thread, as all that writes to a terminal.

    Args:
        out: for answers; ``sys.stdout`` by default.
        err: for the rest; ``sys.stderr`` by default.
        typed: where questions come from; ``sys.stdin`` by default.
    """

    def __init__(self, out: TextIO | None = None, err: TextIO | None = None, typed: TextIO | None = None) -> None:
        self._out = out if out is not None else sys.stdout
        self._err = err if err is not None else sys.stderr
        self._person_types = _is_terminal(typed if typed is not None else sys.stdin)
        self._edits_lines = self._person_types and _is_terminal(self._out)
        self._in_line = False  # an answer stands in an unfinished line

    def show(self, event: object) -> None:
        """What a turn emits: a piece of text, a call, or a result."""
        if isinstance(event, ToolCall):
            self.call(event)
        elif isinstance(event, ToolResult):
            self.result(event)
        else:
            self.text(str(event))

    def text(self, text: str) -> None:
        """Text of the answer has arrived."""
        shown = _harmless(text) if _is_terminal(self._out) else text
        if shown:
            self._write(self._out, shown)
            self._in_line = not shown.endswith("\n")

    def end_of_text(self) -> None:
        """That was all of it, for now."""
        if self._in_line:
            self._write(self._out, "\n")
            self._in_line = False

    def call(self, call: ToolCall) -> None:
        """The model calls a tool."""
        arguments = ", ".join(f"{name}={json.dumps(value)}" for name, value in call.arguments.items())
        self.note(f"  [tool] {call.name}({arguments})")

    def result(self, result: ToolResult) -> None:
        """A tool has given its result."""
        content = " ".join(result.content.split())
        if len(content) > SHOWN_OF_A_RESULT:
            content = content[:SHOWN_OF_A_RESULT] + "..."
        if result.failed:
            self._say(f"  [tool] {result.call.name} failed: {content}", RED)
        else:
            self.note(f"  [tool] {result.call.name} -> {content}")

    def note(self, line: str) -> None:
        """Tell the person something that is no answer."""
        self._say(line, DIM)

    def error(self, line: str) -> None:
        """The turn has failed."""
        self._say(f"agere: {line}", RED)

    def prompt(self) -> str:
        """The person is about to be asked. Gives what ``input`` is to show.

        Line editing needs the prompt in ``input``; elsewhere that would put it on stdout.
        """
        self.end_of_text()
        if self._edits_lines:
            if not _colours(self._out):
                return "You: "
            # \001 and \002 tell readline what takes no room on the screen.
            return f"\001\033[{GREEN}m\002You:\001\033[0m\002 "
        if self._person_types:
            self._write(self._err, _coloured(self._err, "You:", GREEN) + " ")
        return ""

    def asked(self, answer: str) -> None:
        """The person, or a pipe, has answered. What a pipe says is shown, for the sake of whoever reads along."""
        if not self._person_types:
            self._say(f"You: {answer}", GREEN)

    def leave(self) -> None:
        """The last line, wherever it stands, is finished."""
        self.end_of_text()
        if self._person_types:
            self._write(self._err, "\n")

    def _say(self, line: str, colour: str) -> None:
        self.end_of_text()
        shown = _harmless(line) if _is_terminal(self._err) else line
        self._write(self._err, _coloured(self._err, shown, colour) + "\n")

    def _write(self, stream: TextIO | None, text: str) -> None:
        if stream is None:  # closed before Python started
            return
        stream.write(text)
        stream.flush()


def prepare_terminal() -> None:
    """Main thread. Line editing and history for ``input``; characters that the terminal lacks become ``?``."""
    for stream in (sys.stdin, sys.stdout, sys.stderr):
        if hasattr(stream, "reconfigure"):
            stream.reconfigure(errors="replace")
    if _is_terminal(sys.stdin) and _is_terminal(sys.stdout):
        with suppress(ImportError):
            import readline  # noqa: F401 - importing it is its use


def _is_terminal(stream: TextIO | None) -> bool:
    try:
        return stream is not None and stream.isatty()
    except ValueError:  # closed
        return False


def _colours(stream: TextIO | None) -> bool:
    return _is_terminal(stream) and not os.environ.get("NO_COLOR") and os.environ.get("TERM") != "dumb"


def _coloured(stream: TextIO | None, text: str, colour: str) -> str:
    return f"\033[{colour}m{text}\033[0m" if _colours(stream) else text


def _harmless(text: str) -> str:
    """Without the control characters by which a model could play tricks with the terminal."""
    if text.isprintable():
        return text
    return "".join(char for char in text if char in "\n\t" or not (ord(char) < 32 or 127 <= ord(char) < 160))
