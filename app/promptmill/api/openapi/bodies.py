"""OpenAPI descriptions of small JSON bodies and of their refusals."""

from __future__ import annotations

from typing import Any

from promptmill.api.errors.problems import BODY_TOO_LARGE, MALFORMED_JSON, UNSUPPORTED_MEDIA_TYPE
from promptmill.api.intake.body import SMALL_BYTES
from promptmill.api.openapi.document import Responses, problem


def json_body(model: str, description: str, *, required: bool, **shown: object) -> dict[str, Any]:
    """Description of a small JSON body, for `openapi_extra` of a route."""
    content = {
        "schema": {"$ref": f"#/components/schemas/{model}"},
        "examples": {
            name: {"summary": description, "value": value} for name, value in shown.items()
        },
    }
    return {
        "requestBody": {
            "required": required,
            "description": description,
            "content": {"application/json": content},
        }
    }


def refused_bodies(instance: str) -> Responses:
    """Problems of a body that is malformed, too large, or of another type."""
    return {
        **problem(MALFORMED_JSON, "Expecting value at line 1 column 12.", instance),
        **problem(
            BODY_TOO_LARGE,
            f"The body of this request may have {SMALL_BYTES} bytes at most.",
            instance,
        ),
        **problem(
            UNSUPPORTED_MEDIA_TYPE, "The header Content-Type must be application/json.", instance
        ),
    }
