"""`promptmill workers`: the worker processes."""

from __future__ import annotations

from promptmill.cli.output.lists import print_list
from promptmill.cli.output.mode import mode
from promptmill.cli.output.terminal import print_json, say
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
    print_list(
        ["worker", "state", "in flight", "finished", "fenced", "version", "started", "seen"],
        [
            [
                one_line(worker.id, 80),
                one_line(worker.state, 20),
                f"{worker.in_flight}/{worker.concurrency}",
                str(worker.finished),
                str(worker.fenced or ""),
                one_line(worker.version, 40),
                local_time(worker.started_at),
                local_time(worker.seen_at),
            ]
            for worker in found
        ],
    )
