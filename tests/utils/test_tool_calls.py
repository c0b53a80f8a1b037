"""Making whole calls, and the text for the user, out of chunks."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from agere.errors import ToolCallParseError, ToolCallTooLargeError
from agere.utils.tool_calls import ToolCallAssembler
from tests.utils.chunk_shapes import SHAPES, bare, call, calls, chunk, content, whole
from tests.utils.json_texts import FLAG, arguments, cut

LIMIT = 1000


def assemble(*chunks: Any, limit: int = LIMIT, at_once: bool = True) -> tuple[str, list[Any]]:
    assembler = ToolCallAssembler(FLAG, limit)
    for batch in [chunks] if at_once else [[item] for item in chunks]:
        assembler.feed(batch)
    assembler.finish()
    return "".join(assembler.texts), [outcome(item) for item in assembler.calls]


def outcome(item: str | ToolCallParseError) -> Any:
    if isinstance(item, str):
        made = json.loads(item)
        assert list(made) == ["tool_call_index", "tool_call_id", "name", "arguments"]
        return tuple(made.values())
    return type(item), item.name, item.id, item.raw


@st.composite
def streams(draw: st.DrawFn) -> tuple[list[Any], str, list[Any]]:
    """Chunks as some server may send them, the text for the user, and the calls."""
    cases = draw(st.lists(arguments(), max_size=3))
    indexing = draw(st.sampled_from(["unique", "unique", "zero", "missing"]))
    ids = draw(st.sampled_from(["once", "always"] if indexing != "unique" else ["once", "always", "never", "new"]))
    names = draw(st.sampled_from(["once", "always"]))
    with_first = draw(st.booleans())
    typed = draw(st.booleans())
    sequences = []
    for number, (text, _, _) in enumerate(cases):
        pieces = draw(cut(text))
        entries = []
        for place, piece in enumerate(pieces if with_first else ["", *pieces]):
            first = place == 0
            new_id = f"call_{number}_{place}" if ids == "new" else f"call_{number}"
            entries.append(
                call(
                    piece,
                    {"unique": number, "zero": 0, "missing": None}[indexing],
                    new_id if first or ids in ("always", "new") else None,
                    "f" if first or (names == "always" and ids != "new") else None,
                    **({"type": "function"} if typed else {}),
                )
            )
            if ids == "never":
                entries[-1].pop("id", None)
        sequences.append(entries)
    queue = [entry for sequence in sequences for entry in sequence]
    if indexing == "unique" and draw(st.booleans()):  # interleaved; but they begin in their order
        queue = [sequence.pop(0) for sequence in sequences]
        order = draw(st.permutations([n for n, sequence in enumerate(sequences) for _ in sequence]))
        queue += [sequences[n].pop(0) for n in order]
    chunks: list[Any] = []
    while queue:
        count = draw(st.integers(1, 3))
        chunks.append(calls(*queue[:count]))
        chunks[-1]["choices"][0]["finish_reason"] = draw(st.sampled_from([None, None, "stop", "tool_calls"]))
        del queue[:count]
        if draw(st.integers(0, 4)) == 0:
            chunks.append(draw(st.sampled_from([bare([]), bare(None), chunk(None), chunk({}), content("")])))
    before, after = draw(st.sampled_from(["", "So: "])), draw(st.sampled_from(["", "Done."]))
    chunks = [content(before), *chunks, content(after), chunk({}, "stop"), bare([])]
    between = [case[1] for case in cases if case[1]]
    said = "\n".join([part for part in [before, *between, after] if part] if between else [before + after])
    made = [
        (n, None if ids == "never" else "call_0_0".replace("0", str(n), 1) if ids == "new" else f"call_{n}", "f", rest)
        for n, (_, _, rest) in enumerate(cases)
    ]
    return chunks, said, made


@settings(deadline=None, max_examples=120)
@given(streams())
def test_any_server_any_cut(stream: tuple[list[Any], str, list[Any]]):
    chunks, said, made = stream
    assert assemble(*chunks) == (said, made)
    assert assemble(*chunks, at_once=False) == (said, made)
    assert assemble(*map(SHAPES["namespace"], chunks)) == (said, made)


def test_a_call_comes_out_when_the_next_one_begins():
    assembler = ToolCallAssembler(FLAG, LIMIT)
    assembler.feed(whole('{"to_user": "one", "a": 1}', 0))
    assert assembler.texts == ["one"]
    assert assembler.calls == []
    assembler.feed(whole('{"to_user": "two', 1))
    assert [outcome(item) for item in assembler.calls] == [(0, "call_0", "f", {"a": 1})]
    assert "".join(assembler.texts) == "one\ntwo"


def test_interleaved_calls_speak_one_after_the_other_and_content_between():
    text, made = assemble(
        content("Well, "),
        calls(call('{"to_user": "o', 0, "a", "f"), call('{"to_user": "tw', 1, "b", "g")),
        content("let me see."),
        calls(call("ne", 0), call('o"', 1), content="!"),
        calls(call('"', 0)),
        content("?"),
        calls(call("}", 1), call("}", 0)),
    )
    assert text == "Well, \none\nlet me see.!?\ntwo"
    assert made == [(0, "a", "f", {}), (1, "b", "g", {})]


@pytest.mark.parametrize(
    ("entries", "expected"),
    [
        # One index for all, ids tell them apart; the second's first piece comes before its arguments.
        (
            [call("{}", 0, "a", "f"), call("", 0, "b", "f"), call("{}", 0), call("", 0, "c", "g")],
            [(0, "a", "f", {}), (1, "b", "f", {}), (2, "c", "g", {})],
        ),
        # Neither index nor ids.
        (
            [
                call("{", None, None, "f"),
                call("}", None),
                call('{"a":1}', None, None, "f"),
                call("{}", None, None, "g"),
            ],
            [(0, None, "f", {}), (1, None, "f", {"a": 1}), (2, None, "g", {})],
        ),
        # The same id for all.
        (
            [call("{}", 0, "x", "f"), call('{"a":1}', 1, "x", "f"), call('{"a":2}', 1, "x", "f")],
            [(0, "x", "f", {}), (1, "x", "f", {"a": 1}), (2, "x", "f", {"a": 2})],
        ),
        # The id or the index in the first piece only; the name in pieces; the id late.
        ([call("", 3, "x", "f"), call("{", None, "x"), call("}", None)], [(3, "x", "f", {})]),
        ([call(None, 0, "x", "get_"), call(None, 0, None, "it"), call("{}", 0)], [(0, "x", "get_it", {})]),
        ([call("{", 0, None, "f"), call("}", 0, "x")], [(0, "x", "f", {})]),
        # No arguments at all.
        ([call(None, 0, "x", "f"), call(None, 1, "y", "g")], [(0, "x", "f", {}), (1, "y", "g", {})]),
        # Indices out of order and taken twice.
        (
            [call("{}", 5, "x", "f"), call("{}", 2, "y", "f"), call("{}", 5, "z", "f")],
            [(5, "x", "f", {}), (2, "y", "f", {}), (6, "z", "f", {})],
        ),
        # Entries that say nothing begin no call.
        ([{}, {"index": 7}, {"index": 0, "type": "function"}], []),
    ],
)
def test_habits(entries: list[Any], expected: list[Any]):
    for chunks in ([calls(entry) for entry in entries], [calls(*entries)]):
        if chunks[0]["choices"][0]["delta"]["tool_calls"][0].get("index", 0) is None:
            continue
        assert assemble(*chunks)[1] == expected


def test_calls_without_index_and_id_in_one_chunk():
    chunks = [calls(call("{}", None, None, "f"), call("{}", None, None, "f"), call(None, None, None, "f"))]
    assert assemble(*chunks)[1] == [(n, None, "f", {}) for n in range(3)]


def test_the_form_before_tool_calls():
    stream = [
        chunk({"content": None, "function_call": {"name": "f", "arguments": ""}}),
        chunk({"function_call": {"arguments": '{"to_user": "hi",'}}),
        chunk({"function_call": {"arguments": '"a": 1}'}}),
    ]
    assert assemble(*stream) == ("hi", [(0, None, "f", {"a": 1})])


def test_errors_stand_in_the_place_of_their_calls():
    good, bad, cut_off = '{"to_user": "a", "x": 1}', '{"to_user": "b", "x": oops}', '{"to_user": "c'
    text, made = assemble(*whole(good, 0), *whole(bad, 1), *whole(good, 2), *whole(cut_off, 3))
    assert text == "a\nb\na\nc"
    assert made == [
        (0, "call_0", "f", {"x": 1}),
        (ToolCallParseError, "f", "call_1", bad),
        (2, "call_2", "f", {"x": 1}),
        (ToolCallParseError, "f", "call_3", cut_off),
    ]


def test_a_call_without_a_name_and_one_that_goes_on():
    assert assemble(calls(call("{}", 0, "x")))[1] == [(ToolCallParseError, None, "x", "{}")]
    late = [
        calls(call("{}", 0, "x", "f"), call("{}", 1, "y", "f")),
        calls(call(" ", 0)),
        calls(call("}", 0)),
        calls(call("}", 0)),
    ]
    assert assemble(*late)[1] == [(0, "x", "f", {}), (1, "y", "f", {}), (ToolCallParseError, "f", "x", "{} }}")]
    assert assemble(*late, at_once=False) == assemble(*late)


@pytest.mark.parametrize("size", [1, 3, 1000])
def test_too_large(size: int):
    text = '{"to_user": "' + "x" * 100 + '"}'
    fits = assemble(*whole(text, size=size), limit=len(text))
    assert fits == ("x" * 100, [(0, "call_0", "f", {})])
    said, made = assemble(
        *whole("{}", 0), *whole(text, 1, size=size), content("never"), *whole("{}", 2), limit=len(text) - 10
    )
    assert said == "x" * 92
    assert made == [(0, "call_0", "f", {}), (ToolCallTooLargeError, "f", "call_1", text[:-10])]


def test_a_delivered_call_that_runs_away():
    spaces = [calls(call(" " * 40, 0)) for _ in range(4)]
    _, made = assemble(*whole("{}", 0), *whole("{", 1), *spaces, limit=100)
    assert [item[0] for item in made] == [0, ToolCallParseError, ToolCallTooLargeError]


def test_names_in_messages_are_short():
    assembler = ToolCallAssembler(FLAG, LIMIT)
    assembler.feed([calls(call("{", 0, "x", "f" * 5000))])
    assembler.finish()
    assert len(str(assembler.calls[0])) < 200


def test_a_broken_stream_delivers_what_is_complete():
    assembler = ToolCallAssembler(FLAG, LIMIT)
    assembler.feed([*whole("{}", 0), *whole("{", 1), *whole('{"a": 1}', 2)])
    assembler.finish(broken=True)
    assert [outcome(item) for item in assembler.calls] == [(0, "call_0", "f", {}), (2, "call_2", "f", {"a": 1})]


def test_nothing_is_evaluated():
    name = "__import__('os').system"
    evil = {"__class__": "x", "a": "{0.__class__}", "b": "%s"}
    assert assemble(calls(call(json.dumps(evil), 0, "../x", name)))[1] == [(0, "../x", name, evil)]
