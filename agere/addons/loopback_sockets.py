"""This process's own sockets on one loopback port, found through the list of open file descriptors.

llama.cpp keeps its sockets to itself, and there are two moments at which they must be reached: before the
server is destroyed (see `agere.addons.llama_server`), and in a forked child, which inherits them.
"""

from __future__ import annotations

import errno
import os
import socket
import stat
from dataclasses import dataclass, field
from pathlib import Path

_HOST = "127.0.0.1"
# Linux, then macOS and the BSDs. Windows lists no descriptors.
_LISTS = (Path("/proc/self/fd"), Path("/dev/fd"))


@dataclass
class LoopbackSockets:
    """Descriptors of one port.

    Attributes:
        listening: those that accept connections.
        connected: the server's ends of connections.
    """

    listening: list[int] = field(default_factory=list)
    connected: list[int] = field(default_factory=list)


def find_sockets(port: int) -> LoopbackSockets | None:
    """This process's sockets bound to that port of 127.0.0.1.

    Any thread may call it. Returns None where the system does not tell, or has no descriptor left for
    asking.
    """
    for place in _LISTS:
        try:
            descriptors = [int(name) for name in os.listdir(place)]  # noqa: PTH208 - names, not paths
        except (OSError, ValueError):
            continue
        found = LoopbackSockets()
        for descriptor in descriptors:
            kind = _kind(descriptor, port)
            if kind is not None:
                (found.listening if kind else found.connected).append(descriptor)
        return found
    return None


def shut_down(descriptors: list[int], port: int) -> bool:
    """End the traffic on these sockets; whoever owns them notices and closes them.

    Returns:
        Whether there was any traffic to end.
    """
    ended = False
    for descriptor in descriptors:
        # Asked again: the owner may have closed it since, and its number may mean something else by now.
        if _kind(descriptor, port) is None:
            continue
        view = socket.socket(fileno=descriptor)
        try:
            view.shutdown(socket.SHUT_RDWR)
            ended = True
        except OSError as error:
            if error.errno not in {errno.ENOTCONN, errno.EINVAL, errno.EBADF, errno.ENOTSOCK}:
                raise
        finally:
            view.detach()
    return ended


def _kind(descriptor: int, port: int) -> bool | None:
    """True: listens on the port; False: a connection of the port; None: anything else."""
    try:
        if not stat.S_ISSOCK(os.fstat(descriptor).st_mode):
            return None
        blocking = os.get_blocking(descriptor)
        view = socket.socket(fileno=descriptor)
    except OSError:
        return None
    try:
        if view.family != socket.AF_INET or view.getsockname() != (_HOST, port):
            return None
        return bool(view.getsockopt(socket.SOL_SOCKET, socket.SO_ACCEPTCONN))
    except OSError:
        return None
    finally:
        view.detach()
        if socket.getdefaulttimeout() is not None:
            # Making the view has then switched the descriptor, which is not ours, to non-blocking.
            os.set_blocking(descriptor, blocking)
