"""A screen of one's own, for tests that open real windows: Xvfb, typed and clicked with xdotool."""

from __future__ import annotations

import ctypes
import os
import shutil
import struct
import subprocess
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest

NEEDED = {"Xvfb": "xvfb", "xdotool": "xdotool"}
"""Commands, and the Debian packages that have them."""

WIDTH, HEIGHT = 800, 600


@dataclass(frozen=True)
class Screen:
    """A running X server.

    Attributes:
        display: its name, for ``DISPLAY``.
    """

    display: str

    @property
    def env(self) -> dict[str, str]:
        """What a program needs in its environment to show its windows here."""
        return {"DISPLAY": self.display, "XAUTHORITY": ""}

    def xdotool(self, *arguments: str) -> str:
        """Run one xdotool command; what it prints."""
        return self._run("xdotool", *arguments)

    def click(self, x: int, y: int) -> None:
        """Move the pointer there, and press its button."""
        self.xdotool("mousemove", str(x), str(y), "click", "1")

    def type(self, text: str) -> None:
        """On the keyboard."""
        self.xdotool("type", "--delay", "1", text)

    def press(self, key: str) -> None:
        """One key, by the name that X has for it: "Return"."""
        self.xdotool("key", key)

    def centre_of(self, title: str) -> tuple[int, int]:
        """Wait until a window with this title is to be seen; where its middle is."""
        window = self.xdotool("search", "--sync", "--onlyvisible", "--name", f"^{title}$").split()[0]
        lines = self.xdotool("getwindowgeometry", "--shell", window).splitlines()
        at = {name: int(number) for name, number in (line.split("=") for line in lines)}
        return at["X"] + at["WIDTH"] // 2, at["Y"] + at["HEIGHT"] // 2

    def close_window(self, title: str) -> None:
        """Ask the window to close, as a window manager's button does. (There is no window manager here.)"""
        for window in self.xdotool("search", "--name", f"^{title}$").split():
            _send_delete(self.display, int(window))

    def screenshot(self, path: Path) -> int:
        """Save the whole screen as PNG. Gives the number of different colours: 1 if nothing is to be seen."""
        pixels = _pixels(self.display)
        path.write_bytes(_png(pixels))
        return len({pixels[place : place + 3] for place in range(0, len(pixels), 3)})

    def _run(self, *command: str) -> str:
        env = {**os.environ, **self.env}
        done = subprocess.run(command, env=env, capture_output=True, text=True, timeout=20)
        assert done.returncode == 0, f"{command}: {done.stderr}"
        return done.stdout.strip()


class _ClientMessage(ctypes.Structure):
    _fields_ = [
        ("type", ctypes.c_int),
        ("serial", ctypes.c_ulong),
        ("send_event", ctypes.c_int),
        ("display", ctypes.c_void_p),
        ("window", ctypes.c_ulong),
        ("message_type", ctypes.c_ulong),
        ("format", ctypes.c_int),
        ("data", ctypes.c_long * 5),
        ("room", ctypes.c_long * 12),  # of the union of all events
    ]


@contextmanager
def _connection(display: str) -> Iterator[tuple[ctypes.CDLL, ctypes.c_void_p]]:
    x11 = ctypes.CDLL("libX11.so.6")
    x11.XOpenDisplay.restype = x11.XGetImage.restype = ctypes.c_void_p
    x11.XInternAtom.restype = x11.XDefaultRootWindow.restype = x11.XGetPixel.restype = ctypes.c_ulong
    connection = ctypes.c_void_p(x11.XOpenDisplay(display.encode()))
    assert connection, f"no X server at {display}"
    try:
        yield x11, connection
    finally:
        x11.XCloseDisplay(connection)


def _pixels(display: str) -> bytes:
    """Red, green and blue of all pixels, row by row."""
    with _connection(display) as (x11, connection):
        root = ctypes.c_ulong(x11.XDefaultRootWindow(connection))
        whole, as_pixels = ctypes.c_ulong(0xFFFFFF), 2
        image = ctypes.c_void_p(x11.XGetImage(connection, root, 0, 0, WIDTH, HEIGHT, whole, as_pixels))
        # The beginning of an XImage: width, height, xoffset, format (ints), and then where the pixels are.
        where = ctypes.cast(image.value + 16, ctypes.POINTER(ctypes.c_void_p))[0]  # type: ignore[operator]
        raw = ctypes.string_at(where, WIDTH * HEIGHT * 4)  # blue, green, red and nothing
        x11.XDestroyImage(image)
    pixels = bytearray(WIDTH * HEIGHT * 3)
    pixels[0::3], pixels[1::3], pixels[2::3] = raw[2::4], raw[1::4], raw[0::4]
    return bytes(pixels)


def _png(pixels: bytes) -> bytes:
    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    rows = b"".join(b"\0" + pixels[row * WIDTH * 3 : (row + 1) * WIDTH * 3] for row in range(HEIGHT))
    head = struct.pack(">IIBBBBB", WIDTH, HEIGHT, 8, 2, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", head) + chunk(b"IDAT", zlib.compress(rows)) + chunk(b"IEND", b"")


def _send_delete(display: str, window: int) -> None:
    """WM_DELETE_WINDOW, as window managers send it."""
    with _connection(display) as (x11, connection):
        protocols, delete = (x11.XInternAtom(connection, name, 0) for name in (b"WM_PROTOCOLS", b"WM_DELETE_WINDOW"))
        message = _ClientMessage(33, 0, 1, connection, window, protocols, 32, (delete, 0))
        x11.XSendEvent(connection, ctypes.c_ulong(window), 0, ctypes.c_long(0), ctypes.byref(message))


@contextmanager
def open_screen() -> Iterator[Screen]:
    """An X server of its own on a free display, until the block is left. Skips the test where there is none."""
    missing = sorted({package for command, package in NEEDED.items() if shutil.which(command) is None})
    if missing:
        pytest.skip(f"needs the Debian packages {' '.join(missing)}")
    reading, writing = os.pipe()
    with os.fdopen(reading) as told:
        command = ["Xvfb", "-displayfd", str(writing), "-screen", "0", f"{WIDTH}x{HEIGHT}x24", "-nolisten", "tcp"]
        server = subprocess.Popen(command, pass_fds=[writing], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        os.close(writing)
        try:
            number = told.readline().strip()
            assert number, "Xvfb has ended before it was ready"
            yield Screen(f":{number}")
        finally:
            server.terminate()
            server.wait(10)
