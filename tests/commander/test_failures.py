"""Ropes of failures, against plain lists."""

from __future__ import annotations

import pickle
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agere.commander import Commander, TaskNode, failures, tree
from agere.commander.failures import Failure, Joined, Rope

ropes = st.recursive(st.just(0), lambda inner: st.tuples(inner, inner), max_leaves=30)


def build(shape: Any, into: list[Failure]) -> Rope:
    """A rope of that shape; its failures go to ``into``, in order."""
    stack: list[Any] = [shape]
    if shape == 0:
        into.append(Failure(TaskNode(), ValueError(len(into))))
        return into[-1]
    del stack
    left = build(shape[0], into)
    return Joined(left, build(shape[1], into))


@given(ropes)
def test_each_and_front(shape: Any) -> None:
    model: list[Failure] = []
    rope = build(shape, model)
    assert list(failures.each(rope)) == model
    assert failures.front(rope) is model[0]


@given(ropes, st.lists(st.integers(0, 40)))
def test_prune(shape: Any, received: list[int]) -> None:
    model: list[Failure] = []
    rope: Rope | None = build(shape, model)
    for index in received:
        model[index % len(model)].receive(TaskNode())
    for _ in range(2):
        rope = failures.prune(rope)
        still = [failure for failure in model if not failure.received]
        if rope is None:
            assert still == []
            return
        assert [failure for failure in failures.each(rope) if not failure.received] == still
        assert not failures.front(rope).received


@given(st.lists(st.booleans(), min_size=1, max_size=30))
def test_join_keeps_the_order(sides: list[bool]) -> None:
    rope: Rope | None = None
    model: list[Failure] = []
    for pair in sides:
        added = [Failure(TaskNode(), ValueError()) for _ in range(1 + pair)]
        model += added
        rope = failures.join(rope, added[0] if not pair else Joined(added[0], added[1]))
    assert rope is not None
    assert list(failures.each(rope)) == model


@pytest.mark.parametrize("way", ["left", "right"])
def test_long_ropes_need_no_recursion(way: str) -> None:
    model = [Failure(TaskNode(), ValueError()) for _ in range(20_000)]
    rope: Rope = model[0]
    for failure in model[1:]:
        rope = Joined(rope, failure) if way == "left" else Joined(failure, rope)
    assert sum(1 for _ in failures.each(rope)) == 20_000
    for failure in model[:-1] if way == "left" else model[1:]:
        failure.receive(TaskNode())
    rest = failures.prune(rope)
    assert rest is not None
    assert [failure for failure in failures.each(rest) if not failure.received] == [
        model[-1] if way == "left" else model[0]
    ]
    while isinstance(rope, Joined):  # taken apart by hand: a deep chain would be freed recursively
        inner = rope.left if way == "left" else rope.right
        if isinstance(inner, Joined):
            rope.left = rope.right = model[0]
        rope = inner


class TestRaisable:
    def one(self, error: BaseException | None = None) -> Failure:
        return Failure(TaskNode(), error or ValueError("x"))

    def test_one_is_itself(self) -> None:
        failure = self.one()
        error, covered = failures.raisable(failure, failure)
        assert error is failure.error
        assert covered == [failure]
        assert len(error.__notes__) == 1
        failures.raisable(failure, failure)
        assert len(error.__notes__) == 1  # noted once

    def test_received_ones_are_left_out(self) -> None:
        first, second, third = self.one(), self.one(), self.one()
        rope = Joined(Joined(first, second), third)
        second.receive(TaskNode())
        error, covered = failures.raisable(rope, first)
        assert isinstance(error, ExceptionGroup)
        assert error.exceptions == (first.error, third.error)
        assert covered == [first, third]

    def test_several_with_a_base_exception(self) -> None:
        first, second = self.one(KeyboardInterrupt()), self.one()
        error, _ = failures.raisable(Joined(first, second), first)
        assert isinstance(error, BaseExceptionGroup)
        assert not isinstance(error, ExceptionGroup)

    @pytest.mark.parametrize("count", [2, 100, 101, 250])
    def test_many(self, count: int) -> None:
        model = [self.one() for _ in range(count)]
        rope: Rope = model[0]
        for failure in model[1:]:
            rope = Joined(rope, failure)
        error, covered = failures.raisable(rope, model[0])
        assert isinstance(error, ExceptionGroup)
        assert len(error.exceptions) == min(count, 100)
        assert len(covered) == count
        assert str(count) in error.message

    def test_an_exception_with_slots_or_without_notes(self, commander: Commander[Any], errors: Any) -> None:
        class Slotted(Exception):
            __slots__ = ()

            def __setattr__(self, name: str, value: Any) -> None:
                raise AttributeError(name)

        def fails() -> None:
            raise Slotted("s")

        with pytest.raises(Slotted):
            commander.submit(fails).result(10)
        assert len(errors) == 1

    def test_it_can_be_pickled_after_its_way_through(self, commander: Commander[Any], errors: Any) -> None:
        """Agere leaves nothing on an exception that keeps it from crossing to another process."""

        def fails() -> None:
            raise ValueError("p")

        error = commander.submit(fails).exception(10)
        assert error is not None
        assert pickle.loads(pickle.dumps(error)).args == ("p",)

    def test_the_same_exception_raised_by_many(self, commander: Commander[Any], errors: Any) -> None:
        error = ValueError("shared")

        def fails() -> None:
            raise error

        for _ in range(3):
            with pytest.raises(ValueError, match="shared"):
                commander.submit(fails).result(10)
        assert len(errors) == 3


class TestPath:
    def test_from_the_commander_down(self) -> None:
        commander: Commander[Any] = Commander(name="boss")
        node: TaskNode[Any] = TaskNode()
        tree.attach(commander, node)
        assert failures.path(node) == f"boss#{commander.id} > TaskNode#{node.id}"

    def test_stays_readable(self) -> None:
        place: TaskNode[Any] = TaskNode()
        chain = [place]
        for _ in range(5000):
            below: TaskNode[Any] = TaskNode()
            tree.attach(place, below)
            chain.append(below)
            place = below
        text = failures.path(place)
        assert len(text) < 2000
        assert str(chain[0].id) in text
        assert str(place.id) in text
        assert "more" in text
        for node in reversed(chain):
            node._parent_ = node._last_ = None
