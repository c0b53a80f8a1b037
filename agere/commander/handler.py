"""Handlers: nodes that are functions."""

from __future__ import annotations

import asyncio
import functools
import inspect
from collections.abc import Awaitable, Callable, Coroutine, Generator
from types import MethodType
from typing import Any, Concatenate, Generic, ParamSpec, TypeVar, overload

from agere.errors import NodeActiveError, NotHandlerError

from . import tree
from .affinity import here
from .body import argument_check, refuse_generators, runs_on_loop
from .callback import Callback
from .node import TaskNode
from .password import check_password

T = TypeVar("T")
A = TypeVar("A")
P = ParamSpec("P")
Q = ParamSpec("Q")

IS_HANDLER = "__agere_is_handler__"


class HandlerSpec:
    """What all calls of one handler function share."""

    __slots__ = ("check", "fn", "name", "on_loop", "reserved")

    def __init__(self, fn: Callable[..., Any], reserved: int | None) -> None:
        self.fn = fn
        self.reserved = reserved
        self.on_loop = runs_on_loop(fn)
        self.check = argument_check(fn, reserved)
        self.name: str = getattr(fn, "__name__", None) or type(fn).__name__


class HandlerCoroutine(TaskNode[T]):
    """One call of a handler function: a node, and awaitable like a coroutine.

    Made by calling a ``@handler`` function. Run it with ``node.call_handler(h)`` or ``submit``, return it from a task
    as its tail, or ``await`` it in a body: it runs as a child of that node, gives its value when body and tail have
    ended, and raises what it failed with, or NodeTerminatedError. Awaited outside of any commander, it simply runs.
    """

    __slots__ = ("_args_", "_kwargs_", "_spec_")

    _kind_ = "handler"
    _spec_: HandlerSpec
    _args_: tuple[Any, ...]
    _kwargs_: dict[str, Any] | None

    def __await__(self) -> Generator[Any, None, T]:
        if here.on_loop:
            from .awaiting import wait_for_handler

            return wait_for_handler(self).__await__()
        if self._session_ is not None and self._phase_ in tree.LIVE_PHASES:
            return self._future_of_run_().__await__()
        return self._run_alone_().__await__()

    async def _run_alone_(self) -> T:
        """Any loop that is not Agere's. No tree here: the function simply runs."""
        if self._phase_ != tree.NEW:
            raise NodeActiveError(f"{self._describe_()} has been run already")
        self._phase_ = tree.ENDED
        value = self._call_body_() if self._runs_on_loop_() else await asyncio.to_thread(self._call_body_)
        if inspect.isawaitable(value):
            value = await value
        return value  # type: ignore[no-any-return]

    def _name_(self) -> str:
        spec = getattr(self, "_spec_", None)
        return type(self).__name__ if spec is None else spec.name

    def _check_work_(self) -> None:
        if not hasattr(self, "_spec_"):
            raise NotHandlerError(f"{self._describe_()} has no function; call a @handler function to make one")

    def _runs_on_loop_(self) -> bool:
        return self._spec_.on_loop

    def _call_body_(self) -> Any:
        spec = self._spec_
        kwargs = self._kwargs_
        # The node is put among the arguments only now: kept there, it would make a cycle for the collector.
        if spec.reserved == 0:
            return spec.fn(self, *self._args_, **kwargs) if kwargs else spec.fn(self, *self._args_)
        if spec.reserved is None:
            return spec.fn(*self._args_, **(kwargs or {}))
        owner, *args = self._args_
        return spec.fn(owner, self, *args, **(kwargs or {}))


def make_handler(spec: HandlerSpec, args: tuple[Any, ...], kwargs: dict[str, Any]) -> HandlerCoroutine[Any]:
    """Any thread. One call of a handler function. Raises TypeError if the arguments do not fit."""
    spec.check(*args, **kwargs)
    node: HandlerCoroutine[Any] = HandlerCoroutine.__new__(HandlerCoroutine)
    node._spec_ = spec
    node._args_ = args
    node._kwargs_ = kwargs or None
    for value in args:
        if isinstance(value, Callback):
            node.add_callback(value)
    if kwargs:
        for value in kwargs.values():
            if isinstance(value, Callback):
                node.add_callback(value)
    return node


