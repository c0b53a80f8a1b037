"""One call, as the body of a node. Whatever goes wrong becomes its result."""

from __future__ import annotations

import asyncio
import functools
import inspect
import logging
from contextlib import suppress
from time import monotonic
from typing import Any

from agere.commander import TaskNode, current_node
from agere.errors import MCPCallError

from .approval import RefusedError, approve, was_asked_for
from .arguments import WrongArgumentsError
from .call import LONGEST_ERROR, ToolCall, ToolResult, cut
from .definition import Tool
from .result import ResultNotJsonError, as_text

UNWIND_SECONDS = 1.0
"""What ran out of time may take this long to unwind, before the turn goes on without it."""

logger = logging.getLogger("agere.tools")

_SPEAKING = (WrongArgumentsError, RefusedError, ResultNotJsonError, MCPCallError)
"""Errors whose text tells everything."""


class CallBody:
    """The body of a call's node. The node has the tool's name.

    Attributes:
        result: what came of the call, once that is known; also when the node was cancelled for its time.
    """

    def __init__(self, tool: Tool, call: ToolCall) -> None:
        self.__name__ = self.__qualname__ = tool.name
        self.result: ToolResult | None = None
        self._tool = tool
        self._call = call
        self._began = monotonic()

    async def __call__(self) -> ToolResult:
        """Loop only, as a node's body."""
        node = current_node()
        if node is None:
            raise RuntimeError("a tool is called in a node")
        tool, call = self._tool, self._call
        self._began = monotonic()
        try:
            arguments = tool.read(call.arguments)
            if tool.needs_approval is not False:
                await approve(node, tool, call, arguments)
        except Exception as error:  # noqa: BLE001 - the model is told
            return self._failed(error)
        if tool.timeout is None:
            return await self._work(node, arguments)
        return await self._work_in_time(node, arguments, tool.timeout)

    async def _work(self, node: TaskNode[Any], arguments: dict[str, Any]) -> ToolResult:
        tool = self._tool
        try:
            if _is_async(tool):
                value = await tool.call(arguments)
            else:
                value = await _on_worker(node, tool, arguments)
            while not isinstance(value, _Written):
                value = await _settle(node, value)
        except asyncio.CancelledError as error:
            if was_asked_for(error):
                raise
            return self._failed(error, "the tool was cancelled from within")
        except (Exception, SystemExit) as error:  # noqa: BLE001 - the model is told
            # SystemExit, too: a tool that is somebody's command-line function ends that way, and means itself.
            return self._failed(error)
        self.result = ToolResult(self._call, value.text, value=value.value, seconds=monotonic() - self._began)
        return self.result

    async def _work_in_time(self, node: TaskNode[Any], arguments: dict[str, Any], seconds: float) -> ToolResult:
        # A task of its own: the body must be able to go on without a tool that does not let itself be cancelled.
        work = asyncio.create_task(self._work(node, arguments))
        try:
            await asyncio.wait((work,), timeout=seconds)
        except asyncio.CancelledError:
            work.cancel()
            await asyncio.wait((work,))
            raise
        if work.done() and not work.cancelled():
            return work.result()
        text = f"the tool {self._tool.name} timed out after {seconds:g} s"
        self.result = timed_out = self._failed(TimeoutError(text), text)
        node.cancel()  # with its streams, its questions, and what it has submitted
        work.cancel()
        end = monotonic() + UNWIND_SECONDS
        while not work.done() and (left := end - monotonic()) > 0:
            with suppress(asyncio.CancelledError):  # that is the one of the line above
                await asyncio.wait((work,), timeout=left)
        if not work.done():
            logger.warning("the tool %s timed out, and does not let itself be cancelled: left behind", self._tool.name)
        self.result = timed_out
        return timed_out

    def _failed(self, error: BaseException, text: str | None = None) -> ToolResult:
        if text is None:
            text = str(error) if isinstance(error, _SPEAKING) else f"{type(error).__name__}: {_words(error)}"
        logger.info("the tool %s failed: %s", self._tool.name, cut(text, LONGEST_ERROR), exc_info=error)
        self.result = ToolResult.failure(self._call, text, error, monotonic() - self._began)
        return self.result


class _Written:
    """A value, and what the model reads of it."""

    def __init__(self, value: Any) -> None:
        self.value = value
        self.text = as_text(value)


class _OnWorker:
    """A plain function's call, on a worker thread."""

    def __init__(self, tool: Tool, arguments: dict[str, Any]) -> None:
        self._tool = tool
        self._arguments = arguments
        self.left = False
        self.over = False

    def __call__(self) -> Any:
        try:
            value = self._tool.call(self._arguments)
            return value if _goes_on(value) else _Written(value)
        except BaseException as error:
            if self.left and not isinstance(error, asyncio.CancelledError):
                logger.warning("the tool %s failed, when nobody waited for it", self._tool.name, exc_info=error)
            raise
        finally:
            self.over = True


async def _on_worker(node: TaskNode[Any], tool: Tool, arguments: dict[str, Any]) -> Any:
    work = _OnWorker(tool, arguments)
    try:
        return await node.delegate(work)
    except asyncio.CancelledError:
        if not work.over:
            work.left = True
            logger.info("the tool %s goes on, on its worker thread, and nobody waits for it any more", tool.name)
        raise


async def _settle(node: TaskNode[Any], value: Any) -> Any:
    """A value as it is, or what it comes to: a Job or a handler runs below the call, an awaitable is awaited."""
    if isinstance(value, TaskNode):
        return await node.submit(value)
    if asyncio.iscoroutine(value) or hasattr(value, "__await__"):
        return await value
    return _Written(value)


def _goes_on(value: Any) -> bool:
    return isinstance(value, TaskNode) or hasattr(value, "__await__")


def _is_async(tool: Tool) -> bool:
    function: Any = tool.function
    while isinstance(function, functools.partial):
        function = function.func
    return inspect.iscoroutinefunction(function) or inspect.iscoroutinefunction(getattr(function, "__call__", None))  # noqa: B004


def _words(error: BaseException) -> str:
    try:
        return str(error)
    except Exception:  # noqa: BLE001 - somebody's __str__
        return "(its text cannot be had)"
