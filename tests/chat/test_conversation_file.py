"""A conversation in a file: resumed where it was, whatever ended the process before, and by one owner at a time."""

from __future__ import annotations

import codecs
import json
import os
import signal
import subprocess
import sys
import textwrap
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from agere.chat.conversation import Conversation
from agere.chat.conversation_file import HEADER
from agere.chat.conversation_messages import INTERRUPTED, INTERRUPTED_CALL
from agere.errors import (
    ConversationClosedError,
    ConversationFileError,
    ConversationInUseError,
    MessageError,
    TurnError,
)
from tests.chat.test_conversation import accepted, assistant, by_length, calls, result, turn, turns, user
from tests.support.subprocesses import ROOT, run_python

in_one_directory = settings(suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow])


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "talk.jsonl"


def lines(path: Path) -> list[Any]:
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]


# -- resuming


def test_it_goes_on_where_it_was(path: Path) -> None:
    with Conversation("Be brief.", path=path) as conversation:
        conversation.add_turn([user("a"), calls("1"), result("1"), assistant("ж\ud800\n")])
        before = conversation.messages
    with Conversation(path=path) as conversation:
        assert conversation.messages == before
        assert conversation.system == "Be brief."
        conversation.add_turn(turn("c"))
        before = conversation.messages
    with Conversation.open(os.fspath(path)) as conversation:
        assert conversation.messages == before
        assert conversation.path == os.fspath(path)
        assert str(path) in repr(conversation)


def test_each_message_is_in_the_file_when_it_has_been_added(path: Path) -> None:
    with Conversation("s", path=path) as conversation:
        assert lines(path) == [{"agere": "conversation", "version": 1}, {"system": "s"}]
        conversation.begin_turn()
        said = [user("a"), calls("1"), result("1"), assistant("b")]
        for number, message in enumerate(said, 1):
            conversation.add(message)
            assert lines(path)[2:] == said[:number]
        conversation.end_turn()
        assert lines(path)[6:] == [{"turn": "end"}]
        conversation.begin_turn()
        conversation.add(user("c"))
        conversation.drop_turn()
        assert lines(path)[7:] == [user("c"), {"turn": "dropped"}]
    with Conversation(path=path) as conversation:
        assert conversation.messages[1:] == said


@pytest.mark.parametrize("unfinished", ["keep", "drop"])
def test_a_turn_that_was_under_way(path: Path, unfinished: Any) -> None:
    with Conversation(path=path) as conversation:
        conversation.add_turn(turn("a"))
        conversation.begin_turn()
        for message in (user("b"), calls("1", "2"), result("2")):
            conversation.add(message)
    kept = [user("b"), calls("1", "2"), result("2"), result("1", INTERRUPTED_CALL), assistant(INTERRUPTED)]
    expected = turn("a") + (kept if unfinished == "keep" else [])
    for _ in range(2):
        with Conversation.open(path, unfinished=unfinished) as conversation:
            assert conversation.messages == expected
            assert not conversation.in_turn


def test_the_newest_system_message_counts(path: Path) -> None:
    for system, expected in ((None, None), ("a", "a"), (None, "a"), ("b", "b"), ("b", "b"), (None, "b")):
        with Conversation(system, path=path) as conversation:
            assert conversation.system == expected
    assert [line["system"] for line in lines(path)[1:]] == ["a", "b"]


def test_the_budget_is_where_it_was(path: Path) -> None:
    options: dict[str, Any] = {"max_tokens": 50, "counter": by_length}
    for number in range(40):
        with Conversation("s", path=path, **options) as conversation:
            conversation.add_turn(turn(f"{number:03}"))
            if number % 3 == 0:
                conversation.begin_turn()
                conversation.add(user("x" * 45))
                conversation.drop_turn()
            before = conversation.messages
        with Conversation.open(path, **options) as conversation:
            assert conversation.messages == before
    assert len(before) < 40
    with Conversation.open(path) as conversation:
        assert len(conversation.messages) == 81, "the file keeps all"
    with pytest.raises(ValueError, match="the system message takes"):
        Conversation("s" * 60, path=path, **options)
    assert lines(path)[1] == {"system": "s"}


