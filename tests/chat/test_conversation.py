"""Whole turns, within a budget, in an order that every server accepts."""

from __future__ import annotations

import itertools
import json
import threading
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agere.chat.conversation import Conversation
from agere.chat.conversation_messages import INTERRUPTED, INTERRUPTED_CALL, Message
from agere.chat.tokens import count_with, estimate
from agere.errors import ConversationClosedError, ConversationError, MessageError, TurnError

Said = dict[str, Any]


def user(text: str) -> Said:
    return {"role": "user", "content": text}


def assistant(text: str) -> Said:
    return {"role": "assistant", "content": text}


def calls(*ids: str, content: str | None = None) -> Said:
    made = [{"id": one, "type": "function", "function": {"name": "look", "arguments": "{}"}} for one in ids]
    return {"role": "assistant", "content": content, "tool_calls": made}


def result(of: str, text: str = "seen") -> Said:
    return {"role": "tool", "tool_call_id": of, "content": text}


def turn(text: str) -> list[Said]:
    return [user(text), assistant(text)]


def by_length(message: Message) -> int:
    return len(message.get("content") or "")


def accepted(messages: list[Message]) -> bool:
    """Whether a strict server takes these messages: results right behind their calls, one for each."""
    open_calls: list[str] = []
    for number, message in enumerate(messages):
        role = message["role"]
        if role == "system" and number:
            return False
        if role == "tool":
            if message["tool_call_id"] not in open_calls:
                return False
            open_calls.remove(message["tool_call_id"])
        elif open_calls:
            return False
        open_calls = [*open_calls, *(call["id"] for call in message.get("tool_calls") or ())]
    return not open_calls


@st.composite
def turns(draw: st.DrawFn) -> list[Said]:
    """A turn as agents have them: a question, rounds of calls with their results, an answer."""
    text = st.text(max_size=30)
    made = [user(draw(text))]
    for number in range(draw(st.integers(0, 3))):
        ids = [f"c{number}_{n}" for n in range(draw(st.integers(1, 3)))]
        made.append(calls(*ids, content=draw(st.none() | text)))
        made += [result(one, draw(text)) for one in draw(st.permutations(ids))]
    return [*made, assistant(draw(text))]


# -- turns


def test_messages_are_the_system_message_and_the_turns() -> None:
    conversation = Conversation("Be brief.")
    conversation.add_turn([user("a"), calls("1", "2"), result("2"), result("1"), assistant("b")])
    conversation.add_turn(turn("c"))
    roles = [message["role"] for message in conversation.messages]
    assert roles == ["system", "user", "assistant", "tool", "tool", "assistant", "user", "assistant"]
    assert conversation.system == "Be brief."
    assert not conversation.in_turn
    assert "8 messages" in repr(conversation)
    assert Conversation().messages == []
    assert Conversation().system is None


def test_a_turn_message_by_message() -> None:
    conversation = Conversation()
    conversation.begin_turn()
    assert conversation.in_turn
    for number, message in enumerate([user("a"), calls("1"), result("1"), assistant("b")], 1):
        conversation.add(message)
        assert len(conversation.messages) == number
    conversation.end_turn()
    assert not conversation.in_turn
    assert accepted(conversation.messages)


def test_what_is_passed_in_may_change_afterwards() -> None:
    conversation = Conversation()
    message = user("a")
    conversation.add_turn([message, assistant("b")])
    message["content"] = "changed"
    conversation.messages.clear()
    assert conversation.messages == [user("a"), assistant("b")]


def test_dropping_a_turn_leaves_no_trace() -> None:
    conversation = Conversation("s", max_tokens=20, counter=by_length)
    for text in ("aaaa", "bbbb"):
        conversation.add_turn(turn(text))
    before, tokens = conversation.messages, conversation.tokens
    conversation.begin_turn()
    conversation.add(user("c" * 12))
    assert [message["content"][0] for message in conversation.messages] == ["s", "c"], "the old turns made room"
    conversation.drop_turn()
    assert (conversation.messages, conversation.tokens) == (before, tokens)
    conversation.begin_turn()
    conversation.drop_turn()
    assert conversation.messages == before


@pytest.mark.parametrize(
    ("said", "added"),
    [
        ([user("a")], [assistant(INTERRUPTED)]),
        ([user("a"), assistant("half an ans")], []),
        ([user("a"), calls("1")], [result("1", INTERRUPTED_CALL), assistant(INTERRUPTED)]),
        (
            [user("a"), calls("1", "2", "3"), result("2")],
            [result("1", INTERRUPTED_CALL), result("3", INTERRUPTED_CALL), assistant(INTERRUPTED)],
        ),
        ([user("a"), calls("1"), result("1")], [assistant(INTERRUPTED)]),
        ([], []),
    ],
)
def test_keeping_a_turn_that_was_broken_off(said: list[Said], added: list[Said]) -> None:
    conversation = Conversation()
    conversation.begin_turn()
    for message in said:
        conversation.add(message)
    conversation.keep_turn()
    assert conversation.messages == [*said, *added]
    assert accepted(conversation.messages)
    conversation.add_turn(turn("next"))


