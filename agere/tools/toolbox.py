"""The tools of an agent, and the calls that a model makes of them."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import TYPE_CHECKING, Any

from agere.commander import NodeTerminatedError
from agere.errors import ToolDefinitionError

from .approval import was_asked_for
from .call import LONGEST_NAME, ToolCall, ToolResult, cut
from .definition import Tool, as_tool
from .provider import ToolProvider
from .running import CallBody

if TYPE_CHECKING:
    from openai.types.chat import ChatCompletionToolParam

    from agere.commander import JobFuture, TaskNode


class Toolbox:
    """Tools by name. Does not change; any thread may look at it.

    Args:
        tools: tools, bare functions to be made into tools, and providers, whose tools are had by ``opened``.

    Attributes:
        schemas: what a model is told of them, in the OpenAI protocol's form. Without those of providers.

    Raises:
        ToolDefinitionError: one cannot be made into a tool, or two have one name.
    """

    def __init__(self, tools: Iterable[Tool | ToolProvider | Callable[..., Any]] = ()) -> None:
        if isinstance(tools, Tool) or not isinstance(tools, Iterable):
            raise ToolDefinitionError(f"tools is a list of tools and functions, not {tools!r}; write [{tools!r}]")
        self._tools: dict[str, Tool] = {}
        self._given: list[Tool | ToolProvider] = []
        self._providers: list[ToolProvider] = []
        self._opened: Toolbox | None = None
        for item in tools:
            if isinstance(item, ToolProvider) and not isinstance(item, type):
                self._given.append(item)
                self._providers.append(item)
                continue
            tool = as_tool(item)
            self._given.append(tool)
            if tool.name in self._tools:
                raise ToolDefinitionError(
                    f"two tools are named {tool.name!r}; give one of them another: name='...' (MCPTools: prefix=)"
                )
            self._tools[tool.name] = tool
        self.schemas: list[ChatCompletionToolParam] = [tool.schema for tool in self._tools.values()]

    async def opened(self, node: TaskNode[Any]) -> Toolbox:
        """Loop only, in the body of ``node``. A toolbox with the tools of the providers as they are now.

        Args:
            node: on whose behalf they are opened.

        Raises:
            ToolDefinitionError: two tools have one name.
            MCPServerError: (``MCPTools``) their server cannot be had.
        """
        if not self._providers:
            return self
        provided = iter(await asyncio.gather(*[provider.open_tools(node) for provider in self._providers]))
        tools: list[Tool] = []
        for item in self._given:
            if isinstance(item, Tool):
                tools.append(item)
            else:
                tools += next(provided)
        last = self._opened  # a model that has the same tools again is told of them in the same words
        if last is None or list(last) != tools:
            self._opened = last = Toolbox(tools)
        return last

    def get(self, name: str) -> Tool | None:
        """Any thread. The tool of that name, if there is one."""
        return self._tools.get(name)

    def __iter__(self) -> Iterator[Tool]:
        return iter(self._tools.values())

    def __len__(self) -> int:
        return len(self._tools)

    async def run(self, node: TaskNode[Any], call: ToolCall) -> ToolResult:
        """Loop only, in the body of ``node``. Make one call. See ``run_all``."""
        return await _result(self._start(node, call))

    async def run_all(
        self,
        node: TaskNode[Any],
        calls: Sequence[ToolCall],
        *,
        on_result: Callable[[ToolResult], object] | None = None,
    ) -> list[ToolResult]:
        """Loop only, in the body of ``node``. Make calls, side by side.

        Each is a node below ``node``, named after its tool. Whatever goes wrong with a call is in its result.

        Args:
            node: on whose behalf they are made; cancelling it cancels them.
            calls: what the model asks for.
            on_result: called with each result as it comes, on the loop; what it raises is raised here.

        Returns:
            The results, in the order of the calls.

        Raises:
            NodeEndedError: ``node`` is ending or has ended.
            asyncio.CancelledError: ``node`` is being terminated.
        """
        started = [self._start(node, call) for call in calls]
        try:
            if on_result is None:
                return [await _result(each) for each in started]
            return await _all_told(started, on_result)
        except BaseException:
            for each in started:
                each.cancel()
            raise

    def _start(self, node: TaskNode[Any], call: ToolCall) -> _Started:
        if call.trouble is not None:  # before its name is looked at: that may be what is missing
            return _Started(call, ToolResult.failure(call, call.trouble))
        tool = self._tools.get(call.name)
        if tool is None:
            name = cut(call.name, LONGEST_NAME)
            known = ", ".join(self._tools) or "none"
            return _Started(call, ToolResult.failure(call, f"there is no tool named {name!r}; there is: {known}"))
        body = CallBody(tool, call)
        return _Started(call, None, body, node.submit(body))


class _Started:
    """A call that has been started, or has failed before."""

    def __init__(
        self,
        call: ToolCall,
        failure: ToolResult | None,
        body: CallBody | None = None,
        future: JobFuture[ToolResult] | None = None,
    ) -> None:
        self.call = call
        self.failure = failure
        self.body = body
        self.future = future

    def cancel(self) -> None:
        """Loop only. Break the call off."""
        if self.future is not None:
            self.future.cancel()


async def _result(started: _Started) -> ToolResult:
    if started.future is None or started.body is None:
        assert started.failure is not None  # noqa: S101 - for the type checker
        return started.failure
    try:
        return await started.future
    except NodeTerminatedError as error:
        # For its time, or by somebody who took the call's node, or its Future, and cancelled it.
        return started.body.result or ToolResult.failure(started.call, "this call was cancelled", error)
    except asyncio.CancelledError as error:
        if was_asked_for(error):
            raise
        return ToolResult.failure(started.call, "what the tool had submitted was cancelled from within", error)
    except (Exception, BaseExceptionGroup) as error:  # noqa: BLE001 - what the tool had submitted has failed
        return ToolResult.failure(started.call, f"{type(error).__name__}: {error}", error)


async def _all_told(started: Sequence[_Started], tell: Callable[[ToolResult], object]) -> list[ToolResult]:
    async def one(each: _Started) -> ToolResult:
        result = await _result(each)
        tell(result)
        return result

    tasks = [asyncio.create_task(one(each)) for each in started]
    try:
        for task in asyncio.as_completed(tasks):
            await task
        return [task.result() for task in tasks]
    finally:
        for task in tasks:
            if not task.cancel() and not task.cancelled():
                task.exception()  # one is raised; asyncio is not to complain of the others
