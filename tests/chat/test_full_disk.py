"""A disk that is full, at every byte: whoever asked hears of it, and memory, file and a later reader agree."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.support.subprocesses import run_python

pytest.importorskip("resource", reason="needs the limits of a Unix")
pytestmark = pytest.mark.timeout(120)

TOOLS = """
    import os, resource, shutil, sys
    from agere import Conversation

    path, option = sys.argv[1:]

    def room(size):
        "The kernel writes what still fits into so many bytes, and refuses the rest."
        hard = resource.getrlimit(resource.RLIMIT_FSIZE)[1]
        resource.setrlimit(resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY if size is None else size, hard))

    def read(unfinished="keep"):
        "What somebody who opens the file as it is finds."
        shutil.copyfile(path, path + ".copy")
        with Conversation(path=path + ".copy", unfinished=unfinished) as conversation:
            return conversation.messages
    """

CHAT = """
    import agere
    from agere.testing import ScriptedLLM

    def answered(request):
        return "short " + request["messages"][-1]["content"]

    raised = kept = 0
    with ScriptedLLM(answered) as server:
        for extra in range(1000):
            with Conversation(path=path) as conversation:
                chat = agere.Chat(client=server.client(), conversation=conversation, keep=option)
                agere.run(chat.turn("a"))
                room(os.path.getsize(path) + extra)
                try:
                    answer = agere.run(chat.turn("b"))
                except OSError as error:
                    assert error.filename == path, repr(error)
                    answer = None
                room(None)
                assert not conversation.in_turn
                said = [message["content"] for message in conversation.messages]
                assert said[:2] == ["a", "short a"], said
                if answer is None:
                    assert option == "said" or len(said) == 2, said
                    assert said[2:] in ([], ["b", "(interrupted)"], ["b", "short b"]), said
                    kept += len(said) > 2
                    raised += 1
                else:
                    assert said[2:] == ["b", "short b"], said
                assert read() == conversation.messages
                assert option == "said" or read("drop") == conversation.messages
                assert str(agere.run(chat.turn("c"))) == "short c"
                assert conversation.messages[len(said):][0]["content"] == "c"
                assert read() == read("drop") == conversation.messages
            os.remove(path)
            if answer is not None:
                break
    # A question, an answer, and the mark: it fails at each byte of the three.
    print(raised, kept > 0)
    """

CONVERSATION = """
    def call(number):
        return {"id": str(number), "type": "function", "function": {"name": "look", "arguments": "{}"}}

    turn = [
        {"role": "user", "content": "b"},
        {"role": "assistant", "content": None, "tool_calls": [call(1), call(2)]},
        {"role": "tool", "tool_call_id": "1", "content": "seen"},
        {"role": "tool", "tool_call_id": "2", "content": "seen"},
        {"role": "assistant", "content": "c"},
    ]
    first, last = ({"role": "user", "content": text} for text in "az")
    extra, through = 0, False
    while not through:
        with Conversation(path=path) as conversation:
            conversation.add_turn([first])
            room(os.path.getsize(path) + extra)
            through = False
            try:
                conversation.begin_turn()
                for message in turn:
                    conversation.add(message)
                if option == "end_turn":
                    conversation.end_turn()
                    through = True
            except OSError:
                assert conversation.in_turn
            else:
                through = through or extra > 600
            before = conversation.messages
            if conversation.in_turn:
                (conversation.keep_turn if option == "keep_turn" else conversation.drop_turn)()
            assert not conversation.in_turn
            if option == "keep_turn":
                assert conversation.messages[: len(before)] == before
            elif not through or option == "drop_turn":
                assert conversation.messages == [first]
            try:
                conversation.add_turn([last])  # while there is still no room
            except OSError:
                assert not conversation.in_turn
            room(None)
            assert read() == conversation.messages
            assert option == "keep_turn" or read("drop") == conversation.messages
            if extra % 2:
                conversation.add_turn([last])
            messages = conversation.messages
        assert read() == read("drop") == messages  # closing has made up for what was owed
        os.remove(path)
        extra += 1
    print(extra > 300)
    """


@pytest.mark.parametrize("keep", ["answered", "said"])
def test_a_turn_of_a_chat(keep: str, tmp_path: Path) -> None:
    marks = '{"role": "user", "content": "b"}\n{"role": "assistant", "content": "short b"}\n{"turn": "end"}\n'
    outcome = run_python(_program(CHAT), str(tmp_path / "talk.jsonl"), keep, limit=90)
    outcome.check(out=f"{len(marks)} {keep == 'said'}\n")


@pytest.mark.parametrize("way", ["end_turn", "keep_turn", "drop_turn"])
def test_a_turn_message_by_message(way: str, tmp_path: Path) -> None:
    run_python(_program(CONVERSATION), str(tmp_path / "talk.jsonl"), way, limit=90).check(out="True\n")


def _program(body: str) -> str:
    return TOOLS + body
