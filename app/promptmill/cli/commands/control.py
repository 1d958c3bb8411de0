"""`promptmill pause`, `resume`, `retry` and `set`: steering a batch that is under way or ended."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

import typer

from promptmill.cli.input.limit_option import finite, number_or_auto
from promptmill.cli.input.pairs import pairs
from promptmill.cli.output.mode import mode
from promptmill.cli.output.progress import at_a_time
from promptmill.cli.output.terminal import hint, print_json, say
from promptmill.cli.service.connection import DEFAULT_URL, BatchId, Url, command_for, connected
from promptmill.cli.service.naming import batch_named
from promptmill.display.texts import duration, numbers

if TYPE_CHECKING:
    from promptmill.client import Batch, BatchChanges


def pause(batch_id: BatchId, *, url: Url = DEFAULT_URL) -> None:
    """Pause a batch: nothing more is started, prompts that run may finish."""
    with connected(url) as client:
        batch = client.pause(batch_named(client, batch_id))
    if mode().as_json:
        print_json(batch)
    running = batch.counts.running
    still = f"; {running} still {'runs' if running == 1 else 'run'}" if running else ""
    say(f"{batch.id} is {batch.status}{still}.")
    hint(command_for(f"resume {batch.id}", url), "lets it go on")


def resume(batch_id: BatchId, *, url: Url = DEFAULT_URL) -> None:
    """Let a paused batch go on."""
    with connected(url) as client:
        batch = client.resume(batch_named(client, batch_id))
    if mode().as_json:
        print_json(batch)
    say(f"{batch.id} is {batch.status}.")


def retry(
    batch_id: BatchId,
    *,
    index: Annotated[
        list[int] | None,
        typer.Option(
            metavar="N",
            min=0,
            help="Only the prompt of this index, as in its result. Can be given again.",
        ),
    ] = None,
    expires_in_s: Annotated[
        float | None,
        typer.Option(
            callback=finite,
            metavar="SECONDS",
            help="A new deadline from now. Default: the old one, unless it has passed.",
        ),
    ] = None,
    url: Url = DEFAULT_URL,
) -> None:
    """Run again the prompts that failed, were cancelled or expired; answers stay."""
    with connected(url) as client:
        batch = client.retry(
            batch_named(client, batch_id), indexes=index, expires_in_s=expires_in_s
        )
    if mode().as_json:
        print_json(batch)
    say(f"{batch.id} is {batch.status}: {numbers(batch)}")
    hint(command_for(f"watch {batch.id}", url), "shows how it goes on")


def set_limits(
    batch_id: BatchId,
    *,
    max_concurrent: Annotated[
        str | None,
        typer.Option(
            metavar="N|auto", help="Most prompts of this batch running at one moment; or auto."
        ),
    ] = None,
    rate_limit_delay: Annotated[
        float | None,
        typer.Option(
            callback=finite, metavar="SECONDS", help="At least so long between two starts."
        ),
    ] = None,
    priority: Annotated[int | None, typer.Option(help="-100 to 100; higher goes first.")] = None,
    label: Annotated[
        str | None, typer.Option(metavar="TEXT", help="What to call the batch from now on.")
    ] = None,
    metadata: Annotated[
        list[str] | None,
        typer.Option(
            metavar="NAME=VALUE",
            help="A note on the batch, in place of all that were there. Can be given again.",
        ),
    ] = None,
    url: Url = DEFAULT_URL,
) -> None:
    """Change limits, priority, label or notes of a batch, also while it runs."""
    fields: dict[str, Any] = {
        "max_concurrent": number_or_auto(max_concurrent),
        "rate_limit_delay": rate_limit_delay,
        "priority": priority,
        "label": label,
        "metadata": pairs("--metadata", metadata, str) or None,
    }
    changes: BatchChanges = {name: value for name, value in fields.items() if value is not None}  # pyright: ignore[reportAssignmentType] - the names are those above
    if not changes:
        raise typer.BadParameter(
            "nothing to change: give --max-concurrent, --rate-limit-delay, --priority, --label or"
            " --metadata"
        )
    with connected(url) as client:
        batch = client.update(batch_named(client, batch_id), **changes)
    if mode().as_json:
        print_json(batch)
    say(f"{batch.id}: {_told(batch, changes)}")


def _told(batch: Batch, changes: BatchChanges) -> str:
    """Print the changed fields, as the service has them now."""
    delay = duration(batch.rate_limit_delay)
    told = {
        "max_concurrent": at_a_time(batch),
        "rate_limit_delay": f"a start each {delay}" if batch.rate_limit_delay else "no delay",
        "priority": f"priority {batch.priority}",
        "label": f"label {batch.label}",
        "metadata": ", ".join(f"{name}={value}" for name, value in batch.metadata.items()),
    }
    return ", ".join(told[name] for name in told if name in changes)
