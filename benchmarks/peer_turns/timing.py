"""Times a peer's turn beside the bare loop, in the peer's own environment: nothing of Agere can be imported here."""

from __future__ import annotations

import gc
import json
import sys
import time
from collections.abc import Callable
from importlib.metadata import version

import openai

from benchmarks.bare_turn import bare_turn


def tell(package: str, make_turn: Callable[[str], Callable[[], str]], expected: str) -> None:
    """Measure and print one JSON line. The address of the server and the number of pairs stand in ``sys.argv``.

    Args:
        package: whose version is told.
        make_turn: given the server's address, makes what runs one turn and gives what the user has seen.
        expected: what that has to end with.
    """
    address, pairs = sys.argv[1], int(sys.argv[2])
    turn = make_turn(address)
    with openai.OpenAI(base_url=address, api_key="scripted", max_retries=0) as client:
        sides: dict[str, Callable[[], str]] = {"turn": turn, "bare": lambda: bare_turn(client)}
        seconds: dict[str, list[float]] = {side: [] for side in sides}
        order = list(sides)
        for round_ in range(pairs + 3):
            for side in order:
                gc.collect()
                begun = time.perf_counter()
                said = sides[side]()
                took = time.perf_counter() - begun
                if not said.endswith(expected):
                    raise AssertionError(f"{side} gave {said!r}")
                if round_ >= 3:  # first turns pay for imports and connections
                    seconds[side].append(took)
            order.reverse()
    sys.stdout.write("\n" + json.dumps({"version": version(package), **seconds}) + "\n")  # peers may have printed
