"""The real embedded model, and the life of its server. What the model says is not judged, only what it does."""

from __future__ import annotations

import json
import os
import re
import socket
import sys
import threading
import urllib.request
from dataclasses import replace
from pathlib import Path
from typing import Any

import openai
import pytest

from agere.addons.local_llm import WEATHER_TOOL, LocalLLM, get_current_weather, worked_example, worked_examples
from agere.addons.loopback_sockets import find_sockets
from agere.addons.weights import SMOLLM2, ensure_weights
from agere.errors import LocalLLMError
from tests.support.local_llm import MODEL_TIMEOUT
from tests.support.subprocesses import run_python

pytestmark = pytest.mark.timeout(MODEL_TIMEOUT)
LIMIT = 120.0


def ask(llm: LocalLLM, client: openai.OpenAI, messages: list[Any]) -> list[Any]:
    with client.chat.completions.create(
        model=llm.model, messages=messages, tools=[WEATHER_TOOL], stream=True
    ) as stream:
        return [choice for chunk in stream for choice in chunk.choices]


def test_what_was_primed_is_not_read_again(local_llm: LocalLLM) -> None:
    local_llm.prime(worked_examples(), [WEATHER_TOOL])
    messages: list[Any] = [*worked_examples(), {"role": "user", "content": "Hello"}]
    with local_llm.client() as client:
        reply = client.chat.completions.create(
            model=local_llm.model, messages=messages, tools=[WEATHER_TOOL], max_tokens=1
        )
    assert reply.usage
    assert reply.usage.prompt_tokens_details
    assert (reply.usage.prompt_tokens_details.cached_tokens or 0) > reply.usage.prompt_tokens / 2


def test_a_plain_question_is_streamed(local_llm: LocalLLM) -> None:
    with local_llm.client() as client:
        question = {"role": "user", "content": "What is the capital of France?"}
        choices = ask(local_llm, client, [*worked_examples(), question])
    pieces = [choice.delta.content for choice in choices if choice.delta.content]
    assert len(pieces) > 1
    assert "".join(pieces).strip()
    assert choices[-1].finish_reason == "stop"


def test_a_tool_call_is_streamed_with_to_user_first(local_llm: LocalLLM) -> None:
    messages: list[Any] = [*worked_examples(), {"role": "user", "content": "What is the weather in Paris?"}]
    with local_llm.client() as client:
        choices = ask(local_llm, client, messages)
        deltas = [call for choice in choices for call in choice.delta.tool_calls or []]
        assert choices[-1].finish_reason == "tool_calls"
        assert len(deltas) > 3  # it is a stream, not one lump
        assert [delta.function.name for delta in deltas if delta.function.name] == ["get_current_weather"]
        written = "".join(delta.function.arguments or "" for delta in deltas)
        arguments = json.loads(written)
        assert list(arguments) == ["to_user", "location"]

        call_id = next(delta.id for delta in deltas if delta.id)
        function = {"name": "get_current_weather", "arguments": written}
        messages += [
            {
                "role": "assistant",
                "content": None,
                "tool_calls": [{"id": call_id, "type": "function", "function": function}],
            },
            {"role": "tool", "tool_call_id": call_id, "content": get_current_weather(arguments["location"])},
        ]
        choices = ask(local_llm, client, messages)
    assert "".join(choice.delta.content or "" for choice in choices)
    assert not any(choice.delta.tool_calls for choice in choices)


def rendered(llm: LocalLLM, messages: list[Any]) -> str:
    """What the model is shown, without the system's turn."""
    request = urllib.request.Request(
        llm.base_url.removesuffix("/v1") + "/apply-template",
        data=json.dumps({"messages": messages, "tools": [WEATHER_TOOL]}).encode(),
        headers={"Content-Type": "application/json"},
    )
    with urllib.request.urlopen(request) as answer:
        prompt: str = json.load(answer)["prompt"]
    system, _, rest = prompt.partition("<|im_end|>\n")
    assert "<tools>\n{" in system
    return rest


def call(arguments: str, content: str | None = None) -> dict[str, Any]:
    function = {"name": "get_current_weather", "arguments": arguments}
    return {
        "role": "assistant",
        "content": content,
        "tool_calls": [{"id": "c1", "type": "function", "function": function}],
    }


