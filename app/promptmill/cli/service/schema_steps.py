"""Implementation of the `db` commands, separate from their options because it is slow to import."""

from __future__ import annotations

import contextlib
from collections.abc import Generator
from dataclasses import asdict

import typer

from promptmill.cli.output import exit_codes
from promptmill.cli.output.mode import mode
from promptmill.cli.output.terminal import fail, print_json, say
from promptmill.cli.service.service_settings import checked_settings
from promptmill.domain.errors import PromptmillError
from promptmill.settings import without_password
from promptmill.store.db import schema


class SchemaSteps:
    """Changes and queries of the schema of one database; each reports its result on stderr.

    Raises:
        typer.Exit: A setting is wrong, the database cannot be reached, or it refuses.
    """

    def __init__(self, database_url: str | None) -> None:
        settings = checked_settings(database_url=database_url)
        self._url = settings.database_url
        self._pooling = settings.poll_only
        self.shown_url = without_password(self._url)

    def upgrade(self, revision: str) -> None:
        """Apply missing migrations up to `revision`."""
        with self._errors_told():
            schema.upgrade(self._url, revision, transaction_pooling=self._pooling, waiting=say)
            self._tell(self._state(), "is at {}.")

    def downgrade(self, revision: str) -> None:
        """Revert migrations beyond `revision`."""
        with self._errors_told():
            schema.downgrade(self._url, revision, transaction_pooling=self._pooling, waiting=say)
            self._tell(self._state(), "is at {}.")

    def check(self) -> bool:
        """Whether the schema is that of this version."""
        with self._errors_told():
            state = self._state()
        if state.is_current:
            self._tell(state, "has {}: up to date.")
        else:
            self._tell(state, f"has {{}}; this version wants {state.head}.", none="no schema")
            say("`promptmill db upgrade` brings it there.")
        return state.is_current

    def _tell(
        self, state: schema.SchemaState, sentence: str, *, none: str = "base: no tables"
    ) -> None:
        say(f"{self.shown_url} {sentence.format(state.current or none)}")
        if mode().as_json:
            print_json({"database": self.shown_url, **asdict(state)})

    def _state(self) -> schema.SchemaState:
        return schema.check(self._url, transaction_pooling=self._pooling)

    @contextlib.contextmanager
    def _errors_told(self) -> Generator[None]:
        try:
            yield
        except schema.SchemaError as error:
            fail(str(error))
            raise typer.Exit(exit_codes.REFUSED) from None
        except PromptmillError as error:
            fail(f"cannot use {self.shown_url}: {error}")
            raise typer.Exit(exit_codes.UNREACHABLE) from None
