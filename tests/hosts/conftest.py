"""What the tests of several hosts share."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.support.kernel import kernel, shared_kernel
from tests.support.x11 import Screen, open_screen

__all__ = ["kernel", "screen", "shared_kernel"]


@pytest.fixture(scope="module")
def screen() -> Iterator[Screen]:
    """A screen that the tests of a module share."""
    with open_screen() as opened:
        yield opened
