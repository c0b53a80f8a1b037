"""A scripted OpenAI-protocol server on loopback, to which the real ``openai`` client talks in tests.

It answers chat completions, streamed or whole, with what the test wrote down, in order::

    gate = Gate()
    with ScriptedLLM([text("Hel", gate, "lo"), tool_calls(Call("weather", {"city": "Paris"}))]) as server:
        client = server.client()
        stream = client.chat.completions.create(model="any", messages=[...], stream=True)
        ...                 # "Hel" arrives; "lo" does not, until:
        gate.release()

An answer is a list of steps, and ``text``, ``tool_calls``, ``silent``, ``cut``, ``failing`` and ``error_in_stream``
make the usual ones. Nothing sleeps: a ``Gate`` holds an answer until the test releases it, ``Gate.wait_reached``
tells that the server has come to it, and ``Request.wait_disconnected`` that the server has *seen* the client leave.
"""

from __future__ import annotations

import contextlib
import itertools
import json
import select
import socket
import ssl
import sys
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self, TypeAlias

if TYPE_CHECKING:
    import openai

Body: TypeAlias = dict[str, Any]
PATIENCE = 10.0
"""How many seconds the waits of a test may take before they fail it."""


class Gate:
    """Holds an answer until the test lets it go on. Any thread may use it; it stays open once released."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._open = False
        self._reached = threading.Event()
        self._bells: set[socket.socket] = set()

    def release(self) -> None:
        """Let every answer that waits here go on, now and later."""
        with self._lock:
            self._open = True
            for bell in self._bells:
                bell.send(b"!")

    def wait_reached(self, timeout: float = PATIENCE) -> bool:
        """Wait until an answer has come to this gate: everything before it has been sent."""
        return self._reached.wait(timeout)

    def hold(self, connection: socket.socket) -> bool:
        """Server thread. Wait here; False if the client disconnects first."""
        listener, bell = socket.socketpair()
        with listener, bell:
            with self._lock:
                if self._open:
                    self._reached.set()
                    return True
                self._bells.add(bell)
            self._reached.set()
            try:
                while True:
                    ready, _, _ = select.select([connection, listener], [], [])
                    if listener in ready:
                        return True
                    if _has_left(connection):
                        return False
            finally:
                with self._lock:
                    self._bells.discard(bell)


def _has_left(connection: socket.socket) -> bool:
    """Server thread. Whether a readable connection has been closed; what a client says meanwhile is dropped."""
    try:
        return not connection.recv(4096)
    except ssl.SSLWantReadError:
        return False
    except OSError:
        return True


@dataclass(frozen=True)
class Delta:
    """One chunk of a streamed answer with this delta (None is sent as null)."""

    delta: dict[str, Any] | None
    finish_reason: str | None = None


@dataclass(frozen=True)
class Raw:
    """Bytes as they stand: a whole server-sent event, half of one, or no event at all."""

    data: bytes


@dataclass(frozen=True)
class StreamError:
    """An error within the stream, as servers send it when they fail midway."""

    message: str


@dataclass(frozen=True)
class Cut:
    """The connection drops here."""


@dataclass(frozen=True)
class Silence:
    """Nothing more comes, until the client leaves."""


Step: TypeAlias = Delta | Raw | StreamError | Cut | Silence | Gate


@dataclass
class Answer:
    """What the server does for one request.

    Attributes:
        steps: one after the other; Gates may stand among them.
        status: another status than 200 makes it an error answer with ``message``.
        message: the error's message.
        before_headers: a gate or a Silence before the server says anything at all.
        done: end with ``[DONE]``, as servers do.
        headers: further headers of the answer.
    """

    steps: Sequence[Step] = ()
    status: int = 200
    message: str = ""
    before_headers: Gate | Silence | None = None
    done: bool = True
    headers: dict[str, str] = field(default_factory=dict)


@dataclass
class Call:
    """A tool call that the scripted model makes.

    Attributes:
        name: the tool.
        arguments: an object, or the raw text that is sent for it (malformed, if you like).
        to_user: if given, stands in front of the arguments as ``to_user``.
        id: default ``call_0``, ``call_1``, ...
        pieces: the lengths in which the text of the arguments is cut; the last one repeats.
    """

    name: str
    arguments: dict[str, Any] | str = field(default_factory=dict)
    to_user: str | None = None
    id: str | None = None
    pieces: Sequence[int] = (8,)

    @property
    def text(self) -> str:
        """The arguments as the model writes them."""
        if isinstance(self.arguments, str):
            return self.arguments
        told = {} if self.to_user is None else {"to_user": self.to_user}
        return json.dumps({**told, **self.arguments}, ensure_ascii=False)

    def fragments(self) -> Iterator[str]:
        """The text of the arguments, cut."""
        text, start = self.text, 0
        lengths = itertools.chain(self.pieces, itertools.repeat(self.pieces[-1]))
        while start < len(text):
            length = max(1, next(lengths))
            yield text[start : start + length]
            start += length


def text(*pieces: str | Step, finish_reason: str = "stop") -> Answer:
    """An answer in words: each string a chunk, other steps in between as they stand."""
    steps: list[Step] = [Delta({"role": "assistant", "content": ""})]
    steps += [Delta({"content": piece}) if isinstance(piece, str) else piece for piece in pieces]
    return Answer([*steps, Delta({}, finish_reason)])


def tool_calls(*calls: Call, content: str | None = None, interleave: bool = False) -> Answer:
    """An answer that calls tools, several side by side if you like, the fragments of the calls mixed or not."""
    steps: list[Step] = [Delta({"role": "assistant", "content": content})]
    streams = [list(_call_deltas(index, call)) for index, call in enumerate(calls)]
    if interleave:
        mixed = itertools.chain.from_iterable(itertools.zip_longest(*streams))
        steps += [delta for delta in mixed if delta is not None]
    else:
        steps += itertools.chain.from_iterable(streams)
    return Answer([*steps, Delta({}, "tool_calls")])


def _call_deltas(index: int, call: Call) -> Iterator[Delta]:
    head = {"name": call.name, "arguments": ""}
    call_id = call.id if call.id is not None else f"call_{index}"
    yield Delta({"tool_calls": [{"index": index, "id": call_id, "type": "function", "function": head}]})
    for fragment in call.fragments():
        yield Delta({"tool_calls": [{"index": index, "function": {"arguments": fragment}}]})


def silent(*pieces: str, headers: bool = True) -> Answer:
    """An answer that stops talking after ``pieces``, or says nothing at all, not even its headers."""
    if not headers:
        return Answer(before_headers=Silence())
    return text(*pieces, Silence())


def cut(*pieces: str) -> Answer:
    """An answer whose connection drops after ``pieces``."""
    return text(*pieces, Cut())


def failing(status: int, message: str = "scripted failure", **headers: str) -> Answer:
    """An answer with an HTTP error: 401, 429, 500, ..."""
    return Answer(status=status, message=message, headers=headers)


def error_in_stream(*pieces: str, message: str = "scripted failure") -> Answer:
    """An answer that breaks off with an error event after ``pieces``."""
    return text(*pieces, StreamError(message))


Script: TypeAlias = "Answer | str | Callable[[Body], Answer | str]"


class Request:
    """One request as the server saw it.

    Attributes:
        path: the path.
        body: the decoded JSON.
        headers: with lower-case names, without ``Authorization``.
    """

    def __init__(self, path: str, body: Body, headers: dict[str, str]) -> None:
        self.path = path
        self.body = body
        self.headers = headers
        self._disconnected = threading.Event()
        self._answered = threading.Event()

    @property
    def disconnected(self) -> bool:
        """Whether the client left before the answer was complete."""
        return self._disconnected.is_set()

    def wait_disconnected(self, timeout: float = PATIENCE) -> bool:
        """Wait until the server has seen that the client left before the answer was complete."""
        return self._disconnected.wait(timeout)

    def wait_answered(self, timeout: float = PATIENCE) -> bool:
        """Wait until the server is through with this request, in whatever way."""
        return self._answered.wait(timeout)


class ScriptedLLM:
    """The server. A context manager; it serves from its construction until ``close``.

    Any thread may use it, and any number of clients at once: answers are dealt out in the order in which requests
    arrive.

    Args:
        script: answers in order, or one function of the request's body for all. An answer is an ``Answer``, a
            string (sent in words), or such a function. When they are used up, requests fail with status 400.
        ssl_context: serve over TLS with it.
    """

    def __init__(
        self,
        script: Iterable[Script] | Callable[[Body], Answer | str] = (),
        *,
        ssl_context: ssl.SSLContext | None = None,
    ) -> None:
        self._script: Iterator[Script] = itertools.repeat(script) if callable(script) else iter(script)
        self._lock = threading.Condition()
        self._requests: list[Request] = []
        self._clients: list[openai.OpenAI] = []
        self._closed = False
        self._http = _HTTPServer(self, ssl_context)
        scheme = "http" if ssl_context is None else "https"
        self.base_url = f"{scheme}://127.0.0.1:{self._http.server_port}/v1"
        self._thread = threading.Thread(target=self._http.serve_forever, args=(0.01,), name="scripted-llm")
        self._thread.start()

    @property
    def requests(self) -> list[Request]:
        """The requests so far."""
        with self._lock:
            return list(self._requests)

    def wait_request(self, count: int = 1, timeout: float = PATIENCE) -> Request:
        """Wait for the ``count``-th request (1 is the first) and return it; TimeoutError if it does not come."""
        with self._lock:
            if not self._lock.wait_for(lambda: len(self._requests) >= count, timeout):
                raise TimeoutError(f"{len(self._requests)} requests came within {timeout} s, not {count}")
            return self._requests[count - 1]

    def client(self, **options: Any) -> openai.OpenAI:
        """A real client of this server, without retries unless you ask for them. Closed with the server."""
        import openai

        client = openai.OpenAI(**{"base_url": self.base_url, "api_key": "scripted", "max_retries": 0, **options})
        self._clients.append(client)
        return client

    def async_client(self, **options: Any) -> openai.AsyncOpenAI:
        """A real asynchronous client of this server; close it on its loop."""
        import openai

        return openai.AsyncOpenAI(**{"base_url": self.base_url, "api_key": "scripted", "max_retries": 0, **options})

    def close(self) -> None:
        """Drop every connection and end every thread. Idempotent."""
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

    def deal(self, request: Request) -> Answer:
        """Server thread. Record a request and choose its answer."""
        with self._lock:
            self._requests.append(request)
            answer = next(self._script, None)
            self._lock.notify_all()
        if callable(answer):
            answer = answer(request.body)
        if answer is None:
            return failing(400, f"the script has no answer for request {len(self._requests)}")
        return text(*_words(answer)) if isinstance(answer, str) else answer


def _words(sentence: str) -> list[str]:
    words = sentence.split(" ")
    return [word if index == 0 else " " + word for index, word in enumerate(words)]


class _HTTPServer(ThreadingHTTPServer):
    daemon_threads = False  # so that server_close joins them
    block_on_close = True
    request_queue_size = 1024

    def __init__(self, llm: ScriptedLLM, ssl_context: ssl.SSLContext | None) -> None:
        self.llm = llm
        self._ssl_context = ssl_context
        self._connections: set[socket.socket] = set()
        self._guard = threading.Lock()
        self._dropped = False
        super().__init__(("127.0.0.1", 0), _Handler)

    def finish_request(self, request: Any, client_address: Any) -> None:
        connection: socket.socket = request
        if self._ssl_context is not None:
            connection.settimeout(PATIENCE)
            connection = self._ssl_context.wrap_socket(connection, server_side=True)
            connection.settimeout(None)
        try:
            with self._guard:
                if self._dropped:
                    return
                self._connections.add(connection)
            super().finish_request(connection, client_address)
        finally:
            with self._guard:
                self._connections.discard(connection)
            connection.close()

    def handle_error(self, request: Any, client_address: Any) -> None:
        """A client that leaves is no error; everything else is a mistake in the script and is shown."""
        if not isinstance(sys.exception(), OSError):
            super().handle_error(request, client_address)

    def drop_connections(self) -> None:
        with self._guard:
            self._dropped = True
            for connection in self._connections:
                with contextlib.suppress(OSError):  # its client has left already
                    socket.socket.shutdown(connection, socket.SHUT_RDWR)


class _LeftError(Exception):
    """The client has left, or the script wants it to look so."""


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    server: _HTTPServer

    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002 - the base class names it so
        """Nothing: the requests are recorded."""

    def do_GET(self) -> None:
        if self.path.rstrip("/").endswith("/models"):
            self._send_json(200, {"object": "list", "data": [{"id": "scripted", "object": "model"}]})
        else:
            self._send_json(404, _error("only /chat/completions and /models are scripted"))

    def do_POST(self) -> None:
        body = json.loads(self.rfile.read(int(self.headers.get("Content-Length", 0))))
        if not self.path.endswith("/chat/completions"):
            self._send_json(404, _error("only /chat/completions and /models are scripted"))
            return
        headers = {name.lower(): value for name, value in self.headers.items() if name.lower() != "authorization"}
        request = Request(self.path, body, headers)
        try:
            self._answer(self.server.llm.deal(request), body)
        except _LeftError as left:
            self.close_connection = True
            if not left.args:
                request._disconnected.set()
        except OSError:
            self.close_connection = True
            request._disconnected.set()
        finally:
            request._answered.set()

    def _answer(self, answer: Answer, body: Body) -> None:
        if isinstance(answer.before_headers, Gate):
            self._hold(answer.before_headers)
        elif answer.before_headers is not None:
            self._keep_silent()
        if answer.status != 200:
            self._send_json(answer.status, _error(answer.message), answer.headers)
        elif body.get("stream"):
            self._stream(answer, body)
        else:
            self._send_whole(answer, body)

    def _stream(self, answer: Answer, body: Body) -> None:
        self.send_response(200)
        self.send_header("Content-Type", "text/event-stream")
        self.send_header("Transfer-Encoding", "chunked")
        for name, value in answer.headers.items():
            self.send_header(name, value)
        self.end_headers()
        envelope = _envelope(body, "chat.completion.chunk")
        for step in answer.steps:
            if isinstance(step, Gate):
                self._hold(step)
            elif isinstance(step, Silence):
                self._keep_silent()
            elif isinstance(step, Cut):
                self._cut()
            elif isinstance(step, Raw):
                self._send_chunk(step.data)
            elif isinstance(step, StreamError):
                self._send_event(_error(step.message))
                break
            else:
                choice = {"index": 0, "delta": step.delta, "finish_reason": step.finish_reason}
                self._send_event({**envelope, "choices": [choice]})
        else:
            if (body.get("stream_options") or {}).get("include_usage"):
                self._send_event({**envelope, "choices": [], "usage": _usage(answer)})
            if answer.done:
                self._send_chunk(b"data: [DONE]\n\n")
        self.wfile.write(b"0\r\n\r\n")

    def _send_whole(self, answer: Answer, body: Body) -> None:
        content: list[str] = []
        calls: dict[int, dict[str, Any]] = {}
        finish_reason = "stop"
        for step in answer.steps:
            if isinstance(step, Gate):
                self._hold(step)
            elif isinstance(step, Silence):
                self._keep_silent()
            elif isinstance(step, Cut):
                self._cut()
            elif isinstance(step, StreamError):
                self._send_json(500, _error(step.message))
                return
            elif isinstance(step, Delta):
                finish_reason = step.finish_reason or finish_reason
                delta = step.delta or {}
                content.append(delta.get("content") or "")
                for part in delta.get("tool_calls") or ():
                    empty = {"id": "", "type": "function", "function": {"name": "", "arguments": ""}}
                    call = calls.setdefault(part["index"], empty)
                    call["id"] = part.get("id") or call["id"]
                    function = part.get("function") or {}
                    call["function"]["name"] += function.get("name") or ""
                    call["function"]["arguments"] += function.get("arguments") or ""
        message: dict[str, Any] = {"role": "assistant", "content": "".join(content) or None}
        if calls:
            message["tool_calls"] = [calls[index] for index in sorted(calls)]
        choice = {"index": 0, "message": message, "finish_reason": finish_reason}
        whole = {**_envelope(body, "chat.completion"), "choices": [choice], "usage": _usage(answer)}
        self._send_json(200, whole, answer.headers)

    def _send_json(self, status: int, body: Body, headers: dict[str, str] | None = None) -> None:
        data = json.dumps(body).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(data)))
        for name, value in (headers or {}).items():
            self.send_header(name.replace("_", "-"), value)
        self.end_headers()
        self.wfile.write(data)

    def _send_event(self, body: Body) -> None:
        self._send_chunk(b"data: " + json.dumps(body, ensure_ascii=False).encode() + b"\n\n")

    def _send_chunk(self, data: bytes) -> None:
        self.wfile.write(b"%x\r\n%b\r\n" % (len(data), data))

    def _hold(self, gate: Gate) -> None:
        self.wfile.flush()
        if not gate.hold(self.connection):
            raise _LeftError

    def _keep_silent(self) -> None:
        self.wfile.flush()
        while not _has_left(self.connection):
            pass
        raise _LeftError

    def _cut(self) -> None:
        self.wfile.flush()
        socket.socket.shutdown(self.connection, socket.SHUT_RDWR)
        raise _LeftError("by the script")


def _envelope(body: Body, kind: str) -> Body:
    return {
        "id": "chatcmpl-scripted",
        "object": kind,
        "created": int(time.time()),
        "model": body.get("model") or "scripted",
    }


def _error(message: str) -> Body:
    return {"error": {"message": message, "type": "scripted_error", "code": None, "param": None}}


def _usage(answer: Answer) -> Body:
    completion = sum(isinstance(step, Delta) for step in answer.steps)
    return {"prompt_tokens": 1, "completion_tokens": completion, "total_tokens": completion + 1}
