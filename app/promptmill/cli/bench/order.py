"""Conversion of the options of `promptmill bench` to the fields of a benchmark."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import typer

from promptmill.cli.input.pairs import json_or_text, pairs
from promptmill.cli.input.prompts import Choice, GivenPrompts, PromptSource, open_source, refuse

if TYPE_CHECKING:
    from promptmill.client import Benchmark, BenchmarkFields, FieldError, Promptmill


@dataclass(frozen=True, slots=True, kw_only=True)
class BenchOrder:
    """Benchmark that the options describe."""

    models: Sequence[str]
    source: PromptSource | None
    """Prompts; None leaves them to the service."""
    fields: Mapping[str, Any]
    """Fields of the request; None stands for options that were not given."""

    @property
    def is_empty(self) -> bool:
        """Whether no option was given."""
        given = any(value is not None for value in self.fields.values())
        return not (self.models or self.source or given)

    def create(self, client: Promptmill, *, baseline_id: str | None) -> Benchmark:
        """Create the benchmark.

        Raises:
            typer.Exit: A prompt is more than a text.
        """
        fields = {**self.fields, "baseline_id": baseline_id, "prompts": self._prompts()}
        given: BenchmarkFields = {  # pyright: ignore[reportAssignmentType] - the names are the contract's
            name: value for name, value in fields.items() if value is not None
        }
        return client.benchmarks.create(self.models, **given)

    def place_of(self, error: FieldError) -> str | None:
        """Place of a wrong prompt in the user's input."""
        found = re.match(r"/prompts/(\d+)$", error.pointer)
        if found is None or self.source is None:
            return None
        return self.source.place_of(int(found[1]))

    def _prompts(self) -> list[str] | None:
        if self.source is None:
            return None
        texts: list[str] = []
        for index, prompt in enumerate(self.source):
            text = prompt if isinstance(prompt, str) else _text_of(prompt)
            if text is None:
                refuse(
                    f"{self.source.place_of(index)}: a benchmark asks plain texts; this has more"
                    " than a prompt"
                )
            texts.append(text)
        self.source.tell_left_out()
        return texts


def _text_of(prompt: Mapping[str, Any]) -> str | None:
    """Text of a prompt object without further fields, except an id."""
    text = prompt.get("prompt")
    return text if isinstance(text, str) and set(prompt) <= {"prompt", "id"} else None


def prompts_of(texts: Sequence[str], file: str | None) -> PromptSource | None:
    """Prompts of the options, if any.

    Raises:
        typer.BadParameter: Both options were given.
        typer.Exit: The file cannot be read, or does not have its format.
    """
    if texts and file is not None:
        raise typer.BadParameter("give prompts either with --prompt or with --prompts-file")
    if file is not None:
        return open_source([], file, Choice())
    if texts:
        return GivenPrompts(texts, "--prompt")
    return None


def levels_of(text: str) -> list[int]:
    """Parse `1,2,4` as numbers; the service checks their bounds.

    Raises:
        typer.BadParameter: The text is not a list of whole numbers.
    """
    if not re.fullmatch(r"\s*[0-9]{1,9}\s*(,\s*[0-9]{1,9}\s*)*", text):
        raise typer.BadParameter(f"--concurrency takes numbers such as 1,2,4, not {text!r}")
    return [int(level) for level in text.split(",")]


def options_of(given: Sequence[str] | None, num_predict: int | None) -> dict[str, Any] | None:
    """Ollama's options, if any were given.

    Raises:
        typer.BadParameter: An option is not a pair, or is given twice.
    """
    options = pairs("--option", given, json_or_text)
    if num_predict is not None:
        if "num_predict" in options:
            raise typer.BadParameter("give num_predict either with --num-predict or --option")
        options["num_predict"] = num_predict
    return options or None


def slo_of(**wishes: float | None) -> dict[str, float] | None:
    """Objectives of a good request, if any were given."""
    given = {name: value for name, value in wishes.items() if value is not None}
    return given or None
