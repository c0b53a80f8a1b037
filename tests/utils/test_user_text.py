"""Putting together the text for the user."""

from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st

from agere.utils.user_text import UserText
from tests.utils.json_texts import cut

ME, YOU = object(), object()


def test_lines_stand_between_speakers_only():
    text = UserText()
    said = [text.say(ME, ""), text.say(YOU, "a"), text.say(ME, ""), text.say(YOU, "b"), text.say(ME, "c")]
    assert "".join([*said, text.say(ME, "d"), text.end()]) == "ab\ncd"


def test_nothing_said_is_nothing():
    assert UserText().end() == ""


def test_halves_join_within_a_speaker_and_not_across():
    text = UserText()
    assert text.say(ME, "a\ud83d") == "a"
    assert text.say(ME, "\ude00") == "\U0001f600"
    assert text.say(ME, "\ud83d") == ""
    assert text.say(YOU, "\ude00b") == "\ufffd\n\ufffdb"
    assert text.say(YOU, "\ud83d") == ""
    assert text.end() == "\ufffd"


@settings(deadline=None, max_examples=200)
@given(st.text("a\u00e9\U0001f600\ud83d\ude00", max_size=12), st.data())
def test_any_text_can_be_encoded_and_is_the_same_at_every_cut(source: str, data: st.DataObject):
    def joined(pieces: list[str]) -> str:
        text = UserText()
        return "".join([text.say(ME, piece) for piece in pieces]) + text.end()

    result = joined([source])
    result.encode()
    assert result == source.encode("utf-16", "surrogatepass").decode("utf-16", "replace")
    assert joined(data.draw(cut(source))) == result
    assert joined(list(source)) == result
