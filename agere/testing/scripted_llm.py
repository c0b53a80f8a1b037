"""A scripted model server on loopback, to which the real clients talk in tests.

It answers with what the test wrote down, in order, streamed or whole, in the wire format in which it is asked:
OpenAI's chat completions, OpenAI's Responses API, Anthropic's Messages API::

    gate = Gate()
    with ScriptedLLM([text("Hel", gate, "lo"), Call("weather", {"city": "Paris"})]) as server:
        client = server.client()
        stream = client.chat.completions.create(model="any", messages=[...], stream=True)
        ...                 # "Hel" arrives; "lo" does not, until:
        gate.release()

Nothing sleeps: a ``Gate`` holds an answer until the test releases it, ``Gate.wait_reached`` tells that the server has
come to it, and ``Request.wait_disconnected`` that the server has *seen* the client leave.
"""

from __future__ import annotations

import ssl
import threading
from collections.abc import Callable, Iterable
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self

from agere.errors import ScriptError
from agere.testing.gates import PATIENCE
from agere.testing.http import ScriptServer
from agere.testing.script import Dealer, Reply, Request, Script, answer_of, refusal
from agere.testing.steps import Answer

if TYPE_CHECKING:
    import anthropic
    import openai


class ScriptedLLM:
    """The server. A context manager; it serves from its construction until ``close``.

    Any thread may use it, and any number of clients at once: answers are dealt out in the order in which requests
    arrive. What does not fit is told twice: the client gets an HTTP error (400) that says so, and the test gets a
    ``ScriptError`` when it leaves the ``with`` block without an error of its own.

    Args:
        script: answers in order, or one function of the ``Request`` for all. An answer is what ``text``,
            ``tool_calls``, ``answer`` and the like return, a string (sent word by word), a ``Call``, or a function
            of the ``Request`` that returns one of these; functions run on the server's threads. An iterator may be
            endless.
        ssl_context: serve over TLS with it.

    Attributes:
        base_url: where it listens, as clients of OpenAI's protocols want it: ``http://127.0.0.1:PORT/v1``.
        problems: what did not fit so far: requests beyond the end of the script, functions that raised, unknown
            paths. A test that means it empties the list.

    Raises:
        TypeError: ``script`` holds what can be no answer.
    """

    def __init__(
        self,
        script: Iterable[Script] | Callable[[Request], Reply] = (),
        *,
        ssl_context: ssl.SSLContext | None = None,
    ) -> None:
        self._dealer = Dealer(script)
        self._lock = threading.Condition()
        self._requests: list[Request] = []
        self._clients: list[openai.OpenAI | anthropic.Anthropic] = []
        self._closed = False
        self.problems: list[str] = []
        self._http = ScriptServer(self, ssl_context)
        scheme = "http" if ssl_context is None else "https"
        self._root = f"{scheme}://127.0.0.1:{self._http.server_port}"
        self.base_url = self._root + "/v1"
        self._thread = threading.Thread(target=self._http.serve_forever, args=(0.01,), name="scripted-llm")
        self._thread.start()

    @property
    def requests(self) -> list[Request]:
        """The requests so far, in the order of their arrival, also those that the script had no answer for."""
        with self._lock:
            return list(self._requests)

    @property
    def remaining(self) -> int | None:
        """How many answers of the script no request has come for yet; None if it is a function or an iterator.

        A test that wants every answer to be used says ``assert server.remaining == 0``.
        """
        with self._lock:
            return self._dealer.remaining

    def wait_request(self, count: int = 1, timeout: float = PATIENCE) -> Request:
        """Wait for a request.

        Args:
            count: which one; 1 is the first.
            timeout: how many seconds to wait at most.

        Raises:
            TimeoutError: it did not come.
        """
        if count < 1:
            raise ValueError(f"Requests are counted from 1, so there is no request {count}.")
        with self._lock:
            if not self._lock.wait_for(lambda: len(self._requests) >= count, timeout):
                raise TimeoutError(f"{len(self._requests)} requests came within {timeout} s, not {count}")
            return self._requests[count - 1]

    def client(self, **options: Any) -> openai.OpenAI:
        """A real client of this server, without retries unless you ask for them. Closed with the server.

        Args:
            options: of ``openai.OpenAI``.
        """
        import openai

        client = openai.OpenAI(**self._options(self.base_url, options))
        self._clients.append(client)
        return client

    def async_client(self, **options: Any) -> openai.AsyncOpenAI:
        """A real asynchronous client of this server; close it on its loop (``async with``)."""
        import openai

        return openai.AsyncOpenAI(**self._options(self.base_url, options))

    def anthropic_client(self, **options: Any) -> anthropic.Anthropic:
        """A real client of Anthropic's, likewise (extra ``anthropic``).

        Raises:
            ImportError: the package ``anthropic`` is not installed.
        """
        client: anthropic.Anthropic = _anthropic().Anthropic(**self._options(self._root, options))
        self._clients.append(client)
        return client

    def async_anthropic_client(self, **options: Any) -> anthropic.AsyncAnthropic:
        """A real asynchronous client of Anthropic's; close it on its loop (``async with``)."""
        client: anthropic.AsyncAnthropic = _anthropic().AsyncAnthropic(**self._options(self._root, options))
        return client

    def close(self) -> None:
        """Drop every connection and end every thread. Idempotent; says nothing of ``problems``."""
        if self._closed:
            return
        self._closed = True
        for client in self._clients:
            client.close()
        self._http.shutdown()
        self._thread.join()
        self._http.drop_connections()
        self._http.server_close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()
        if not self.problems:
            return
        told = "\n".join(self.problems)
        if error is None:
            raise ScriptError(told)
        error.add_note(f"The scripted server had something to say, too:\n{told}")

    def deal(self, request: Request) -> Answer:
        """Server thread. Record a request and choose its answer."""
        try:
            with self._lock:  # one lock for both, so that the n-th request gets the n-th answer
                self._requests.append(request)
                self._lock.notify_all()
                number, entry = self._dealer.draw(request)
            return answer_of(entry, number, request)
        except ScriptError as error:
            self.complain(str(error))
            return refusal(error)

    def complain(self, problem: str) -> None:
        """Server thread. Take note that script and requests do not fit."""
        with self._lock:
            self.problems.append(problem)

    @staticmethod
    def _options(url: str, options: dict[str, Any]) -> dict[str, Any]:
        return {"base_url": url, "api_key": "scripted", "max_retries": 0, **options}


def _anthropic() -> Any:
    try:
        import anthropic
    except ImportError as error:
        raise ImportError("Anthropic's client is missing: pip install 'agere[anthropic]'") from error
    return anthropic
