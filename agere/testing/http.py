"""The HTTP side of the scripted server: connections, requests, and answers step by step."""

from __future__ import annotations

import contextlib
import json
import socket
import ssl
import sys
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, Protocol

from agere.testing.formats import FORMATS, Body, WireFormat
from agere.testing.formats.common import gather
from agere.testing.gates import PATIENCE, Gate, has_left, wait_unless_left
from agere.testing.script import Request
from agere.testing.steps import Answer, Cut, Delay, Raw, Silence, Step, StreamError

_SERVED = "served are " + ", ".join(f"POST /v1{path}" for path in FORMATS) + " and GET /v1/models"
_KEYS = {"authorization", "x-api-key", "api-key"}  # never recorded


class Director(Protocol):
    """Who says what is answered."""

    def deal(self, request: Request) -> Answer:
        """Server thread. Record a request and choose its answer."""

    def complain(self, problem: str) -> None:
        """Server thread. Take note that script and requests do not fit."""


class ScriptServer(ThreadingHTTPServer):
    """Listens on loopback; a thread for each connection."""

    daemon_threads = False  # so that server_close joins them
    block_on_close = True
    request_queue_size = 1024

    def __init__(self, director: Director, ssl_context: ssl.SSLContext | None) -> None:
        self.director = director
        self._ssl_context = ssl_context
        self._connections: set[socket.socket] = set()
        self._guard = threading.Lock()
        self._dropped = False
        super().__init__(("127.0.0.1", 0), _Handler)

    def finish_request(self, request: Any, client_address: Any) -> None:
        """Connection thread. Serve one connection to its end."""
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
        """A client that leaves is no error; everything else is a defect here and is shown."""
        if not isinstance(sys.exception(), OSError):
            super().handle_error(request, client_address)

    def drop_connections(self) -> None:
        """Any thread. Hang up on everybody."""
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
    server: ScriptServer

    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002 - the base class names it so
        """Nothing: the requests are recorded."""

    def do_GET(self) -> None:
        if self.path.rstrip("/").endswith("/models"):
            model = {"id": "scripted", "object": "model", "created": 0, "owned_by": "agere"}
            self._send_json(200, {"object": "list", "data": [model]})
        else:
            self._refuse(404, FORMATS["/chat/completions"], f"GET {self.path}: {_SERVED}")

    def do_POST(self) -> None:
        length = int(self.headers.get("Content-Length", 0))
        data = self.rfile.read(length)
        if len(data) < length:  # the client has left before it had sent its request
            self.close_connection = True
            return
        path = self.path.partition("?")[0]
        found = [wire_format for suffix, wire_format in FORMATS.items() if path.endswith(suffix)]
        wire_format = found[0] if found else FORMATS["/chat/completions"]
        try:
            body = json.loads(data)
        except ValueError:
            body = None
        if not found:
            self._refuse(404, wire_format, f"POST {self.path}: {_SERVED}")
        elif not isinstance(body, dict):
            self._refuse(400, wire_format, f"POST {self.path}: the body must be a JSON object, not {data[:100]!r}")
        else:
            self._serve(wire_format, body)

    def _serve(self, wire_format: type[WireFormat], body: Body) -> None:
        headers = {name.lower(): value for name, value in self.headers.items() if name.lower() not in _KEYS}
        request = Request(self.path, body, headers)
        try:
            self._answer(self.server.director.deal(request), wire_format, body)
        except _LeftError as left:
            self.close_connection = True
            if not left.args:
                request.mark_disconnected()
        except OSError:
            self.close_connection = True
            request.mark_disconnected()
        except Exception as error:  # noqa: BLE001 - a Delta of a strange shape, say
            self.close_connection = True
            self.server.director.complain(f"The answer to POST {request.path} could not be played: {error!r}")
        finally:
            request.mark_answered()

    def _answer(self, answer: Answer, wire_format: type[WireFormat], body: Body) -> None:
        if answer.before_headers is not None:
            self._wait(answer.before_headers)
        if answer.status != 200:
            self._send_json(answer.status, wire_format.error(answer.status, answer.message), answer.headers)
        elif body.get("stream"):
            self._stream(answer, wire_format(body, answer))
        else:
            self._send_whole(answer, wire_format(body, answer))

    def _stream(self, answer: Answer, writer: WireFormat) -> None:
        self.send_response(200)
        self.send_header("Content-Type", "text/event-stream")
        self.send_header("Transfer-Encoding", "chunked")
        self._send_headers(answer.headers)
        self.end_headers()
        for step in answer.steps:
            if not self._wait(step):
                continue
            if isinstance(step, Raw):
                self._send_chunk(step.data)
            for event in writer.events(step):
                self._send_chunk(event)
            if isinstance(step, StreamError):
                break
        else:
            self._send_chunk(writer.ending())
        self.wfile.write(b"0\r\n\r\n")

    def _send_whole(self, answer: Answer, writer: WireFormat) -> None:
        for step in answer.steps:
            self._wait(step)
            if isinstance(step, StreamError):
                self._send_json(500, writer.error(500, step.message, step.code))
                return
        try:
            whole = writer.whole(*gather(answer.steps))
        except ValueError as error:
            self._refuse(400, type(writer), str(error))
            return
        self._send_json(200, whole, answer.headers)

    def _wait(self, step: Step) -> bool:
        """Take a step that says nothing; False if it was one."""
        match step:
            case Gate() | Delay() | Silence() | Cut():
                self.wfile.flush()
            case _:
                return True
        match step:
            case Gate():
                stays = step.hold(self.connection)
            case Delay():
                stays = wait_unless_left(self.connection, step.seconds)
            case Silence():
                while not has_left(self.connection):
                    pass
                stays = False
            case Cut():
                socket.socket.shutdown(self.connection, socket.SHUT_RDWR)
                raise _LeftError("by the script")
        if not stays:
            raise _LeftError
        return False

    def _refuse(self, status: int, wire_format: type[WireFormat], problem: str) -> None:
        self.server.director.complain(problem)
        self._send_json(status, wire_format.error(status, problem))

    def _send_json(self, status: int, body: Body, headers: dict[str, str] | None = None) -> None:
        data = json.dumps(body).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(data)))
        self._send_headers(headers or {})
        self.end_headers()
        self.wfile.write(data)

    def _send_headers(self, headers: dict[str, str]) -> None:
        for name, value in headers.items():
            self.send_header(name.replace("_", "-"), value)

    def _send_chunk(self, data: bytes) -> None:
        if data:  # an empty chunk would be the end
            self.wfile.write(b"%x\r\n%b\r\n" % (len(data), data))
