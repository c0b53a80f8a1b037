"""For the whole suite: no test leaves anything behind, and none meets a defect that Agere reports of itself."""

from __future__ import annotations

import builtins
import logging
import os
import signal
from collections.abc import Iterator

import pytest
from hypothesis import HealthCheck, settings

from tests.support.leaks import Snapshot, track_loops

KINDS = {"threads", "loops", "tasks", "fds"}

settings.register_profile(
    "suite",
    deadline=None,
    derandomize=True,
    database=None,
    max_examples=60,
    print_blob=True,
    suppress_health_check=[HealthCheck.too_slow],
)
settings.register_profile("explore", parent=settings.get_profile("suite"), derandomize=False, max_examples=1000)
settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "suite"))

track_loops()


def pytest_configure(config: pytest.Config) -> None:
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
        # So it is in the background of a shell without job control; our children would be deaf to Ctrl-C as well.
        signal.signal(signal.SIGINT, signal.default_int_handler)
    config.addinivalue_line(
        "markers", "leaves(*kinds): the test may leave such things behind: threads, loops, tasks, fds; say why"
    )


class Defects(logging.Handler):
    """Collects what Agere logs as CRITICAL: defects of its own."""

    def __init__(self) -> None:
        super().__init__(logging.CRITICAL)
        self.messages: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        if record.name.split(".")[0] == "agere":
            self.messages.append(logging.Formatter().format(record))


@pytest.fixture(autouse=True)
def nothing_leaks(request: pytest.FixtureRequest) -> Iterator[None]:
    """Fail the test for what it, or one of its function-scoped fixtures, left behind.

    Fixtures of a wider scope are set up before this one, and so belong to its snapshot.
    """
    marker = request.node.get_closest_marker("leaves")
    tolerated = frozenset(() if marker is None else marker.args)
    assert tolerated <= KINDS, f"unknown kinds: {tolerated - KINDS}"
    defects = Defects()
    logging.getLogger().addHandler(defects)
    reader = builtins.input
    before = Snapshot()
    try:
        yield
        found = before.leaks(tolerated)
        if builtins.input is not reader:
            found.append(f"builtins.input was not restored: {builtins.input!r}")
            builtins.input = reader
    finally:
        logging.getLogger().removeHandler(defects)
    found += defects.messages
    if found:
        pytest.fail(f"{request.node.nodeid} left behind:\n\n" + "\n".join(found), pytrace=False)
