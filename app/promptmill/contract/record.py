"""Base class of the HTTP API's records, and types of their fields.

Reading is more generous than the documentation: fields and words of a newer service are kept, while
OpenAPI lists those of this version.
"""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Any, Final, Literal

from pydantic import BaseModel, ConfigDict, Field, GetJsonSchemaHandler, TypeAdapter
from pydantic.json_schema import JsonSchemaValue
from pydantic_core import CoreSchema, core_schema

from promptmill.domain.outcomes import ErrorCode

ENDED_STATUSES: Final = frozenset({"completed", "failed", "cancelled", "expired"})
"""Values of `status` after which a batch or benchmark changes only if it is retried."""


def _close(schema: dict[str, Any]) -> None:
    """State in a record's schema that the record has no further fields."""
    schema["additionalProperties"] = False
    for field in schema.get("properties", {}).values():
        kinds = [field, *field.get("anyOf", ())]
        if any("$ref" in kind for kind in kinds):
            field.pop("title", None)  # A reference keeps the title of its target.


class Record(BaseModel):
    """Immutable part of a response; unknown fields are in `model_extra`.

    `*_s` and `rate_limit_delay` are seconds, Ollama's own durations are integer nanoseconds, times
    are aware UTC, and unknown values are None.
    """

    model_config = ConfigDict(
        frozen=True,
        extra="allow",
        # Fields of the API may be called `model_...`, a prefix that pydantic reserves.
        protected_namespaces=(),
        json_schema_extra=_close,
        # Validators are built when the first response is read, not at import.
        defer_build=True,
    )


class OneOf:
    """Annotation of a text from a closed list; a newer service may send other texts."""

    def __init__(self, words: Any) -> None:  # noqa: ANN401 - an enumeration or a Literal
        self._words = words

    def __get_pydantic_json_schema__(
        self, _: CoreSchema, handler: GetJsonSchemaHandler
    ) -> JsonSchemaValue:
        """Schema of the list, by reference if the list is an enumeration."""
        words = TypeAdapter[Any](self._words).core_schema
        return handler(core_schema.json_or_python_schema(words, words))


Count = Annotated[int, Field(ge=0)]
Seconds = Annotated[float, Field(ge=0)]
Nanoseconds = Annotated[int, Field(ge=0)]
Time = datetime
Defect = Literal["prompt_truncated", "truncated", "empty", "invalid_json", "schema_mismatch"]
"""Members of `domain.outcomes.DEFECTS`; a test compares the two."""
DefectWord = Annotated[str, OneOf(Defect)]
ErrorWord = Annotated[str, OneOf(ErrorCode)]
