"""A chat window in Tk: the answer streams in, Stop stops it at once, and closing the window ends everything.

The window's code never waits and knows no event loop but Tk's own. ``submit`` starts an answer in the background,
``deliver`` brings its text back to the window's thread, ``cancel`` hangs up on the server. Before the tool is called
("What is the weather in Rome?"), a small dialog asks the person, who says yes, or what to do instead.

Run it:  python examples/tk_chat.py
"""

import sys
import tkinter
from collections.abc import Callable
from tkinter import ttk

from agere import Chat, Commander, JobFuture, current_node, tool
from agere.chat import ChatModel, explain, open_model
from agere.errors import NoModelError
from agere.hosts import TkHost


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


class ChatWindow:
    def __init__(self, root: tkinter.Tk, commander: Commander[None], model: ChatModel, chat: Chat) -> None:
        self.root, self.commander, self.model, self.chat = root, commander, model, chat
        self.answering: JobFuture[None] | None = None

        root.title("Agere chat")
        root.geometry("560x420")
        root.minsize(360, 240)
        root.protocol("WM_DELETE_WINDOW", self.close)
        if root.tk.call("tk", "windowingsystem") == "x11":
            ttk.Style().theme_use("clam")  # elsewhere the default looks like the system's own
        frame = ttk.Frame(root, padding=12)
        frame.pack(fill="both", expand=True)
        frame.columnconfigure(0, weight=1)
        frame.rowconfigure(0, weight=1)
        self.text = tkinter.Text(frame, wrap="word", state="disabled", padx=10, pady=8, relief="flat", takefocus=False)
        self.text.tag_configure("you", foreground="#1a5fb4", font=("TkDefaultFont", 10, "bold"), spacing1=8)
        self.text.tag_configure("model", font=("TkDefaultFont", 10), spacing1=4)
        self.text.tag_configure("note", foreground="#a51d2d", font=("TkDefaultFont", 9, "italic"))
        bar = ttk.Scrollbar(frame, command=self.text.yview)
        self.text.configure(yscrollcommand=bar.set)
        self.text.grid(row=0, column=0, columnspan=3, sticky="nsew")
        bar.grid(row=0, column=3, sticky="ns")
        self.entry = ttk.Entry(frame)
        self.entry.grid(row=1, column=0, sticky="ew", pady=(10, 0))
        self.entry.bind("<Return>", lambda _: self.send())
        self.send_button = ttk.Button(frame, text="Send", command=self.send)
        self.send_button.grid(row=1, column=1, padx=(8, 0), pady=(10, 0))
        self.stop_button = ttk.Button(frame, text="Stop", command=self.stop, state="disabled")
        self.stop_button.grid(row=1, column=2, columnspan=2, padx=(8, 0), pady=(10, 0))
        self.entry.focus_set()

    def send(self) -> None:
        question = self.entry.get().strip()
        if not question or self.answering is not None:
            return
        self.entry.delete(0, "end")
        self.show(f"{question}\n", "you")
        self.send_button.state(["disabled"])
        self.stop_button.state(["!disabled"])
        self.answering = self.commander.submit(answer, self.chat, question, self.show)
        self.answering.add_done_callback(self.answered, on_host=True)

    def stop(self) -> None:
        if self.answering is not None:
            self.answering.cancel()

    def answered(self, future: JobFuture[None]) -> None:
        """The answer is complete, or was stopped, or has failed."""
        self.answering = None
        error = None if future.cancelled() else future.exception()
        if future.cancelled() or error is not None:
            self.show(" (stopped)" if error is None else f" {explain(error, self.model)}", "note")
        self.show("\n")
        self.send_button.state(["!disabled"])
        self.stop_button.state(["disabled"])

    def show(self, text: str, tag: str = "model") -> None:
        self.text.configure(state="normal")
        self.text.insert("end", text, tag)
        self.text.configure(state="disabled")
        self.text.see("end")

    def close(self) -> None:
        self.commander.exit()  # stops whatever runs; deliveries go on meanwhile, so nobody can wait for the window
        self.root.destroy()


def main() -> None:
    with open_model() as model, Chat([get_current_weather], model) as chat:
        print(f"Model: {model.description}.", file=sys.stderr)
        root = tkinter.Tk()
        with Commander[None](host=TkHost(root), grace=1) as commander:
            ChatWindow(root, commander, model, chat)
            root.mainloop()


if __name__ == "__main__":
    try:
        main()
    except KeyboardInterrupt:
        sys.exit(130)
    except NoModelError as error:
        sys.exit(str(error))
