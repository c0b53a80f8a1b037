"""llama.cpp's OpenAI-compatible server inside this process, with a start and an end that are safe.

What was measured (xllamacpp 2026.10, Linux) and is handled here:

* Destroying the native server while a request waits for its first token never returns, and holds the GIL:
  the destructor joins the request's thread, which waits for a task that nobody works on any more. The thread
  does give up when its connection is gone. So connections are shut first, and the destructor runs when none
  is left.
* The native server says that it is there before its loop takes tasks. Destroyed in between, it never ends: the
  loop begins when it has been told to stop. So a server counts as started when the loop has worked on a task.
* In a child forked after a server was started, the destructor waits for threads that do not exist there, a
  new server aborts the process, and the library's C++ exit handlers hang. So none of this happens there.
* Loading holds the GIL (0.4-0.8 s for 98 MB); there is no way around it from Python.
* The model's threads wait for each other after every layer, spinning. Where other work takes a core, two
  threads on two cores are slower than one (19-37 tokens/s against 30-49; idle: 86 against 52), and collapse
  under more load. So one core is left to the program, and idle threads do not poll (llama.cpp's default,
  ``poll=50``, costs 10-40 % here).
"""

from __future__ import annotations

import atexit
import ctypes
import importlib
import json
import logging
import os
import threading
import time
import urllib.request
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol, cast

from agere.addons.loopback_sockets import find_sockets, shut_down
from agere.errors import LocalLLMError

if TYPE_CHECKING:
    from pathlib import Path

_log = logging.getLogger("agere.addons")

_HOST = "127.0.0.1"
_SILENT = -1  # llama.cpp's verbosity: not even errors, which would go to stderr from native threads
_INFO = 3
# Tokens of a prompt that are evaluated without looking up. The destructor waits for one such batch with the
# GIL held: 128 are 0.8-1.2 s at 110-165 tokens/s (the 135M model), and no slower than 512 in all.
_BATCH = 128
_PROMPT_CACHE_MIB = 256  # llama.cpp's default, 8192, is a server's, not a guest's
_CLOSE_PATIENCE = 10.0  # seconds for connections to go; measured: 0.02-0.25 s
_CLOSE_POLL = 0.01
_START_PATIENCE = 60.0  # seconds for the loop to begin; measured: milliseconds, more on a busy machine
_MOST_THREADS = 8  # more do not help models of the size that one runs inside a program


class _Native(Protocol):
    listening_address: str


@dataclass(frozen=True)
class ServerSettings:
    """What a server is started with.

    Attributes:
        weights: the .gguf file.
        alias: the name under which requests know the model.
        context_size: tokens (prompt and reply) of one request.
        parallel: requests worked on at once; more wait in line.
        threads: worker threads of the model.
        max_tokens: of a reply, where a request does not say.
        temperature: where a request does not say.
        chat_template: a Jinja template, or None for the one in the weights.
        verbose: let llama.cpp write its log to stderr.
    """

    weights: Path
    alias: str
    context_size: int
    parallel: int
    threads: int
    max_tokens: int
    temperature: float
    chat_template: str | None
    verbose: bool


def default_threads() -> int:
    """Worker threads for this machine: its usable cores but one, which is the rest of the program's."""
    usable = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return max(1, min(_MOST_THREADS, usable - 1))


def load_runtime() -> Any:
    """Import xllamacpp and see that the rest of the extra is there, or say how to get them.

    Raises:
        LocalLLMError: a package is missing or broken.
    """
    try:
        for name in ("filelock", "platformdirs", "tqdm"):
            importlib.import_module(name)
        return importlib.import_module("xllamacpp")
    except ImportError as error:
        raise LocalLLMError(
            f"the embedded model needs packages that are not here ({error}): pip install 'agere[local]'"
        ) from error


