"""The host for Qt windows (PySide6): deliveries and questions within ``app.exec()``.

A queued signal wakes Qt's loop for deliveries. Ctrl-C needs more: Qt's loop is C++, Python looks for signals only when
it runs, and PySide6 prints what a slot raises, and goes on. So a timer lets Python look, a handler of SIGINT (in place
of Python's own, while ``exec()`` runs) ends the loop, and the interrupt is raised anew where ``exec()`` was called.
"""

from __future__ import annotations

import _thread
import functools
import signal
import threading
import weakref
from types import FrameType

from agere.commander import Question
from agere.commander.waiting import Waker, wake_all
from agere.errors import HostError

from .window import WindowHost, dismissed, is_long, window_closed

try:
    from PySide6.QtCore import QEvent, QObject, Qt, QThread, QTimer, Signal
    from PySide6.QtWidgets import (
        QApplication,
        QDialog,
        QDialogButtonBox,
        QLabel,
        QLineEdit,
        QPlainTextEdit,
        QVBoxLayout,
        QWidget,
    )
    from shiboken6 import isValid
except ModuleNotFoundError as missing:
    raise ImportError(f"QtHost needs PySide6: pip install 'agere[qt]' ({missing})") from missing
except ImportError as broken:
    raise ImportError(
        f"PySide6 cannot be loaded ({broken}); on Debian and Ubuntu it needs the packages libegl1 libgl1 "
        "libxkbcommon0 libfontconfig1 libglib2.0-0 libdbus-1-3"
    ) from broken

TICK_MS = 50
"""Milliseconds between two moments in which Python can see a signal."""

_BY_TIMER = object()
"""What stands for a host's next turn that the timer takes."""

INTERRUPTED = 130
"""What ``exec()`` returns after Ctrl-C, should it come to return: the exit code of interrupted programs."""


class QtHost(WindowHost):
    """The person in front of a Qt application: ``Commander(host=QtHost())``.

    ``node.deliver(fn)`` runs ``fn`` in the application's event loop, ``node.ask(prompt)`` opens a small dialog, and
    Ctrl-C in the terminal raises KeyboardInterrupt out of ``app.exec()``. Several commanders may share one host.

    Make it on the application's thread, after the QApplication, before or during ``exec()``. When the QApplication is
    gone, deliveries and questions fail with HostGoneError.

    Args:
        window: over which questions appear; the active window by default.

    Raises:
        HostError: there is no QApplication yet, or this is not its thread.
        TypeError: ``window`` is no QWidget.
    """

    def __init__(self, window: QWidget | None = None) -> None:
        super().__init__("the QApplication")
        app = QApplication.instance()
        if not isinstance(app, QApplication):
            found = "there is none" if app is None else f"there is a {type(app).__name__}"
            raise HostError(f"QtHost needs a QApplication, and {found}; make one first: app = QApplication(sys.argv)")
        if QThread.currentThread() != app.thread():
            raise HostError("QtHost must be made on the thread of the QApplication, which runs exec()")
        if window is not None and not isinstance(window, QWidget):
            raise TypeError(f"QtHost takes a QWidget over which questions appear, not {window!r}")
        # Weakly: commanders' threads may be the last to let go of the host, and must not be so of a window.
        self._window = None if window is None else weakref.ref(window)
        self._due: object = None  # what stands for the next turn; only that turn is taken, or turns would multiply
        self._pulse = Pulse.of(app)
        self._pulse.hosts.add(self)

    def is_due(self, turn: object) -> bool:
        """Window's thread. Whether that wake-up still stands for the next turn."""
        return turn is self._due

    def take_turn(self) -> bool:
        """Window's thread, from Qt's loop. One turn; whether there is more to do, which the timer sees to."""
        self._due = None
        more = self.turn()
        if more:
            self._due = _BY_TIMER
        elif self._due is _BY_TIMER:  # of a turn within this one, in the event loop of a dialog
            self._due = None
        return more

    def interrupt(self, error: BaseException) -> bool:
        """Window's thread. Have the wait in which this host is pumped raise ``error``. False if there is none."""
        if not self._wakers:
            return False
        self._interrupt = error
        wake_all(self._wakers)
        return True

    def enter(self, waker: Waker) -> None:
        """Window's thread."""
        super().enter(waker)
        take_over_sigint()  # a slot must not swallow Ctrl-C, be it the one that waits, or one that runs meanwhile

    def leave(self, waker: Waker) -> None:
        """Window's thread."""
        super().leave(waker)
        if not self._wakers and QThread.currentThread().loopLevel() == 0:
            give_back_sigint()

    # -- for the base

    def _wake(self) -> None:
        """Any thread."""
        if self._due is not None:
            return
        turn = self._due = object()
        try:
            self._pulse.woken.emit(self, turn)
        except RuntimeError:  # it was deleted along with the application
            self._gone = True
            self._refuse_all()

    def _open(self, question: Question) -> QtDialog:
        over = None if self._window is None else self._window()
        if over is None or not isValid(over) or not over.isVisible():
            visible = [widget for widget in QApplication.topLevelWidgets() if widget.isVisible()]
            over = QApplication.activeWindow() or (visible[0] if visible else None)
        return QtDialog(over, question)

    def _redraw(self) -> None:
        QApplication.sendPostedEvents(None, QEvent.Type.UpdateRequest.value)

    def _process_events(self) -> None:
        if not self._gone:
            QApplication.processEvents()


