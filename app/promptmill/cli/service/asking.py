"""Asking a model: a batch is submitted, and its answers are printed as they arrive."""

from __future__ import annotations

import tempfile
from collections.abc import Generator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import typer

from promptmill.cli.commands.watch import left_running
from promptmill.cli.input.prompts import PromptSource
from promptmill.cli.output import exit_codes
from promptmill.cli.output.answers import InOrder, follow_answers, print_answer
from promptmill.cli.output.terminal import fail, hint, say
from promptmill.cli.service.child_processes import ChildDied, listening, sigterm_cleans_up
from promptmill.cli.service.connection import DEFAULT_URL, api_key, command_for, connected
from promptmill.cli.service.service_settings import checked_settings
from promptmill.client import Promptmill, PromptmillError, PromptmillProblem, Result
from promptmill.settings import without_password

_LOOK_S = 2.0


def ask(url: str, source: PromptSource, fields: Mapping[str, Any]) -> None:
    """Submit the prompts, and print each answer as soon as those before it have arrived.

    Raises:
        typer.Exit: A prompt has no answer, or the command failed.
    """
    is_missing = False

    def show(result: Result) -> None:
        nonlocal is_missing
        is_missing |= result.error_code == "model_not_found"
        print_answer(result, total=len(prompts))

    prompts = list(source)
    source.tell_left_out()
    with sigterm_cleans_up(), _service_at(url) as place, connected(place) as client:
        batch = client.submit(prompts, **fields)
        with left_running(batch.id, url, ends_with_service=place != url):
            ended = follow_answers(client, batch.id, InOrder(show).add)
    if ended.error and not ended.counts.failed:
        fail(ended.error)
    if not ended.all_succeeded:
        if is_missing:
            say("  --auto-pull has a model that no host has pulled first")
        hint(command_for(f"results {ended.id}", url), "shows what became of each prompt")
        raise typer.Exit(exit_codes.NOT_ALL_SUCCEEDED)


@contextmanager
def _service_at(url: str) -> Generator[str]:
    """Yield the address of a service: `url`, or a service that is started for the command.

    Raises:
        typer.Exit: The service cannot be started.
    """
    if url != DEFAULT_URL or _answers(url):
        yield url
        return
    database_url = without_password(checked_settings().database_url)
    say(f"No service at {url}: starting one for this command, on {database_url}", style="dim")
    with tempfile.TemporaryDirectory(prefix="promptmill-run-") as folder:
        command = ["serve", "--host", "127.0.0.1", "--port", "0", "--worker"]
        try:
            with listening(command, Path(folder) / "service.log") as own:
                yield own
        except ChildDied as error:
            fail("the service could not start", *str(error).splitlines())
            raise typer.Exit(exit_codes.UNREACHABLE) from None


def _answers(url: str) -> bool:
    """Whether a Promptmill service responds at an address; other programs do not count."""
    try:
        with Promptmill(url, api_key=api_key(), timeout_s=_LOOK_S, attempts=1) as client:
            client.health()
    except PromptmillProblem:
        return True
    except PromptmillError:
        return False
    return True
