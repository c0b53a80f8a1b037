"""One connection to one MCP server, within one session of a commander. Everything here is loop only.

One task, the owner, enters and leaves the SDK's contexts: the cancel scopes in them must be left by the task that
entered them. The calls are made by the nodes that want them, so that cancelling a node cancels its call.
"""

from __future__ import annotations

import asyncio
import atexit
import logging
import threading
from typing import TYPE_CHECKING, Any

from agere._version import __version__
from agere.errors import MCPCallError, MCPServerError

from .mcp_result import MCPResult, read_result
from .mcp_stdio import ServerProcess, StdioTransport

if TYPE_CHECKING:
    from mcp import Client
    from mcp.client._transport import Transport
    from mcp_types import Tool as ServerTool

POLITE_SECONDS = 2.5
"""How long a server has to go when its commander ends. The SDK sends SIGTERM after two of them."""

POLITE_SECONDS_AT_EXIT = 0.3
"""The same when the interpreter exits, where nobody waits."""

KILLED_SECONDS = 1.0
"""How long the connection may take to close after its server was killed."""

MOST_PAGES = 100
"""Of a server's list of tools: one that never ends must not hang us."""

CONNECTION_CLOSED = -32000
"""The SDK's code for a call whose connection closed; of servers, too, for other things."""

logger = logging.getLogger("agere.tools.mcp")

_exiting = threading.Event()
getattr(threading, "_register_atexit", atexit.register)(_exiting.set)  # runs before the commanders are closed


