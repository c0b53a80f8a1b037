"""Documents summarised from plain synchronous code: at most 8 model calls at a time, with a progress bar.

No ``async`` in sight. Each document has a Chat of its own, whose only turn is a Job. The lane ``llm`` lets 8 of them
run at once; the others wait in line. What ``submit`` returns are ``concurrent.futures`` Futures.

Run it:  python examples/summarise_documents.py [FILE ...]
         cat notes.txt | python examples/summarise_documents.py -
"""

import logging
import sys
from concurrent.futures import Future, as_completed
from pathlib import Path

from agere import Chat, Commander, Job
from agere.chat import Answer, ChatModel, explain, open_model
from agere.errors import NoModelError

AT_ONCE = 8
READ = 4000  # characters of a document
WIDTH = 30  # of the progress bar

SAMPLES = {
    "tides.txt": "The moon's gravity pulls at the oceans. Twice a day the water rises and falls along most coasts.",
    "bread.txt": "Flour, water, salt and yeast make a dough. It rests for hours, and a hot oven does the rest.",
    "bees.txt": "A hive has one queen and thousands of workers. They dance to tell each other where flowers are.",
    "glass.txt": "Sand melts at high temperature. Cooled quickly, it does not crystallise: it becomes glass.",
    "sleep.txt": "During sleep the brain sorts the day's memories. Who sleeps too little forgets more.",
    "paper.txt": "Wood is cooked into pulp, spread on a wire, pressed and dried. Old paper can be pulped again.",
}


def summarise(model: ChatModel, document: str) -> Job[Answer]:
    """The Job that has a document summarised."""
    return Chat(model=model).turn(f"Summarise in one short sentence:\n\n{document[:READ]}")


def main(names: list[str]) -> int:
    documents = {name: read(name) for name in names} or SAMPLES
    failed = 0
    # Agere logs each failure with its traceback, unless somebody says otherwise; here it is told in one line instead.
    logging.getLogger("agere.node").setLevel(logging.CRITICAL)
    with open_model() as model, Commander[None](lanes={"llm": AT_ONCE}, grace=1) as commander:
        print(f"Model: {model.description}.", file=sys.stderr)
        futures: dict[Future[Answer], str] = {
            commander.submit(summarise(model, document), lane="llm"): name for name, document in documents.items()
        }
        for done, future in enumerate(as_completed(futures), start=1):
            error = future.exception()
            hide_progress()
            if error is None:
                print(f"{futures[future]}: {' '.join(str(future.result()).split())}", flush=True)
            else:
                failed += 1
                print(f"{futures[future]}: {explain(error, model)}", file=sys.stderr)
            show_progress(done, len(futures))
    return 1 if failed else 0


def read(name: str) -> str:
    return sys.stdin.read() if name == "-" else Path(name).read_text(errors="replace")


def show_progress(done: int, total: int) -> None:
    """A bar that stays in the last line of a terminal, and is a line of its own elsewhere."""
    filled = WIDTH * done // total
    bar = f"[{'#' * filled}{'.' * (WIDTH - filled)}] {done}/{total}"
    stays = sys.stderr.isatty() and done < total
    print(bar, end="" if stays else "\n", file=sys.stderr, flush=True)


def hide_progress() -> None:
    if sys.stderr.isatty():
        print(f"\r{' ' * (WIDTH + 20)}\r", end="", file=sys.stderr, flush=True)


if __name__ == "__main__":
    try:
        sys.exit(main(sys.argv[1:]))
    except KeyboardInterrupt:
        sys.exit(130)
    except NoModelError as error:
        sys.exit(str(error))
    except OSError as error:
        sys.exit(f"cannot read: {error}")