class LlamaServer:
    """One running server. It starts in the constructor, on a free loopback port, and serves until `stop`.

    Any thread may call any method; calls of `stop` take turns.

    Raises:
        LocalLLMError: xllamacpp is missing, or llama.cpp refused the weights, the template or the settings.
    """

    def __init__(self, settings: ServerSettings) -> None:
        runtime = load_runtime()
        _check_magic(settings.weights)
        _refuse_in_forked_child()
        self._lock = threading.Lock()
        try:
            self._native: _Native | None = runtime.Server(_parameters(runtime, settings))
        except RuntimeError as error:
            # The native message is always the same; the reason went to llama.cpp's log.
            raise LocalLLMError(
                f"llama.cpp could not serve {settings.weights}: an unknown kind of model, a broken chat "
                "template, or not enough memory. LocalLLM(..., verbose=True) shows its log."
            ) from error
        self.address = self._native.listening_address
        self.port = int(self.address.rpartition(":")[2])
        _running.add(self)
        if not self.address.startswith(f"http://{_HOST}:"):
            self.stop()
            raise LocalLLMError(f"llama.cpp listened on {self.address} although it was told {_HOST}")
        self._wait_for_loop()

    def knows_tools(self) -> bool:
        """Whether the chat template in use can show tools to the model (llama.cpp's own judgement)."""
        capabilities = self._properties().get("chat_template_caps", {})
        return bool(capabilities.get("supports_tools") and capabilities.get("supports_tool_calls"))

    def is_chatml(self) -> bool:
        """Whether the chat template in use marks turns as ``<|im_start|>role``."""
        return "<|im_start|>" in self._properties().get("chat_template", "")

    def stop(self) -> None:
        """Stop serving: requests in flight end with a connection error at their callers.

        Blocks for 0.1-1 s as a rule, the last part of it with the GIL held (see `_BATCH`). Harmless when
        stopped already. A Ctrl-C on the way leaves a server that can be stopped again.
        """
        with self._lock:
            if self._native is None:
                return
            if self._hang_up():
                self._native = None  # the destructor runs here
            else:
                self._abandon()
                _log.error("a request did not let go of the embedded model in %s s; abandoned", _CLOSE_PATIENCE)
            _running.discard(self)

    def _wait_for_loop(self) -> None:
        """Return when the loop works on tasks, as it does to count them."""
        try:
            self._counters(_START_PATIENCE)
        except OSError as error:
            self._abandon()
            _running.discard(self)
            raise LocalLLMError(f"llama.cpp loaded the model, and then did not answer: {error}") from error

    def _hang_up(self) -> bool:
        """Shut the door and every connection; True when no request is left."""
        deadline = time.monotonic() + _CLOSE_PATIENCE
        while True:
            sockets = find_sockets(self.port)
            if sockets is None:
                idle = self._is_idle()
            else:
                # The door first, and one more look after it is shut: somebody may have come in between.
                # Where a system cannot shut a listening socket (not Linux), that gap of microseconds stays.
                door_was_open = shut_down(sockets.listening, self.port)
                shut_down(sockets.connected, self.port)
                idle = not door_was_open and not sockets.connected
            if idle or time.monotonic() > deadline:
                return idle
            time.sleep(_CLOSE_POLL)

    def _is_idle(self) -> bool:
        """Ask the server itself, where the system does not list sockets."""
        try:
            return not any(self._counters(_CLOSE_PATIENCE))
        except OSError:
            return False

    def _counters(self, timeout: float) -> list[float]:
        """How many requests are worked on and how many wait, as the loop counts them."""
        with _open_locally(f"{self.address}/metrics", timeout=timeout) as answer:
            lines = answer.read().decode().splitlines()
        return [float(line.split()[1]) for line in lines if line.startswith(_BUSY_COUNTERS)]

    def _abandon(self) -> None:
        """Never run the destructor: it would hang, with the GIL held."""
        ctypes.pythonapi.Py_IncRef(ctypes.py_object(self._native))
        self._native = None

    def _forget_after_fork(self) -> None:
        """In a forked child: the threads are not here; let the parent's port be the parent's alone."""
        self._lock = threading.Lock()
        self._abandon()
        sockets = find_sockets(self.port)
        for descriptor in (sockets.listening + sockets.connected) if sockets else ():
            os.close(descriptor)

    def _properties(self) -> dict[str, Any]:
        with _open_locally(f"{self.address}/props", timeout=30) as answer:
            return cast("dict[str, Any]", json.load(answer))


