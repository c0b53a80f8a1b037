"""The small parts of the agent, each on its own."""

from __future__ import annotations

import io
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import openai
import pytest

import agere
from agere.chat import Chat, ChatModel, Screen, explain, open_model
from agere.chat.model import adopt, check_url
from agere.chat.opening import LazyModel
from agere.errors import ChatClosedError, NoModelError, ToolCallParseError
from agere.testing import ScriptedLLM, silent
from agere.tools import ToolCall, ToolResult
from tests.support.subprocesses import run_python

CALL = ToolCall("call_1", "look", {"where": "there"})


@pytest.fixture(autouse=True)
def bare_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("OPENAI_API_KEY", "OPENAI_BASE_URL", "AGERE_MODEL"):
        monkeypatch.delenv(name, raising=False)


# -- model


def test_a_key_alone_means_openai(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", " sk-secret\n")
    with open_model() as model:
        assert (model.name, model.embedded, model.memory) == ("gpt-4o-mini", False, None)
        assert model.address == "https://api.openai.com/v1"
        assert "sk-secret" not in repr(model) + model.description
        assert model.redact("a sk-secret b") == "a *** b"
        assert model.client.api_key == "sk-secret"
    assert model.client.is_closed()


def test_a_server_without_a_key_gets_a_placeholder(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OPENAI_BASE_URL", "http://user:hush@localhost:9/v1/")
    with open_model("small") as model:
        assert model.client.api_key
        assert model.description == "small at http://localhost:9/v1"
        assert "hush" not in repr(model)
        assert model.redact("hush") == "***"
    with open_model(base_url="http://[::1]:8/v1") as model:
        assert model.address == "http://[::1]:8/v1"


@pytest.mark.parametrize("url", ["localhost", "ftp://a/v1", "http://", "http://a b/", "http://a:port/", "http://a:0x/"])
def test_what_is_no_address_is_refused(url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(ValueError, match="the address of a server looks like"):
        check_url(url)
    with pytest.raises(ValueError, match="the address"), open_model(base_url=url):
        pass
    monkeypatch.setenv("OPENAI_BASE_URL", url)
    with pytest.raises(NoModelError, match="OPENAI_BASE_URL"), open_model():
        pass


def test_the_embedded_model_takes_files_only(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    with pytest.raises(NoModelError, match="'gpt-4o' names a model of a server"), open_model("gpt-4o"):
        pass
    monkeypatch.setenv("AGERE_MODEL", str(tmp_path / "none.gguf"))
    with pytest.raises(NoModelError), open_model():
        pass
    monkeypatch.setenv("OPENAI_API_KEY", "sk-secret")
    with pytest.raises(NoModelError), open_model(str(tmp_path / "asked-for.gguf")):
        pass


def test_a_given_client_is_described_without_its_secrets(monkeypatch: pytest.MonkeyPatch) -> None:
    with openai.OpenAI(api_key="sk-long-secret", base_url="http://user:hush-hush-hush@a:8/v1") as client:
        model = adopt(client, "small")
        assert model.description == "small at http://a:8/v1"
        assert "sk-long" not in repr(model)
        assert model.redact("sk-long-secret, hush-hush-hush") == "***, ***"
        assert adopt(client).name == "gpt-4o-mini"
        monkeypatch.setenv("AGERE_MODEL", "clever")
        assert adopt(client).name == "clever"
        monkeypatch.setenv("AGERE_MODEL", "/some/where.gguf")  # meant for the embedded one
        assert adopt(client).name == "gpt-4o-mini"


def test_placeholders_are_no_secrets() -> None:
    with openai.OpenAI(api_key="local", base_url="http://localhost:8/v1") as client:
        assert adopt(client).redact("http://localhost") == "http://localhost"


# -- opening


class Scope:
    """A model's life, written down."""

    def __init__(self, *, waits: threading.Event | None = None) -> None:
        self.waits = waits
        self.begun = threading.Event()
        self.events: list[str] = []

    def __enter__(self) -> Any:
        self.begun.set()
        if self.waits is not None:
            assert self.waits.wait(20)
        self.events.append("open")
        return object()

    def __exit__(self, *_: object) -> None:
        self.events.append("close")


def test_a_model_is_opened_once_and_closed_once() -> None:
    scope = Scope()
    lazy = LazyModel(lambda: scope)
    assert lazy.opened is None
    assert lazy.open() is lazy.open() is lazy.opened
    lazy.close()
    lazy.close()
    assert scope.events == ["open", "close"]
    with pytest.raises(ChatClosedError):
        lazy.open()


def test_a_model_that_is_closed_while_it_opens_is_closed_by_who_opens_it() -> None:
    scope = Scope(waits=threading.Event())
    lazy = LazyModel(lambda: scope)
    failed: list[BaseException] = []

    def open_it() -> None:
        try:
            lazy.open()
        except ChatClosedError as error:
            failed.append(error)

    thread = threading.Thread(target=open_it)
    thread.start()
    assert scope.begun.wait(20)
    lazy.close()  # does not wait for minutes of fetching
    assert scope.waits is not None
    scope.waits.set()
    thread.join(20)
    assert len(failed) == 1
    assert scope.events == ["open", "close"]


def test_a_model_that_cannot_be_opened_may_be_tried_again() -> None:
    scopes: list[Any] = []

    def make() -> Any:
        if not scopes:
            scopes.append(None)
            raise NoModelError("not yet")
        return Scope()

    lazy = LazyModel(make)
    with pytest.raises(NoModelError):
        lazy.open()
    assert lazy.open()
    lazy.close()


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[ScriptedLLM]:
    with ScriptedLLM(lambda _: "Fine.") as server:
        monkeypatch.setenv("OPENAI_API_KEY", "sk-of-the-environment")
        monkeypatch.setenv("OPENAI_BASE_URL", server.base_url)
        yield server


def test_a_client_of_the_environment_belongs_to_the_chat(server: ScriptedLLM) -> None:
    with Chat() as chat:
        assert "not opened yet" in repr(chat)
        assert str(agere.run(chat.turn("Hi"))) == "Fine."
        client = chat.open().client
        assert server.base_url in repr(chat)
        assert not client.is_closed()
    assert client.is_closed()
    assert "closed" in repr(chat)


def test_a_chat_that_is_dropped_closes_what_it_opened(server: ScriptedLLM) -> None:
    chat = Chat()
    agere.run(chat.turn("Hi"))
    client = chat.open().client
    del chat
    end = time.monotonic() + 20
    while not client.is_closed() and time.monotonic() < end:
        threading.Event().wait(0.01)
    assert client.is_closed()


def test_a_chat_can_be_closed_on_an_event_loop(server: ScriptedLLM) -> None:
    async def close() -> None:
        chat.close()

    chat = Chat()
    agere.run(chat.turn("Hi"))
    agere.run(close)
    with pytest.raises(ChatClosedError):
        chat.turn("Hi")


def test_a_script_leaves_nothing_hanging(server: ScriptedLLM) -> None:
    outcome = run_python(
        """
        import agere
        chat = agere.Chat()
        for text in agere.stream(chat.turn("Hi")):
            print(text, end="", flush=True)
        """
    )
    outcome.check(out="Fine.")
    assert outcome.err == ""
    assert outcome.seconds < 15


def test_a_forgotten_stream_does_not_hold_up_the_exit(monkeypatch: pytest.MonkeyPatch) -> None:
    with ScriptedLLM([silent("One")]) as server:
        monkeypatch.setenv("OPENAI_BASE_URL", server.base_url)
        outcome = run_python(
            """
            import agere
            chat = agere.Chat()
            texts = agere.stream(chat.turn("Hi"))
            print(next(texts))
            """
        )
        outcome.check(out="One\n")
        assert server.requests[0].wait_disconnected()


# -- trouble


@pytest.fixture
def model() -> Iterator[ChatModel]:
    with openai.OpenAI(api_key="sk-secret", base_url="http://a/v1") as client:
        yield ChatModel(client, "small", "small at http://a/v1", address="http://a/v1", _secrets=("sk-secret",))


def test_every_explanation_is_one_line_without_the_key(model: ChatModel) -> None:
    with ScriptedLLM() as server:
        gone = server.base_url
    client = openai.OpenAI(api_key="sk-secret", base_url=gone, max_retries=0)
    with client, pytest.raises(openai.APIConnectionError) as info:
        client.models.list()
    assert explain(info.value, model).startswith("cannot reach the server at http://a/v1: ")
    for error in (ValueError("a\nsk-secret\n b"), ToolCallParseError("sk-secret\r\nbad"), RuntimeError("x" * 5000)):
        line = explain(error, model)
        assert line.isprintable()
        assert "sk-secret" not in line
        assert len(line) <= 300
    assert explain(ValueError("a"), model) == "ValueError: a"
    assert explain(ExceptionGroup("both", [ValueError("a"), KeyError("b")]), model) == "ValueError: a"


# -- screen


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def test_answers_and_the_rest_go_their_ways_line_by_line() -> None:
    out, err = io.StringIO(), io.StringIO()
    screen = Screen(out, err, io.StringIO())
    screen.text("Let me")
    screen.text(" look.")
    screen.call(CALL)
    screen.result(ToolResult(CALL, "a\nb" + "c" * 500))
    screen.result(ToolResult(CALL, '{"error": "x"}', failed=True))
    screen.text("Done.\n")
    screen.end_of_text()
    screen.error("bad")
    assert screen.prompt() == ""
    screen.asked("why?")
    screen.leave()
    assert out.getvalue() == "Let me look.\nDone.\n"
    lines = err.getvalue().splitlines()
    assert lines[0] == '  [tool] look(where="there")'
    assert lines[1].startswith("  [tool] look -> a bccc")
    assert len(lines[1]) < 250
    assert lines[2:] == ['  [tool] look failed: {"error": "x"}', "agere: bad", "You: why?"]


def test_on_a_terminal_it_is_coloured_and_harmless(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("NO_COLOR", raising=False)
    monkeypatch.setenv("TERM", "xterm")
    out, err = Terminal(), Terminal()
    screen = Screen(out, err, Terminal())
    screen.text("a\x1b[2J\tb\n")
    screen.error("\x1b]0;x\x07")
    assert out.getvalue() == "a[2J\tb\n"
    assert err.getvalue() == "\033[31magere: ]0;x\033[0m\n"
    assert screen.prompt() == "\001\033[32m\002You:\001\033[0m\002 "
    monkeypatch.setenv("NO_COLOR", "1")
    assert screen.prompt() == "You: "
    screen.note("plain")
    assert err.getvalue().endswith("\nplain\n")


def test_a_person_whose_answers_go_to_a_file_is_asked_on_stderr(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NO_COLOR", "1")
    out, err = io.StringIO(), Terminal()
    screen = Screen(out, err, Terminal())
    assert screen.prompt() == ""
    screen.asked("not echoed")
    screen.leave()
    assert (out.getvalue(), err.getvalue()) == ("", "You: \n")
