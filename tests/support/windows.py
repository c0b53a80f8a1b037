"""One face for a Tk and a Qt window, for the programs of tests that hold for both."""

from __future__ import annotations

import sys
from abc import ABC, abstractmethod
from collections.abc import Callable
from typing import Any

from agere.hosts.window import WindowHost


class Window(ABC):
    """A small window, and its host."""

    @abstractmethod
    def host(self) -> WindowHost:
        """A new host."""

    @abstractmethod
    def run(self) -> None:
        """The toolkit's event loop, until ``quit``."""

    @abstractmethod
    def quit(self) -> None:
        """End the event loop."""

    @abstractmethod
    def after(self, milliseconds: int, fn: Callable[[], object]) -> None:
        """Have the event loop call ``fn`` once."""

    @abstractmethod
    def every(self, milliseconds: int, fn: Callable[[], object]) -> None:
        """Have the event loop call ``fn`` again and again."""

    @abstractmethod
    def go(self) -> None:
        """The window (Tk) or the application (Qt) is gone."""

    @abstractmethod
    def prompts(self) -> list[str]:
        """The questions on the screen."""

    @abstractmethod
    def answer(self, text: str) -> None:
        """Type an answer in the dialog, and press OK."""

    @abstractmethod
    def dismiss(self) -> None:
        """Press Cancel in the dialog."""

    @abstractmethod
    def dialog_height(self) -> int:
        """In pixels; 0 if there is none."""

    @abstractmethod
    def nested(self, until: Callable[[], bool]) -> None:
        """Run events in a loop of one's own, as modal dialogs do."""

    @abstractmethod
    def show(self, text: str) -> None:
        """Write something on the window."""

    @abstractmethod
    def paints(self) -> list[object]:
        """A list that grows each time the window paints what it shows."""

    def when(self, true: Callable[[], object], then: Callable[[], object]) -> None:
        """Within the event loop: call ``then`` once something is true."""

        def look() -> None:
            if true():
                then()
            else:
                self.after(5, look)

        self.after(0, look)


class TkWindow(Window):
    def __init__(self) -> None:
        import tkinter

        self.root = tkinter.Tk()

    def host(self) -> WindowHost:
        from agere.hosts import TkHost

        return TkHost(self.root)

    def run(self) -> None:
        self.root.mainloop()

    def quit(self) -> None:
        self.root.quit()

    def after(self, milliseconds: int, fn: Callable[[], object]) -> None:
        self.root.after(milliseconds, fn)

    def every(self, milliseconds: int, fn: Callable[[], object]) -> None:
        def again() -> None:
            self.root.after(milliseconds, again)
            fn()

        again()

    def go(self) -> None:
        self.root.destroy()

    def _parts(self, kind: str) -> list[Any]:
        found, stack = [], [top for top in self.root.winfo_children() if top.winfo_class() == "Toplevel"]
        while stack:
            widget = stack.pop()
            if widget.winfo_class() == kind:
                found.append(widget)
            stack += widget.winfo_children()
        return found

    def prompts(self) -> list[str]:
        return [str(label["text"]) for label in self._parts("TLabel")]

    def dialog_height(self) -> int:
        return max((top.winfo_height() for top in self.root.winfo_children() if top.winfo_viewable()), default=0)

    def _press(self, text: str) -> None:
        (button,) = (button for button in self._parts("TButton") if str(button["text"]) == text)
        button.invoke()

    def answer(self, text: str) -> None:
        (entry,) = self._parts("TEntry")
        entry.insert(0, text)
        self._press("OK")

    def dismiss(self) -> None:
        self._press("Cancel")

    def nested(self, until: Callable[[], bool]) -> None:
        import tkinter

        done = tkinter.BooleanVar(self.root)
        self.when(until, lambda: done.set(True))
        self.root.wait_variable(done)

    def show(self, text: str) -> None:
        self.canvas.itemconfigure("shown", text=text)
        self.root.after_idle(self.painted.append, text)  # after the canvas's own turn to paint

    def paints(self) -> list[object]:
        import tkinter

        self.painted: list[object] = []
        self.canvas = tkinter.Canvas(self.root, width=200, height=100)
        self.canvas.create_text(50, 50, tags="shown")
        self.canvas.pack()
        return self.painted


class QtWindow(Window):
    def __init__(self) -> None:
        from PySide6.QtWidgets import QApplication, QLabel

        self.app = QApplication([])
        self.app.setQuitOnLastWindowClosed(False)
        self.widget: Any = QLabel("a window")
        self.widget.resize(200, 100)
        self.widget.show()
        self.timers: list[Any] = []

    def host(self) -> WindowHost:
        from agere.hosts import QtHost

        return QtHost(self.widget)

    def run(self) -> None:
        self.app.exec()

    def quit(self) -> None:
        self.app.exit()

    def after(self, milliseconds: int, fn: Callable[[], object]) -> None:
        from PySide6.QtCore import QTimer

        QTimer.singleShot(milliseconds, lambda: (fn(), None)[1])

    def every(self, milliseconds: int, fn: Callable[[], object]) -> None:
        from PySide6.QtCore import QTimer

        timer = QTimer()
        timer.setInterval(milliseconds)
        timer.timeout.connect(lambda: (fn(), None)[1])
        timer.start()
        self.timers.append(timer)

    def go(self) -> None:
        self.timers.clear()
        self.widget = None
        self.app.shutdown()  # type: ignore[attr-defined]

    def _dialog(self) -> Any:
        from PySide6.QtWidgets import QDialog

        found = [top for top in self.app.topLevelWidgets() if isinstance(top, QDialog) and top.isVisible()]
        assert len(found) <= 1
        return found[0] if found else None

    def prompts(self) -> list[str]:
        from PySide6.QtWidgets import QLabel

        dialog = self._dialog()
        return [] if dialog is None else [label.text() for label in dialog.findChildren(QLabel)]

    def dialog_height(self) -> int:
        dialog = self._dialog()
        return 0 if dialog is None else int(dialog.height())

    def _press(self, name: str) -> None:
        from PySide6.QtCore import Qt
        from PySide6.QtTest import QTest
        from PySide6.QtWidgets import QDialogButtonBox

        box = self._dialog().findChild(QDialogButtonBox)
        button = box.button(getattr(QDialogButtonBox.StandardButton, name))
        QTest.mouseClick(button, Qt.MouseButton.LeftButton)

    def answer(self, text: str) -> None:
        from PySide6.QtTest import QTest
        from PySide6.QtWidgets import QLineEdit

        QTest.keyClicks(self._dialog().findChild(QLineEdit), text)
        self._press("Ok")

    def dismiss(self) -> None:
        self._press("Cancel")

    def nested(self, until: Callable[[], bool]) -> None:
        from PySide6.QtCore import QEventLoop

        loop = QEventLoop()
        self.when(until, loop.quit)
        loop.exec()

    def show(self, text: str) -> None:
        self.widget.setText(text)

    def paints(self) -> list[object]:
        from PySide6.QtCore import QEvent, QObject

        painted: list[object] = []

        class Watch(QObject):
            def eventFilter(self, _: QObject, event: QEvent) -> bool:
                if event.type() == QEvent.Type.Paint:
                    painted.append("painted")
                return False

        self.watch = Watch()
        self.widget.installEventFilter(self.watch)
        return painted


def open_window() -> Window:
    """The window of the toolkit that the program's first argument names."""
    return {"tk": TkWindow, "qt": QtWindow}[sys.argv[1]]()