def test_saving_into_a_new_file(path: Path, tmp_path: Path) -> None:
    conversation = Conversation("s", max_tokens=12, counter=by_length)
    for text in ("aaa", "bbb", "ccc"):
        conversation.add_turn(turn(text))
    kept = conversation.messages
    conversation.begin_turn()
    conversation.add(user("d"))
    conversation.save(path)
    with Conversation.open(path) as saved:
        assert saved.messages == kept
    before = path.read_bytes()
    with pytest.raises(FileExistsError, match="into a new file"):
        conversation.save(path)
    assert path.read_bytes() == before
    (tmp_path / "empty").touch()
    conversation.save(tmp_path / "empty")


@in_one_directory
@given(st.lists(st.tuples(turns(), st.sampled_from(["whole", "steps", "drop", "keep"]), st.integers(0, 9)), max_size=6))
def test_what_is_loaded_is_what_was_saved(tmp_path: Path, talk: list[tuple[list[Any], str, int]]) -> None:
    path = tmp_path / "talk.jsonl"
    path.unlink(missing_ok=True)
    options: dict[str, Any] = {"max_tokens": 60, "counter": by_length, "path": path}
    conversation = Conversation("s", **options)
    for messages, how, cut in talk:
        if how == "whole":
            conversation.add_turn(messages)
        else:
            conversation.begin_turn()
            for message in messages if how == "steps" else messages[:cut]:
                conversation.add(message)
            {"steps": conversation.end_turn, "drop": conversation.drop_turn, "keep": conversation.keep_turn}[how]()
        before, tokens = conversation.messages, conversation.tokens
        conversation.close()
        conversation = Conversation(**options)
        assert (conversation.messages, conversation.tokens) == (before, tokens)
    conversation.close()


# -- torn lines, and files that are no such thing


@in_one_directory
@given(st.lists(turns(), max_size=4), turns(), st.data())
def test_a_file_that_was_cut_at_any_byte(
    tmp_path: Path, talk: list[list[Any]], last: list[Any], data: st.DataObject
) -> None:
    path = tmp_path / "talk.jsonl"
    path.unlink(missing_ok=True)
    with Conversation("s", path=path) as conversation:
        for messages in talk:
            conversation.add_turn(messages)
        conversation.begin_turn()
        for message in last:
            conversation.add(message)
    whole = path.read_bytes()
    cut = whole[: data.draw(st.integers(0, len(whole)))]
    path.write_bytes(cut)
    finished = [json.loads(line) for line in cut.split(b"\n")[:-1]]
    said = [line for line in finished if "role" in line]
    with Conversation.open(path) as conversation:
        messages = conversation.messages
    assert accepted(messages)
    head = [] if conversation.system is None else [{"role": "system", "content": "s"}]
    assert messages[: len(head) + len(said)] == [*head, *said], "a finished message was lost"
    with Conversation.open(path) as conversation:
        assert conversation.messages == messages
        conversation.add_turn(turn("next"))
        assert path.read_bytes().startswith(cut[: cut.rfind(b"\n") + 1])


def test_a_line_that_lacks_nothing_but_its_end(path: Path) -> None:
    with Conversation(path=path) as conversation:
        conversation.add_turn(turn("a"))
    path.write_bytes(path.read_bytes()[:-1])
    with Conversation.open(path) as conversation:
        assert conversation.messages == turn("a")
        conversation.add_turn(turn("b"))
    with Conversation.open(path) as conversation:
        assert conversation.messages == turn("a") + turn("b")


