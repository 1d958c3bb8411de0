"""Running a worker without HTTP: event loop, signals, and messages before and after."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncGenerator, Generator
from typing import Any

import typer

from promptmill.cli.output import exit_codes
from promptmill.cli.output.terminal import fail, say
from promptmill.cli.service.event_loop import new_event_loop, when_told_to_stop
from promptmill.cli.service.service_settings import (
    checked_settings,
    tell_unknown_variables,
    wanted_log_level,
)
from promptmill.domain.errors import PromptmillError, WorkerEnded
from promptmill.domain.workers import WorkerIdentity
from promptmill.observability.event_loop import measuring_lag
from promptmill.observability.logs import configure_logging
from promptmill.runtime import open_resources
from promptmill.services.resources import Resources
from promptmill.settings import Settings, without_password
from promptmill.version import version
from promptmill.worker.runner import working


def run_worker(metrics_port: int | None = None, **options: Any) -> None:  # noqa: ANN401 - one per setting, checked there
    """Work until SIGTERM or Ctrl-C. Options that are not None take precedence over the environment.

    Raises:
        typer.Exit: The worker could not start; stderr says why.
    """
    settings = checked_settings(**options, log_level=wanted_log_level())
    configure_logging(level=settings.log_level, as_json=settings.log_json)
    tell_unknown_variables()
    try:
        with asyncio.Runner(loop_factory=new_event_loop) as runner:
            runner.run(_work(settings, metrics_port))
    except WorkerEnded as error:
        fail(str(error))
        raise typer.Exit(exit_codes.WORKER_ENDED) from None
    except PromptmillError as error:
        fail(f"cannot start: {error}")
        raise typer.Exit(exit_codes.UNREACHABLE) from None


async def _work(settings: Settings, metrics_port: int | None) -> None:
    stop = _stop_signal()
    async with (
        open_resources(settings) as resources,
        measuring_lag(),
        _telling_metrics(resources, metrics_port),
        working(resources) as identity,
    ):
        _introduce(settings, identity)
        await stop.wait()


@contextlib.asynccontextmanager
async def _telling_metrics(resources: Resources, port: int | None) -> AsyncGenerator[None, None]:
    """Serve `GET /metrics` on this machine while the block runs, if a port is given."""
    if port is None:
        yield
        return
    # Imported here, because only workers with metrics need HTTP.
    import uvicorn  # noqa: PLC0415

    from promptmill.api.application import build_metrics_api  # noqa: PLC0415
    from promptmill.cli.service.serving import listen  # noqa: PLC0415

    class QuietServer(uvicorn.Server):
        """Server of uvicorn without signal handlers, which are the worker's."""

        @contextlib.contextmanager
        def capture_signals(self) -> Generator[None, None, None]:
            """Install no signal handlers."""
            yield

    listener = listen("127.0.0.1", port)
    say(f"  metrics        http://127.0.0.1:{listener.getsockname()[1]}/metrics")
    config = uvicorn.Config(
        build_metrics_api(resources),
        ws="none",
        lifespan="off",
        access_log=False,
        log_config=None,
        server_header=False,
        proxy_headers=False,
        timeout_graceful_shutdown=1,
    )
    server = QuietServer(config)
    serving = asyncio.create_task(server.serve(sockets=[listener]), name="metrics")
    try:
        yield
    finally:
        server.should_exit = True
        await serving


def _stop_signal() -> asyncio.Event:
    """Event of the first SIGTERM or Ctrl-C; the second ends the process as without a handler."""
    stop = asyncio.Event()
    when_told_to_stop(stop.set, once=True)
    return stop


def _introduce(settings: Settings, identity: WorkerIdentity) -> None:
    # On stdout, so that a program can wait for it.
    typer.echo(f"Promptmill {version()} works as {identity.id}")
    say(f"  database       {without_password(settings.database_url)}")
    say(f"  Ollama         {', '.join(host.url for host in settings.hosts)}")
    say(f"  concurrency    {settings.concurrency}")
    say("  Ctrl-C stops it; what it cannot end goes back to the queue.")
