from __future__ import annotations

from tests.support.local_llm import local_llm

__all__ = ["local_llm"]
