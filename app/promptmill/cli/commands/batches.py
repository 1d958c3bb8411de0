"""`promptmill list`, `show`, `cancel` and `delete`: looking at batches and ending them."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Annotated

import typer
from rich.table import Table
from rich.text import Text

from promptmill.cli.input.durations import parse_duration
from promptmill.cli.output.lists import print_list
from promptmill.cli.output.mode import mode
from promptmill.cli.output.progress import at_a_time, pulling
from promptmill.cli.output.terminal import out, print_json, say
from promptmill.cli.service.completion import complete_model, complete_state
from promptmill.cli.service.connection import DEFAULT_URL, BatchId, Url, connected
from promptmill.cli.service.naming import batch_named
from promptmill.display.texts import duration, local_time, numbers, one_line

if TYPE_CHECKING:
    from promptmill.client import Batch, BatchSummary, WaitingFor


def _ago(text: str) -> datetime:
    return datetime.now(UTC) - timedelta(seconds=parse_duration(text))


def list_batches(
    status: Annotated[
        str | None,
        typer.Option(
            autocompletion=complete_state,
            help="Only these: queued, running, paused, cancelling, completed, failed, cancelled or"
            " expired.",
        ),
    ] = None,
    model: Annotated[
        str | None,
        typer.Option(help="Only those of this model.", autocompletion=complete_model),
    ] = None,
    label: Annotated[
        str | None, typer.Option(metavar="TEXT", help="Only those of exactly this label.")
    ] = None,
    search: Annotated[
        str | None,
        typer.Option(metavar="TEXT", help="Only those with TEXT in label, id or metadata."),
    ] = None,
    since: Annotated[
        str | None,
        typer.Option(metavar="AGO", help="Only those accepted within 90d, 24h, 30m or 45s."),
    ] = None,
    limit: Annotated[int, typer.Option(min=1, max=1000, help="Most batches to show.")] = 20,
    url: Url = DEFAULT_URL,
) -> None:
    """List batches, newest first."""
    with connected(url) as client:
        page = client.list_batches(
            limit=limit,
            status=status,
            model=model,
            label=label,
            q=search,
            created_after=None if since is None else _ago(since),
        )
    if mode().as_json:
        for batch in page.data:
            print_json(batch)
    elif not page.data:
        say("No batches.")
    else:
        _print_list(page.data)
    if page.next_cursor is not None:
        say(f"The newest {limit}; --limit shows more.")


def _print_list(batches: Sequence[BatchSummary]) -> None:
    print_list(
        ["id", "status", "label", "done", "failed", "left", "model", "created"],
        [
            [
                batch.id,
                batch.status,
                one_line(batch.label, 60),
                f"{batch.counts.finished}/{batch.counts.total}",
                str(batch.counts.failed or ""),
                "" if batch.eta_s is None else duration(batch.eta_s),
                one_line(batch.model, 60),
                local_time(batch.created_at),
            ]
            for batch in batches
        ],
        [_wait_of(batch) for batch in batches],
    )


def show(
    batch_id: BatchId,
    *,
    running: Annotated[
        bool, typer.Option("--running", help="Show the prompts that run now, with their hosts.")
    ] = False,
    history: Annotated[
        bool,
        typer.Option("--history", help="Show its states with their times, and who changed it."),
    ] = False,
    url: Url = DEFAULT_URL,
) -> None:
    """Show how a batch stands, what of it runs now, or what has happened to it."""
    if running or history:
        show_part = _show_running if running else _show_history
        show_part(batch_id, url)
        return
    with connected(url) as client:
        batch = client.get(batch_named(client, batch_id))
    if mode().as_json:
        print_json(batch)
        return
    table = Table.grid(padding=(0, 2))
    table.add_column(style="bold", no_wrap=True)
    table.add_column(overflow="fold")
    for name, value in _facts(batch):
        table.add_row(name, Text(one_line(value, 1000)))
    out().print(table)


def _show_running(batch_id: str, url: str) -> None:
    with connected(url) as client:
        prompts = client.prompts(batch_named(client, batch_id))
    if mode().as_json:
        for prompt in prompts:
            print_json(prompt)
        return
    if not prompts:
        say("Nothing of this batch runs at this moment.")
        return
    table = Table()
    table.add_column("#", justify="right", no_wrap=True)
    for name in ("prompt", "host", "worker"):
        table.add_column(name, overflow="fold")
    table.add_column("attempt", justify="right", no_wrap=True)
    for prompt in prompts:
        table.add_row(
            str(prompt.index),
            *(Text(one_line(text, 120)) for text in (prompt.prompt, prompt.host, prompt.worker)),
            str(prompt.attempts),
        )
    out().print(table)


def _show_history(batch_id: str, url: str) -> None:
    with connected(url) as client:
        events = client.history(batch_named(client, batch_id))
    if mode().as_json:
        for event in events:
            print_json(event)
        return
    print_list(
        ["when", "event", "status", "key", "detail"],
        [
            [
                local_time(event.at),
                event.event.replace("_", " "),
                event.status,
                one_line(event.key, 60),
                one_line(event.detail, 200),
            ]
            for event in events
        ],
    )


def cancel(batch_id: BatchId, *, url: Url = DEFAULT_URL) -> None:
    """Cancel a batch: running calls are aborted, finished results stay."""
    with connected(url) as client:
        batch = client.cancel(batch_named(client, batch_id))
    if mode().as_json:
        print_json(batch)
    say(f"{batch.id} is {batch.status}.")


def delete(batch_id: BatchId, *, url: Url = DEFAULT_URL) -> None:
    """Delete an ended batch with its prompts and results."""
    with connected(url) as client:
        batch_id = batch_named(client, batch_id)
        client.delete(batch_id)
    if mode().as_json:
        print_json({"id": batch_id, "deleted": True})
    say(f"{batch_id} is deleted.")


def _facts(batch: Batch) -> list[tuple[str, str]]:
    facts: list[tuple[str, str | None]] = [
        ("id", batch.id),
        ("label", batch.label),
        ("status", batch.status),
        ("prompts", numbers(batch)),
        ("model", batch.model),
        ("waits for", batch.waiting_for and _waits_for(batch.waiting_for)),
        ("pulls", ", ".join(pulling(batch))),
        ("limits", _limits(batch)),
        ("priority", str(batch.priority) if batch.priority else None),
        ("metadata", ", ".join(f"{name}={value}" for name, value in batch.metadata.items())),
        (
            "tokens",
            f"{batch.usage.prompt_tokens} read, {batch.usage.completion_tokens} written",
        ),
        ("created", local_time(batch.created_at)),
        ("started", batch.started_at and local_time(batch.started_at)),
        ("finished", batch.finished_at and local_time(batch.finished_at)),
        ("expires", batch.expires_at and local_time(batch.expires_at)),
        ("error", batch.error),
    ]
    return [(name, value) for name, value in facts if value]


def _wait_of(batch: BatchSummary) -> str:
    reason = batch.waiting_for
    return "" if reason is None else f"waits: {one_line(reason.message, 200)}"


def _waits_for(waiting: WaitingFor) -> str:
    until = "" if waiting.until is None else f"; tried again at {local_time(waiting.until)}"
    return f"{waiting.message}{until}"


def _limits(batch: Batch) -> str:
    parts = [at_a_time(batch)]
    if batch.rate_limit_delay:
        parts.append(f"a start each {duration(batch.rate_limit_delay)}")
    parts += [f"{batch.max_attempts} attempts", f"{duration(batch.timeout_s)} each"]
    if batch.max_failures is not None:
        parts.append(f"at most {batch.max_failures} failed")
    return ", ".join(parts)
