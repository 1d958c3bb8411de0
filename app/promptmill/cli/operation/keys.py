"""`promptmill keys`: API keys, changed directly in the database, also while no service runs."""

# ruff: noqa: PLC0415 - the database takes half a second to load; only these commands pay for it
from __future__ import annotations

from typing import Annotated

import typer

from promptmill.cli.operation.db import DatabaseUrl
from promptmill.cli.output.mode import with_output_options

keys = typer.Typer(
    name="keys",
    help="API keys: create, list, show, rotate and revoke them.",
    no_args_is_help=True,
)
Name = Annotated[
    str, typer.Argument(metavar="NAME", help="What the key is called.", show_default=False)
]


@keys.command()
@with_output_options
def create(
    name: Name,
    *,
    scope: Annotated[
        list[str] | None,
        typer.Option(
            help="What it may do: read, submit, admin or metrics; again for several."
            " If not given: submit."
        ),
    ] = None,
    expires: Annotated[
        str | None, typer.Option(metavar="DURATION", help="When it ends, such as 90d or 12h.")
    ] = None,
    limit: Annotated[
        list[str] | None,
        typer.Option(
            metavar="NAME=VALUE",
            help="max_queued_prompts=N, max_batch_prompts=N, max_concurrent=N, or"
            " priority=LEAST..MOST; again for several.",
        ),
    ] = None,
    database_url: DatabaseUrl = None,
) -> None:
    """Make a key and print it: nobody can print it again."""
    from promptmill.cli.service.key_steps import KeySteps

    KeySteps(database_url).create(name, scopes=scope or [], expires=expires, limits=limit or [])


@keys.command("list")
@with_output_options
def list_keys(*, database_url: DatabaseUrl = None) -> None:
    """List the keys, those that were revoked too."""
    from promptmill.cli.service.key_steps import KeySteps

    KeySteps(database_url).list()


@keys.command()
@with_output_options
def show(name: Name, *, database_url: DatabaseUrl = None) -> None:
    """Show what a key may do, and when it was used."""
    from promptmill.cli.service.key_steps import KeySteps

    KeySteps(database_url).show(name)


@keys.command()
@with_output_options
def rotate(
    name: Name,
    *,
    overlap: Annotated[
        str, typer.Option(metavar="DURATION", help="How long the old key is still taken.")
    ] = "24h",
    database_url: DatabaseUrl = None,
) -> None:
    """Give a key a new secret and print it; the old one is taken for a while."""
    from promptmill.cli.service.key_steps import KeySteps

    KeySteps(database_url).rotate(name, overlap=overlap)


@keys.command()
@with_output_options
def revoke(name: Name, *, database_url: DatabaseUrl = None) -> None:
    """Let a key open nothing any more; a running service knows within five seconds."""
    from promptmill.cli.service.key_steps import KeySteps

    KeySteps(database_url).revoke(name)
