"""The scanner of one call's arguments, with the parser of whole documents as its oracle."""

from __future__ import annotations

import gc
import json
import weakref
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from agere.utils.argument_scanner import ArgumentScanner
from tests.utils.json_texts import FLAG, all_cuts, arguments, cut, damaged

fast = settings(deadline=None, max_examples=150)


def joined(text: str) -> str:
    """The text with the halves of surrogate pairs joined, which is not the scanner's duty."""
    return text.encode("utf-16", "surrogatepass").decode("utf-16", "surrogatepass")


def scan(pieces: list[str]) -> tuple[str, Any]:
    """What is said, and the arguments or the message of the error."""
    scanner = ArgumentScanner(FLAG)
    said = joined("".join([scanner.feed(piece) for piece in pieces]))
    assert scanner.raw == "".join(pieces)
    try:
        return said, scanner.result()
    except ValueError as error:
        return said, str(error)


@fast
@given(arguments(), st.data())
def test_equals_parsing_the_whole_however_it_is_cut(case: tuple[str, str, dict[str, Any]], data: st.DataObject):
    text, to_user, rest = case
    assert json.loads(text) == ({**rest, FLAG: to_user} if FLAG in json.loads(text) else rest)
    assert scan([text]) == (to_user, rest)
    assert scan(data.draw(cut(text))) == (to_user, rest)
    assert scan(list(text)) == (to_user, rest)


@fast
@given(arguments().flatmap(lambda case: damaged(case[0])), st.data())
def test_damaged_arguments_fail_when_the_whole_does_and_equally_at_every_cut(text: str, data: st.DataObject):
    said, outcome = scan([text])
    try:
        expected = json.loads(text) if text.strip(" \t\n\r") else {}
    except ValueError:
        expected = None
    if isinstance(expected, dict):
        expected.pop(FLAG, None)
        assert outcome == expected
    else:
        assert isinstance(outcome, str)
    assert scan(data.draw(cut(text))) == (said, outcome)
    assert scan(list(text)) == (said, outcome)


@fast
@given(arguments())
def test_text_comes_out_as_early_as_it_can(case: tuple[str, str, dict[str, Any]]):
    text, to_user, _ = case
    scanner = ArgumentScanner(FLAG)
    said = ""
    for character in text:
        was_speaking = scanner.speaking
        new = scanner.feed(character)
        assert not new or was_speaking
        said += new
        whole = joined(said)
        assert to_user.startswith(whole[:-1] if "\ud800" <= whole[-1:] <= "\udbff" else whole)
    assert joined(said) == to_user
    assert scanner.closed
    assert not scanner.failed
    assert not scanner.speaking


@pytest.mark.parametrize(
    ("text", "said", "left"),
    [
        ("", "", {}),
        (" \n", "", {}),
        ("{}", "", {}),
        ('{"to_user": "hi"}', "hi", {}),
        ('{"a": 1, "to_user": "hi", "b": 2}', "hi", {"a": 1, "b": 2}),
        ('{"a": {"to_user": "no"}, "b": [{"to_user": "no"}]}', "", {"a": {"to_user": "no"}, "b": [{"to_user": "no"}]}),
        ('{"a": "\\"to_user\\": \\"no\\"}"}', "", {"a": '"to_user": "no"}'}),
        ('{"to\\u005fuser": "hi"}', "hi", {}),
        ('{"to_user": "one", "a": 1, "to_user": "two"}', "one\ntwo", {"a": 1}),
        ('{"to_user": "", "to_user": "two", "to_user": ""}', "two", {}),
        ('{"to_user": null}', "", {}),
        ('{"to_user": 12.50 , "a": 1}', "12.50", {"a": 1}),
        ('{"to_user": true}', "true", {}),
        ('{"to_user": [1, "}", {"to_user": "\\u00e9"}] }', '[1, "}", {"to_user": "\\u00e9"}]', {}),
        ('{"to_user": {"a": "]\\""}, "b": 1}', '{"a": "]\\""}', {"b": 1}),
        ('{"a": NaN, "b": -Infinity}', "", {"a": pytest.approx(float("nan"), nan_ok=True), "b": float("-inf")}),
        ('{"a": 1, "a": 2}', "", {"a": 2}),
        ('{"to_user": "\\ud83d\\ude00\\ud83d"}', "\U0001f600\ud83d", {}),
        ('{"a": [], "b": {}, "c": [[], {}], "to_user": "x"}', "x", {"a": [], "b": {}, "c": [[], {}]}),
    ],
)
def test_arguments(text: str, said: str, left: dict[str, Any]):
    for pieces in all_cuts(text):
        got, outcome = scan(pieces)
        assert got == said
        assert outcome == left


@pytest.mark.parametrize(
    ("text", "said", "message"),
    [
        ("{", "", "are cut off"),
        ('{"to_user": "half', "half", "are cut off"),
        ('{"to_user": "half\\', "half", "are cut off"),
        ('{"to_user": "half\\ud83', "half", "are cut off"),
        ('{"to_user": "done", "a": tru', "done", "are cut off"),
        ('{"to_user": 12', "", "are cut off"),
        ('{"to_user": "a\\qb", "b": 1}', "a", "are not valid JSON"),
        ('{"to_user": "a\\u12x4"}', "a", "are not valid JSON"),
        ('{"to_user": "a\nb"}', "a", "are not valid JSON"),
        ('{"to_user": "a"} x', "a", "are not valid JSON"),
        ('{"to_user": "a"}}', "a", "are not valid JSON"),
        ('{"to_user": "a"}{"to_user": "b"}', "a", "are not valid JSON"),
        ('{"to_user": tru}', "", "are not valid JSON"),
        ('{"a": tru, "to_user": "a"}', "a", "are not valid JSON"),
        ('{"to_user": "a",}', "a", "are not valid JSON"),
        ('{"a" "to_user"}', "", "are not valid JSON"),
        ("{'to_user': 'a'}", "", "are not valid JSON"),
        ("get_weather()", "", "are not valid JSON"),
        ("[1]", "", "are no JSON object"),
        ('"to_user"', "", "are no JSON object"),
        ("null", "", "are no JSON object"),
        ("12", "", "are no JSON object"),
    ],
)
def test_broken_arguments(text: str, said: str, message: str):
    for pieces in all_cuts(text):
        got, outcome = scan(pieces)
        assert got == said
        assert isinstance(outcome, str)
        assert outcome.startswith(message)


@pytest.mark.parametrize(
    "text",
    [
        '{"a": ' + "[" * 100_000 + "]" * 100_000 + "}",
        '{"to_user": ' + '{"a":' * 100_000,
        '{"to_user": ' + "9" * 5000 + "}",
    ],
)
def test_absurd_arguments_are_an_error_and_nothing_worse(text: str):
    said, outcome = scan([text])
    assert said == ""
    assert isinstance(outcome, str)


def test_a_long_text_in_one_piece_and_in_many():
    body = 'say \\"hi\\"\\n ' * 20_000
    text = f'{{"a": "{body}", "to_user": "{body}"}}'
    expected = (json.loads(text)[FLAG], {"a": json.loads(text)["a"]})
    assert scan([text]) == expected
    assert scan([text[i : i + 7] for i in range(0, len(text), 7)]) == expected


def test_a_scanner_is_freed_at_once():
    class Weak(ArgumentScanner):
        pass

    scanner = Weak(FLAG)
    scanner.feed('{"to_user": "a')
    gone = weakref.ref(scanner)
    gc.disable()
    try:
        del scanner
        assert gone() is None
    finally:
        gc.enable()
