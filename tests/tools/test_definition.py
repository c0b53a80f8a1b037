"""A tool is made of a function: its name, its description, its schema, and what is refused."""

from __future__ import annotations

import contextlib
import functools
import json
import logging
import math
import typing
from collections.abc import Callable
from dataclasses import dataclass
from datetime import date
from decimal import Decimal
from enum import Enum
from pathlib import Path
from typing import Annotated, Any, Literal, NotRequired, Optional, TypedDict

import pytest
from hypothesis import given
from hypothesis import strategies as st
from jsonschema import Draft202012Validator
from openai.types.chat import ChatCompletionToolParam
from pydantic import AliasChoices, BaseModel, Field, TypeAdapter

from agere.addons.demo_weather import WEATHER_TOOL, weather_tool
from agere.tools import Tool, Toolbox, ToolDefinitionError, tool
from agere.tools.arguments import WrongArgumentsError

if typing.TYPE_CHECKING:
    from nowhere import Missing  # type: ignore[import-not-found]


class Unit(Enum):
    CELSIUS = "c"
    FAHRENHEIT = "f"


class Place(BaseModel):
    """Somewhere."""

    title: str
    latitude: float = Field(description="in degrees", ge=-90, le=90)


@dataclass
class Span:
    begin: date
    days: int = 1


class Inner(TypedDict):
    deep: int


class Options(TypedDict, total=False):
    """How."""

    inner: typing.Required[list[Inner]]
    verbose: bool


class More(Options):
    note: NotRequired[Annotated[str, Field(description="free text")]]


def everything(
    place: Place,
    span: Span,
    options: More,
    unit: Unit,
    mode: Literal["fast", "exact"],
    tags: list[str],
    pair: tuple[int, str],
    table: dict[str, float],
    amount: Decimal,
    path: Path,
    anything: Any,
    either: int | str,
    maybe: Optional[Place] = None,  # noqa: UP045 - as many people write it
    limit: Annotated[int, Field(gt=0, description="at most so many")] = 10,
    words: Annotated[str, "what to look for"] = "all",
    choice: Unit = Unit.CELSIUS,
    since: date = date(2020, 1, 2),
    unspeakable: Any = object(),  # noqa: B008
) -> str:
    """All at once.

    Args:
        words: not this.
        mode: how hard to try,
            over two lines.
    """
    return str(locals())


EVERYTHING = tool(everything)


def strictly(made: Tool) -> dict[str, Any]:
    """The schema's parameters, if a strict reader takes it all."""
    schema: Any = made.schema
    assert json.loads(json.dumps(schema, allow_nan=False)) == schema
    TypeAdapter(ChatCompletionToolParam).validate_python(schema, strict=True, extra="forbid")
    parameters: dict[str, Any] = schema["function"]["parameters"]
    Draft202012Validator.check_schema(parameters)
    assert parameters["type"] == "object"
    assert set(parameters.get("required", [])) <= set(parameters["properties"])
    return parameters


# -- schemas


def test_the_schema_of_every_kind_of_type() -> None:
    made = tool(everything)
    parameters = strictly(made)
    properties = parameters["properties"]
    assert made.name == "everything"
    assert made.description == "All at once."
    assert parameters["additionalProperties"] is False
    assert parameters["required"] == [name for name in properties if name not in _with_defaults()]
    assert properties["limit"] == {
        "type": "integer",
        "exclusiveMinimum": 0,
        "description": "at most so many",
        "default": 10,
    }
    assert properties["words"]["description"] == "what to look for"
    assert properties["mode"] == {
        "type": "string",
        "enum": ["fast", "exact"],
        "description": "how hard to try, over two lines.",
    }
    assert properties["choice"]["default"] == "c"
    assert properties["since"]["default"] == "2020-01-02"
    assert "default" not in properties["unspeakable"]
    assert parameters["$defs"]["Place"]["properties"]["title"] == {"type": "string"}
    assert parameters["$defs"]["More"]["required"] == ["inner"]
    assert "title" not in parameters["$defs"]["Place"]


def _with_defaults() -> list[str]:
    return ["maybe", "limit", "words", "choice", "since", "unspeakable"]


