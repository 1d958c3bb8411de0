"""The demonstration: a separate service, a batch of real questions, and its results."""

from __future__ import annotations

import asyncio
import shutil
import sys
import tempfile
import time
from collections.abc import Sequence
from contextlib import ExitStack
from importlib import resources
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import typer
from pydantic_core import to_json

from promptmill.cli.commands.results import answers_table
from promptmill.cli.commands.watch import follow, tell_ending
from promptmill.cli.input.model_choice import Choice, choose_model
from promptmill.cli.input.prompts import Choice as FileChoice
from promptmill.cli.input.prompts import FilePrompts
from promptmill.cli.output import exit_codes
from promptmill.cli.output.terminal import fail, hint, out, say
from promptmill.cli.service.child_processes import ChildDied, listening, sigterm_cleans_up
from promptmill.cli.service.connection import connected
from promptmill.cli.service.service_settings import checked_settings

if TYPE_CHECKING:
    from promptmill.client import Batch, BatchFields, Promptmill

_SHOWN_ANSWERS: Final = 5
_NAP_S: Final = 3600.0
_SIMULATE: Final = ("simulate", "--port", "0", "--num-parallel", "4")
_SYSTEM: Final = "Answer in one or two short sentences."
_ANSWER_TOKENS: Final = 200
"""Most tokens, which keeps the demonstration short on slow machines; cut answers count."""


def demonstrate(*, prompts_file: Path | None, limit: int | None, keep: bool) -> None:
    """Run the demonstration, and with `keep` continue until Ctrl-C.

    Raises:
        typer.Exit: Always, with the status of the batch's outcome.
    """
    prompts = _prompts(prompts_file, limit)
    settings = checked_settings()
    folder = Path(tempfile.mkdtemp(prefix="promptmill-demo-"))
    with ExitStack() as stack:
        stack.enter_context(sigterm_cleans_up())
        try:
            choice = asyncio.run(choose_model(settings.ollama_host, settings.default_model))
            if isinstance(choice, str):
                say(f"No Ollama to use: {choice}")
                say("Starting the built-in simulator: its answers are made up, all else is real.")
                simulator = stack.enter_context(listening(_SIMULATE, folder / "simulator.log"))
                choice = asyncio.run(choose_model(simulator, settings.default_model))
                if isinstance(choice, str):
                    fail(f"the simulator does not work: {choice}", f"its log is in {folder}")
                    raise typer.Exit(exit_codes.UNREACHABLE)
            database_url = f"sqlite:///{folder / 'promptmill.db'}"
            url = stack.enter_context(
                listening(_serve(choice, database_url), folder / "service.log")
            )
        except ChildDied as error:
            fail("a part of the demonstration could not start", *str(error).splitlines())
            raise typer.Exit(exit_codes.UNREACHABLE) from None
        say(f"Ollama    {choice.ollama_host} ({choice.version}), model {choice.model}")
        say(f"service   {url}")
        say(f"database  {database_url}")
        with connected(url) as client:
            batch = _run(client, url, choice, prompts)
            first = client.results_page(batch.id, limit=_SHOWN_ANSWERS).data
        out().print(answers_table(first))
        if keep:
            _next_steps(url, batch)
            _until_interrupted(url)
        else:
            say("The service of the demonstration stops here. To look at its batch again:")
            hint(f"{_program()} serve --database-url {database_url}")
            _next_steps("http://127.0.0.1:8000", batch)
    raise typer.Exit(exit_codes.SUCCESS if batch.all_succeeded else exit_codes.NOT_ALL_SUCCEEDED)


def _prompts(prompts_file: Path | None, limit: int | None) -> list[str | dict[str, Any]]:
    packaged = resources.files("promptmill.cli") / "data" / "demo_prompts.jsonl"
    with resources.as_file(packaged) as path:
        source = FilePrompts(str(prompts_file or path), FileChoice(limit=limit))
        prompts = list(source)
    source.tell_left_out()
    return prompts


def _serve(choice: Choice, database_url: str) -> Sequence[str]:
    return [
        *("serve", "--host", "127.0.0.1", "--port", "0", "--worker"),
        *("--database-url", database_url),
        *("--ollama-host", choice.ollama_host),
        *("--default-model", choice.model),
    ]


def _run(
    client: Promptmill, url: str, choice: Choice, prompts: Sequence[str | dict[str, Any]]
) -> Batch:
    fields: BatchFields = {
        "model": choice.model,
        "system": _SYSTEM,
        "options": {"num_predict": _ANSWER_TOKENS},
        "max_concurrent": 5,
        "rate_limit_delay": 0.05,
        "metadata": {"from": "promptmill demo"},
    }
    if choice.thinks:
        fields["think"] = False
    batch = client.submit(prompts, **fields)
    say(f"POST /batches with {batch.counts.total} prompts: accepted as {batch.id}")
    ended = follow(client, batch.id, url)
    tell_ending(ended, url)
    return ended


def _next_steps(url: str, batch: Batch) -> None:
    program = _program()
    body = to_json({"prompts": ["Why is the sky blue?"], "model": batch.model}).decode()
    steps = {
        "The batch on its page:": f"{url}/ui/batches/{batch.id}",
        "The API, described:": f"{url}/docs",
        "The batch with two of its results:": f"curl '{url}/batches/{batch.id}?limit=2'",
        "One more batch:": f"curl {url}/batches -H 'Content-Type: application/json' -d '{body}'",
        "All answers as a table:": f"{program} results {batch.id} --url {url}"
        " --format csv --output answers.csv",
        "The service itself, on your own data and Ollama:": f"{program} serve",
    }
    say("")
    say("Where to look next, each line as it is to be typed:", style="bold")
    for what, command in steps.items():
        say(what)
        hint(command)


def _program() -> str:
    """Command for this program: its name only if the shell finds it."""
    program = Path(sys.argv[0])
    if program.name == "__main__.py":
        return f"{sys.executable} -m promptmill"
    found = shutil.which(program.name)
    if found is not None and Path(found).samefile(program):
        return program.name
    here = Path.cwd()
    return str(program.relative_to(here) if program.is_relative_to(here) else program)


def _until_interrupted(url: str) -> None:
    say("")
    say("The service goes on until Ctrl-C. Its page:", style="bold")
    say(f"{url}/")
    try:
        while True:  # Ctrl-C interrupts a sleep on every system, but not `signal.pause`.
            time.sleep(_NAP_S)
    except KeyboardInterrupt:
        say("Stopping.")
