"""Keywords of JSON Schema with counted work, so that no check runs without end.

The unit is a step: a keyword that is applied to a value, about 10 microseconds. jsonschema's own
checks are wrapped; those that would run a regular expression with backtracking, or compare each
item with each, are replaced.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator, Mapping
from typing import Any, Final, cast

import jsonschema
from jsonschema import validators
from jsonschema.exceptions import ValidationError

from promptmill.ollama.answer_checks.patterns import Pattern, Unchecked
from promptmill.ollama.text import one_line

_STEPS_OF_A_MATCH = 20_000  # the engine holds the interpreter's lock while it matches
_LONGEST_NAMES = 200
_WEIGHED = 1_000  # a character under a pattern of so much weight takes as long as a step

DIALECTS: Final = {
    str(kind.META_SCHEMA.get("$schema")).rstrip("#"): kind
    for kind in (
        jsonschema.Draft202012Validator,
        jsonschema.Draft201909Validator,
        jsonschema.Draft7Validator,
        jsonschema.Draft6Validator,
        jsonschema.Draft4Validator,
    )
}
"""Supported dialects, newest first: jsonschema's class for each `$schema`."""


class TooCostly(Exception):  # noqa: N818 - named for what it is
    """The check was given up because it is too costly; the message says why."""


class _Work(threading.local):
    """State of the check in one thread, for which jsonschema has no place."""

    left = 0
    patterns: Mapping[str, Pattern | Unchecked] = {}


_work = _Work()


def errors(
    validator: Any,  # noqa: ANN401 - jsonschema makes its classes at run time
    patterns: Mapping[str, Pattern | Unchecked],
    value: object,
    *,
    steps: int,
) -> Iterator[Any]:
    """Yield the errors of a value; the iterator must be consumed by one thread.

    Args:
        validator: Instance of a class in `COUNTED`.
        patterns: All regular expressions of its schema.
        value: Value to check.
        steps: Most steps of the check.

    Raises:
        TooCostly: The check needs more steps.
    """
    _work.left, _work.patterns = steps, patterns
    yield from validator.iter_errors(value)


def _spend(steps: int) -> None:
    _work.left -= steps
    if _work.left < 0:
        raise TooCostly("it takes too long to check")


def _counted(check: Any) -> Any:  # noqa: ANN401 - jsonschema's keywords have no type
    """Wrap a keyword's check to count its work; a list counts as many steps as it has items."""

    def counting(validator: Any, value: Any, instance: Any, schema: Any) -> Any:  # noqa: ANN401
        _spend(1 + len(cast("list[Any]", value)) if isinstance(value, list) else 1)
        return check(validator, value, instance, schema)

    return counting


def _is_in(text: str, expression: str) -> bool:
    pattern = _work.patterns[expression]
    steps = len(text) * pattern.weight // _WEIGHED
    if steps > _STEPS_OF_A_MATCH:
        raise TooCostly(f"it has a text of {len(text)} characters, too long for a `pattern`")
    _spend(steps)
    return pattern.is_in(text)


def _pattern_keyword(
    validator: Any,  # noqa: ANN401 - as jsonschema calls it; so below
    expression: str,
    instance: object,
    _schema: object,
) -> Iterator[ValidationError]:
    if validator.is_type(instance, "string") and not _is_in(cast("str", instance), expression):
        yield ValidationError("pattern")


def _pattern_properties(
    validator: Any,  # noqa: ANN401
    schemas: Mapping[str, Any],
    instance: Any,  # noqa: ANN401
    _schema: object,
) -> Iterator[ValidationError]:
    for expression, inner in schemas.items() if validator.is_type(instance, "object") else ():
        for name, value in instance.items():
            _spend(1)
            if _is_in(name, expression):
                yield from validator.descend(value, inner, path=name, schema_path=expression)


def _additional_properties(
    validator: Any,  # noqa: ANN401
    allowed: object,
    instance: Any,  # noqa: ANN401
    schema: Mapping[str, Any],
) -> Iterator[ValidationError]:
    if allowed is True or not validator.is_type(instance, "object"):
        return
    named = schema.get("properties", {})
    expressions: Mapping[str, Any] = schema.get("patternProperties", {})
    _spend(len(instance))
    more = [
        name
        for name in instance
        if name not in named and not any(_is_in(name, one) for one in expressions)
    ]
    if allowed is False and more:
        yield ValidationError(one_line(", ".join(f"`{name}`" for name in more), _LONGEST_NAMES))
    elif allowed is not False:
        for name in more:
            yield from validator.descend(instance[name], allowed, path=name)


def _unique_items(
    validator: Any,  # noqa: ANN401
    wanted: object,
    instance: Any,  # noqa: ANN401
    _schema: object,
) -> Iterator[ValidationError]:
    # jsonschema compares each item with each; here a look-up per item suffices.
    if wanted is True and validator.is_type(instance, "array"):
        _spend(len(instance))
        if len({_lookup(item) for item in instance}) < len(instance):
            yield ValidationError("uniqueItems")


def _lookup(value: object) -> object:
    """Key that is equal for two values if they are equal in JSON: 1 is 1.0, but not true."""
    if isinstance(value, dict):
        members = cast("dict[str, object]", value).items()
        return frozenset((name, _lookup(member)) for name, member in members)
    if isinstance(value, list):
        return tuple(_lookup(item) for item in cast("list[object]", value))
    return (bool, value) if isinstance(value, bool) else value


_OWN = {
    "pattern": _pattern_keyword,
    "patternProperties": _pattern_properties,
    "additionalProperties": _additional_properties,
    "uniqueItems": _unique_items,
}
COUNTED: Final[Mapping[str, Any]] = {
    name: validators.extend(  # pyright: ignore[reportUnknownMemberType] - the stubs leave it open
        kind, {word: _counted(check) for word, check in {**kind.VALIDATORS, **_OWN}.items()}
    )
    for name, kind in DIALECTS.items()
}
"""The same dialects with every keyword counted."""
