"""Reading the events of Responses and of Messages: shapes, habits, cuts, oddities, cost."""

from __future__ import annotations

import json
from time import perf_counter
from types import SimpleNamespace
from typing import Any

import pytest
from anthropic.types import RawMessageStreamEvent
from hypothesis import given
from hypothesis import strategies as st
from openai.types.responses import ResponseStreamEvent
from pydantic import TypeAdapter

from agere.errors import IncompleteAnswerError, ModelError
from agere.utils.anthropic_events import MessagesReader
from agere.utils.event_reader import EventReader
from agere.utils.openai_chunks import CallDelta
from agere.utils.openai_responses_events import ResponsesReader
from tests.utils.json_texts import cut

RESPONSES: TypeAdapter[Any] = TypeAdapter(ResponseStreamEvent)
MESSAGES: TypeAdapter[Any] = TypeAdapter(RawMessageStreamEvent)


def as_namespace(value: Any) -> Any:
    if isinstance(value, dict):
        return SimpleNamespace(**{key: as_namespace(item) for key, item in value.items()})
    return [as_namespace(item) for item in value] if isinstance(value, list) else value


def response(kind: str, **fields: Any) -> dict[str, Any]:
    return {"type": kind, "sequence_number": 0, **fields}


def added(at: int, kind: str = "function_call", **fields: Any) -> dict[str, Any]:
    item = {"type": kind, "id": f"item_{at}", **fields}
    return response("response.output_item.added", output_index=at, item=item)


def function(at: int, name: str = "f", **fields: Any) -> dict[str, Any]:
    return added(at, call_id=f"call_{at}", name=name, arguments="", status="in_progress", **fields)


def arguments(at: int, delta: str) -> dict[str, Any]:
    return response("response.function_call_arguments.delta", item_id=f"item_{at}", output_index=at, delta=delta)


def output_text(delta: str, at: int = 0) -> dict[str, Any]:
    where = {"item_id": f"item_{at}", "output_index": at, "content_index": 0}
    return response("response.output_text.delta", **where, delta=delta, logprobs=[])


def start(at: int, kind: str, **fields: Any) -> dict[str, Any]:
    return {"type": "content_block_start", "index": at, "content_block": {"type": kind, **fields}}


def tool_use(at: int, name: str = "f", **fields: Any) -> dict[str, Any]:
    return start(at, "tool_use", id=f"call_{at}", name=name, **{"input": {}, **fields})


def delta(at: int, kind: str, text: str) -> dict[str, Any]:
    field = {"text_delta": "text", "input_json_delta": "partial_json", "thinking_delta": "thinking"}[kind]
    return {"type": "content_block_delta", "index": at, "delta": {"type": kind, field: text}}


def stop(at: int) -> dict[str, Any]:
    return {"type": "content_block_stop", "index": at}


def read(reader: EventReader, *events: Any) -> list[str | CallDelta]:
    return list(reader.read(events))


def calls(said: list[str | CallDelta]) -> dict[int | None, tuple[str | None, str | None, str]]:
    """Id, name and joined arguments of each call."""
    found: dict[int | None, tuple[str | None, str | None, str]] = {}
    for piece in said:
        if isinstance(piece, CallDelta):
            id_, name, text = found.get(piece.index, (None, None, ""))
            found[piece.index] = (id_ or piece.id, name or piece.name, text + piece.arguments)
    return found


@pytest.mark.parametrize(
    "shape", [lambda event: event, RESPONSES.validate_python, as_namespace], ids=["dict", "openai", "namespace"]
)
def test_a_usual_response(shape: Any) -> None:
    events = [
        added(0, "reasoning", summary=[]),
        response(
            "response.reasoning_summary_text.delta", item_id="item_0", output_index=0, summary_index=0, delta="Hm"
        ),
        output_text("Let me ", 1),
        output_text("see.", 1),
        function(2),
        arguments(2, '{"a":'),
        arguments(2, "1}"),
        response("response.function_call_arguments.done", item_id="x", output_index=2, name="f", arguments='{"a":1}'),
        function(3, "g"),
        arguments(3, "{}"),
    ]
    assert read(ResponsesReader(), *map(shape, events)) == [
        "Let me ",
        "see.",
        CallDelta(0, "call_2", "f", ""),
        CallDelta(0, None, None, '{"a":1}'),
        CallDelta(1, "call_3", "g", ""),
        CallDelta(1, None, None, "{}"),
    ]