def test_arguments_become_python_objects() -> None:
    given = tool(everything).read(
        {
            "place": {"title": "here", "latitude": "12.5"},
            "span": {"begin": "2024-02-29"},
            "options": {"inner": [{"deep": "3"}]},
            "unit": "f",
            "mode": "fast",
            "tags": [],
            "pair": [1, "a"],
            "table": {"x": 1},
            "amount": "1.10",
            "path": "/tmp",
            "anything": [None],
            "either": "1",
        }
    )
    assert given["place"] == Place(title="here", latitude=12.5)
    assert given["span"] == Span(date(2024, 2, 29))
    assert given["options"] == {"inner": [{"deep": 3}]}
    assert given["unit"] is Unit.FAHRENHEIT
    assert given["pair"] == (1, "a")
    assert given["amount"] == Decimal("1.10")
    assert given["path"] == Path("/tmp")
    assert not given.keys() & set(_with_defaults()), "the function has its own defaults"


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ({}, "city: Field required"),
        ({"city": 1}, "city: Input should be a valid string (got 1)"),
        ({"city": "a", "unit": "k"}, "unit: Input should be 'c' or 'f' (got 'k')"),
        ({"city": "a", "extra": 1}, "extra: Extra inputs are not permitted (got 1)"),
        ({"city": "a", "unit": "\ud800"}, "wrong arguments"),
        ({"city": "a" * 10_000, "unit": ["x" * 10_000]}, "unit: "),
    ],
)
def test_wrong_arguments_are_told_in_words(arguments: dict[str, Any], words: str) -> None:
    def weather(city: str, unit: Unit = Unit.CELSIUS) -> None: ...

    with pytest.raises(ValueError, match="wrong arguments") as info:
        tool(weather).read(arguments)
    assert words in str(info.value)
    assert len(str(info.value)) < 500


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text() | st.text(st.characters(categories=["Cs"])),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=8,
)


@given(
    st.dictionaries(
        st.sampled_from(["place", "span", "options", "unit", "tags", "amount", "either", "since"]) | st.text(), JSON
    )
)
def test_whatever_a_model_writes_is_read_or_told(arguments: dict[str, Any]) -> None:
    with contextlib.suppress(WrongArgumentsError):
        EVERYTHING.read(arguments)


def test_names_that_a_model_class_would_not_take() -> None:
    def odd(schema: int, _x: int, model_config: int, json: int = 3, copy: str = "", validate: bool = True) -> None: ...

    made = tool(odd)
    assert list(strictly(made)["properties"]) == ["schema", "_x", "model_config", "json", "copy", "validate"]
    assert made.read({"schema": 1, "_x": 2, "model_config": 3, "copy": "c"}) == {
        "schema": 1,
        "_x": 2,
        "model_config": 3,
        "copy": "c",
    }


def test_a_field_as_default_or_with_an_alias() -> None:
    def find(
        words: str = Field("all", description="what to look for"),
        limit: int = Field(gt=0),
        from_: Annotated[str, Field(alias="from")] = "here",
        class_: Annotated[str, Field(validation_alias="class")] = "any",
    ) -> None: ...

    made = tool(find)
    parameters = strictly(made)
    assert parameters["properties"]["words"] == {
        "type": "string",
        "default": "all",
        "description": "what to look for",
    }
    assert parameters["required"] == ["limit"]
    assert made.read({"limit": 3}) == {"words": "all", "limit": 3}
    given = made.read({"limit": 3, "from": "x", "class": "y"})
    assert given == {"words": "all", "limit": 3, "from_": "x", "class_": "y"}


@dataclass
class Bounds:
    least: float = -math.inf
    most: float = 1.0


class Filter(BaseModel):
    bounds: Bounds = Bounds(most=math.inf)
    most: Annotated[float, Field(default=math.nan)]


class Row(TypedDict):
    bounds: NotRequired[Bounds]
    filters: list[Filter]


