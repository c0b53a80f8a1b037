"""A server that is reached over HTTP. Imported when it is needed: the SDK comes with it."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import httpx2
from mcp.client._transport import TransportStreams
from mcp.client.streamable_http import streamable_http_client


class HTTPTransport:
    """The SDK's connection, with a client of our own, since it alone takes headers. Used once.

    Args:
        url: where the server is.
        headers: sent with each request.
        seconds: to connect, or to send. Answers may take as long as the call may.
    """

    def __init__(self, url: str, headers: dict[str, str] | None, seconds: float) -> None:
        self._url = url
        self._headers = headers
        self._timeout = httpx2.Timeout(seconds, read=None)
        self._context = self._connect()

    async def __aenter__(self) -> TransportStreams:
        return await self._context.__aenter__()

    async def __aexit__(self, *error: Any) -> bool | None:
        return await self._context.__aexit__(*error)

    @asynccontextmanager
    async def _connect(self) -> AsyncIterator[TransportStreams]:
        async with (
            httpx2.AsyncClient(headers=self._headers, timeout=self._timeout) as client,
            streamable_http_client(self._url, http_client=client) as streams,
        ):
            yield streams
