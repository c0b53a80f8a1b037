"""What a turn has come to so far, and what of it stands in the conversation. Belongs to the loop of its turn."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import suppress
from time import monotonic
from typing import Any

from agere.tools import ToolCall, ToolResult
from agere.utils.fields import field, items, string

from .answer import Answer, Timings, Usage
from .conversation import Conversation
from .prompt import Prompt

_AT_THE_END = 8  # chunks among which usage and finish_reason stand


class Round:
    """One request and its answer.

    Attributes:
        begins_a_line: the next text is the first, and text of an earlier answer stands before it in an unfinished line.
        begun: when the request was made, by ``monotonic``.
        said: the pieces of text.
        calls: what the model asks for, once that is known.
        results: of the calls that have ended, by their place among the calls.
        complete: the answer has come to its end, and stands in the conversation.
    """

    def __init__(self, begins_a_line: bool) -> None:
        self.begins_a_line = begins_a_line
        self.begun = monotonic()
        self.said: list[str] = []
        self.calls: list[ToolCall] = []
        self.results: dict[int, ToolResult] = {}
        self.written = 0  # results that stand in the conversation
        self.complete = False

    @property
    def text(self) -> str:
        """All text of this answer."""
        return "".join(self.said)

    def message(self) -> Mapping[str, Any]:
        """The answer as the conversation keeps it."""
        if not self.calls:
            return {"role": "assistant", "content": self.text}
        calls = [call.message() for call in self.calls]
        return {"role": "assistant", "content": self.text or None, "tool_calls": calls}


class Turn:
    """A question and all that came of it.

    It is written into the conversation message by message, so that a killed process loses none, and ends with one of
    ``keep`` and ``give_up``.

    Args:
        prompt: the question.
        conversation: that of the Chat.

    Attributes:
        over: it has been kept or given up; nothing more of it is written.
    """

    def __init__(self, prompt: Prompt, conversation: Conversation) -> None:
        self._conversation = conversation
        self._begun = monotonic()
        self._first_text: float | None = None
        self._said: list[str] = []
        self._rounds: list[Round] = []
        self._seconds: list[float] = []
        self._usage: Usage | None = None
        self._untold = 0
        self._finish_reason: str | None = None
        self.over = False
        conversation.begin_turn()
        try:
            conversation.add({"role": "user", "content": prompt})
        except BaseException:
            conversation.drop_turn()
            raise

    @property
    def context(self) -> list[Mapping[str, Any]]:
        """What a request tells the model: the conversation with this turn in it."""
        return self._conversation.messages

    @property
    def rounds(self) -> int:
        """How many requests have been made."""
        return len(self._rounds)

    @property
    def calls(self) -> int:
        """How many tool calls the model has asked for."""
        return sum(len(each.calls) for each in self._rounds)

    @property
    def tokens(self) -> int:
        """How many tokens the model has written, as the server tells; where it does not, one for each chunk."""
        return self._untold + (self._usage.completion_tokens if self._usage is not None else 0)

    # -- a request

    def begin_round(self) -> Round:
        """A request is about to be sent."""
        this = Round(begins_a_line=bool(self._said) and not self._said[-1].endswith("\n"))
        self._rounds.append(this)
        return this

    def hear(self, text: str) -> None:
        """A piece of text has come."""
        this = self._rounds[-1]
        if self._first_text is None:
            self._first_text = monotonic() - self._begun
        if this.begins_a_line:
            this.begins_a_line = False
            self._said.append("\n")
        this.said.append(text)
        self._said.append(text)

    def complete_round(self, calls: list[ToolCall]) -> None:
        """The answer has come to its end."""
        this = self._rounds[-1]
        this.calls = calls
        self._add(this.message())
        this.complete = True

    def end_round(self, chunks: Sequence[Any]) -> None:
        """No more will come, whether the answer has come to its end or not.

        Args:
            chunks: as they were received.
        """
        self._seconds.append(monotonic() - self._rounds[-1].begun)
        usage, reason = None, None
        for chunk in reversed(chunks[-_AT_THE_END:]):
            usage = usage or field(chunk, "usage")
            for choice in items(field(chunk, "choices")):
                reason = reason or string(field(choice, "finish_reason"))
            if usage and reason:
                break
        self._finish_reason = reason or self._finish_reason
        if usage:
            self._usage = Usage.read(usage) + (self._usage or Usage())
        else:
            self._untold += len(chunks)

    # -- its calls

    def take(self, result: ToolResult) -> None:
        """A call has ended. Results are written in the order of the calls, each as soon as those before it are."""
        this = self._rounds[-1]
        place = next(index for index, call in enumerate(this.calls) if call is result.call)
        this.results[place] = result
        while this.written in this.results:
            self._add(this.results[this.written].message())
            this.written += 1

    # -- its end

    def keep(self) -> None:
        """It was answered: it stays in the conversation.

        Raises:
            OSError: the conversation's file cannot be written; ``give_up`` must follow.
        """
        if not self.over:
            self._conversation.end_turn()
            self.over = True

    def give_up(self, keep_said: bool) -> None:
        """It was broken off, or has failed. The conversation is free for the next turn, whatever goes wrong.

        Args:
            keep_said: keep what was said, made whole so that a server accepts it; else it is as if never asked.
        """
        if self.over:
            return
        self.over = True
        try:
            if keep_said:
                with suppress(OSError):  # the disk is full: what is in the file already is kept
                    self._add_the_rest()
                self._conversation.keep_turn()
        finally:
            if not self._conversation.closed and self._conversation.in_turn:
                self._conversation.drop_turn()

    def _add_the_rest(self) -> None:
        """What was said and done in the last round and does not stand in the conversation yet."""
        this = self._rounds[-1] if self._rounds else None
        if this is not None and not this.complete and this.said:
            self._conversation.add({"role": "assistant", "content": this.text})
        if this is not None:
            for place in sorted(this.results)[this.written :]:
                self._conversation.add(this.results[place].message())

    def _add(self, message: Mapping[str, Any]) -> None:
        if not self.over:  # a turn whose loop was stuck, and which was put out, may come to life again
            self._conversation.add(message)

    def answer(self, model: str) -> Answer:
        """What the turn has come to.

        Args:
            model: who answered.
        """
        results = [each.results[place] for each in self._rounds for place in sorted(each.results)]
        return Answer(
            text=self._rounds[-1].text,
            said="".join(self._said),
            tool_results=tuple(results),
            usage=self._usage,
            timings=Timings(monotonic() - self._begun, self._first_text, tuple(self._seconds)),
            finish_reason=self._finish_reason,
            model=model,
        )
