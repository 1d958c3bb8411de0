"""Fields of a batch in query parameters, beside an NDJSON body of prompts.

A field that is text is taken as it stands (`system=Be brief.`). Any other is JSON, as it would
stand in a JSON body (`max_concurrent=3`, `options={"seed":1}`); what is no JSON is taken for a
string, so that `keep_alive=10m` needs no quotation marks.
"""

from __future__ import annotations

import json
from types import NoneType, UnionType
from typing import Any, Final, Union, cast, get_args, get_origin

from fastapi import Request

from promptmill.api.dependencies import METADATA_PREFIX, check_query
from promptmill.api.errors.unstorable import MalformedJson
from promptmill.api.errors.violations import Faults
from promptmill.api.intake.json_text import JsonReader
from promptmill.api.schemas.requests import BatchFields
from promptmill.api.schemas.strict import Path

QUERY: Final[Path] = ("query",)
"""Place of the fields of an NDJSON batch."""
DRY_RUN: Final = "dry_run"
LONGEST_VALUE: Final = 32 * 1024
"""Most bytes of a parameter's value; servers and proxies do not take much longer addresses."""


def wants_dry_run(request: Request, faults: Faults) -> bool:
    """Whether `?dry_run=true` was asked for; it is noted if the value is neither true nor false."""
    value = request.query_params.get(DRY_RUN, "false")
    if value not in {"true", "false"}:
        faults.add((*QUERY, DRY_RUN), "must be true or false")
    return value == "true"


def check_json_query(request: Request, faults: Faults) -> None:
    """Add faults for parameters that cannot be combined with a JSON body."""
    check_query(request, {DRY_RUN}, faults)


def fields_of_query(request: Request, faults: Faults) -> dict[str, Any]:
    """Convert the parameters to the fields of a JSON body; faulty ones are left out.

    Raises:
        Invalid: There are far too many parameters.
    """
    known = {DRY_RUN, *BatchFields.model_fields}
    check_query(request, known, faults, prefix=METADATA_PREFIX, longest=LONGEST_VALUE)
    fields: dict[str, Any] = {}
    pairs: dict[str, str] = {}
    reader = JsonReader(faults)
    for name, text in request.query_params.items():
        if name.startswith(METADATA_PREFIX):
            pairs[name.removeprefix(METADATA_PREFIX)] = text
        elif name in _TEXTS:
            fields[name] = text
        elif name in BatchFields.model_fields:
            _put_json_or_text(fields, name, text, reader)
    if pairs:
        fields["metadata"] = _merged(fields.get("metadata", {}), pairs, faults)
    return fields


def canonical(request: Request) -> bytes:
    """Canonical form of the parameters, which an idempotency key covers as well."""
    asked = sorted(one for one in request.query_params.multi_items() if one[0] != DRY_RUN)
    return json.dumps(asked).encode() + b"\n"


def _is_text(annotation: Any) -> bool:  # noqa: ANN401 - any annotation at all
    if annotation is str or annotation is NoneType:
        return True
    if hasattr(annotation, "__metadata__"):
        return _is_text(annotation.__origin__)
    is_union = get_origin(annotation) in {Union, UnionType}
    return is_union and all(_is_text(one) for one in get_args(annotation))


_TEXTS: Final = frozenset(
    name for name, field in BatchFields.model_fields.items() if _is_text(field.annotation)
)


def _put_json_or_text(fields: dict[str, Any], name: str, text: str, reader: JsonReader) -> None:
    place = (*QUERY, name)
    try:
        reader.open(text.encode("utf-8", "surrogatepass"))
        fields[name] = reader.only_value(place)
    except MalformedJson as error:
        if text.lstrip()[:1] not in {"{", "[", '"'}:
            fields[name] = text
        else:
            reader.faults.add(place, error.of_line)


def _merged(metadata: object, pairs: dict[str, str], faults: Faults) -> object:
    if not isinstance(metadata, dict):
        return metadata  # It is refused for what it is.
    given = cast("dict[str, Any]", metadata)
    for name in given.keys() & pairs.keys():
        faults.add((*QUERY, f"{METADATA_PREFIX}{name}"), "is given twice; give it once")
    return {**given, **pairs}
