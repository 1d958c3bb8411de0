"""`promptmill worker`: a worker without HTTP; implemented in `cli.service.working`."""

from __future__ import annotations

from typing import Annotated

import typer


def worker(
    concurrency: Annotated[
        int | None,
        typer.Option(
            help="Most calls in flight of this worker (PROMPTMILL_CONCURRENCY).", min=1, max=4096
        ),
    ] = None,
    database_url: Annotated[
        str | None, typer.Option(metavar="URL", help="Where jobs are kept (DATABASE_URL).")
    ] = None,
    ollama_host: Annotated[
        str | None, typer.Option(metavar="HOST", help="The Ollama server (OLLAMA_HOST).")
    ] = None,
    metrics_port: Annotated[
        int | None,
        typer.Option(
            help="Port on this machine for GET /metrics and /health; 0 takes a free one.",
            min=0,
            max=65535,
        ),
    ] = None,
) -> None:
    """Work off the queue of a database, without HTTP: any number of these, on any machine.

    More than one need PostgreSQL, and beside them `promptmill serve --no-worker` for the API.
    SIGTERM or Ctrl-C ends it gracefully: running prompts may end for PROMPTMILL_DRAIN_S seconds,
    then they go back to the queue. A second one ends it at once.
    """
    from promptmill.cli.service.working import run_worker  # noqa: PLC0415 - the whole service hangs on it

    run_worker(
        metrics_port,
        concurrency=concurrency,
        database_url=database_url,
        ollama_host=ollama_host,
    )
