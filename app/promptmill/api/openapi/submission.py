"""OpenAPI description of the request of `POST /batches`: its two bodies and its parameters.

The bodies are read as streams and the parameters by hand, so that FastAPI sees neither.
"""

from __future__ import annotations

import json
from typing import Any, Final

from promptmill.api.dependencies import IDEMPOTENCY_HEADER, IDEMPOTENCY_KEY, METADATA_PREFIX
from promptmill.api.intake.batches import BodyForm
from promptmill.api.intake.query import DRY_RUN
from promptmill.api.schemas.requests import BatchFields
from promptmill.contract import examples

_LINES: Final = "".join(json.dumps(prompt) + "\n" for prompt in examples.REQUEST["prompts"])


def submission_request() -> dict[str, Any]:
    """Description of the request, for `openapi_extra`."""
    return {
        "requestBody": {
            "required": True,
            "description": "The prompts, and in JSON what holds for all of them.",
            "content": {
                BodyForm.JSON.value: {
                    "schema": {"$ref": "#/components/schemas/BatchRequest"},
                    "examples": {
                        "batch": {"summary": "Three prompts", "value": examples.REQUEST},
                        "shortest": {"summary": "One prompt", "value": {"prompts": ["Hello!"]}},
                    },
                },
                BodyForm.NDJSON.value: {
                    "schema": {
                        "type": "string",
                        "description": "A prompt on each line, a JSON string or object as in the"
                        " `prompts` of the JSON form. All other fields are query parameters.",
                    },
                    "examples": {"lines": {"summary": "Three prompts", "value": _LINES}},
                },
            },
        },
        "parameters": [_key(), _dry_run(), *_fields(), _metadata_pair()],
    }


def _key() -> dict[str, Any]:
    return {
        "name": IDEMPOTENCY_HEADER,
        "in": "header",
        "required": False,
        "description": "A key of your own, 1 to 255 visible ASCII characters. The same key and"
        " body (with NDJSON, and query parameters) give the same batch again; the same key with"
        " another body is refused.",
        "schema": {
            "type": "string",
            "pattern": IDEMPOTENCY_KEY.pattern,
            "examples": ["3f1c2a9e-5b7d-4c2e-9a55-0d6f2b1e7c48"],
        },
    }


def _dry_run() -> dict[str, Any]:
    return {
        "name": DRY_RUN,
        "in": "query",
        "required": False,
        "description": "`true` only checks the request, and that every model that it names is"
        " installed: 200 tells what the batch would be. Nothing is stored.",
        "schema": {"type": "boolean", "default": False, "examples": [True]},
    }


def _fields() -> list[dict[str, Any]]:
    properties = BatchFields.model_json_schema(ref_template="#/components/schemas/{model}")
    return [_field(name, schema) for name, schema in properties["properties"].items()]


def _field(name: str, schema: dict[str, Any]) -> dict[str, Any]:
    schema = {key: value for key, value in schema.items() if key != "title"}
    parameter = {
        "name": name,
        "in": "query",
        "required": False,
        "description": f"Only with {BodyForm.NDJSON.value}. {schema.pop('description')}",
    }
    kinds = {kind.get("type", "object") for kind in schema.get("anyOf", [schema])}
    if kinds & {"object", "array"}:
        # In a query such a value is JSON text.
        return {**parameter, "content": {"application/json": {"schema": schema}}}
    return {**parameter, "schema": schema}


def _metadata_pair() -> dict[str, Any]:
    return {
        "name": f"{METADATA_PREFIX}name",
        "in": "query",
        "required": False,
        "description": f"Only with {BodyForm.NDJSON.value}. A pair of `metadata`, with the pair's"
        " own name in place of `name`; may be given for several names.",
        "schema": {"type": "string", "examples": ["colours"]},
    }
