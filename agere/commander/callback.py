"""Callbacks: how they are described, collected and checked. Running them is the scheduler's work.

The seven phases, and when they run (all on the loop, in order, in the node's context):

- ``at_job_start``, ``at_handler_start``: before the body of each run;
- ``at_exception``: when the node's body or tail has failed, before its end;
- ``at_job_end``, ``at_handler_end``: when body, tail and all descendants have ended, also after a failure;
- ``at_terminate``: instead of the end callbacks, when the node was terminated;
- ``at_commander_end``: once, when the commander to which the node was given has ended everything else.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any, Final, Literal, Self, TypeAlias, TypedDict, get_args

from agere.errors import CallbackError

Phase: TypeAlias = Literal[
    "at_job_start",
    "at_handler_start",
    "at_exception",
    "at_terminate",
    "at_handler_end",
    "at_job_end",
    "at_commander_end",
]
PHASES: Final[tuple[str, ...]] = get_args(Phase)


class CallbackParams(TypedDict, total=False):
    """The arguments of a callback."""

    args: tuple[Any, ...] | list[Any]
    kwargs: dict[str, Any]


class _CallbackFunction(TypedDict):
    function: Callable[..., Any]


class CallbackDict(_CallbackFunction, total=False):
    """One callback.

    Keys:
        function: any callable, plain or async.
        params: ``{"args": ..., "kwargs": ...}`` to call it with.
        inject_task_node: pass the node as the keyword ``task_node``.
        on_host: run it on the host's thread (a GUI's, a notebook's), and wait for it.
    """

    params: CallbackParams
    inject_task_node: bool
    on_host: bool


CallbackSource: TypeAlias = CallbackDict | Iterable[CallbackDict] | None


class BoundCallback:
    """A checked callback, ready to call."""

    __slots__ = ("args", "function", "inject", "kwargs", "on_host")

    def __init__(self, info: object) -> None:
        if not isinstance(info, Mapping):
            raise CallbackError(
                f"a callback is a dict such as {{'function': f, 'inject_task_node': True}}, not {info!r}"
            )
        unknown = set(info) - {"function", "params", "inject_task_node", "on_host"}
        if unknown:
            raise CallbackError(
                f"unknown keys in a callback: {sorted(map(str, unknown))}; "
                "the keys are function, params, inject_task_node, on_host"
            )
        function = info.get("function")
        if not callable(function):
            raise CallbackError(f"a callback needs a callable under 'function', not {function!r}")
        params = info.get("params") or {}
        if not isinstance(params, Mapping) or set(params) - {"args", "kwargs"}:
            raise CallbackError(f"a callback's params are {{'args': ..., 'kwargs': ...}}, not {params!r}")
        self.function: Callable[..., Any] = function
        self.args: tuple[Any, ...] = tuple(params.get("args") or ())
        self.kwargs: dict[str, Any] = dict(params.get("kwargs") or {})
        self.inject = bool(info.get("inject_task_node"))
        self.on_host = bool(info.get("on_host"))

    def call(self, node: object) -> Any:
        """Call the function for ``node``."""
        if self.inject:
            return self.function(*self.args, **{**self.kwargs, "task_node": node})
        return self.function(*self.args, **self.kwargs)

    def __repr__(self) -> str:
        return f"<callback {getattr(self.function, '__qualname__', None) or repr(self.function)}>"


def bind_all(source: CallbackSource) -> list[BoundCallback]:
    """One callback dict, or several, checked. Raises CallbackError."""
    if source is None:
        return []
    if isinstance(source, Mapping):
        return [BoundCallback(source)]
    if not isinstance(source, Iterable) or isinstance(source, str):
        raise CallbackError(f"callbacks are a dict or a list of dicts, not {source!r}")
    return [BoundCallback(info) for info in source]


def check_phase(phase: object) -> str:
    """The name of a phase, or CallbackError."""
    if phase not in PHASES:
        raise CallbackError(f"unknown callback phase {phase!r}; the phases are {', '.join(PHASES)}")
    return str(phase)


class Callback:
    """A set of callbacks by phase, to be given to a node or among a handler's arguments.

    Any thread may build one; give it to a node before the node is submitted, or from within its commander.

    Args:
        at_job_start: one callback dict or a list of them; likewise the other phases.

    Raises:
        CallbackError: a callback is described wrongly.
    """

    __slots__ = ("_by_phase",)

    def __init__(
        self,
        at_job_start: CallbackSource = None,
        at_handler_start: CallbackSource = None,
        at_exception: CallbackSource = None,
        at_terminate: CallbackSource = None,
        at_handler_end: CallbackSource = None,
        at_job_end: CallbackSource = None,
        at_commander_end: CallbackSource = None,
    ) -> None:
        self._by_phase: dict[str, tuple[BoundCallback, ...]] = {}
        self.update(
            at_job_start=at_job_start,
            at_handler_start=at_handler_start,
            at_exception=at_exception,
            at_terminate=at_terminate,
            at_handler_end=at_handler_end,
            at_job_end=at_job_end,
            at_commander_end=at_commander_end,
        )

    def add(self, which: Phase, functions_info: CallbackSource) -> Self:
        """Add one callback or several to a phase, after those that are there."""
        phase = check_phase(which)
        added = tuple(bind_all(functions_info))
        if added:
            # A new tuple each time: a phase that is being run keeps the callbacks it began with.
            self._by_phase[phase] = self._by_phase.get(phase, ()) + added
        return self

    def update(self, **phases: CallbackSource) -> Self:
        """Replace the callbacks of each given phase; None leaves a phase as it is."""
        bound = {check_phase(phase): bind_all(source) for phase, source in phases.items() if source is not None}
        for phase, callbacks in bound.items():
            if callbacks:
                self._by_phase[phase] = tuple(callbacks)
            else:
                self._by_phase.pop(phase, None)
        return self

    def merge(self, other: Callback) -> Self:
        """Add all callbacks of ``other`` after those of the same phases here."""
        if not isinstance(other, Callback):
            raise CallbackError(f"a Callback merges with a Callback, not with {other!r}")
        for phase, callbacks in other._by_phase.items():
            self._by_phase[phase] = self._by_phase.get(phase, ()) + callbacks
        return self

    def get(self, phase: str) -> tuple[BoundCallback, ...]:
        """The callbacks of one phase, in order."""
        return self._by_phase.get(phase, ())

    def copy(self) -> Callback:
        """A set of its own with the same callbacks."""
        return Callback().merge(self)

    def __bool__(self) -> bool:
        return bool(self._by_phase)

    def __repr__(self) -> str:
        inside = ", ".join(f"{phase}={list(callbacks)}" for phase, callbacks in self._by_phase.items())
        return f"Callback({inside})"
