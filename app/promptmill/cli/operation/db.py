"""`promptmill db`: the database's schema, which `serve` upgrades by itself."""

# ruff: noqa: PLC0415 - Alembic takes half a second to load; only these commands pay for it
from __future__ import annotations

from typing import Annotated

import typer

from promptmill.cli.output import exit_codes
from promptmill.cli.output.mode import with_output_options

DatabaseUrl = Annotated[
    str | None,
    typer.Option(
        help="The database; if not given, DATABASE_URL, else the file that `serve` uses.",
        metavar="URL",
    ),
]

db = typer.Typer(
    name="db", help="Upgrade, downgrade or check the database's schema.", no_args_is_help=True
)


@db.command()
@with_output_options
def upgrade(
    revision: Annotated[str, typer.Argument(help="Up to this revision.")] = "head",
    database_url: DatabaseUrl = None,
) -> None:
    """Bring the schema up to date; creates the database file if need be."""
    from promptmill.cli.service.schema_steps import SchemaSteps

    SchemaSteps(database_url).upgrade(revision)


@db.command(context_settings={"ignore_unknown_options": True})  # -1 is a revision
@with_output_options
def downgrade(
    revision: Annotated[
        str, typer.Argument(help="Down to this revision: an id, -1, or base.", show_default=False)
    ],
    *,
    yes: Annotated[bool, typer.Option("--yes", help="Do not ask.")] = False,
    database_url: DatabaseUrl = None,
) -> None:
    """Take the schema back; what the older one has no place for is lost."""
    from promptmill.cli.service.schema_steps import SchemaSteps

    steps = SchemaSteps(database_url)
    if not yes:
        question = f"Downgrade {steps.shown_url} to {revision}? Data may be lost."
        typer.confirm(question, abort=True, err=True)
    steps.downgrade(revision)


@db.command()
@with_output_options
def check(database_url: DatabaseUrl = None) -> None:
    """Say whether the schema is that of this version: exit status 0 if so, 1 if not."""
    from promptmill.cli.service.schema_steps import SchemaSteps

    if not SchemaSteps(database_url).check():
        raise typer.Exit(exit_codes.NOT_ALL_SUCCEEDED)
