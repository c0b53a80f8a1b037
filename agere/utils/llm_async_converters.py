"""``LLMAsyncAdapter``: the blocking stream of an LLM client, as an asynchronous iterator that can be closed.

It needs no Commander. In any asyncio program::

    client = openai.OpenAI()

    async def main() -> None:
        chunks = LLMAsyncAdapter().llm_to_async_iterable(
            lambda: client.chat.completions.create(model=..., messages=..., stream=True)
        )
        async with chunks:
            async for chunk in chunks:
                ...

The request is made and read on a worker thread, so the loop never waits for the network; leaving the block,
or ``chunks.close()`` from any thread (a Stop button), hangs up on the server at once.
"""

from __future__ import annotations

import logging
from collections.abc import AsyncIterable, Awaitable, Callable, Iterable
from typing import Any, TypeVar, overload

from agere.commander.callback import BoundCallback, CallbackDict, CallbackSource, bind_all
from agere.utils.stream import Received, Stream, StreamIterator

__all__ = ["CallbackDict", "LLMAsyncAdapter", "StreamIterator"]

T = TypeVar("T")


class LLMAsyncAdapter:
    """Turns what an LLM client streams into an async iterator, with callbacks at its start and end.

    Any thread may make and use it; one adapter may serve many streams.

    Args:
        at_receiving_start: a callback dict or a list of them (``function``, ``params``, ``inject_task_node``,
            ``on_host``), plain or async, for every stream of this adapter. They run when the first chunk has
            come, before it is handed out; also when the end or an error comes instead of a first chunk.
        at_receiving_end: likewise; they run exactly once per stream: at its end, at an error before that is
            raised, or when it is closed.
        logger: told of callbacks that raise (everything else goes on) and of sources that fail to close.
            Default: ``logging.getLogger("agere.stream")``.

    Raises:
        CallbackError: a callback is described wrongly.
    """

    def __init__(
        self,
        at_receiving_start: CallbackSource = None,
        at_receiving_end: CallbackSource = None,
        logger: logging.Logger | None = None,
    ) -> None:
        self._at_start: list[BoundCallback] = bind_all(at_receiving_start)
        self._at_end: list[BoundCallback] = bind_all(at_receiving_end)
        self._logger = logger if logger is not None else logging.getLogger("agere.stream")
        self._received: Received[Any] = Received()

    @property
    def received_message(self) -> list[Any]:
        """Any thread. The chunks that the newest stream of this adapter has handed out so far, in order.

        It is kept for as long as the adapter is held, so it grows with the stream: with a stream that has
        no end, drop the adapter (a stream does not hold it), or clear this list now and then; it is yours.
        """
        return self._received

    @overload
    def llm_to_async_iterable(
        self,
        response: AsyncIterable[T],
        at_receiving_start: CallbackSource = None,
        at_receiving_end: CallbackSource = None,
        *,
        max_buffered: int = 1024,
    ) -> StreamIterator[T]: ...
    @overload
    def llm_to_async_iterable(
        self,
        response: Iterable[T],
        at_receiving_start: CallbackSource = None,
        at_receiving_end: CallbackSource = None,
        *,
        max_buffered: int = 1024,
    ) -> StreamIterator[T]: ...
    @overload
    def llm_to_async_iterable(
        self,
        response: Callable[[], Awaitable[AsyncIterable[T]]],
        at_receiving_start: CallbackSource = None,
        at_receiving_end: CallbackSource = None,
        *,
        max_buffered: int = 1024,
    ) -> StreamIterator[T]: ...
    @overload
    def llm_to_async_iterable(
        self,
        response: Callable[[], AsyncIterable[T]],
        at_receiving_start: CallbackSource = None,
        at_receiving_end: CallbackSource = None,
        *,
        max_buffered: int = 1024,
    ) -> StreamIterator[T]: ...
    @overload
    def llm_to_async_iterable(
        self,
        response: Callable[[], Iterable[T]],
        at_receiving_start: CallbackSource = None,
        at_receiving_end: CallbackSource = None,
        *,
        max_buffered: int = 1024,
    ) -> StreamIterator[T]: ...
    def llm_to_async_iterable(
        self,
        response: Any,
        at_receiving_start: CallbackSource = None,
        at_receiving_end: CallbackSource = None,
        *,
        max_buffered: int = 1024,
    ) -> StreamIterator[Any]:
        """Any thread. An async iterator over ``response``, which belongs to it from now on: it will close it.

        Nothing is read before the first chunk is asked for, and no thread exists before that. The iterator
        is bound to the event loop that asks. If the stream is made within a node, the completion of that
        node closes it.

        Args:
            response: a (blocking) iterable, which one worker thread will read; an async iterable, which one
                task will read on the consumer's loop; or a function without arguments that returns either.
                A plain function is called on the worker thread, so that the request is made off the loop
                too; an ``async def`` one is awaited on the loop.
            at_receiving_start: as in the constructor, for this stream, after the adapter's own.
            at_receiving_end: likewise.
            max_buffered: how many chunks may wait for a slow consumer before the reader waits for it.

        Raises:
            TypeError: ``response`` is none of these.
            ValueError: ``max_buffered`` is less than one.
            CallbackError: a callback is described wrongly.
        """
        if max_buffered < 1:
            raise ValueError(f"max_buffered must be at least 1, not {max_buffered}")
        stream = Stream(
            response,
            max_buffered=max_buffered,
            at_start=[*self._at_start, *bind_all(at_receiving_start)],
            at_end=[*self._at_end, *bind_all(at_receiving_end)],
            logger=self._logger,
        )
        self._received = received = Received[Any]()
        return StreamIterator(stream, received)
