"""A PostgreSQL database for one test after another, emptied between them instead of made anew."""

from __future__ import annotations

import itertools
import os

import psycopg
from sqlalchemy.engine import make_url

_numbers = itertools.count(1)

_CHANGED_BY_MORE_THAN_ROWS = """
SELECT
  (SELECT (count(*), max(oid))::text FROM pg_class WHERE oid >= 16384),
  (SELECT (count(*), max(xmin::text::bigint))::text FROM pg_attribute WHERE attrelid >= 16384),
  (SELECT (count(*), max(xmin::text::bigint))::text FROM pg_constraint WHERE oid >= 16384),
  (SELECT (count(*), max(xmin::text::bigint))::text FROM pg_trigger WHERE oid >= 16384),
  (SELECT count(*) FROM pg_proc WHERE oid >= 16384),
  (SELECT count(*) FROM pg_statistic WHERE starelid >= 16384),
  (SELECT count(*) FROM pg_db_role_setting),
  (SELECT version_num FROM alembic_version)
"""
"""Differs after a change of the schema, of statistics, and of the settings of databases."""

_ALONE = """
SELECT pg_terminate_backend(pid, 5000) FROM pg_stat_activity
WHERE datname = current_database() AND pid <> pg_backend_pid()
"""

_EMPTY = """
DO $$ DECLARE
  name text; has_rows boolean; filled text[] = '{}';
BEGIN
  FOR name IN SELECT tablename FROM pg_tables
    WHERE schemaname = 'public' AND tablename <> 'alembic_version'
  LOOP
    EXECUTE format('SELECT EXISTS (SELECT FROM %I)', name) INTO has_rows;
    IF has_rows THEN filled = filled || quote_ident(name); END IF;
  END LOOP;
  IF filled <> '{}' THEN
    EXECUTE 'TRUNCATE ' || array_to_string(filled, ', ') || ' CASCADE';
  END IF;
  PERFORM setval(seqrelid, seqstart, false) FROM pg_sequence;
END $$
"""


class UsedPostgresql:
    """Databases made from a template as long as tests change more than rows, else one alone."""

    def __init__(self, server: str, template: str) -> None:
        self._server = server
        self._template = template
        self._name: str | None = None
        self._as_made: object = None
        self._first_rows: dict[str, bytes] = {}

    @property
    def url(self) -> str:
        """URL of a database that is as just migrated."""
        if self._name is None:
            self._name = f"promptmill_{os.getpid()}_{next(_numbers)}"
            with psycopg.connect(self._server, autocommit=True) as connection:
                # Copying files is the faster way without fsync.
                connection.execute(
                    f"CREATE DATABASE {self._name} TEMPLATE {self._template} STRATEGY FILE_COPY"
                )
            with psycopg.connect(self._url, autocommit=True) as connection:
                self._as_made = connection.execute(_CHANGED_BY_MORE_THAN_ROWS).fetchone()
                self._first_rows = {"model_group": _rows(connection, "model_group")}
        return self._url

    def empty(self) -> None:
        """Make the database as it was when it was made; nobody else stays connected."""
        with psycopg.connect(self._url, autocommit=True) as connection:
            connection.execute(_ALONE)
            if connection.execute(_CHANGED_BY_MORE_THAN_ROWS).fetchone() == self._as_made:
                connection.execute(_EMPTY)
                for table, rows in self._first_rows.items():
                    with connection.cursor().copy(f"COPY {table} FROM STDIN") as copy:
                        copy.write(rows)
                return
        self.drop()

    def drop(self) -> None:
        """Remove the database; the next test gets a new one."""
        if self._name is not None:
            with psycopg.connect(self._server, autocommit=True) as connection:
                connection.execute(f"DROP DATABASE {self._name} WITH (FORCE)")
            self._name = None

    @property
    def _url(self) -> str:
        return make_url(self._server).set(database=self._name).render_as_string(False)


def _rows(connection: psycopg.Connection, table: str) -> bytes:
    with connection.cursor().copy(f"COPY {table} TO STDOUT") as copy:
        return b"".join(bytes(part) for part in copy)