class HandlerFunction(Generic[A, P, T]):
    """A function decorated with ``@handler``. Calling it makes a node and runs nothing yet.

    The parameter for the handler itself is the first, or the one after ``self`` (or ``cls``) of a method; callers
    leave it out.
    """

    def __init__(self, fn: Callable[Concatenate[A, P], object]) -> None:
        functools.update_wrapper(self, fn)
        self._fn = fn
        outer = fn.__qualname__.rpartition(".")[0]
        self._in_class = bool(outer) and not outer.endswith("<locals>")
        self._plain = HandlerSpec(fn, 0) if not self._in_class else None
        self._as_method: HandlerSpec | None = None

        def method(owner: Any, /, *args: Any, **kwargs: Any) -> HandlerCoroutine[Any]:
            return make_handler(self._method_spec(), (owner, *args), kwargs)

        functools.update_wrapper(method, fn)
        setattr(method, IS_HANDLER, True)
        self._method = method

    def __call__(self, /, *args: P.args, **kwargs: P.kwargs) -> HandlerCoroutine[T]:
        """Any thread. Make a node.

        Raises:
            TypeError: the arguments do not fit.
        """
        if self._in_class and args and isinstance(args[0], type) and self._is_classmethod_of(args[0]):
            return self._method(*args, **kwargs)  # Python 3.13 binds class methods without asking __get__
        spec = self._plain
        if spec is None:
            spec = self._plain = HandlerSpec(self._fn, 0)
        return make_handler(spec, args, kwargs)

    @overload
    def __get__(self, instance: None, owner: type[Any]) -> Callable[..., HandlerCoroutine[T]]: ...
    @overload
    def __get__(
        self: HandlerFunction[Any, Concatenate[Any, Q], T], instance: object, owner: type[Any] | None = None
    ) -> Callable[Q, HandlerCoroutine[T]]: ...
    def __get__(self, instance: object | None, owner: type[Any] | None = None) -> Callable[..., Any]:
        return self._method if instance is None else MethodType(self._method, instance)

    def _method_spec(self) -> HandlerSpec:
        spec = self._as_method
        if spec is None:
            spec = self._as_method = HandlerSpec(self._fn, 1)
        return spec

    def _is_classmethod_of(self, cls: type[Any]) -> bool:
        for base in cls.__mro__:
            found = vars(base).get(self._fn.__name__)
            if isinstance(found, classmethod):
                return found.__func__ is self
        return False

    def __repr__(self) -> str:
        return f"<handler function {self._fn.__qualname__}>"


setattr(HandlerFunction, IS_HANDLER, True)


class _Decorator:
    """What ``handler(PASS_WORD)`` returns."""

    @overload
    def __call__(
        self, fn: Callable[Concatenate[A, P], Coroutine[Any, Any, HandlerCoroutine[T]]], /
    ) -> HandlerFunction[A, P, T]: ...
    @overload
    def __call__(self, fn: Callable[Concatenate[A, P], Coroutine[Any, Any, T]], /) -> HandlerFunction[A, P, T]: ...
    @overload
    def __call__(self, fn: Callable[Concatenate[A, P], T], /) -> HandlerFunction[A, P, T]: ...
    def __call__(self, fn: Any, /) -> Any:
        return _decorate(fn)


_decorator = _Decorator()


@overload
def handler(password: str) -> _Decorator: ...
@overload
def handler(
    password: Callable[Concatenate[A, P], Coroutine[Any, Any, HandlerCoroutine[T]]], /
) -> HandlerFunction[A, P, T]: ...
@overload
def handler(password: Callable[Concatenate[A, P], Awaitable[T]], /) -> HandlerFunction[A, P, T]: ...
@overload
def handler(password: Callable[Concatenate[A, P], T], /) -> HandlerFunction[A, P, T]: ...
def handler(password: Any) -> Any:
    """Make a function a handler: ``@handler(PASS_WORD)``, or bare ``@handler``.

    Its first parameter (for a method the one after ``self``) is reserved: it gets the node of the call, a
    ``HandlerCoroutine``. An ``async def`` handler runs on the loop and must not block it; a plain ``def`` handler runs
    on a worker thread. For functions, methods, static and class methods.

    Args:
        password: ``PASS_WORD``.

    Raises:
        PasswordError: another password.
        TypeError: the function is a generator, has no room for the reserved parameter, or is no function.
    """
    if isinstance(password, str) or not (callable(password) or isinstance(password, staticmethod | classmethod)):
        check_password("handler", password)
        return _decorator
    return _decorate(password)


def _decorate(fn: Any) -> Any:
    if isinstance(fn, staticmethod | classmethod):
        return type(fn)(_decorate(fn.__func__))
    if not callable(fn) or not hasattr(fn, "__qualname__"):
        raise TypeError(f"@handler decorates a function, not {fn!r}")
    refuse_generators("the handler", fn)
    return HandlerFunction(fn)
