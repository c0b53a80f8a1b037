"""Runs the command ``agere`` and the examples, in processes of their own, against a scripted server or none."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from agere.testing import ScriptedLLM
from tests.support.subprocesses import LIMIT_SECONDS, Outcome, run_on_terminal, run_python

KEY = "sk-test-5eCrEt"

AGERE = """
    import sys
    from agere.cli import main
    sys.exit(main(sys.argv[1:]))
"""

ON_TERMINAL = """
    import sys, termios
    from agere.cli import main
    before = termios.tcgetattr(0)
    code = main({arguments!r})
    print("terminal", "sane" if termios.tcgetattr(0) == before else "INSANE", "code", code)
"""


def environment(server: ScriptedLLM | str | None, key: str = KEY, **more: str) -> dict[str, str]:
    """Variables that name this server, and nothing of what the machine's own environment says."""
    url = server.base_url if isinstance(server, ScriptedLLM) else server or ""
    return {
        "OPENAI_API_KEY": key if url else "",
        "OPENAI_BASE_URL": url,
        "AGERE_MODEL": "",
        "NO_COLOR": "1",
        "TERM": "xterm",
        **more,
    }


def agere(
    *arguments: str,
    server: ScriptedLLM | str | None = None,
    stdin: str = "",
    env: dict[str, str] | None = None,
    signals: tuple[tuple[str, int], ...] = (),
    limit: float = LIMIT_SECONDS,
) -> Outcome:
    """``agere ARGUMENTS``, with stdin, stdout and stderr being pipes."""
    variables = {**environment(server), **(env or {})}
    outcome = run_python(AGERE, *arguments, stdin=stdin, env=variables, signals=signals, limit=limit)
    assert KEY not in outcome.out + outcome.err
    assert "Traceback" not in outcome.err, str(outcome)
    return outcome


def agere_on_terminal(
    *arguments: str,
    server: ScriptedLLM,
    talk: Sequence[tuple[str, str | Callable[[int], None]]],
    env: dict[str, str] | None = None,
) -> Outcome:
    """``agere ARGUMENTS`` on a pseudo-terminal; the last line that it prints tells whether the terminal is sane."""
    program = ON_TERMINAL.format(arguments=list(arguments))
    outcome = run_on_terminal(program, list(talk), env={**environment(server), **(env or {})})
    assert KEY not in outcome.out
    assert "Traceback" not in outcome.out, str(outcome)
    return outcome
