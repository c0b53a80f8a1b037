"""An ASGI server that streams answers, with one commander for the whole application.

Each request is a job. A client that goes away cancels its job, and that hangs up on the model's server; at most
8 answers are under way at once, and further ones wait in line. ``asgi_client.py`` is a client for it, and so is curl.

Run it:  pip install starlette uvicorn && python examples/asgi_app.py [PORT]
         curl -N 'http://127.0.0.1:8000/answer?question=Why+is+the+sky+blue%3F'
"""

import logging
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import uvicorn
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response, StreamingResponse
from starlette.routing import Route

from agere import Commander, JobFuture, current_node
from agere.chat import ChatModel, explain, open_model
from agere.errors import NoModelError
from agere.utils.llm_async_converters import LLMAsyncAdapter

AT_ONCE = 8


async def answer(model: ChatModel, question: str) -> None:
    """The job. What it emits is what the client reads; a client that reads slowly slows it down."""
    node = current_node()
    assert node is not None
    messages: list[Any] = [{"role": "user", "content": question}]
    async for chunk in LLMAsyncAdapter().llm_to_async_iterable(lambda: model.open_stream(messages)):
        for choice in chunk.choices:
            if text := choice.delta.content:
                await node.emit(text)


async def texts(job: JobFuture[None], model: ChatModel) -> AsyncIterator[str]:
    """The body of a response. It is cancelled when the client has gone, and leaving the block cancels the job."""
    async with job.stream() as stream:
        try:
            async for text in stream:
                yield text
        except Exception as error:
            yield f"\n[{explain(error, model)}]"
    yield "\n"


async def respond(request: Request) -> Response:
    question = request.query_params.get("question", "").strip()
    if not question:
        return PlainTextResponse("ask like this: /answer?question=Why\n", status_code=400)
    commander, model = request.state.commander, request.state.model
    job = commander.submit(answer, model, question, lane="llm")
    return StreamingResponse(texts(job, model), media_type="text/plain; charset=utf-8")


@asynccontextmanager
async def lifespan(_: Starlette) -> AsyncIterator[dict[str, Any]]:
    # The requests of clients come and go; these two live as long as the application.
    with open_model() as model:
        print(f"Model: {model.description}.", file=sys.stderr)
        async with Commander[None](lanes={"llm": AT_ONCE}, grace=1) as commander:
            yield {"commander": commander, "model": model}
            commander.exit(wait=False)  # the server stops: so does whatever still runs


app = Starlette(routes=[Route("/answer", respond)], lifespan=lifespan)


if __name__ == "__main__":
    logging.getLogger("agere.node").setLevel(logging.CRITICAL)  # clients are told of failures, in one line
    try:
        # A streaming response ends when its client leaves; at Ctrl-C that is not waited for.
        uvicorn.run(app, port=int(sys.argv[1]) if sys.argv[1:] else 8000, timeout_graceful_shutdown=1)
    except KeyboardInterrupt:
        sys.exit(130)
    except NoModelError as error:
        sys.exit(str(error))
