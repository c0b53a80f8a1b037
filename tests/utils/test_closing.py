"""Reaching a blocked reader: sockets that the source shows, sockets that only the call stack knows, TLS."""

from __future__ import annotations

import asyncio
import logging
import shutil
import socket
import ssl
import subprocess
import threading
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from agere.testing import ScriptedLLM, silent, text
from agere.utils.closing import SourceCloser, shut_socket
from agere.utils.llm_async_converters import LLMAsyncAdapter

PATIENCE = 10.0


class Response:
    def __init__(self, sock: object, *, closed: bool = False, version: bytes = b"HTTP/1.1") -> None:
        self.is_closed = closed
        self.extensions = {"http_version": version, "network_stream": NetworkStream(sock)}


class NetworkStream:
    def __init__(self, sock: object) -> None:
        self.sock = sock

    def get_extra_info(self, name: str) -> object:
        assert name == "socket"
        return self.sock


class Holder:
    def __init__(self, **attributes: object) -> None:
        self.__dict__.update(attributes)


@pytest.fixture
def pair() -> Iterator[tuple[socket.socket, socket.socket]]:
    near, far = socket.socketpair()
    with near, far:
        far.settimeout(PATIENCE)
        yield near, far


@pytest.mark.parametrize(
    "wrap",
    [
        lambda response: Holder(response=response),
        lambda response: Holder(_response=response),
        lambda response: Holder(_raw_stream=Holder(response=response)),
    ],
)
def test_the_socket_of_a_live_response_is_shut(
    pair: tuple[socket.socket, socket.socket], wrap: Callable[[Any], Any]
) -> None:
    near, far = pair
    assert shut_socket(wrap(Response(near)))
    assert far.recv(1) == b""


@pytest.mark.parametrize(
    "make",
    [
        lambda sock: Holder(response=Response(sock, closed=True)),  # its connection serves another by now
        lambda sock: Holder(response=Response(sock, version=b"HTTP/2")),  # its connection serves others too
        lambda sock: Holder(response=Response(object())),
        lambda sock: Holder(response=Holder(extensions={"http_version": b"HTTP/1.1"}, is_closed=False)),
        lambda sock: Holder(response=sock),
        lambda sock: iter([sock]),
        lambda sock: None,
    ],
)
def test_any_other_socket_is_left_alone(pair: tuple[socket.socket, socket.socket], make: Callable[[Any], Any]) -> None:
    near, far = pair
    assert not shut_socket(make(near))
    near.send(b"!")
    assert far.recv(1) == b"!"


def test_a_socket_that_is_closed_already_counts_as_not_reached(pair: tuple[socket.socket, socket.socket]) -> None:
    near, _ = pair
    near.close()
    assert not shut_socket(Holder(response=Response(near)))


