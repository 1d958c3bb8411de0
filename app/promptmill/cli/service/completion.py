"""Completions of a shell: batches, models and states.

The shell waits meanwhile, so that a completion ends within two seconds whatever the service does,
and prints nothing else.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from threading import Thread
from typing import TYPE_CHECKING, Final

import typer

if TYPE_CHECKING:
    from promptmill.client import Promptmill

_MOST_S: Final = 2.0
_NEWEST: Final = 20


def complete_batch(ctx: typer.Context, incomplete: str) -> list[tuple[str, str]]:
    """Labels and ids of the newest batches, with their states."""

    def ask(client: Promptmill) -> list[tuple[str, str]]:
        batches = client.list_batches(limit=_NEWEST).data
        labels = [one.label for one in batches if one.label]
        found = [
            (one.label, f"{one.status}, {one.model}")
            for one in batches
            # A label of several batches is ambiguous; one with a space would need quotes.
            if one.label and labels.count(one.label) == 1 and one.label.split() == [one.label]
        ]
        found += [(one.id, " ".join(filter(None, [one.status, one.label]))) for one in batches]
        return [("@last", "the newest"), *found]

    return _starting(incomplete, _asked(ctx, ask))


def complete_model(ctx: typer.Context, incomplete: str) -> list[tuple[str, str]]:
    """Installed models, with their sizes."""

    def ask(client: Promptmill) -> list[tuple[str, str]]:
        return [(one.name, one.parameter_size or "") for one in client.models()]

    return _starting(incomplete, _asked(ctx, ask))


def complete_state(incomplete: str) -> list[tuple[str, str]]:
    """States of a batch."""
    from promptmill.domain.lifecycle import JobState  # noqa: PLC0415 - only here

    states = [state.value for state in JobState if state is not JobState.RECEIVING]
    return _starting(incomplete, [(state, "") for state in states])


def _starting(incomplete: str, found: Sequence[tuple[str, str]]) -> list[tuple[str, str]]:
    return [one for one in found if one[0].startswith(incomplete)]


def _asked(
    ctx: typer.Context, ask: Callable[[Promptmill], list[tuple[str, str]]]
) -> list[tuple[str, str]]:
    """Response of the service if it arrives in time; else an empty list."""
    from promptmill.cli.service.connection import (  # noqa: PLC0415 - it imports this module
        DEFAULT_URL,
        api_key,
        use_key_file,
    )

    found: list[tuple[str, str]] = []
    url = ctx.params.get("url") or DEFAULT_URL
    try:
        use_key_file(ctx.find_root().params.get("api_key_file"))
        key = api_key()
    except typer.Exit:
        return []

    def look() -> None:
        from promptmill.client import Promptmill  # noqa: PLC0415 - slow to load

        try:
            with Promptmill(url, api_key=key, timeout_s=_MOST_S, attempts=1) as client:
                found.extend(ask(client))
        except Exception:
            logging.getLogger(__name__).debug("No completion.", exc_info=True)

    looking = Thread(target=look, daemon=True)
    looking.start()
    looking.join(_MOST_S)
    return list(found)
