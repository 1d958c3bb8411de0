"""Comparison of a benchmark with its baseline, and the judgement for `--fail-if-slower`."""

from __future__ import annotations

import math
import re
from typing import TYPE_CHECKING, Final

import typer

from promptmill.cli.output.terminal import say

if TYPE_CHECKING:
    from promptmill.client import BenchmarkComparison, ComparedMeasure

_LATENCY: Final = "latency_s"


def share_of(text: str) -> float:
    """Parse `10%` or `0.1` as a share of 1.

    Raises:
        typer.BadParameter: The text is neither, or a number above 1 without the sign.
    """
    found = re.fullmatch(r"\s*([0-9.]+)\s*(%?)\s*", text)
    try:
        value = float(found[1]) if found else math.nan
    except ValueError:
        value = math.nan
    if found is None or math.isnan(value):
        raise typer.BadParameter(f"--fail-if-slower takes a share such as 10% or 0.1, not {text!r}")
    if found[2]:
        return value / 100
    if value > 1:
        raise typer.BadParameter(f"--fail-if-slower {text} is {value * 100:g} %; write {value:g}%")
    return value


def slower_by(comparison: BenchmarkComparison, share: float) -> list[ComparedMeasure]:
    """List latencies that are significantly slower, by more than `share`, worst first."""
    found = [
        each
        for each in _latencies(comparison)
        if each.verdict == "slower" and each.ratio is not None and each.ratio > 1 + share
    ]
    return sorted(found, key=lambda each: -(each.ratio or 0))


def tell_judgement(comparison: BenchmarkComparison, share: float) -> bool:
    """Print what became slower, and what cannot be judged; return whether any latency did."""
    latencies = _latencies(comparison)
    slower = slower_by(comparison, share)
    for each in slower:
        grown = ((each.ratio or 1) - 1) * 100
        say(
            f"slower: {each.model}, prompt {each.prompt_index}, {each.concurrency} in flight:"
            f" latency +{grown:.1f} % (allowed: {share * 100:g} %)",
            style="bold red",
        )
    unsure = sum(each.verdict == "insufficient_data" for each in latencies)
    unsure += len(comparison.not_comparable)
    if unsure:
        places = len(latencies) + len(comparison.not_comparable)
        say(
            f"{unsure} of {places} latencies cannot be judged: too few runs, or nothing to compare"
            " with.",
            style="yellow",
        )
    if not slower:
        say(f"No latency is slower by more than {share * 100:g} % for certain.")
    return bool(slower)


def _latencies(comparison: BenchmarkComparison) -> list[ComparedMeasure]:
    return [each for each in comparison.comparisons if each.metric == _LATENCY]