def line(record: Any) -> bytes:
    return json.dumps(record).encode() + b"\n"


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"hello\n", "line 1: this is no conversation of Agere"),
        (b"hello", "line 1: it does not say that this is a conversation"),
        (b"\x89PNG\r\n\x1a\n\x00\x00", "line 1: this is no conversation of Agere"),
        (b'{"role": "user", "content": "a"}\n', "line 1: it does not say that this is a conversation"),
        (b'{"agere": "other"}\n', "line 1: it does not say"),
        (b'{"agere": "conversation", "version": 99}\n', "line 1: its version, 99, is not known here"),
        (b"[]\n", "line 1: a line holds a JSON object, not a list"),
        (b"\n", "line 1: this is no conversation"),
        (codecs.BOM_UTF8, "line 1: it does not say"),
        (codecs.BOM_UTF8 + HEADER[:20], "line 1: it does not say"),
        (codecs.BOM_UTF16 + HEADER, "line 1: this is no conversation"),
        (HEADER + codecs.BOM_UTF8 + line(user("a")), "line 2: this is no JSON in UTF-8"),
        (b"\n" + HEADER, "line 1: this is no conversation"),
        (HEADER + b"\n" + line(user("a")), "line 2: this is no JSON in UTF-8"),
        (HEADER + b" \n\n" + b'{"role": ', "line 2: this is no JSON in UTF-8"),
        (HEADER + b"\n\x00\n", "line 2: this is no JSON in UTF-8"),
        (HEADER + b"{bad\n" + line(user("a")), "line 2: this is no JSON in UTF-8"),
        (HEADER + line(user("a")) + b"\xff\n", "line 3: this is no JSON in UTF-8"),
        (HEADER + b"3\n", "line 2: a line holds a JSON object, not a int"),
        (HEADER + line({"what": 1}), "line 2: this is neither a message nor a mark"),
        (HEADER + line({"turn": "end"}), "line 2: no turn is under way"),
        (HEADER + line({"turn": "dropped"}), "line 2: no turn is under way"),
        (HEADER + line({"turn": "other"}), "line 2: this is neither"),
        (HEADER + line({"role": "bot", "content": ""}), "line 2: the role of a message"),
        (HEADER + line({"role": "user", "content": 3}), "line 2: the content of a message"),
        (HEADER + line(user("a")) + line(result("1")), "line 3: there is no open call '1'"),
        (HEADER + line(user("a")) + line(calls("1")) + line({"turn": "end"}), "line 4: the tool calls '1' have no"),
        (HEADER + line(user("a")) + line(calls("1")) + line(user("b")), "line 4: the results of the tool calls '1'"),
        (HEADER + line(user("a")) + line({"system": "s"}), "line 3: this is neither"),
        (HEADER + line({"system": 3}), "line 2: this is neither"),
        (HEADER + HEADER, "line 2: this is neither"),
        (HEADER + b'{"role": "user", "content": 3}', "line 2: the content of a message"),
        (HEADER + b"[" * 100_000 + b"\n", "line 2: "),
    ],
)
def test_a_file_that_is_no_such_thing_is_refused_and_left_alone(path: Path, content: bytes, words: str) -> None:
    path.write_bytes(content)
    before = path.stat()
    with pytest.raises(ConversationFileError, match=words) as info:
        Conversation("s", path=path)
    assert str(path) in str(info.value)
    assert path.read_bytes() == content
    assert path.stat().st_mtime_ns == before.st_mtime_ns
    with pytest.raises(ConversationFileError):  # and the lock is free again
        Conversation.open(path)


@pytest.mark.parametrize("mark", [b"", codecs.BOM_UTF8])
@pytest.mark.parametrize("end", [b"", b"\n", b"\n\n \t\n", b"\n   ", b"  ", b"\r\n", b"\r\n\r\n", b" \n \n "])
@pytest.mark.parametrize("said", [[], turn("a")])
def test_what_editors_leave_is_borne(path: Path, mark: bytes, end: bytes, said: list[Any]) -> None:
    with Conversation(path=path) as conversation:
        if said:
            conversation.add_turn(said)
    whole = mark + path.read_bytes()[:-1]
    path.write_bytes(whole + end)
    if not said and b"\n" not in end:
        return  # that is a first line that was never finished, tried elsewhere
    for more in ([], turn("b"), turn("c")):
        with Conversation(path=path) as conversation:
            assert conversation.messages == said
            if more:
                conversation.add_turn(more)
                said = said + more
    content = path.read_bytes()
    assert content.startswith(whole)
    assert all(line.strip() for line in content[:-1].split(b"\n"))


def test_blank_lines_behind_a_turn_that_was_under_way(path: Path) -> None:
    path.write_bytes(HEADER + line(user("a")) + b"\n\n")
    with Conversation(path=path) as conversation:
        assert conversation.messages == [user("a"), assistant(INTERRUPTED)]
    assert lines(path)[1:] == [user("a"), assistant(INTERRUPTED), {"turn": "end"}]


