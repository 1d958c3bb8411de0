"""Types of the fields that steer a batch, at its submission and later."""

from __future__ import annotations

import re
from typing import Annotated, Any, Final

from pydantic import BeforeValidator, Field, PlainValidator, WithJsonSchema
from pydantic_core import PydanticCustomError

from promptmill.api.schemas.strict import whole
from promptmill.domain.limits import MAX_CONCURRENT_BOUND, RATE_LIMIT_DELAY_BOUND_S

LONGEST_LIFE_S: Final = 31_536_000.0
"""Most seconds until a batch expires: a year of 365 days."""
AUTO: Final = "auto"
"""Value of `max_concurrent` with which the limit follows the throughput."""
_MOST_FAILURES: Final = 1_000_000_000
_SHARE: Final = r"^(100(\.00?)?|(0|[1-9][0-9]?)(\.[0-9]{1,2})?)%$"


def _check_max_concurrent(value: object) -> object:
    value = whole(value)
    if value == AUTO:
        return value
    if (
        isinstance(value, int)
        and not isinstance(value, bool)
        and 1 <= value <= MAX_CONCURRENT_BOUND
    ):
        return value
    raise PydanticCustomError(
        "max_concurrent",
        "must be a whole number from 1 to {most}, or `auto`",
        {"most": MAX_CONCURRENT_BOUND},
    )


def _check_max_failures(value: object) -> object:
    value = whole(value)
    if isinstance(value, int) and not isinstance(value, bool) and 0 <= value <= _MOST_FAILURES:
        return value
    if isinstance(value, str) and re.fullmatch(_SHARE, value):
        return value
    raise PydanticCustomError(
        "max_failures",
        "must be a whole number from 0 to {most}, or a share from `0%` to `100%` with at most two"
        " decimals, such as `20%` or `0.5%`",
        {"most": _MOST_FAILURES},
    )


MaxConcurrent = Annotated[
    Any,
    PlainValidator(_check_max_concurrent),
    WithJsonSchema(
        {
            "anyOf": [
                {"type": "integer", "minimum": 1, "maximum": MAX_CONCURRENT_BOUND},
                {"type": "string", "const": AUTO},
            ]
        }
    ),
]
RateLimitDelay = Annotated[float, Field(ge=0, le=RATE_LIMIT_DELAY_BOUND_S)]
Priority = Annotated[int, Field(ge=-100, le=100), BeforeValidator(whole)]
Label = Annotated[str, Field(min_length=1, max_length=200)]
Metadata = Annotated[
    dict[Annotated[str, Field(min_length=1, max_length=64)], Annotated[str, Field(max_length=512)]],
    Field(max_length=16),
]
ExpiresIn = Annotated[float, Field(gt=0, le=LONGEST_LIFE_S)]
MaxFailures = Annotated[
    Any,
    PlainValidator(_check_max_failures),
    WithJsonSchema(
        {
            "anyOf": [
                {"type": "integer", "minimum": 0, "maximum": _MOST_FAILURES},
                {"type": "string", "pattern": _SHARE},
                {"type": "null"},
            ]
        }
    ),
]
