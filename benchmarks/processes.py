"""Fresh processes: for memory, for imports, and so that no workload feels what another one has left behind."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent


class ChildError(RuntimeError):
    """A child process failed; its message holds what it said."""


def environment() -> dict[str, str]:
    """The environment of a child that finds this checkout, whatever its working directory."""
    paths = [str(ROOT), *filter(None, [os.environ.get("PYTHONPATH")])]
    return {**os.environ, "PYTHONPATH": os.pathsep.join(paths)}


def run_module(module: str, *args: object) -> Any:
    """Run ``python -m module args...`` and give the JSON value on its last line.

    Raises:
        ChildError: it failed.
    """
    return _last_line(["-m", module, *map(str, args)])


def run_code(code: str, bytecode: str) -> Any:
    """Run ``python -c code`` and give the JSON value on its last line.

    Args:
        code: the program.
        bytecode: a directory for compiled modules. Where the environment forbids Python to keep them, an import would
            measure the compiler.

    Raises:
        ChildError: it failed.
    """
    variables = {**environment(), "PYTHONPYCACHEPREFIX": bytecode}
    variables.pop("PYTHONDONTWRITEBYTECODE", None)
    return _last_line(["-c", code], variables)


def _last_line(arguments: list[str], variables: dict[str, str] | None = None) -> Any:
    done = subprocess.run(
        [sys.executable, *arguments],
        env=variables or environment(),
        stdin=subprocess.DEVNULL,
        capture_output=True,
        check=False,
    )
    if done.returncode:
        raise ChildError(f"{' '.join(arguments)} ended with {done.returncode}:\n{done.stderr.decode(errors='replace')}")
    return json.loads(done.stdout.splitlines()[-1])


def resident_bytes() -> int:
    """The memory of this process that is in RAM now (on Linux; elsewhere the most that it ever was)."""
    statm = Path("/proc/self/statm")
    if statm.exists():
        return int(statm.read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")
    import resource

    most = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return most if sys.platform == "darwin" else most * 1024