def test_close_succeeds_at_most_once_from_many_threads() -> None:
    class Target:
        closes = 0

        def close(self) -> None:
            Target.closes += 1

    closer = SourceCloser(logging.getLogger("test"))
    closer.hold(Target())
    start = threading.Barrier(8)

    def close() -> None:
        start.wait()
        closer.close(last=False)

    threads = [threading.Thread(target=close) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    closer.close(last=True)
    assert Target.closes == 1


# Against a server that goes silent


def openai_stream(server: ScriptedLLM) -> Any:
    return server.client().chat.completions.create(model="m", messages=[], stream=True)


def openai_helper(server: ScriptedLLM) -> Any:
    with server.client().chat.completions.stream(model="m", messages=[]) as stream:
        yield from stream


def openai_generator(server: ScriptedLLM) -> Iterator[Any]:
    for chunk in openai_stream(server):
        yield chunk.choices[0].delta.content


def openai_expression(server: ScriptedLLM) -> Iterator[Any]:
    return (chunk for chunk in openai_stream(server))


def urllib_lines(server: ScriptedLLM) -> Iterator[bytes]:
    request = urllib.request.Request(
        server.base_url + "/chat/completions", data=b'{"stream": true}', headers={"Content-Type": "application/json"}
    )
    with urllib.request.urlopen(request) as answer:
        for line in answer:
            if line.strip():
                yield line


def httpx_lines(server: ScriptedLLM) -> Iterator[str]:
    httpx = pytest.importorskip("httpx2")
    with (
        httpx.Client() as client,
        client.stream("POST", server.base_url + "/chat/completions", json={"stream": True}) as answer,
    ):
        yield from answer.iter_lines()


SOURCES = [openai_stream, openai_helper, openai_generator, openai_expression, urllib_lines, httpx_lines]


@pytest.mark.parametrize("source", SOURCES, ids=lambda source: source.__name__)
@pytest.mark.parametrize("called", [False, True], ids=["iterable", "function"])
def test_the_server_sees_the_disconnect(source: Callable[[ScriptedLLM], Any], called: bool) -> None:
    with ScriptedLLM([silent("a")]) as server:

        async def main() -> None:
            stream = LLMAsyncAdapter().llm_to_async_iterable(
                (lambda: source(server)) if called else await asyncio.to_thread(source, server)
            )
            await anext(stream)
            reading = asyncio.create_task(drain(stream))
            request = await asyncio.to_thread(server.wait_request)
            assert not request.disconnected
            stream.close()
            await reading
            assert await asyncio.to_thread(request.wait_disconnected)

        asyncio.run(main())
        join_others(server)


@pytest.mark.parametrize("source", [openai_stream, urllib_lines], ids=lambda source: source.__name__)
def test_a_request_that_waits_for_its_headers_is_given_up(source: Callable[[ScriptedLLM], Any]) -> None:
    with ScriptedLLM([silent(headers=False)]) as server:

        async def main() -> None:
            stream = LLMAsyncAdapter().llm_to_async_iterable(lambda: source(server))
            reading = asyncio.create_task(drain(stream))
            request = await asyncio.to_thread(server.wait_request)
            stream.close()
            await reading
            assert await asyncio.to_thread(request.wait_disconnected)

        asyncio.run(main())
        join_others(server)


def test_a_client_that_tries_again_is_given_up_again() -> None:
    with ScriptedLLM(lambda body: silent(headers=False)) as server:
        client = server.client(max_retries=1)

        async def main() -> None:
            stream = LLMAsyncAdapter().llm_to_async_iterable(
                lambda: client.chat.completions.create(model="m", messages=[], stream=True)
            )
            reading = asyncio.create_task(drain(stream))
            await asyncio.to_thread(server.wait_request)
            stream.close()
            await reading
            second = await asyncio.to_thread(server.wait_request, 2)
            assert await asyncio.to_thread(second.wait_disconnected)

        asyncio.run(main())
        join_others(server)


def test_the_next_request_of_the_same_client_works() -> None:
    with ScriptedLLM([silent("a"), text("fine")]) as server:
        client = server.client()

        async def main() -> None:
            for expected in ("a", "fine"):
                stream = LLMAsyncAdapter().llm_to_async_iterable(
                    lambda: client.chat.completions.create(model="m", messages=[], stream=True)
                )
                async for chunk in stream:
                    if chunk.choices[0].delta.content:
                        assert chunk.choices[0].delta.content == expected
                        break
                await stream.aclose()

        asyncio.run(main())
        join_others(server)


@pytest.fixture(scope="module")
def tls(tmp_path_factory: pytest.TempPathFactory) -> tuple[ssl.SSLContext, ssl.SSLContext]:
    openssl = shutil.which("openssl")
    if openssl is None:
        pytest.skip("no openssl command to make a certificate with")
    folder: Path = tmp_path_factory.mktemp("tls")
    subprocess.run(
        [
            *(openssl, "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes"),
            *("-keyout", folder / "key.pem", "-out", folder / "cert.pem", "-days", "2"),
            *("-subj", "/CN=localhost", "-addext", "subjectAltName=IP:127.0.0.1"),
        ],
        check=True,
        capture_output=True,
    )
    serving = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    serving.load_cert_chain(folder / "cert.pem", folder / "key.pem")
    return serving, ssl.create_default_context(cafile=str(folder / "cert.pem"))


@pytest.mark.parametrize("hidden", [False, True], ids=["stream", "generator"])
def test_a_reader_blocked_in_tls_is_woken(tls: tuple[ssl.SSLContext, ssl.SSLContext], hidden: bool) -> None:
    httpx = pytest.importorskip("httpx2")
    serving, trusting = tls
    with ScriptedLLM([silent("a")], ssl_context=serving) as server, httpx.Client(verify=trusting) as http_client:
        client = server.client(http_client=http_client)

        def request() -> Any:
            return client.chat.completions.create(model="m", messages=[], stream=True)

        async def main() -> None:
            stream = LLMAsyncAdapter().llm_to_async_iterable((chunk for chunk in request()) if hidden else request)
            await anext(stream)
            reading = asyncio.create_task(drain(stream))
            seen = await asyncio.to_thread(server.wait_request)
            stream.close()
            await reading
            assert await asyncio.to_thread(seen.wait_disconnected)

        asyncio.run(main())
        join_others(server)


async def drain(stream: Any) -> None:
    async for _ in stream:
        pass


def join_others(server: ScriptedLLM) -> None:
    """Every thread but the server's ends by itself."""
    for thread in threading.enumerate():
        if thread is not threading.current_thread() and thread is not server._thread and _is_ours(thread):
            thread.join(PATIENCE)
            assert not thread.is_alive(), thread


def _is_ours(thread: threading.Thread) -> bool:
    return thread.name.startswith("agere-")
