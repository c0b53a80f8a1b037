"""The arguments of a function as a pydantic model: their JSON schema, and their validation."""

from __future__ import annotations

import json
import math
import reprlib
import typing
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from agere.errors import AgereError, ToolDefinitionError

from .contents import as_fields
from .schema import in_order, tidy
from .signature import REQUIRED, Parameter
from .typed_dicts import acceptable

if TYPE_CHECKING:
    from pydantic import BaseModel, ValidationError

SHOWN_PROBLEMS = 10


class WrongArgumentsError(AgereError, ValueError):
    """The model's arguments do not fit the tool. The model is told, and may try again."""


class Arguments:
    """The arguments of one function.

    Args:
        parameters: of the function.
        descriptions: what the docstring says of them, by name.
        label: how messages call the function.

    Attributes:
        schema: a JSON schema, of type object.
        defaults: the function's own, by parameter. Those that a ``Field`` tells are in what ``read`` gives.

    Raises:
        ToolDefinitionError: no schema can be made for a parameter's type.
    """

    def __init__(self, parameters: Sequence[Parameter], descriptions: Mapping[str, str], label: str) -> None:
        # The fields have names of our own, and the parameters' as aliases: `schema`, `_x` or `model_config` are fine
        # names for a parameter, and impossible ones for a field.
        fields = {
            f"p{number}": _field(parameter, descriptions.get(parameter.name), label)
            for number, parameter in enumerate(parameters)
        }
        self._names = {field: parameter.name for field, parameter in zip(fields, parameters, strict=True)}
        self._filled = {
            field for field, parameter in zip(fields, parameters, strict=True) if _is_field_info(parameter.default)
        }
        self.defaults = {
            parameter.name: parameter.default
            for parameter in parameters
            if parameter.default is not REQUIRED and not _is_field_info(parameter.default)
        }
        try:
            self._model = _model(fields)
            self.schema = _schema(self._model)
        except Exception as error:
            raise _culprit(parameters, fields, label, error) from error
        names = list(self.schema.get("properties", {}))
        if len(names) != len(fields):
            raise ToolDefinitionError(f"two parameters of {label} go by one name: {', '.join(names)}")

    def read(self, arguments: Mapping[str, Any]) -> dict[str, Any]:
        """Any thread. The arguments as the function takes them: validated, as Python objects.

        What was left out is left to the function: its default may be an object that it means to keep.

        Raises:
            WrongArgumentsError: they do not fit; the text is for the model.
        """
        from pydantic import ValidationError

        try:
            # As JSON: there a list may become a tuple, a string a date, also for types that are strict otherwise.
            model = self._model.model_validate_json(json.dumps(arguments))
        except ValidationError as error:
            raise WrongArgumentsError(_in_words(error)) from error
        given = model.model_fields_set | self._filled
        return {name: getattr(model, field) for field, name in self._names.items() if field in given}


def _field(parameter: Parameter, description: str | None, label: str) -> Any:
    from pydantic import Field
    from pydantic.fields import FieldInfo

    hint, metadata = parameter.hint, []
    if typing.get_origin(hint) is typing.Annotated:
        metadata = list(hint.__metadata__)
        hint = hint.__origin__
    words = next((word for word in metadata if isinstance(word, str)), description)
    metadata = [entry for entry in metadata if not isinstance(entry, str)]
    if parameter.default is None and hint is not typing.Any:
        hint = typing.Optional[hint]  # noqa: UP045 - "unit: str = None", and not every hint knows "|"
    if _is_field_info(parameter.default):
        metadata.append(parameter.default)
    infos = [entry for entry in metadata if isinstance(entry, FieldInfo)]
    if any(info.description for info in infos):
        words = None
    aliases = [info.validation_alias or info.alias for info in reversed(infos)]
    alias = next((alias for alias in aliases if alias), parameter.name)
    if not isinstance(alias, str):
        raise ToolDefinitionError(f"the alias of the parameter {parameter.name!r} of {label} is a str, not {alias!r}")
    metadata.append(Field(alias=alias, validation_alias=alias, serialization_alias=alias))
    if words is not None:
        metadata.append(Field(description=words))
    annotated: Any = typing.Annotated
    annotation = annotated[(acceptable(hint), *metadata)]
    if parameter.default is REQUIRED:
        return (annotation, ...)
    if _is_field_info(parameter.default):
        from pydantic_core import PydanticUndefined

        return (annotation, PydanticUndefined)
    return (annotation, parameter.default)


def _is_field_info(value: object) -> bool:
    from pydantic.fields import FieldInfo

    return isinstance(value, FieldInfo)


def _model(fields: Mapping[str, Any]) -> type[BaseModel]:
    from pydantic import ConfigDict, create_model

    made: type[BaseModel] = create_model("Arguments", __config__=ConfigDict(extra="forbid"), **fields)
    return made


def _schema(model: type[BaseModel]) -> dict[str, Any]:
    from pydantic.json_schema import GenerateJsonSchema, JsonSchemaWarningKind
    from pydantic_core import PydanticSerializationError

    class Generator(GenerateJsonSchema):
        def emit_warning(self, kind: JsonSchemaWarningKind, detail: str) -> None:
            """A default that JSON cannot express: the schema goes without it, and the function still has it."""

        def encode_default(self, dft: Any) -> Any:
            encoded = super().encode_default(dft)
            if not _is_finite(dft):  # pydantic makes null of it, or something that is no JSON
                raise PydanticSerializationError("infinities and NaN are no JSON")
            return encoded

    schema = in_order(tidy(model.model_json_schema(schema_generator=Generator)))
    json.dumps(schema, allow_nan=False)
    return schema


def _is_finite(value: Any) -> bool:
    if isinstance(value, float):
        return math.isfinite(value)
    if (fields := as_fields(value)) is not None:
        value = fields
    if isinstance(value, Mapping):
        return all(map(_is_finite, value.values()))
    return not isinstance(value, list | tuple | set | frozenset) or all(map(_is_finite, value))


def _culprit(
    parameters: Sequence[Parameter], fields: Mapping[str, Any], label: str, error: Exception
) -> ToolDefinitionError:
    """Name the parameter for which no schema can be made."""
    for parameter, (field, entry) in zip(parameters, fields.items(), strict=True):
        try:
            _schema(_model({field: entry}))
        except Exception as its_own:  # noqa: BLE001 - pydantic and the types of others raise what they like
            return ToolDefinitionError(
                f"no JSON schema can be made for the parameter {parameter.name!r} of {label}: {_first_line(its_own)}"
            )
    return ToolDefinitionError(f"no JSON schema can be made for the parameters of {label}: {_first_line(error)}")


def _first_line(error: Exception) -> str:
    return f"{type(error).__name__}: {str(error).strip().partition(chr(10))[0]}"


def _in_words(error: ValidationError) -> str:
    problems = error.errors(include_url=False, include_context=False)
    words = []
    for problem in problems[:SHOWN_PROBLEMS]:
        place = ".".join(str(part) for part in problem["loc"]) or "the arguments"
        got = "" if problem["type"] == "missing" else f" (got {reprlib.repr(problem['input'])})"
        words.append(f"{place}: {problem['msg']}{got}")
    if len(problems) > SHOWN_PROBLEMS:
        words.append(f"and {len(problems) - SHOWN_PROBLEMS} more")
    return f"wrong arguments: {'; '.join(words)}"
