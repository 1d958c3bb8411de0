"""Sessions of PostgreSQL, with settings that do not depend on server, role or database."""

from __future__ import annotations

from typing import Any

import sqlalchemy as sa
from sqlalchemy import event
from sqlalchemy.engine import URL, Connection, Engine

_LEAST_IDLE_S = 1.0
_SESSION = {
    "timezone": "UTC",
    # A generic plan is chosen once, by the tables' contents at that moment; one chosen while the
    # queue was short read all waiting tasks at every claim.
    "plan_cache_mode": "force_custom_plan",
}


def engine(url: URL, *, connections: int, transaction_pooling: bool, lease_s: float) -> Engine:
    """Build the engine of one process; `transaction_pooling` and `lease_s` are `Database`'s."""
    limits = _limits(lease_s)
    arguments: dict[str, Any] = {
        "application_name": "promptmill",
        **noticing_a_lost_server(lease_s),
    }
    if transaction_pooling:
        # A statement prepared in one session is not known in the next.
        arguments["prepare_threshold"] = None
    else:
        settings = {**limits, **_SESSION}
        arguments["options"] = " ".join(f"-c {name}={value}" for name, value in settings.items())
    # Options of the URL take precedence: of equal options the last one holds.
    given: dict[str, Any] = {name: url.query[name] for name in arguments.keys() & url.query.keys()}
    if "options" in given:
        given["options"] = f"{arguments['options']} {given['options']}"
    made = sa.create_engine(
        url,
        # Counting under a lock needs a snapshot taken after the lock.
        isolation_level="READ COMMITTED",
        pool_size=connections,
        max_overflow=0,
        pool_pre_ping=True,
        # Parameters are prompts and answers, which error messages must not show.
        hide_parameters=True,
        connect_args={**arguments, **given},
    )
    if transaction_pooling:
        set_limits = ";".join(f"SET LOCAL {name} = '{value}'" for name, value in limits.items())

        @event.listens_for(made, "begin")
        def on_begin(connection: Connection) -> None:
            connection.exec_driver_sql(set_limits)

        # Registered by decoration; named here so that a reader and the type checker see its use.
        _ = on_begin
    return made


def noticing_a_lost_server(lease_s: float) -> dict[str, int]:
    """Parameters of psycopg that detect a server which vanished silently.

    Keepalives are sent only while all earlier data is acknowledged. Unacknowledged data is sent
    again by the system for a quarter of an hour, unless `tcp_user_timeout` ends that.
    """
    return {
        "connect_timeout": 5,
        "keepalives_idle": 30,
        "keepalives_interval": 10,
        "keepalives_count": 3,
        "tcp_user_timeout": round(lease_s * 1000 / 3),
    }


def _limits(lease_s: float) -> dict[str, str]:
    return {
        "lock_timeout": "10s",
        # No transaction waits for outside events. One whose process is frozen midway holds rows
        # that all workers need, and must end long before their leases.
        "idle_in_transaction_session_timeout": f"{max(lease_s / 10, _LEAST_IDLE_S) * 1000:.0f}ms",
        # Accepted work is on disk before the response is sent.
        "synchronous_commit": "on",
    }
