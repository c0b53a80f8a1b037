"""The measuring of stops runs, and every program in it really is stopped."""

from __future__ import annotations

import os

import pytest

from benchmarks.stopping import CHILDREN, ROOT, in_ms, measure, measure_asgi
from tests.support.x11 import open_screen

BOUND = 5.0  # seconds: a promise, not a figure


@pytest.mark.parametrize("name", sorted(CHILDREN))
def test_a_program_is_stopped(name: str) -> None:
    env = {**os.environ, "PYTHONPATH": str(ROOT), "QT_QPA_PLATFORM": "offscreen"}
    if name.startswith("Qt"):
        pytest.importorskip("PySide6.QtWidgets", reason="needs PySide6: pip install 'agere[qt]'", exc_type=ImportError)
    if name.startswith("Tk"):
        pytest.importorskip("tkinter", reason="needs the Debian package python3-tk", exc_type=ImportError)
        with open_screen() as screen:
            measured = measure(name, 2, {**env, **screen.env})
    else:
        measured = measure(name, 2, env)
    assert len(measured.disconnected) == len(measured.free) == 2
    assert max(measured.disconnected + measured.free) < BOUND


def test_a_client_of_the_asgi_example_goes_away() -> None:
    pytest.importorskip("httpx2", reason="needs httpx2, which comes with openai")
    measured = measure_asgi(2, {**os.environ, "PYTHONPATH": str(ROOT)})
    assert max(measured.disconnected) < BOUND
    assert in_ms(measured.free).split() == ["-", "-"]
