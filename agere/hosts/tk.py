"""The host for Tk windows: deliveries and questions within ``root.mainloop()``.

The host polls, with ``after``: calling Tk from other threads blocks them, raises before and after the mainloop, and
deadlocks when the window waits for the caller. The poll is also what lets Ctrl-C reach an idle mainloop. Its Tcl
command is made by hand, because tkinter's own wrapper prints a KeyboardInterrupt and goes on.
"""

from __future__ import annotations

import itertools
import threading
import weakref
from collections.abc import Callable
from types import TracebackType
from typing import Any

from agere.commander import Question
from agere.errors import HostError

from .window import WindowHost, dismissed, is_long

try:
    import tkinter
    from tkinter import ttk
except ImportError as missing:
    raise ImportError(
        "TkHost needs tkinter, which this Python lacks: install your system's package of it (Debian and Ubuntu: "
        "python3-tk, Fedora: python3-tkinter, Homebrew: python-tk)"
    ) from missing

POLL_MS = 15
"""Milliseconds between two looks at the queue: less than a frame on most screens."""

BREATH_MS = 1
"""Milliseconds between two turns when there is more to do: with none, Tk would never come to redraw."""

EVENTS_MS = 10
"""Milliseconds for which events are handled at a time, while the window's thread waits and a question is shown."""

_numbers = itertools.count(1)


class TkHost(WindowHost):
    """The person in front of a Tk window: ``Commander(host=TkHost(root))``.

    ``node.deliver(fn)`` runs ``fn`` in the mainloop, ``node.ask(prompt)`` opens a small dialog, and Ctrl-C in the
    terminal raises KeyboardInterrupt out of ``root.mainloop()``. Several commanders may share one host or one window.

    Make it on the window's thread, before or during the mainloop. When the window has been destroyed, deliveries and
    questions fail with HostGoneError.

    Args:
        window: the root, or another widget, with which the host lives and over which questions appear.

    Raises:
        TypeError: ``window`` is no Tk widget.
        HostError: called on another thread than the window's.
        HostGoneError: the window has been destroyed.
    """

    def __init__(self, window: tkinter.Misc) -> None:
        if not isinstance(window, tkinter.Misc):
            raise TypeError(f"TkHost takes a tkinter window, such as tkinter.Tk(), not {window!r}")
        super().__init__("the window")
        self._command = f"agere_turn_{next(_numbers)}"
        self._check_thread(window)
        try:
            if not window.winfo_exists():
                raise self._gone_error()
            root: tkinter.Misc = window.nametowidget(".")
        except tkinter.TclError:
            raise self._gone_error() from None
        self._window = window
        self._tcl = window.tk
        self._tcl.createcommand(self._command, self._take_turn)
        self._poll = f"{self._command}_poll"
        # In Tcl, and before the turn: Ctrl-C may come at the turn's first step, and a delivery may open a dialog with
        # an event loop of its own. The poll goes on in either case.
        self._tcl.eval(f"proc {self._poll} {{}} {{ after {POLL_MS} {self._poll}; {self._command} }}")
        self._binding = window.bind("<Destroy>", self._on_destroy, add="+")
        self._hook = _InterruptHook.of(root)
        self._hook.hosts.append(self)
        self._tcl.call("after", BREATH_MS, self._poll)

    def _check_thread(self, window: tkinter.Misc) -> None:
        """A Tk that was built with threads hands calls from other threads over to its own: look where one arrives."""
        where: list[int] = []
        try:
            window.tk.createcommand(self._command, lambda: where.append(threading.get_ident()))
            window.tk.call(self._command)
        except tkinter.TclError:
            raise self._gone_error() from None
        except RuntimeError:  # no mainloop runs that could take it over
            where = []
        if where != [self._thread]:
            raise HostError("TkHost must be made on the thread that made the window and runs its mainloop")

    # -- the poll

    def _take_turn(self) -> None:
        """Called by Tcl. What it raises comes out of ``mainloop()``."""
        try:
            more = self.turn()
        except (SystemExit, KeyboardInterrupt) as error:
            if not self.pumped:
                raise
            self._interrupt = error  # within a wait on this thread: Tk would keep it for the mainloop
            return
        if more and not self._gone:
            self._tcl.call("after", "cancel", self._command)
            self._tcl.call("after", BREATH_MS, self._command)
        if not self.pumped:
            self._raise_interrupt()

    def interrupt(self, error: KeyboardInterrupt) -> None:
        """Window's thread. Have the mainloop, or the wait on this thread, raise ``error`` soon."""
        self._interrupt = error

    def _wake(self) -> None:
        """Any thread. The poll sees it."""

    # -- its end

    def _on_destroy(self, event: tkinter.Event[tkinter.Misc]) -> None:
        if event.widget is not self._window or self._gone:
            return
        self.go()
        for script in (self._poll, self._command):
            self._tcl.call("after", "cancel", script)
            self._tcl.deletecommand(script)
        self._hook.hosts.remove(self)
        # Tk must not be freed on another thread, and commanders' threads may hold on to this host for a while.
        del self._window, self._tcl, self._hook

    # -- for the base

    def _open(self, question: Question) -> TkDialog:
        return TkDialog(self._window, question)

    def _redraw(self) -> None:
        self._window.update_idletasks()

    def _process_events(self) -> None:
        """A short mainloop of its own: ``update()`` would keep an interrupt that comes at a callback's first step."""
        if self._gone:
            return
        window, tcl = self._window, self._tcl
        ended_here = False

        def end() -> None:
            nonlocal ended_here
            ended_here = True
            tcl.quit()

        timer = window.after(EVENTS_MS, end)
        tcl.mainloop(0)
        if not ended_here and not self._gone:  # somebody wants to leave the program's own mainloop
            window.after_cancel(timer)
            window.after(0, tcl.quit)


