"""A conversation's file: JSON lines, appended as the talk goes on.

The first line says what the file is. Then come, a line each, the messages of the OpenAI protocol, as they were said,
and marks: ``{"system": text}`` (the system message from here on), ``{"turn": "end"}`` and ``{"turn": "dropped"}`` (the
messages since the last mark are a turn, or were taken back).

A line is written by one ``write``, which hands it to the operating system: a process that is killed loses nothing that
it has said. A line that was being written at that moment lacks its end, and nothing else can: it is cut off.

What editors leave is borne: a byte order mark at the beginning, and blank lines at the end, which are cut off.
"""

from __future__ import annotations

import codecs
import json
import logging
import os
import stat
import weakref
from collections.abc import Iterator
from contextlib import suppress
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

_BLANK = b" \t\r\n"

logger = logging.getLogger("agere.chat")


class ConversationFile:
    """An open file, and its lock. One thread at a time.

    Args:
        path: of the file; it is made if there is none.

    Attributes:
        path: as text.
        size: in bytes, as far as it is known to be right.

    Raises:
        TypeError, ValueError: ``path`` is no path.
        ConversationInUseError: another process, or another object of this one, has it.
        ConversationFileError: it holds no conversation.
        OSError: it cannot be opened.
    """

    def __init__(self, path: str | os.PathLike[str]) -> None:
        self.path = check_path(path)
        self._unsure = False  # what stands behind ``size`` is half a line, or one that nobody knows of
        self._owed = b""  # marks that could not be written: they come before anything else
        flags = os.O_RDWR | os.O_CREAT | os.O_APPEND | getattr(os, "O_BINARY", 0) | getattr(os, "O_NONBLOCK", 0)
        descriptor = os.open(self.path, flags | getattr(os, "O_CLOEXEC", 0), 0o600)
        self._descriptor = _Descriptor(descriptor)
        self._finalizer = weakref.finalize(self, self._descriptor.close)
        try:
            self._check(descriptor)
            self.size = os.fstat(descriptor).st_size
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
        lines = data.removeprefix(codecs.BOM_UTF8).split(b"\n")
        torn = lines.pop()
        if not torn.strip(_BLANK):
            while len(lines) > 1 and not lines[-1].strip(_BLANK):
                lines.pop()
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
        """Write the first line if there is none, cut off blank lines at the end, and cut off or end a torn last one."""
        data = self._read_all()
        said = len(data.rstrip(_BLANK))
        end_of_line = data.find(b"\n", said) + 1 or said
        if end_of_line < len(data):
            data = data[:end_of_line]
            self._truncate(end_of_line)
        end = data.rfind(b"\n") + 1
        if end == 0:
            self._truncate(0)
            self._write(HEADER)
        elif end < len(data) and _whole(data[end:]):
            self._write(b"\n")
        elif end < len(data):
            self._truncate(end)

    def append(self, *records: Any) -> None:
        """Write lines, all or none; what is owed comes before them.

        Raises:
            ConversationClosedError: it is closed, or was opened by the process before a fork.
            OSError: the file cannot be written; it is as it was.
        """
        self._write(self._owed + b"".join(_line(record) for record in records))
        self._owed = b""

    def owe(self, *records: Any) -> None:
        """Write lines, if not now, then before anything else, and at the latest when the file is closed.

        Raises:
            ConversationClosedError: as for ``append``.
        """
        try:
            self.append(*records)
        except OSError as error:
            self._owed += b"".join(_line(record) for record in records)
            logger.warning("%s; the end of a turn is still to be written there, as soon as that can be done", error)

    def settle(self) -> None:
        """Write what is owed. Raises as ``append`` does."""
        if self._owed:
            self.append()

    def take_back(self, size: int | None) -> None:
        """Make all behind ``size`` unsaid: by a mark, or, where there is no room for one, by cutting it off.

        Args:
            size: how long the file was before; None if that is not known.

        Raises:
            ConversationClosedError: as for ``append``.
        """
        try:
            self.append(DROPPED)
        except OSError:
            if size is not None:
                with suppress(OSError):
                    self._truncate(size)
                    return
            self.owe(DROPPED)

    def malformed(self, number: int, reason: str) -> ConversationFileError:
        """The error for a line."""
        return ConversationFileError(f"{self.path}, line {number}: {reason}")

    def close(self) -> None:
        """Give the file back. Idempotent."""
        if self._owed:
            try:
                self.settle()
            except OSError as error:
                logger.warning("%s; the end of the last turn is missing there", error)
            except ConversationClosedError:
                pass  # a forked child's: it is for the parent to write
            self._owed = b""
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
        if self._unsure:
            self._truncate(self.size)
        left = memoryview(data)
        self._unsure = True
        try:
            while left:
                left = left[os.write(descriptor, left) :]
        except BaseException as error:
            with suppress(OSError):  # then it is tried again before the next line
                self._truncate(self.size)  # the disk is full: half a line must not stand before the next one
            if isinstance(error, OSError) and error.filename is None:
                raise OSError(error.errno, error.strerror, self.path) from error
            raise
        self.size += len(data)
        self._unsure = False

    def _truncate(self, size: int) -> None:
        os.ftruncate(self._descriptor.number(), size)
        self.size = size
        self._unsure = False


def check_path(path: object) -> str:
    """Any thread. The path as text. Raises TypeError, ValueError."""
    if not isinstance(path, str | bytes | os.PathLike):
        raise TypeError(f"path is the file that keeps the conversation, a str or a path, not {path!r}")
    text = os.fsdecode(path)
    if not text or "\0" in text:
        raise ValueError(f"path is the file that keeps the conversation; no file can be named {text!r}")
    return text


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
