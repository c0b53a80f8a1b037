"""Runs the callbacks of a stream, as ``agere.commander.callback`` describes them, with or without a node."""

from __future__ import annotations

import asyncio
import inspect
import logging
from collections.abc import Awaitable, Coroutine, Iterator, Sequence
from typing import Any

from agere.commander.affinity import here
from agere.commander.callback import BoundCallback
from agere.commander.node import TaskNode


def run_callbacks(
    callbacks: Sequence[BoundCallback], node: Any, phase: str, logger: logging.Logger
) -> Coroutine[Any, Any, None] | None:
    """Consumer's loop thread. Call ``callbacks`` in order; one that raises is logged, and the others go on.

    Returns:
        None when all have run. When one turns out to be asynchronous: a coroutine that runs it and the rest.
    """
    rest = iter(callbacks)
    for callback in rest:
        pending = _call(callback, node, phase, logger)
        if pending is not None:
            return _go_on(pending, callback, rest, node, phase, logger)
    return None


async def _go_on(
    pending: Awaitable[Any],
    callback: BoundCallback,
    rest: Iterator[BoundCallback],
    node: Any,
    phase: str,
    logger: logging.Logger,
) -> None:
    while True:
        try:
            await pending
        except (KeyboardInterrupt, SystemExit):
            raise
        except asyncio.CancelledError:
            task = asyncio.current_task()
            if task is not None and task.cancelling():
                raise  # the loop is being torn down: nobody's mistake
            if not callback.on_host:  # a host drops what a terminated node still wanted to deliver
                _log(callback, phase, logger)
        except BaseException:  # noqa: BLE001 - logged
            _log(callback, phase, logger)
        for callback in rest:  # noqa: PLR1704 - goes on where run_callbacks stopped
            following = _call(callback, node, phase, logger)
            if following is not None:
                pending = following
                break
        else:
            return


def _call(callback: BoundCallback, node: Any, phase: str, logger: logging.Logger) -> Awaitable[Any] | None:
    here.node, before = node, here.node
    try:
        if callback.on_host and node is not None:
            # The host's thread is waited for, so that the callbacks stay in order.
            return asyncio.wrap_future(TaskNode.deliver(node, callback.call, node))
        value = callback.call(node)
    except (KeyboardInterrupt, SystemExit):
        raise
    except BaseException:  # noqa: BLE001 - logged
        _log(callback, phase, logger)
        return None
    finally:
        here.node = before
    return value if inspect.isawaitable(value) else None


def _log(callback: BoundCallback, phase: str, logger: logging.Logger) -> None:
    logger.exception("%s: %r failed", phase, callback)
