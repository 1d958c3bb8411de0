"""Refusals of requests that fit their schema, and the sentence of the OpenAPI document for each.

What JSON Schema can say is said in the schema. The rest depends on another parameter, on the form
of the body or on what is stored, and is said in words.
"""

from __future__ import annotations

import re
from typing import Any, Final, NamedTuple


class Reason(NamedTuple):
    """Why a request that fits its schema may be refused with 422."""

    operation: str
    """As a pattern: `GET /batches`."""
    pointer: str
    """As a pattern; None in the answer counts as `None`."""
    detail: str
    """How the entry's sentence begins, as a pattern."""
    said: str
    """The words of the document that tell of it."""


REASONS: Final = (
    Reason(r"GET .*", r"/query/cursor", r"must be the `next_cursor`", "`next_cursor` of the page"),
    Reason(
        r"GET .*/(results|runs)",
        r"/query/(cursor|limit|preview)",
        r"is for pages of JSON",
        "pages are of JSON only",
    ),
    Reason(
        r"GET .*/compare",
        r"/query/baseline",
        r"there is no such",
        "The id of the earlier benchmark.",
    ),
    Reason(
        r"GET .*/compare",
        r"/query/baseline",
        r"is required: this benchmark was posted without",
        "Left out, the `baseline_id` that the benchmark was posted with.",
    ),
    Reason(
        r"POST /benchmarks", r"/baseline_id", r"there is no such", "The id of an earlier benchmark"
    ),
    Reason(
        r"POST /benchmarks",
        r"/models/\d+",
        r"is already given",
        "`tiny` and `tiny:latest` are the same model",
    ),
    Reason(
        r"POST /(batches|benchmarks)",
        r"None",
        r"This Idempotency-Key was used with another body",
        "the same key with another body is refused",
    ),
    Reason(
        r"POST /batches",
        r"/query/.*",
        r"unknown query parameter",
        "Only with application/x-ndjson.",
    ),
    Reason(
        r"POST /batches",
        r"(/query|/prompts/\d+)?/(template|suffix|raw|images)",
        r"has no meaning",
        "`raw` and `images` do not go with `messages`",
    ),
    Reason(r"POST /batches", r"/prompts/\d+/tools", r"needs `messages`", "`tools` only with them"),
)


def is_documented(operation: str, pointer: str | None, detail: str) -> bool:
    """Whether a refusal has its row here."""
    return any(
        re.fullmatch(reason.operation, operation)
        and re.fullmatch(reason.pointer, str(pointer))
        and re.match(reason.detail, detail)
        for reason in REASONS
    )


def words_of(operation: Any, schemas: dict[str, Any]) -> str:
    """All words of an operation of the document, those of its bodies' schemas included."""
    seen = set[str]()
    words: list[str] = []

    def walk(node: Any) -> None:
        if isinstance(node, dict):
            for name, value in node.items():
                if name == "$ref" and value not in seen:
                    seen.add(value)
                    walk(schemas[value.rpartition("/")[2]])
                elif name in {"description", "summary"} and isinstance(value, str):
                    words.append(" ".join(value.split()))
                else:
                    walk(value)
        elif isinstance(node, list):
            for value in node:
                walk(value)

    walk(operation)
    return "\n".join(words)
