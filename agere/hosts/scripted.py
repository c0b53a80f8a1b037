"""A host for tests: it knows all the answers beforehand."""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Iterable

from agere.commander import Question
from agere.commander.host import MainThreadHost


class ScriptedHost(MainThreadHost):
    """Answers questions from a list, at once, whoever asks; when it is used up they fail with EOFError.

    Deliveries are run by the main thread while it waits, as in a script.

    Args:
        answers: what to say, in order; an exception in the list is raised where the question was asked.

    Attributes:
        asked: the prompts so far.

    Raises:
        TypeError: ``answers`` is no list of answers.
    """

    def __init__(self, answers: Iterable[str | BaseException] = ()) -> None:
        super().__init__()
        if isinstance(answers, (str, bytes)) or not isinstance(answers, Iterable):
            raise TypeError(f"answers is a list of answers, not {answers!r}; write ScriptedHost([{answers!r}])")
        self._answers = deque(answers)
        for answer in self._answers:
            if not isinstance(answer, (str, BaseException)):
                raise TypeError(f"an answer is a str, or an exception to be raised, not {answer!r}")
        self._lock = threading.Lock()
        self.asked: list[str] = []

    def ask(self, question: Question) -> None:
        """Any thread. See ``Host.ask``."""
        with self._lock:
            self.asked.append(question.prompt)
            answer = self._answers.popleft() if self._answers else EOFError("the scripted answers are used up")
        if isinstance(answer, BaseException):
            question.fail(answer)
        else:
            question.answer(answer)

    @property
    def remaining(self) -> int:
        """Any thread. How many answers nobody has asked for yet."""
        return len(self._answers)

    def answers(self) -> bool:
        """Any thread. Somebody always answers."""
        return True
