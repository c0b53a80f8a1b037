"""A real MCP server, made with the SDK: ``python -m tests.support.mcp_server stdio|http [options]``.

Over HTTP it writes its address to stdout; it ends when its stdin does. ``legacy`` speaks the protocol of 2025 alone.
"""

from __future__ import annotations

import asyncio
import base64
import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import Any

from mcp.server.mcpserver import Context, Image, MCPServer
from mcp_types import CallToolResult, EmbeddedResource, ImageContent, ResourceLink, TextContent, TextResourceContents


def make_server() -> MCPServer[Any]:
    server: MCPServer[Any] = MCPServer("tests")

    @server.tool()
    def add(a: int, b: int) -> int:
        """Add two numbers."""
        return a + b

    @server.tool()
    def whoami() -> dict[str, Any]:
        """Who serves."""
        env = os.environ
        return {"pid": os.getpid(), "cwd": str(Path.cwd()), "mark": env.get("MARK"), "key": env.get("KEY")}

    @server.tool()
    def fail() -> str:
        """Always fails."""
        raise ValueError("it went wrong")

    @server.tool()
    async def hang() -> str:
        """Never answers."""
        await asyncio.Event().wait()
        return ""

    @server.tool()
    def die(code: int = 3) -> str:
        """Ends the server."""
        sys.stderr.write("these are my last words\n")
        sys.stderr.flush()
        os._exit(code)

    @server.tool()
    def flood(lines: int) -> str:
        """Writes much to stderr."""
        for number in range(lines):
            sys.stderr.write(f"{number:08} {'x' * 90}\n")
        sys.stderr.flush()
        return "flooded"

    @server.tool()
    def parts() -> CallToolResult:
        """Gives several parts."""
        return CallToolResult(
            content=[
                TextContent(text="One."),
                ImageContent(data=base64.b64encode(b"12345").decode(), mime_type="image/png"),
                EmbeddedResource(resource=TextResourceContents(uri="file:///a.txt", text="Two.")),
                ResourceLink(name="b", uri="file:///b.txt", description="The second."),
            ]
        )

    @server.tool()
    def only_structured() -> CallToolResult:
        """Gives no text."""
        return CallToolResult(content=[], structured_content={"degrees": 22})

    @server.tool()
    async def learn(name: str, ctx: Context[Any, Any]) -> str:
        """Adds a tool."""
        server.add_tool(lambda: f"I am {name}", name=name, description="New.")
        await ctx.notify_tools_changed()
        return "learnt"

    @server.tool()
    def picture() -> Image:
        """Gives an image."""
        return Image(data=b"123", format="png")

    @server.tool()
    def send_message(to_user: str, text: str = "Hello") -> str:
        """Sends a message to a user."""
        return f"sent to {to_user}: {text}"

    server.add_tool(lambda: "dotted", name="a.dotted/name", description="Odd.")
    return server


def main() -> None:
    how, *options = sys.argv[1:]
    if "deaf" in options:  # does not care for its stdin, nor for SIGTERM, and has a child that does not, either
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
    if "child" in options:
        subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)", "agere-test-child"])
    server = make_server()
    if how == "stdio":
        if "noise" in options:
            for _ in range(3000):
                sys.stderr.write("noise " * 20 + "\n")
        server.run("stdio")
        if "deaf" in options:
            time.sleep(600)
    else:
        serve_http(server)


def serve_http(server: MCPServer[Any]) -> None:
    import socket

    import uvicorn
    from starlette.types import Receive, Scope, Send

    app = server.streamable_http_app()
    key = os.environ.get("EXPECTED_KEY")

    async def guarded(scope: Scope, receive: Receive, send: Send) -> None:
        sent = dict(scope.get("headers") or ()).get(b"authorization", b"").decode()
        if scope["type"] == "http" and key and sent != f"Bearer {key}":
            await send({"type": "http.response.start", "status": 401, "headers": []})
            await send({"type": "http.response.body", "body": b""})
            return
        await app(scope, receive, send)

    listening = socket.create_server(("127.0.0.1", int(os.environ.get("PORT", "0"))))
    threading.Thread(target=lambda: (sys.stdin.read(), os._exit(0)), daemon=True).start()
    sys.stdout.write(f"http://127.0.0.1:{listening.getsockname()[1]}/mcp\n")
    sys.stdout.flush()
    uvicorn.Server(uvicorn.Config(guarded, log_level="error")).run([listening])


if __name__ == "__main__":
    main()
