"""Connection of commands to the service, and mapping of its errors to exit statuses."""

from __future__ import annotations

import contextlib
import logging
import os
import re
from collections.abc import Callable, Generator
from contextvars import ContextVar
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from promptmill.cli.output import exit_codes
from promptmill.cli.output.mode import mode
from promptmill.cli.output.terminal import fail, say
from promptmill.cli.service.completion import complete_batch

if TYPE_CHECKING:
    from promptmill.client import FieldError, Promptmill, PromptmillProblem

Url = Annotated[
    str,
    typer.Option(
        "--url",
        envvar="PROMPTMILL_URL",
        help="Where the service listens.",
        metavar="URL",
        rich_help_panel="Service",
    ),
]
ApiKeyFile = Annotated[
    Path | None,
    typer.Option(
        "--api-key-file",
        envvar="PROMPTMILL_API_KEY_FILE",
        metavar="FILE",
        help="A file with the API key; else PROMPTMILL_API_KEY holds the key itself.",
    ),
]
_API_KEY = "PROMPTMILL_API_KEY"
_key_file: ContextVar[Path | None] = ContextVar("_key_file", default=None)
_SENT_LINE = re.compile(r"^line \d+: ")
DEFAULT_URL = "http://127.0.0.1:8000"


def command_for(words: str, url: str) -> str:
    """Command to suggest, with the address unless it is the default."""
    return f"promptmill {words}" + ("" if url == DEFAULT_URL else f" --url {url}")


def use_key_file(path: Path | None) -> None:
    """Make commands send the key of a file, which is read when it is needed."""
    _key_file.set(path)


def api_key() -> str | None:
    """Read the API key to send; None without a key.

    Raises:
        typer.Exit: The file cannot be read, or is empty.
    """
    path = _key_file.get()
    if path is None:
        return os.environ.get(_API_KEY) or None  # noqa: TID251 - clients read no settings
    try:
        key = path.read_text(encoding="utf-8").strip()
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "it is not text"
        fail(f"--api-key-file {path} cannot be read: {reason}")
        raise typer.Exit(exit_codes.REFUSED) from None
    if not key:
        fail(f"--api-key-file {path} is empty")
        raise typer.Exit(exit_codes.REFUSED)
    return key


BatchId = Annotated[
    str,
    typer.Argument(
        metavar="ID",
        help="The batch: its id, the beginning of it, its label, or @last, @2 and so on, newest"
        " first.",
        autocompletion=complete_batch,
        show_default=False,
    ),
]


def no_place(error: FieldError) -> str | None:
    """Default name of a field's place: the pointer itself."""
    del error
    return None


@contextlib.contextmanager
def connected(
    url: str, *, place_of: Callable[[FieldError], str | None] = no_place
) -> Generator[Promptmill]:
    """Client for `url`; its errors become messages on stderr and exit statuses.

    `place_of` gives the place of a wrong field in the user's input, if known.
    """
    # Importing httpx takes a quarter of a second, so only commands with a service import it.
    import httpx  # noqa: PLC0415

    from promptmill.client import (  # noqa: PLC0415
        Promptmill,
        PromptmillError,
        PromptmillProblem,
        ServiceUnreachable,
    )
    from promptmill.client.httpx_mapping import (  # noqa: PLC0415
        checked_base_url,
        headers_of,
        proxy_of,
    )

    key = api_key()
    try:
        address = checked_base_url(url)
        headers_of(key, None)
    except ValueError as error:
        fail(str(error))
        raise typer.Exit(exit_codes.REFUSED) from None
    try:
        client = Promptmill(url, api_key=key)
    except (ImportError, OSError, ValueError, httpx.InvalidURL) as error:
        # The remaining errors come from the environment, which httpx reads for proxies and TLS.
        fail(
            f"cannot reach the service at {url}: {_without_advice(error)}",
            "HTTP_PROXY, HTTPS_PROXY and ALL_PROXY name proxies of http or https, NO_PROXY lists",
            "addresses that need none; SSL_CERT_FILE and SSL_CERT_DIR name certificates.",
        )
        raise typer.Exit(exit_codes.UNREACHABLE) from None
    try:
        with _requests_said(), client:
            yield client
    except PromptmillProblem as problem:
        sentence = problem.detail or problem.title
        details = [_told(error, place_of(error)) for error in problem.errors]
        if problem.status >= 500 and problem.request_id:  # noqa: PLR2004 - the server's own errors
            details.append(f"request id: {problem.request_id}")
        if problem.status == 401:  # noqa: PLR2004 - HTTP's number for it
            details.append("PROMPTMILL_API_KEY or `promptmill --api-key-file FILE ...` give a key.")
        fail(
            f"the service answered {problem.status}: {sentence}",
            *details,
            problem=_document(problem, place_of),
        )
        is_refusal = problem.status < 500  # noqa: PLR2004
        code = exit_codes.REFUSED if is_refusal else exit_codes.UNREACHABLE
        raise typer.Exit(code) from None
    except ServiceUnreachable as error:
        proxy = proxy_of(address)
        by_way_of = f", by way of the proxy that {proxy} names (NO_PROXY=HOST goes without)"
        fail(
            f"cannot reach the service at {url}{by_way_of if proxy else ''}: {error}",
            "Is it running? `promptmill serve` starts one; --url or PROMPTMILL_URL name another.",
        )
        raise typer.Exit(exit_codes.UNREACHABLE) from None
    except PromptmillError as error:
        fail(f"{url} does not answer like Promptmill: {error}")
        raise typer.Exit(exit_codes.UNREACHABLE) from None


def _without_advice(error: Exception) -> str:
    """Describe an error of proxies without the advice to install a package."""
    if isinstance(error, ImportError):
        return "the environment names a SOCKS proxy, which this program cannot use"
    return str(error) or type(error).__name__


class _Said(logging.Handler):
    """Log handler that prints the client's requests."""

    def emit(self, record: logging.LogRecord) -> None:
        """Print a log record to stderr."""
        say(record.getMessage(), style="dim")


@contextlib.contextmanager
def _requests_said() -> Generator[None]:
    """With `--verbose` print every request, with its id in the service's log."""
    if not mode().is_verbose:
        yield
        return
    logger, said = logging.getLogger("promptmill.client"), _Said()
    logger.addHandler(said)
    logger.setLevel(logging.DEBUG)
    try:
        yield
    finally:
        logger.removeHandler(said)


def _document(
    problem: PromptmillProblem, place_of: Callable[[FieldError], str | None]
) -> dict[str, Any]:
    """Problem as the service sent it, with the place of each error in the user's input."""
    errors = [
        {"pointer": error.pointer, "detail": error.detail, "place": place_of(error)}
        for error in problem.errors
    ]
    document: dict[str, Any] = {
        "type": problem.type,
        "title": problem.title,
        "status": problem.status,
        "detail": problem.detail,
        "request_id": problem.request_id,
        "errors": [{name: each for name, each in one.items() if each} for one in errors],
    }
    return {name: value for name, value in document.items() if value}


def _told(error: FieldError, place: str | None) -> str:
    if place is None:
        return ": ".join(filter(None, [error.pointer, error.detail]))
    # The service counts the sent lines, the place those of the user's file.
    return f"{place}: {_SENT_LINE.sub('', error.detail, count=1)}"