class Pulse(QObject):
    """What Qt's loop knows of the hosts of one application. Belongs to the application, and goes with it.

    Args:
        app: the application.
    """

    woken = Signal(object, object)

    def __init__(self, app: QApplication) -> None:
        super().__init__(app)
        self.hosts: weakref.WeakSet[QtHost] = weakref.WeakSet()
        self.leaving = False  # Ctrl-C has come, and ``exec()`` is about to return
        self._busy: set[QtHost] = set()
        self.woken.connect(self.on_woken, Qt.ConnectionType.QueuedConnection)
        # A timer's turn comes after the window's own events; another queued signal would overtake them.
        self._soon = QTimer(self, singleShot=True, interval=0)
        self._soon.timeout.connect(self.on_soon)
        self._tick = QTimer(self, interval=TICK_MS)
        self._tick.timeout.connect(self.on_tick)
        self._tick.start()
        QTimer.singleShot(0, self.on_tick)  # as soon as a loop runs
        app.aboutToQuit.connect(self.on_about_to_quit)
        app.destroyed.connect(functools.partial(_go_all, self.hosts))

    @classmethod
    def of(cls, app: QApplication) -> Pulse:
        """Application's thread. The one of this application."""
        found = app.findChild(cls)
        return cls(app) if found is None else found

    # -- slots: an interrupt that comes at their very beginning cannot be caught in them (see ``_on_sigint``)

    def on_woken(self, host: QtHost, turn: object) -> None:
        """There is something to do for ``host``."""
        if host.is_due(turn):
            self._take_turn(host)

    def on_soon(self) -> None:
        """There is more to do."""
        busy, self._busy = self._busy, set()
        for host in busy:
            self._take_turn(host)

    def on_tick(self) -> None:
        """Now and then. Python gets to see signals here, as it runs."""
        self.leaving = False
        if QThread.currentThread().loopLevel() > 0:
            take_over_sigint()
        for host in list(
            self.hosts
        ):  # a question's window may have been closed; a wake-up may have been lost to an interrupt
            self._take_turn(host)

    def on_about_to_quit(self) -> None:
        """``exec()`` is about to return."""
        give_back_sigint()
        QTimer.singleShot(0, self.on_tick)  # should ``exec()`` be called again
        if self.leaving:  # by Ctrl-C, which terminates those who ask
            return
        for host in list(self.hosts):
            host.fail_questions("the application quits")

    def _take_turn(self, host: QtHost) -> None:
        # Before the turn: a delivery may open a dialog with an event loop of its own, which goes on with the rest.
        self._busy.add(host)
        self._soon.start()
        try:
            more = host.take_turn()
        except KeyboardInterrupt as error:
            self.interrupted(error)
            return
        if not more:
            self._busy.discard(host)

    # -- Ctrl-C

    def interrupted(self, error: BaseException) -> None:
        """Application's thread. End ``exec()``, and a wait of Agere's within it."""
        waiting = [host for host in list(self.hosts) if host.interrupt(error)]
        if QThread.currentThread().loopLevel() > 0:
            self.leave_exec()
        elif not waiting:  # ``exec()`` has been left meanwhile
            raise error

    def leave_exec(self) -> None:
        """Application's thread. Have ``exec()`` end, and SIGINT be raised anew once it has returned."""
        self.leaving = True
        QApplication.exit(INTERRUPTED)
        # Qt deletes this one when the loop has been left; no Python code runs between that and exec()'s caller.
        last = QObject(self.parent())
        last.destroyed.connect(_thread.interrupt_main)
        last.deleteLater()


