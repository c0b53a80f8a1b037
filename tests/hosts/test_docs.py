"""The programs in ``docs/hosts/`` run as they stand, and their pictures are there."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from tests.support.subprocesses import ROOT, run_python
from tests.support.x11 import Screen

PAGES = ROOT / "docs" / "hosts"
OWN = ("asyncio.md", "qt.md", "scripts.md", "tk.md")


def programs(page: str) -> list[str]:
    return re.findall(r"^```python\n(.*?)^```", (PAGES / page).read_text(), re.MULTILINE | re.DOTALL)


def test_the_program_of_the_scripts_page() -> None:
    (program,) = programs("scripts.md")
    run_python(program).check(out="0\n1\n2\ncounted\n")


def test_the_program_of_the_asyncio_page() -> None:
    program, excerpt = programs("asyncio.md")
    run_python(program).check(out="144\n[0, 1, 4, 9]\n0\n1\n2\n")
    compile(excerpt, "asyncio.md", "exec")


def until_its_question(page: str, env: dict[str, str], toolkit: str) -> None:
    """Run a page's program until it asks, and answer; then press Ctrl-C."""
    look = """
import agere.hosts.window as module
opened = module.WindowHost.look_at_questions
def look(self):
    opened(self)
    if self._dialog is not None and self._dialog.question.open:
        self._dialog.question.answer("well")
        print("asked", flush=True)
module.WindowHost.look_at_questions = look
"""
    (program,) = programs(page)
    variables = {**os.environ, **env, "PYTHONPATH": str(ROOT)}
    with subprocess.Popen(
        [sys.executable, "-c", look + program], env=variables, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as process:
        try:
            assert process.stdout is not None
            assert process.stdout.readline() == "asked\n", f"{toolkit}: {process.communicate()[1]}"
            process.send_signal(signal.SIGINT)
            _, err = process.communicate(timeout=20)
        finally:
            process.kill()
    assert err.rstrip().endswith("KeyboardInterrupt"), err


def test_the_program_of_the_tk_page(screen: Screen) -> None:
    pytest.importorskip("tkinter", reason="needs the Debian package python3-tk", exc_type=ImportError)
    until_its_question("tk.md", screen.env, "Tk")


def test_the_program_of_the_qt_page() -> None:
    pytest.importorskip("PySide6.QtWidgets", reason="needs PySide6: pip install 'agere[qt]'", exc_type=ImportError)
    until_its_question("qt.md", {"QT_QPA_PLATFORM": "offscreen"}, "Qt")


@pytest.mark.parametrize("page", OWN)
def test_what_a_page_points_to_is_there(page: str) -> None:
    targets = [found for found in re.findall(r"\]\(([^)#]+)\)", (PAGES / page).read_text()) if "://" not in found]
    for target in targets:
        assert (PAGES / Path(target)).resolve().exists(), target
