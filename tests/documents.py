"""Documents of the contract of which a test writes only what it is about."""

from __future__ import annotations

from datetime import datetime
from types import NoneType, UnionType
from typing import Any, Union, get_args, get_origin

from promptmill.contract.record import Record


def whole(record: type[Record], document: dict[str, Any]) -> dict[str, Any]:
    """The document with every field of the record: null, empty or least where it says nothing."""
    made = {}
    for name, field in record.model_fields.items():
        if name in document:
            made[name] = _completed(field.annotation, document[name])
        else:
            least = [bound.ge for bound in field.metadata if hasattr(bound, "ge")]
            made[name] = least[0] if least else _nothing(field.annotation)
    return {**document, **made}


def _kinds(annotation: Any) -> tuple[Any, ...]:
    if get_origin(annotation) in {Union, UnionType}:
        return tuple(kind for part in get_args(annotation) for kind in _kinds(part))
    return (
        (getattr(annotation, "__origin__", annotation),)
        if _is_marked(annotation)
        else (annotation,)
    )


def _is_marked(annotation: Any) -> bool:
    return hasattr(annotation, "__metadata__")


def _nothing(annotation: Any) -> Any:
    kinds = _kinds(annotation)
    kind = kinds[0]
    if NoneType in kinds or None in kinds or kind is Any:
        return None
    if _is_record(kind):
        return whole(kind, {})
    if kind is datetime:
        return "2026-11-23T06:30:00.000Z"
    origin = get_origin(kind)
    if origin in {tuple, dict, None}:
        return (origin or kind)()
    return get_args(kind)[0]  # The only word of a Literal.


def _is_record(kind: Any) -> bool:
    return isinstance(kind, type) and issubclass(kind, Record)


def _completed(annotation: Any, value: Any) -> Any:
    for kind in _kinds(annotation):
        if _is_record(kind) and isinstance(value, dict):
            return whole(kind, value)
        if get_origin(kind) is tuple and isinstance(value, list):
            return [_completed(get_args(kind)[0], one) for one in value]
        if get_origin(kind) is dict and isinstance(value, dict):
            return {name: _completed(get_args(kind)[1], one) for name, one in value.items()}
    return value
