"""Splits a streamed answer of a model into text for the user and calls of tools.

One function for each wire format; ``puller.py`` has the engine.
"""

from __future__ import annotations

import logging
from collections.abc import AsyncIterable, AsyncIterator
from types import TracebackType
from typing import Any, Final, Self

from agere.utils.anthropic_events import MessagesReader
from agere.utils.openai_responses_events import ResponsesReader
from agere.utils.puller import Outbox, Puller
from agere.utils.tool_calls import Reader, ToolCallAssembler

_ROLES: Final = {"to_user": "to_user", "function_call": "function_call", "tool_call": "function_call"}


async def async_dispatcher_tools_call_for_openai(
    source: AsyncIterable[Any],
    to_user_flag: str = "to_user",
    logger: logging.Logger | None = None,
    *,
    max_arguments: int = 16 * 1024 * 1024,
) -> ToolsCallDispatcher:
    r"""Split the streamed answer of a model by whom it is for: the user, or the tools.

    Tools that declare a string parameter named `to_user_flag` let the model speak while it calls them.
    Useful in any asyncio program, with or without a Commander::

        import asyncio, json
        from openai import AsyncOpenAI
        from agere.utils.dispatcher import async_dispatcher_tools_call_for_openai

        async def main():
            stream = await AsyncOpenAI().chat.completions.create(
                model="gpt-4o-mini", messages=messages, tools=tools, stream=True
            )
            make_generator = await async_dispatcher_tools_call_for_openai(stream)
            async with make_generator("to_user") as texts, make_generator("function_call") as calls:
                async for text in texts:  # as it arrives
                    print(text, end="", flush=True)
                async for call in calls:  # filed meanwhile
                    call = json.loads(call)
                    print(call["name"], call["arguments"])

    A blocking stream (``OpenAI()``) becomes a source by ``LLMAsyncAdapter().llm_to_async_iterable(stream)``.
    Chunks may be objects of the openai package, plain dicts, or anything of that shape.

    **to_user** gives ``str`` fragments, never empty: the answer's plain content (and refusal), and the
    decoded text of the top-level `to_user_flag` of each call. A ``"\n"`` stands where content and calls, or
    different calls, follow upon each other; each speaks in its turn. A flag that is not a string is given as
    its JSON text, null as nothing; where a call has several, each is put on a line of its own. Lone
    surrogates become U+FFFD.

    **function_call** (or **tool_call**) gives one JSON text for each call, in the order of their beginning::

        {"tool_call_index": 0, "tool_call_id": "call_1", "name": "get_weather", "arguments": {"city": "Rome"}}

    `arguments` is always an object, without the flag. `tool_call_id` is null where the server gave none.
    `tool_call_index` is the server's, or the next free number where that is missing or not unique. A call
    comes when it is complete and the next one has begun, or at the end of the stream.

    All that an answer says is delivered, whatever is read first, and the same wherever its chunks were cut.
    Reading drives the source; the readers are never more than 512 chunks behind it, and without a reader it
    rests. What is for the role that is not being read is kept without bound: it is part of the one answer,
    and the rest of that answer could not be reached otherwise.

    Args:
        source: an async iterable of chunks. It is first touched when a generator is first read.
        to_user_flag: the name of the top-level argument that holds text for the user.
        logger: told of what can reach no reader: a source that fails to close, errors that nobody read.
            Default: the logger ``agere.dispatcher``.
        max_arguments: how many characters the arguments of a single call may have.

    Returns:
        ``make_generator(role)``, which gives the :class:`RoleGenerator` of a role. It and the generators
        belong to the thread of one event loop: the one in which a generator is first read.

    Raises:
        TypeError: `source` is no async iterable.
        ValueError: `max_arguments` is not positive.

    What reading raises, after everything before it was delivered:
        ToolCallParseError: (`function_call` only) a call's arguments are cut off, malformed or no object. It
            has the call's name, id and raw text, and stands in the place of the call: read on, and the
            calls after it follow. `to_user` has given the text that came before the fault, and goes on
            with what comes after the call.
        ToolCallTooLargeError: (`function_call` only) a call passed `max_arguments`. The source is closed and
            both roles end.
        BaseException: whatever the source raises, once for each role.
    """
    return _dispatch(source, to_user_flag, logger, max_arguments, None)