# -- refused


@pytest.mark.parametrize(
    ("messages", "words"),
    [
        ([], "a turn has at least one message"),
        ([user("a"), calls("1")], "the tool calls '1' have no results yet"),
        ([user("a"), calls("1", "2"), result("1"), assistant("b")], "the results of the tool calls '2' come first"),
        ([user("a"), result("1")], "no open call '1' that this result could answer; open are: none"),
        ([user("a"), calls("1"), result("1"), result("1")], "no open call '1'"),
        ([user("a"), calls("1"), result("2")], "open are: '1'"),
        (["a"], "a message is a dict of the OpenAI protocol, not 'a'.*model_dump"),
        ([{"content": "a"}], "the role of a message is one of system, .*, not None"),
        ([{"role": "bot", "content": "a"}], "not 'bot'"),
        ([{"role": "user"}], "the content of a message of the role user is a str"),
        ([{"role": "user", "content": 3}], "not 3"),
        ([{"role": "user", "content": ["a"]}], "or a list of parts"),
        ([{"role": "tool", "content": "a"}], "needs the tool_call_id"),
        (
            [{"role": "user", "content": "a", "tool_calls": calls("1")["tool_calls"]}],
            "only messages of the role",
        ),
        ([{"role": "assistant", "tool_calls": []}], "and not empty"),
        ([{"role": "assistant", "tool_calls": ["x"]}], "a tool call has an id"),
        ([{"role": "assistant", "tool_calls": [{"id": None, "function": {}}]}], "a tool call has an id"),
        ([{"role": "user", "content": "a", "extra": object()}], "cannot be written as JSON"),
        ([{"role": "user", "content": "a", "extra": {1, 2}}], "cannot be written as JSON"),
    ],
)
def test_what_no_server_accepts_is_refused_and_changes_nothing(messages: list[Any], words: str) -> None:
    conversation = Conversation()
    conversation.add_turn(turn("before"))
    with pytest.raises(MessageError, match=words):
        conversation.add_turn(messages)
    assert conversation.messages == turn("before")
    assert not conversation.in_turn


def test_a_refused_message_leaves_the_turn_under_way() -> None:
    conversation = Conversation()
    conversation.begin_turn()
    conversation.add(user("a"))
    conversation.add(calls("1"))
    for wrong in (assistant("b"), result("2"), {"role": "x"}):
        with pytest.raises(MessageError):
            conversation.add(wrong)
    with pytest.raises(MessageError, match="no results yet"):
        conversation.end_turn()
    conversation.add(result("1"))
    conversation.end_turn()
    assert len(conversation.messages) == 3


def test_one_turn_at_a_time() -> None:
    conversation = Conversation()
    for wrong in (lambda: conversation.add(user("a")), conversation.end_turn, conversation.keep_turn):
        with pytest.raises(TurnError, match="no turn is under way"):
            wrong()
    with pytest.raises(TurnError, match="no turn is under way"):
        conversation.drop_turn()
    conversation.begin_turn()
    with pytest.raises(TurnError, match="is under way; end or drop it"):
        conversation.begin_turn()
    with pytest.raises(TurnError, match="is under way"):
        conversation.add_turn(turn("a"))


def test_after_closing_nothing_is_added() -> None:
    with Conversation("s") as conversation:
        conversation.add_turn(turn("a"))
    conversation.close()
    assert len(conversation.messages) == 3
    for wrong in (
        conversation.begin_turn,
        lambda: conversation.add_turn(turn("b")),
        lambda: conversation.add(user("b")),
    ):
        with pytest.raises(ConversationClosedError, match="has been closed"):
            wrong()
    assert isinstance(ConversationClosedError("x"), ConversationError)


@pytest.mark.parametrize(
    ("options", "error", "words"),
    [
        ({"system": 3}, TypeError, "system is the text"),
        ({"max_tokens": 0}, ValueError, "max_tokens is a whole number from 1 up, or None, not 0"),
        ({"max_tokens": True}, ValueError, "not True"),
        ({"max_tokens": 1.5}, ValueError, r"not 1\.5"),
        ({"counter": 3}, TypeError, "counter is a function"),
        ({"unfinished": "maybe"}, ValueError, "unfinished is 'keep' or 'drop'"),
        ({"system": "x" * 100, "max_tokens": 10}, ValueError, "the system message takes 30 tokens and leaves nothing"),
    ],
)
def test_options_of_no_use(options: dict[str, Any], error: type[Exception], words: str) -> None:
    with pytest.raises(error, match=words):
        Conversation(**options)


# -- the budget


def test_old_turns_fall_out_whole_and_many_at_a_time() -> None:
    conversation = Conversation("Be brief.", max_tokens=200, counter=by_length)
    counts = []
    for number in range(100):
        conversation.add_turn([user(f"{number:05}"), calls("1"), result("1", "12345"), assistant("done.")])
        counts.append(len(conversation.messages))
        assert conversation.messages[0]["role"] == "system"
        assert conversation.messages[-4]["content"] == f"{number:05}"
        assert accepted(conversation.messages)
        assert conversation.tokens <= 200
    drops = sum(later < before for before, later in itertools.pairwise(counts))
    assert 0 < drops < 20, "a model that caches what it has read begins anew at each of these"


