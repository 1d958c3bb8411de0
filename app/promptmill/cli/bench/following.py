"""Waiting for a benchmark's end on the command line, and reporting it."""

from __future__ import annotations

from collections.abc import Generator
from contextlib import contextmanager
from typing import TYPE_CHECKING

import typer

from promptmill.cli.output import exit_codes
from promptmill.cli.output.progress import display_on
from promptmill.cli.output.terminal import err, hint, say
from promptmill.cli.service.connection import command_for
from promptmill.display.texts import duration

if TYPE_CHECKING:
    from promptmill.client import Benchmark, Promptmill

RECONNECT_S = 60.0


@contextmanager
def left_running(benchmark_id: str, url: str) -> Generator[None]:
    """Let Ctrl-C end the command but not the benchmark, with a message."""
    try:
        yield
    except KeyboardInterrupt:
        say("Not watching any more; the benchmark goes on.")
        hint(command_for(f"bench --id {benchmark_id}", url), "comes back")
        hint(command_for(f"bench --id {benchmark_id} --cancel", url), "ends it")
        raise typer.Exit(exit_codes.INTERRUPTED) from None


def follow(client: Promptmill, benchmark_id: str) -> Benchmark:
    """Wait for the benchmark's end, showing progress on stderr; return it with its figures."""
    from promptmill.client import Outage  # noqa: PLC0415 - loaded when a service is talked to

    is_away = False
    with display_on(err()) as display:
        for sighting in client.benchmarks.watch(
            benchmark_id, every_s=display.every_s, reconnect_s=RECONNECT_S
        ):
            if isinstance(sighting, Outage):
                if not is_away:
                    display.note(f"Lost the service ({sighting.error}); trying again …")
                is_away = True
                continue
            if is_away:
                display.note("The service is back.")
            is_away = False
            counts = sighting.counts
            display.draw(_status(sighting), counts.finished, counts.total, numbers(sighting))
    return client.benchmarks.get(benchmark_id)


def _status(benchmark: Benchmark) -> str:
    # A queued benchmark waits until its host is free of other work.
    return "waiting for the host" if benchmark.status == "queued" else benchmark.status


def numbers(benchmark: Benchmark) -> str:
    """Finished runs, failed runs and remaining time on one line."""
    counts = benchmark.counts
    parts = [f"{counts.finished}/{counts.total} runs"]
    parts += [
        f"{count} {name}"
        for name, count in (
            ("failed", counts.failed),
            ("skipped", counts.skipped),
            ("cancelled", counts.cancelled),
        )
        if count
    ]
    if benchmark.eta_s is not None and not benchmark.has_ended:
        parts.append(f"{duration(benchmark.eta_s)} left")
    return ", ".join(parts)


def tell_ending(benchmark: Benchmark) -> None:
    """Report on stderr how the benchmark ended, and its conditions."""
    after = ""
    if benchmark.started_at is not None and benchmark.finished_at is not None:
        after = f" after {duration((benchmark.finished_at - benchmark.started_at).total_seconds())}"
    style = "green" if benchmark.all_succeeded else "yellow"
    label = f" ({benchmark.label})" if benchmark.label else ""
    say(
        f"{benchmark.id}{label} {benchmark.status}{after}: {numbers(benchmark)}",
        style=style,
    )
    environment = benchmark.environment
    if environment.ollama_version is not None:
        say(f"  Ollama {environment.ollama_version} at {environment.host}", style="dim")
    if benchmark.error:
        say(f"  {benchmark.error}")