async def async_dispatcher_tools_call_for_openai_responses(
    source: AsyncIterable[Any],
    to_user_flag: str = "to_user",
    logger: logging.Logger | None = None,
    *,
    max_arguments: int = 16 * 1024 * 1024,
) -> ToolsCallDispatcher:
    """Split the streamed answer of OpenAI's Responses API, just like :func:`async_dispatcher_tools_call_for_openai`.

    The source is what ``client.responses.create(stream=True)`` returns: of ``AsyncOpenAI`` as it is, of ``OpenAI``
    wrapped by ``LLMAsyncAdapter().llm_to_async_iterable``. `tool_call_id` is the call's ``call_id``, and
    `tool_call_index` counts the calls from 0. Refusals are text for the user; reasoning and what the server's own
    tools do are passed over. A custom tool's free text arrives as ``{"input": "..."}``.

    An answer that ran out of tokens (``max_output_tokens``) ends like any other; a call that this cut off is a
    ToolCallParseError.

    What reading raises beside that:
        ModelError: the server reported an error (``error``, ``response.failed``); once for each role.
        IncompleteAnswerError: it broke the answer off for another reason than tokens (``content_filter``).
    """
    return _dispatch(source, to_user_flag, logger, max_arguments, ResponsesReader())


async def async_dispatcher_tools_call_for_anthropic(
    source: AsyncIterable[Any],
    to_user_flag: str = "to_user",
    logger: logging.Logger | None = None,
    *,
    max_arguments: int = 16 * 1024 * 1024,
) -> ToolsCallDispatcher:
    """Split the streamed answer of Anthropic's Messages API, just like :func:`async_dispatcher_tools_call_for_openai`.

    The source is what ``client.messages.create(stream=True)`` returns: of ``AsyncAnthropic`` as it is, of
    ``Anthropic`` wrapped by ``LLMAsyncAdapter().llm_to_async_iterable``. `tool_call_id` is the id of the ``tool_use``
    block, and `tool_call_index` counts the calls from 0. Thinking and what the server's own tools do are passed over.

    An answer that ran out of tokens (``max_tokens``) ends like any other; a call that this cut off is a
    ToolCallParseError.

    What reading raises beside that:
        ModelError: the server reported an error, and the source gave it as an event. (The anthropic client raises
            its own ``APIStatusError``.)
    """
    return _dispatch(source, to_user_flag, logger, max_arguments, MessagesReader())


def _dispatch(
    source: AsyncIterable[Any],
    to_user_flag: str,
    logger: logging.Logger | None,
    max_arguments: int,
    reader: Reader | None,
) -> ToolsCallDispatcher:
    if not hasattr(type(source), "__aiter__"):
        raise TypeError(
            f"The source must be an async iterable, not {type(source).__name__!r}. "
            "Wrap a blocking stream: LLMAsyncAdapter().llm_to_async_iterable(stream)."
        )
    if max_arguments < 1:
        raise ValueError(f"max_arguments must be positive, not {max_arguments}.")
    assembler = ToolCallAssembler(to_user_flag, max_arguments, reader)
    return ToolsCallDispatcher(Puller(source, assembler, logger or logging.getLogger("agere.dispatcher")))


class ToolsCallDispatcher:
    """Makes the generators of one stream. Made by :func:`async_dispatcher_tools_call_for_openai`.

    When it and its generators are dropped unclosed, the source is closed, too.
    """

    def __init__(self, puller: Puller) -> None:
        self._puller = puller

    def __call__(self, role: str) -> RoleGenerator:
        """Make the generator of a role.

        There is one sequence for each role: generators of the same role share it, each item goes to one of
        them, and closing one closes all.

        Args:
            role: ``"to_user"``, ``"function_call"``, or ``"tool_call"``, which means the same as the latter.

        Returns:
            What belongs to that role, as it arrives.

        Raises:
            ValueError: there is no such role.
        """
        if role not in _ROLES:
            raise ValueError(f"Unknown role {role!r}; valid roles: {', '.join(map(repr, _ROLES))}.")
        outbox = self._puller.outboxes[_ROLES[role]]
        outbox.made = True
        return RoleGenerator(self, self._puller, outbox)

    def __del__(self) -> None:
        self._puller.dropped_threadsafe()


class RoleGenerator(AsyncIterator[str]):
    """What is for one role, as it arrives: an async iterator, and an async context manager that closes it.

    No async generator in the strict sense: a cancelled read loses nothing, and reading may go on after it, as
    after an error. One task may read at a time.
    """

    def __init__(self, owner: ToolsCallDispatcher, puller: Puller, outbox: Outbox) -> None:
        self._owner = owner  # for its life: the source is closed when the last who knows the owner is gone
        self._puller = puller
        self._outbox = outbox

    async def __anext__(self) -> str:
        """Give the next text or call.

        Raises:
            StopAsyncIteration: the stream has ended, or this role was closed.
            ToolCallParseError: a call is malformed; the next read goes on after it.
            RuntimeError: another task is reading this role, or another event loop this stream; or the stream
                was closed, or its event loop shut down, before its end.
            Exception: what the source raised.
        """
        return await self._puller.next(self._outbox)

    async def aclose(self) -> None:
        """End this role; what is filed for it is dropped, and a read that waits ends.

        Once each role for which a generator was made is closed, the source is closed, and this waits for it.
        """
        await self._puller.close(self._outbox)

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        await self.aclose()
