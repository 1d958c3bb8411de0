"""Untrusted JSON Schemas: whether a schema is sound, and where a value does not fit it.

Nothing is ever fetched: references may only lead into the schema itself. No schema and no value
makes the work endless: it is counted in steps (a keyword applied to a value is one, about 10
microseconds), regular expressions run in an engine without backtracking
(`ollama.answer_checks.patterns`), and two keywords whose work cannot be counted are refused.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from itertools import islice
from typing import Any, Final, cast

from jsonschema import exceptions
from pydantic_core import to_json
from referencing.jsonschema import EMPTY_REGISTRY, specification_with

from promptmill.ollama.answer_checks.counted_keywords import COUNTED, DIALECTS, TooCostly, errors
from promptmill.ollama.answer_checks.patterns import (
    HEAVIEST,
    NeedsBacktracking,
    Pattern,
    Unchecked,
    Unusable,
)
from promptmill.ollama.text import one_line

LARGEST: Final = 64 * 1024
"""Most bytes of a schema, as JSON without spaces."""
DEEPEST: Final = 64
"""Most levels of arrays and objects in a schema."""
MOST_PATTERNS: Final = 50
"""Most different regular expressions in a schema."""
MOST_STEPS: Final = 500_000
"""Most steps for one value: some seconds."""

_STEPS_OF_A_LOOK = 10_000
_ERRORS_LOOKED_AT = 5
_LONGEST_PATH = 200
_LONGEST_VALUE = 80

_NEWEST = next(iter(DIALECTS))
_REFERENCES = ("$ref", "$dynamicRef", "$recursiveRef")
_NOT_COUNTABLE = ("unevaluatedProperties", "unevaluatedItems")


class Unsound(ValueError):  # noqa: N818 - named for what it is
    """The schema cannot be used; the message says why."""


def schema_fault(schema: object) -> str | None:
    """Fault of a schema, as the rest of a sentence about it; None for a sound schema."""
    if not isinstance(schema, Mapping):
        return "must be a JSON Schema object"
    try:
        _sound(cast("Mapping[str, Any]", schema))
    except Unsound as reason:
        return str(reason)
    return None


def unchecked_in(schema: object) -> tuple[str, ...]:
    """Regular expressions of a sound schema that answers are not checked against."""
    if not isinstance(schema, Mapping):
        return ()
    return _sound(cast("Mapping[str, Any]", schema)).unchecked


def mismatch(schema: Mapping[str, Any], value: object) -> str | None:
    """Describe where and how a value does not fit the schema; None if it fits.

    Raises:
        Unsound: The schema itself cannot be used.
        TooCostly: The check takes too long.
    """
    sound = _sound(schema)
    try:
        error = _most_telling(sound.errors(value, steps=MOST_STEPS))
        if error is not None and sound.unchecked:
            # The error may result from the assumption; then the opposite one gives none.
            other = _most_telling(sound.errors(value, steps=MOST_STEPS, assumed=False))
            error = None if other is None else error
    except TooCostly:
        raise
    except RecursionError:
        raise TooCostly("it is nested deeper than can be followed") from None
    except Exception as error:
        raise TooCostly(f"the check ended with {type(error).__name__}") from error
    return None if error is None else _sentence(error)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Sound:
    validator: Any
    patterns: Mapping[str, Pattern] = field(default_factory=dict[str, Pattern])
    unchecked: tuple[str, ...] = ()
    """Regular expressions that are not run."""

    def errors(self, value: object, *, steps: int, assumed: bool = True) -> Iterator[Any]:
        """Yield the errors of a value; expressions that are not run match every text, or none."""
        others = dict.fromkeys(self.unchecked, Unchecked(matches=assumed))
        return errors(self.validator, {**self.patterns, **others}, value, steps=steps)


def _sound(schema: Mapping[str, Any]) -> _Sound:
    try:
        text = json.dumps(schema, sort_keys=True, allow_nan=False, separators=(",", ":"))
    except RecursionError:
        raise Unsound(f"is nested deeper than {DEEPEST} levels") from None
    except (TypeError, ValueError):
        raise Unsound("is not JSON") from None
    if len(text) > LARGEST:
        raise Unsound(f"is a schema of {len(text)} bytes; at most {LARGEST} are accepted")
    found = _compiled(text)
    if isinstance(found, str):
        raise Unsound(found)
    return found


@lru_cache(maxsize=32)
def _compiled(text: str) -> _Sound | str:
    """Compile a schema, or return its fault; results are kept, because batches repeat theirs."""
    try:
        return _compile(json.loads(text))
    except Unsound as reason:
        return str(reason)
    except RecursionError:
        return f"is nested deeper than {DEEPEST} levels"
    except Exception as error:  # noqa: BLE001 - whatever a stranger's schema makes a library raise
        return f"cannot be used as a schema ({type(error).__name__})"


def _compile(schema: dict[str, Any]) -> _Sound:
    dialect = schema.pop("$schema", _NEWEST)
    _check_nesting(schema)
    name = dialect.rstrip("#") if isinstance(dialect, str) else ""
    if name not in DIALECTS:
        known = ", ".join(f"`{one}`" for one in DIALECTS)
        raise Unsound(f"has an unknown `$schema`; leave it out or give one of {known}")
    expressions = _Inspection(name, schema).expressions()
    patterns, unchecked = _patterns(expressions)
    sound = _Sound(
        validator=COUNTED[name](schema, registry=EMPTY_REGISTRY),
        patterns=patterns,
        unchecked=unchecked,
    )
    _look(sound)
    return sound


def _look(sound: _Sound) -> None:
    """Apply the schema once to a trivial value, which reveals endless references."""
    try:
        for _ in sound.errors(None, steps=_STEPS_OF_A_LOOK):
            pass
    except RecursionError:
        raise Unsound("refers to itself without end") from None
    except TooCostly:
        raise Unsound("branches too much to be checked") from None


def _patterns(expressions: Iterable[str]) -> tuple[dict[str, Pattern], tuple[str, ...]]:
    """Compile the expressions, and list those that are not run."""
    patterns: dict[str, Pattern] = {}
    unchecked: list[str] = []
    weight = 0
    for expression in sorted(expressions):
        try:
            patterns[expression] = Pattern(expression)
        except NeedsBacktracking:
            unchecked.append(expression)
            continue
        except Unusable as reason:
            shown = one_line(expression, _LONGEST_VALUE)
            raise Unsound(
                f"has the regular expression `{shown}`, which cannot be used: {reason}"
            ) from None
        weight += patterns[expression].weight
        if weight > HEAVIEST:
            raise Unsound("has regular expressions that repeat too much in all")
    return patterns, tuple(unchecked)


def _check_nesting(schema: dict[str, Any]) -> None:
    """Refuse schemas that are nested too deeply, or that change the dialect.

    jsonschema adopts the dialect of any schema that it meets, and would run its keywords instead of
    the counted ones. A property may be named `$schema`; then its value is not a string.
    """
    waiting: list[tuple[object, int]] = [(schema, 1)]
    while waiting:
        one, level = waiting.pop()
        if level > DEEPEST and isinstance(one, dict | list):
            raise Unsound(f"is nested deeper than {DEEPEST} levels")
        if isinstance(one, dict):
            members = cast("dict[str, object]", one)
            if isinstance(members.get("$schema"), str):
                raise Unsound("has a `$schema` inside; give it at the top only")
            waiting.extend((each, level + 1) for each in members.values())
        elif isinstance(one, list):
            waiting.extend((each, level + 1) for each in cast("list[object]", one))


class _Inspection:
    """Walk over every schema inside a schema, wherever a reference may lead."""

    def __init__(self, dialect: str, schema: dict[str, Any]) -> None:
        self._specification = specification_with(dialect)
        kind = DIALECTS[dialect]
        # Not `check_schema`, which raises the first error and not the most informative.
        self._meta: Any = kind(kind.META_SCHEMA)
        self._root = schema
        self._seen: set[int] = set()
        self._expressions: set[str] = set()
        self._targets: list[tuple[object, Any]] = []

    def expressions(self) -> set[str]:
        """Collect the regular expressions of a schema that is sound.

        Raises:
            Unsound: A part is not sound.
        """
        resource = self._specification.create_resource(self._root)
        self._targets.append((self._root, EMPTY_REGISTRY.resolver_with_root(resource)))
        while self._targets:
            target, resolver = self._targets.pop()
            if id(target) not in self._seen and not isinstance(target, bool):
                # References may also lead to places where no schema is expected.
                self._check_shape(target)
                self._walk(cast("dict[str, Any]", target), resolver)
        return self._expressions

    def _check_shape(self, schema: object) -> None:
        error = _most_telling(self._meta.iter_errors(schema))
        if error is not None:
            while error.context:  # `anyOf` in the schema of schemas; its first branch tells most
                error = error.context[0]
            raise Unsound(f"is no valid JSON Schema: {_sentence(error)}")

    def _walk(self, schema: dict[str, Any], resolver: Any) -> None:  # noqa: ANN401 - see `_targets`
        waiting = [(schema, resolver)]
        while waiting:
            one, resolver = waiting.pop()
            if id(one) in self._seen:
                continue
            self._seen.add(id(one))
            self._check_keywords(one, resolver)
            for inner in self._inside(one):
                resource = self._specification.create_resource(inner)
                waiting.append((inner, resolver.in_subresource(resource)))

    def _inside(self, schema: dict[str, Any]) -> Iterator[dict[str, Any]]:
        """Yield the schemas directly below a schema, except true and false."""
        found: list[Any] = list(self._specification.subresources_of(schema))
        # The library skips schemas in older drafts' `dependencies` beside lists.
        if isinstance(dependencies := schema.get("dependencies"), dict):
            found.extend(cast("dict[str, Any]", dependencies).values())
        for one in found:
            if isinstance(one, dict):
                yield one

    def _check_keywords(self, schema: dict[str, Any], resolver: Any) -> None:  # noqa: ANN401
        for name in _NOT_COUNTABLE:
            if name in schema:
                raise Unsound(f"has `{name}`, which is not supported")
        for name in _REFERENCES:
            if isinstance(reference := schema.get(name), str):
                self._targets.append(self._target(name, reference, resolver))
        if isinstance(schema.get("pattern"), str):
            self._expressions.add(schema["pattern"])
        self._expressions.update(schema.get("patternProperties", ()))
        if len(self._expressions) > MOST_PATTERNS:
            raise Unsound(f"has more than {MOST_PATTERNS} different regular expressions")

    def _target(self, name: str, reference: str, resolver: Any) -> tuple[object, Any]:  # noqa: ANN401
        shown = one_line(reference, _LONGEST_VALUE)
        if not reference.startswith("#"):
            raise Unsound(
                f"has the `{name}` `{shown}`; only references within the schema, which begin with"
                " `#`, are followed"
            )
        try:
            found = resolver.lookup(reference)
        except Exception:  # noqa: BLE001 - pointers into texts and lists fail in many ways
            raise Unsound(f"has the `{name}` `{shown}`, which leads nowhere") from None
        return found.contents, found.resolver


def _sentence(error: Any) -> str:  # noqa: ANN401 - the stubs know less than the documentation
    """Describe the place and the kind of an error, in terms of JSON and not of Python."""
    place = one_line(error.json_path, _LONGEST_PATH)
    if error.validator is None:
        return f"`{place}` is {_shown(error.instance)}, where nothing is allowed"
    wanted: object = error.validator_value
    if error.validator == "additionalProperties" and wanted is False:
        return f"`{place}` has {error.message}, which the schema does not allow"
    if error.validator == "required" and isinstance(wanted, list):
        missing = [name for name in cast("Sequence[str]", wanted) if name not in error.instance]
        return f"`{place}` has no {one_line(', '.join(f'`{name}`' for name in missing), 200)}"
    return (
        f'`{place}` is {_shown(error.instance)}, which breaks "{error.validator}": {_shown(wanted)}'
    )


def _most_telling(errors: Iterable[Any]) -> Any:  # noqa: ANN401 - as above
    """Choose the most informative of the first errors; None without errors."""
    first = islice(errors, _ERRORS_LOOKED_AT)
    return cast("Any", exceptions.best_match(first))  # pyright: ignore[reportUnknownMemberType]


def _shown(value: object) -> str:
    return one_line(to_json(value).decode(), _LONGEST_VALUE)
