"""Running the service under uvicorn: socket, signals, and messages before and after."""

from __future__ import annotations

import signal
import socket
from collections.abc import Callable, Generator
from contextlib import contextmanager
from types import FrameType
from typing import Any, Final

import typer
import uvicorn
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from promptmill.api.http_protocol import BoundedProtocol
from promptmill.cli.output import exit_codes
from promptmill.cli.output.terminal import fail, say
from promptmill.cli.service.event_loop import STOPPING
from promptmill.cli.service.service_settings import (
    checked_settings,
    tell_unknown_variables,
    wanted_log_level,
)
from promptmill.domain.errors import PromptmillError, WorkerEnded
from promptmill.main import create_app
from promptmill.observability.logs import configure_logging, get_logger
from promptmill.services.access import keys
from promptmill.settings import Settings, is_loopback, without_password
from promptmill.store.db import schema
from promptmill.store.db.database import Database
from promptmill.version import version

_REQUESTS_MAY_END_S: Final = 3
"""Seconds that open requests have after SIGTERM.

They suffice for all but long polls and streams, which are cut off, and whose clients reconnect.
"""
_BACKLOG: Final = 2048
_WILDCARDS: Final = {"0.0.0.0": "127.0.0.1", "::": "::1"}  # noqa: S104 - recognised, not bound


def run_service(**options: Any) -> None:  # noqa: ANN401 - one per setting, checked there
    """Serve until SIGTERM or Ctrl-C. Options take precedence over the environment unless None.

    Raises:
        typer.Exit: The service could not start, or not continue; stderr says why.
    """
    settings = checked_settings(**options, log_level=wanted_log_level())
    configure_logging(level=settings.log_level, as_json=settings.log_json)
    tell_unknown_variables()
    has_keys = _has_keys(settings)
    _refuse_to_be_open(settings, has_keys=has_keys)
    listener = listen(settings.host, settings.port)
    # With --port 0 the kernel chooses the port. On stdout, so that a program can wait for it.
    url = url_of(settings.host, listener.getsockname()[1])
    typer.echo(f"Promptmill {version()} listens on {url}")
    _introduce(settings, url, has_keys=has_keys)
    lifespan = WatchedLifespan(create_app(settings))
    server = Server(
        uvicorn.Config(
            lifespan,
            loop="auto",
            http=BoundedProtocol,
            ws="none",
            lifespan="on",
            access_log=False,
            log_config=None,
            server_header=False,
            # By default uvicorn trusts headers of every program on this machine.
            proxy_headers=bool(settings.trusted_proxies),
            forwarded_allow_ips=settings.trusted_proxies,
            timeout_graceful_shutdown=_REQUESTS_MAY_END_S,
        )
    )
    lifespan.stop = server.stop
    try:
        with _signals_end_quietly():
            server.run(sockets=[listener])
    finally:
        # Depending on its version, uvicorn returns or exits after a failed start.
        if lifespan.refusal is not None:
            fail(f"cannot start: {lifespan.refusal}")
    if lifespan.early_end is not None:
        fail(lifespan.early_end)
        raise typer.Exit(exit_codes.WORKER_ENDED)
    if not server.started:
        raise typer.Exit(exit_codes.UNREACHABLE)


class Server(uvicorn.Server):
    """Server of uvicorn that a second signal ends at once, and that the application may stop."""

    _told = False

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        """Stop gracefully; at the second signal end as without a handler."""
        if self._told:
            signal.signal(sig, signal.SIG_DFL)
            signal.raise_signal(sig)
        self._told = True
        super().handle_exit(sig, frame)

    def stop(self) -> None:
        """Stop soon, without a signal."""
        self.should_exit = True


