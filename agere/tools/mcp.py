"""``MCPTools``: the tools of a server of the Model Context Protocol (extra ``mcp``).

``mcp_connection.py`` is what one of them has open in one commander, ``mcp_session.py`` a connection from its beginning
to its end, ``mcp_stdio.py`` a server that is a child process, ``mcp_http.py`` one that is reached over HTTP, and
``mcp_result.py`` what its tools give.
"""

from __future__ import annotations

import asyncio
import functools
import importlib.util
import math
import os
import re
import shlex
import threading
from collections.abc import Collection, Mapping, Sequence
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from agere.errors import MCPCallError, MCPServerError

from .call import cut
from .definition import Tool
from .mcp_connection import MCPConnection, MCPOptions
from .mcp_result import MCPResult
from .mcp_stdio import StdioTransport

if TYPE_CHECKING:
    from mcp.client._transport import Transport

    from agere.commander import TaskNode

__all__ = ["MCPCallError", "MCPResult", "MCPServerError", "MCPTools"]

LONGEST_COMMAND = 200  # characters of it in an error
CONNECT_SECONDS = 30.0  # to an HTTP server, for each step but waiting for its answer

_PREFIX = re.compile(r"[a-zA-Z0-9_-]*")


class MCPTools:
    """The tools of an MCP server, to stand among the tools of a ``Chat`` or a ``Toolbox``.

    Making one does nothing yet. The server is started, or connected to, when its tools are needed first, once for each
    run of each commander, and ended with the commander, however that ends. One that has died is started again for the
    next request to the model. One object may serve any number of commanders, one after another or side by side.

    Args:
        command: the program to start and its arguments; it speaks the protocol over its stdin and stdout. Or
        url: the address of a server that speaks streamable HTTP.
        env: further environment variables for the command. It inherits only harmless ones (``HOME``, ``PATH``, ...), no
            keys: name those that it needs.
        cwd: the directory to start the command in.
        headers: further headers of each request to the address, ``Authorization`` for instance.
        prefix: put in front of each tool's name, so that two servers may have tools of one name.
        only: the names of the tools to take, as the server has them, without the prefix. By default all.
        timeout: seconds that a call may take; then it is cancelled, and the model told. None for no bound.
        open_timeout: seconds that the server may take to get ready, and to list its tools.
        needs_approval: whether the person is asked before a call: always, never, or for the tools of these names, as
            the server has them, without the prefix. With names, it is also asked before a call of a tool that the
            server has come up with since its tools were listed first.
        to_user: add a parameter ``to_user`` to each tool, with which the model talks while it calls. The server never
            sees it. A parameter ``to_user`` that the server itself has is told to the model as ``to_user_``, and is a
            parameter like any other.

    Raises:
        ImportError: the package ``mcp`` is not installed.
        TypeError, ValueError: an argument is of no use, or one does not go with another.

    What a turn raises when its tools cannot be had:
        MCPServerError: the server cannot be started or reached, does not answer as one, or lacks a tool that
            ``only`` or ``needs_approval`` names.

    A call that fails is a result that tells the model so, like that of any other tool.
    """

    def __init__(
        self,
        command: Sequence[str | os.PathLike[str]] | None = None,
        url: str | None = None,
        *,
        env: Mapping[str, str] | None = None,
        cwd: str | os.PathLike[str] | None = None,
        headers: Mapping[str, str] | None = None,
        prefix: str = "",
        only: Collection[str] | None = None,
        timeout: float | None = 60.0,
        open_timeout: float = 30.0,
        needs_approval: bool | Collection[str] = False,
        to_user: bool = False,
    ) -> None:
        if (command is None) == (url is None):
            raise TypeError("MCPTools takes either a command to start, or the url of a server")
        if command is not None:
            if headers is not None:
                raise TypeError("headers go with a url, not with a command; give a command its keys by env=...")
            argv = _check_command(command)
            directory = None if cwd is None else os.fspath(cwd)
            self._label = f"the MCP server {cut(shlex.join(argv), LONGEST_COMMAND)}"
            transport = functools.partial(_stdio, argv, _check_strings("env", env), directory)
        else:
            if env is not None or cwd is not None:
                raise TypeError("env and cwd go with a command, not with a url")
            address = _check_url(url)
            self._label = f"the MCP server at {_without_secrets(address)}"
            transport = functools.partial(_http, address, _check_strings("headers", headers))
        if not isinstance(prefix, str) or not _PREFIX.fullmatch(prefix):
            raise ValueError(f"prefix takes letters, digits, '_' and '-', not {prefix!r}")
        if not isinstance(to_user, bool):
            raise TypeError(f"to_user is True or False, not {to_user!r}")
        if importlib.util.find_spec("mcp") is None:
            raise ImportError("MCPTools needs the package mcp: pip install 'agere[mcp]'")
        self._options = MCPOptions(
            self._label,
            transport,
            prefix,
            None if only is None else _check_names("only", only),
            None if timeout is None else _check_seconds("timeout", timeout),
            _check_seconds("open_timeout", open_timeout),
            needs_approval if isinstance(needs_approval, bool) else _check_names("needs_approval", needs_approval),
            to_user,
        )
        self._connections: dict[asyncio.AbstractEventLoop, MCPConnection] = {}
        self._guard = threading.Lock()

    async def open_tools(self, node: TaskNode[Any]) -> list[Tool]:
        """Loop only, in the body of ``node``. The tools as they are now; the first time, this starts the server.

        ``Chat`` does that before each request to its model.

        Args:
            node: on whose behalf; its commander keeps the connection.

        Raises:
            MCPServerError: see the class.
        """
        loop = asyncio.get_running_loop()
        with self._guard:
            connection = self._connections.get(loop)
            if connection is None:
                connection = MCPConnection(self._options, functools.partial(self._forget, loop))
                self._connections = {other: held for other, held in self._connections.items() if not other.is_closed()}
                self._connections[loop] = connection
        return await connection.tools(node)

    def __repr__(self) -> str:
        return f"<MCPTools: {self._label}>"

    def _forget(self, loop: asyncio.AbstractEventLoop) -> None:
        with self._guard:
            self._connections.pop(loop, None)


