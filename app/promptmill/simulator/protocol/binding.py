"""Request bodies, bound to the fields of a Go struct as the server binds them.

Unknown fields are ignored, names match whatever their case, `null` leaves a field unset. A value of
another type is refused with Go's text (recordings `general`, `chat`, `generate_errors`).
"""

from __future__ import annotations

import json
import string
from collections.abc import Callable
from typing import cast

from promptmill.simulator.faults.refusals import Refusal
from promptmill.simulator.protocol.durations import DurationError, keep_alive_seconds

Fields = dict[str, object]
"""A bound body: only the fields that were sent and are not null."""

Reader = Callable[[object, str], object]
"""Reads one value at a path such as `GenerateRequest.prompt`; raises `_Mismatch` or `_Abort`."""


class _Mismatch(Exception):  # noqa: N818  # carries Go's text
    """A value of the wrong type. Go reads on and reports the first one at the end."""


class _Abort(Exception):  # noqa: N818  # carries Go's text
    """A value that a type of its own refuses. Go stops there."""


def _refuse_constant(name: str) -> object:
    raise ValueError(name)


NOT_JSON = "the request body is not valid JSON"
"""The simulator's own sentence for malformed JSON; Go's names the character."""

_decoder = json.JSONDecoder(parse_constant=_refuse_constant)


def decode(raw: bytes) -> object:
    """The first JSON value of a body; what follows it is ignored, as Go does."""
    text = raw.decode("utf-8", "replace").lstrip(" \t\r\n")
    try:
        value, _ = _decoder.raw_decode(text)
    except (ValueError, RecursionError):
        raise Refusal(400, NOT_JSON if text else "missing request body") from None
    return cast("object", value)


def bind(raw: bytes, name: str, fields: dict[str, Reader]) -> Fields:
    """The body as fields of the struct `name`."""
    value = decode(raw)
    if value is None:
        return {}
    if not isinstance(value, dict):
        kind = _kind(value)
        raise Refusal(400, f"json: cannot unmarshal {kind} into Go value of type api.{name}")
    try:
        return _struct(cast("dict[str, object]", value), name, fields)
    except (_Mismatch, _Abort) as error:
        raise Refusal(400, str(error)) from None


def _struct(value: dict[str, object], path: str, fields: dict[str, Reader]) -> Fields:
    bound: Fields = {}
    first: _Mismatch | None = None
    for key, item in value.items():
        known = key if key in fields else key.lower()
        reader = fields.get(known)
        if reader is None or item is None:
            continue
        try:
            bound[known] = reader(item, f"{path}.{known}")
        except _Mismatch as mismatch:
            first = first or mismatch
    if first is not None:
        raise first
    return bound


def _kind(value: object) -> str:
    """The kind of a JSON value in Go's errors."""
    if isinstance(value, bool):
        return "bool"
    if isinstance(value, int):
        return "number"
    if isinstance(value, float):
        return f"number {value!r}"
    if isinstance(value, str):
        return "string"
    return "array" if isinstance(value, list) else "object"


def _mismatch(value: object, path: str, wanted: str) -> _Mismatch:
    kind = "number" if wanted == "string" and isinstance(value, float) else _kind(value)
    return _Mismatch(f"json: cannot unmarshal {kind} into Go struct field {path} of type {wanted}")


def text(value: object, path: str) -> object:
    """A Go `string`."""
    if isinstance(value, str):
        return value
    raise _mismatch(value, path, "string")


def boolean(value: object, path: str) -> object:
    """A Go `bool`."""
    if isinstance(value, bool):
        return value
    raise _mismatch(value, path, "bool")


def integer(value: object, path: str) -> object:
    """A Go `int`."""
    if isinstance(value, int) and not isinstance(value, bool):
        return value
    raise _mismatch(value, path, "int")


def number(value: object, path: str) -> object:
    """A Go `float64`."""
    if isinstance(value, int | float) and not isinstance(value, bool):
        return float(value)
    raise _mismatch(value, path, "float64")


def anything(value: object, path: str) -> object:  # noqa: ARG001  # a reader like the others
    """A `json.RawMessage` or `any`: kept as it is."""
    return value


def mapping(value: object, path: str) -> object:
    """A Go `map[string]any`."""
    if isinstance(value, dict):
        return cast("object", value)
    raise _mismatch(value, path, "map[string]interface {}")


def duration(value: object, path: str) -> object:  # noqa: ARG001  # a reader like the others
    """An `api.Duration`, in seconds; forever is infinite."""
    try:
        return keep_alive_seconds(value)
    except DurationError as error:
        raise _Abort(str(error)) from None


def think(value: object, path: str) -> object:  # noqa: ARG001  # a reader like the others
    """An `api.ThinkValue`: a boolean or a level."""
    if isinstance(value, bool) or value in {"high", "medium", "low", "max"}:
        return value
    if isinstance(value, str):
        raise _Abort(
            f'invalid think value: "{value}" '
            '(must be "high", "medium", "low", "max", true, or false)'
        )
    raise _Abort(
        'think must be a boolean or string ("high", "medium", "low", "max", true, or false)'
    )


def list_of(reader: Reader, go_type: str) -> Reader:
    """A Go slice."""

    def read(value: object, path: str) -> object:
        if not isinstance(value, list):
            raise _mismatch(value, path, go_type)
        return [reader(item, path) for item in cast("list[object]", value)]

    return read


def struct(fields: dict[str, Reader], go_type: str) -> Reader:
    """A Go struct inside another one."""

    def read(value: object, path: str) -> object:
        if not isinstance(value, dict):
            raise _mismatch(value, path, go_type)
        return _struct(cast("dict[str, object]", value), path, fields)

    return read


_BASE64 = frozenset(string.ascii_letters + string.digits + "+/")


def image(value: object, path: str) -> object:
    """Image bytes in base64; only checked, the simulator has no eyes."""
    if not isinstance(value, str):
        raise _mismatch(value, path, "[]uint8")
    body = value.replace("\n", "").replace("\r", "")
    content = body.rstrip("=")
    bad = next((place for place, char in enumerate(content) if char not in _BASE64), None)
    if bad is None and (len(body) % 4 or len(body) - len(content) > 2):  # noqa: PLR2004  # padding
        bad = len(body) - len(body) % 4
    if bad is not None:
        raise _Mismatch(f"illegal base64 data at input byte {bad}")
    return value
