"""Files of a benchmark's figures; the extension selects the format."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Final

import typer

from promptmill.cli.commands.results import complete_file
from promptmill.cli.input.prompts import refuse
from promptmill.cli.output.terminal import say

if TYPE_CHECKING:
    from promptmill.client import Benchmark, Promptmill, ReportFormat

_REPORTS: Final[dict[str, ReportFormat]] = {
    ".html": "html",
    ".md": "md",
    ".csv": "csv",
    ".txt": "benchstat",
}
_DOCUMENT: Final = ".json"
_RUNS: Final = ".jsonl"
_ALL: Final = (*_REPORTS, _DOCUMENT, _RUNS)


def checked_outputs(paths: Iterable[Path]) -> list[Path]:
    """Check the files to write before the benchmark starts.

    Raises:
        typer.BadParameter: An extension stands for no format.
        typer.Exit: A folder is missing.
    """
    found = list(paths)
    for path in found:
        if path.suffix.lower() not in _ALL:
            raise typer.BadParameter(
                f"--output takes a file that ends in {', '.join(_ALL)}, not {str(path)!r}"
            )
        if not path.parent.is_dir():
            refuse(f"cannot write {path}: there is no folder {path.parent}")
    return found


def write_outputs(client: Promptmill, benchmark: Benchmark, paths: Iterable[Path]) -> None:
    """Write each file in its format.

    Raises:
        typer.Exit: A file cannot be written.
    """
    for path in paths:
        with complete_file(path) as file:
            for piece in _content(client, benchmark, path.suffix.lower()):
                file.write(piece)
        say(f"Written to {path}.")


def _content(client: Promptmill, benchmark: Benchmark, extension: str) -> Iterable[bytes]:
    if extension == _DOCUMENT:
        return [as_json(benchmark).encode() + b"\n"]
    if extension == _RUNS:
        return client.benchmarks.download_runs(benchmark.id)
    return [client.benchmarks.report(benchmark.id, _REPORTS[extension])]


def as_json(benchmark: Benchmark) -> str:
    """Document of the benchmark, as in the API."""
    return benchmark.model_dump_json(exclude_unset=True)