def test_a_turn_that_takes_more_than_the_budget_stays_alone() -> None:
    conversation = Conversation("s", max_tokens=20, counter=by_length)
    conversation.add_turn(turn("a"))
    conversation.add_turn(turn("x" * 50))
    assert [message["content"] for message in conversation.messages] == ["s", "x" * 50, "x" * 50]
    assert conversation.tokens == 101
    conversation.add_turn(turn("b"))
    assert [message["content"] for message in conversation.messages] == ["s", "b", "b"]


def test_without_a_budget_nothing_falls_out() -> None:
    conversation = Conversation()
    for _ in range(200):
        conversation.add_turn(turn("x" * 1000))
    assert len(conversation.messages) == 400


@given(
    st.lists(st.tuples(turns(), st.sampled_from(["whole", "steps", "drop", "keep"]), st.integers(0, 9)), max_size=12),
    st.integers(2, 120),
    st.none() | st.just("s"),
)
def test_the_budget_holds_for_every_talk(
    talk: list[tuple[list[Said], str, int]], max_tokens: int, system: str | None
) -> None:
    conversation = Conversation(system, max_tokens=max_tokens, counter=by_length)
    head = 0 if system is None else 1
    for messages, how, cut in talk:
        before = conversation.messages
        if how == "whole":
            conversation.add_turn(messages)
        else:
            conversation.begin_turn()
            for message in messages if how == "steps" else messages[:cut]:
                conversation.add(message)
                shown = conversation.messages
                assert shown[-1] == message
                assert conversation.tokens == sum(map(by_length, shown))
            {"steps": conversation.end_turn, "drop": conversation.drop_turn, "keep": conversation.keep_turn}[how]()
        messages_now = conversation.messages
        assert accepted(messages_now)
        assert [message["role"] for message in messages_now[:head]] == ["system"] * head
        assert conversation.tokens == sum(map(by_length, messages_now))
        starts = [number for number, message in enumerate(messages_now) if message["role"] == "user"]
        assert conversation.tokens <= max_tokens or len(starts) == 1, "more than one turn above the budget"
        assert not starts or starts[0] == head, "half a turn fell out"
        if how == "drop":
            assert messages_now == before


# -- counting


class Encoder:
    """As ``transformers`` and ``tiktoken`` have it."""

    def encode(self, text: str) -> list[int]:
        return [ord(char) for char in text]


class Strict(Encoder):
    """As ``tiktoken``: special tokens in a text are refused by ``encode``."""

    def encode(self, text: str) -> list[int]:
        raise ValueError("a special token")

    def encode_ordinary(self, text: str) -> list[int]:
        return [ord(char) for char in text]


def test_counting_with_a_tokenizer() -> None:
    message = {"role": "user", "content": "12345"}
    for tokenizer in (Encoder(), Strict(), len, list):
        count = count_with(tokenizer, per_message=1)
        assert count(message) == 6
    count = count_with(Encoder())
    parts = {"role": "user", "content": [{"type": "text", "text": "123"}, {"type": "image_url", "image_url": {}}]}
    assert count_with(len, per_message=0, per_image=100)(parts) == 103
    call = calls("1")
    assert count(call) == 5 + len(json.dumps(call["tool_calls"][0]))
    assert count(result("1", "12")) == 5 + 2 + 1
    conversation = Conversation("123", counter=Encoder())
    assert conversation.tokens == 8
    with pytest.raises(TypeError, match="a tokenizer has an encode"):
        count_with(3)  # type: ignore[arg-type]


def test_the_estimate() -> None:
    assert estimate(user("")) == 5
    assert estimate(user("four for")) == 5 + 2
    assert estimate(user("four four")) == 5 + 3
    assert estimate(user("12.")) == 5 + 2
    assert estimate(user("日本語")) == 5 + 5
    assert estimate(user("\ud800")) == 5 + 2
    assert estimate({"role": "user", "content": [{"type": "image_url", "image_url": {"url": "x" * 100_000}}]}) == 770


@pytest.mark.parametrize("given_", [-1, 1.5, None, True, "3"])
def test_a_counter_that_makes_no_sense(given_: Any) -> None:
    sensible = True
    conversation = Conversation(counter=lambda message: 1 if sensible else given_)
    conversation.add_turn(turn("a"))
    sensible = False
    with pytest.raises(ValueError, match="tokens are a whole number from 0 up"):
        conversation.add_turn(turn("b"))
    conversation.begin_turn()
    with pytest.raises(ValueError, match="tokens are a whole number from 0 up"):
        conversation.add(user("b"))
    conversation.drop_turn()
    assert conversation.messages == turn("a")


def test_another_thread_may_take_over() -> None:
    conversation = Conversation()
    thread = threading.Thread(target=conversation.add_turn, args=(turn("a"),))
    thread.start()
    thread.join()
    assert conversation.messages == turn("a")
