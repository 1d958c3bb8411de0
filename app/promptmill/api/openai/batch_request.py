"""Reading of the body of `POST /v1/batches`: its fields and their bounds."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Mapping
from typing import Any, Final

from pydantic_core import to_json

from promptmill.domain.limits import MAX_CONCURRENT_BOUND, RATE_LIMIT_DELAY_BOUND_S
from promptmill.domain.openai import OpenAIBatchDraft
from promptmill.services.openai.translation.faults import (
    Fault,
    Refused,
    invalid_choice,
    invalid_type,
    invalid_value,
)
from promptmill.services.openai.translation.fields import Fields
from promptmill.services.openai.translation.translate import Endpoint, unstorable

_WINDOW: Final = re.compile(r"([1-9]\d{0,5})([mhd])")
_UNIT_S: Final = {"m": 60, "h": 3600, "d": 86_400}
_LONGEST_WINDOW_S: Final = 365 * 86_400
_USUAL: Final = "24h"
_MOST_PAIRS, _LONGEST_NAME, _LONGEST_VALUE = 16, 64, 512
_LEAST_TTL_S, _MOST_TTL_S = 3600, 2_592_000
_SHARE: Final = re.compile(r"(100(\.00?)?|(0|[1-9][0-9]?)(\.[0-9]{1,2})?)%")
_MOST_FAILURES: Final = 1_000_000_000
_KNOWN: Final = (
    "input_file_id",
    "endpoint",
    "completion_window",
    "metadata",
    "output_expires_after",
    "promptmill",
)


def read_batch(members: Mapping[str, Any], *, usual_window_s: int) -> OpenAIBatchDraft:
    """Read the batch of a request; `usual_window_s` is the length of the window `24h`.

    Raises:
        Refused: Something is wrong; all of it is listed.
    """
    faults: list[Fault] = []
    if (fault := unstorable(members)) is not None:
        raise Refused([fault])
    body = Fields(members, faults)
    file_id = body.text("input_file_id", required=True, longest=_LONGEST_VALUE)
    endpoint = body.require("endpoint")
    if endpoint is not None and endpoint not in tuple(Endpoint):
        faults.append(invalid_choice("endpoint", endpoint, Endpoint))
    window, window_s = _window(body, usual_window_s)
    metadata = _metadata(body)
    output_expires_s = _output_expiry(body)
    options = _options(body)
    body.finish(_KNOWN)
    if faults or file_id is None:
        raise Refused(faults)
    return OpenAIBatchDraft(
        endpoint=str(endpoint),
        input_file_id=file_id,
        window=window,
        expires_in_s=window_s,
        metadata=metadata,
        output_expires_s=output_expires_s,
        options=options,
    )


def hash_of(members: Mapping[str, Any]) -> str:
    """SHA-256 of all fields, equal for equal requests."""
    ordered = sorted((name, value) for name, value in members.items() if value is not None)
    return hashlib.sha256(to_json(ordered)).hexdigest()


def _window(body: Fields, usual_window_s: int) -> tuple[str, float]:
    value = body.require("completion_window")
    if value is None:
        return "", 0
    if value == _USUAL:
        return _USUAL, usual_window_s
    found = _WINDOW.fullmatch(value) if isinstance(value, str) else None
    lasts_s = int(found[1]) * _UNIT_S[found[2]] if found else 0
    if not 0 < lasts_s <= _LONGEST_WINDOW_S:
        why = "Supported values are: '24h', and a number of minutes, hours or days up to '365d'."
        body.faults.append(invalid_value("completion_window", value, why))
    return str(value)[:16], lasts_s


def _metadata(body: Fields) -> dict[str, str] | None:
    given = body.object("metadata")
    if given is None:
        return None
    if len(given) > _MOST_PAIRS:
        message = f"Invalid 'metadata': it has {len(given)} pairs, and at most {_MOST_PAIRS} may."
        body.faults.append(Fault(message, "metadata", "object_above_max_properties"))
    for name, value in given.items():
        param = f"metadata.{name[:_LONGEST_NAME]}"
        if not isinstance(value, str):
            body.faults.append(invalid_type(param, value, "a string"))
        elif len(value) > _LONGEST_VALUE or not 1 <= len(name) <= _LONGEST_NAME:
            message = (
                f"Invalid '{param}': names have 1 to {_LONGEST_NAME} characters, values"
                f" {_LONGEST_VALUE} at most."
            )
            body.faults.append(Fault(message, param, "string_above_max_length"))
    return given


def _output_expiry(body: Fields) -> int | None:
    given = body.object("output_expires_after")
    if given is None:
        return None
    inside = Fields(given, body.faults, place="output_expires_after")
    if inside.require("anchor") is not None:
        inside.choice("anchor", ("created_at",))
    lives_s = inside.integer("seconds", least=_LEAST_TTL_S, most=_MOST_TTL_S)
    if given.get("seconds") is None:
        inside.require("seconds")
    inside.finish()
    return lives_s


def _options(body: Fields) -> dict[str, Any]:
    given = body.object("promptmill")
    if given is None:
        return {}
    inside = Fields(given, body.faults, place="promptmill")
    found: dict[str, Any] = {
        "rate_limit_delay": inside.number(
            "rate_limit_delay", least=0, most=RATE_LIMIT_DELAY_BOUND_S
        ),
        "timeout_s": inside.number("timeout_s", least=0.001, most=86_400),
        "max_attempts": inside.integer("max_attempts", least=1, most=20),
        "priority": inside.integer("priority", least=-100, most=100),
        "auto_pull": inside.flag("auto_pull"),
    }
    if given.get("max_concurrent") == "auto":
        found["max_concurrent"] = inside.take("max_concurrent")
    else:
        most = MAX_CONCURRENT_BOUND
        found["max_concurrent"] = inside.integer("max_concurrent", least=1, most=most)
    failures = given.get("max_failures")
    if isinstance(failures, str):
        found["max_failures"] = inside.take("max_failures")
        if not _SHARE.fullmatch(failures):
            why = "It has to be a number, or a share such as '20%' or '0.5%'."
            body.faults.append(invalid_value("promptmill.max_failures", failures, why))
    else:
        found["max_failures"] = inside.integer("max_failures", least=0, most=_MOST_FAILURES)
    inside.finish(tuple(found))
    return {name: value for name, value in found.items() if value is not None}