class WatchedLifespan:
    """ASGI application around the service that detects a failed start or an early end.

    uvicorn would log a traceback for an error that the service reports in one sentence, and would
    ignore an early end.
    """

    def __init__(self, app: ASGIApp) -> None:
        self._app = app
        self.refusal: PromptmillError | None = None
        self.early_end: str | None = None
        """Why the lifespan ended early, in a sentence."""
        self.stop: Callable[[], None] = lambda: None
        """Function to call at an early end."""

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass a request on; observe only the lifespan."""
        if scope["type"] != "lifespan":
            await self._app(scope, receive, send)
            return
        failure: Message | None = None
        is_running = False

        async def receive_and_look() -> Message:
            nonlocal is_running
            message = await receive()
            is_running = is_running and message["type"] != "lifespan.shutdown"
            return message

        async def hold_failure_back(message: Message) -> None:
            nonlocal failure, is_running
            if message["type"] == "lifespan.startup.failed":
                failure = message
            elif message["type"] == "lifespan.shutdown.failed" and is_running:
                # A traceback is dropped; the error itself follows.
                await send({"type": message["type"], "message": ""})
            else:
                is_running = message["type"] == "lifespan.startup.complete"
                await send(message)

        try:
            await self._app(scope, receive_and_look, hold_failure_back)
        except BaseException as error:
            if failure is not None and isinstance(error, PromptmillError):
                self.refusal = error
                failure = {"type": failure["type"], "message": ""}
            if failure is not None:
                await send(failure)
            if is_running:
                self._end_early(error)
            raise

    def _end_early(self, error: BaseException) -> None:
        self.early_end = str(error)
        if not isinstance(error, WorkerEnded):
            self.early_end = f"The service has ended by itself: {type(error).__name__}"
            get_logger().error("The service ends.", action="service_ended", exc_info=error)
        self.stop()


def url_of(host: str, port: int) -> str:
    """Address at which a browser on this machine finds the service."""
    name = _WILDCARDS.get(host, host)
    return f"http://[{name}]:{port}" if ":" in name else f"http://{name}:{port}"


def listen(host: str, port: int) -> socket.socket:
    """Open a listening socket.

    Raises:
        typer.Exit: The address cannot be used.
    """
    try:
        family, _, _, _, address = socket.getaddrinfo(
            host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
        )[0]
        return socket.create_server(address[:2], family=family, backlog=_BACKLOG)
    except OSError as error:
        fail(
            f"cannot listen on {host}, port {port}: {error.strerror}",
            "--port names another port, 0 takes a free one.",
        )
        raise typer.Exit(exit_codes.REFUSED) from None


def _introduce(settings: Settings, url: str, *, has_keys: bool) -> None:
    say(f"  API reference  {url}/docs")
    say(f"  database       {without_password(settings.database_url)}")
    say(f"  Ollama         {', '.join(host.url for host in settings.hosts)}")
    if not settings.embedded_worker:
        say("  worker         none here: batches wait until another process works them off")
    if has_keys:
        say("  keys           needed; `promptmill keys list` shows them")
    if has_keys and not is_loopback(settings.host):
        say("  note           keys go over plain http; put a proxy with TLS before it")
    elif not is_loopback(settings.host):
        say(f"  note           whoever reaches {settings.host} can use it (no keys)")
    say("  Ctrl-C stops it; accepted work is kept and goes on at the next start.")


def _has_keys(settings: Settings) -> bool:
    """Whether there is a key.

    Raises:
        typer.Exit: The database cannot be read, and a key would be needed.
    """
    if settings.environment_keys:
        return True
    try:
        pooling = settings.poll_only
        schema.upgrade(settings.database_url, transaction_pooling=pooling)
        database = Database(settings.database_url, transaction_pooling=pooling)
        try:
            return bool(keys.list_keys(database))
        finally:
            database.close_now()
    except PromptmillError as error:
        if is_loopback(settings.host):
            return False  # The start itself reports the error.
        fail(f"cannot start: {error}")
        raise typer.Exit(exit_codes.UNREACHABLE) from None


def _refuse_to_be_open(settings: Settings, *, has_keys: bool) -> None:
    if has_keys or settings.allow_no_keys or is_loopback(settings.host):
        return
    fail(
        f"there are no keys, and whoever reaches {settings.host} could use the service",
        "`promptmill keys create NAME` makes one; PROMPTMILL_ALLOW_NO_KEYS=true goes without.",
    )
    raise typer.Exit(exit_codes.REFUSED)


@contextmanager
def _signals_end_quietly() -> Generator[None]:
    """Make a stop by signal a normal end with status 0.

    uvicorn stops gracefully, restores the handlers that it found, and raises the signal again; the
    default ones would then report an interrupt or kill the process.
    """

    def stop(number: int, frame: FrameType | None) -> None:
        del number, frame
        raise SystemExit(exit_codes.SUCCESS)

    found = {number: signal.signal(number, stop) for number in STOPPING}
    try:
        yield
    finally:
        for number, handler in found.items():
            signal.signal(number, handler)
