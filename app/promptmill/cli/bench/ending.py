"""End of a benchmark on the command line: files, tables, comparison, exit status."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import typer

from promptmill.cli.bench.comparison import tell_judgement
from promptmill.cli.bench.following import tell_ending
from promptmill.cli.bench.outputs import as_json, write_outputs
from promptmill.cli.bench.table import (
    comparison_of,
    failures_of,
    legend_of,
    models_side_by_side,
    print_all,
    results_of,
)
from promptmill.cli.input.prompts import refuse
from promptmill.cli.output import exit_codes
from promptmill.cli.output.terminal import out, say

if TYPE_CHECKING:
    from promptmill.client import Benchmark, BenchmarkComparison, Promptmill


@dataclass(frozen=True, slots=True, kw_only=True)
class Afterwards:
    """Options about the figures of a benchmark."""

    baseline_id: str | None
    """Baseline to compare with; None: the benchmark's own, if any."""
    compare: bool
    """Whether to show the models side by side."""
    most_slower: float | None
    """Share by which a latency may have grown; None: no judgement."""
    outputs: Sequence[Path]
    as_json: bool
    """Whether to print the document instead of tables."""

    @property
    def is_anything(self) -> bool:
        """Whether an option needs the figures; a baseline is stored with the benchmark."""
        return bool(self.compare or self.outputs or self.most_slower is not None)


def finish(client: Promptmill, benchmark: Benchmark, wanted: Afterwards) -> int:
    """Show the figures, and return the exit status.

    Raises:
        typer.Exit: A file cannot be written, or there is no baseline to compare with.
    """
    tell_ending(benchmark)
    # Files are written first, so that a failing comparison does not lose the figures.
    write_outputs(client, benchmark, wanted.outputs)
    if wanted.as_json:
        typer.echo(as_json(benchmark))
    else:
        _print_results(benchmark, compare=wanted.compare)
    comparison = _comparison(client, benchmark, wanted)
    is_slower = False
    if comparison is not None:
        if not wanted.as_json:
            print_all(out(), comparison_of(comparison))
        if wanted.most_slower is not None:
            is_slower = tell_judgement(comparison, wanted.most_slower)
    if not benchmark.all_succeeded:
        return exit_codes.NOT_ALL_SUCCEEDED
    return exit_codes.SLOWER if is_slower else exit_codes.SUCCESS


def _print_results(benchmark: Benchmark, *, compare: bool) -> None:
    console = out()
    print_all(console, results_of(benchmark))
    for line in failures_of(benchmark):
        console.print(line)
    legend = legend_of(benchmark)
    if legend is not None:
        console.print(legend)
    if not compare:
        return
    side_by_side = models_side_by_side(benchmark)
    if side_by_side is None:
        say("There are no two models with figures to compare.")
        return
    print_all(console, [side_by_side])
    say("Ratios of means only; the reports of --output have their intervals.", style="dim")


def _comparison(
    client: Promptmill, benchmark: Benchmark, wanted: Afterwards
) -> BenchmarkComparison | None:
    baseline_id = wanted.baseline_id or benchmark.baseline_id
    if baseline_id is None:
        if wanted.most_slower is not None:
            refuse("--fail-if-slower needs --baseline: this benchmark was made without one")
        return None
    if wanted.as_json and wanted.most_slower is None:
        return None
    return client.benchmarks.compare(benchmark.id, baseline_id)
