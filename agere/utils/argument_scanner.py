"""Scans the arguments of one tool call while they arrive, and gives out the text for the user in them.

Pure: no asyncio, no threads. Linear: the scanner looks at every character once, however the text was cut,
and the JSON parser once more at the end. Parsing the growing text again at each fragment would be quadratic.

The scanner follows only as much of JSON as it takes to know what stands at the top level. Whether the whole
is valid is for the ``json`` module to say, once, at the end: the two cannot disagree on what a call holds.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from typing import Final, Literal

_BLANK: Final = " \t\n\r"
_SPACE: Final = re.compile(f"[{_BLANK}]*")
# What may stand in a JSON string. Possessive (`++`, `*+`), so that the matcher never tries it a second way.
_BODY_PATTERN: Final = r'(?:[^"\\\x00-\x1f]++|\\["\\/bfnrt]|\\u[0-9a-fA-F]{4})*+'
_BODY: Final = re.compile(_BODY_PATTERN)
_PARTIAL_ESCAPE: Final = re.compile(r"\\(?:u[0-9a-fA-F]{0,3})?")
_BRACKETLESS: Final = re.compile(rf'(?:[^"\[\]{{}}]++|"{_BODY_PATTERN}")*+')
_LITERAL: Final = re.compile(r"[^,}]*")


class ArgumentScanner:
    """Takes the fragments of one JSON object; gives the text of one of its top-level keys as it arrives.

    What comes out depends on the joined text alone, never on where it was cut.

    Attributes:
        closed: the object is complete.
        failed: this is no JSON object, so no more text for the user will come out of it.
        speaking: the text for the user has begun and not ended.
    """

    __slots__ = (
        "_depth",
        "_flag",
        "_is_flag",
        "_key",
        "_line_due",
        "_pending",
        "_raw",
        "_said",
        "_spoken",
        "_state",
        "_string",
        "_value",
        "closed",
        "failed",
        "speaking",
    )

    def __init__(self, flag: str) -> None:
        """Make a scanner.

        Args:
            flag: the top-level key whose value is text for the user.
        """
        self.closed = False
        self.failed = False
        self.speaking = False
        self._flag = flag
        self._raw: list[str] = []
        # Functions rather than bound methods: those would tie the scanner, and its text, into a cycle.
        self._state: _State = ArgumentScanner._before_object
        self._string: Literal["key", "flag", "other"] = "other"  # the kind of string that is being read
        self._pending = ""  # the beginning of an escape that was cut in two
        self._key: list[str] = []
        self._is_flag = False
        self._depth = 0
        self._value: list[str] | None = None  # the flag's value, where it is not a string
        self._said: list[str] = []
        self._spoken = False
        self._line_due = False

    @property
    def ended(self) -> bool:
        """Nothing that may still come adds to the text for the user."""
        return self.closed or self.failed

    @property
    def raw(self) -> str:
        """All that was fed, as it came."""
        self._raw = ["".join(self._raw)]
        return self._raw[0]

    def feed(self, fragment: str) -> str:
        """Take the next fragment.

        A value of the flag that is not a string comes out as its JSON text, null as nothing. Where the flag
        is given more than once, each text is put on a line of its own.

        Args:
            fragment: the next piece of the arguments, of any length.

        Returns:
            The decoded text for the user in it, often empty. It may hold lone surrogates, among them
            halves of a pair whose other half is yet to come.
        """
        self._raw.append(fragment)
        text = self._pending + fragment
        self._pending = ""
        position, end = 0, len(text)
        while position < end and not self.failed:
            start = position
            position = self._state(self, text, position)
            if self._value is not None:
                self._value.append(text[start : position - len(self._pending)])
                if self._state is ArgumentScanner._after_value:
                    self._say_value("".join(self._value).strip(_BLANK))
                    self._value = None
        said = "".join(self._said)
        self._said.clear()
        return said

    def result(self) -> dict[str, object]:
        """Parse the whole, once all of it has been fed.

        Returns:
            The arguments without the flag. Empty arguments are an empty object.

        Raises:
            ValueError: they are cut off, no valid JSON, or no object. The message says which.
        """
        raw = self.raw
        if not raw.strip(_BLANK):
            return {}
        try:
            arguments = json.loads(raw)
        except RecursionError:
            raise ValueError("are nested too deeply") from None
        except ValueError as error:
            raise ValueError(f"are not valid JSON: {error}" if self.ended else "are cut off") from None
        if not isinstance(arguments, dict):
            raise ValueError("are no JSON object")  # noqa: TRY004 - the model's mistake, not the caller's
        arguments.pop(self._flag, None)
        return arguments

    # The states. Each takes the text and a position before its end and returns the position from where the
    # next state goes on; it moves forward, or changes the state, or fails.

    def _before_object(self, text: str, position: int) -> int:
        return self._expect("{", ArgumentScanner._first_key, text, position)

    def _first_key(self, text: str, position: int) -> int:
        position = _skip_space(text, position)
        if text.startswith("}", position):
            return self._close(position)
        return self._next_key(text, position)

    def _next_key(self, text: str, position: int) -> int:
        self._string = "key"
        return self._expect('"', ArgumentScanner._in_string, text, position)

    def _before_colon(self, text: str, position: int) -> int:
        return self._expect(":", ArgumentScanner._before_value, text, position)

    def _before_value(self, text: str, position: int) -> int:
        position = _skip_space(text, position)
        if position == len(text):
            return position
        is_string = text[position] == '"'
        if self._is_flag:
            self._line_due = self._spoken
            self.speaking = is_string
            self._value = None if is_string else []
        if is_string:
            self._string = "flag" if self._is_flag else "other"
            self._state = ArgumentScanner._in_string
            return position + 1
        if text[position] in "{[":
            self._depth = 1
            self._state = ArgumentScanner._in_container
            return position + 1
        self._state = ArgumentScanner._in_literal
        return position

    def _in_string(self, text: str, position: int) -> int:
        end = _end(_BODY, text, position)
        if self._string == "flag":
            self._say(_decode(text[position:end]))
        elif self._string == "key":
            self._key.append(text[position:end])
        if end == len(text):
            return end
        if text[end] == '"':
            self._end_string()
            return end + 1
        if _PARTIAL_ESCAPE.fullmatch(text, end):
            self._pending = text[end:]
        else:
            self._fail()
        return len(text)

    def _end_string(self) -> None:
        if self._string == "key":
            self._is_flag = _decode("".join(self._key)) == self._flag
            self._key.clear()
            self._state = ArgumentScanner._before_colon
        else:
            self.speaking = False
            self._state = ArgumentScanner._in_container if self._depth else ArgumentScanner._after_value

    def _in_container(self, text: str, position: int) -> int:
        position = _end(_BRACKETLESS, text, position)
        if position == len(text):
            return position
        if text[position] == '"':  # a string that does not end here
            self._string = "other"
            self._state = ArgumentScanner._in_string
        elif text[position] in "{[":
            self._depth += 1
        else:
            self._depth -= 1
            if not self._depth:
                self._state = ArgumentScanner._after_value
        return position + 1

    def _in_literal(self, text: str, position: int) -> int:
        position = _end(_LITERAL, text, position)
        if position < len(text):
            self._state = ArgumentScanner._after_value
        return position

    def _after_value(self, text: str, position: int) -> int:
        position = _skip_space(text, position)
        if text.startswith("}", position):
            return self._close(position)
        return self._expect(",", ArgumentScanner._next_key, text, position)

    def _after_object(self, text: str, position: int) -> int:
        position = _skip_space(text, position)
        if position < len(text):
            self._fail()
        return position

    def _expect(self, character: str, state: _State, text: str, position: int) -> int:
        position = _skip_space(text, position)
        if position == len(text):
            return position
        if text[position] == character:
            self._state = state
        else:
            self._fail()
        return position + 1

    def _close(self, position: int) -> int:
        self.closed = True
        self._state = ArgumentScanner._after_object
        return position + 1

    def _fail(self) -> None:
        self.failed = True
        self.speaking = False

    def _say(self, text: str) -> None:
        if text:
            if self._line_due:
                self._said.append("\n")
                self._line_due = False
            self._said.append(text)
            self._spoken = True

    def _say_value(self, text: str) -> None:
        try:
            is_said = json.loads(text) is not None
        except (ValueError, RecursionError):
            return  # nothing to show; the call will be found malformed as a whole
        if is_said:
            self._say(text)


_State = Callable[[ArgumentScanner, str, int], int]


def _skip_space(text: str, position: int) -> int:
    return _end(_SPACE, text, position)


def _end(pattern: re.Pattern[str], text: str, position: int) -> int:
    """Where the pattern, which may match nothing and so always matches, ends."""
    match = pattern.match(text, position)
    assert match is not None  # noqa: S101 - for the type checker
    return match.end()


def _decode(body: str) -> str:
    """Decode what stands between the quotes of a JSON string; the body is known to be valid."""
    return json.loads(f'"{body}"') if "\\" in body else body