def _stdio(command: list[str], env: dict[str, str] | None, cwd: str | None) -> Transport:
    """A worker thread: importing the SDK takes its time."""
    _check_sdk()
    from mcp import StdioServerParameters

    return StdioTransport(StdioServerParameters(command=command[0], args=command[1:], env=env, cwd=cwd))


def _http(url: str, headers: dict[str, str] | None) -> Transport:
    """A worker thread."""
    _check_sdk()
    from .mcp_http import http_transport

    return http_transport(url, headers, CONNECT_SECONDS)


def _check_sdk() -> None:
    try:
        from mcp import Client  # noqa: F401
    except ImportError as error:
        raise ImportError("MCPTools needs mcp 2.3 or later: pip install 'agere[mcp]'") from error


def _check_command(command: object) -> list[str]:
    if isinstance(command, str | bytes | os.PathLike) or not isinstance(command, Sequence):
        raise TypeError(f"command is a list, the program and its arguments, not {command!r}")
    if not command:
        raise ValueError("command is empty: it takes the program and its arguments")
    for part in command:
        if not isinstance(part, str | os.PathLike):
            raise TypeError(f"command is a list of strings; {part!r} is none")
    return [os.fspath(part) for part in command]


def _check_url(url: object) -> str:
    if not isinstance(url, str):
        raise TypeError(f"url is a str, not {url!r}")
    try:
        parts = urlsplit(url)
        valid = parts.scheme in ("http", "https") and bool(parts.hostname) and (parts.port is None or parts.port > 0)
    except ValueError:
        valid = False
    if not valid:
        raise ValueError(f"url is the address of a server, such as https://example.org/mcp, not {url!r}")
    return url


def _without_secrets(url: str) -> str:
    parts = urlsplit(url)
    port = "" if parts.port is None else f":{parts.port}"
    return f"{parts.scheme}://{parts.hostname}{port}{parts.path}"


def _check_strings(word: str, given: Mapping[str, str] | None) -> dict[str, str] | None:
    if given is None:
        return None
    if not isinstance(given, Mapping):
        raise TypeError(f"{word} is a dict of strings, not {type(given).__name__}")
    for name, value in given.items():
        if not isinstance(name, str) or not isinstance(value, str):
            raise TypeError(f"{word} is a dict of strings; {name!r} is not, or its value")  # the value may be a key
    return dict(given)


def _check_names(word: str, given: Collection[str]) -> frozenset[str]:
    if isinstance(given, str) or not isinstance(given, Collection) or not all(isinstance(name, str) for name in given):
        raise TypeError(f"{word} is a list of names of tools, not {given!r}")
    return frozenset(given)


def _check_seconds(word: str, given: float) -> float:
    if isinstance(given, bool) or not isinstance(given, int | float) or not (given > 0 and math.isfinite(given)):
        raise ValueError(f"{word} is a number of seconds above 0, not {given!r}")
    return float(given)
