"""A conversation's file: JSON lines, appended as the talk goes on.

The first line says what the file is. Then come, a line each, the messages of the OpenAI protocol, as they were said,
and marks: ``{"system": text}`` (the system message from here on), ``{"turn": "end"}`` and ``{"turn": "dropped"}`` (the
messages since the last mark are a turn, or were taken back).

A line is written by one ``write``, which hands it to the operating system: a process that is killed loses nothing that
it has said. A line that was being written at that moment lacks its end, and nothing else can: it is cut off.
"""

from __future__ import annotations

import json
import os
import stat
import weakref
from collections.abc import Iterator
from typing import Any

from agere.errors import (
    ConversationClosedError,
    ConversationFileError,
    ConversationInUseError,
)

from .conversation_lock import lock

HEADER = b'{"agere": "conversation", "version": 1}\n'
END = {"turn": "end"}
DROPPED = {"turn": "dropped"}


class ConversationFile:
    """An open file, and its lock. One thread at a time.

    Args:
        path: of the file; it is made if there is none.

    Attributes:
        path: as text.

    Raises:
        ConversationInUseError: another process, or another object of this one, has it.
        ConversationFileError: it holds no conversation.
        OSError: it cannot be opened.
    """

    def __init__(self, path: str | os.PathLike[str]) -> None:
        self.path = os.fspath(path)
        if isinstance(self.path, bytes):
            self.path = os.fsdecode(self.path)
        flags = os.O_RDWR | os.O_CREAT | os.O_APPEND | getattr(os, "O_BINARY", 0) | getattr(os, "O_NONBLOCK", 0)
        descriptor = os.open(self.path, flags | getattr(os, "O_CLOEXEC", 0), 0o600)
        self._descriptor = _Descriptor(descriptor)
        self._finalizer = weakref.finalize(self, self._descriptor.close)
        try:
            self._check(descriptor)
            self._size = os.fstat(descriptor).st_size
        except BaseException:
            self.close()
            raise

    def read(self) -> Iterator[tuple[int, dict[str, Any]]]:
        """The lines behind the first, with their numbers. Changes nothing.

        Raises:
            ConversationFileError: a line is malformed.
        """
        data = self._read_all()
        if not data or HEADER.startswith(data):  # new, or its maker was killed at the first line
            return
        lines = data.split(b"\n")
        torn = lines.pop()
        for number, line in enumerate(lines, 1):
            record = self._parse(number, line)
            if number > 1:
                yield number, record
            elif record.get("agere") != "conversation":
                raise self.malformed(1, "it does not say that this is a conversation of Agere")
            elif record.get("version") != 1:
                raise self.malformed(1, f"its version, {record.get('version')!r}, is not known here")
        if not lines:
            raise self.malformed(1, "it does not say that this is a conversation of Agere")
        if _whole(torn):
            yield len(lines) + 1, self._parse(len(lines) + 1, torn)

    def repair(self) -> None:
        """Write the first line if there is none, and cut off or end a torn last one."""
        data = self._read_all()
        end = data.rfind(b"\n") + 1
        if end == 0:
            self._truncate(0)
            self._write(HEADER)
        elif end < len(data) and _whole(data[end:]):
            self._write(b"\n")
        elif end < len(data):
            self._truncate(end)

    def append(self, *records: Any) -> None:
        """Write lines, all or none.

        Raises:
            ConversationClosedError: it is closed, or was opened by the process before a fork.
            OSError: the file cannot be written; it is as it was.
        """
        self._write(b"".join(_line(record) for record in records))

    def malformed(self, number: int, reason: str) -> ConversationFileError:
        """The error for a line."""
        return ConversationFileError(f"{self.path}, line {number}: {reason}")

    def close(self) -> None:
        """Give the file back. Idempotent."""
        self._finalizer()

    def _check(self, descriptor: int) -> None:
        if not stat.S_ISREG(os.fstat(descriptor).st_mode):
            raise ConversationFileError(f"{self.path} is no regular file: no conversation can be kept there")
        if not lock(descriptor):
            raise ConversationInUseError(
                f"the conversation in {self.path} is in use: by another process, or by another Conversation of "
                "this one that has not been closed"
            )

    def _parse(self, number: int, line: bytes) -> dict[str, Any]:
        try:
            record = json.loads(line.decode("utf-8"))
        except (ValueError, RecursionError) as error:
            what = "this is no conversation of Agere" if number == 1 else "this is no JSON in UTF-8"
            raise self.malformed(number, f"{what} ({error})") from None
        if not isinstance(record, dict):
            raise self.malformed(number, f"a line holds a JSON object, not a {type(record).__name__}")
        return record

    def _read_all(self) -> bytes:
        descriptor = self._descriptor.number()
        os.lseek(descriptor, 0, os.SEEK_SET)
        parts = []
        while part := os.read(descriptor, 1 << 20):
            parts.append(part)
        return b"".join(parts)

    def _write(self, data: bytes) -> None:
        descriptor = self._descriptor.number()
        left = memoryview(data)
        try:
            while left:
                left = left[os.write(descriptor, left) :]
        except OSError:
            if len(left) < len(data):  # the disk is full: half a line must not stand before the next one
                self._truncate(self._size)
            raise
        self._size += len(data)

    def _truncate(self, size: int) -> None:
        os.ftruncate(self._descriptor.number(), size)
        self._size = size


class _Descriptor:
    """A file descriptor of this process; a forked child lets go of it, and never uses it."""

    def __init__(self, number: int) -> None:
        self._number: int | None = number
        self._forked = False
        _open.add(self)

    def number(self) -> int:
        if self._forked:
            raise ConversationClosedError(
                "this conversation's file belongs to the process before the fork; open another one in the child"
            )
        if self._number is None:
            raise ConversationClosedError("this conversation has been closed")
        return self._number

    def close(self) -> None:
        number, self._number = self._number, None
        _open.discard(self)
        if number is not None:
            os.close(number)

    def leave_to_parent(self) -> None:
        """Forked child only. The lock lives as long as the file is open anywhere: not here."""
        self._forked = True
        number, self._number = self._number, None
        if number is not None:
            os.close(number)


_open: weakref.WeakSet[_Descriptor] = weakref.WeakSet()


def _after_fork() -> None:
    for descriptor in list(_open):
        descriptor.leave_to_parent()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_after_fork)


def _line(record: Any) -> bytes:
    try:
        return json.dumps(record, ensure_ascii=False).encode() + b"\n"
    except UnicodeEncodeError:  # half a surrogate pair
        return json.dumps(record).encode() + b"\n"


def _whole(line: bytes) -> bool:
    """Whether a line that lacks its end lacks nothing else."""
    try:
        return isinstance(json.loads(line.decode("utf-8")), dict)
    except (ValueError, RecursionError):
        return False
