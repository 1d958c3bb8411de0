"""`promptmill workers`: who works off the queue."""

from __future__ import annotations

from rich.table import Table
from rich.text import Text

from promptmill.cli.output.mode import mode
from promptmill.cli.output.terminal import out, print_json, say
from promptmill.cli.service.connection import DEFAULT_URL, Url, connected
from promptmill.display.texts import local_time, one_line


def workers(*, url: Url = DEFAULT_URL) -> None:
    """List the workers of the last day: who is alive, and what each has in flight."""
    with connected(url) as client:
        found = client.workers()
    if mode().as_json:
        for worker in found:
            print_json(worker)
        return
    if not found:
        say("No workers; `promptmill worker` starts one.")
        return
    table = Table()
    table.add_column("worker", overflow="fold", min_width=16)
    table.add_column("state", no_wrap=True)
    table.add_column("in flight", justify="right", no_wrap=True)
    table.add_column("finished", justify="right", no_wrap=True)
    table.add_column("fenced", justify="right", no_wrap=True)
    table.add_column("version")
    table.add_column("started", no_wrap=True)
    table.add_column("seen", no_wrap=True)
    for worker in found:
        table.add_row(
            Text(one_line(worker.id, 80)),
            Text(one_line(worker.state, 20)),
            f"{worker.in_flight}/{worker.concurrency}",
            str(worker.finished),
            str(worker.fenced or ""),
            Text(one_line(worker.version, 40)),
            local_time(worker.started_at),
            local_time(worker.seen_at),
        )
    out().print(table)
