"""JSON Schemas for answers: from a file, as an object, or in short form as `name, age int`."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final, cast

from promptmill.rows import UnreadableInput, parse_json

_TYPES: Final = {"str": "string", "int": "integer", "float": "number", "bool": "boolean"}
_FIELD: Final = re.compile(r"\s*([^\s:]+)(?:\s+([^\s:]+))?\s*(?::\s*(.*?)\s*)?", re.DOTALL)


def schema_of(source: str | Mapping[str, Any] | type) -> dict[str, Any]:
    """Read a JSON Schema from one of its accepted forms.

    `source` is a schema as an object, a pydantic class, the name of a file (`person.json`, or `@`
    and any name), JSON text, or fields in short form: `name, age int`. A field is a name, a type
    (`str` by default, `int`, `float`, `bool`) and, after a colon, a description for the model;
    fields are separated by commas, or by line ends if there are any. All fields are required.

    Raises:
        UnreadableInput: `source` has none of these forms.
    """
    if isinstance(source, Mapping):
        return dict(source)
    if not isinstance(source, str):
        return _of_class(source)
    text = source.strip()
    if text.startswith("@") or (text.lower().endswith(".json") and not re.search(r"[\n{]", text)):
        text = _file(text.removeprefix("@"))
    elif not text.startswith("{"):
        return _of_fields(text)
    try:
        value = parse_json(text)
    except ValueError as error:
        raise UnreadableInput(f"the schema {error}") from None
    if not isinstance(value, dict):
        raise UnreadableInput("the schema is not a JSON object")
    return cast("dict[str, Any]", value)


def _of_fields(text: str) -> dict[str, Any]:
    properties: dict[str, dict[str, str]] = {}
    for part in text.split("\n" if "\n" in text else ","):
        if not part.strip():
            continue
        found = _FIELD.fullmatch(part)
        name, type_name, description = found.groups() if found else (part, "", None)
        if not found or (type_name and type_name not in _TYPES):
            raise UnreadableInput(
                f'"{part.strip()}" is not a field: write `name`, `name type` or `name type:'
                f" description`; the types are {', '.join(_TYPES)}"
            )
        if name in properties:
            raise UnreadableInput(f'the field "{name}" occurs twice')
        properties[name] = {"type": _TYPES[type_name or "str"]}
        if description:
            properties[name]["description"] = description
    if not properties:
        raise UnreadableInput("the schema names no field; such as 'name, age int'")
    return {"type": "object", "properties": properties, "required": list(properties)}


def _of_class(source: Any) -> dict[str, Any]:  # noqa: ANN401 - any class
    make = getattr(source, "model_json_schema", None)
    if make is None:
        raise UnreadableInput(
            f"{source!r} is not a schema: pass a text, an object or a pydantic class"
        )
    return make()


def _file(name: str) -> str:
    try:
        return Path(name).read_text(encoding="utf-8-sig")
    except (OSError, ValueError) as error:
        told = getattr(error, "strerror", None) or "it is not UTF-8"
        raise UnreadableInput(f"the schema cannot be read from {name}: {told}") from None