@pytest.mark.parametrize(
    "shape", [lambda event: event, MESSAGES.validate_python, as_namespace], ids=["dict", "anthropic", "namespace"]
)
def test_a_usual_message(shape: Any) -> None:
    events = [
        start(0, "thinking", thinking="", signature=""),
        delta(0, "thinking_delta", "Hm"),
        stop(0),
        start(1, "text", text=""),
        delta(1, "text_delta", "Let me "),
        delta(1, "text_delta", "see."),
        stop(1),
        start(2, "server_tool_use", id="s", name="web_search", input={}),
        delta(2, "input_json_delta", '{"query": "x"}'),
        stop(2),
        tool_use(3),
        delta(3, "input_json_delta", ""),
        delta(3, "input_json_delta", '{"a":'),
        delta(3, "input_json_delta", "1}"),
        stop(3),
        tool_use(4, "g"),
        delta(4, "input_json_delta", "{}"),
        {
            "type": "message_delta",
            "delta": {"stop_reason": "tool_use", "stop_sequence": None},
            "usage": {"output_tokens": 1},
        },
        {"type": "message_stop"},
    ]
    assert read(MessagesReader(), *map(shape, events)) == [
        "Let me ",
        "see.",
        CallDelta(0, "call_3", "f", ""),
        CallDelta(0, None, None, '{"a":1}'),
        CallDelta(1, "call_4", "g", ""),
        CallDelta(1, None, None, "{}"),
    ]


def test_servers_that_send_no_deltas() -> None:
    item = {"type": "function_call", "id": "i", "call_id": "c", "name": "f", "arguments": '{"a": 1}'}
    message = {
        "type": "message",
        "id": "m",
        "content": [{"type": "output_text", "text": "Hello"}, {"type": "refusal", "refusal": "!"}],
    }
    said = read(
        ResponsesReader(),
        response("response.output_item.done", output_index=0, item=message),
        response("response.output_text.done", output_index=0, content_index=0, text="Hello"),
        response("response.output_item.done", output_index=1, item=item),
        response("response.output_item.done", output_index=1, item=item),
        response("response.output_item.done", item={**item, "id": "j", "call_id": "d"}),
    )
    assert said[:2] == ["Hello", "!"]
    assert calls(said) == {0: ("c", "f", '{"a": 1}'), 1: ("d", "f", '{"a": 1}')}
    said = read(MessagesReader(), start(0, "text", text="Hello"), tool_use(1, input={"a": 1}), stop(1), stop(1))
    assert said[0] == "Hello"
    assert calls(said) == {0: ("call_1", "f", '{"a": 1}')}
    said = read(MessagesReader(), tool_use(1, input={"a": 1}), delta(1, "input_json_delta", "{}"), stop(1))
    assert calls(said) == {0: ("call_1", "f", "{}")}


def test_what_is_told_twice_is_said_once() -> None:
    item = {"type": "message", "id": "m", "content": [{"type": "output_text", "text": "Hello"}]}
    said = read(
        ResponsesReader(),
        output_text("Hel"),
        output_text("lo"),
        response("response.output_text.done", output_index=0, content_index=0, text="Hello"),
        response("response.output_item.done", output_index=0, item=item),
        response("response.completed", response={"output": [item]}),
    )
    assert said == ["Hel", "lo"]


def test_a_cut_off_item_is_not_completed() -> None:
    item = {"type": "function_call", "id": "i", "call_id": "c", "name": "f", "arguments": "", "status": "incomplete"}
    said = read(
        ResponsesReader(),
        function(0),
        arguments(0, '{"a'),
        response("response.output_item.done", output_index=0, item=item),
    )
    assert calls(said) == {0: ("call_0", "f", '{"a')}


def test_interleaved_calls_are_told_apart_by_place_or_by_id() -> None:
    by_id = [function(0), function(1, "g"), arguments(0, "{"), arguments(1, "["), arguments(0, "}"), arguments(1, "]")]
    for event in by_id:
        event.pop("output_index")
    by_place = [
        function(4),
        function(5, "g"),
        arguments(4, "{"),
        arguments(5, "["),
        arguments(4, "}"),
        arguments(5, "]"),
    ]
    for events, first, second in ((by_id, "call_0", "call_1"), (by_place, "call_4", "call_5")):
        assert calls(read(ResponsesReader(), *events)) == {0: (first, "f", "{}"), 1: (second, "g", "[]")}


@given(st.text(), st.data())
def test_free_text_for_a_custom_tool_is_an_argument(text: str, data: Any) -> None:
    pieces = data.draw(cut(text)) if text else []
    events = [response("response.custom_tool_call_input.delta", output_index=0, delta=piece) for piece in pieces]
    end = response("response.custom_tool_call_input.done", output_index=0, input=text)
    said = read(ResponsesReader(), added(0, "custom_tool_call", call_id="c", name="code", input=""), *events, end)
    ((id_, name, raw),) = calls(said).values()
    assert (id_, name, json.loads(raw)) == ("c", "code", {"input": text})


@pytest.mark.parametrize(
    ("reader", "event", "message", "code"),
    [
        (ResponsesReader, response("error", message="gone", code="server_error", param=None), "gone", "server_error"),
        (ResponsesReader, response("error", error={"message": "gone", "type": "x"}), "gone", "x"),
        (ResponsesReader, response("response.failed", response={"error": None}), "it says no more", None),
        (MessagesReader, {"type": "error", "error": {"type": "busy", "message": "later"}}, "later", "busy"),
        (MessagesReader, {"type": "error"}, "None", None),
    ],
)  # fmt: skip
def test_errors_come_after_what_came_before(reader: Any, event: Any, message: str, code: str | None) -> None:
    before = {
        ResponsesReader: [function(0), arguments(0, "{")],
        MessagesReader: [tool_use(0), delta(0, "input_json_delta", "{")],
    }
    said: list[Any] = []
    with pytest.raises(ModelError, match=message) as caught:
        said.extend(reader().read([*before[reader], event]))
    assert caught.value.code == code
    said = []
    going = reader().read([*before[reader], event, "never seen"])
    assert [next(going), next(going)] == [CallDelta(0, "call_0", "f", ""), CallDelta(0, None, None, "{")]
    with pytest.raises(ModelError):
        next(going)


