"""Which model answers: OpenAI or any compatible server when one is named, the small embedded model otherwise.

One ``ChatModel`` holds one openai client, for as long as whoever opened it wants.
"""

from __future__ import annotations

import inspect
import os
from collections.abc import AsyncIterable, Awaitable, Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeAlias
from urllib.parse import urlsplit

from agere.errors import LocalLLMError, NoModelError

from .sendable import sendable
from .wording import IN_OPEN_MODEL, Wording

if TYPE_CHECKING:
    from openai import AsyncOpenAI, OpenAI, Stream
    from openai.types.chat import ChatCompletionChunk, ChatCompletionMessageParam, ChatCompletionToolParam

    Client: TypeAlias = "OpenAI | AsyncOpenAI"

DEFAULT_MODEL = "gpt-4o-mini"
NO_KEY = "no-key"
"""Servers that want no key get this one: the client insists on sending some."""

EMBEDDED_MEMORY = 1500
"""Tokens. Its context holds 4096: worked examples of the tools, the conversation, one turn, and the answer."""

LEAST_SECRET = 10
"""Characters. What is shorter ("local", "no-key") is a placeholder; to blot it out would only spoil messages."""

StreamOpener: TypeAlias = "Callable[[], Iterable[Any]] | Callable[[], Awaitable[AsyncIterable[Any]]]"


@dataclass
class Habits:
    """What a server has shown of itself. Any thread; each field changes once."""

    tells_usage: bool = True


@dataclass(frozen=True)
class ChatModel:
    """A model and the client through which it is asked. Any thread may use it.

    Attributes:
        client: the openai client; ``AsyncOpenAI`` works, too.
        name: what to write under ``model=`` in requests.
        description: for people, in one line, without secrets.
        embedded: it runs inside this process.
        imitates: it is so small that it calls tools only after worked examples of them, which are then put in front
            of a conversation.
        memory: roughly how many tokens of a conversation it can read; None if that is no concern.
        address: where requests go, without secrets.
        key: where its key comes from, for people who are told that it was refused.
    """

    client: Client
    name: str
    description: str
    embedded: bool = False
    imitates: bool = False
    memory: int | None = None
    address: str = ""
    key: str = "the api_key of the client"
    _secrets: tuple[str, ...] = field(default=(), repr=False)
    _habits: Habits = field(default_factory=Habits, repr=False, compare=False)

    def open_stream(
        self, messages: Iterable[ChatCompletionMessageParam], tools: Sequence[ChatCompletionToolParam] = ()
    ) -> Stream[ChatCompletionChunk]:
        """Any thread that may block. Send a request; the answer arrives as the stream is read.

        Args:
            messages: the conversation.
            tools: what the model may call.
        """
        create: Any = self.client.chat.completions.create
        return create(**self._request(messages, tools))  # type: ignore[no-any-return]

    def stream_opener(self, messages: Iterable[Any], tools: Sequence[Any], options: Mapping[str, Any]) -> StreamOpener:
        """Any thread. A function for ``LLMAsyncAdapter`` that sends a request which also asks for the usage.

        A server that refuses to tell the usage is asked without, from then on.

        Args:
            messages: the conversation.
            tools: what the model may call.
            options: further parameters of the request, such as ``temperature``.
        """
        create: Any = self.client.chat.completions.create
        request = {**self._request(messages, tools), **options}
        if is_async := _is_async(self.client):
            # A connection that is kept belongs to the loop it was made on, and breaks the first request on another
            # ("Event loop is closed"): a Chat outlives the loops of its commanders.
            request["extra_headers"] = {"Connection": "close", **(request.get("extra_headers") or {})}
        asks = self._habits.tells_usage and "stream_options" not in request
        asking = {**request, "stream_options": {"include_usage": True}} if asks else request

        def send() -> Iterable[Any]:
            try:
                return create(**asking)  # type: ignore[no-any-return]
            except Exception as error:
                if not asks or not self._refuses_usage(error):
                    raise
            return create(**request)  # type: ignore[no-any-return]

        async def send_async() -> AsyncIterable[Any]:
            try:
                return await create(**asking)  # type: ignore[no-any-return]
            except Exception as error:
                if not asks or not self._refuses_usage(error):
                    raise
            return await create(**request)  # type: ignore[no-any-return]

        return send_async if is_async else send

    def examples(self, tools: Sequence[Any]) -> list[Any]:
        """Any thread. What stands in front of each conversation with these tools."""
        if not self.imitates or not tools:
            return []
        from agere.addons.worked_examples import examples_of

        return [*examples_of(tools)]

    def prime(self, tools: Sequence[Any]) -> None:
        """A thread that may block, for seconds. Have an embedded model read now what each conversation begins with."""
        if self.embedded and (examples := self.examples(tools)):
            create: Any = self.client.chat.completions.create
            create(model=self.name, messages=examples, tools=[*tools], max_tokens=1)

    def redact(self, text: str) -> str:
        """Any thread. ``text`` without the key, whoever has quoted it."""
        for secret in self._secrets:
            for form in (secret, repr(secret)[1:-1], repr(secret.encode(errors="replace"))[2:-1]):
                text = text.replace(form, "***")
        return text

    def _request(self, messages: Iterable[Any], tools: Sequence[Any]) -> dict[str, Any]:
        said = [*messages]
        if examples := self.examples(tools):
            begins = 1 if said and said[0]["role"] == "system" else 0
            said[begins:begins] = examples
        request: dict[str, Any] = {"model": sendable(self.name), "messages": said, "stream": True}
        if tools:
            request["tools"] = [*tools]
        return request

    def _refuses_usage(self, error: Exception) -> bool:
        if getattr(error, "status_code", None) not in (400, 422) or "stream_options" not in str(error):
            return False
        self._habits.tells_usage = False
        return True


