"""The page about watching says what there is."""

from __future__ import annotations

import logging
import re
from pathlib import Path
from typing import Any, get_args

import pytest

import agere.commander
from agere import Commander
from agere.commander import BasicJob, Event
from agere.commander.listeners import LIMIT
from agere.watch import Style

DOCS = Path(__file__).parents[2] / "docs"
PAGE = (DOCS / "watching.md").read_text()
PROGRAMS = re.findall(r"```python\n(.*?)```", PAGE, re.DOTALL)


def test_every_event_is_on_it() -> None:
    kinds = {
        name
        for name, value in vars(agere.commander).items()
        if isinstance(value, type) and issubclass(value, Event) and value is not Event
    }
    table = PAGE.split("| event | when |")[1].split("\n\n")[0]
    assert set(re.findall(r"`([A-Z]\w+)`", table.replace("| `", "|`"))) == kinds
    assert f"{LIMIT:,}" in PAGE


def test_every_style_is_on_it() -> None:
    for style in get_args(Style):
        assert f'"{style}"' in PAGE


def test_its_programs(capsys: pytest.CaptureFixture[str]) -> None:
    watching, subscribing, logs = PROGRAMS
    commander: Commander[Any] = Commander()
    job = BasicJob(lambda: agere.commander.current_node().commander.exit())
    exec(watching, {"commander": commander, "job": job})
    space: dict[str, Any] = {"commander": commander}
    exec(subscribing, space)
    commander.run(lambda: 1, auto_exit=True)
    assert space["unsubscribe"].drain(10)
    space["unsubscribe"]()
    assert "NodeEnded(" in capsys.readouterr().out
    root = logging.getLogger()
    handlers, level = root.handlers[:], root.level
    root.handlers.clear()
    try:
        exec(logs, {})
        with Commander(name="boss") as commander:
            commander.submit(lambda: logging.info("said")).result(10)
    finally:
        root.handlers[:] = handlers
        root.setLevel(level)
    assert re.search(r"^boss#\d+ > <lambda>#\d+: said$", capsys.readouterr().err, re.MULTILINE)


def test_its_picture_and_links() -> None:
    for target in re.findall(r"\]\(([^)#]+)\)", PAGE):
        assert (DOCS / target).exists(), target
    picture = (DOCS / "pictures" / "watch.svg").read_text()
    assert len(picture) < 40_000
    assert "write" in picture
