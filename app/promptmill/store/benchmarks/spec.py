"""Conversion of a benchmark's specification and environment to JSON and back.

Reading is lenient: a field that an older version did not write has its default.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict
from typing import Any

from promptmill.domain.benchmarks.records import (
    BenchmarkDraft,
    Environment,
    ModelEnvironment,
    Order,
    PrefixCache,
    ServiceLevel,
)
from promptmill.domain.outcomes import ErrorCode


def spec_of(draft: BenchmarkDraft) -> dict[str, Any]:
    """The draft as JSON; its metadata has a column of its own."""
    spec = asdict(draft)
    del spec["metadata"]
    return spec


def draft_of(spec: Mapping[str, Any], metadata: Mapping[str, str]) -> BenchmarkDraft:
    """The draft that `spec_of` wrote."""
    fields = dict(spec)
    slo = fields.get("slo")
    fields |= {name: tuple(fields[name]) for name in ("models", "prompts", "concurrency")}
    fields["prefix_cache"] = PrefixCache(fields["prefix_cache"])
    fields["order"] = Order(fields["order"])
    fields["slo"] = None if slo is None else ServiceLevel(**slo)
    return BenchmarkDraft(**fields, metadata=metadata)


def environment_json(environment: Environment) -> dict[str, Any]:
    """The environment as JSON."""
    return asdict(environment)


def environment_of(written: Mapping[str, Any]) -> Environment:
    """The environment that `environment_json` wrote; an empty one before the first session."""
    fields = dict(written)
    models: Mapping[str, Mapping[str, Any]] = fields.pop("models", {})
    return Environment(**fields, models={name: _model(each) for name, each in models.items()})


def _model(written: Mapping[str, Any]) -> ModelEnvironment:
    fields = dict(written)
    for name in ("capabilities", "loaded_before", "loaded_after"):
        if fields.get(name) is not None:
            fields[name] = tuple(fields[name])
    if fields.get("error_code") is not None:
        fields["error_code"] = ErrorCode(fields["error_code"])
    return ModelEnvironment(**fields)
