"""What was said so far: whole turns, within a budget of tokens, in memory or in a file that is appended to."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable
from types import TracebackType
from typing import Any, Literal, Self

from agere.errors import (
    ConversationClosedError,
    MessageError,
    TurnError,
)

from .conversation_file import DROPPED, END, ConversationFile, check_path
from .conversation_messages import Message, Order, checked, closing
from .tokens import Tokenizer, as_counter, count

__all__ = ["Conversation", "Message"]


class Turn:
    """Messages that stay together."""

    __slots__ = ("messages", "place", "tokens")

    def __init__(self, place: int | None = None) -> None:
        self.messages: list[Message] = []
        self.tokens = 0
        self.place = place  # where it begins in the file; None if that is not known


class Conversation:
    """The messages of a talk. Belongs to one thread at a time: within a ``Chat``, to the loop.

    It consists of turns: a question, and all that came of it. A turn that is under way is taken in message by message;
    it counts as said once it is ended, and can be dropped until then. Calls and their results never part.

    Texts are kept as UTF-8 can carry them: half a surrogate pair, as a file name or the command line may bring along,
    becomes U+FFFD.

    Args:
        system: a first message that always stays. With a file that has another one, this one counts from now on.
        max_tokens: the budget. When all messages together take more, the oldest turns fall out whole, until those that
            are left take half of what the system message leaves. (Half: a model that caches what it has read would
            have to begin anew each time.) The newest turn stays, also when it alone takes more. None to keep all.
        counter: gives the tokens of a message; or a tokenizer, something with ``encode(text)``. By default
            ``agere.chat.tokens.estimate``.
        path: a file that keeps it. It is made if there is none; one that is there is taken up where it stands.
        unfinished: what becomes of a turn that was under way when the process that wrote the file ended. "keep": its
            messages stay, calls without a result get one that says so, and an assistant's "(interrupted)" ends it.
            "drop": it was not asked.

    Raises:
        ConversationFileError: the file holds no conversation; it has not been changed.
        ConversationInUseError: the file is in use, by another process or another object.
        ValueError, TypeError: an argument is of no use.
        OSError: the file cannot be opened or written.
    """

    def __init__(
        self,
        system: str | None = None,
        *,
        max_tokens: int | None = None,
        counter: Callable[[Message], int] | Tokenizer | None = None,
        path: str | os.PathLike[str] | None = None,
        unfinished: Literal["keep", "drop"] = "keep",
    ) -> None:
        _check_options(system, max_tokens, unfinished)
        self._max_tokens = max_tokens
        self._counter = as_counter(counter)
        self._turns: list[Turn] = []
        self._tokens = 0  # of the turns
        self._skipped = 0  # so many of the first turns have fallen out, for a turn that may yet be dropped
        self._open: Turn | None = None
        self._order = Order()
        self._closed = False
        self._file: ConversationFile | None = None
        self._head: list[Message] = []
        self._head_tokens = 0
        if path is None:
            self._set_system(system)
            return
        self._file = ConversationFile(path)
        try:
            self._take_up(self._file, system, unfinished)
        except BaseException:
            self._file.close()
            raise

    @classmethod
    def open(
        cls,
        path: str | os.PathLike[str],
        system: str | None = None,
        *,
        max_tokens: int | None = None,
        counter: Callable[[Message], int] | Tokenizer | None = None,
        unfinished: Literal["keep", "drop"] = "keep",
    ) -> Self:
        """Any thread. The conversation of a file: ``Conversation(path=path)``, with its arguments and errors."""
        return cls(system, max_tokens=max_tokens, counter=counter, path=path, unfinished=unfinished)

    # -- reading

    @property
    def messages(self) -> list[Message]:
        """The messages to send: the system message and the turns that have not fallen out, the open one included.

        A new list; the messages in it are not to be changed.
        """
        return [*self._head, *(message for turn in self._turns[self._skipped :] for message in turn.messages)]

    @property
    def system(self) -> str | None:
        """The text of the system message."""
        return self._head[0]["content"] if self._head else None

    @property
    def tokens(self) -> int:
        """The tokens of ``messages``, as the counter gives them."""
        return self._head_tokens + self._tokens

    @property
    def in_turn(self) -> bool:
        """Whether a turn is under way."""
        return self._open is not None

    @property
    def closed(self) -> bool:
        """Any thread. Whether nothing can be added any more."""
        return self._closed

    @property
    def path(self) -> str | None:
        """The file that keeps it."""
        return None if self._file is None else self._file.path

    # -- saying

    def add_turn(self, messages: Iterable[Message]) -> None:
        """Take in a whole turn: a question and all that came of it.

        Raises:
            MessageError: a message is none, or cannot stand where it does. Nothing was taken in.
            TurnError: a turn is under way.
            ConversationClosedError: the conversation is closed.
            OSError: the file cannot be written. Nothing was taken in.
        """
        self._check_open()
        order, turn = Order(), []
        for message in messages:
            turn.append(checked(message))
            order.check(turn[-1])
            order.take(turn[-1])
        _check_whole(len(turn), order)
        tokens = [count(self._counter, message) for message in turn]
        self.begin_turn()
        try:
            self._write(*turn, END)
        except BaseException:
            self.drop_turn()
            raise
        for message, size in zip(turn, tokens, strict=True):
            self._take(message, size)
        self._finish()

    def begin_turn(self) -> None:
        """Begin a turn, to be filled by ``add``.

        Raises:
            TurnError: one is under way.
            ConversationClosedError: the conversation is closed.
            OSError: the end of the last turn could not be written yet, and still cannot. No turn was begun.
        """
        self._check_open()
        if self._open is not None:
            raise TurnError(
                "a turn of this conversation is under way; end or drop it before the next one is begun. If you have "
                "begun none, another Chat uses this conversation: give each Chat one of its own, or wait until the "
                "other one's turn is over"
            )
        if self._file is not None:
            self._file.settle()
        self._begin()

    def add(self, message: Message) -> None:
        """Take a finished message into the turn under way. It is in the file when this returns.

        Raises:
            MessageError: it is none, or cannot come next. Nothing was taken in.
            TurnError: no turn is under way.
            ConversationClosedError: the conversation is closed.
            OSError: the file cannot be written. Nothing was taken in.
        """
        self._check_open()
        self._opened()
        message = checked(message)
        self._order.check(message)
        tokens = count(self._counter, message)
        self._write(message)
        self._take(message, tokens)

    def end_turn(self) -> None:
        """The turn is whole: it stays.

        Raises:
            MessageError: it is empty, or a call in it has no result.
            TurnError: no turn is under way.
            ConversationClosedError: the conversation is closed.
            OSError: the file cannot be written; the turn is still under way.
        """
        self._check_open()
        _check_whole(len(self._opened().messages), self._order)
        self._write(END)
        self._finish()

    def keep_turn(self) -> None:
        """The turn was broken off: it stays, with all of its messages, and is made whole.

        Calls without a result get one that says so, and an assistant's "(interrupted)" ends it, unless an assistant's
        message does. An empty turn is dropped. If the file cannot be written, that is made up for before anything else
        is written there (and logged on ``agere.chat``): who reads it meanwhile finds a turn that was broken off.

        Raises:
            TurnError, ConversationClosedError: as for ``end_turn``.
        """
        self._check_open()
        turn = self._opened()
        if not turn.messages:
            self.drop_turn()
            return
        added = closing(turn.messages, self._order.open_calls)
        tokens = [count(self._counter, message) for message in added]
        if self._file is not None:
            self._file.owe(*added, END)
        for message, size in zip(added, tokens, strict=True):
            self._take(message, size)
        self._finish()

    def drop_turn(self) -> None:
        """The turn was broken off: everything is as if it had not been asked.

        That is so in any case. If the file has no room for the mark, the turn's messages are cut off there.

        Raises:
            TurnError, ConversationClosedError: as for ``end_turn``.
        """
        self._check_open()
        turn = self._opened()
        try:
            if turn.messages and self._file is not None:
                self._file.take_back(turn.place)
        finally:
            self._forget()

    # -- leaving

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write what ``messages`` gives into a new file, without the turn under way.

        Raises:
            FileExistsError: there is something in the file already.
            ConversationInUseError, OSError, TypeError, ValueError: as for the class.
        """
        path = check_path(path)
        if os.path.exists(path) and os.path.getsize(path):  # noqa: PTH110, PTH202 - a str, not a Path
            raise FileExistsError(f"{path} exists; a conversation is saved into a new file")
        with Conversation(self.system, counter=lambda _: 0, path=path) as saved:
            for turn in self._turns[self._skipped :]:
                if turn is not self._open:
                    saved.add_turn(turn.messages)

    def close(self) -> None:
        """Give the file back. What was said can still be read; nothing can be added. Idempotent.

        A turn under way is left as it is: who opens the file next keeps or drops it.
        """
        self._closed = True
        if self._file is not None:
            self._file.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, exc_type: type[BaseException] | None, exc: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()

    def __repr__(self) -> str:
        where = "" if self._file is None else f" in {self._file.path}"
        return f"<Conversation of {len(self.messages)} messages{where}>"

    # -- inside

    def _take_up(self, file: ConversationFile, system: str | None, unfinished: str) -> None:
        """Read the file; then repair it, and bring it up to date."""
        for number, record in file.read():
            try:
                self._replay(record)
            except (MessageError, TurnError) as error:
                raise file.malformed(number, str(error)) from error
        told = self.system
        if system is not None or told is None:
            self._set_system(system)
        file.repair()
        if self._open is not None and unfinished == "keep":
            self.keep_turn()
        elif self._open is not None:
            self.drop_turn()
        if self.system != told:
            file.append({"system": self.system})

    def _replay(self, record: dict[str, Any]) -> None:
        if "role" in record:
            message = checked(record)
            if self._open is None:
                self._begin(replayed=True)
            self._order.check(message)
            self._take(message, count(self._counter, message))
        elif record == END:
            _check_whole(len(self._opened().messages), self._order)
            self._finish()
        elif record == DROPPED:
            self._opened()
            self._forget()
        elif record.keys() == {"system"} and isinstance(record["system"], str) and self._open is None:
            self._set_system(record["system"])
        else:
            raise MessageError(f"this is neither a message nor a mark of a conversation: {record!r:.200}")

    def _set_system(self, system: str | None) -> None:
        head: list[Message] = [] if system is None else [checked({"role": "system", "content": system})]
        tokens = sum(count(self._counter, message) for message in head)
        if self._max_tokens is not None and tokens >= self._max_tokens:
            raise ValueError(
                f"the system message takes {tokens} tokens and leaves nothing of max_tokens={self._max_tokens}"
            )
        self._head, self._head_tokens = head, tokens

    def _begin(self, replayed: bool = False) -> None:
        self._open = Turn(None if self._file is None or replayed else self._file.size)
        self._order = Order()
        self._turns.append(self._open)

    def _take(self, message: Message, tokens: int) -> None:
        """Into the open turn. Message by message also where a whole turn is added: a file replays to the same."""
        turn = self._opened()
        self._order.take(message)
        turn.messages.append(message)
        turn.tokens += tokens
        self._tokens += tokens
        if self._max_tokens is not None and self.tokens > self._max_tokens:
            room = (self._max_tokens - self._head_tokens) // 2
            while self._tokens > room and self._turns[self._skipped] is not turn:
                self._tokens -= self._turns[self._skipped].tokens
                self._skipped += 1

    def _finish(self) -> None:
        del self._turns[: self._skipped]
        self._skipped = 0
        self._open = None

    def _forget(self) -> None:
        self._turns.remove(self._opened())
        self._tokens = sum(turn.tokens for turn in self._turns)
        self._skipped = 0
        self._open = None

    def _opened(self) -> Turn:
        if self._open is None:
            raise TurnError("no turn is under way; begin one first")
        return self._open

    def _check_open(self) -> None:
        if self._closed:
            raise ConversationClosedError("this conversation has been closed")

    def _write(self, *records: Any) -> None:
        if self._file is not None:
            self._file.append(*records)


def _check_whole(length: int, order: Order) -> None:
    if length == 0:
        raise MessageError("a turn has at least one message")
    if order.open_calls:
        raise MessageError(f"the tool calls {', '.join(map(repr, order.open_calls))} have no results yet")


def _check_options(system: object, max_tokens: object, unfinished: object) -> None:
    if system is not None and not isinstance(system, str):
        raise TypeError(f"system is the text of the system message, a str, not {system!r}")
    if max_tokens is not None and (isinstance(max_tokens, bool) or not isinstance(max_tokens, int) or max_tokens < 1):
        raise ValueError(f"max_tokens is a whole number from 1 up, or None, not {max_tokens!r}")
    if unfinished not in ("keep", "drop"):
        raise ValueError(f"unfinished is 'keep' or 'drop', not {unfinished!r}")