@in_one_directory
@given(st.binary(max_size=200))
def test_any_bytes_at_all(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "talk.jsonl"
    path.write_bytes(content)
    if HEADER.startswith(content):
        Conversation.open(path).close()
        return
    with pytest.raises(ConversationFileError):
        Conversation.open(path)
    assert path.read_bytes() == content


@pytest.mark.parametrize("content", [b"", HEADER, HEADER[:10], HEADER[:-1]])
def test_a_file_that_was_only_just_made(path: Path, content: bytes) -> None:
    path.write_bytes(content)
    with Conversation.open(path) as conversation:
        assert conversation.messages == []
    assert path.read_bytes() == HEADER


def test_places_where_no_file_can_be(path: Path, tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        Conversation(path=tmp_path / "none" / "talk.jsonl")
    with pytest.raises(OSError, match="directory"):
        Conversation(path=tmp_path)
    with pytest.raises(ConversationFileError, match="no regular file"):
        Conversation(path=os.devnull)
    os.mkfifo(path)
    with pytest.raises(ConversationFileError, match="no regular file"):
        Conversation(path=path)


@pytest.mark.parametrize("wrong", [3, True, [], b"\x00", "a\x00b", "", b""])
def test_what_is_no_path(wrong: Any) -> None:
    with pytest.raises((TypeError, ValueError), match=r"^path is the file that keeps the conversation"):
        Conversation(path=wrong)
    with pytest.raises((TypeError, ValueError), match=r"^path is the file that keeps the conversation"):
        Conversation().save(wrong)


def test_a_path_of_bytes(path: Path) -> None:
    with Conversation(path=os.fsencode(path)) as conversation:  # type: ignore[arg-type] - os.fsencode's, as open() takes
        conversation.add_turn(turn("a"))
        assert conversation.path == str(path)
    with Conversation(path=path) as conversation:
        assert conversation.messages == turn("a")


# -- one owner


def test_two_objects_on_one_file(path: Path, tmp_path: Path) -> None:
    other = tmp_path / "other"
    other.symlink_to(path)
    hard = tmp_path / "hard"
    with Conversation(path=path) as conversation:
        conversation.add_turn(turn("a"))
        hard.hardlink_to(path)
        for name in (path, other, hard):
            with pytest.raises(ConversationInUseError, match=f"{name} is in use.*not been closed"):
                Conversation(path=name)
        conversation.add_turn(turn("b"))
    with Conversation(path=other) as conversation:
        assert len(conversation.messages) == 4


def test_a_dropped_conversation_gives_its_file_back(path: Path) -> None:
    Conversation(path=path).add_turn(turn("a"))
    with Conversation(path=path) as conversation:
        assert conversation.messages == turn("a")


def test_two_processes_on_one_file(path: Path) -> None:
    program = """
        import sys
        from agere.chat.conversation import Conversation
        from agere.errors import ConversationInUseError
        try:
            Conversation(path=sys.argv[1])
        except ConversationInUseError as error:
            print("refused")
        """
    with Conversation(path=path) as conversation:
        run_python(program, str(path)).check(out="refused\n")
        conversation.add_turn(turn("a"))
    run_python(program, str(path)).check(out="")


WRITER = """
    import sys
    from agere.chat.conversation import Conversation
    conversation = Conversation("s", path=sys.argv[1])
    size = int(sys.argv[2])
    for number in range(10_000):
        conversation.begin_turn()
        for role in ("user", "assistant"):
            conversation.add({"role": role, "content": f"{number} {role} " + "x" * size})
            print(number, role, flush=True)
        conversation.end_turn()
    """


@pytest.mark.parametrize(("size", "after"), [(10, 1), (10, 37), (3_000_000, 1), (3_000_000, 4), (3_000_000, 7)])
def test_a_killed_process_loses_no_finished_message(path: Path, size: int, after: int) -> None:
    writer = subprocess.Popen(
        [sys.executable, "-c", textwrap.dedent(WRITER), str(path), str(size)],
        stdout=subprocess.PIPE,
        cwd=ROOT,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
    )
    assert writer.stdout is not None
    with writer:
        told = [writer.stdout.readline() for _ in range(after)]
        with pytest.raises(ConversationInUseError):
            Conversation.open(path)
        writer.send_signal(signal.SIGKILL)
        told += writer.stdout.readlines()
    with Conversation.open(path) as conversation:
        messages = conversation.messages
        conversation.add_turn(turn("next"))
    assert accepted(messages)
    if not told[-1].endswith(b"\n"):  # what it was just telling us was cut off, too
        told.pop()
    begins = [" ".join(message["content"].split()[:2]) for message in messages[1:]]
    assert begins[: len(told)] == [one.decode().strip() for one in told]
    assert all(len(message["content"]) > size for message in messages[1:-1])
    with Conversation.open(path) as conversation:
        assert conversation.messages == [*messages, *turn("next")]


def test_a_full_disk(path: Path) -> None:
    """The kernel writes what still fits, and refuses the rest."""
    run_python(
        """
        import resource, sys
        from agere.chat.conversation import Conversation
        path = sys.argv[1]
        resource.setrlimit(resource.RLIMIT_FSIZE, (500, 500))
        conversation = Conversation("s", path=path)
        conversation.add_turn([{"role": "user", "content": "a"}, {"role": "assistant", "content": "b"}])
        before, size = conversation.messages, len(open(path, "rb").read())
        big = {"role": "user", "content": "x" * 1000}
        for say in (lambda: conversation.add_turn([big]), lambda: conversation.begin_turn() or conversation.add(big)):
            try:
                say()
            except OSError as error:
                print(type(error).__name__)
            assert conversation.messages == before, conversation.messages
            assert len(open(path, "rb").read()) == size
        conversation.drop_turn()
        conversation.add_turn([{"role": "user", "content": "c"}])
        conversation.close()
        with Conversation.open(path) as again:
            assert [message["content"] for message in again.messages] == ["s", "a", "b", "c"]
        """,
        str(path),
    ).check(out="OSError\nOSError\n")


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs os.fork")
def test_a_forked_child_does_not_write(path: Path) -> None:
    run_python(
        """
        import os, sys, time
        from agere.chat.conversation import Conversation
        from agere.errors import ConversationClosedError, ConversationInUseError
        say = [{"role": "user", "content": "a"}]
        conversation = Conversation("s", path=sys.argv[1])
        memory = Conversation()
        read, write = os.pipe()
        child = os.fork()
        if child == 0:
            assert conversation.messages[0]["content"] == "s"
            by_steps = lambda: conversation.begin_turn() or conversation.add(say[0])
            for wrong in (lambda: conversation.add_turn(say), by_steps):
                try:
                    wrong()
                except ConversationClosedError as error:
                    assert "before the fork" in str(error), error
                else:
                    os._exit(1)
            try:
                Conversation(path=sys.argv[1])
            except ConversationInUseError:
                pass
            else:
                os._exit(2)
            conversation.close()
            memory.add_turn(say)  # what is only in memory is the child's own
            os.close(write)
            os.read(read, 1)  # until the parent has tried the file
            os._exit(0)
        os.close(read)
        time.sleep(0.2)
        conversation.add_turn(say)
        conversation.close()
        with Conversation.open(sys.argv[1]) as again:  # the child lives, and does not hold the lock
            assert len(again.messages) == 2
        os.close(write)
        assert os.waitpid(child, 0)[1] == 0
        """,
        str(path),
    ).check()


def test_after_closing_the_file_is_left_alone(path: Path) -> None:
    conversation = Conversation("s", path=path)
    conversation.begin_turn()
    conversation.add(user("a"))
    conversation.close()
    conversation.close()
    before = path.read_bytes()
    for wrong in (conversation.end_turn, conversation.drop_turn, conversation.keep_turn):
        with pytest.raises(ConversationClosedError):
            wrong()
    assert path.read_bytes() == before
    assert conversation.messages[1:] == [user("a")]


def test_a_refused_turn_is_not_in_the_file(path: Path) -> None:
    with Conversation(path=path) as conversation:
        before = path.read_bytes()
        with pytest.raises(MessageError):
            conversation.add_turn([user("a"), calls("1")])
        with pytest.raises(TurnError):
            conversation.add(user("a"))
        assert path.read_bytes() == before
