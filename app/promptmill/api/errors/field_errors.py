"""From pydantic's errors to sentences that name the field and its fix.

Only the sentences of this file reach a client: pydantic's own speak of types of Python and repeat
the input.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Iterator, Mapping
from typing import Any, Final, get_args

from pydantic import BaseModel, ValidationError
from pydantic_core import ErrorDetails

from promptmill.api.intake.text_rules import Path

_SENTENCES: Final[dict[str, str]] = {
    "missing": "is required",
    "string_type": "must be a string",
    "int_type": "must be a whole number",
    "int_from_float": "must be a whole number",
    "int_parsing": "must be a whole number",
    "int_parsing_size": "must be a whole number of a usual size",
    "float_type": "must be a number",
    "float_parsing": "must be a number",
    "finite_number": "must be a finite number",
    "bool_type": "must be true or false",
    "list_type": "must be a list",
    "dict_type": "must be an object",
    "model_type": "must be an object",
    "model_attributes_type": "must be an object",
    "greater_than": "must be more than {gt:.12g}",
    "greater_than_equal": "must be at least {ge:.12g}",
    "less_than": "must be less than {lt:.12g}",
    "less_than_equal": "must be at most {le:.12g}",
    "string_too_short": "must not be empty",
    "string_too_long": "must have at most {max_length} characters",
    "too_short": "must have at least {min_length} entry",
    "too_long": "must have at most {max_length} entries",
    "literal_error": "must be {expected}",
    "enum": "must be {expected}",
}
_MODEL_NAME: Final = (
    "must be a model name such as `qwen3:8b`: letters, digits and `_ . : / @ -`, no spaces"
)
_OF_PATTERNS: Final[dict[str, str]] = {
    "model": _MODEL_NAME,
    "models": _MODEL_NAME,
}
_HINTS: Final[dict[str, str]] = {
    "stream": "has no meaning for a batch; leave it out (results can be read while it runs)",
    "context": "is not supported: prompts of a batch are independent; use `messages` for a chat",
}
_LONGEST_GUESS = 64


def describe(
    error: ValidationError, model: type[BaseModel], path: Path = ()
) -> Iterator[tuple[Path, str]]:
    """Each thing that is wrong, with its place below `path`."""
    for details in error.errors(include_url=False, include_input=False):
        # A name of a mapping that is wrong is reported as `metadata, the name, [key]`.
        place = tuple(part for part in details["loc"] if part != "[key]")
        yield (*path, *place), _sentence(details, model, place)


def sentence_of(details: Mapping[str, Any]) -> str:
    """What is wrong, by the kind of pydantic's error."""
    pattern = _SENTENCES.get(details["type"])
    return pattern.format(**details.get("ctx", {})) if pattern else str(details["msg"])


def unknown_name(name: str, known: Iterable[str], *, what: str = "field") -> str:
    """The sentence for a name that is not known, with the nearest known one."""
    if what == "field" and name in _HINTS:
        return _HINTS[name]
    close = difflib.get_close_matches(name, known, n=1) if len(name) <= _LONGEST_GUESS else []
    if close:
        return f"unknown {what}; did you mean `{close[0]}`?"
    return f"unknown {what}; leave it out"


def _sentence(details: ErrorDetails, model: type[BaseModel], place: Path) -> str:
    if details["type"] == "extra_forbidden":
        return unknown_name(str(place[-1]), _model_at(model, place[:-1]).model_fields)
    if details["type"] == "string_pattern_mismatch":
        return _OF_PATTERNS[[part for part in place if isinstance(part, str)][-1]]
    return sentence_of(details)


def _model_at(model: type[BaseModel], place: Path) -> type[BaseModel]:
    for part in place:
        field = model.model_fields.get(str(part))
        inner = _models_in(field.annotation) if field else []
        model = inner[0] if inner else model
    return model


def _models_in(annotation: Any) -> list[type[BaseModel]]:  # noqa: ANN401 - any annotation at all
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return [annotation]
    return [found for part in get_args(annotation) for found in _models_in(part)]
