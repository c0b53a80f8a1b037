"""Trees, commanders and Futures as HTML, rich renderables and JSON."""

from __future__ import annotations

import asyncio
import io
import json
import logging
from collections.abc import Iterator
from html.parser import HTMLParser
from typing import Any

import pytest
from rich.console import Console

from agere.commander import BasicJob, Commander, JobFuture, TaskNode, current_node
from agere.hosts import ScriptedHost
from agere.rendering import words
from tests.support.order import Gate, Order

EVIL = "<script>alert('x')</script>&\"\x1b[31m\nnext\u202eline"
VOID = {"br", "hr", "img"}


def me() -> TaskNode[Any]:
    node = current_node()
    assert node is not None
    return node


class Page(HTMLParser):
    """Reads HTML, and insists that it is well-formed and harmless."""

    def __init__(self, source: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.words: list[str] = []
        self.deepest = 0
        self.feed(source)
        self.close()
        assert not self.open, self.open

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        assert tag in {"div", "span", "b", "details", "summary"}, tag
        assert all(name in {"style", "open"} for name, _ in attrs), attrs
        assert not any("url(" in (value or "") for _, value in attrs)
        self.open.append(tag)
        self.deepest = max(self.deepest, len(self.open))

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.words.append(data)

    @property
    def text(self) -> str:
        return "".join(self.words)


@pytest.fixture(autouse=True)
def quiet() -> Iterator[None]:
    logging.disable(logging.CRITICAL)
    yield
    logging.disable(logging.NOTSET)


@pytest.fixture
def commander() -> Iterator[Commander[Any]]:
    commander: Commander[Any] = Commander(name="boss <b>", grace=2.0).start()
    yield commander
    commander.exit()


@pytest.fixture
def evil(commander: Commander[Any]) -> JobFuture[Any]:
    """A job with a name that plays tricks, and a child."""
    there = Gate()

    async def leaf() -> None:
        there.open()
        await asyncio.Event().wait()

    future = commander.submit(BasicJob(leaf, name=EVIL))
    there.wait()
    return future


def in_rich(thing: Any, width: int = 100) -> str:
    out = io.StringIO()
    Console(file=out, width=width, force_terminal=False).print(thing)
    return out.getvalue()


def test_html_of_a_tree(commander: Commander[Any], evil: JobFuture[Any]) -> None:
    source = commander.tree()._repr_html_()
    page = Page(source)
    assert "<script" not in source
    assert "&lt;script&gt;" in source
    assert "\x1b" not in source
    assert "\u202e" not in source
    assert "commander boss <b>" in page.text
    assert "ACTIVE" in page.text
    assert "details" in source


def test_html_of_a_commander(evil: JobFuture[Any], commander: Commander[Any]) -> None:
    page = Page(commander._repr_html_())
    assert "2 active" in page.text
    assert "leaf" in page.text
    commander.exit()
    assert "COMPLETED" in Page(commander._repr_html_()).text
    assert "PENDING" in Page(Commander()._repr_html_()).text


def test_html_shows_the_questions() -> None:
    asked = Order()

    class Silent(ScriptedHost):
        def ask(self, question: Any) -> None:
            asked("asked")

    commander: Commander[Any] = Commander(host=Silent([])).start()

    async def asks() -> None:
        await me().ask("Shall <i>I</i>? ")

    commander.submit(asks)
    asked.wait_for("asked")
    page = Page(commander._repr_html_())
    assert "1 question to you" in page.text
    assert "Shall <i>I</i>?" in page.text
    commander.exit()


def test_html_of_futures(commander: Commander[Any], evil: JobFuture[Any]) -> None:
    def fails() -> None:
        raise ValueError(EVIL)

    async def several() -> None:
        for _ in range(3):
            me().submit(fails)

    assert "pending" in Page(evil._repr_html_()).text
    assert "leaf" in Page(evil._repr_html_()).text
    failed = commander.submit(fails)
    failed.exception(10)
    page = Page(failed._repr_html_())
    assert "failed" in page.text
    assert "ValueError: <script>" in page.text
    many = commander.submit(several)
    many.exception(10)
    assert "(and 2 more)" in Page(many._repr_html_()).text
    done = commander.submit(lambda: "sk-secret")
    done.result(10)
    assert "finished" in Page(done._repr_html_()).text
    assert "sk-secret" not in done._repr_html_()
    evil.cancel()
    while not evil.done():
        pass
    assert "cancelled" in Page(evil._repr_html_()).text


def test_looking_at_a_failure_does_not_receive_it(commander: Commander[Any]) -> None:
    def fails() -> None:
        raise ValueError("no")

    async def looks() -> None:
        future = me().submit(fails)
        while not future.done():
            await asyncio.sleep(0)
        assert "failed" in future._repr_html_()
        in_rich(future)

    assert isinstance(commander.submit(looks).exception(10), ValueError)


def test_rich(commander: Commander[Any], evil: JobFuture[Any]) -> None:
    for thing in (commander, commander.tree(), evil):
        text = in_rich(thing)
        assert "\x1b" not in text
        assert "\u202e" not in text
        assert "leaf" in text
        assert "└─" in text
    assert "2 active" in in_rich(commander)
    assert "JobFuture pending" in in_rich(evil)
    assert all(len(line) <= 30 for line in in_rich(commander, width=30).splitlines())


def test_plain_text_is_harmless_too(commander: Commander[Any], evil: JobFuture[Any]) -> None:
    text = str(commander.tree())
    assert "\x1b" not in text
    assert len(text.splitlines()) == 3


def test_bounded_for_huge_and_deep_trees(commander: Commander[Any]) -> None:
    there = Order()

    async def wide() -> None:
        for _ in range(20_000):
            me().submit(asyncio.Event().wait)
        there("wide")
        await asyncio.Event().wait()

    async def level(number: int) -> None:
        if number:
            me().submit(level, number - 1)
        else:
            there("deep")
        await asyncio.Event().wait()

    future = commander.submit(level, 3000)
    commander.submit(wide)
    there.wait_for("wide")
    there.wait_for("deep")
    for source in (commander._repr_html_(), commander.tree()._repr_html_(), future._repr_html_()):
        page = Page(source)
        assert len(source) < 100_000
        assert page.deepest < 100  # browsers take some 500
        assert "more" in page.text or "below" in page.text
    assert len(in_rich(commander).splitlines()) <= 200
    shallow = commander.tree().to_dict(depth=2)
    assert json.loads(json.dumps(shallow)) == shallow
    (deep,) = [child for child in shallow["children"] if child["name"] == "level"]
    assert deep["children"][0]["hidden"] == 1
    whole = commander.tree().to_dict()
    assert len(whole["children"]) == 2
    assert "hidden" not in whole


def test_names_that_are_no_text(commander: Commander[Any]) -> None:
    job: Any = BasicJob(asyncio.Event().wait)
    job.__agere_name__ = 7
    future = commander.submit(job)
    while not future.running():
        pass
    for thing in (commander, commander.tree(), future):
        assert ">7<" in thing._repr_html_()
        assert " 7 " in in_rich(thing)
    assert " 7 " in str(commander.tree())
    assert json.dumps(commander.tree().to_dict())


@pytest.mark.parametrize(
    ("seconds", "said"),
    [(0.04, "0.0 s"), (4.12, "4.1 s"), (99.9, "99.9 s"), (192, "3 min 12 s"), (7500, "2 h 5 min"), (-1, "0.0 s")],
)
def test_durations(seconds: float, said: str) -> None:
    assert words.duration(seconds) == said


def test_harmless() -> None:
    assert words.harmless("plain name") == "plain name"
    assert words.harmless("x" * 500) == "x" * 79 + "…"
    assert words.harmless("\x1b]0;title\x07") == "�]0;title�"
    assert words.harmless("Größe 日本") == "Größe 日本"
