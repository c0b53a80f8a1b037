"""For the tests of the core: a running commander, and no error in the log that the test did not ask for."""

from __future__ import annotations

import logging
from collections.abc import Iterator

import pytest

from agere.commander import Commander


class Errors(logging.Handler):
    """The ERROR records of Agere's loggers."""

    def __init__(self) -> None:
        super().__init__(logging.ERROR)
        self.records: list[logging.LogRecord] = []

    def emit(self, record: logging.LogRecord) -> None:
        if record.name.split(".")[0] in ("agere", "asyncio"):
            self.records.append(record)

    @property
    def messages(self) -> list[str]:
        return [record.getMessage() for record in self.records]

    @property
    def exceptions(self) -> list[BaseException | None]:
        return [record.exc_info[1] if record.exc_info else None for record in self.records]

    def __len__(self) -> int:
        return len(self.records)


@pytest.fixture(autouse=True)
def log_of_errors() -> Iterator[Errors]:
    handler = Errors()
    logging.getLogger().addHandler(handler)
    yield handler
    logging.getLogger().removeHandler(handler)


@pytest.fixture
def errors(log_of_errors: Errors) -> Errors:
    """The errors that were logged. A test that does not take this fixture must not cause any."""
    return log_of_errors


@pytest.fixture(autouse=True)
def no_unexpected_errors(request: pytest.FixtureRequest, log_of_errors: Errors) -> Iterator[None]:
    yield
    if "errors" not in request.fixturenames and log_of_errors.records:
        formatted = [logging.Formatter().format(record) for record in log_of_errors.records]
        pytest.fail("unexpected errors in the log:\n" + "\n".join(formatted), pytrace=False)


@pytest.fixture
def commander() -> Iterator[Commander[object]]:
    """A running commander; at the end of the test it is told to exit, and terminates what is left."""
    commander: Commander[object] = Commander(grace=2.0)
    commander.start()
    yield commander
    commander.exit()
    assert not commander.running_status
