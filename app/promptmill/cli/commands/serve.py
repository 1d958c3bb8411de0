"""`promptmill serve`: the service; implemented in `cli.service.serving`."""

from __future__ import annotations

from typing import Annotated, Any

import typer
from typer.core import TyperCommand

from promptmill.cli.output.terminal import out


class ServeCommand(TyperCommand):
    """Command whose help includes all settings."""

    def format_help(self, ctx: Any, formatter: Any) -> None:  # noqa: ANN401 - Typer's private types
        """Help of the options, then the table of settings."""
        # The settings are slow to import, and `promptmill --help` does not show them.
        from promptmill.cli.service.service_settings import settings_table  # noqa: PLC0415

        super().format_help(ctx, formatter)
        out(piped_width=100).print(settings_table())


def serve(
    host: Annotated[
        str | None, typer.Option(help="Address to listen on (PROMPTMILL_HOST).")
    ] = None,
    port: Annotated[
        int | None,
        typer.Option(
            help="Port to listen on; 0 takes a free one (PROMPTMILL_PORT).", min=0, max=65535
        ),
    ] = None,
    worker: Annotated[
        bool | None,
        typer.Option(
            "--worker/--no-worker",
            help="Whether this process works off the queue itself (PROMPTMILL_EMBEDDED_WORKER).",
        ),
    ] = None,
    database_url: Annotated[
        str | None, typer.Option(metavar="URL", help="Where jobs are kept (DATABASE_URL).")
    ] = None,
    ollama_host: Annotated[
        str | None, typer.Option(metavar="HOST", help="The Ollama server (OLLAMA_HOST).")
    ] = None,
    default_model: Annotated[
        str | None,
        typer.Option(
            metavar="MODEL", help="Model of a batch that names none (PROMPTMILL_DEFAULT_MODEL)."
        ),
    ] = None,
) -> None:
    """Run the service: HTTP API, queue and worker in one process.

    Every setting is an environment variable, listed below; an option goes before its variable.
    """
    from promptmill.cli.service.serving import run_service  # noqa: PLC0415 - the whole service hangs on it

    run_service(
        host=host,
        port=port,
        embedded_worker=worker,
        database_url=database_url,
        ollama_host=ollama_host,
        default_model=default_model,
    )
