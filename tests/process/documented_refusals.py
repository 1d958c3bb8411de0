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
        "`raw` and `images` exclude `messages`",
    ),
    Reason(
        r"POST /batches",
        r"(/query|/prompts/\d+)?/(template|system)",
        r"cannot go with `raw`",
        "neither `template` nor `system` go with it",
    ),
    Reason(
        r"POST /batches",
        r"(/query|/prompts/\d+)?/\w+",
        r"(line \d+: )?has no meaning for a text to embed",
        "fields that only answers have are refused",
    ),
    Reason(
        r"POST /batches",
        r"(/query|/prompts/\d+)?/dimensions",
        r"(line \d+: )?needs `kind`",
        "Of a batch that embeds",
    ),
    Reason(
        r"POST .*/retry",
        r"/indexes/\d+",
        r"(the batch has prompts 0 to|prompt \d+ has not failed)",
        "each of a prompt that has failed, was cancelled or has expired",
    ),
    Reason(
        r"GET .*/events",
        r"/header/Last-Event-ID",
        r"is beyond the batch's last event",
        "The `id` of the last event that has arrived",
    ),
    Reason(
        r".*",
        r".*",
        r"(line \d+: )?(must not contain (NUL|lone)|is \d+ bytes long; at most)",
        "Texts may be as long as the settings of the service say",
    ),
    Reason(
        r"POST /(batches|benchmarks)",
        r"/(prompts?|messages)(/.*)?",
        r"(line \d+: )?must (not be empty|have at least one prompt)",
        "none of them blank",
    ),
    Reason(
        r"POST /batches",
        r"/prompts/\d+/id",
        r"(line \d+: )?is already",
        "Your own id of the prompt, unique in the batch",
    ),
    Reason(r"POST /batches", r".*/images(/\d+)?", r".*base64", "each a file in base64"),
    Reason(r"POST /batches", r".*/content/.*", r".*must be", "Content in parts, as OpenAI's"),
    Reason(r"POST /batches", r".*/data", r".*bytes as JSON", "at most 16 KiB as JSON"),
    Reason(r"POST /batches", r".*/format", r".*", "a JSON Schema that the answer has to fit"),
    Reason(
        r"POST /batches",
        r"(/query|/prompts/\d+)?/model",
        r"(line \d+: )?`.*` is not installed",
        "that every model that it names is installed",
    ),
    Reason(
        r"POST /batches",
        r".*",
        r".*is not in PROMPTMILL_PULL_REGISTRIES",
        "from a server in `PROMPTMILL_PULL_REGISTRIES`",
    ),
    Reason(
        r"POST /batches",
        r"/query/metadata\..*",
        r"(is given twice|must name a pair)",
        "with the pair's own name in place of `name`",
    ),
    Reason(r"POST /batches", r"/prompts/\d+/tools", r"needs `messages`", "`tools` need them"),
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
