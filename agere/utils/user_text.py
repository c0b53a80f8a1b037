"""Puts together the text for the user: lines between speakers, surrogate halves, nothing that cannot print.

Pure: no asyncio, no threads.
"""

from __future__ import annotations

import re
from typing import Final

_SURROGATE: Final = re.compile("[\ud800-\udfff]")
_REPLACEMENT: Final = "\ufffd"


class UserText:
    r"""Turns what several speakers say into one text: a ``"\n"`` stands wherever the speaker changes.

    The halves of a surrogate pair are joined, whether they came as escapes or as characters. A half that
    stays alone becomes U+FFFD, so that whatever comes out can be encoded.
    """

    __slots__ = ("_half", "_speaker")

    def __init__(self) -> None:
        self._speaker: object = None
        self._half = ""  # the first half of a surrogate pair that ended the text so far

    def say(self, speaker: object, text: str) -> str:
        """Add what a speaker says.

        Args:
            speaker: who says it, compared by identity; not None.
            text: what is said; empty text says nothing.

        Returns:
            What to give to the user for it.
        """
        if not text:
            return ""
        start = self._half
        self._half = ""
        if speaker is not self._speaker:
            if self._speaker is not None:
                start = (_REPLACEMENT if start else "") + "\n"
            self._speaker = speaker
        text = start + text
        if text.isascii() or not _SURROGATE.search(text):
            return text
        if "\ud800" <= text[-1] <= "\udbff":
            self._half = text[-1]
            text = text[:-1]
        return text.encode("utf-16-le", "surrogatepass").decode("utf-16-le", "replace")

    def end(self) -> str:
        """Nothing more will be said.

        Returns:
            What is left to give to the user.
        """
        half, self._half = self._half, ""
        return _REPLACEMENT if half else ""
