"""The view's place on the terminal: whatever the program prints stands there as if there were no view."""

from __future__ import annotations

import io
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from agere.watch.region import Region
from tests.watch.screen import Screen

ROWS, COLUMNS = 12, 20


class Terminal(io.StringIO):
    """Feeds a screen, as a terminal in its usual mode does."""

    def __init__(self, screen: Screen) -> None:
        super().__init__()
        self._screen = screen

    def write(self, text: str) -> int:
        self._screen.feed(text.replace("\n", "\r\n").encode())
        return len(text)

    def isatty(self) -> bool:
        return True


def on_screen(steps: list[Any], with_view: bool) -> Screen:
    screen = Screen(ROWS, COLUMNS)
    terminal = Terminal(screen)
    region = Region(terminal)
    for step in steps:
        if isinstance(step, str):
            region.write(terminal, step)
        elif step is None:
            region.pause()
            region.resume()
        elif with_view:
            region.draw([f"view {number}" for number in range(step)], COLUMNS, (terminal,))
            region._drawn_at = 0.0  # draw again at the next print, however soon it comes
        if with_view:
            region.draw_again((terminal,))
    region.close()
    return screen


pieces = st.text("ab 日é\n\n\r\t", max_size=30)
styled = st.sampled_from(["\x1b[31mred\x1b[0m", "\x1b]8;;http://x\x1b\\link\x1b]8;;\x1b\\", "x" * COLUMNS, "y" * 45])
steps = st.lists(st.one_of(pieces, styled, st.integers(0, 6), st.integers(0, 6)), max_size=25)


@given(steps)
def test_prints_look_as_without_a_view(steps: list[Any]) -> None:
    with_view, without = on_screen(steps, True), on_screen(steps, False)
    assert with_view.transcript == without.transcript
    cursors = [(screen.screen.cursor.x, len(screen.transcript)) for screen in (with_view, without)]
    assert cursors[0] == cursors[1]


def test_the_view_stands_below_an_unfinished_line() -> None:
    screen = Screen(ROWS, COLUMNS)
    terminal = Terminal(screen)
    region = Region(terminal)
    region.write(terminal, "first\nsec")
    region.draw(["view a", "view b"], COLUMNS, (terminal,))
    assert screen.lines == ["first", "sec", "view a", "view b"]
    region._drawn_at = 0.0
    region.write(terminal, "ond")
    assert screen.lines == ["first", "second", "view a", "view b"]
    region.write(terminal, " and\nmore\n")
    region.draw(["view c"], COLUMNS, (terminal,))
    assert screen.lines == ["first", "second and", "more", "view c"]
    region.pause()
    assert screen.lines == ["first", "second and", "more"]
    region.draw(["view d"], COLUMNS, (terminal,))
    assert screen.lines == ["first", "second and", "more"]
    region.resume()
    region.draw_again((terminal,))
    assert screen.lines == ["first", "second and", "more", "view d"]
    region.close("the end")
    assert screen.lines == ["first", "second and", "more", "the end"]
    region.write(terminal, "after")
    region.draw(["never"], COLUMNS, ())
    assert screen.lines[-1] == "after"


def test_a_flood_of_prints_draws_seldom() -> None:
    screen = Screen(ROWS, COLUMNS)
    terminal = Terminal(screen)
    region = Region(terminal)
    drawn = []
    region.draw(["view"], COLUMNS, (terminal,))
    original = region._draw
    region._draw = lambda: (drawn.append(1), original())[1]  # type: ignore[method-assign]
    for number in range(1000):
        region.write(terminal, f"line {number}\n")
    assert len(drawn) < 200
    region.draw_again((terminal,))
    assert screen.lines[-2:] == ["line 999", "view"]