class MCPSession:
    """A connection, from ``open`` to ``close``.

    Args:
        label: the server, as a sentence about it begins: with its command or its address.
        transport: how it is reached; used once.

    Attributes:
        tools: what the server offers, as far as known.
        label: as given.
        version: how often the list of tools has been read.
    """

    def __init__(self, label: str, transport: Transport) -> None:
        self.label = label
        self.tools: list[ServerTool] = []
        self.version = 0
        self._transport = transport
        self._client: Client | None = None
        self._owner: asyncio.Task[None] | None = None
        self._ready: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._ready.add_done_callback(_look_at)
        self._closing = asyncio.Event()
        self._changed = True  # the list of tools, since it was read
        self._doubtful = False  # something has failed: the server may be gone
        self._listing = asyncio.Lock()

    def start(self) -> None:
        """Begin to open."""
        if self._owner is None and not self._closing.is_set():
            self._owner = asyncio.create_task(self._own(), name=f"agere-mcp {self.label}")

    async def wait_open(self, seconds: float) -> None:
        """Wait until the connection stands.

        Raises:
            MCPServerError: it does not come to stand, or not within so many seconds. It has been closed then.
        """
        done, _ = await asyncio.wait((self._ready,), timeout=seconds)
        if not done:
            await self.close()
            raise MCPServerError(f"{self.label} did not get ready within {seconds:g} s{self._last_words()}")
        await self._ready

    async def list_tools(self, seconds: float) -> bool:
        """Bring ``tools`` up to date. False if the server is gone, and a new session is to be opened.

        Raises:
            MCPServerError: the server does not list its tools.
        """
        if self.is_over():
            return False
        if not (self._changed or self._doubtful):
            return True
        async with self._listing:
            if not (self._changed or self._doubtful):
                return True
            doubtful = self._doubtful
            self._changed = False
            try:
                async with asyncio.timeout(seconds):
                    self.tools = await self._read_tools()
            except Exception as error:
                self._changed = self._doubtful = True
                if doubtful or await self._has_died(error):
                    return False
                why = f"no answer within {seconds:g} s" if isinstance(error, TimeoutError) else _words(error)
                raise MCPServerError(f"{self.label} does not list its tools: {why}") from error
            self._doubtful = False
            self.version += 1
        return True

    async def call(self, name: str, arguments: dict[str, Any]) -> MCPResult:
        """Make a call, in the task that wants it.

        Raises:
            MCPCallError: the tool failed, or the server went away. The text is for the model.
        """
        client = self._client
        if client is None or self.is_over():
            raise MCPCallError(f"the MCP server has ended{self._exit_code()}")
        try:
            result = await client.call_tool(name, arguments)
        except Exception as error:
            self._doubtful = True
            if await self._has_died(error):
                logger.warning(
                    "%s ended during a call of %s%s%s", self.label, name, self._exit_code(), self._last_words()
                )
                raise MCPCallError(f"the MCP server ended during the call{self._exit_code()}") from error
            raise MCPCallError(f"the MCP server failed: {_words(error)}") from error
        read = read_result(result)
        if result.is_error:
            raise MCPCallError(str(read) or "the tool failed without a word")
        return read

    async def close(self) -> None:
        """Close the connection and end the server. Idempotent; bounded; leaves nothing behind even when cancelled."""
        self._closing.set()
        owner = self._owner
        if owner is None or owner.done():
            return
        if not self._ready.done():
            owner.cancel()
        try:
            patience = POLITE_SECONDS_AT_EXIT if _exiting.is_set() else POLITE_SECONDS
            await asyncio.wait((owner,), timeout=patience)
            if not owner.done() and self._process is not None:
                self._process.kill()
                await asyncio.wait((owner,), timeout=KILLED_SECONDS)
            if not owner.done():
                owner.cancel()
                await asyncio.wait((owner,), timeout=KILLED_SECONDS)
        except asyncio.CancelledError:
            if self._process is not None:
                self._process.kill()
            raise

    async def _own(self) -> None:
        """The owner."""
        import anyio
        from mcp import Client
        from mcp_types import Implementation

        try:
            async with Client(
                self._transport,
                client_info=Implementation(name="agere", version=__version__),
                message_handler=self._hear,
                cache=None,  # changes are listened for; an old list would hide them
            ) as client:
                self._client = client
                async with anyio.create_task_group() as group:
                    capability = client.server_capabilities.tools
                    if capability is not None and capability.list_changed:
                        group.start_soon(self._listen, client)
                    self._ready.set_result(None)
                    await self._closing.wait()
                    group.cancel_scope.cancel()
        except (Exception, BaseExceptionGroup) as error:
            if not self._ready.done():
                self._ready.set_exception(await self._failure(error))
            else:
                logger.warning(
                    "the connection with %s ended in an error: %s", self.label, _words(error), exc_info=error
                )
        finally:
            self._client = None
            self._closing.set()
            if not self._ready.done():
                self._ready.set_exception(MCPServerError(f"{self.label} was closed while it started"))

    async def _failure(self, error: BaseException) -> MCPServerError:
        """Why the connection did not come to stand."""
        is_process = isinstance(self._transport, StdioTransport)
        if is_process and self._process is None:
            text = f"{self.label} could not be started: {_words(error)}"
        elif await self._has_died(error):
            text = f"{self.label} ended before it was ready{self._exit_code()}{self._last_words()}"
        elif is_process:
            text = f"{self.label} does not answer as an MCP server: {_words(error)}{self._last_words()}"
        else:
            text = f"{self.label} cannot be reached: {_words(error)}"
        made = MCPServerError(text)
        made.__cause__ = error
        return made

    async def _read_tools(self) -> list[ServerTool]:
        if self._client is None:
            raise MCPServerError("it has been closed")
        tools: list[ServerTool] = []
        cursor: str | None = None
        for _ in range(MOST_PAGES):
            page = await self._client.list_tools(cursor=cursor)
            tools += page.tools
            cursor = page.next_cursor
            if not cursor:
                return tools
        raise MCPServerError(f"its list of tools has more than {MOST_PAGES} pages")

    async def _hear(self, message: object) -> None:
        """The SDK's task. What the server says unasked, up to the protocol of 2025-11-25."""
        if getattr(message, "method", None) == "notifications/tools/list_changed":
            self._changed = True

    async def _listen(self, client: Client) -> None:
        """The same in the protocols since."""
        from mcp.client.subscriptions import ListenNotSupportedError

        try:
            async with client.listen(tools_list_changed=True) as changes:
                self._changed = True  # what changed before we listened
                async for _ in changes:
                    self._changed = True
        except ListenNotSupportedError:  # an older protocol: it tells without being asked
            return
        except Exception as error:  # noqa: BLE001 - a server that offers it, and does not keep to it
            logger.info("%s tells no changes: %s", self.label, _words(error))
        self._changed = self._doubtful = True

    def is_over(self) -> bool:
        """Whether nothing more can come of it."""
        process = self._process
        return self._closing.is_set() or (process is not None and process.exit_code is not None)

    @property
    def _process(self) -> ServerProcess | None:
        return self._transport.process if isinstance(self._transport, StdioTransport) else None

    async def _has_died(self, error: BaseException) -> bool:
        """Whether the server is gone, as the error suggests."""
        process = self._process
        if process is not None and getattr(error, "code", None) == CONNECTION_CLOSED:
            await process.wait_exit_code()
        return self.is_over()

    def _exit_code(self) -> str:
        """In the middle of a sentence."""
        code = None if self._process is None else self._process.exit_code
        return "" if code is None else f" (exit code {code})"

    def _last_words(self) -> str:
        """At the end of a sentence. Not for the model: there may be anything in it."""
        said = "" if self._process is None else self._process.last_words
        return f"; the end of what it wrote to stderr:\n{said}" if said else ""


def _look_at(ready: asyncio.Future[None]) -> None:
    """Nobody may be waiting any more; then nobody is to be told."""
    if not ready.cancelled():
        ready.exception()


def _words(error: BaseException) -> str:
    """An error in words; of a group, its first."""
    while isinstance(error, BaseExceptionGroup):
        error = error.exceptions[0]
    return f"{error}" if type(error).__name__ == "MCPError" else f"{type(error).__name__}: {error}".rstrip(": ")
