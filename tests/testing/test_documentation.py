"""The tests that ``docs/testing.md`` shows are run, by pytest, as a reader would."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

from agere import testing
from tests.support.documents import ROOT, programs

PAGE = "docs/testing.md"


def test_the_tests_shown_pass(tmp_path: Path) -> None:
    (tmp_path / "test_shown.py").write_text(programs(PAGE)[0])
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "-W", "error", str(tmp_path)],
        capture_output=True,
        text=True,
        timeout=50,
        cwd=tmp_path,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert "6 passed" in done.stdout


def test_every_name_is_on_the_page_or_part_of_an_answer() -> None:
    page = (ROOT / PAGE).read_text()
    parts = {"Answer", "Begin", "CallArguments", "CallBegin", "End", "Text"}
    assert not [name for name in testing.__all__ if name not in page and name not in parts]
