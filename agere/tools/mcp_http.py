"""A server that is reached over HTTP. Imported when it is needed: the SDK comes with it."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import httpx2
from mcp.client._transport import TransportStreams
from mcp.client.streamable_http import streamable_http_client


@asynccontextmanager
async def http_transport(url: str, headers: dict[str, str] | None, seconds: float) -> AsyncIterator[TransportStreams]:
    """The SDK's connection, with a client of our own, since it alone takes headers.

    Args:
        url: where the server is.
        headers: sent with each request.
        seconds: to connect, or to send. Answers may take as long as the call may.
    """
    timeout = httpx2.Timeout(seconds, read=None)
    async with (
        httpx2.AsyncClient(headers=headers, timeout=timeout) as client,
        streamable_http_client(url, http_client=client) as streams,
    ):
        yield streams
