"""The base of the records that go over HTTP, and the types of their fields.

The rule to know: a record is read more generously than it is documented. A field or a word that a
newer service sends is kept, while OpenAPI lists what this version sends.
"""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Any, Final, Literal

from pydantic import BaseModel, ConfigDict, Field, GetJsonSchemaHandler, TypeAdapter
from pydantic.json_schema import JsonSchemaValue
from pydantic_core import CoreSchema, core_schema

from promptmill.domain.outcomes import ErrorCode

ENDED_STATUSES: Final = frozenset({"completed", "failed", "cancelled", "expired"})
"""Values of `status` of a batch or benchmark after which nothing happens, unless it is retried."""


def _close(schema: dict[str, Any]) -> None:
    """Say in a record's schema that it has these fields and no others."""
    schema["additionalProperties"] = False
    for field in schema.get("properties", {}).values():
        kinds = [field, *field.get("anyOf", ())]
        if any("$ref" in kind for kind in kinds):
            field.pop("title", None)  # The title of what is referred to holds.


class Record(BaseModel):
    """A part of an answer, immutable; fields that it does not know are in `model_extra`.

    Names and units: `*_s` and `rate_limit_delay` are seconds, Ollama's own durations are integer
    nanoseconds, times are aware UTC, and what is not known is None.
    """

    model_config = ConfigDict(
        frozen=True,
        extra="allow",
        # A field may be called `model_...`: it is the service's word.
        protected_namespaces=(),
        json_schema_extra=_close,
        # The validators are built when the first answer is read, not at import.
        defer_build=True,
    )


class OneOf:
    """Marks a text as a word of a closed list; a newer service may send words beyond the list."""

    def __init__(self, words: Any) -> None:  # noqa: ANN401 - an enumeration or a Literal
        self._words = words

    def __get_pydantic_json_schema__(
        self, _: CoreSchema, handler: GetJsonSchemaHandler
    ) -> JsonSchemaValue:
        """The schema of the list, by reference where the list is an enumeration."""
        words = TypeAdapter[Any](self._words).core_schema
        return handler(core_schema.json_or_python_schema(words, words))


Count = Annotated[int, Field(ge=0)]
Seconds = Annotated[float, Field(ge=0)]
Nanoseconds = Annotated[int, Field(ge=0)]
Time = datetime
Defect = Literal["prompt_truncated", "truncated", "empty", "invalid_json", "schema_mismatch"]
"""The members of `domain.outcomes.DEFECTS`; a test holds them together."""
DefectWord = Annotated[str, OneOf(Defect)]
ErrorWord = Annotated[str, OneOf(ErrorCode)]
