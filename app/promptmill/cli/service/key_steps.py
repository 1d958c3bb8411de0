"""Implementation of the `keys` commands, separate from their options as it is slow to import."""

from __future__ import annotations

import json
import time
from collections.abc import Generator, Sequence
from contextlib import contextmanager
from dataclasses import asdict
from datetime import UTC, datetime
from typing import Any, Final

import typer
from rich.table import Table
from rich.text import Text

from promptmill.cli.input.durations import parse_duration
from promptmill.cli.output import exit_codes
from promptmill.cli.output.lists import print_list
from promptmill.cli.output.mode import mode
from promptmill.cli.output.terminal import fail, out, print_json, say
from promptmill.cli.service.service_settings import checked_settings
from promptmill.display.texts import duration, local_time
from promptmill.domain.access.keys import NAME, ApiKey, KeyLimits, parse_scopes
from promptmill.domain.errors import Conflict, NotFound, PromptmillError
from promptmill.services.access import keys
from promptmill.services.access.keys import NewKey
from promptmill.settings import without_password
from promptmill.store.db import schema
from promptmill.store.db.database import Database

_NUMBERS: Final = ("max_queued_prompts", "max_batch_prompts", "max_concurrent")
_PRIORITY: Final = "priority"


class KeySteps:
    """Changes and queries of the keys of one database.

    Raises:
        typer.Exit: A setting is wrong, the database cannot be reached, or it refuses.
    """

    def __init__(self, database_url: str | None) -> None:
        settings = checked_settings(database_url=database_url)
        self._url = settings.database_url
        self._pooling = settings.poll_only
        self._of_environment = [each.caller for each in settings.environment_keys]

    def create(
        self, name: str, *, scopes: Sequence[str], expires: str | None, limits: Sequence[str]
    ) -> None:
        """Make a key."""
        if not NAME.fullmatch(name):
            raise typer.BadParameter(
                f"{name!r} must begin with a letter or digit, and have letters, digits and . _ @ -"
            )
        try:
            wanted = parse_scopes("+".join(scopes) or "submit")
        except ValueError as error:
            raise typer.BadParameter(f"--scope: {error}") from None
        parsed = parse_limits(limits)
        expires_in_s = None if expires is None else parse_duration(expires)
        with self._database() as database:
            made = keys.create(
                database, name, scopes=wanted, limits=parsed, expires_in_s=expires_in_s
            )
        _print(made, f"This is the key {name}; it is shown only now.")

    def list(self) -> None:
        """List all keys."""
        with self._database() as database:
            found = keys.list_keys(database)
        if mode().as_json:
            for key in found:
                print_json(_document(key))
            return
        rows = [
            [
                key.name,
                _state(key),
                ", ".join(sorted(key.scopes)),
                local_time(_moment(key.created_at_ms)),
                "" if key.last_used_at_ms is None else local_time(_moment(key.last_used_at_ms)),
            ]
            for key in found
        ]
        rows += [
            [caller.name, "PROMPTMILL_API_KEYS", ", ".join(sorted(caller.scopes)), "", ""]
            for caller in self._of_environment
        ]
        if rows:
            print_list(["name", "state", "scopes", "created", "last used"], rows)
        else:
            say("No keys: whoever reaches the service can use it.")

    def show(self, name: str) -> None:
        """Show one key."""
        with self._database() as database:
            key = keys.get(database, name)
        document = _document(key)
        if mode().as_json:
            print_json(document)
            return
        table = Table.grid(padding=(0, 2))
        table.add_column(style="bold", no_wrap=True)
        table.add_column(overflow="fold")
        for field, value in document.items():
            if value not in (None, {}, []):
                shown = json.dumps(value) if isinstance(value, dict | list) else str(value)
                table.add_row(field, Text(shown))
        out().print(table)

    def rotate(self, name: str, *, overlap: str) -> None:
        """Give a key a new secret."""
        overlap_s = parse_duration(overlap)
        with self._database() as database:
            made = keys.rotate(database, name, overlap_s=overlap_s)
        _print(
            made,
            f"This is the new key {name}; the old one is taken for {duration(overlap_s)} more.",
        )

    def revoke(self, name: str) -> None:
        """Revoke a key."""
        with self._database() as database:
            keys.revoke(database, name)
        if mode().as_json:
            print_json({"name": name, "revoked": True})
        say(f"{name} is revoked; running services know it within 5 seconds.")

    @contextmanager
    def _database(self) -> Generator[Database]:
        try:
            schema.upgrade(self._url, transaction_pooling=self._pooling)
            database = Database(self._url, transaction_pooling=self._pooling)
            try:
                yield database
            finally:
                database.close_now()
        except (NotFound, Conflict, schema.SchemaError) as error:
            fail(str(error))
            raise typer.Exit(exit_codes.REFUSED) from None
        except PromptmillError as error:
            fail(f"cannot use {without_password(self._url)}: {error}")
            raise typer.Exit(exit_codes.UNREACHABLE) from None


def parse_limits(texts: Sequence[str]) -> KeyLimits:
    """Parse limits from a list of `name=value`.

    Raises:
        typer.BadParameter: There is no such limit, or its value is invalid.
    """
    found: dict[str, int] = {}
    for text in texts:
        name, _, value = text.partition("=")
        if name == _PRIORITY:
            least, dots, most = value.partition("..")
            if not dots:
                raise typer.BadParameter(f"--limit {text}: write priority=LEAST..MOST")
            found["min_priority"], found["max_priority"] = _whole(least, text), _whole(most, text)
        elif name in _NUMBERS:
            found[name] = _whole(value, text)
            if found[name] < 1:
                raise typer.BadParameter(f"--limit {text}: must be 1 or more")
        else:
            raise typer.BadParameter(
                f"--limit {text}: there are {', '.join(_NUMBERS)} and {_PRIORITY}"
            )
    return KeyLimits(**found)


def _whole(value: str, text: str) -> int:
    try:
        return int(value)
    except ValueError:
        raise typer.BadParameter(f"--limit {text}: {value!r} is no whole number") from None


def _print(made: NewKey, sentence: str) -> None:
    say(sentence)
    if mode().as_json:
        print_json({**_document(made.stored), "key": made.key})
    else:
        typer.echo(made.key)


def _state(key: ApiKey) -> str:
    if key.revoked_at_ms is not None:
        return "revoked"
    if key.expires_at_ms is None:
        return "good"
    # By this machine's clock, for display only.
    left_s = key.expires_at_ms / 1000 - time.time()
    return f"good for {duration(left_s)}" if left_s > 0 else "expired"


def _moment(moment_ms: int) -> datetime:
    return datetime.fromtimestamp(moment_ms / 1000, UTC)


def _document(key: ApiKey) -> dict[str, Any]:
    limits = {name: value for name, value in asdict(key.limits).items() if value is not None}
    moments = {
        "created_at": key.created_at_ms,
        "expires_at": key.expires_at_ms,
        "revoked_at": key.revoked_at_ms,
        "last_used_at": key.last_used_at_ms,
        "old_key_until": key.old_until_ms,
    }
    return {
        "name": key.name,
        "id": key.id,
        "scopes": sorted(key.scopes),
        "limits": limits,
        **{
            name: None if moment is None else _moment(moment).isoformat(timespec="seconds")
            for name, moment in moments.items()
        },
    }
