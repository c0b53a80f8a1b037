"""What one ``MCPTools`` has open in one session of a commander: a connection that is made anew when it is lost."""

from __future__ import annotations

import asyncio
import logging
import re
from collections.abc import Callable, Collection
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from agere.commander import Callback, JobFuture, TaskNode, handler
from agere.errors import MCPCallError, MCPServerError, ToolDefinitionError

from .call import LONGEST_NAME
from .definition import Tool
from .mcp_session import MCPSession
from .schema import TO_USER, without_to_user

if TYPE_CHECKING:
    from mcp.client._transport import Transport
    from mcp_types import Tool as ServerTool

_NO_NAME_CHARACTERS = re.compile(r"[^a-zA-Z0-9_-]")

logger = logging.getLogger("agere.tools.mcp")


@dataclass(frozen=True)
class MCPOptions:
    """What an ``MCPTools`` was told. See there.

    Attributes:
        label: the server, as a sentence about it begins.
        transport: makes the way to reach it, once for each attempt; may block.
    """

    label: str
    transport: Callable[[], Transport]
    prefix: str
    only: frozenset[str] | None
    timeout: float | None
    open_timeout: float
    needs_approval: bool | frozenset[str]
    to_user: bool


class MCPConnection:
    """Loop only.

    Args:
        options: what to connect with.
        on_end: called when the commander has ended.
    """

    def __init__(self, options: MCPOptions, on_end: Callable[[], object]) -> None:
        self._options = options
        self._on_end = on_end
        self._session: MCPSession | None = None
        self._opening: JobFuture[MCPServerError | None] | None = None
        self._lock = asyncio.Lock()
        self._tools: list[Tool] | None = None
        self._names_at_first: frozenset[str] = frozenset()  # what the server offered when it was seen first
        self._tools_of: tuple[MCPSession, int] | None = None  # from which list of which session they were made
        self._trouble = ""

    async def tools(self, node: TaskNode[Any]) -> list[Tool]:
        """The tools as they are now.

        When a server that has been there before cannot be had any more, these are the tools that it had, and calling
        them fails: the model is told, and the turn goes on.

        Raises:
            MCPServerError: the server cannot be had.
        """
        async with self._lock:
            try:
                session = await self._listed(node)
            except MCPServerError as error:
                if self._tools is None:
                    raise
                logger.warning("%s; its tools will fail until it is back", error, exc_info=error)
                self._trouble = "the MCP server is gone, and cannot be had back now"
                return self._tools
            if self._tools is None or self._tools_of != (session, session.version):
                if self._tools is None:
                    self._meet(session.tools)
                self._tools = self._made(session.tools)
                self._tools_of = (session, session.version)
            return self._tools

    async def close(self) -> None:
        """The commander has ended."""
        try:
            if self._session is not None:
                await self._session.close()
        finally:
            self._on_end()

    async def _listed(self, node: TaskNode[Any]) -> MCPSession:
        """A session whose tools are up to date."""
        while True:
            session, is_new = self._session, False
            if session is None or session.is_over():
                session, is_new = await self._renewed(node), True
            assert self._opening is not None  # noqa: S101 - for the type checker
            error = await asyncio.shield(self._opening)
            if error is not None:
                self._session = None
                raise error
            if await session.list_tools(self._options.open_timeout):
                return session
            if is_new:
                raise MCPServerError(f"{self._options.label} ended as soon as it was ready")
            await session.close()

    async def _renewed(self, node: TaskNode[Any]) -> MCPSession:
        if self._session is not None:
            await self._session.close()
        transport = await node.delegate(self._options.transport)
        self._session = session = MCPSession(self._options.label, transport)
        # At the commander's own: what one node has opened serves all that come after it.
        at_end = Callback(at_commander_end={"function": self.close})
        opening = open_mcp_server(session, self._options.open_timeout, at_end)
        self._opening = await node.call_handler(opening, parent=node.commander)
        return session

    def _meet(self, offered: list[ServerTool]) -> None:
        """The first list of tools. Raises MCPServerError if the options name one that is not in it."""
        options, names = self._options, frozenset(tool.name for tool in offered)
        for word, wanted in (("only", options.only), ("needs_approval", options.needs_approval)):
            if isinstance(wanted, frozenset) and (missing := sorted(wanted - names)):
                known = ", ".join(sorted(names)) or "none"
                meant = [name for name in sorted(names) if missing[0] in (options.prefix + name, self._name(name))]
                advice = f"; name it as the server does: {meant[0]!r}" if meant else f"; it has: {known}"
                raise MCPServerError(f"{options.label} has no tool {missing[0]!r} ({word}=...){advice}")
        self._names_at_first = names

    def _made(self, offered: list[ServerTool]) -> list[Tool]:
        options = self._options
        made: dict[str, Tool] = {}
        for tool in offered:
            if options.only is not None and tool.name not in options.only:
                continue
            name = _free_name(self._name(tool.name), made)
            try:
                made[name] = self._tool(tool, name)
            except ToolDefinitionError as error:
                logger.warning("%s offers a tool that cannot be used, and goes without it: %s", options.label, error)
        return list(made.values())

    def _name(self, name: str) -> str:
        """What models call a tool. Their protocol is stricter than that of the servers."""
        return _NO_NAME_CHARACTERS.sub("_", self._options.prefix + name)[:LONGEST_NAME] or "tool"

    def _tool(self, tool: ServerTool, name: str) -> Tool:
        options = self._options
        schema, own = without_to_user(tool.input_schema)

        async def call(arguments: dict[str, Any]) -> str:
            session = self._session
            if session is None:
                raise MCPCallError(self._trouble)
            if own is not None:
                arguments = {TO_USER if name == own else name: value for name, value in arguments.items()}
            return await session.call(tool.name, arguments)

        return Tool.from_schema(
            name,
            tool.description or tool.title or "",
            schema,
            call,
            to_user=options.to_user,
            timeout=options.timeout,
            needs_approval=self._needs_approval(tool.name),
        )

    def _needs_approval(self, name: str) -> bool:
        approval = self._options.needs_approval
        if isinstance(approval, bool):
            return approval
        # Whoever wrote the list has not seen what the server came up with since: it may be one of those, renamed.
        return name in approval or (bool(approval) and name not in self._names_at_first)


@handler
async def open_mcp_server(
    _: TaskNode[Any], session: MCPSession, seconds: float, _at_end: Callback
) -> MCPServerError | None:
    """Open a session. A failure is a result: it belongs to those who wait for the tools, now or later."""
    session.start()
    try:
        await session.wait_open(seconds)
    except MCPServerError as error:
        return error
    return None


def _free_name(wanted: str, taken: Collection[str]) -> str:
    name, number = wanted, 2
    while name in taken:
        end = f"_{number}"
        name = wanted[: LONGEST_NAME - len(end)] + end
        number += 1
    return name
