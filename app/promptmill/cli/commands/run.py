"""`promptmill run`: ask a model, and print the answers; implemented in `cli.service.asking`."""

from __future__ import annotations

from typing import Annotated, Any

import typer

from promptmill.cli.input.pairs import json_or_text, pairs
from promptmill.cli.input.prompts import Choice, open_source
from promptmill.cli.service.completion import complete_model
from promptmill.cli.service.connection import DEFAULT_URL, Url


def run(
    model: Annotated[
        str,
        typer.Argument(
            metavar="MODEL",
            help="The model to ask.",
            show_default=False,
            autocompletion=complete_model,
        ),
    ],
    prompts: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="PROMPT...",
            help="What to ask, each in quotes; if not given, the lines of stdin.",
            show_default=False,
        ),
    ] = None,
    *,
    system: Annotated[str | None, typer.Option(help="System message for every prompt.")] = None,
    option: Annotated[
        list[str] | None,
        typer.Option(
            metavar="NAME=VALUE",
            help="An option of Ollama, such as temperature=0; VALUE is JSON, or else a text."
            " Can be given again.",
        ),
    ] = None,
    auto_pull: Annotated[
        bool, typer.Option("--auto-pull", help="Have the model pulled first if no host has it.")
    ] = False,
    url: Url = DEFAULT_URL,
) -> None:
    """Ask a model, and print the answers in the order of the prompts.

    Where no service answers, one is started on the usual database, and stopped at the end.
    """
    from promptmill.cli.service.asking import ask  # noqa: PLC0415 - slow to load

    fields: dict[str, Any] = {
        "model": model,
        "system": system,
        "options": pairs("--option", option, json_or_text) or None,
        "auto_pull": auto_pull or None,
    }
    given = {name: value for name, value in fields.items() if value is not None}
    ask(url, open_source(prompts or [], None, Choice()), given)
