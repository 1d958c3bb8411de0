"""`promptmill demo`: demonstration of the main job; implemented in `cli.service.demonstration`."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated

import typer


def demo(
    prompts: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE",
            help="Prompts to run, as `submit --file` takes them; if not given, 40 questions of"
            " GSM8K.",
        ),
    ] = None,
    limit: Annotated[
        int | None, typer.Option(min=1, help="Run only the first so many of them.")
    ] = None,
    *,
    keep: Annotated[
        bool | None,
        typer.Option(
            "--keep/--no-keep",
            help="Leave the service running until Ctrl-C; on a terminal it does so unless told.",
        ),
    ] = None,
) -> None:
    """See it work: start a service of its own, run a batch on it, show the answers.

    Uses the Ollama at OLLAMA_HOST if it answers and has a model, otherwise a built-in simulator.
    """
    from promptmill.cli.service.demonstration import demonstrate  # noqa: PLC0415 - slow to load

    stays = sys.stdout.isatty() if keep is None else keep
    demonstrate(prompts_file=prompts, limit=limit, keep=stays)
