"""From the fields that hold for a whole batch to a `BatchDraft` without its prompts.

They come as members of a JSON body or as query parameters; `place` says which, for the pointers.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from pydantic import ValidationError

from promptmill.api.errors.field_errors import describe
from promptmill.api.errors.violations import Faults
from promptmill.api.intake.prompt_reader import ReadingLimits, check_raw
from promptmill.api.intake.text_rules import Path, faults_in
from promptmill.api.schemas.requests import (
    GENERATION_FIELDS,
    NOT_IN_A_CHAT,
    BatchFields,
    BatchRequest,
)
from promptmill.api.schemas.steering import AUTO
from promptmill.domain.batches import BatchDraft, FailureLimit
from promptmill.domain.limits import Limits
from promptmill.domain.outcomes import ErrorCode


def read_fields(
    given: Mapping[str, Any], limits: ReadingLimits, faults: Faults, *, place: Path = ()
) -> BatchDraft:
    """The batch that the fields describe, with no prompts; worthless if faults were noted."""
    most = limits.max_prompt_bytes
    sound = {
        name: value
        for name, value in given.items()
        if not faults.extend(
            ((*place, *path), fault)
            for path, fault in faults_in({name: value}, (), max_text_bytes=most)
        )
    }
    try:
        fields = BatchFields.model_validate(sound)
    except ValidationError as error:
        faults.extend(describe(error, BatchRequest, place))
        fields = BatchFields()
    parameters = {
        name: sound[name]
        for name in GENERATION_FIELDS
        if sound.get(name) is not None and not (name == "format" and sound[name] == "")
    }
    check_raw(parameters, place, faults)
    auto = fields.max_concurrent == AUTO
    return BatchDraft(
        prompts=(),
        model=fields.model or limits.default_model,
        limits=Limits(
            max_concurrent=Limits().max_concurrent if auto else fields.max_concurrent,
            rate_limit_delay_s=fields.rate_limit_delay,
        ),
        auto_concurrency=auto,
        parameters=parameters,
        timeout_s=fields.timeout_s,
        max_attempts=fields.max_attempts,
        priority=fields.priority,
        metadata=fields.metadata,
        expires_in_s=fields.expires_in_s,
        max_failures=None
        if fields.max_failures is None
        else FailureLimit(str(fields.max_failures)),
        # None and not the default's names: what the batch left open stays open.
        fail_on=tuple(map(ErrorCode, fields.fail_on)) if "fail_on" in sound else None,
        auto_pull=fields.auto_pull,
    )


def check_for_chat(draft: BatchDraft, index: int, faults: Faults, *, place: Path = ()) -> None:
    """Note the fields of the batch that its prompt `index`, a chat, has no place for."""
    for name in NOT_IN_A_CHAT:
        if name in draft.parameters:
            faults.add(
                (*place, name),
                f"has no meaning for a prompt with `messages`, such as prompt {index}; give it in"
                " the prompts that it is for",
            )
