"""`promptmill submit`: prompts from arguments, a file or a pipe become a batch."""

from __future__ import annotations

import json
import re
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, NoReturn

import typer

from app.cli import exit_codes
from app.cli.connection import DEFAULT_URL, Url, command_for, connected
from app.cli.prompt_input import (
    InputFormat,
    ReadPrompt,
    UnreadableInput,
    format_of,
    read_prompts,
)
from app.cli.terminal import fail, say
from app.cli.watch import follow, left_running, tell_ending

if TYPE_CHECKING:
    from app.client import Batch, BatchFields, FieldError

_INPUT = "Input"
_LIMITS = "Limits"
_MODEL = "Model"
_STDIN = "-"


def submit(
    prompts: Annotated[
        list[str] | None,
        typer.Argument(help="The prompts themselves, each in quotes.", show_default=False),
    ] = None,
    *,
    file: Annotated[
        str | None,
        typer.Option(
            "--file",
            "-f",
            metavar="FILE",
            help="Read the prompts from this file; `-` is stdin, which is also read when nothing"
            " else is given.",
            rich_help_panel=_INPUT,
        ),
    ] = None,
    input_format: Annotated[
        InputFormat | None,
        typer.Option(
            "--format",
            help="text: a prompt per line. jsonl: a JSON string or prompt object per line. csv: a"
            " table with named columns. If not given, the file's extension says it.",
            rich_help_panel=_INPUT,
        ),
    ] = None,
    field: Annotated[
        str | None,
        typer.Option(
            help="JSONL: take the prompt from this field of each object.",
            metavar="NAME",
            rich_help_panel=_INPUT,
        ),
    ] = None,
    column: Annotated[
        str | None,
        typer.Option(
            help="CSV: take the prompt from this column; if not given, from `prompt` or"
            " the only one.",
            metavar="NAME",
            rich_help_panel=_INPUT,
        ),
    ] = None,
    model: Annotated[
        str | None,
        typer.Option(
            help="The model; if not given, the service's default.", rich_help_panel=_MODEL
        ),
    ] = None,
    system: Annotated[
        str | None,
        typer.Option(help="System message for every prompt.", rich_help_panel=_MODEL),
    ] = None,
    option: Annotated[
        list[str] | None,
        typer.Option(
            metavar="NAME=VALUE",
            help="An option of Ollama, such as temperature=0; VALUE is JSON, or else a text."
            " Can be given again.",
            rich_help_panel=_MODEL,
        ),
    ] = None,
    max_concurrent: Annotated[
        int | None,
        typer.Option(
            help="Most prompts of this batch running at one moment. Default: 5.",
            rich_help_panel=_LIMITS,
        ),
    ] = None,
    rate_limit_delay: Annotated[
        float | None,
        typer.Option(
            metavar="SECONDS",
            help="At least so long between two starts. Default: 0.1.",
            rich_help_panel=_LIMITS,
        ),
    ] = None,
    timeout_s: Annotated[
        float | None,
        typer.Option(
            metavar="SECONDS",
            help="Longest that one attempt may take. Default: 300.",
            rich_help_panel=_LIMITS,
        ),
    ] = None,
    max_attempts: Annotated[
        int | None,
        typer.Option(
            help="Attempts per prompt, the first included. Default: 3.", rich_help_panel=_LIMITS
        ),
    ] = None,
    priority: Annotated[
        int | None,
        typer.Option(help="-100 to 100; higher goes first. Default: 0.", rich_help_panel=_LIMITS),
    ] = None,
    metadata: Annotated[
        list[str] | None,
        typer.Option(
            metavar="NAME=VALUE",
            help="A note on the batch, given back as sent. Can be given again.",
        ),
    ] = None,
    idempotency_key: Annotated[
        str | None,
        typer.Option(
            metavar="KEY",
            help="Submitting again with the same key and prompts gives the same batch again.",
        ),
    ] = None,
    wait: Annotated[
        bool, typer.Option("--wait", help="Stay until the batch has ended, without a display.")
    ] = False,
    watch: Annotated[
        bool, typer.Option("--watch", help="Stay until the batch has ended, and show progress.")
    ] = False,
    url: Url = DEFAULT_URL,
) -> None:
    """Submit a batch of prompts; its id, and nothing else, goes to stdout."""
    read = _read(prompts or [], file, input_format, field=field, column=column)
    fields: dict[str, Any] = {
        "model": model,
        "system": system,
        "options": _pairs("--option", option, _json_or_text) or None,
        "max_concurrent": max_concurrent,
        "rate_limit_delay": rate_limit_delay,
        "timeout_s": timeout_s,
        "max_attempts": max_attempts,
        "priority": priority,
        "metadata": _pairs("--metadata", metadata, str) or None,
    }
    given: BatchFields = {name: value for name, value in fields.items() if value is not None}  # pyright: ignore[reportAssignmentType] - the names are those above

    def place_of(error: FieldError) -> str | None:
        found = re.match(r"/prompts/(\d+)(/.*)?$", error.pointer)
        if found is None or int(found[1]) >= len(read):
            return None
        return read[int(found[1])].place + (found[2] or "")

    with connected(url, place_of=place_of) as client:
        batch = client.submit(
            (one.prompt for one in read), idempotency_key=idempotency_key, **given
        )
        typer.echo(batch.id)
        # Whoever reads the id from a pipe can use it while this command still waits.
        sys.stdout.flush()
        if wait or watch:
            with left_running(batch.id, url):
                ended = follow(client, batch.id) if watch else client.wait(batch.id)
            tell_ending(ended, url)
            raise typer.Exit(
                exit_codes.SUCCESS if ended.all_succeeded else exit_codes.NOT_ALL_SUCCEEDED
            )
    _hint(batch, url)


