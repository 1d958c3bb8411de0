"""Conversion of stored results to lines of an output or an error file; pure."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any, Final

from promptmill.domain.batches import TaskResult
from promptmill.domain.lifecycle import TaskState
from promptmill.domain.openai import FAULT
from promptmill.domain.outcomes import ErrorCode
from promptmill.services.openai.render import answer_body, one_line
from promptmill.services.openai.translation.translate import Endpoint

_STATUS: Final = {
    ErrorCode.INVALID_REQUEST: (400, "invalid_request_error"),
    ErrorCode.MODEL_NOT_FOUND: (404, "invalid_request_error"),
    ErrorCode.TIMEOUT: (504, "server_error"),
    ErrorCode.SERVER_BUSY: (503, "server_error"),
    ErrorCode.HOST_UNREACHABLE: (503, "server_error"),
    ErrorCode.LEASE_LOST: (503, "server_error"),
}
_OTHER: Final = (500, "server_error")
_TOO_LONG: Final = re.compile(r"context (length|window|size)|prompt (is )?too long", re.IGNORECASE)
_ENDED_EARLY: Final = {
    TaskState.CANCELLED: ("batch_cancelled", "The batch was cancelled before this request ended."),
    TaskState.EXPIRED: (
        "batch_expired",
        "This request could not be executed before the completion window expired.",
    ),
}


def line_of(
    batch_id: str, endpoint: Endpoint, result: TaskResult, mark: Mapping[str, Any]
) -> bytes:
    """Line of a request; `mark` holds the parts of the request that did not go to Ollama."""
    name = f"{batch_id.removeprefix('batch_')}_{result.index}"
    response, error = None, None
    if result.status in _ENDED_EARLY:
        code, message = _ENDED_EARLY[result.status]
        error = {"code": code, "message": message}
    else:
        status, body = _answer(endpoint, result, name, mark)
        request_id = f"req_{name}_{result.attempts}"
        response = {"status_code": status, "request_id": request_id, "body": body}
    return one_line(
        {
            "id": f"batch_req_{name}",
            "custom_id": result.custom_id,
            "response": response,
            "error": error,
        }
    )


def error_of(code: ErrorCode | None, message: str) -> tuple[int, dict[str, Any]]:
    """Status and `error` of a failed call."""
    status, kind = _OTHER if code is None else _STATUS.get(code, _OTHER)
    told = code.value if code is not None else "server_error"
    if code is ErrorCode.INVALID_REQUEST and _TOO_LONG.search(message):
        told = "context_length_exceeded"
        message = f"{message} Shorten it, or raise 'options.num_ctx'."
    return status, {"message": message, "type": kind, "param": None, "code": told}


def _answer(
    endpoint: Endpoint, result: TaskResult, name: str, mark: Mapping[str, Any]
) -> tuple[int, dict[str, Any]]:
    if result.status is TaskState.SUCCEEDED:
        created = (result.started_at_ms or result.finished_at_ms) // 1000
        model = result.model
        body = answer_body(endpoint, result, name=name, created=created, model=model, mark=mark)
        return 200, body
    if FAULT in mark:
        message, param, code = mark[FAULT]
        error = {"message": message, "type": "invalid_request_error", "param": param, "code": code}
        return 400, {"error": error}
    status, error = error_of(result.error_code, result.error or "The request failed.")
    return status, {"error": error}
