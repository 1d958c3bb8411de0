"""What Schemathesis is taught about the service; it loads this file by SCHEMATHESIS_HOOKS."""

from __future__ import annotations

import json
from typing import Any

import schemathesis

from tests.process.documented_refusals import is_documented


@schemathesis.hook
def map_query(context: Any, query: Any) -> Any:
    """Long polls end at once: some batches never end, and each poll would take its 300 s."""
    if query and isinstance(query.get("wait_s"), int | float):
        return {**query, "wait_s": min(query["wait_s"], 0.1)}
    return query


@schemathesis.serializer("application/x-ndjson")
def as_lines(context: Any, value: Any) -> bytes:
    """A line of JSON for each line of the text: prompts, as the document describes them."""
    if isinstance(value, bytes):
        return value
    return "".join(f"{json.dumps(line)}\n" for line in str(value).splitlines()).encode()


@schemathesis.check
def refusals_are_documented(context: Any, response: Any, case: Any) -> None:
    """A request that fits its schema is refused for a reason that the document gives."""
    if case.meta is None or not case.meta.generation.mode.is_positive:
        return
    if response.status_code not in {400, 413, 415, 422}:
        return
    problem = response.json()
    label = case.operation.label
    for error in problem.get("errors") or [{"pointer": None, "detail": problem["detail"]}]:
        assert is_documented(label, error["pointer"], error["detail"]), (
            f"{label} refuses what fits its schema: {error}"
        )
