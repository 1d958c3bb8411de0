"""`promptmill models`: models installed on the service's Ollama hosts."""

from __future__ import annotations

from typing import TYPE_CHECKING

from promptmill.cli.output.lists import print_list
from promptmill.cli.output.mode import mode
from promptmill.cli.output.terminal import print_json, say
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
    limits = [model.recommended for model in found]
    print_list(
        ["model", "size", "parameters", "quantization", "loaded", "at a time", "start each"],
        [
            [
                one_line(model.name, 120),
                "-" if model.size is None else f"{model.size / 1e9:.1f} GB",
                one_line(model.parameter_size, 20),
                one_line(model.quantization_level, 20),
                _places(model),
                str(limit.max_concurrent),
                f"{limit.rate_limit_delay:g} s",
            ]
            for model, limit in zip(found, limits, strict=True)
        ],
    )


def _places(model: Model) -> str:
    """Number of hosts that have the model loaded; a plain yes with one host."""
    if len(model.hosts) < 2:  # noqa: PLR2004 - one or several
        return "yes" if model.loaded_on else ""
    return f"{len(model.loaded_on)} of {len(model.hosts)}"
