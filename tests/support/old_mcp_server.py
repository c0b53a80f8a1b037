"""An MCP server without the SDK, as old and as odd as one can be: ``python -m tests.support.old_mcp_server HABITS``."""

from __future__ import annotations

import json
import sys
from typing import Any

HABITS = set(sys.argv[1:])
TOOLS: list[dict[str, Any]] = [
    {"name": "greet", "title": "Greets somebody.", "inputSchema": {"type": "object", "properties": {}}},
    {"name": "grow", "inputSchema": {"type": "object"}},
    {"name": "odd", "inputSchema": {"type": "object", "properties": {"to_user": {"type": "string"}}}},
    {"name": "bad", "inputSchema": {"type": "object", "properties": None}},
]
if "hides" in HABITS:
    TOOLS += [{"name": name, "inputSchema": {"type": "object"}} for name in ("hide", "show")]
HIDDEN: list[dict[str, Any]] = []  # the first tool, while it is not offered


def send(**message: Any) -> None:
    sys.stdout.write(json.dumps({"jsonrpc": "2.0", **message}) + "\n")
    sys.stdout.flush()


def answer(method: str, params: dict[str, Any]) -> dict[str, Any] | None:
    if method == "initialize":
        return {
            "protocolVersion": "2025-06-18",
            "capabilities": {"tools": {"listChanged": True}},
            "serverInfo": {"name": "old", "version": "1"},
        }
    if method == "tools/list":
        at = int(params.get("cursor") or 0)
        page = {"tools": TOOLS[at : at + 1]} if "pages" in HABITS else {"tools": TOOLS}
        if "endless" in HABITS or ("pages" in HABITS and at + 1 < len(TOOLS)):
            page["nextCursor"] = str(at + 1)  # type: ignore[assignment]
        return page
    if method == "tools/call":
        if params["name"] == "grow":
            TOOLS.append({"name": "grown", "inputSchema": {"type": "object"}})
        elif params["name"] == "hide":
            HIDDEN.append(TOOLS.pop(0))
        elif params["name"] == "show":
            TOOLS.insert(0, HIDDEN.pop())
        if params["name"] in ("grow", "hide", "show"):
            send(method="notifications/tools/list_changed")
        return {"content": [{"type": "text", "text": f"{params['name']}!"}]}
    return None


def main() -> None:
    if "garbage" in HABITS:
        sys.stdout.write("Welcome to this server!\n")
    for line in sys.stdin:
        message = json.loads(line)
        if "mute" in HABITS or "id" not in message or message["method"] in HABITS:
            continue
        if "listless" in HABITS and message["method"] == "tools/list":
            send(id=message["id"], error={"code": -32603, "message": "no list today"})
            continue
        result = answer(message["method"], message.get("params") or {})
        if result is None:
            send(id=message["id"], error={"code": -32601, "message": "Method not found"})
        else:
            send(id=message["id"], result=result)


if __name__ == "__main__":
    main()
