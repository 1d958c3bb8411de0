"""`promptmill submit`: prompts from arguments, a file or a pipe become a batch."""

from __future__ import annotations

import json
import re
from typing import TYPE_CHECKING, Annotated, Any, NoReturn

import typer

from promptmill.cli.commands.watch import follow, left_running, tell_ending
from promptmill.cli.input.file_options import (
    Column,
    Delimiter,
    Encoding,
    File,
    Format,
    IdColumn,
    ImageColumn,
    Keep,
    Limit,
    Shuffle,
    SystemColumn,
    TemplateText,
    choice_of,
)
from promptmill.cli.input.limit_option import finite, number_or_auto
from promptmill.cli.input.pairs import json_or_text, pairs
from promptmill.cli.input.prompts import PromptSource, first_of, open_source, refuse, sending_of
from promptmill.cli.output import exit_codes
from promptmill.cli.output.mode import mode
from promptmill.cli.output.terminal import hint, print_json, print_one, say, warn
from promptmill.cli.service.completion import complete_model
from promptmill.cli.service.connection import DEFAULT_URL, Url, command_for, connected
from promptmill.display.texts import duration, numbers
from promptmill.prompts.schemas import schema_of
from promptmill.rows import UnreadableInput

if TYPE_CHECKING:
    from promptmill.client import AcceptedBatch, Batch, BatchFields, DryRun, FieldError, Promptmill

_INPUT = "Input"
_LIMITS = "Limits"
_MODEL = "Model"


