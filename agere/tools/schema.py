"""JSON schemas of arguments, as the protocol wants them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from agere.errors import ToolDefinitionError

TO_USER = "to_user"
"""The parameter whose text goes to the person while the call is still on its way; see ``agere.utils.dispatcher``."""

TO_USER_SCHEMA = {"type": "string", "description": "What to tell the user while the function runs."}

_OF_THE_SAME = ("not", "if", "then", "else")  # schemas that speak of the same object as the one they stand in
_LISTS_OF_THE_SAME = ("anyOf", "allOf", "oneOf")

_SCHEMAS = ("items", "additionalProperties", "not", "contains", "propertyNames", "if", "then", "else")
_LISTS_OF_SCHEMAS = ("anyOf", "allOf", "oneOf", "prefixItems")
_DICTS_OF_SCHEMAS = ("properties", "$defs", "patternProperties", "dependentSchemas")


def tidy(schema: Any) -> Any:
    """``schema`` without titles: they repeat the names, and models pay by the token. Data (defaults) stays as it is."""
    if not isinstance(schema, dict):
        return schema
    made = {}
    for key, value in schema.items():
        if key == "title":
            continue
        if key in _SCHEMAS:
            made[key] = tidy(value)
        elif key in _LISTS_OF_SCHEMAS:
            made[key] = [tidy(entry) for entry in value]
        elif key in _DICTS_OF_SCHEMAS:
            made[key] = {name: tidy(entry) for name, entry in value.items()}
        else:
            made[key] = value
    return made


def in_order(schema: Mapping[str, Any]) -> dict[str, Any]:
    """``schema`` as people write one: what it is first, then its parts."""
    first = {key: schema[key] for key in ("type", "properties", "required", "additionalProperties") if key in schema}
    return {**first, **schema}


def with_to_user(schema: Mapping[str, Any]) -> dict[str, Any]:
    """``schema`` with the parameter ``to_user``: the first, because models fill in arguments in order."""
    return {
        **schema,
        "properties": {TO_USER: dict(TO_USER_SCHEMA), **schema.get("properties", {})},
        "required": [TO_USER, *schema.get("required", [])],
    }


def without_to_user(schema: Mapping[str, Any]) -> tuple[dict[str, Any], str | None]:
    """``schema`` with another name for its own property ``to_user``, and that name; None if it has no such property."""
    properties = schema.get("properties")
    own = f"{TO_USER}_"
    while isinstance(properties, Mapping) and own in properties:
        own += "_"
    made = _renamed(schema, TO_USER, own)
    return made, None if made == schema else own


def _renamed(schema: Mapping[str, Any], old: str, new: str) -> dict[str, Any]:
    """``schema`` with a property renamed, wherever it speaks of the same object. A ``$ref`` is not followed."""

    def name(each: Any) -> Any:
        return new if each == old else each

    def names(part: Any) -> Any:
        return [name(each) for each in part] if isinstance(part, list) else part

    def again(part: Any) -> Any:
        return _renamed(part, old, new) if isinstance(part, Mapping) else part

    made = dict(schema)
    for key, value in schema.items():
        if key in _OF_THE_SAME:
            made[key] = again(value)
        elif key in _LISTS_OF_THE_SAME and isinstance(value, list):
            made[key] = [again(part) for part in value]
        elif key == "required":
            made[key] = names(value)
        elif key in ("properties", "dependentRequired") and isinstance(value, Mapping):
            made[key] = {name(each): names(part) for each, part in value.items()}
        elif key == "dependentSchemas" and isinstance(value, Mapping):
            made[key] = {name(each): again(part) for each, part in value.items()}
    return made


def check_parameters(parameters: object, label: str) -> dict[str, Any]:
    """A given JSON schema, if it can be that of a tool's arguments. Raises ToolDefinitionError."""
    if not isinstance(parameters, Mapping):
        raise ToolDefinitionError(f"the parameters of {label} are a JSON schema, a dict, not {parameters!r}")
    made = {**parameters}
    made.setdefault("type", "object")
    made.setdefault("properties", {})
    if made["type"] != "object" or not isinstance(made["properties"], Mapping):
        raise ToolDefinitionError(
            f"the parameters of {label} are a JSON schema of type 'object' with 'properties', not {parameters!r}"
        )
    return made


def missing_or_unknown(schema: Mapping[str, Any], arguments: Mapping[str, Any]) -> str | None:
    """What is wrong with the names of the arguments, in words; None if nothing is."""
    problems = [f"{name}: required, and missing" for name in schema.get("required", ()) if name not in arguments]
    if schema.get("additionalProperties") is False:
        known = schema["properties"]
        problems += [f"{name}: there is no such parameter" for name in arguments if name not in known]
    return "; ".join(problems) or None