USER = {"role": "user", "content": "Weather?"}
RESULT = {"role": "tool", "tool_call_id": "c1", "content": '{"temperature": 22}'}
SHOWN = """<|im_start|>user
Weather?<|im_end|>
<|im_start|>assistant
<tool_call>
{"name": "get_current_weather", "arguments": {"to_user": "I look.", "location": "Paris"}}
</tool_call><|im_end|>
<|im_start|>user
RESULT
{"temperature": 22}<|im_end|>
<|im_start|>assistant
"""


@pytest.mark.parametrize(
    "turns",
    [
        [call('{"to_user": "I look.", "location": "Paris"}')],
        [call('{"location": "Paris"}', content="I look.")],
        [{"role": "assistant", "content": "I look."}, call('{"location": "Paris"}')],
        [{"role": "assistant", "content": "I look."}, call('{"to_user": "I look.", "location": "Paris"}')],
    ],
    ids=["in the call", "beside the call", "before the call", "both"],
)
def test_the_model_is_shown_one_form_of_calls_and_results(local_llm: LocalLLM, turns: list[Any]) -> None:
    assert rendered(local_llm, [USER, *turns, RESULT]) == SHOWN


def test_several_results_are_one_turn(local_llm: LocalLLM) -> None:
    shown = rendered(local_llm, [USER, call('{"location": "Paris"}'), RESULT, {**RESULT, "content": "{}"}])
    assert '<|im_start|>user\nRESULT\n{"temperature": 22}\nRESULT\n{}<|im_end|>\n' in shown


def test_a_trailing_assistant_turn_is_not_continued(local_llm: LocalLLM) -> None:
    shown = rendered(local_llm, [USER, call('{"location": "P"}'), RESULT, {"role": "assistant", "content": "I look."}])
    assert shown.endswith("I look.<|im_end|>\n<|im_start|>assistant\n")


def test_only_loopback_is_listened_on(local_llm: LocalLLM) -> None:
    match = re.fullmatch(r"http://127\.0\.0\.1:(\d+)/v1", local_llm.base_url)
    assert match
    port = int(match[1])
    if not Path("/proc/net/tcp").exists():
        pytest.skip("this system does not list listening sockets")
    listening = []
    for table in ("tcp", "tcp6"):
        path = Path("/proc/net") / table
        for line in path.read_text().splitlines()[1:] if path.exists() else ():
            address, state = line.split()[1], line.split()[3]
            if state == "0A" and int(address.partition(":")[2], 16) == port:
                listening.append(address.partition(":")[0])
    assert listening == ["0100007F"]


def test_other_origins_get_no_permission(local_llm: LocalLLM) -> None:
    request = urllib.request.Request(f"{local_llm.base_url}/models", headers={"Origin": "http://elsewhere.example"})
    with urllib.request.urlopen(request) as answer:
        assert answer.headers.get("Access-Control-Allow-Origin") in {None, ""}


