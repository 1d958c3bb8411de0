"""Alembic's way in: migrations run on the connection that `promptmill.store.db.schema` hands over.

To write a new one: `alembic -c migrations/alembic.ini revision --autogenerate -m "..."` after an
upgrade of an empty database, with DATABASE_URL naming it.
"""

from __future__ import annotations

from alembic import context

from promptmill.store.db.database import Database
from promptmill.store.db.schema import metadata


def migrate(connection: object) -> None:
    """Run the migrations in the transaction that the connection already has."""
    context.configure(connection=connection, target_metadata=metadata, render_as_batch=True)
    context.run_migrations()


given = context.config.attributes.get("connection")
if given is not None:
    migrate(given)
else:
    url = context.config.get_main_option("sqlalchemy.url") or context.get_x_argument(
        as_dictionary=True
    ).get("url", "sqlite:///promptmill.db")
    Database(url).write_now(lambda tx: migrate(tx.connection))