def adopt(client: Any, name: str | None = None) -> ChatModel:
    """Any thread. The model of a client that somebody else has made, and will close.

    Args:
        client: ``openai.OpenAI``, ``openai.AsyncOpenAI``, or anything with their ``chat.completions.create``.
        name: the model's name at the server; ``AGERE_MODEL`` by default.

    Raises:
        TypeError: ``client`` is no such thing.
    """
    completions = getattr(getattr(client, "chat", None), "completions", None)
    if not callable(getattr(completions, "create", None)):
        shown = f"the class {client.__name__}" if isinstance(client, type) else type(client).__name__
        raise TypeError(f"client is an openai.OpenAI or openai.AsyncOpenAI, not {shown}")
    name = name or _model_of_environment() or DEFAULT_MODEL
    url = str(getattr(client, "base_url", "") or "")
    address = _without_secrets(url) if url else type(client).__name__
    secrets = _secrets_of(getattr(client, "api_key", None), urlsplit(url).password)
    return ChatModel(client, name, f"{name} at {address}", address=address, _secrets=secrets)


def open_model(
    name: str | None = None, *, base_url: str | None = None, parallel: int = 2, wording: Wording = IN_OPEN_MODEL
) -> AbstractContextManager[ChatModel]:
    """Any thread that may block. The model that the environment and the arguments name, until the block is left.

    See ``choose_model``; entering the context opens it.
    """
    return choose_model(name, base_url=base_url, parallel=parallel, wording=wording).open()


def choose_model(
    name: str | None = None, *, base_url: str | None = None, parallel: int = 2, wording: Wording = IN_OPEN_MODEL
) -> ModelChoice:
    """Any thread. Which model the environment and the arguments name. Nothing is opened yet.

    With ``OPENAI_API_KEY``, ``OPENAI_BASE_URL`` or ``base_url`` it is a server's model, and nothing is sent before it
    is asked something. Otherwise it is the embedded one, which is fetched if need be, and loaded, when it is opened.

    Args:
        name: the model's name at the server, or a .gguf file for the embedded one; ``AGERE_MODEL`` by default.
        base_url: a server that speaks the OpenAI protocol.
        parallel: how many requests the embedded model works on at once.
        wording: how errors name what can be done about them.

    Raises:
        NoModelError: the name is that of a server's model, and no server is named; or the environment names an
            impossible server. The text says what to do.
        ValueError: ``base_url`` is no address of a server.
    """
    key = os.environ.get("OPENAI_API_KEY", "").strip()
    url = check_url(base_url) if base_url else _url_of_environment()
    asks_for_file = name is not None and _is_file_name(name) and base_url is None
    if (key or url) and not asks_for_file:
        server_model = name or _model_of_environment() or DEFAULT_MODEL
        return ModelChoice(False, lambda: _server_model(server_model, key, url))
    file = name or os.environ.get("AGERE_MODEL", "").strip() or None
    if file is not None and not _is_file_name(file):
        raise NoModelError(
            f"{file!r} names a model of a server: set OPENAI_API_KEY or name the server with {wording.server} "
            "(the embedded model takes a .gguf file here, or nothing)"
        )
    return ModelChoice(True, lambda: _embedded_model(file, parallel, wording))


@dataclass(frozen=True)
class ModelChoice:
    """A model that has been chosen and not been opened.

    Attributes:
        embedded: it will run inside this process.
        open: gives a context manager in which it is open. Raises NoModelError if it cannot be had.
    """

    embedded: bool
    open: Callable[[], AbstractContextManager[ChatModel]]


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
        secrets = tuple(secret for secret in (key, urlsplit(url).password) if secret)
        yield ChatModel(client, name, f"{name} at {address}", address=address, key="OPENAI_API_KEY", _secrets=secrets)


@contextmanager
def _embedded_model(name: str | None, parallel: int, wording: Wording) -> Iterator[ChatModel]:
    from agere.addons import local_llm

    llm = local_llm.LocalLLM(name, parallel=parallel)
    try:
        llm.start()
    except (LocalLLMError, ImportError) as error:
        raise NoModelError(wording.remedies if _lacks_extra() else str(error)) from error
    with llm:
        kind = "a small demo model embedded in this process, often wrong"
        yield ChatModel(
            llm.client(),
            llm.model,
            f"{llm.model}, {kind if llm.is_demo_model else 'embedded in this process'}",
            embedded=True,
            imitates=llm.is_demo_model,
            memory=EMBEDDED_MEMORY,
            address="this process",
        )


def _lacks_extra() -> bool:
    from agere.addons.llama_server import load_runtime

    try:
        load_runtime()
    except LocalLLMError:
        return True
    return False


def _model_of_environment() -> str | None:
    """The name of a server's model; a file is meant for the embedded one."""
    name = os.environ.get("AGERE_MODEL", "").strip()
    return name if name and not _is_file_name(name) else None


def _secrets_of(*found: object) -> tuple[str, ...]:
    return tuple(one for one in found if isinstance(one, str) and len(one) >= LEAST_SECRET)


def _is_async(client: Any) -> bool:
    return inspect.iscoroutinefunction(inspect.unwrap(client.chat.completions.create))


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