def submit(
    prompts: Annotated[
        list[str] | None,
        typer.Argument(help="The prompts themselves, each in quotes.", show_default=False),
    ] = None,
    *,
    file: File = None,
    input_format: Format = None,
    encoding: Encoding = None,
    delimiter: Delimiter = None,
    column: Column = None,
    template: TemplateText = None,
    id_column: IdColumn = None,
    system_column: SystemColumn = None,
    image_column: ImageColumn = None,
    keep: Keep = None,
    limit: Limit = None,
    shuffle: Shuffle = None,
    preview: Annotated[
        int | None,
        typer.Option(
            metavar="N",
            min=1,
            help="Print the first so many prompts as they would be sent, and submit nothing.",
            rich_help_panel=_INPUT,
        ),
    ] = None,
    model: Annotated[
        str | None,
        typer.Option(
            autocompletion=complete_model,
            help="The model; if not given, the service's default.",
            rich_help_panel=_MODEL,
        ),
    ] = None,
    system: Annotated[
        str | None,
        typer.Option(help="System message for every prompt.", rich_help_panel=_MODEL),
    ] = None,
    embed: Annotated[
        bool,
        typer.Option(
            "--embed", help="Make a vector of each prompt, not an answer.", rich_help_panel=_MODEL
        ),
    ] = False,
    dimensions: Annotated[
        int | None,
        typer.Option(help="Numbers of a vector, with --embed.", rich_help_panel=_MODEL),
    ] = None,
    schema: Annotated[
        str | None,
        typer.Option(
            metavar="FIELDS|FILE",
            help="Have answers in JSON with these fields: 'name, age int' (str, int, float, bool;"
            " behind a colon a description), or a JSON Schema in a file, such as person.json.",
            rich_help_panel=_MODEL,
        ),
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
        str | None,
        typer.Option(
            metavar="N|auto",
            help="Most prompts of this batch running at one moment; auto: as many as bring more"
            " throughput. Default: 5.",
            rich_help_panel=_LIMITS,
        ),
    ] = None,
    rate_limit_delay: Annotated[
        float | None,
        typer.Option(
            callback=finite,
            metavar="SECONDS",
            help="At least so long between two starts. Default: 0.1.",
            rich_help_panel=_LIMITS,
        ),
    ] = None,
    timeout_s: Annotated[
        float | None,
        typer.Option(
            callback=finite,
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
    expires_in_s: Annotated[
        float | None,
        typer.Option(
            callback=finite,
            metavar="SECONDS",
            help="What has no answer by then ends as expired. Default: never.",
            rich_help_panel=_LIMITS,
        ),
    ] = None,
    max_failures: Annotated[
        str | None,
        typer.Option(
            metavar="NUMBER|SHARE",
            help="Stop the batch when more prompts than that have failed, such as 25 or 20%."
            " Default: never.",
            rich_help_panel=_LIMITS,
        ),
    ] = None,
    fail_on: Annotated[
        list[str] | None,
        typer.Option(
            metavar="DEFECT",
            help="A defect that fails a prompt: prompt_truncated, truncated, empty, invalid_json or"
            " schema_mismatch. Repeat it for several. Default: the last three.",
            rich_help_panel=_LIMITS,
        ),
    ] = None,
    auto_pull: Annotated[
        bool,
        typer.Option(
            "--auto-pull",
            help="Have models that no host has pulled first; no prompt starts before that.",
            rich_help_panel=_MODEL,
        ),
    ] = False,
    label: Annotated[
        str | None,
        typer.Option(
            metavar="TEXT",
            help="What to call the batch; the label goes wherever a command takes an id.",
        ),
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
    once: Annotated[
        bool,
        typer.Option(
            "--once",
            help="Submitting the same prompts with the same options again gives the same batch"
            " again, and asks nothing twice.",
        ),
    ] = False,
    stream: Annotated[
        bool | None,
        typer.Option(
            "--stream/--no-stream",
            help="Send the prompts as they are read, for any number of them. If not given, 2 MiB"
            " and more are sent so.",
            show_default=False,
            rich_help_panel=_INPUT,
        ),
    ] = None,
    dry_run: Annotated[
        bool,
        typer.Option("--dry-run", help="Check everything, the models too, and submit nothing."),
    ] = False,
    wait: Annotated[
        bool, typer.Option("--wait", help="Stay until the batch has ended, without a display.")
    ] = False,
    watch: Annotated[
        bool, typer.Option("--watch", help="Stay until the batch has ended, and show progress.")
    ] = False,
    url: Url = DEFAULT_URL,
) -> None:
    """Submit a batch of prompts; its id, and nothing else, goes to stdout."""
    if dry_run and (wait or watch):
        raise typer.BadParameter("--dry-run submits nothing that could be waited for")
    if not (idempotency_key or "").isprintable() or not (idempotency_key or "").isascii():
        raise typer.BadParameter("--idempotency-key must have ASCII characters only")
    if once and idempotency_key is not None:
        raise typer.BadParameter("give either --once or --idempotency-key, not both")
    choice = choice_of(
        file_format=input_format,
        encoding=encoding,
        delimiter=delimiter,
        column=column,
        template=template,
        id_column=id_column,
        system_column=system_column,
        image_column=image_column,
        keep=keep,
        limit=limit,
        shuffle=shuffle,
    )
    source = open_source(prompts or [], file, choice)
    if preview is not None:
        _print_first(source, preview)
        return
    fields: dict[str, Any] = {
        "model": model,
        "kind": "embed" if embed else None,
        "dimensions": dimensions,
        "system": system,
        "format": None if schema is None else _schema_of(schema),
        "options": pairs("--option", option, json_or_text) or None,
        "max_concurrent": number_or_auto(max_concurrent),
        "rate_limit_delay": rate_limit_delay,
        "timeout_s": timeout_s,
        "max_attempts": max_attempts,
        "priority": priority,
        "expires_in_s": expires_in_s,
        "max_failures": _count_or_share(max_failures),
        "fail_on": fail_on or None,
        "auto_pull": auto_pull or None,
        "label": label,
        "metadata": pairs("--metadata", metadata, str) or None,
    }

    def place_of(error: FieldError) -> str | None:
        found = re.match(r"/prompts/(\d+)(/.*)?$", error.pointer)
        place = source.place_of(int(found[1])) if found else None
        return f"{place}{found[2] or ''}" if found and place else None

    sending = sending_of(source, stream=stream)
    if once and sending.is_streamed and source.is_read_once:
        raise typer.BadParameter(
            "--once reads the prompts twice, and a pipe of this size cannot be"
        )
    given = _with_those_of_the_file(fields, source.batch_fields)
    with connected(url, place_of=place_of) as client:
        if dry_run:
            dry = client.dry_run(sending.prompts, **given)
            source.tell_left_out()
            _tell_dry_run(dry)
            return
        send = client.submit_stream if sending.is_streamed else client.submit
        batch = send(sending.prompts, idempotency_key=idempotency_key, once=once, **given)
        source.tell_left_out()
        _tell_unchecked(batch)
        if not mode().as_json or not (wait or watch):
            print_one(batch)
        if wait or watch:
            _stay(client, batch.id, url, is_shown=watch)
    _hint(batch, url)


def _stay(client: Promptmill, batch_id: str, url: str, *, is_shown: bool) -> NoReturn:
    """Wait until the batch has ended.

    Raises:
        typer.Exit: Always, with the status of the batch's outcome.
    """
    with left_running(batch_id, url):
        ended = follow(client, batch_id, url) if is_shown else client.wait(batch_id)
    tell_ending(ended, url)
    if mode().as_json:
        print_json(ended)
    raise typer.Exit(exit_codes.SUCCESS if ended.all_succeeded else exit_codes.NOT_ALL_SUCCEEDED)


def _print_first(source: PromptSource, count: int) -> None:
    """Print prompts as lines of JSON; of images only their sizes."""
    for prompt in first_of(source, count):
        if isinstance(prompt, dict) and "images" in prompt:
            prompt["images"] = [f"{len(image)} characters of base64" for image in prompt["images"]]
        typer.echo(json.dumps(prompt, ensure_ascii=False))
    source.tell_left_out()


def _with_those_of_the_file(fields: dict[str, Any], found: dict[str, Any]) -> BatchFields:
    """Combine the options with the fields of the file, which apply where no option was given."""
    given = {name: value for name, value in fields.items() if value is not None}
    if "options" in given and isinstance(found.get("options"), dict):
        given["options"] = {**found["options"], **given["options"]}
    told = {name: value for name, value in found.items() if value is not None}
    return {**told, **given}  # pyright: ignore[reportReturnType] - the service judges the names


def _schema_of(text: str) -> dict[str, Any]:
    try:
        return schema_of(text)
    except UnreadableInput as error:
        refuse("cannot use --schema", *error.faults)


def _count_or_share(text: str | None) -> int | str | None:
    """Pass on texts that are not numbers; the service checks them."""
    return int(text) if text is not None and re.fullmatch(r"[0-9]{1,18}", text) else text


def _tell_dry_run(dry: DryRun) -> None:
    if mode().as_json:
        print_json(dry)
        return
    count = dry.prompts
    typer.echo(
        f"{count} prompt{'s' if count != 1 else ''} would be accepted, for {', '.join(dry.models)};"
        f" their starts take {duration(dry.at_least_s)} at least."
    )
    _tell_unchecked(dry)


def _tell_unchecked(told: AcceptedBatch | DryRun) -> None:
    for sentence in told.unchecked:
        warn(sentence)


def _hint(batch: Batch, url: str) -> None:
    count = batch.counts.total
    counted = f"{count} prompt{'s' if count != 1 else ''}"
    told = f"{counted} accepted, for {batch.model}"
    if batch.is_replay:
        told = f"Submitted before, and nothing is asked again: {batch.status}, {numbers(batch)}"
    say(f"{told}.", style="dim")
    hint(command_for(f"watch {batch.id}", url), "shows how it goes on")
    hint(command_for(f"results {batch.id}", url), "shows the answers")
