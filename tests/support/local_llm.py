"""The embedded model, started once for all tests that talk to it.

A conftest imports the fixture: ``from tests.support.local_llm import local_llm as local_llm``. The weights are
fetched into the user's own cache, once per machine.
"""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from agere.addons.local_llm import LocalLLM

# A model on a machine that is busy with other tests is slow: seconds for a test that talks to it.
MODEL_TIMEOUT = 300


@pytest.fixture(scope="session")
def local_llm() -> Iterator[LocalLLM]:
    with LocalLLM() as llm:
        yield llm
