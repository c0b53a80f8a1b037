"""``Tool`` and ``tool``: a function, and what a model is told of it."""

from __future__ import annotations

import inspect
import math
import re
import reprlib
from collections.abc import Callable, Mapping
from types import MethodType
from typing import TYPE_CHECKING, Any, TypeAlias, cast, overload

from agere.errors import ToolDefinitionError

from .arguments import Arguments, WrongArgumentsError
from .docstring import read_docstring
from .schema import TO_USER, check_parameters, missing_or_unknown, with_to_user
from .signature import bound_arguments, plain_function, read_parameters

if TYPE_CHECKING:
    from openai.types.chat import ChatCompletionToolParam

NeedsApproval: TypeAlias = bool | Callable[[dict[str, Any]], Any]
"""Whether the person is asked before a call: always, never, or what a function of the arguments says."""

_NAME = re.compile(r"[a-zA-Z0-9_-]{1,64}")


class Tool:
    """A function that a model may call, and what the model is told of it.

    Made by ``tool(function)`` or ``Tool.from_schema``. Calling it calls the function, without any of this. Any thread
    may use it; it does not change.

    Attributes:
        name: under which the model calls it.
        description: what the model is told of it.
        parameters: the JSON schema of the arguments, ``to_user`` included.
        schema: all that, in the OpenAI protocol's form. Not to be changed.
        function: what is called: with keyword arguments, or with one dict if it was made by ``from_schema``.
        to_user: the model says something to the person while it calls; the function never sees that.
        timeout: seconds that a call may take; None for no bound.
        needs_approval: whether the person is asked before a call.
        note: for people, such as "invented data".
    """

    def __init__(
        self,
        name: str,
        description: str,
        parameters: Mapping[str, Any],
        function: Callable[..., Any],
        read: Callable[[Mapping[str, Any]], dict[str, Any]],
        *,
        takes_dict: bool = False,
        defaults: Mapping[str, Any] | None = None,
        bound: Mapping[str, Any] | None = None,
        to_user: bool = False,
        timeout: float | None = None,
        needs_approval: NeedsApproval = False,
        note: str = "",
    ) -> None:
        _check_options(f"the tool {name!r}", description, to_user, timeout, needs_approval, note)
        self.name = name
        self.description = description
        self.parameters = with_to_user(parameters) if to_user else dict(parameters)
        self.function = function
        self.to_user = to_user
        self.timeout = timeout
        self.needs_approval = needs_approval
        self.note = note
        self._own_parameters = dict(parameters)
        self._read = read
        self._takes_dict = takes_dict
        self._defaults = dict(defaults or {})
        self._bound_arguments = dict(bound or {})
        self._receiver: str | None = None  # the parameter that an instance or a class fills in, while none does
        told: dict[str, Any] = {"name": name, "parameters": self.parameters}
        if description:
            told = {"name": name, "description": description, "parameters": self.parameters}
        self.schema = cast("ChatCompletionToolParam", {"type": "function", "function": told})

    @classmethod
    def from_schema(
        cls,
        name: str,
        description: str,
        parameters: Mapping[str, Any],
        call: Callable[[dict[str, Any]], Any],
        *,
        to_user: bool = False,
        timeout: float | None = None,
        needs_approval: NeedsApproval = False,
        note: str = "",
    ) -> Tool:
        """Any thread. A tool whose arguments a JSON schema describes, instead of a function's type hints.

        Of the schema, ``required`` and ``additionalProperties: false`` are checked before a call, at the top level;
        everything else is passed on as the model wrote it, for ``call`` to judge.

        Args:
            name: under which the model calls it: 1 to 64 of ``a-z A-Z 0-9 _ -``.
            description: what the model is told of it.
            parameters: a JSON schema of type object.
            call: called with one dict, the arguments. Plain (it runs on a worker thread) or ``async`` (on the loop).
            to_user: as for ``tool``.
            timeout: as for ``tool``.
            needs_approval: as for ``tool``.
            note: as for ``tool``.

        Raises:
            ToolDefinitionError: one of these is not usable.
        """
        label = f"the tool {reprlib.repr(name)}"
        _check_name(name, label)
        if not callable(call):
            raise ToolDefinitionError(f"{label} needs a function to call, not {call!r}")
        schema = check_parameters(parameters, label)
        _refuse_to_user(schema["properties"], label)

        def read(arguments: Mapping[str, Any]) -> dict[str, Any]:
            problem = missing_or_unknown(schema, arguments)
            if problem is not None:
                raise WrongArgumentsError(f"wrong arguments: {problem}")
            return dict(arguments)

        return cls(
            name,
            description,
            schema,
            call,
            read,
            takes_dict=True,
            defaults=_told_defaults(schema),
            to_user=to_user,
            timeout=timeout,
            needs_approval=needs_approval,
            note=note,
        )

    def read(self, arguments: Mapping[str, Any]) -> dict[str, Any]:
        """Any thread. The model's arguments as the function takes them: validated, as Python objects.

        Raises:
            WrongArgumentsError: they do not fit; the text is for the model.
        """
        if self.to_user and TO_USER in arguments:
            arguments = {name: value for name, value in arguments.items() if name != TO_USER}
        return self._read(arguments)

    def complete(self, arguments: Mapping[str, Any], *, bound: bool = False) -> dict[str, Any]:
        """Any thread. All that a call with what ``read`` gave comes to: with the defaults of what was left out.

        To be looked at. To call the function, take what ``read`` gave: it has its defaults itself.

        Args:
            arguments: what ``read`` gave.
            bound: also with what a ``functools.partial`` has bound.
        """
        whole = {**arguments, **{name: it for name, it in self._defaults.items() if name not in arguments}}
        return {**whole, **self._bound_arguments} if bound else whole

    def call(self, arguments: dict[str, Any]) -> Any:
        """The function's thread. Call the function with what ``read`` gave."""
        return self.function(arguments) if self._takes_dict else self.function(**arguments)

    def require_receiver(self) -> None:
        """Any thread. Raise ToolDefinitionError for a method that no instance has been taken for."""
        if self._receiver is not None:
            raise ToolDefinitionError(
                f"the tool {self.name!r} is a method, and its {self._receiver!r} is missing: take it from an instance, "
                "as in instance.method"
            )

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        """The function's own call: nothing is validated, asked or bounded."""
        return self.function(*args, **kwargs)

    def __get__(self, instance: object | None, owner: type[Any] | None = None) -> Tool:
        """As a function in a class: a tool of an instance."""
        if self._receiver is None:
            return self
        if isinstance(self.function, classmethod):
            return self._bound(self.function.__get__(instance, owner))
        return self if instance is None else self._bound(MethodType(self.function, instance))

    def _bound(self, function: Callable[..., Any]) -> Tool:
        return Tool(
            self.name,
            self.description,
            self._own_parameters,
            function,
            self._read,
            defaults=self._defaults,
            bound=self._bound_arguments,
            to_user=self.to_user,
            timeout=self.timeout,
            needs_approval=self.needs_approval,
            note=self.note,
        )

    def __repr__(self) -> str:
        return f"<Tool {self.name}>"


