"""The password of ``tasker`` and ``handler``: a reminder to the one who writes the body."""

from __future__ import annotations

from typing import Final

from agere.errors import PasswordError

PASS_WORD: Final = "I assure all time-consuming tasks are delegated externally."  # noqa: S105 - a reminder, not a secret


def check_password(decorator: str, password: object) -> None:
    """Raise PasswordError unless ``password`` is ``PASS_WORD``."""
    if password != PASS_WORD:
        raise PasswordError(
            f"@{decorator} takes PASS_WORD (from agere.commander import PASS_WORD), or nothing at all; it is there to "
            "remind you that an async body must not block: use `await`, self.delegate(...), or a plain `def`"
        )
