"""Makes ``watch.svg``: what ``commander.watch()`` shows of a real run, at one moment.

Run it from the checkout: ``python docs/pictures/watch_picture.py``. Needs rich.
"""

from __future__ import annotations

import asyncio
import io
import logging
import re
import threading
from pathlib import Path
from time import monotonic

from rich.console import Console

from agere import BasicJob, Commander, Job, tasker
from agere.commander.glance import glance
from agere.rendering.rich_text import line_text
from agere.watch.terminal import head_text
from agere.watch.view import Look

MADE_BY = "<!-- Generated with Rich https://www.textualize.io -->"
TARGET = Path(__file__).with_name("watch.svg")
there = threading.Semaphore(0)


async def read_page(url: str) -> None:
    """A handler that takes its time."""
    del url
    there.release()
    await asyncio.Event().wait()


async def summarise() -> None:
    """Another one."""
    there.release()
    await asyncio.Event().wait()


class Research(Job[None]):
    """A job with handlers below it."""

    @tasker
    async def task(self) -> None:
        """Start them."""
        for number in range(3):
            self.submit(read_page, f"page {number}")
        await asyncio.sleep(1.3)
        self.submit(summarise)
        await asyncio.sleep(0.4)
        there.release()


def fails() -> None:
    """A handler that fails."""
    raise ConnectionError("no route to page 3")


def main() -> None:
    """Run, look, and write the picture."""
    logging.disable(logging.CRITICAL)
    console = Console(record=True, width=76, file=io.StringIO(), force_terminal=True, color_system="truecolor")
    commander: Commander[None] = Commander(name="researcher", lanes={"llm": 1})
    tally = commander.__agere_listeners__.count(lambda: None)
    began = monotonic()
    with commander:
        for number in range(14):
            commander.submit(str, number)
        commander.submit(fails).exception(10)
        commander.submit(Research())
        for topic in ("lighthouses", "tides"):
            commander.submit(BasicJob(asyncio.sleep, 60, name=f"write about {topic}"), lane="llm")
        for _ in range(5):
            there.acquire(timeout=10)
        look = Look(commander.name, monotonic() - began, glance(commander, 30), tally.ended, 0, over=False)
        console.print("reading page 0", highlight=False)
        console.print("A lighthouse is a tower with a light that guides ships at", highlight=False)
        for text in (head_text(look), *(line_text(line) for line in look.seen.lines[1:])):
            console.print(text, no_wrap=True, highlight=False, end="\n")
        commander.exit()
    svg = console.export_svg(title="python research.py")
    TARGET.write_text(re.sub(r"@font-face \{.*?\}\s*", "", svg, flags=re.DOTALL).replace(MADE_BY, ""), encoding="utf-8")


if __name__ == "__main__":
    main()
