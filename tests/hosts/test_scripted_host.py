"""The scripted person."""

from __future__ import annotations

from typing import Any

import pytest

from agere import Commander, current_node
from agere.testing import ScriptedHost


def me() -> Any:
    return current_node()


def test_answers_in_order_and_says_what_was_asked_and_what_is_left() -> None:
    host = ScriptedHost(["yes", ValueError("no"), "maybe"])
    with Commander(host=host) as commander:
        assert commander.submit(lambda: me().ask("one? ")).result() == "yes"
        with pytest.raises(ValueError, match="no"):
            commander.submit(lambda: me().ask("two? ")).result()
        assert host.remaining == 1
        assert commander.submit(lambda: me().ask("three? ")).result() == "maybe"
        with pytest.raises(EOFError, match="used up"):
            commander.submit(lambda: me().ask("four? ")).result()
    assert host.asked == ["one? ", "two? ", "three? ", "four? "]
    assert host.remaining == 0


@pytest.mark.parametrize("answers", ["yes", b"yes", 3, ["yes", 3]])
def test_what_is_no_list_of_answers_is_refused(answers: Any) -> None:
    with pytest.raises(TypeError, match=r"not (b?'yes'|3)"):
        ScriptedHost(answers)
