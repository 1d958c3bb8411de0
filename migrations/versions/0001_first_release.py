"""The tables of the first release.

Revision: 0001
Revises:
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None

# SQLite gives the row's own place only to a column whose type is exactly INTEGER.
_KEY = sa.BigInteger().with_variant(sa.Integer(), "sqlite")


def upgrade() -> None:
    op.create_table(
        "activity",
        sa.Column("span_s", sa.Integer(), nullable=False),
        sa.Column("at_s", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("host", sa.Text(), nullable=False),
        sa.Column("model", sa.Text(), nullable=False),
        sa.Column("outcome", sa.String(length=32), nullable=False),
        sa.Column("prompts", sa.BigInteger(), nullable=False),
        sa.Column("prompt_tokens", sa.BigInteger(), nullable=False),
        sa.Column("completion_tokens", sa.BigInteger(), nullable=False),
        sa.Column("latency_s", sa.Float(), nullable=False),
        sa.PrimaryKeyConstraint(
            "span_s", "at_s", "host", "model", "outcome", name=op.f("pk_activity")
        ),
        sqlite_with_rowid=False,
    )
    op.create_table(
        "attempt",
        sa.Column("id", _KEY, autoincrement=False, nullable=False),
        sa.Column("token", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("number", sa.Integer(), nullable=False),
        sa.Column("charged", sa.Boolean(), server_default=sa.false(), nullable=False),
        sa.Column("host_key", sa.BigInteger(), nullable=True),
        sa.Column("started_at_ms", sa.BigInteger(), nullable=True),
        sa.Column("ended_at_ms", sa.BigInteger(), nullable=False),
        sa.Column("error_code", sa.String(length=32), nullable=False),
        sa.Column("error", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("id", "token", name=op.f("pk_attempt")),
    )
    op.create_table(
        "api_key",
        sa.Column("id", sa.String(length=16), nullable=False),
        sa.Column("name", sa.String(length=64), nullable=False),
        sa.Column("hash", sa.String(length=64), nullable=False),
        sa.Column("old_hash", sa.String(length=64), nullable=True),
        sa.Column("old_until_ms", sa.BigInteger(), nullable=True),
        sa.Column("scopes", sa.JSON(), nullable=False),
        sa.Column("limits", sa.JSON(), nullable=False),
        sa.Column("created_at_ms", sa.BigInteger(), nullable=False),
        sa.Column("expires_at_ms", sa.BigInteger(), nullable=True),
        sa.Column("revoked_at_ms", sa.BigInteger(), nullable=True),
        sa.Column("last_used_at_ms", sa.BigInteger(), nullable=True),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_api_key")),
        sa.UniqueConstraint("name", name=op.f("uq_api_key_name")),
    )
    op.create_table(
        "session",
        sa.Column("hash", sa.String(length=64), nullable=False),
        sa.Column("key_id", sa.String(length=80), nullable=False),
        sa.Column("key_hash", sa.String(length=64), nullable=False),
        sa.Column("created_at_ms", sa.BigInteger(), nullable=False),
        sa.Column("expires_at_ms", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("hash", name=op.f("pk_session")),
    )
    op.create_table(
        "benchmark",
        sa.Column("key", _KEY, nullable=False),
        sa.Column("id", sa.String(length=64), nullable=False),
        sa.Column("state", sa.String(length=32), nullable=False),
        sa.Column("spec", sa.JSON(), nullable=False),
        sa.Column("metadata", sa.JSON(), nullable=False),
        sa.Column("environment", sa.JSON(), nullable=False),
        sa.Column("idempotency_key", sa.String(length=255), nullable=True),
        sa.Column("body_hash", sa.String(length=64), nullable=True),
        sa.Column("error", sa.Text(), nullable=True),
        sa.Column("total", sa.Integer(), nullable=False),
        sa.Column("succeeded", sa.Integer(), nullable=False),
        sa.Column("failed", sa.Integer(), nullable=False),
        sa.Column("skipped", sa.Integer(), nullable=False),
        sa.Column("cancelled", sa.Integer(), nullable=False),
        sa.Column("recorded", sa.Integer(), nullable=False),
        sa.Column("sessions", sa.Integer(), nullable=False),
        sa.Column("created_at_ms", sa.BigInteger(), nullable=False),
        sa.Column("started_at_ms", sa.BigInteger(), nullable=True),
        sa.Column("finished_at_ms", sa.BigInteger(), nullable=True),
        sa.Column("host_key", sa.BigInteger(), nullable=True),
        sa.Column("lease_token", sa.BigInteger(), nullable=True),
        sa.Column("lease_owner", sa.String(length=64), nullable=True),
        sa.Column("lease_until_ms", sa.BigInteger(), nullable=True),
        sa.Column("deleted_at_ms", sa.BigInteger(), nullable=True),
        sa.Column("key_id", sa.String(length=80), nullable=True),
        sa.PrimaryKeyConstraint("key", name=op.f("pk_benchmark")),
        sa.UniqueConstraint("id", name=op.f("uq_benchmark_id")),
        sa.UniqueConstraint("idempotency_key", name=op.f("uq_benchmark_idempotency_key")),
        sqlite_autoincrement=True,
    )
    op.create_index(
        "ix_benchmark_alive",
        "benchmark",
        ["key"],
        unique=False,
        sqlite_where=sa.text("state IN ('queued', 'running', 'paused', 'cancelling')"),
        postgresql_where=sa.text("state IN ('queued', 'running', 'paused', 'cancelling')"),
    )
    op.create_index(
        "ix_benchmark_deleted",
        "benchmark",
        ["key"],
        unique=False,
        sqlite_where=sa.text("deleted_at_ms IS NOT NULL"),
        postgresql_where=sa.text("deleted_at_ms IS NOT NULL"),
    )
    op.create_table(
        "benchmark_run",
        sa.Column("id", _KEY, autoincrement=False, nullable=False),
        sa.Column("benchmark_key", sa.BigInteger(), nullable=False),
        sa.Column("step", sa.Integer(), nullable=False),
        sa.Column("session", sa.Integer(), nullable=False),
        sa.Column("block", sa.Integer(), nullable=False),
        sa.Column("phase", sa.String(length=32), nullable=False),
        sa.Column("model", sa.Text(), nullable=False),
        sa.Column("prompt_index", sa.Integer(), nullable=False),
        sa.Column("concurrency", sa.Integer(), nullable=False),
        sa.Column("run_index", sa.Integer(), nullable=False),
        sa.Column("status", sa.String(length=32), nullable=False),
        sa.Column("scheduled_at_ms", sa.BigInteger(), nullable=False),
        sa.Column("started_at_ms", sa.BigInteger(), nullable=False),
        sa.Column("scheduled_s", sa.Float(), nullable=False),
        sa.Column("ended_s", sa.Float(), nullable=False),
        sa.Column("error_code", sa.String(length=32), nullable=True),
        sa.Column("error", sa.Text(), nullable=True),
        sa.Column("done_reason", sa.String(length=64), nullable=True),
        sa.Column("latency_s", sa.Float(), nullable=True),
        sa.Column("client_queue_s", sa.Float(), nullable=True),
        sa.Column("ttft_s", sa.Float(), nullable=True),
        sa.Column("ttfo_s", sa.Float(), nullable=True),
        sa.Column("chunks", sa.Integer(), nullable=True),
        sa.Column("chunk_p50_s", sa.Float(), nullable=True),
        sa.Column("chunk_p95_s", sa.Float(), nullable=True),
        sa.Column("chunk_max_s", sa.Float(), nullable=True),
        sa.Column("total_duration", sa.BigInteger(), nullable=True),
        sa.Column("load_duration", sa.BigInteger(), nullable=True),
        sa.Column("prompt_eval_count", sa.BigInteger(), nullable=True),
        sa.Column("prompt_eval_duration", sa.BigInteger(), nullable=True),
        sa.Column("eval_count", sa.BigInteger(), nullable=True),
        sa.Column("eval_duration", sa.BigInteger(), nullable=True),
        sa.Column("cached_prompt_tokens", sa.BigInteger(), nullable=True),
        sa.Column("response", sa.Text(), nullable=True),
        sa.Column("response_chars", sa.Integer(), nullable=True),
        sa.Column("response_sha256", sa.String(length=64), nullable=True),
        sa.Column("flags", sa.JSON(), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_benchmark_run")),
    )
    op.create_index(
        "ix_benchmark_run_measured",
        "benchmark_run",
        ["benchmark_key", "step"],
        unique=True,
        sqlite_where=sa.text("phase = 'measured'"),
        postgresql_where=sa.text("phase = 'measured'"),
    )
    op.create_table(
        "host",
        sa.Column("key", _KEY, nullable=False),
        sa.Column("url", sa.String(length=500), nullable=False),
        sa.Column("machine", sa.String(length=64), server_default="", nullable=False),
        sa.Column("held_by", sa.BigInteger(), nullable=True),
        sa.Column("closed_at_ms", sa.BigInteger(), nullable=True),
        sa.Column("switching_to", sa.BigInteger(), nullable=True),
        sa.PrimaryKeyConstraint("key", name=op.f("pk_host")),
        sa.UniqueConstraint("url", "machine", name=op.f("uq_host_url")),
    )
    op.create_table(
        "host_group",
        sa.Column("host_key", _KEY, autoincrement=False, nullable=False),
        sa.Column("group_key", _KEY, autoincrement=False, nullable=False),
        sa.Column("since_ms", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("host_key", "group_key", name=op.f("pk_host_group")),
    )
    op.create_table(
        "host_limit",
        sa.Column("host_key", _KEY, autoincrement=False, nullable=False),
        sa.Column("group_key", _KEY, autoincrement=False, nullable=False),
        sa.Column("until_ms", sa.BigInteger(), nullable=False),
        sa.Column("error", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("host_key", "group_key", name=op.f("pk_host_limit")),
    )
    op.create_table(
        "host_pace",
        sa.Column("worker_id", sa.String(length=64), nullable=False),
        sa.Column("host_key", _KEY, autoincrement=False, nullable=False),
        sa.Column("model", sa.Text(), nullable=False),
        sa.Column("call_s", sa.Float(), nullable=False),
        sa.Column("measured_at_ms", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("worker_id", "host_key", "model", name=op.f("pk_host_pace")),
    )
    op.create_table(
        "host_report",
        sa.Column("worker_id", sa.String(length=64), nullable=False),
        sa.Column("host_key", _KEY, autoincrement=False, nullable=False),
        sa.Column("slots", sa.Integer(), nullable=True),
        sa.Column("error_code", sa.String(length=32), nullable=True),
        sa.Column("error", sa.Text(), nullable=True),
        sa.Column("next_look_at_ms", sa.BigInteger(), nullable=True),
        sa.Column("on_trial", sa.Boolean(), nullable=False),
        sa.Column("calls", sa.BigInteger(), nullable=False),
        sa.Column("failed", sa.BigInteger(), nullable=False),
        sa.Column("latency_s", sa.Float(), nullable=True),
        sa.PrimaryKeyConstraint("worker_id", "host_key", name=op.f("pk_host_report")),
    )
    op.create_table(
        "job",
        sa.Column("key", _KEY, nullable=False),
        sa.Column("id", sa.String(length=64), nullable=False),
        sa.Column("kind", sa.String(length=16), nullable=False),
        sa.Column("state", sa.String(length=32), nullable=False),
        sa.Column("model", sa.Text(), nullable=False),
        sa.Column("max_concurrent", sa.Integer(), nullable=False),
        sa.Column("rate_limit_delay_s", sa.Float(), nullable=False),
        sa.Column("parameters", sa.JSON(), nullable=False),
        sa.Column("timeout_s", sa.Float(), nullable=False),
        sa.Column("max_attempts", sa.Integer(), nullable=False),
        sa.Column("priority", sa.Integer(), nullable=False),
        sa.Column("label", sa.Text(), nullable=True),
        sa.Column("metadata", sa.JSON(), nullable=False),
        sa.Column("idempotency_key", sa.String(length=255), nullable=True),
        sa.Column("body_hash", sa.String(length=64), nullable=True),
        sa.Column("error", sa.Text(), nullable=True),
        sa.Column("created_at_ms", sa.BigInteger(), nullable=False),
        sa.Column("started_at_ms", sa.BigInteger(), nullable=True),
        sa.Column("finished_at_ms", sa.BigInteger(), nullable=True),
        sa.Column("next_start_at_ms", sa.BigInteger(), nullable=False),
        sa.Column("last_claimed_at_ms", sa.BigInteger(), nullable=False),
        sa.Column("last_permit", sa.BigInteger(), nullable=True),
        sa.Column("expires_at_ms", sa.BigInteger(), nullable=True),
        sa.Column("max_failures", sa.String(length=32), nullable=True),
        sa.Column("most_failed", sa.Integer(), nullable=True),
        sa.Column("stop_reason", sa.Text(), nullable=True),
        sa.Column("fail_on", sa.JSON(none_as_null=True), nullable=True),
        sa.Column("received_at_ms", sa.BigInteger(), nullable=True),
        sa.Column("deleted_at_ms", sa.BigInteger(), nullable=True),
        sa.Column("auto_concurrency", sa.Boolean(), server_default=sa.false(), nullable=False),
        sa.Column("auto_state", sa.JSON(none_as_null=True), nullable=True),
        sa.Column("rate_since_ms", sa.BigInteger(), nullable=True),
        sa.Column("rate_since_event", sa.BigInteger(), nullable=True),
        sa.Column("auto_pull", sa.Boolean(), server_default=sa.false(), nullable=False),
        sa.Column("awaits_models", sa.Boolean(), server_default=sa.false(), nullable=False),
        sa.Column("key_id", sa.String(length=80), nullable=True),
        sa.PrimaryKeyConstraint("key", name=op.f("pk_job")),
        sa.UniqueConstraint("id", name=op.f("uq_job_id")),
        sa.UniqueConstraint("idempotency_key", name=op.f("uq_job_idempotency_key")),
        sqlite_autoincrement=True,
        postgresql_with={"fillfactor": "50"},
    )
    op.create_index(
        "ix_job_alive",
        "job",
        ["key"],
        unique=False,
        sqlite_where=sa.text("state IN ('queued', 'running', 'paused', 'cancelling')"),
        postgresql_where=sa.text("state IN ('queued', 'running', 'paused', 'cancelling')"),
    )
    op.create_index(
        "ix_job_deleted",
        "job",
        ["key"],
        unique=False,
        sqlite_where=sa.text("deleted_at_ms IS NOT NULL"),
        postgresql_where=sa.text("deleted_at_ms IS NOT NULL"),
    )
    op.create_index(
        "ix_job_receiving",
        "job",
        ["key"],
        unique=False,
        sqlite_where=sa.text("state = 'receiving'"),
        postgresql_where=sa.text("state = 'receiving'"),
    )
    op.create_table(
        "job_group",
        sa.Column("job_key", _KEY, autoincrement=False, nullable=False),
        sa.Column("group_key", _KEY, autoincrement=False, nullable=False),
        sa.Column("load_key", sa.BigInteger(), server_default="0", nullable=False),
        sa.PrimaryKeyConstraint("job_key", "group_key", name=op.f("pk_job_group")),
    )
    op.create_table(
        "job_model",
        sa.Column("job_key", _KEY, autoincrement=False, nullable=False),
        sa.Column("model", sa.Text(), nullable=False),
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("awaited", sa.Boolean(), nullable=False),
        sa.PrimaryKeyConstraint("job_key", "model", name=op.f("pk_job_model")),
    )
    op.create_table(
        "job_pull",
        sa.Column("job_key", _KEY, autoincrement=False, nullable=False),
        sa.Column("pull_key", _KEY, autoincrement=False, nullable=False),
        sa.PrimaryKeyConstraint("job_key", "pull_key", name=op.f("pk_job_pull")),
    )
    op.create_table(
        "job_stats",
        sa.Column("job_key", _KEY, autoincrement=False, nullable=False),
        sa.Column("total", sa.Integer(), nullable=False),
        sa.Column("succeeded", sa.Integer(), nullable=False),
        sa.Column("failed", sa.Integer(), nullable=False),
        sa.Column("cancelled", sa.Integer(), nullable=False),
        sa.Column("expired", sa.Integer(), server_default="0", nullable=False),
        sa.Column("prompt_tokens", sa.BigInteger(), nullable=False),
        sa.Column("completion_tokens", sa.BigInteger(), nullable=False),
        sa.Column("last_event", sa.BigInteger(), server_default="0", nullable=False),
        sa.Column("setbacks", sa.BigInteger(), server_default="0", nullable=False),
        sa.PrimaryKeyConstraint("job_key", name=op.f("pk_job_stats")),
        postgresql_with={"fillfactor": "50"},
    )
    op.create_table(
        "job_history",
        sa.Column("job_key", _KEY, autoincrement=False, nullable=False),
        sa.Column("number", sa.Integer(), nullable=False),
        sa.Column("at_ms", sa.BigInteger(), nullable=False),
        sa.Column("event", sa.String(length=32), nullable=False),
        sa.Column("state", sa.String(length=32), nullable=False),
        sa.Column("key_id", sa.String(length=80), nullable=True),
        sa.Column("detail", sa.Text(), nullable=True),
        sa.PrimaryKeyConstraint("job_key", "number", name=op.f("pk_job_history")),
    )
    op.create_table(
        "model_group",
        sa.Column("key", _KEY, nullable=False),
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("load_key", sa.BigInteger(), nullable=True),
        sa.Column("last_host_key", sa.BigInteger(), nullable=True),
        sa.Column("last_run_ms", sa.BigInteger(), server_default="0", nullable=False),
        sa.PrimaryKeyConstraint("key", name=op.f("pk_model_group")),
        sa.UniqueConstraint("name", name=op.f("uq_model_group_name")),
    )
    op.create_table(
        "prompt",
        sa.Column("id", _KEY, autoincrement=False, nullable=False),
        sa.Column("text", sa.Text(), nullable=False),
        sa.Column("custom_id", sa.Text(), nullable=True),
        sa.Column("overrides", sa.JSON(none_as_null=True), nullable=True),
        sa.Column("data", sa.JSON(none_as_null=True), nullable=True),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_prompt")),
    )
    op.create_table(
        "pull",
        sa.Column("key", _KEY, nullable=False),
        sa.Column("host_key", sa.BigInteger(), nullable=False),
        sa.Column("model", sa.Text(), nullable=False),
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("state", sa.String(length=32), nullable=False),
        sa.Column("detail", sa.Text(), nullable=True),
        sa.Column("completed_bytes", sa.BigInteger(), nullable=True),
        sa.Column("total_bytes", sa.BigInteger(), nullable=True),
        sa.Column("error", sa.Text(), nullable=True),
        sa.Column("failures", sa.Integer(), nullable=False),
        sa.Column("available_at_ms", sa.BigInteger(), nullable=False),
        sa.Column("finished_at_ms", sa.BigInteger(), nullable=True),
        sa.Column("lease_token", sa.BigInteger(), nullable=True),
        sa.Column("lease_owner", sa.String(length=64), nullable=True),
        sa.Column("lease_until_ms", sa.BigInteger(), nullable=True),
        sa.PrimaryKeyConstraint("key", name=op.f("pk_pull")),
    )
    op.create_index(
        "ix_pull_live",
        "pull",
        ["host_key", "model"],
        unique=True,
        sqlite_where=sa.text("state IN ('waiting', 'pulling')"),
        postgresql_where=sa.text("state IN ('waiting', 'pulling')"),
    )
    op.create_table(
        "result",
        sa.Column("id", _KEY, autoincrement=False, nullable=False),
        sa.Column("status", sa.String(length=32), nullable=False),
        sa.Column("model", sa.Text(), nullable=False),
        sa.Column("response", sa.Text(), nullable=True),
        sa.Column("thinking", sa.Text(), nullable=True),
        sa.Column("tool_calls", sa.JSON(none_as_null=True), nullable=True),
        sa.Column("logprobs", sa.JSON(none_as_null=True), nullable=True),
        sa.Column("error_code", sa.String(length=32), nullable=True),
        sa.Column("error", sa.Text(), nullable=True),
        sa.Column("attempts", sa.Integer(), nullable=False),
        sa.Column("done_reason", sa.String(length=64), nullable=True),
        sa.Column("host", sa.Text(), nullable=True),
        sa.Column("total_duration", sa.BigInteger(), nullable=True),
        sa.Column("load_duration", sa.BigInteger(), nullable=True),
        sa.Column("prompt_eval_count", sa.BigInteger(), nullable=True),
        sa.Column("prompt_eval_duration", sa.BigInteger(), nullable=True),
        sa.Column("eval_count", sa.BigInteger(), nullable=True),
        sa.Column("eval_duration", sa.BigInteger(), nullable=True),
        sa.Column("latency_s", sa.Float(), nullable=True),
        sa.Column("ttft_s", sa.Float(), nullable=True),
        sa.Column("started_at_ms", sa.BigInteger(), nullable=True),
        sa.Column("finished_at_ms", sa.BigInteger(), nullable=False),
        sa.Column("defect", sa.String(length=32), nullable=True),
        sa.Column("embedding", sa.LargeBinary(), nullable=True),
        sa.Column("event_id", sa.BigInteger(), nullable=True),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_result")),
    )
    op.create_index("ix_result_event", "result", ["event_id"], unique=True)
    op.create_index(
        "ix_result_not_succeeded",
        "result",
        ["id"],
        unique=False,
        sqlite_where=sa.text("status <> 'succeeded'"),
        postgresql_where=sa.text("status <> 'succeeded'"),
    )
    op.create_table(
        "task",
        sa.Column("id", _KEY, autoincrement=False, nullable=False),
        sa.Column("job_key", sa.BigInteger(), nullable=False),
        sa.Column("state", sa.String(length=32), nullable=False),
        sa.Column("attempt", sa.Integer(), nullable=False),
        sa.Column("losses", sa.Integer(), nullable=False),
        sa.Column("turned_away", sa.Integer(), server_default="0", nullable=False),
        sa.Column("splits", sa.Integer(), server_default="0", nullable=False),
        sa.Column("available_at_ms", sa.BigInteger(), nullable=False),
        sa.Column("lease_token", sa.BigInteger(), nullable=True),
        sa.Column("lease_owner", sa.String(length=64), nullable=True),
        sa.Column("lease_until_ms", sa.BigInteger(), nullable=True),
        sa.Column("host_key", sa.BigInteger(), nullable=True),
        sa.Column("group_key", sa.BigInteger(), server_default="0", nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_task")),
        postgresql_with={
            "fillfactor": "85",
            "autovacuum_vacuum_threshold": "1000",
            "autovacuum_vacuum_scale_factor": "0.01",
        },
    )
    op.create_index(
        "ix_task_host",
        "task",
        ["host_key"],
        unique=False,
        sqlite_where=sa.text("state = 'running'"),
        postgresql_where=sa.text("state = 'running'"),
    )
    op.create_index(
        "ix_task_lease",
        "task",
        ["lease_until_ms"],
        unique=False,
        sqlite_where=sa.text("state = 'running'"),
        postgresql_where=sa.text("state = 'running'"),
    )
    op.create_index(
        "ix_task_pending",
        "task",
        ["job_key", "group_key", "available_at_ms", "id"],
        unique=False,
        sqlite_where=sa.text("state = 'pending'"),
        postgresql_where=sa.text("state = 'pending'"),
    )
    op.create_index(
        "ix_task_running",
        "task",
        ["job_key", "host_key"],
        unique=False,
        sqlite_where=sa.text("state = 'running'"),
        postgresql_where=sa.text("state = 'running'"),
    )
    op.create_table(
        "worker",
        sa.Column("id", sa.String(length=64), nullable=False),
        sa.Column("host_name", sa.String(length=255), nullable=False),
        sa.Column("pid", sa.Integer(), nullable=False),
        sa.Column("version", sa.String(length=64), nullable=False),
        sa.Column("concurrency", sa.Integer(), nullable=False),
        sa.Column("started_at_ms", sa.BigInteger(), nullable=False),
        sa.Column("seen_at_ms", sa.BigInteger(), nullable=False),
        sa.Column("exchanged_at_ms", sa.BigInteger(), nullable=False),
        sa.Column("stopped_at_ms", sa.BigInteger(), nullable=True),
        sa.Column("finished", sa.BigInteger(), nullable=False),
        sa.Column("fenced", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_worker")),
    )
    op.create_table(
        "file",
        sa.Column("key", _KEY, nullable=False),
        sa.Column("id", sa.String(length=64), nullable=False),
        sa.Column("state", sa.String(length=16), nullable=False),
        sa.Column("purpose", sa.String(length=32), nullable=False),
        sa.Column("filename", sa.Text(), nullable=False),
        sa.Column("bytes", sa.BigInteger(), nullable=False),
        sa.Column("lines", sa.BigInteger(), nullable=False),
        sa.Column("sha256", sa.String(length=64), nullable=True),
        sa.Column("batch_id", sa.String(length=64), nullable=True),
        sa.Column("created_at_ms", sa.BigInteger(), nullable=False),
        sa.Column("received_at_ms", sa.BigInteger(), nullable=False),
        sa.Column("expires_at_ms", sa.BigInteger(), nullable=True),
        sa.Column("idempotency_key", sa.String(length=255), nullable=True),
        sa.PrimaryKeyConstraint("key", name=op.f("pk_file")),
        sa.UniqueConstraint("id", name=op.f("uq_file_id")),
        sa.UniqueConstraint("idempotency_key", name=op.f("uq_file_idempotency_key")),
        sqlite_autoincrement=True,
    )
    op.create_index(
        "ix_file_not_there",
        "file",
        ["key"],
        unique=False,
        sqlite_where=sa.text("state <> 'processed'"),
        postgresql_where=sa.text("state <> 'processed'"),
    )
    op.create_index("ix_file_batch", "file", ["batch_id"], unique=False)
    op.create_index("ix_file_expires", "file", ["expires_at_ms"], unique=False)
    op.create_table(
        "file_chunk",
        sa.Column("file_key", _KEY, autoincrement=False, nullable=False),
        sa.Column("number", _KEY, autoincrement=False, nullable=False),
        sa.Column("deflated", sa.LargeBinary(), nullable=False),
        sa.PrimaryKeyConstraint("file_key", "number", name=op.f("pk_file_chunk")),
    )
    op.create_table(
        "openai_batch",
        sa.Column("key", _KEY, nullable=False),
        sa.Column("id", sa.String(length=64), nullable=False),
        sa.Column("stage", sa.String(length=32), nullable=False),
        sa.Column("endpoint", sa.String(length=32), nullable=False),
        sa.Column("input_file_id", sa.Text(), nullable=False),
        sa.Column("file_key", sa.BigInteger(), nullable=True),
        sa.Column("window", sa.String(length=16), nullable=False),
        sa.Column("metadata", sa.JSON(), nullable=True),
        sa.Column("output_expires_s", sa.Integer(), nullable=True),
        sa.Column("options", sa.JSON(), nullable=False),
        sa.Column("model", sa.Text(), nullable=True),
        sa.Column("job_key", sa.BigInteger(), nullable=True),
        sa.Column("errors", sa.JSON(), nullable=True),
        sa.Column("output_file_id", sa.String(length=64), nullable=True),
        sa.Column("error_file_id", sa.String(length=64), nullable=True),
        sa.Column("created_at_ms", sa.BigInteger(), nullable=False),
        sa.Column("expires_at_ms", sa.BigInteger(), nullable=False),
        sa.Column("in_progress_at_ms", sa.BigInteger(), nullable=True),
        sa.Column("cancelling_at_ms", sa.BigInteger(), nullable=True),
        sa.Column("finalizing_at_ms", sa.BigInteger(), nullable=True),
        sa.Column("ended_at_ms", sa.BigInteger(), nullable=True),
        sa.Column("lease_token", sa.BigInteger(), nullable=True),
        sa.Column("lease_owner", sa.String(length=64), nullable=True),
        sa.Column("lease_until_ms", sa.BigInteger(), nullable=True),
        sa.Column("idempotency_key", sa.String(length=255), nullable=True),
        sa.Column("body_hash", sa.String(length=64), nullable=False),
        sa.Column("key_id", sa.String(length=80), nullable=True),
        sa.PrimaryKeyConstraint("key", name=op.f("pk_openai_batch")),
        sa.UniqueConstraint("id", name=op.f("uq_openai_batch_id")),
        sa.UniqueConstraint("idempotency_key", name=op.f("uq_openai_batch_idempotency_key")),
        sqlite_autoincrement=True,
    )
    op.create_index(
        "ix_openai_batch_under_way",
        "openai_batch",
        ["key"],
        unique=False,
        sqlite_where=sa.text("stage IN ('validating', 'running')"),
        postgresql_where=sa.text("stage IN ('validating', 'running')"),
    )
    op.create_index("ix_openai_batch_job_key", "openai_batch", ["job_key"], unique=False)
    # The group of all work without grouping.
    op.execute("INSERT INTO model_group (key, name) VALUES (0, '')")


def downgrade() -> None:
    op.drop_table("openai_batch")
    op.drop_table("file_chunk")
    op.drop_table("file")
    op.drop_table("worker")
    op.drop_table("task")
    op.drop_table("result")
    op.drop_table("pull")
    op.drop_table("prompt")
    op.drop_table("model_group")
    op.drop_table("job_stats")
    op.drop_table("job_pull")
    op.drop_table("job_model")
    op.drop_table("job_history")
    op.drop_table("job_group")
    op.drop_table("job")
    op.drop_table("host_report")
    op.drop_table("host_pace")
    op.drop_table("host_limit")
    op.drop_table("host_group")
    op.drop_table("host")
    op.drop_table("benchmark_run")
    op.drop_table("benchmark")
    op.drop_table("session")
    op.drop_table("api_key")
    op.drop_table("attempt")
    op.drop_table("activity")
