"""What can be told about a body function without running it."""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable
from types import CodeType, FunctionType, MethodType
from typing import Any


def runs_on_loop(fn: Callable[..., Any]) -> bool:
    """Whether ``fn`` is an ``async def`` (also behind ``partial`` or ``__call__``): such bodies run on the loop."""
    while isinstance(fn, functools.partial):
        fn = fn.func
    if inspect.iscoroutinefunction(fn):
        return True
    call = getattr(type(fn), "__call__", None)  # noqa: B004 - the method itself is wanted
    return inspect.iscoroutinefunction(call)


def refuse_generators(decorator: str, fn: Callable[..., Any]) -> None:
    """Raise TypeError for a function that yields: nobody would iterate over it."""
    if inspect.isasyncgenfunction(fn) or inspect.isgeneratorfunction(fn):
        raise TypeError(
            f"{decorator} {fn.__qualname__} is a generator; a body returns its result, and self.emit(...) hands out "
            "what comes on the way"
        )


def argument_check(fn: Callable[..., Any], reserved: int | None) -> Callable[..., object]:
    """A function that raises TypeError for arguments that ``fn`` would not take, and does nothing else.

    Args:
        fn: the body function.
        reserved: the position of the parameter that Agere fills in, or None.

    Returns:
        For functions, methods and objects with ``__call__`` an empty function with the parameters of ``fn`` less the
        reserved one: calling it costs some 60 ns, where ``inspect.Signature.bind`` costs several us. It is shared by
        all closures of one code.

    Raises:
        TypeError: there is no parameter at the reserved position.
    """
    function, bound = _function_of(fn)
    if not isinstance(function, FunctionType):
        return functools.partial(_check_slowly, fn)
    dropped = 0 if bound else reserved
    code = function.__code__
    if dropped is not None and dropped >= code.co_argcount:
        if not code.co_flags & inspect.CO_VARARGS:
            place = "first parameter" if dropped == 0 else "parameter after self"
            raise TypeError(f"the {place} of a handler is reserved for the handler itself: {fn.__qualname__} has none")
        dropped = None
    optional = tuple(function.__kwdefaults__ or ())
    return _empty_twin(code, len(function.__defaults__ or ()), optional, dropped)


def _function_of(fn: Callable[..., Any]) -> tuple[object, bool]:
    """What is called in the end, and whether its first parameter is filled in."""
    if isinstance(fn, MethodType):
        return fn.__func__, True
    if isinstance(fn, FunctionType | type) or hasattr(fn, "__signature__") or hasattr(fn, "__wrapped__"):
        return fn, False
    call, own = getattr(fn, "__call__", None), getattr(type(fn), "__call__", None)  # noqa: B004 - the methods are wanted
    return (own, True) if isinstance(call, MethodType) and call.__func__ is own else (fn, False)


@functools.lru_cache(maxsize=2048)
def _empty_twin(code: CodeType, defaults: int, optional: tuple[str, ...], dropped: int | None) -> Callable[..., object]:
    names = code.co_varnames
    count, keywords = code.co_argcount, code.co_kwonlyargcount
    words: list[str] = []
    for index in range(count):
        if index != dropped:
            words.append(names[index] + ("=None" if index >= count - defaults else ""))
        if index + 1 == code.co_posonlyargcount and words:
            words.append("/")
    rest = count + keywords
    if code.co_flags & inspect.CO_VARARGS:
        words.append(f"*{names[rest]}")
        rest += 1
    elif keywords:
        words.append("*")
    words.extend(name + ("=None" if name in optional else "") for name in names[count : count + keywords])
    if code.co_flags & inspect.CO_VARKEYWORDS:
        words.append(f"**{names[rest]}")
    name = code.co_name if code.co_name.isidentifier() else "function"
    namespace: dict[str, Callable[..., object]] = {}
    # Made from the parameter names of code that was compiled before, as dataclasses and namedtuple make theirs.
    exec(f"def {name}({', '.join(words)}): pass", {}, namespace)  # noqa: S102
    twin = namespace[name]
    twin.__qualname__ = code.co_qualname
    return twin


def _check_slowly(fn: Callable[..., Any], /, *args: Any, **kwargs: Any) -> None:
    try:
        signature = inspect.signature(fn)
    except (TypeError, ValueError):  # some C functions do not tell: they will when they are called
        return
    signature.bind(*args, **kwargs)
