"""`promptmill watch`: waiting for a batch's end."""

from __future__ import annotations

from collections.abc import Generator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Annotated

import typer

from promptmill.cli.input.limit_option import finite
from promptmill.cli.output import exit_codes
from promptmill.cli.output.mode import mode
from promptmill.cli.output.progress import display_on, show
from promptmill.cli.output.terminal import err, hint, print_json, say, warn
from promptmill.cli.service.connection import DEFAULT_URL, BatchId, Url, command_for, connected
from promptmill.cli.service.naming import batch_named
from promptmill.display.texts import duration, numbers

if TYPE_CHECKING:
    from promptmill.client import Batch, Promptmill

RECONNECT_S = 60.0


def watch(
    batch_id: BatchId,
    reconnect_s: Annotated[
        float,
        typer.Option(
            callback=finite,
            metavar="SECONDS",
            min=0,
            help="How long to go on trying while the service is away, say for a restart.",
        ),
    ] = RECONNECT_S,
    url: Url = DEFAULT_URL,
) -> None:
    """Show a batch's progress until it has ended; Ctrl-C leaves it running."""
    with connected(url) as client:
        batch_id = batch_named(client, batch_id)
        with left_running(batch_id, url):
            batch = follow(client, batch_id, url, reconnect_s=reconnect_s)
    tell_ending(batch, url)
    if mode().as_json:
        print_json(batch)
    raise typer.Exit(exit_codes.SUCCESS if batch.all_succeeded else exit_codes.NOT_ALL_SUCCEEDED)


@contextmanager
def left_running(batch_id: str, url: str, *, ends_with_service: bool = False) -> Generator[None]:
    """Let Ctrl-C end the command but not the batch, with a message.

    `ends_with_service` means that the command has started the service, which ends with it.
    """
    try:
        yield
    except KeyboardInterrupt:
        if ends_with_service:
            warn("Stopping; what has no answer yet is kept, and goes on when a service runs:")
            hint("promptmill serve", "runs one")
            hint(f"promptmill results {batch_id}", "shows the answers so far, when one runs")
            raise typer.Exit(exit_codes.INTERRUPTED) from None
        say("Not watching any more; the batch goes on.")
        hint(command_for(f"watch {batch_id}", url), "comes back")
        hint(command_for(f"cancel {batch_id}", url), "ends it")
        raise typer.Exit(exit_codes.INTERRUPTED) from None


def follow(
    client: Promptmill, batch_id: str, url: str, *, reconnect_s: float = RECONNECT_S
) -> Batch:
    """Wait until the batch has ended, showing progress on stderr."""
    from promptmill.client import Batch, Outage  # noqa: PLC0415 - loaded when a service is talked to

    is_away = is_paused = False
    with display_on(err()) as display:
        for sighting in client.watch(batch_id, every_s=display.every_s, reconnect_s=reconnect_s):
            match sighting:
                case Batch():
                    if is_away:
                        display.note("The service is back.")
                    is_away = False
                    show(sighting, display)
                    if sighting.status == "paused" and not is_paused:
                        command = command_for(f"resume {batch_id}", url)
                        display.note(f"The batch is paused; `{command}` lets it go on.")
                    is_paused = sighting.status == "paused"
                    if sighting.has_ended:
                        return sighting
                case Outage():
                    if not is_away:
                        display.note(f"Lost the service ({sighting.error}); trying again …")
                    is_away = True
    raise AssertionError("watching without a time limit ends with the batch")


def tell_ending(batch: Batch, url: str) -> None:
    """Report on stderr how the batch ended, on one line."""
    took_s = None
    if batch.started_at is not None and batch.finished_at is not None:
        took_s = (batch.finished_at - batch.started_at).total_seconds()
    after = "" if took_s is None else f" after {duration(took_s)}"
    style = "green" if batch.all_succeeded else "yellow"
    say(f"{batch.id} {batch.status}{after}: {numbers(batch)}", style=style)
    if batch.error:
        say(f"  {batch.error}")
    for pull in batch.pulls:
        if pull.status == "failed":
            say(f"  {pull.model} at {pull.host}: {pull.error}")
    if batch.counts.failed:
        command = command_for(f"results {batch.id} --status failed", url)
        hint(command, "shows what went wrong")
    if not batch.all_succeeded:
        hint(command_for(f"retry {batch.id}", url), "runs again what has no answer")
