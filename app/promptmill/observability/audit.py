"""One log line for each change that somebody has asked for: which change, of what, and by whom.

The key's name, the request's id and the client's address come from the request's context. Texts of
prompts, answers and metadata never stand here.
"""

from __future__ import annotations

from enum import StrEnum

from promptmill.observability.logs import get_logger


class Change(StrEnum):
    """What was changed; the field `change` of the line."""

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


def audit(change: Change, target: str, **details: float | list[str]) -> None:
    """Tell of a change that was committed; `target` is the id of what was changed."""
    get_logger().info(
        "A change was made.", action="audit", change=change.value, target=target, **details
    )
