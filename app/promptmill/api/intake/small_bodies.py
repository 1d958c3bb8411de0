"""Reading of the bodies of `POST /benchmarks`, of changes, and of `/batches/{id}/retry`."""

from __future__ import annotations

from typing import Any, Final, TypeVar

from pydantic import ValidationError

from promptmill.api.errors.unstorable import faults_in
from promptmill.api.errors.violations import Faults
from promptmill.api.intake.json_text import JsonReader
from promptmill.api.schemas.benchmarks import BenchmarkRequest
from promptmill.api.schemas.control import BatchUpdate, HostUpdate, RetryRequest
from promptmill.api.schemas.requests import BatchRequest
from promptmill.api.schemas.strict import RequestModel
from promptmill.domain.batches import BatchChanges
from promptmill.domain.benchmarks.plan import total_steps
from promptmill.domain.benchmarks.records import BenchmarkDraft
from promptmill.settings import Settings

M = TypeVar("M", bound=RequestModel)

_LONGEST_TEXT_BYTES: Final = 4096
"""Bytes beyond any text of a change or a retry."""
_FIXED: Final = BatchRequest.model_fields.keys() - BatchUpdate.model_fields.keys()


def read_benchmark(body: bytes, settings: Settings) -> BenchmarkDraft:
    """Read the benchmark of a request.

    Raises:
        MalformedJson: The body is not JSON.
        Invalid: Every field that is wrong.
    """
    faults = Faults()
    given = _members(body, faults, max_text_bytes=settings.max_prompt_bytes)
    draft = _validated(BenchmarkRequest, given, faults).draft()
    runs = total_steps(draft)
    if runs > settings.max_benchmark_runs:
        faults.add(
            ("num_runs",),
            f"makes {runs} runs of all models, prompts and levels; at most"
            f" {settings.max_benchmark_runs} are accepted (PROMPTMILL_MAX_BENCHMARK_RUNS)",
        )
    faults.raise_if_any()
    return draft


def read_changes(body: bytes) -> BatchChanges:
    """Read the changes of a batch.

    Raises:
        MalformedJson: The body is not JSON.
        Invalid: Every field that is wrong, or that there is none.
    """
    faults = Faults()
    given = _members(body, faults)
    *most, last = (f"`{name}`" for name in BatchUpdate.model_fields)
    for name in sorted(given.keys() & _FIXED):
        del given[name]
        faults.add((name,), f"cannot be changed any more; only {', '.join(most)} and {last} can")
    if not given:
        faults.raise_if_any()
    return _validated(BatchUpdate, given, faults).changes()


def read_host_update(body: bytes) -> HostUpdate:
    """Read the change of a host.

    Raises:
        MalformedJson: The body is not JSON.
        Invalid: Every field that is wrong or missing.
    """
    faults = Faults()
    return _validated(HostUpdate, _members(body, faults), faults)


def read_retry(body: bytes) -> RetryRequest:
    """Read which prompts to run again; an empty body stands for all that did not succeed.

    Raises:
        MalformedJson: The body is not JSON.
        Invalid: Every field and index that is wrong.
    """
    if not body:
        return RetryRequest()
    faults = Faults()
    given = _members(body, faults)
    return _validated(RetryRequest, given, faults)


def _members(
    body: bytes, faults: Faults, *, max_text_bytes: int = _LONGEST_TEXT_BYTES
) -> dict[str, Any]:
    """Decode the body to an object's members; faulty members are left out.

    Raises:
        MalformedJson: The body is not JSON.
        Invalid: It is no object, or one with far too many members.
    """
    reader = JsonReader(faults)
    reader.open(body)
    reader.require_object("must be an object")
    members = {name: reader.value((name,)) for name in reader.members()}
    reader.end()
    return {
        name: value
        for name, value in members.items()
        if name == "indexes"  # Far more of them than of anything else, and numbers only.
        or not faults.extend(faults_in({name: value}, (), max_text_bytes=max_text_bytes))
    }


def _validated(model: type[M], given: dict[str, Any], faults: Faults) -> M:
    """Validate the members as a model.

    Raises:
        Invalid: Something is wrong with them, or was before.
    """
    try:
        request = model.model_validate(given)
    except ValidationError as error:
        faults.add_errors(error, model)
        faults.raise_if_any()
        raise
    faults.raise_if_any()
    return request
