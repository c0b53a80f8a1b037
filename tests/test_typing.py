"""A user's own ``mypy --strict`` passes, with the types that the contract promises, and finds the user's mistakes."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

pytest.importorskip("mypy")

HERE = Path(__file__).parent / "typing"
ROOT = Path(__file__).parents[1]


@pytest.fixture(scope="module")
def reports(tmp_path_factory: pytest.TempPathFactory) -> dict[str, list[tuple[int, str, str]]]:
    """mypy's errors by file: line, code, message. One run for both programs."""
    result = subprocess.run(
        [
            *(sys.executable, "-m", "mypy", "--strict", "--show-error-codes", "--no-error-summary", "--no-pretty"),
            *("--config-file", "", "--cache-dir", str(ROOT / ".mypy_cache" / "users")),
            *("--follow-imports", "silent", str(HERE / "good.py"), str(HERE / "bad.py")),
        ],
        capture_output=True,
        text=True,
        cwd=ROOT,
        timeout=120,
        check=False,
    )
    assert result.stderr == "", result.stderr
    found: dict[str, list[tuple[int, str, str]]] = {"good.py": [], "bad.py": []}
    for line in result.stdout.splitlines():
        match = re.match(r"(.*?):(\d+): error: (.*?)(?:\s+\[([\w-]+)\])?$", line)
        if match:
            path, number, message, code = match.groups()
            assert Path(path).name in found, line
            found[Path(path).name].append((int(number), code or "", message))
    return found


@pytest.mark.timeout(180)
def test_a_good_program(reports: dict[str, list[tuple[int, str, str]]]) -> None:
    assert reports["good.py"] == []


def test_mistakes_are_found(reports: dict[str, list[tuple[int, str, str]]]) -> None:
    expected = {}
    for number, line in enumerate((HERE / "bad.py").read_text(encoding="utf-8").splitlines(), 1):
        if match := re.search(r"# error: ([\w-]+)", line):
            expected[number] = match[1]
    found = {number: code for number, code, _ in reports["bad.py"]}
    assert sorted(found) == sorted(expected), reports["bad.py"]
    same = {"arg-type", "call-arg", "call-overload", "typeddict-item", "dict-item", "misc"}
    for number, code in expected.items():
        assert found[number] == code or {found[number], code} <= same, (number, found[number], code)


def test_the_package_says_that_it_is_typed() -> None:
    assert (ROOT / "agere" / "py.typed").exists()
