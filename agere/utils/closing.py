"""How to reach and close the source of a stream, from a thread that is not the one that reads it.

Three ways, because each alone fails somewhere:

- **The socket.** ``close()`` of an ``openai`` stream returns at once and leaves the thread that is blocked
  in its ``read`` blocked until the server speaks. Shutting the socket down wakes that thread, and the
  server sees it.
- **close().** What has no socket that can be reached may know how to wake its reader itself. It may also
  block, so it is called on a thread that has nothing else to do.
- **The reader.** A running generator refuses ``close()`` (``ValueError: generator already executing``): its
  own reader closes it on waking, and what it was iterating over.

``SourceCloser`` sees to it that whoever comes first, ``close()`` succeeds at most once.
"""

from __future__ import annotations

import gc
import inspect
import logging
import socket
import threading
from types import GeneratorType
from typing import Any

_FAR_ENOUGH = 200  # objects looked at behind one generator
_HTTP_1 = (b"HTTP/1.1", b"HTTP/1.0")


def shut_socket(source: object) -> bool:
    """Any thread, never blocks. Shut the socket that ``source`` reads from, if it can be told which.

    It is told for the streams of the ``openai`` client, or anything else that keeps a response of ``httpx`` or
    ``httpx2`` in an attribute ``response``, ``_response`` or ``_raw_stream.response``. Only attributes that
    stand in the object's own ``__dict__`` are looked at, so that no code of the source runs here.

    A response that has ended has given its connection back to the pool, where another request may use it by
    now, and a connection of HTTP/2 is shared with other requests all the time: both are left alone.

    Returns:
        Whether a socket was shut down.
    """
    response = _open_response(source)
    extensions: Any = _own(response, "extensions")
    if response is None or extensions.get("http_version") not in _HTTP_1:
        return False
    try:
        sock = extensions["network_stream"].get_extra_info("socket")
    except Exception:  # noqa: BLE001 - a foreign transport: then it is not reached this way
        return False
    if _own(response, "is_closed") is not False:  # once more: the reader may be finishing meanwhile
        return False
    return shut(sock)


def responses_behind(source: object) -> list[Any]:
    """Reader thread. The open responses that a suspended generator is iterating over, through others or directly.

    A generator that is closed drops the client's stream that it was iterating over. It does not close it, and the
    stream holds itself in a cycle: the server would stream on until the garbage collector comes by. What a
    generator iterates over lies on its value stack; an iterating method knows it as ``self``, a generator
    expression as ``.0``. Other variables may be anybody's and are not followed.
    """
    found: list[Any] = []
    todo = [source]
    for item in todo:  # grows while it is walked
        if not isinstance(item, GeneratorType):
            response = _open_response(item)
            if response is not None:
                found.append(response)
            continue
        frame = item.gi_frame
        if frame is None or item.gi_running or len(todo) > _FAR_ENOUGH:
            continue
        variables = frame.f_locals
        own = {id(value) for value in variables.values()}
        todo += [value for value in gc.get_referents(item) if id(value) not in own]
        todo += [variables.get("self"), variables.get(".0")]
    return found


def _open_response(source: object) -> object | None:
    raw = _own(source, "_raw_stream")
    for response in (
        source,
        _own(source, "response"),
        _own(source, "_response"),
        _own(raw, "response"),
        _own(raw, "_response"),
    ):
        extensions = _own(response, "extensions")
        if isinstance(extensions, dict) and "network_stream" in extensions:
            return response if _own(response, "is_closed") is False else None
    return None


def shut(sock: object) -> bool:
    """Any thread, never blocks. Shut ``sock`` down in both directions; whether that worked."""
    if not isinstance(sock, socket.socket):
        return False
    try:
        # Not ``SSLSocket.shutdown``: that drops the TLS state under the feet of the thread that reads.
        socket.socket.shutdown(sock, socket.SHUT_RDWR)
    except OSError:  # not connected any more: nobody is blocked in it either
        return False
    return True


def _own(owner: object, name: str) -> object:
    try:
        attributes = object.__getattribute__(owner, "__dict__")  # not through a proxy's __getattr__
    except AttributeError:
        return None
    return attributes.get(name) if isinstance(attributes, dict) else None


class SourceCloser:
    """Calls ``close()`` of a source and of its iterator, each until it has succeeded once.

    Args:
        logger: is told when the last attempt fails.
    """

    __slots__ = ("_lock", "_logger", "_targets")

    def __init__(self, logger: logging.Logger) -> None:
        self._logger = logger
        self._lock = threading.Lock()
        self._targets: list[object] = []

    def hold(self, target: object) -> None:
        """Any thread. Close ``target`` too; what has no ``close`` is not kept."""
        if callable(getattr(target, "close", None)):
            self._targets.append(target)

    def hold_last(self, target: object) -> None:
        """Any thread. Close ``target`` too, after all others."""
        self._targets.insert(0, target)

    @property
    def refuses(self) -> bool:
        """Any thread. Whether only the reader can close: generators, or nothing to close."""
        return all(isinstance(target, GeneratorType) for target in self._targets)

    @property
    def unstarted(self) -> bool:
        """Any thread. Whether closing takes no time: nothing to close, or generators that never ran."""
        return all(
            isinstance(target, GeneratorType) and inspect.getgeneratorstate(target) == inspect.GEN_CREATED
            for target in self._targets
        )

    def close(self, last: bool) -> None:
        """A thread that may block. Close what is not closed yet, the iterator before the source it came from.

        Args:
            last: nobody comes after this attempt: log what fails. Otherwise what fails is left for the
                reader, which waits here for an attempt under way.
        """
        with self._lock:
            for target in reversed(self._targets[:]):
                try:
                    target.close()  # type: ignore[attr-defined]
                except BaseException:
                    if not last:
                        continue
                    self._logger.exception("close() of the stream's source failed: %s", type(target).__qualname__)
                # By identity: whatever a source takes for equal to itself.
                del self._targets[next(i for i, held in enumerate(self._targets) if held is target)]
