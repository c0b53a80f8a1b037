"""Reading chunks of any OpenAI-compatible shape and habit."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from agere.errors import AgereError
from agere.utils.openai_chunks import CallDelta, ChunkReader
from tests.utils.chunk_shapes import SHAPES, bare, call, calls, chunk, content


def read(*chunks: Any) -> list[str | CallDelta]:
    return list(ChunkReader().read(chunks))


@pytest.mark.parametrize("shape", ["dict", "openai", "namespace"])
def test_a_usual_stream(shape: str):
    chunks = [
        chunk({"role": "assistant", "content": ""}),
        content("Let me "),
        content("see."),
        chunk({"content": None, "refusal": "No!"}),
        calls(call("", 0, "call_1", "f", type="function"), content=None),
        calls(call('{"a":', 0)),
        calls(call("1}", 0)),
        calls(call("", 1, "call_2", "g")),
        calls(call("{}", 1)),
        chunk({}, finish_reason="tool_calls"),
        bare([]),
    ]
    assert read(*map(SHAPES[shape], chunks)) == [
        "Let me ",
        "see.",
        "No!",
        CallDelta(0, "call_1", "f", ""),
        CallDelta(0, None, None, '{"a":1}'),
        CallDelta(1, "call_2", "g", ""),
        CallDelta(1, None, None, "{}"),
    ]


def test_objects_without_instance_dicts():
    chunks = [calls(call("", 0, "call_1", "f")), calls(call("{", 0)), calls(call("}", 0)), content("x")]
    assert read(*map(SHAPES["slots"], chunks)) == [
        CallDelta(0, "call_1", "f", ""),
        CallDelta(0, None, None, "{"),
        CallDelta(0, None, None, "}"),
        "x",
    ]


@pytest.mark.parametrize(
    "nothing",
    [
        None,
        7,
        "text",
        b"data: {}",
        [],
        {},
        bare(None),
        bare([]),
        bare([None]),
        bare([{}]),
        bare("x"),
        chunk(None),
        chunk({}),
        chunk([]),
        chunk({"content": None, "tool_calls": None, "function_call": None}),
        chunk({"content": 5, "tool_calls": "x"}),
        chunk({"tool_calls": []}),
        bare([{"index": 1, "delta": {"content": "the second of two answers"}}]),
        {"usage": {"total_tokens": 1}, "choices": []},
    ],
)
def test_what_says_nothing_is_passed_over(nothing: Any):
    assert read(nothing) == []
    around = [calls(call("{", 0, "i", "f")), calls(call('"a":', 0)), nothing, calls(call("1}", 0))]
    assert "".join([delta.arguments for delta in read(*around) if isinstance(delta, CallDelta)]) == '{"a":1}'


@pytest.mark.parametrize("entry", [None, {}, {"function": None}, {"index": 0, "function": {}}, 5])
def test_an_empty_entry_says_nothing_about_its_call(entry: Any):
    assert all(delta.arguments == "" and delta.name is None for delta in read(calls(entry)))  # type: ignore[union-attr]


def test_habits():
    assert read(calls(call("{}", 0, "", "")), calls(call("x", 0, "", ""))) == [
        CallDelta(0, None, None, "{}"),
        CallDelta(0, None, None, "x"),
    ]
    assert read(calls(call("a", None, None, "f"), call("b", None, None, "g"))) == [
        CallDelta(None, None, "f", "a", 0),
        CallDelta(None, None, "g", "b", 1),
    ]
    assert read(calls(call("a", "0", 5, ["f"]), content="beside")) == ["beside", CallDelta(None, None, None, "a")]
    assert read(
        chunk({"function_call": {"name": "f", "arguments": ""}}), chunk({"function_call": {"arguments": "{}"}})
    ) == [
        CallDelta(None, None, "f", ""),
        CallDelta(None, None, None, "{}"),
    ]
    parts = [{"type": "thinking", "thinking": []}, {"type": "text", "text": "a"}, {"type": "text", "text": "b"}]
    assert read(content(parts)) == ["ab"]  # type: ignore[arg-type]
    with_object = call(None, 0, "i", "f") | {"function": {"name": "f", "arguments": {"a": [1]}}}
    assert read(calls(with_object)) == [CallDelta(0, "i", "f", '{"a": [1]}')]


def test_a_fragment_that_is_no_string_on_the_short_cut():
    odd = [{"index": 0, "function": {"arguments": value}} for value in ("{", None, "}")]
    assert read(calls(call("", 0, "i", "f")), *map(calls, odd))[1:] == [CallDelta(0, None, None, "{}")]


def test_a_reported_error_is_raised():
    with pytest.raises(AgereError, match="overloaded"):
        read({"error": {"message": "overloaded", "code": 503}})
    with pytest.raises(AgereError, match="gone"):
        read({"error": "gone"})


entries = st.builds(
    call,
    st.sampled_from([None, "", "{", "}", "ab"]),
    st.sampled_from([None, 0, 1]),
    st.sampled_from([None, "", "i", "j"]),
    st.sampled_from([None, "", "f"]),
)
deltas = st.fixed_dictionaries(
    {},
    optional={
        "content": st.sampled_from([None, "", "c"]),
        "refusal": st.sampled_from([None, "", "r"]),
        "tool_calls": st.lists(entries, max_size=2) | st.just(None),
        "function_call": st.sampled_from([None, {}, {"name": "f", "arguments": "l"}]),
    },
)
shapes = st.sampled_from(["dict", "namespace", "slots"])


@settings(deadline=None, max_examples=200)
@given(st.lists(st.builds(chunk, deltas), max_size=6), st.lists(shapes, min_size=6, max_size=6))
def test_the_short_cut_decides_nothing(chunks: list[Any], kinds: list[str]):
    def flat(items: list[str | CallDelta]) -> str:
        """What is said, with neighbours of the same call joined."""
        said: list[Any] = []
        for item in items:
            if isinstance(item, CallDelta):
                key = [item.index, item.id, item.name, item.position]
                plain = item.index is not None and not item.id and not item.name
                if plain and said and said[-1][0] == key:
                    said[-1][1] += item.arguments
                else:
                    said.append([key if plain else [*key, "alone"], item.arguments])
            else:
                said.append([item])
        return json.dumps([item for item in said if item[1:] != [""] or "alone" in item[0]])

    for item in chunks:
        if item["choices"][0]["delta"].get("tool_calls"):
            for entry in item["choices"][0]["delta"]["tool_calls"]:
                entry["function"].setdefault("arguments", None)
    one_by_one = [said for item in chunks for said in read(SHAPES["slots"](item))]  # these always go the general way
    for shape in ("dict", "namespace"):
        assert flat(read(*map(SHAPES[shape], chunks))) == flat(one_by_one)