def test_defaults_that_are_no_numbers_to_json() -> None:
    def price(
        bounds: Bounds,
        filter_: Filter,
        row: Row,
        most: float = math.inf,
        least: Annotated[float, Field(lt=10)] = math.nan,
        several: list[float] = [1.0, -math.inf],  # noqa: B006
        spoken: float = Field(math.inf),
        table: dict[str, tuple[Bounds, ...]] = {"a": (Bounds(),)},  # noqa: B006, B008
        fine: float = 2.5,
    ) -> None: ...

    made = tool(price)
    parameters = strictly(made)
    properties = parameters["properties"]
    assert [name for name, entry in properties.items() if "default" in entry] == ["fine"]
    assert parameters["required"] == ["bounds", "filter_", "row"]
    assert "default" not in parameters["$defs"]["Bounds"]["properties"]["least"]
    assert parameters["$defs"]["Bounds"]["properties"]["most"]["default"] == 1.0
    assert not any("default" in entry for entry in parameters["$defs"]["Filter"]["properties"].values())
    given = made.read({"bounds": {}, "filter_": {}, "row": {"filters": [{}]}})
    assert given["bounds"] == Bounds(-math.inf)
    assert given["filter_"].bounds.most == math.inf
    assert given["row"]["filters"][0].bounds.most == math.inf
    assert given["spoken"] == math.inf
    assert "most" not in given, "the function has its own default"


def test_no_parameters_at_all() -> None:
    def now() -> str:
        return ""

    assert strictly(tool(now)) == {"type": "object", "properties": {}, "additionalProperties": False}
    assert tool(now).schema["function"].get("description") is None


def test_none_as_default_may_be_given() -> None:
    def find(unit: str = None, words: Annotated[str, "words"] = None, any_: Any = None) -> None: ...  # type: ignore[assignment]  # noqa: RUF013

    made = tool(find)
    assert strictly(made)["properties"]["unit"]["anyOf"] == [{"type": "string"}, {"type": "null"}]
    assert made.parameters["properties"]["words"]["description"] == "words"
    assert made.read({"unit": None}) == {"unit": None}


def test_a_recursive_type() -> None:
    class Tree(BaseModel):
        below: list[Tree] = []

    def grow(tree: Tree) -> None: ...

    made = tool(grow)
    strictly(made)
    assert made.read({"tree": {"below": [{}]}})["tree"].below == [Tree()]


def test_hints_in_quotes_find_the_names_around() -> None:
    class Local(BaseModel):
        n: int

    def inner(local: Local) -> int:
        return local.n

    def nested() -> Tool:
        def innermost(local: Local, amount: Decimal) -> None: ...

        return tool(innermost)

    assert tool(inner).read({"local": {"n": 1}}) == {"local": Local(n=1)}
    assert Toolbox([inner]).get("inner") is not None
    assert list(nested().parameters["properties"]) == ["local", "amount"]


def test_hints_in_quotes_whose_names_are_gone() -> None:
    def outer(made_here: bool) -> Any:
        class Local(BaseModel):
            n: int

        def inner(local: Local) -> int:
            return local.n

        return tool(inner) if made_here else inner

    assert outer(made_here=True).read({"local": {"n": 1}})["local"].n == 1
    with pytest.raises(ToolDefinitionError, match=r"'Local'.*: decorate the tool there, with @agere\.tool, or define"):
        tool(outer(made_here=False))
    with pytest.raises(ToolDefinitionError, match=r"exists where the function is defined$"):
        tool(hidden)


# -- to_user


def test_to_user_stands_first_and_is_never_seen() -> None:
    def weather(location: str, unit: str = "c") -> str:
        return location

    parameters = strictly(tool(weather, to_user=True))
    assert list(parameters["properties"]) == ["to_user", "location", "unit"]
    assert parameters["required"] == ["to_user", "location"]
    assert parameters["properties"]["to_user"]["type"] == "string"
    assert tool(weather, to_user=True).read({"to_user": "Let me see.", "location": "Rome"}) == {"location": "Rome"}


def test_a_parameter_of_ones_own_named_to_user() -> None:
    def say(to_user: str) -> None: ...

    def alias(text: Annotated[str, Field(alias="to_user")]) -> None: ...

    for fn in (say, alias):
        for to_user in (True, False):
            with pytest.raises(ToolDefinitionError, match=r"'to_user', which it would never see.*to_user=True"):
                tool(fn, to_user=to_user)
    schema = {"type": "object", "properties": {"to_user": {"type": "string"}}}
    with pytest.raises(ToolDefinitionError, match="'to_user', which it would never see"):
        Tool.from_schema("say", "", schema, print)