_SLOTS = frozenset(getattr(Pulse, name).__code__ for name in ("on_woken", "on_soon", "on_tick", "on_about_to_quit"))


def _on_sigint(number: int, frame: FrameType | None) -> None:
    """The handler of SIGINT while Qt's loop runs, where Python's own would have been."""
    app = QApplication.instance()
    pulse = None if app is None else app.findChild(Pulse)
    if pulse is None or (pulse.leaving and (frame is None or frame.f_code not in _SLOTS)):
        signal.default_int_handler(number, frame)  # the second time, what runs does not get to finish its step
    else:
        pulse.interrupted(KeyboardInterrupt())


def take_over_sigint() -> None:
    """Any thread. Handle Ctrl-C, unless the program does so itself."""
    if threading.current_thread() is threading.main_thread() and (
        signal.getsignal(signal.SIGINT) is signal.default_int_handler
    ):
        signal.signal(signal.SIGINT, _on_sigint)


def give_back_sigint() -> None:
    """Any thread. Python's own handler, if ours was there."""
    if threading.current_thread() is threading.main_thread() and signal.getsignal(signal.SIGINT) is _on_sigint:
        signal.signal(signal.SIGINT, signal.default_int_handler)


def _go_all(hosts: weakref.WeakSet[QtHost]) -> None:
    for host in list(hosts):
        host.go()


class QtDialog:
    """A question in a small window of its own. It does not hold up Qt's loop.

    Args:
        over: the window over which it appears.
        question: what to ask.
    """

    def __init__(self, over: QWidget | None, question: Question) -> None:
        self.question = question
        self._over = over
        self._dialog = dialog = QDialog(over)
        dialog.setWindowTitle("Question")
        if is_long(question.prompt):
            text: QWidget = QPlainTextEdit(question.prompt, readOnly=True)
            text.setMinimumSize(480, 240)
        else:
            text = label = QLabel(question.prompt)
            label.setTextFormat(Qt.TextFormat.PlainText)
            label.setWordWrap(True)
            label.setMinimumWidth(320)
        self._entry = QLineEdit()
        buttons = QDialogButtonBox(QDialogButtonBox.StandardButton.Ok | QDialogButtonBox.StandardButton.Cancel)
        buttons.accepted.connect(dialog.accept)
        buttons.rejected.connect(dialog.reject)
        layout = QVBoxLayout(dialog)
        for part in (text, self._entry, buttons):
            layout.addWidget(part)
        dialog.accepted.connect(self._accepted)
        dialog.rejected.connect(self._rejected)
        dialog.show()
        self._entry.setFocus()

    def _accepted(self) -> None:
        self.question.answer(self._entry.text())

    def _rejected(self) -> None:
        self.question.fail(dismissed() if self._has_its_window() else window_closed())

    def alive(self) -> bool:
        """Application's thread. Whether it is on the screen: it goes with the window that it stands over."""
        return isValid(self._dialog) and self._dialog.isVisible() and self._has_its_window()

    def _has_its_window(self) -> bool:
        return self._over is None or (isValid(self._over) and self._over.isVisible())

    def set_modal(self, modal: bool) -> None:
        """Application's thread. Keep the input to itself, or give it back."""
        if not self.alive() or modal == self._dialog.isModal():
            return
        self._dialog.hide()  # Qt looks at this when a window is shown
        self._dialog.setWindowModality(Qt.WindowModality.ApplicationModal if modal else Qt.WindowModality.NonModal)
        self._dialog.show()

    def close(self) -> None:
        """Application's thread. Again is harmless."""
        if isValid(self._dialog):
            self._dialog.hide()
            self._dialog.deleteLater()
