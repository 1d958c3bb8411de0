"""`promptmill models`: what the service's Ollama hosts have installed."""

from __future__ import annotations

from typing import TYPE_CHECKING

from rich.table import Table
from rich.text import Text

from promptmill.cli.output.mode import mode
from promptmill.cli.output.terminal import out, print_json, say
from promptmill.cli.service.connection import DEFAULT_URL, Url, connected
from promptmill.display.texts import one_line

if TYPE_CHECKING:
    from promptmill.client import Model


def models(*, url: Url = DEFAULT_URL) -> None:
    """List the installed models, with limits that suit them."""
    with connected(url) as client:
        found = client.models()
    if mode().as_json:
        for model in found:
            print_json(model)
        return
    if not found:
        say("No models; `ollama pull NAME` installs one.")
        return
    table = Table()
    table.add_column("model", overflow="fold")
    table.add_column("size", justify="right", no_wrap=True)
    table.add_column("parameters", justify="right")
    table.add_column("quantization")
    table.add_column("loaded")
    table.add_column("--max-concurrent", justify="right")
    table.add_column("--rate-limit-delay", justify="right")
    for model in found:
        limits = model.recommended
        table.add_row(
            Text(one_line(model.name, 120)),
            "-" if model.size is None else f"{model.size / 1e9:.1f} GB",
            Text(one_line(model.parameter_size or "-", 20)),
            Text(one_line(model.quantization_level or "-", 20)),
            _places(model),
            str(limits.max_concurrent),
            f"{limits.rate_limit_delay:g}",
        )
    out().print(table)


def _places(model: Model) -> str:
    """On how many of its hosts a model is in memory; a plain yes where there is one host."""
    if len(model.hosts) < 2:  # noqa: PLR2004 - one or several
        return "yes" if model.loaded_on else ""
    return f"{len(model.loaded_on)} of {len(model.hosts)}"
