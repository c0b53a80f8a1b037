"""What a tool of an MCP server gave, as text for the model."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from mcp_types import CallToolResult, ContentBlock


class MCPResult(str):
    """The text of a result, and what it was made from.

    Attributes:
        structured: the structured content, a JSON value; None if the server gave none.
        content: the content blocks as the SDK has them, images and all.
    """

    structured: Any
    content: list[ContentBlock]

    __slots__ = ("content", "structured")

    def __new__(cls, text: str, structured: Any, content: list[ContentBlock]) -> MCPResult:
        """A text with its sources."""
        made = super().__new__(cls, text)
        made.structured = structured
        made.content = content
        return made

    def __reduce__(self) -> tuple[Any, ...]:
        return MCPResult, (str(self), self.structured, self.content)


def read_result(result: CallToolResult) -> MCPResult:
    """Any thread. The text of a result: its parts, each on a line of its own.

    A model that reads text is told that there was an image or a sound, and of which kind. Structured content comes as
    JSON where no part is text: servers repeat it there.
    """
    parts = [_in_words(block) for block in result.content]
    structured = result.structured_content
    if structured is not None and not any(block.type == "text" for block in result.content):
        parts.insert(0, json.dumps(structured, ensure_ascii=False))
    return MCPResult("\n".join(parts), structured, list(result.content))


def _in_words(block: ContentBlock) -> str:
    if block.type == "text":
        return block.text
    if block.type == "image" or block.type == "audio":  # noqa: PLR1714 - for the type checker
        return f"[{block.type}: {block.mime_type}, {_size(block.data)} bytes]"
    if block.type == "resource_link":
        title = block.title or block.name
        return f"[resource {title}: {block.uri}]" + (f" {block.description}" if block.description else "")
    resource = block.resource
    text = getattr(resource, "text", None)
    if isinstance(text, str):
        return text
    blob = getattr(resource, "blob", "")
    return f"[resource {resource.uri}: {resource.mime_type or 'unknown type'}, {_size(blob)} bytes]"


def _size(base64: str) -> int:
    return len(base64) * 3 // 4 - base64[-2:].count("=")
