"""Base class of request models: no conversions, no unknown fields."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final, cast

from pydantic import BaseModel, ConfigDict, GetJsonSchemaHandler, model_validator
from pydantic.json_schema import JsonSchemaValue
from pydantic_core import CoreSchema, PydanticCustomError

Path = tuple[str | int, ...]
"""Place of a value inside the body, from the outside in."""
NOT_BLANK: Final = r"\S"
"""Pattern of a text that is not blank."""
FAULTS: Final = "faults"
"""Type of an error that holds several faults, each with its place below the value."""


def faults_error(faults: Sequence[tuple[Path, str]]) -> PydanticCustomError:
    """Build the error of a validator that has found several faults."""
    return PydanticCustomError(FAULTS, "several entries are wrong", {"faults": faults})


def whole(value: object) -> object:
    """Convert a float such as `5.0`, which many clients write, to the whole number."""
    return int(value) if isinstance(value, float) and value.is_integer() else value


def need_any_field(schema: dict[str, Any]) -> None:
    """Make a schema require one of its fields; for `json_schema_extra`."""
    schema["anyOf"] = [_given(name) for name in schema["properties"]]


def not_both(one: str, other: str) -> dict[str, Any]:
    """JSON Schema of objects in which one of two fields is missing or null."""
    return {"not": {"allOf": [_given(one), _given(other)]}}


def either(one: str, other: str) -> dict[str, Any]:
    """JSON Schema of objects in which exactly one of two fields is given, and not null."""
    return {"anyOf": [_given(one), _given(other)], **not_both(one, other)}


def _given(name: str) -> dict[str, Any]:
    return {"required": [name], "properties": {name: {"not": {"type": "null"}}}}


class RequestModel(BaseModel):
    """Part of a request: `"5"` is not a number, true is not 1, and an unknown field is an error.

    Null means that a field is not given, as clients write it that send all fields they know.
    """

    model_config = ConfigDict(extra="forbid", strict=True, allow_inf_nan=False, frozen=True)

    @model_validator(mode="before")
    @classmethod
    def _leave_nulls_out(cls, value: object) -> object:
        if not isinstance(value, dict):
            return value
        members = cast("dict[str, Any]", value)
        if None not in members.values():
            return members
        return {name: member for name, member in members.items() if member is not None}

    @classmethod
    def __get_pydantic_json_schema__(
        cls, core_schema: CoreSchema, handler: GetJsonSchemaHandler
    ) -> JsonSchemaValue:
        """Schema in which every optional field may be null as well."""
        reference = handler(core_schema)
        schema = handler.resolve_ref_schema(reference)
        for name, field in schema.get("properties", {}).items():
            if name not in schema.get("required", ()):
                _allow_null(field)
        return reference


_ABOUT: Final = frozenset({"title", "description", "default", "examples"})


def _allow_null(field: dict[str, Any]) -> None:
    kind = {name: field.pop(name) for name in list(field) if name not in _ABOUT}
    kinds = kind["anyOf"] if kind.keys() == {"anyOf"} else [kind]
    if {"type": "null"} not in kinds:
        kinds = [*kinds, {"type": "null"}]
    field["anyOf"] = kinds