def test_many_threads_are_served(local_llm: LocalLLM) -> None:
    done: list[str] = []

    def one() -> None:
        with local_llm.client() as client:
            reply = client.chat.completions.create(
                model=local_llm.model, messages=[{"role": "user", "content": "Hello"}], max_tokens=3
            )
            done.append(reply.choices[0].finish_reason)

    threads = [threading.Thread(target=one) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(done) == 8


def test_a_proxy_in_the_environment_is_not_asked(local_llm: LocalLLM, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("HTTP_PROXY", "http_proxy", "ALL_PROXY", "all_proxy"):
        monkeypatch.setenv(name, "http://127.0.0.1:9")
    monkeypatch.delenv("NO_PROXY", raising=False)
    monkeypatch.delenv("no_proxy", raising=False)
    with local_llm.client(max_retries=0) as client:
        assert [model.id for model in client.models.list()] == [local_llm.model]


def test_options_of_the_client_are_passed_on(local_llm: LocalLLM) -> None:
    with local_llm.client(max_retries=7, timeout=3.0) as client:
        assert (client.max_retries, client.timeout) == (7, 3.0)
        assert client.api_key == "local"
        assert str(client.base_url).rstrip("/") == local_llm.base_url


def test_start_and_close_in_any_order_and_two_at_once(local_llm: LocalLLM) -> None:
    llm = LocalLLM(parallel=1, context_size=512)
    llm.close()
    for use in (lambda: llm.base_url, lambda: llm.model, lambda: llm.is_demo_model, llm.client):
        with pytest.raises(LocalLLMError, match="not serving"):
            use()
    assert repr(llm) == "<LocalLLM not serving>"
    with llm:
        first = llm.base_url
        assert llm.start() is llm
        assert llm.base_url == first != local_llm.base_url
        assert llm.is_demo_model
        assert first in repr(llm)
        forgotten = llm.client()
        assert forgotten.models.list().data
    llm.close()
    assert forgotten.is_closed()
    with pytest.raises(ConnectionRefusedError):
        socket.create_connection(("127.0.0.1", int(first.split(":")[2].removesuffix("/v1"))), timeout=5)
    with llm.start(), llm.client() as client:
        assert client.models.list().data
    with local_llm.client() as client:  # the other one goes on
        assert client.models.list().data


def test_threads_that_start_and_close_at_once(local_llm: LocalLLM) -> None:
    del local_llm  # it fetched the weights
    llm = LocalLLM(parallel=1, context_size=512)
    threads = [threading.Thread(target=action) for action in (llm.start, llm.start, llm.close, llm.start, llm.close)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    llm.close()
    assert repr(llm) == "<LocalLLM not serving>"


def test_another_model_file_is_served_under_its_name(
    local_llm: LocalLLM, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    del local_llm
    path = tmp_path / "Mine.gguf"
    path.symlink_to(ensure_weights())
    monkeypatch.setenv("AGERE_MODEL", str(path))
    with LocalLLM(parallel=1, context_size=512) as llm:
        assert llm.is_demo_model  # told by its size, wherever it lies
    monkeypatch.delenv("AGERE_MODEL")
    # The same file as a stranger: ChatML, and a template of its own that knows no tools.
    monkeypatch.setattr("agere.addons.local_llm.SMOLLM2", replace(SMOLLM2, size=1))
    with LocalLLM(path, parallel=1, context_size=512) as llm:
        assert (llm.model, llm.is_demo_model) == ("Mine", False)
        assert "RESULT" in rendered(llm, [USER, call('{"location": "P"}'), RESULT])


@pytest.mark.parametrize("way", ["argument", "variable"])
def test_a_model_file_that_is_not_there(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, way: str) -> None:
    path = tmp_path / "none.gguf"
    if way == "variable":
        monkeypatch.setenv("AGERE_MODEL", str(path))
    llm = LocalLLM(path) if way == "argument" else LocalLLM()
    with pytest.raises(LocalLLMError, match=rf"^{'model' if way == 'argument' else 'AGERE_MODEL'}=.*is not a file"):
        llm.start()


def test_files_that_are_no_models(tmp_path: Path) -> None:
    path = tmp_path / "a.gguf"
    path.write_bytes(b"no model")
    with pytest.raises(LocalLLMError, match=r"is not a \.gguf model file"):
        LocalLLM(path).start()
    path.write_bytes(b"GGUF, but no model")
    with pytest.raises(LocalLLMError, match="could not serve"):
        LocalLLM(path).start()


def test_a_missing_extra_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "xllamacpp", None)
    with pytest.raises(LocalLLMError, match=re.escape("pip install 'agere[local]'")):
        LocalLLM().start()


@pytest.mark.parametrize("name", ["context_size", "parallel", "threads", "max_tokens"])
def test_numbers_out_of_range(name: str) -> None:
    options: dict[str, Any] = {name: 0}
    with pytest.raises(ValueError, match=f"{name} must be at least 1"):
        LocalLLM(**options)
    with pytest.raises(ValueError, match="temperature"):
        LocalLLM(temperature=-1)


LONG_REQUEST = """
import threading, time
from agere.addons.local_llm import LocalLLM
llm = LocalLLM(quiet=True).start()
client = llm.client(max_retries=0)
failures = []
def request(stream):
    messages = [{"role": "user", "content": "word " * 3000}]
    try:
        reply = client.chat.completions.create(model=llm.model, messages=messages, stream=stream)
        list(reply)
    except Exception as error:
        failures.append(type(error).__name__)
threads = [threading.Thread(target=request, args=(i % 2 == 0,), daemon=True) for i in range(4)]
for thread in threads: thread.start()
time.sleep(1)
"""


def test_closing_ends_requests_that_wait_for_their_first_token(local_llm: LocalLLM) -> None:
    # Destroying the native server would hang here, with the GIL held: hence a process of its own.
    del local_llm
    program = LONG_REQUEST + "llm.close()\nfor thread in threads: thread.join()\nprint(failures)"
    outcome = run_python(program, limit=LIMIT).check(out=f"{['APIConnectionError'] * 4}\n")
    assert outcome.err == ""  # llama.cpp is silent


def test_leaving_the_interpreter_with_requests_in_flight(local_llm: LocalLLM) -> None:
    del local_llm
    run_python(LONG_REQUEST, limit=LIMIT).check(out="")


@pytest.mark.skipif(not hasattr(os, "fork"), reason="this system has no fork")
def test_a_forked_child_ends_and_leaves_the_parent_s_model_alone(local_llm: LocalLLM) -> None:
    del local_llm
    program = """
        import os, sys
        from agere.addons.local_llm import LocalLLM, LocalLLMError
        from agere.addons.loopback_sockets import find_sockets
        llm = LocalLLM(quiet=True, parallel=1).start()
        port = int(llm.base_url.split(":")[2].removesuffix("/v1"))
        child = os.fork()
        if child == 0:
            print(find_sockets(port), flush=True)
            for use in (llm.start, lambda: llm.base_url, LocalLLM(quiet=True).start):
                try:
                    use()
                except LocalLLMError as error:
                    print(str(error).partition(":")[0], flush=True)
            llm.close()
            sys.exit(3)
        print(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))
        with llm.client() as client:
            print(len(client.models.list().data))
        llm.close()
    """
    outcome = run_python(program, limit=LIMIT, options=("-W", "ignore::DeprecationWarning")).check()
    assert outcome.lines == [
        "LoopbackSockets(listening=[], connected=[])",
        "this LocalLLM belongs to the parent of this forked process",
        "this LocalLLM belongs to the parent of this forked process",
        "llama.cpp cannot run in a process forked from one that used it",
        "3",
        "1",
    ]
    assert outcome.err == ""


def test_where_sockets_cannot_be_listed_the_server_is_asked(
    local_llm: LocalLLM, monkeypatch: pytest.MonkeyPatch
) -> None:
    del local_llm
    monkeypatch.setattr("agere.addons.llama_server.find_sockets", lambda _port: None)
    with LocalLLM(parallel=1, context_size=512) as llm, llm.client() as client:
        client.chat.completions.create(model=llm.model, messages=[{"role": "user", "content": "Hi"}], max_tokens=2)
    with pytest.raises(LocalLLMError, match="not serving"):
        _ = llm.base_url


def test_sockets_of_other_ports_are_not_touched() -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
        with socket.create_connection(("127.0.0.1", port)) as near, server.accept()[0] as far:
            found = find_sockets(port)
            if found is None:
                pytest.skip("this system does not list descriptors")
            assert found.listening == [server.fileno()]
            assert found.connected == [far.fileno()]
            socket.setdefaulttimeout(5)
            try:
                assert find_sockets(port) == found
            finally:
                socket.setdefaulttimeout(None)
            assert os.get_blocking(near.fileno())
            assert os.get_blocking(far.fileno())


def test_worked_examples_are_fresh_and_well_formed() -> None:
    messages = worked_examples()
    messages.clear()
    assert worked_examples()
    asked = 0
    for message in worked_examples():
        if message["role"] == "assistant":
            for tool_call in message.get("tool_calls") or ():
                assert tool_call["type"] == "function"
                assert list(json.loads(tool_call["function"]["arguments"])) == ["to_user", "location"]
                asked += 1
        elif message["role"] == "tool":
            assert set(json.loads(str(message["content"]))) == {"location", "temperature", "unit"}
            asked -= 1
    assert asked == 0
    assert worked_example("Hi", "Hello") == [
        {"role": "user", "content": "Hi"},
        {"role": "assistant", "content": "Hello"},
    ]


@pytest.mark.parametrize("location", ["Paris", "paris, France", " PARIS "])
def test_the_weather_is_steady(location: str) -> None:
    assert json.loads(get_current_weather(location)) == {"location": location, "temperature": 22, "unit": "celsius"}
    assert get_current_weather("Atlantis") == get_current_weather("Atlantis")