def test_incomplete_responses() -> None:
    for reason in ("max_output_tokens", "max_tokens"):
        assert (
            read(
                ResponsesReader(), response("response.incomplete", response={"incomplete_details": {"reason": reason}})
            )
            == []
        )
    for details, code in (({"reason": "content_filter"}, "content_filter"), (None, None)):
        with pytest.raises(IncompleteAnswerError) as caught:
            read(ResponsesReader(), response("response.incomplete", response={"incomplete_details": details}))
        assert caught.value.code == code


def test_the_explanation_of_a_refusal_is_for_the_user() -> None:
    details = {"type": "refusal", "category": None, "explanation": "I may not."}
    ended = {"type": "message_delta", "delta": {"stop_reason": "refusal", "stop_details": details}, "usage": {}}
    assert read(MessagesReader(), ended) == ["I may not."]
    assert read(MessagesReader(), delta(0, "text_delta", "Well"), ended) == ["Well", "\nI may not."]


@pytest.mark.parametrize("reader", [ResponsesReader, MessagesReader])
@pytest.mark.parametrize(
    "nothing", [None, 7, "text", [], {}, {"type": None}, {"type": ["x"]}, {"type": "news", "delta": "x"}]
)  # fmt: skip
def test_what_says_nothing_is_passed_over(reader: Any, nothing: Any) -> None:
    assert read(reader(), nothing) == []


kinds = st.sampled_from(
    [
        "response.output_item.added", "response.output_item.done", "response.function_call_arguments.delta",
        "response.function_call_arguments.done", "response.custom_tool_call_input.delta", "response.output_text.delta",
        "response.custom_tool_call_input.done", "response.output_text.done", "content_block_start",
        "content_block_delta", "content_block_stop", "message_delta",
    ]
)  # fmt: skip
odd = (
    st.none() | st.integers(-1, 1) | st.sampled_from(["", "a", "text", "tool_use", "function_call", "input_json_delta"])
)
things = odd | st.lists(odd, max_size=2) | st.dictionaries(
    st.sampled_from(["type", "id", "call_id", "name", "text", "input", "arguments", "content", "partial_json"]), odd
)  # fmt: skip
fields = st.sampled_from(
    ["index", "output_index", "item_id", "content_index", "delta", "item", "content_block", "text"]
)


@pytest.mark.parametrize("reader", [ResponsesReader, MessagesReader])
def test_no_shape_of_event_breaks_a_reader(reader: Any) -> None:
    @given(
        st.lists(
            st.builds(lambda kind, rest: {**rest, "type": kind}, kinds, st.dictionaries(fields, things)), max_size=6
        )
    )
    def check(events: list[dict[str, Any]]) -> None:
        for said in (read(reader(), *events), [piece for event in [events] for piece in reader().read(event)]):
            for piece in said:
                assert isinstance(piece, CallDelta) or (isinstance(piece, str) and piece)

    check()


@pytest.mark.parametrize("name", ["responses", "messages"])
def test_every_cut_of_the_events_says_the_same(name: str) -> None:
    text = '{"to_user": "Ein \\"M\\u00f8ment\\" \\ud83d\\ude00", "city": "R"}'
    for at in range(len(text) + 1):
        if name == "responses":
            events = [output_text("x"), function(1), arguments(1, text[:at]), arguments(1, text[at:])]
            reader: Any = ResponsesReader
        else:
            events = [
                delta(0, "text_delta", "x"),
                tool_use(1),
                *(delta(1, "input_json_delta", t) for t in (text[:at], text[at:])),
            ]
            reader = MessagesReader
        for batch in range(1, len(events) + 1):
            one = reader()
            said = [p for i in range(0, len(events), batch) for p in one.read(events[i : i + batch])]
            assert said[0] == "x"
            assert calls(said) == {0: ("call_1", "f", text)}


@pytest.mark.parametrize("name", ["responses", "messages"])
def test_the_cost_is_linear(name: str) -> None:
    if name == "responses":
        first, more = map(RESPONSES.validate_python, (function(0), arguments(0, "abcd")))
    else:
        first, more = map(MESSAGES.validate_python, (tool_use(0), delta(0, "input_json_delta", "abcd")))

    def seconds(count: int) -> float:
        reader = ResponsesReader() if name == "responses" else MessagesReader()
        start = perf_counter()
        list(reader.read([first]))
        for _ in range(count // 50):
            list(reader.read([more] * 50))
        return perf_counter() - start

    few, many = min(seconds(5_000) for _ in range(3)), min(seconds(50_000) for _ in range(2))
    assert many < few * 40
