"""Strategies: arguments of a tool call as a model may write them, and ways to cut them."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

from hypothesis import strategies as st

FLAG = "to_user"

texts = st.text(
    st.one_of(
        st.sampled_from('"\\/\b\f\n\r\t{}[]:, aé\u2028\U0001f600\ufeff\x7f'),
        st.characters(exclude_categories=["Cs"]),
    ),
    max_size=12,
)
keys = st.one_of(st.sampled_from(["", "city", "to_use", "to_user ", "TO_USER", 'a"b', "a\\b", "é"]), texts)
keys = keys.filter(lambda key: key != FLAG)
values = st.recursive(
    st.one_of(st.none(), st.booleans(), st.integers(-(10**18), 10**18), st.floats(allow_nan=False), texts),
    lambda inner: st.one_of(
        st.lists(inner, max_size=3),
        st.dictionaries(st.one_of(st.just(FLAG), keys), inner, max_size=3),
    ),
    max_leaves=6,
)


@st.composite
def escaped(draw: st.DrawFn, text: str) -> str:
    """A JSON string literal for the text, each character in any of the forms that JSON allows."""
    short = {"\b": "\\b", "\f": "\\f", "\n": "\\n", "\r": "\\r", "\t": "\\t"}
    short |= {'"': '\\"', "\\": "\\\\", "/": "\\/"}
    pieces = []
    for character in text:
        forms = [json.dumps(character)[1:-1]]
        if character in short:
            forms.append(short[character])
        if character >= " " and character not in '"\\':
            forms.append(character)
        units = character.encode("utf-16-be")
        code = "".join(f"\\u{units[i]:02x}{units[i + 1]:02X}" for i in range(0, len(units), 2))
        pieces.append(draw(st.sampled_from([*forms, code])))
    return '"' + "".join(pieces) + '"'


@st.composite
def rendered(draw: st.DrawFn, value: Any) -> str:
    """A JSON text for the value, with any white space and any escapes."""
    if isinstance(value, str):
        return draw(escaped(value))
    space = st.sampled_from(["", "", "", " ", "\n\t", "\r"])
    if isinstance(value, list):
        items = [draw(space) + draw(rendered(item)) + draw(space) for item in value]
        return "[" + (",".join(items) or draw(space)) + "]"
    if isinstance(value, dict):
        items = [
            draw(space) + draw(escaped(key)) + draw(space) + ":" + draw(space) + draw(rendered(item)) + draw(space)
            for key, item in value.items()
        ]
        return "{" + (",".join(items) or draw(space)) + "}"
    return json.dumps(value)


@st.composite
def arguments(draw: st.DrawFn) -> tuple[str, str, dict[str, Any]]:
    """The JSON text of a call's arguments, the text for the user in it, and what is left for the tool."""
    rest = draw(st.dictionaries(keys, values, max_size=3))
    to_user = draw(st.one_of(st.just(""), texts, texts))
    members = list(rest.items())
    if to_user or draw(st.booleans()):
        members.insert(draw(st.integers(0, len(members))), (FLAG, to_user))
    return draw(rendered(dict(members))), to_user, rest


@st.composite
def cut(draw: st.DrawFn, text: str) -> list[str]:
    """The text in pieces, empty ones among them."""
    places = sorted(draw(st.lists(st.integers(0, len(text)), max_size=8)))
    return [text[start:end] for start, end in zip([0, *places], [*places, len(text)], strict=True)]


@st.composite
def damaged(draw: st.DrawFn, text: str) -> str:
    """The text with a few characters changed, added, taken out, or its end missing."""
    for _ in range(draw(st.integers(1, 3))):
        place = draw(st.integers(0, len(text)))
        match draw(st.sampled_from(["add", "drop", "end"])):
            case "add":
                character = draw(st.sampled_from('{}[]:,"\\u0dt \n\x01-eN'))
                text = text[:place] + character + text[place:]
            case "drop":
                text = text[:place] + text[place + 1 :]
            case _:
                text = text[:place]
    return text


def all_cuts(text: str) -> Sequence[list[str]]:
    """Each way to cut the text in two, and character by character."""
    return [[text[:i], text[i:]] for i in range(len(text) + 1)] + [list(text)]