_BUSY_COUNTERS = ("llamacpp:requests_processing", "llamacpp:requests_deferred")
# Strong references: a server serves until it is stopped, also when only its address is remembered.
_running: set[LlamaServer] = set()
_user: int | None = None  # the process that has started a server, of which a forked child keeps the number


def _stop_all() -> None:
    for server in list(_running):
        server.stop()


def _refuse_in_forked_child() -> None:
    global _user  # noqa: PLW0603 - one per process, like llama.cpp's own state
    if _user is None:
        _user = os.getpid()
    if _user != os.getpid():
        raise LocalLLMError(
            "llama.cpp cannot run in a process forked from one that used it: use the base_url of the model "
            "that the parent serves, or start this process with 'spawn' (multiprocessing.get_context)"
        )


def _forget_all() -> None:
    for server in list(_running):
        server._forget_after_fork()
    _running.clear()
    if _user is not None:
        _skip_inherited_exit_handlers()


def _skip_inherited_exit_handlers() -> None:
    """Let a forked child end when its own exit handlers have run.

    The last one is `_exit` itself: glibc calls it with the exit status. (multiprocessing ends its children in
    the same way, so only a bare ``os.fork`` needs this; where there is no ``on_exit``, such a child must call
    ``os._exit``.)
    """
    library = ctypes.CDLL(None)
    if hasattr(library, "on_exit"):
        library.on_exit.argtypes = (ctypes.c_void_p, ctypes.c_void_p)
        library.on_exit(ctypes.cast(library._exit, ctypes.c_void_p), None)


# At interpreter exit the native destructor would run anyway, and hang if a daemon thread has a request.
atexit.register(_stop_all)
if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_forget_all)


def _open_locally(url: str, timeout: float) -> Any:
    # Without the proxies that the environment names: they are not meant for this address.
    return urllib.request.build_opener(urllib.request.ProxyHandler({})).open(url, timeout=timeout)


def _check_magic(weights: Path) -> None:
    try:
        with weights.open("rb") as stream:
            magic = stream.read(4)
    except OSError as error:
        raise LocalLLMError(f"cannot read the model file: {error}") from error
    if magic != b"GGUF":
        raise LocalLLMError(f"{weights} is not a .gguf model file")


def _parameters(runtime: Any, settings: ServerSettings) -> Any:
    parameters = runtime.CommonParams()
    parameters.verbosity = _INFO if settings.verbose else _SILENT
    parameters.model.path = str(settings.weights)
    parameters.model_alias = {settings.alias}
    # Loopback only, no web page, nothing for web pages of other origins: their requests get no permission.
    parameters.hostnames = [_HOST]
    parameters.port = 0
    parameters.ui = False
    parameters.cors_origins = ""
    parameters.cors_credentials = False
    parameters.endpoint_slots = False
    parameters.endpoint_metrics = True  # counters only; `_is_idle` reads them
    parameters.offline = True
    # llama.cpp counts the context of all slots together.
    parameters.n_parallel = settings.parallel
    parameters.n_ctx = settings.context_size * settings.parallel
    parameters.n_batch = parameters.n_ubatch = _BATCH
    parameters.cache_ram_mib = _PROMPT_CACHE_MIB
    parameters.warmup = False
    for group in (parameters.cpuparams, parameters.cpuparams_batch):
        group.n_threads = settings.threads
        group.poll = 0
    # 0.8 otherwise: small models then call tools at random.
    parameters.sampling.temp = settings.temperature
    parameters.n_predict = settings.max_tokens
    parameters.use_jinja = True
    # A conversation may end with an assistant's turn (text that was shown while a tool ran): what follows
    # is a new turn, as with OpenAI, not the continuation of that text.
    parameters.prefill_assistant = False
    if settings.chat_template is not None:
        parameters.chat_template = settings.chat_template
    return parameters