@overload
def tool(
    fn: Callable[..., Any] | classmethod[Any, Any, Any] | staticmethod[Any, Any],
    /,
    *,
    name: str | None = None,
    description: str | None = None,
    to_user: bool = False,
    timeout: float | None = None,
    needs_approval: NeedsApproval = False,
    note: str = "",
) -> Tool: ...
@overload
def tool(
    fn: None = None,
    /,
    *,
    name: str | None = None,
    description: str | None = None,
    to_user: bool = False,
    timeout: float | None = None,
    needs_approval: NeedsApproval = False,
    note: str = "",
) -> Callable[[Callable[..., Any]], Tool]: ...
def tool(
    fn: Any = None,
    /,
    *,
    name: str | None = None,
    description: str | None = None,
    to_user: bool = False,
    timeout: float | None = None,
    needs_approval: NeedsApproval = False,
    note: str = "",
) -> Any:
    """Any thread. Make a tool of a function: ``tool(fn)``, ``@tool``, or ``@tool(timeout=10)``.

    The model is told what the type hints and the docstring (Google, NumPy or Sphinx style) say. Parameters may have
    any type of which pydantic makes a JSON schema; ``Annotated[str, "what it is"]`` and ``Annotated[int, Field(...)]``
    describe and bound them.

    Args:
        fn: a function, a method, an object with ``__call__``, or a ``functools.partial``. ``def`` runs on worker
            threads, ``async def`` on the loop.
        name: under which the model calls it; the function's by default. 1 to 64 of ``a-z A-Z 0-9 _ -``.
        description: what the model is told of it; by default the docstring without its sections.
        to_user: add a string parameter ``to_user`` in front, with which the model talks while it calls. The person
            sees that text as it arrives; the function never does.
        timeout: seconds that a call may take; then it is cancelled, and the model told.
        needs_approval: True, to ask the person before each call, or a function that tells whether to. It is given a
            dict of all that the call comes to: the validated arguments by the names of the parameters, the defaults
            of those that the model left out, and what a ``partial`` has bound. Plain ones run on a worker thread. If
            it raises, or gives neither True nor False, the call is not made, and a warning is logged.
        note: for people, such as "invented data".

    Raises:
        ToolDefinitionError: no tool can be made of it; the text says why and what to do.
    """
    options: dict[str, Any] = {
        "to_user": to_user,
        "timeout": timeout,
        "needs_approval": needs_approval,
        "note": note,
    }
    if fn is None:
        return lambda fn: _make(fn, name, description, options)
    return _make(fn, name, description, options)