def test_the_demonstrations_tool_is_told_in_the_words_that_were_tried() -> None:
    made = weather_tool()
    assert json.dumps(made.schema) == json.dumps(WEATHER_TOOL), "the order counts, too"
    assert json.loads(made.call(made.read({"location": "Rome", "to_user": "x"})))["temperature"] == 27
    assert made.note


# -- docstrings

GOOGLE = """Find things.

    In all places.

    Note:
        It is slow.

    Args:
        where: the place,
            in words.
        limit (int, optional): at most so many.

    Returns:
        What was found.

    Raises:
        OSError: nothing there.

    Example:
        >>> find("x")
    """
NUMPY = """Find things.

    In all places.

    Parameters
    ----------
    where : str
        the place,
        in words.
    limit : int, optional
        at most so many.

    Returns
    -------
    list
        What was found.
    """
SPHINX = """Find things.

    In all places.

    :param where: the place,
        in words.
    :param int limit: at most so many.
    :returns: What was found.
    :raises OSError: nothing there.
    """


@pytest.mark.parametrize("docstring", [GOOGLE, NUMPY, SPHINX], ids=["google", "numpy", "sphinx"])
def test_the_styles_of_docstrings(docstring: str, caplog: pytest.LogCaptureFixture) -> None:
    def find(where: str, limit: int = 3) -> list[str]:
        return []

    find.__doc__ = docstring
    with caplog.at_level(logging.DEBUG):
        made = tool(find)
    assert caplog.records == []
    assert made.description.startswith("Find things.\n\nIn all places.")
    assert "What was found" not in made.description
    assert ("It is slow." in made.description) is (docstring is GOOGLE)
    properties = made.parameters["properties"]
    assert properties["where"]["description"] == "the place, in words."
    assert properties["limit"]["description"] == "at most so many."


@pytest.mark.parametrize(
    ("docstring", "text"),
    [
        ("One line.", "One line."),
        ("\n    Args:\n        x: only this\n    ", ""),
        ("", ""),
        (None, ""),
        ("First.\n\nSecond: with a colon.\nThird.", "First.\n\nSecond: with a colon.\nThird."),
        ("Braces {x} and %s and\n    ragged\n  lines", None),
    ],
)
def test_odd_docstrings(docstring: str | None, text: str | None) -> None:
    def odd(x: int) -> None: ...

    odd.__doc__ = docstring
    made = tool(odd)
    if text is not None:
        assert made.description == text
    assert tool(odd, description="mine").description == "mine"


# -- what a tool can be made of


class Station:
    """A weather station."""

    def __init__(self, name: str = "s") -> None:
        self.name = name

    def read(self, sensor: str) -> str:
        """Read a sensor."""
        return f"{self.name} {sensor}"

    @classmethod
    def count(cls, kind: str) -> str:
        return f"{cls.__name__} {kind}"

    @staticmethod
    def fixed(kind: str) -> str:
        return kind

    def __call__(self, sensor: str) -> str:
        """Call it."""
        return f"called {sensor}"


class Decorated:
    def __init__(self, name: str) -> None:
        self.name = name

    @tool
    def plain(self, sensor: str) -> str:
        """Plainly."""
        return f"{self.name} {sensor}"

    @tool(to_user=True)
    def talking(self, sensor: str) -> str:
        return f"{self.name} {sensor}"

    @tool
    @classmethod
    def below(cls, sensor: str) -> str:
        return f"{cls.__name__} {sensor}"

    @classmethod
    @tool
    def above(cls, sensor: str) -> str:
        return f"{cls.__name__} {sensor}"

    @tool
    @staticmethod
    def static(sensor: str) -> str:
        return sensor


def test_methods_callables_and_partials() -> None:
    def add(a: int, b: int, c: int = 3) -> int:
        """Add."""
        return a + b + c

    station = Station()
    cases: list[tuple[Callable[..., Any], str, dict[str, Any], Any]] = [
        (station.read, "read", {"sensor": "x"}, "s x"),
        (Station.count, "count", {"kind": "x"}, "Station x"),
        (Station.fixed, "fixed", {"kind": "x"}, "x"),
        (station, "Station", {"sensor": "x"}, "called x"),
        (functools.partial(add, 1), "add", {"b": 2}, 6),
        (functools.partial(functools.partial(add, c=0), b=1), "add", {"a": 1}, 2),
        (functools.partial(station.read), "read", {"sensor": "x"}, "s x"),
    ]
    for fn, name, arguments, value in cases:
        made = tool(fn)
        strictly(made)
        assert made.name == name
        assert list(made.parameters["properties"])[: len(arguments)] == list(arguments)
        assert made.call(made.read(arguments)) == value
    assert list(tool(functools.partial(add, c=0)).parameters["properties"]) == ["a", "b"]
    assert tool(station).description == "Call it."
    assert tool(functools.partial(add, 1)).description == "Add."


