"""The tool turn in other libraries: ``python -m benchmarks.peers openai-agents pydantic-ai langgraph smolagents``.

Each is installed, in its newest version, into a virtual environment of its own, and runs the turn that
``workloads/turn.py`` runs, in its streaming mode, against the same scripted server. What counts is what it adds to the
bare loop, measured in the same environment: environments may hold different versions of the openai client.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import venv
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from benchmarks.measure import MILLI, Case, Pairs
from benchmarks.processes import ROOT, ChildError, environment
from benchmarks.scripted_server import server
from benchmarks.table import as_table, record
from benchmarks.workload import FULL, Workload
from benchmarks.workloads import WORKLOADS

DEFAULT_HOME = ROOT / "build" / "peers"


@dataclass(frozen=True)
class Peer:
    """Another library.

    Attributes:
        requirements: what is installed for it.
        module: in ``peer_turns``.
    """

    requirements: tuple[str, ...]
    module: str


PEERS = {
    "openai-agents": Peer(("openai-agents",), "openai_agents_turn"),
    "pydantic-ai": Peer(("pydantic-ai-slim[openai]",), "pydantic_ai_turn"),
    "langgraph": Peer(("langgraph", "langchain", "langchain-openai"), "langgraph_turn"),
    "smolagents": Peer(("smolagents[openai]",), "smolagents_turn"),
}


def python_of(name: str, home: Path) -> Path:
    """The interpreter of a peer's environment, which is made if it is not there."""
    place = home / name
    python = place / ("Scripts/python.exe" if sys.platform == "win32" else "bin/python")
    done = place / "installed"
    if not done.exists():
        print(f"{name}: making {place}", file=sys.stderr)
        venv.create(place, with_pip=True, clear=True)
        _run([str(python), "-m", "pip", "install", "--quiet", *PEERS[name].requirements])
        done.touch()
    return python


def measure(name: str, home: Path, address: str, pairs: int) -> Case:
    """What a peer adds to the bare loop."""
    module = f"benchmarks.peer_turns.{PEERS[name].module}"
    out = _run([str(python_of(name, home)), "-m", module, address, str(pairs)])
    answer = json.loads(out.splitlines()[-1])
    case = Pairs(answer["turn"], answer["bare"]).difference
    return case(f"{name} {answer['version']}", None, MILLI, "ms")


def _run(arguments: list[str]) -> str:
    done = subprocess.run(
        arguments, env=environment(), stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False
    )
    if done.returncode:
        raise ChildError(f"{' '.join(arguments)} ended with {done.returncode}:\n{done.stderr}")
    return done.stdout


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.peers", description=__doc__)
    parser.add_argument("names", nargs="+", choices=PEERS, metavar="PEER", help=", ".join(PEERS))
    parser.add_argument("--home", type=Path, default=DEFAULT_HOME, help="where the environments are, or are made")
    parser.add_argument("--pairs", type=int, default=41)
    options = parser.parse_args(arguments)
    failed = False
    cases = WORKLOADS["turn"].measure(FULL)
    with server() as address:
        for name in options.names:
            try:
                cases.append(measure(name, options.home, address, options.pairs))
            except ChildError as error:
                failed = True
                print(f"{name}: {error}", file=sys.stderr)
    turn: Workload[None] = Workload("turn", "a tool turn, streamed", "the bare synchronous loop", lambda _: cases, {})
    named = [{**case.as_json(), "case": case.name if index else "agere"} for index, case in enumerate(cases)]
    print(as_table([{**record(turn, FULL, 0.0), "cases": named}]))
    return int(failed)


if __name__ == "__main__":
    sys.exit(main())
