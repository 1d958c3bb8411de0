"""Valid instances of JSON Schemas, determined by a few bytes.

Supported are common forms of `format`: types, properties, enum, const, arrays with bounds, numbers
with bounds, lengths, the common formats, anyOf/oneOf/allOf and local `$ref`. A schema with more
(`pattern`, `not`, `if`) may get an instance that does not fit it.
"""

from __future__ import annotations

import math
from collections.abc import Mapping

from promptmill.simulator.engine.vocabulary import WORDS
from promptmill.simulator.protocol.narrow import as_list, as_object

_DEEP = 4
"""Levels of nesting after which only required properties are written, so that recursion ends."""

_DEEPEST = 40

_FORMATS = {
    "date-time": "2026-01-{:02d}T12:00:00Z",
    "date": "2026-01-{:02d}",
    "time": "12:{:02d}:00Z",
    "email": "reader{:02d}@example.com",
    "uri": "https://example.com/{:02d}",
    "uuid": "00000000-0000-4000-8000-0000000000{:02d}",
    "ipv4": "192.0.2.{:d}",
    "hostname": "host{:02d}.example.com",
}

Schema = Mapping[str, object]


def instance(schema: Schema, source: bytes) -> object:
    """An instance of the schema; the same bytes always give the same one."""
    return _Writer(schema, source).value(schema, 0)


class _Writer:
    """One walk through a schema, with the place in the bytes."""

    def __init__(self, root: Schema, source: bytes) -> None:
        self._root = root
        self._source = source
        self._place = 0

    def _draw(self, below: int) -> int:
        """A number from 0 up to, not including, `below`."""
        self._place = (self._place + 1) % len(self._source)
        return self._source[self._place] % below

    def value(self, schema: object, depth: int) -> object:
        """An instance of a schema inside the root."""
        known = as_object(schema)
        if known is None or depth > _DEEPEST:
            return None
        here = self._merged(known)
        if "const" in here:
            return here["const"]
        options = as_list(here.get("enum"))
        if options:
            return options[self._draw(len(options))]
        for key in ("anyOf", "oneOf"):
            branches = as_list(here.get(key))
            if branches:
                return self._branch(here, key, branches, depth)
        return self._typed(here, depth)

    def _branch(self, here: Schema, key: str, branches: list[object], depth: int) -> object:
        """An instance of one branch, joined with what stands beside the branches."""
        # Deep down the last branch is taken: by habit it is the null or the leaf.
        chosen = branches[-1] if depth >= _DEEP else branches[self._draw(len(branches))]
        beside = {name: part for name, part in here.items() if name != key}
        if as_object(chosen) is not None:
            return self.value({**beside, "allOf": [chosen]}, depth + 1)
        return self.value(beside, depth + 1)

    def _merged(self, schema: Schema) -> dict[str, object]:
        """The schema with its `$ref` and `allOf` written into it."""
        merged: dict[str, object] = {
            key: part for key, part in schema.items() if key not in {"$ref", "allOf"}
        }
        parts: list[object] = []
        reference = schema.get("$ref")
        if isinstance(reference, str):
            parts.append(self._resolve(reference))
        parts.extend(as_list(schema.get("allOf")) or [])
        for part in map(as_object, parts):
            if part is not None:
                _join(merged, self._merged(part))
        return merged

    def _resolve(self, reference: str) -> object:
        """The part of the root that a local reference points to."""
        found: object = self._root
        for step in reference.removeprefix("#").strip("/").split("/"):
            if step:
                name = step.replace("~1", "/").replace("~0", "~")
                found = (as_object(found) or {}).get(name)
        return found

    def _typed(self, here: Schema, depth: int) -> object:
        """An instance by the schema's type, or by the keywords that imply one."""
        match _type_of(here):
            case "object":
                return self._object(here, depth)
            case "array":
                return self._array(here, depth)
            case "integer" | "number" as kind:
                return self._number(here, whole=kind == "integer")
            case "boolean":
                return bool(self._draw(2))
            case "null":
                return None
            case _:
                return self._string(here)

    def _object(self, here: Schema, depth: int) -> dict[str, object]:
        wanted = as_object(here.get("properties")) or {}
        needed = [str(name) for name in as_list(here.get("required")) or []]
        names = [name for name in wanted if depth < _DEEP or name in needed]
        names += [name for name in needed if name not in wanted]
        return {name: self.value(wanted.get(name, {}), depth + 1) for name in names}

    def _array(self, here: Schema, depth: int) -> list[object]:
        heads = as_list(here.get("prefixItems")) or []
        written = [self.value(head, depth + 1) for head in heads]
        least = int(_bound(here, "minItems", 0))
        most = _bound(here, "maxItems", max(least, 3))
        count = least if depth >= _DEEP else int(min(most, least + self._draw(3)))
        if here.get("items") is False or ("items" not in here and not least):
            return written
        while len(written) < count:
            item = self.value(here.get("items", {}), depth + 1)
            if here.get("uniqueItems") and item in written and len(written) >= least:
                break
            written.append(item)
        return written

    def _number(self, here: Schema, *, whole: bool) -> float | int:
        step = _bound(here, "multipleOf", 1 if whole else 0.5)
        low = max(_bound(here, "minimum", -math.inf), _bound(here, "exclusiveMinimum", -math.inf))
        high = min(_bound(here, "maximum", math.inf), _bound(here, "exclusiveMaximum", math.inf))
        if low == -math.inf:
            low = min(0.0, high - 100 * step) if high < math.inf else 0.0
        if high == math.inf:
            high = low + 100 * step
        first, last = math.ceil(low / step), math.floor(high / step)
        if first * step <= _bound(here, "exclusiveMinimum", -math.inf):
            first += 1
        if last * step >= _bound(here, "exclusiveMaximum", math.inf):
            last -= 1
        if last < first:
            return (low + high) / 2
        number = (first + self._draw(min(last - first, 254) + 1)) * step
        return int(number) if whole or number == int(number) else number

    def _string(self, here: Schema) -> str:
        shape = _FORMATS.get(str(here.get("format")))
        if shape is not None:
            return shape.format(1 + self._draw(27))
        least = int(_bound(here, "minLength", 0))
        most = int(_bound(here, "maxLength", max(least, 40)))
        text = WORDS[self._draw(256)]
        while len(text) < least:
            text += " " + WORDS[self._draw(256)]
        return text[:most]


def _type_of(here: Schema) -> str:
    """The type of an instance: as the schema says, or as its keywords imply."""
    named = here.get("type")
    kinds = as_list(named)
    if kinds:
        named = next((kind for kind in kinds if kind != "null"), "null")
    if isinstance(named, str):
        return named
    implied = {
        "properties": "object",
        "required": "object",
        "items": "array",
        "prefixItems": "array",
        "minimum": "number",
        "maximum": "number",
    }
    return next((kind for key, kind in implied.items() if key in here), "string")


def _bound(here: Schema, key: str, otherwise: float) -> float:
    """A numeric keyword of the schema."""
    found = here.get(key)
    return found if isinstance(found, int | float) and not isinstance(found, bool) else otherwise


def _join(merged: dict[str, object], part: Schema) -> None:
    """Write a part of an `allOf` into the schema that holds it."""
    for key, value in part.items():
        if key == "properties":
            merged[key] = {**(as_object(merged.get(key)) or {}), **(as_object(value) or {})}
        elif key == "required":
            merged[key] = [*(as_list(merged.get(key)) or []), *(as_list(value) or [])]
        else:
            merged.setdefault(key, value)