def test_wrapped_functions() -> None:
    def logged(fn: Callable[..., Any]) -> Callable[..., Any]:
        @functools.wraps(fn)
        def wrapper(*args: Any, **kwargs: Any) -> Any:
            return ("logged", fn(*args, **kwargs))

        return wrapper

    @logged
    def look(where: str) -> str:
        """Look."""
        return where

    made = tool(look)
    assert (made.name, made.description) == ("look", "Look.")
    assert made.call(made.read({"where": "x"})) == ("logged", "x")


def test_methods_decorated_in_their_class() -> None:
    one, other = Decorated("one"), Decorated("other")
    assert one.plain.call({"sensor": "x"}) == "one x"
    assert other.plain.call({"sensor": "x"}) == "other x"
    assert list(one.talking.parameters["properties"]) == ["to_user", "sensor"]
    assert one.below.call({"sensor": "x"}) == "Decorated x"
    assert Decorated.below.call({"sensor": "x"}) == "Decorated x"
    assert Decorated.static.call({"sensor": "x"}) == "x"
    assert one.static.call({"sensor": "x"}) == "x"
    box = Toolbox([one.plain, one.talking, one.below, one.above, one.static])
    above = box.get("above")
    assert above is not None
    assert above.call({"sensor": "x"}) == "Decorated x"
    with pytest.raises(ToolDefinitionError, match="'plain' is a method, and its 'self' is missing"):
        Toolbox([Decorated.plain])


def test_a_decorated_function_can_still_be_called() -> None:
    @tool(name="other", description="D", timeout=3, note="n")
    def add(a: int, b: int) -> int:
        return a + b

    assert add(1, b=2) == 3
    assert (add.name, add.description, add.timeout, add.note) == ("other", "D", 3, "n")
    assert repr(add) == "<Tool other>"


# -- what is refused


def hintless(a: int, b) -> None: ...  # type: ignore[no-untyped-def]


def starred(a: int, *rest: int) -> None: ...


def keyworded(**rest: int) -> None: ...


def positional(a: int, /) -> None: ...


def impossible(fine: int, callback: Callable[[int], int]) -> None: ...


def unknown(fine: int, thing: object, odd: threading_lock) -> None: ...  # type: ignore[name-defined]  # noqa: F821


def hidden(thing: Missing) -> None: ...


class Plain: ...


def unmodelled(thing: Plain) -> None: ...


def generator(a: int) -> Any:
    yield a


async def async_generator(a: int) -> Any:
    yield a


def two_aliases(a: Annotated[int, Field(validation_alias=AliasChoices("b", "c"))]) -> None: ...


def same_alias(a: Annotated[int, Field(alias="b")], b: int) -> None: ...


