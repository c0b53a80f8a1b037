"""Mistakes that ``mypy --strict`` finds: one on each line that says so."""

from __future__ import annotations

from agere.commander import PASS_WORD, Callback, Commander, HandlerCoroutine, Job, handler, tasker


class Count(Job[int]):
    def __init__(self, word: str) -> None:
        self.word = word

    @tasker(PASS_WORD)
    async def task(self) -> int:
        return len(self.word)


@handler(PASS_WORD)
async def shout(self_handler: HandlerCoroutine[str], word: str, times: int = 1) -> str:
    return word.upper() * times


class Chat:
    @handler(PASS_WORD)
    async def answer(self, self_handler: HandlerCoroutine[int], limit: int = 3) -> int:
        return limit


def main() -> None:
    Count(3)  # error: arg-type
    Count()  # error: call-arg
    shout(3)  # error: arg-type
    shout()  # error: call-arg
    shout("a", times="b")  # error: arg-type
    shout("a", 1, 2)  # error: call-arg
    Chat().answer("x")  # error: arg-type
    Chat().answer(limit="x")  # error: arg-type
    job = Count("x")
    job.add_callback_functions("at_end", {"function": print})  # error: arg-type
    job.add_callback_functions("at_job_end", {"fn": print})  # error: dict-item
    Callback(at_nothing={"function": print})  # error: call-arg
    with Commander[None]() as commander:
        text: str = commander.submit(job).result()  # error: assignment
        number: int = commander.submit(shout("x")).result()  # error: assignment
        commander.put_job_threadsafe(shout("x"))  # error: arg-type
        commander.call_handler_threadsafe(job)  # error: arg-type
        commander.submit(3)  # error: call-overload
        print(text, number)
    Commander(grace="5")  # error: arg-type
    Commander(lanes=["llm"])  # error: arg-type