def as_tool(item: Any) -> Tool:
    """Any thread. ``item``, made into a tool if it is a bare function. Raises ToolDefinitionError."""
    made = item if isinstance(item, Tool) else _make(item, None, None, {})
    made.require_receiver()
    return made


def _make(fn: Any, name: str | None, description: str | None, options: dict[str, Any]) -> Tool:
    if isinstance(fn, MethodType) and isinstance(fn.__func__, Tool):  # @classmethod above @tool, since Python 3.13
        return fn.__func__.__get__(fn.__self__)
    if isinstance(fn, staticmethod):
        fn = fn.__func__
    of_class = isinstance(fn, classmethod)
    function = fn.__func__ if of_class else fn
    _check_function(function)
    source = plain_function(function)
    own_name = getattr(source if source is not type(function).__dict__.get("__call__") else function, "__name__", None)
    if name is None:
        name = own_name or type(function).__name__
    label = f"the tool {reprlib.repr(name)}"
    _check_name(name, label)
    receiver = _receiver(function, source, of_class)
    parameters = read_parameters(function, label, skip=0 if receiver is None else 1)
    _refuse_to_user([parameter.name for parameter in parameters], label)
    docstring = getattr(source, "__doc__", None) or (type(function).__doc__ if own_name is None else None)
    described = read_docstring(docstring, [parameter.name for parameter in parameters])
    arguments = Arguments(parameters, described.parameters, label)
    _refuse_to_user(arguments.schema.get("properties", {}), label)
    made = Tool(
        name,
        described.text if description is None else description,
        arguments.schema,
        fn,
        arguments.read,
        defaults=arguments.defaults,
        bound=bound_arguments(function),
        **options,
    )
    made._receiver = receiver
    return made


def _receiver(function: Any, source: Any, of_class: bool) -> str | None:
    """The name of ``self`` or ``cls``, if ``function`` stands in the body of a class that is being defined."""
    names = source.__code__.co_varnames[: source.__code__.co_argcount] if hasattr(source, "__code__") else ()
    if of_class:
        return names[0] if names else "cls"
    outer = getattr(function, "__qualname__", "").rpartition(".")[0]
    in_class = inspect.isfunction(function) and outer and not outer.endswith("<locals>")
    if in_class and names and names[0] in ("self", "cls") and names[0] not in source.__annotations__:
        return str(names[0])
    return None


def _check_function(fn: Any) -> None:
    if isinstance(fn, Tool):
        raise ToolDefinitionError(f"{fn!r} is a tool already")
    if isinstance(fn, type):
        raise ToolDefinitionError(f"{fn!r} is a class: pass a function, or an instance with __call__")
    if not callable(fn):
        raise ToolDefinitionError(f"a tool is made of a function or a Tool, not {reprlib.repr(fn)}")
    source = plain_function(fn)
    if inspect.isgeneratorfunction(source) or inspect.isasyncgenfunction(source):
        raise ToolDefinitionError(
            f"{source.__qualname__} is a generator; a tool returns its result, and agere.current_node().emit(...) "
            "hands out what comes on the way"
        )


def _check_name(name: object, label: str) -> None:
    if not isinstance(name, str) or not _NAME.fullmatch(name):
        raise ToolDefinitionError(
            f"{label} needs another name: the protocol takes 1 to 64 letters, digits, '_' and '-'; pass name='...'"
        )


def _told_defaults(schema: Mapping[str, Any]) -> dict[str, Any]:
    told = schema["properties"].items()
    return {name: entry["default"] for name, entry in told if isinstance(entry, Mapping) and "default" in entry}


def _refuse_to_user(names: Any, label: str) -> None:
    if TO_USER in names:
        raise ToolDefinitionError(
            f"{label} has a parameter named {TO_USER!r}, which it would never see: that text goes to the person. "
            "Rename it, or leave it out and pass to_user=True"
        )


def _check_options(
    label: str, description: object, to_user: object, timeout: object, needs_approval: object, note: object
) -> None:
    if not isinstance(description, str):
        raise ToolDefinitionError(f"the description of {label} is a str, not {description!r}")
    if not isinstance(to_user, bool):
        raise ToolDefinitionError(f"to_user of {label} is True or False, not {to_user!r}")
    if timeout is not None and (
        isinstance(timeout, bool)
        or not isinstance(timeout, int | float)
        or not (timeout > 0 and math.isfinite(timeout))
    ):
        raise ToolDefinitionError(f"timeout of {label} is a number of seconds above 0, or None, not {timeout!r}")
    if not isinstance(needs_approval, bool) and not callable(needs_approval):
        raise ToolDefinitionError(
            f"needs_approval of {label} is True, False or a function of the arguments, not {needs_approval!r}"
        )
    if not isinstance(note, str):
        raise ToolDefinitionError(f"note of {label} is a str, not {note!r}")