def fine(a: int = 1) -> None: ...


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (lambda: tool(hintless), "the parameter 'b' of the tool 'hintless' has no type hint; write b: str"),
        (lambda: tool(starred), r"'starred' takes \*rest"),
        (lambda: tool(keyworded), r"'keyworded' takes \*\*rest"),
        (lambda: tool(positional), "'positional' has the positional-only parameter 'a'"),
        (lambda: tool(impossible), "no JSON schema can be made for the parameter 'callback' of the tool 'impossible'"),
        (lambda: tool(unmodelled), "no JSON schema can be made for the parameter 'thing' of the tool 'unmodelled'"),
        (lambda: tool(unknown), "the type hint 'threading_lock' of the parameter 'odd'.*cannot be evaluated"),
        (lambda: tool(hidden), "the type hint 'Missing' of the parameter 'thing'"),
        (lambda: tool(generator), "generator is a generator; a tool returns its result"),
        (lambda: tool(async_generator), "async_generator is a generator"),
        (lambda: tool(two_aliases), "the alias of the parameter 'a' of the tool 'two_aliases' is a str, not AliasCh"),
        (lambda: tool(same_alias), "two parameters of the tool 'same_alias' go by one name"),
        (lambda: tool(lambda: None), "the tool '<lambda>' needs another name.*pass name="),
        (lambda: tool(fine, name="a b"), "the tool 'a b' needs another name"),
        (lambda: tool(fine, name=""), "the tool '' needs another name"),
        (lambda: tool(fine, name="x" * 65), "needs another name"),
        (lambda: tool(fine, name="x\n"), "needs another name"),
        (lambda: tool(fine, name=3), "the tool 3 needs another name"),  # type: ignore[call-overload]
        (lambda: tool(fine, description=3), "the description of the tool 'fine' is a str, not 3"),  # type: ignore[call-overload]
        (lambda: tool(3), "made of a function or a Tool, not 3"),  # type: ignore[call-overload]
        (lambda: tool("fine"), "made of a function or a Tool, not 'fine'"),  # type: ignore[call-overload]
        (lambda: tool(Plain), "is a class: pass a function"),
        (lambda: tool(tool(fine)), "<Tool fine> is a tool already"),
        (lambda: tool(fine, timeout=0), "timeout of the tool 'fine' is a number of seconds above 0, or None, not 0"),
        (lambda: tool(fine, timeout=-1), "timeout"),
        (lambda: tool(fine, timeout=float("nan")), "timeout"),
        (lambda: tool(fine, timeout=float("inf")), "timeout"),
        (lambda: tool(fine, timeout=True), "timeout"),
        (lambda: tool(fine, timeout="3"), "timeout of the tool 'fine'.*not '3'"),  # type: ignore[call-overload]
        (lambda: tool(fine, needs_approval=1), "needs_approval of the tool 'fine'"),  # type: ignore[call-overload]
        (lambda: tool(fine, to_user="x"), "to_user of the tool 'fine' is True or False"),  # type: ignore[call-overload]
        (lambda: tool(fine, note=None), "note of the tool 'fine'"),  # type: ignore[call-overload]
        (lambda: tool(print), r"'print' takes \*args"),
        (lambda: Toolbox([fine, tool(fine)]), "two tools are named 'fine'; give one of them another"),
        (lambda: Toolbox([fine, 3]), "made of a function or a Tool, not 3"),  # type: ignore[list-item]
        (lambda: Toolbox(fine), "tools is a list of tools and functions, not .*fine"),  # type: ignore[arg-type]
        (lambda: Toolbox(tool(fine)), "tools is a list of tools and functions, not <Tool fine>"),  # type: ignore[arg-type]
        (lambda: Tool.from_schema("a b", "", {}, print), "the tool 'a b' needs another name"),
        (lambda: Tool.from_schema("a", "", [], print), "the parameters of the tool 'a' are a JSON schema"),  # type: ignore[arg-type]
        (lambda: Tool.from_schema("a", "", {"type": "array"}, print), "of type 'object'"),
        (lambda: Tool.from_schema("a", "", {}, 3), "the tool 'a' needs a function to call, not 3"),  # type: ignore[arg-type]
    ],
)
def test_what_is_no_tool_is_refused_at_the_call(make: Callable[[], Any], words: str) -> None:
    with pytest.raises(ToolDefinitionError, match=words):
        make()


def test_from_a_schema() -> None:
    schema = {
        "type": "object",
        "properties": {"a-b": {"type": "integer"}, "c": {"type": "string"}},
        "required": ["a-b"],
        "additionalProperties": False,
    }
    seen: list[dict[str, Any]] = []
    made = Tool.from_schema("remote", "Far away.", schema, seen.append, to_user=True, timeout=2)
    assert strictly(made)["required"] == ["to_user", "a-b"]
    assert schema["required"] == ["a-b"], "the given one is left alone"
    made.call(made.read({"a-b": "not checked", "to_user": "x"}))
    assert seen == [{"a-b": "not checked"}]
    with pytest.raises(ValueError, match="wrong arguments: a-b: required, and missing; d: there is no such parameter"):
        made.read({"d": 1})
    assert strictly(Tool.from_schema("bare", "", {}, print)) == {"type": "object", "properties": {}}
