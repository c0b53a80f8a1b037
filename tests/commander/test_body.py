"""What can be told about a body function without running it."""

from __future__ import annotations

import functools
import inspect
import types
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agere.commander.affinity import current_node, refuse_on_loop
from agere.commander.body import argument_check, runs_on_loop

FUNCTIONS: list[Any] = []


def shapes() -> None:
    def none() -> None: ...
    def one(a: Any) -> None: ...
    def two(a: Any, b: Any = 1) -> None: ...
    def rest(a: Any, *b: Any) -> None: ...
    def keywords(a: Any, *, b: Any, c: Any = 2) -> None: ...
    def words(**a: Any) -> None: ...
    def everything(a: Any, /, b: Any, c: Any = 1, *d: Any, e: Any, f: Any = 2, **g: Any) -> None: ...
    def only_positional(a: Any, b: Any = 1, /) -> None: ...
    def star(*args: Any, **kwargs: Any) -> None: ...

    FUNCTIONS.extend([none, one, two, rest, keywords, words, everything, only_positional, star])
    FUNCTIONS.extend([lambda a, b=2: None, functools.partial(two, 1), functools.partial(everything, 1, e=3)])


class Called:
    def __call__(self, a: int, *, b: int = 0) -> None: ...


class CalledStatic:
    @staticmethod
    def __call__(a: int, b: int = 0) -> None: ...


class CalledOnClass:
    @classmethod
    def __call__(cls, a: int) -> None: ...


class CalledOtherwise(Called):
    def __init__(self) -> None:
        self.__call__ = self.other  # type: ignore[method-assign,assignment] - it does not count

    def other(self) -> None: ...


shapes()
FUNCTIONS.extend([Called(), CalledStatic(), CalledOnClass(), CalledOtherwise(), Called().__call__])
NAMES = st.sampled_from("abcdefxy")


@given(st.sampled_from(FUNCTIONS), st.lists(st.just(0), max_size=5), st.dictionaries(NAMES, st.just(0), max_size=4))
def test_argument_check_against_the_signature(fn: Any, args: list[int], kwargs: dict[str, int]) -> None:
    try:
        inspect.signature(fn).bind(*args, **kwargs)
        fits = True
    except TypeError:
        fits = False
    check = argument_check(fn, None)
    if fits:
        check(*args, **kwargs)
    else:
        with pytest.raises(TypeError):
            check(*args, **kwargs)


@given(
    st.sampled_from(FUNCTIONS), st.integers(0, 1), st.lists(st.just(0), max_size=5), st.dictionaries(NAMES, st.just(0))
)
def test_with_a_reserved_parameter(fn: Any, reserved: int, args: list[int], kwargs: dict[str, int]) -> None:
    parameters = list(inspect.signature(fn).parameters.values())
    positional = [one for one in parameters if one.kind in (one.POSITIONAL_ONLY, one.POSITIONAL_OR_KEYWORD)]
    has_rest = any(one.kind is one.VAR_POSITIONAL for one in parameters)
    if not isinstance(fn, types.FunctionType):
        return
    if len(positional) <= reserved:
        if not has_rest:
            with pytest.raises(TypeError):
                argument_check(fn, reserved)
        return
    check = argument_check(fn, reserved)
    name = positional[reserved].name
    if name in kwargs or len(args) < reserved:
        return  # what a caller cannot do
    full = [*args[:reserved], object(), *args[reserved:]]
    try:
        inspect.signature(fn).bind(*full, **kwargs)
        fits = True
    except TypeError:
        fits = False
    if fits:
        check(*args, **kwargs)
    else:
        with pytest.raises(TypeError):
            check(*args, **kwargs)


def test_bound_methods_and_callables() -> None:
    class Has:
        def method(self, node: Any, a: Any) -> None: ...

        def __call__(self, a: Any) -> None: ...

    argument_check(Has().method, None)(1, 2)
    argument_check(Has(), None)(1)
    with pytest.raises(TypeError):
        argument_check(Has(), None)()
    argument_check(print, None)(1, 2)
    argument_check(dict, None)(1)  # C functions tell when they are called


def test_runs_on_loop() -> None:
    async def on_loop() -> None: ...

    def in_worker() -> None: ...

    class Async:
        async def __call__(self) -> None: ...

    class Plain:
        def __call__(self) -> None: ...

    assert runs_on_loop(on_loop)
    assert runs_on_loop(functools.partial(functools.partial(on_loop)))
    assert runs_on_loop(Async())
    assert runs_on_loop(functools.partial(Async()))
    assert not runs_on_loop(in_worker)
    assert not runs_on_loop(Plain())
    assert not runs_on_loop(functools.partial(in_worker))
    assert not runs_on_loop(print)
    assert not runs_on_loop(lambda: on_loop())


def test_outside_of_agere() -> None:
    assert current_node() is None
    refuse_on_loop("anything", "nothing")