class _InterruptHook:
    """A root's hook for what callbacks raise: Ctrl-C in a button's callback ends the mainloop, as it does elsewhere.

    It stays for the root's life, and must not hold the root: a cycle could be freed on another thread.
    """

    def __init__(self, root: tkinter.Misc) -> None:
        self.hosts: list[TkHost] = []
        self._root = weakref.ref(root)
        self._before: Callable[..., object] | None = vars(root).get("report_callback_exception")

    @classmethod
    def of(cls, root: tkinter.Misc) -> _InterruptHook:
        hook = vars(root).get("report_callback_exception")
        if not isinstance(hook, cls):
            hook = cls(root)
            root.report_callback_exception = hook  # type: ignore[attr-defined]
        return hook

    def __call__(self, kind: type[BaseException], error: BaseException, traceback: TracebackType | None) -> object:
        if isinstance(error, KeyboardInterrupt) and self.hosts:
            self.hosts[0].interrupt(error)
            return None
        if self._before is not None:
            return self._before(kind, error, traceback)
        root: Any = self._root()
        return None if root is None else type(root).report_callback_exception(root, kind, error, traceback)


class TkDialog:
    """A question in a small window of its own. It does not hold up the mainloop.

    Args:
        window: over which it appears.
        question: what to ask.
    """

    def __init__(self, window: tkinter.Misc, question: Question) -> None:
        self.question = question
        self._modal = False
        over = window.winfo_toplevel()
        self._top = top = tkinter.Toplevel(over)
        top.withdraw()
        top.title("Question")
        top.resizable(False, False)
        if over.winfo_viewable():  # what is transient to a hidden window stays hidden with it
            top.transient(over)
        frame = ttk.Frame(top, padding=16)
        frame.pack(fill="both", expand=True)
        if is_long(question.prompt):
            _scrolled(frame, question.prompt).pack(fill="both", expand=True)
        else:
            ttk.Label(frame, text=question.prompt, wraplength=380, justify="left").pack(anchor="w")
        self._entry = entry = ttk.Entry(frame, width=44)
        entry.pack(fill="x", pady=12)
        buttons = ttk.Frame(frame)
        buttons.pack(anchor="e")
        ttk.Button(buttons, text="Cancel", command=self._dismiss).pack(side="left", padx=(0, 8))
        ttk.Button(buttons, text="OK", command=self._answer).pack(side="left")
        top.bind("<Return>", self._answer)
        top.bind("<Escape>", self._dismiss)
        top.protocol("WM_DELETE_WINDOW", self._dismiss)
        top.update_idletasks()
        x = over.winfo_rootx() + max(0, (over.winfo_width() - top.winfo_reqwidth()) // 2)
        y = over.winfo_rooty() + max(0, (over.winfo_height() - top.winfo_reqheight()) // 3)
        top.geometry(f"+{x}+{y}")
        top.deiconify()
        top.lift()
        entry.focus_set()

    def _answer(self, _: Any = None) -> None:
        self.question.answer(self._entry.get())
        self.close()

    def _dismiss(self, _: Any = None) -> None:
        self.question.fail(dismissed())
        self.close()

    def alive(self) -> bool:
        """Window's thread. Whether it stands."""
        try:
            return bool(self._top.winfo_exists())
        except tkinter.TclError:  # the whole of Tk is gone
            return False

    def set_modal(self, modal: bool) -> None:
        """Window's thread. Keep the input to itself, or give it back."""
        if modal == self._modal or not self.alive():
            return
        self._modal = modal
        if not modal:
            self._top.grab_release()
            return
        self._top.update_idletasks()
        if self._top.winfo_viewable():
            self._top.grab_set()
        else:
            self._modal = False  # not on the screen yet: only then can it take the input

    def close(self) -> None:
        """Window's thread. Again is harmless."""
        if self.alive():
            self._top.destroy()


def _scrolled(parent: tkinter.Misc, text: str) -> ttk.Frame:
    frame = ttk.Frame(parent)
    shown = tkinter.Text(frame, width=60, height=14, wrap="word", relief="flat")
    shown.insert("1.0", text)
    shown.configure(state="disabled")
    bar = ttk.Scrollbar(frame, command=shown.yview)
    shown.configure(yscrollcommand=bar.set)
    bar.pack(side="right", fill="y")
    shown.pack(side="left", fill="both", expand=True)
    return frame
