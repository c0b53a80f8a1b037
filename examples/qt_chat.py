"""A chat window in Qt: the answer streams in, Stop stops it at once, and closing the window ends everything.

The window's code never waits and knows no event loop but Qt's own. ``submit`` starts an answer in the background,
``deliver`` brings its text back to the window's thread, ``cancel`` hangs up on the server. Before the tool is called
("What is the weather in Rome?"), a small dialog asks the person, who says yes, or what to do instead.

Run it:  pip install 'agere[qt]' && python examples/qt_chat.py
"""

import sys
from collections.abc import Callable

from PySide6.QtGui import QCloseEvent, QColor, QFont, QTextCharFormat, QTextCursor
from PySide6.QtWidgets import QApplication, QGridLayout, QLineEdit, QPushButton, QTextEdit, QWidget

from agere import Chat, Commander, JobFuture, current_node, tool
from agere.chat import ChatModel, explain, open_model
from agere.errors import NoModelError
from agere.hosts import QtHost


@tool(needs_approval=True)
def get_current_weather(location: str) -> str:
    """Get the current weather in a given location."""
    return f"22 degrees celsius and sunny in {location}"  # invented


async def answer(chat: Chat, question: str, show: Callable[[str], None]) -> None:
    """Runs in the background; ``show`` runs on the window's thread."""
    node = current_node()
    assert node is not None
    async for text in node.submit(chat.turn(question)).stream():
        node.deliver(show, text)


class ChatWindow(QWidget):
    def __init__(self, commander: Commander[None], model: ChatModel, chat: Chat) -> None:
        super().__init__()
        self.commander, self.model, self.chat = commander, model, chat
        self.answering: JobFuture[None] | None = None

        self.setWindowTitle("Agere chat")
        self.resize(560, 420)
        self.text = QTextEdit(readOnly=True)
        self.entry = QLineEdit(placeholderText="Ask something")
        self.entry.returnPressed.connect(self.send)
        self.send_button = QPushButton("Send")
        self.send_button.clicked.connect(self.send)
        self.stop_button = QPushButton("Stop")
        self.stop_button.setEnabled(False)
        self.stop_button.clicked.connect(self.stop)
        layout = QGridLayout(self)
        layout.addWidget(self.text, 0, 0, 1, 3)
        layout.addWidget(self.entry, 1, 0)
        layout.addWidget(self.send_button, 1, 1)
        layout.addWidget(self.stop_button, 1, 2)
        self.entry.setFocus()

    def send(self) -> None:
        question = self.entry.text().strip()
        if not question or self.answering is not None:
            return
        self.entry.clear()
        self.show_text(f"{question}\n", "#1a5fb4", bold=True)
        self.send_button.setEnabled(False)
        self.stop_button.setEnabled(True)
        self.answering = self.commander.submit(answer, self.chat, question, self.show_text)
        self.answering.add_done_callback(self.answered, on_host=True)

    def stop(self) -> None:
        if self.answering is not None:
            self.answering.cancel()

    def answered(self, future: JobFuture[None]) -> None:
        """The answer is complete, or was stopped, or has failed."""
        self.answering = None
        error = None if future.cancelled() else future.exception()
        if future.cancelled() or error is not None:
            self.show_text(" (stopped)" if error is None else f" {explain(error, self.model)}", "#a51d2d")
        self.show_text("\n\n")
        self.send_button.setEnabled(True)
        self.stop_button.setEnabled(False)

    def show_text(self, text: str, color: str | None = None, bold: bool = False) -> None:
        style = QTextCharFormat()
        if color is not None:
            style.setForeground(QColor(color))
        style.setFontWeight(QFont.Weight.Bold if bold else QFont.Weight.Normal)
        cursor = self.text.textCursor()
        cursor.movePosition(QTextCursor.MoveOperation.End)
        cursor.insertText(text, style)
        self.text.setTextCursor(cursor)
        self.text.ensureCursorVisible()

    def closeEvent(self, event: QCloseEvent) -> None:  # noqa: N802 - Qt's name
        self.commander.exit()  # stops whatever runs; deliveries go on meanwhile, so nobody can wait for the window
        super().closeEvent(event)


def main() -> int:
    with open_model() as model, Chat([get_current_weather], model) as chat:
        print(f"Model: {model.description}.", file=sys.stderr)
        app = QApplication(sys.argv)
        with Commander[None](host=QtHost(), grace=1) as commander:
            window = ChatWindow(commander, model, chat)
            window.show()
            return app.exec()


if __name__ == "__main__":
    try:
        sys.exit(main())
    except KeyboardInterrupt:
        sys.exit(130)
    except NoModelError as error:
        sys.exit(str(error))
