"""Audit lines in the log, one for each change that a caller made: kind, target, and caller.

The name of the key, the id of the request and the address of the client come from the request's
context. Prompts, answers and metadata are never logged.
"""

from __future__ import annotations

from enum import StrEnum

import structlog

from promptmill.observability.logs import get_logger


class Change(StrEnum):
    """Kinds of changes; the field `change` of an audit line."""

    BATCH_CREATED = "batch_created"
    BATCH_UPDATED = "batch_updated"
    BATCH_PAUSED = "batch_paused"
    BATCH_RESUMED = "batch_resumed"
    BATCH_RETRIED = "batch_retried"
    BATCH_CANCELLED = "batch_cancelled"
    BATCH_DELETED = "batch_deleted"
    FILE_CREATED = "file_created"
    FILE_DELETED = "file_deleted"
    BENCHMARK_CREATED = "benchmark_created"
    BENCHMARK_CANCELLED = "benchmark_cancelled"
    BENCHMARK_DELETED = "benchmark_deleted"
    HOST_ENABLED = "host_enabled"
    HOST_DISABLED = "host_disabled"
    KEY_CREATED = "key_created"
    KEY_ROTATED = "key_rotated"
    KEY_REVOKED = "key_revoked"


def audit(change: Change, target: str, **details: float | list[str]) -> None:
    """Log a change that was committed; `target` is the id of the changed thing."""
    get_logger().info(
        "A change was made.", action="audit", change=change.value, target=target, **details
    )


def audit_of_others(change: Change, target: str) -> None:
    """Tell of a change that another process has made; the request under way had no part in it."""
    with structlog.contextvars.bound_contextvars(request_id=None, client=None, key=None):
        audit(change, target)