def _hint(batch: Batch, url: str) -> None:
    count = batch.counts.total
    say(
        f"{count} prompt{'s' if count != 1 else ''} accepted, for {batch.model}. Next:", style="dim"
    )
    say(f"  {command_for(f'watch {batch.id}', url)}", style="dim")
    say(f"  {command_for(f'results {batch.id}', url)}", style="dim")


def _read(
    prompts: list[str],
    file: str | None,
    input_format: InputFormat | None,
    *,
    field: str | None,
    column: str | None,
) -> list[ReadPrompt]:
    if prompts and file is not None:
        raise typer.BadParameter("give prompts either as arguments or with --file, not both")
    if prompts:
        return [ReadPrompt(text, f"prompt {number}") for number, text in enumerate(prompts, 1)]
    if file is None and sys.stdin.isatty():
        raise typer.BadParameter(
            "no prompts: give them as arguments, with --file, or through a pipe"
        )
    name = file if file is not None else _STDIN
    if input_format is None:
        input_format = format_of(name, field=field, column=column)
    if field is not None and input_format is not InputFormat.JSONL:
        raise typer.BadParameter(f"--field is for jsonl, and this is read as {input_format}")
    if column is not None and input_format is not InputFormat.CSV:
        raise typer.BadParameter(f"--column is for csv, and this is read as {input_format}")
    shown = "stdin" if name == _STDIN else name
    try:
        content = sys.stdin.buffer.read() if name == _STDIN else Path(name).read_bytes()
    except OSError as error:
        _refuse(f"cannot read {shown}: {error.strerror}")
    try:
        return read_prompts(content, input_format, field=field, column=column)
    except UnreadableInput as error:
        _refuse(f"cannot use {shown} as {input_format}", *error.faults)


def _refuse(line: str, *details: str) -> NoReturn:
    fail(line, *details)
    raise typer.Exit(exit_codes.REFUSED)


def _pairs(
    name: str,
    given: list[str] | None,
    value_of: Any,  # noqa: ANN401
) -> dict[str, Any]:
    pairs: dict[str, Any] = {}
    for pair in given or []:
        key, equals, value = pair.partition("=")
        if not (key and equals):
            raise typer.BadParameter(f"{name} takes NAME=VALUE, not {pair!r}")
        pairs[key] = value_of(value)
    return pairs


def _json_or_text(value: str) -> Any:  # noqa: ANN401 - any JSON
    try:
        return json.loads(value)
    except ValueError:
        return value
