"""The figures of a benchmark on terminals of all widths, with other people's texts in them."""

from __future__ import annotations

import io
from collections.abc import Iterable
from typing import Any

import pytest
from rich.console import Console

from promptmill.cli.bench.table import (
    FLAG_TEXTS,
    Figures,
    comparison_of,
    failures_of,
    legend_of,
    models_side_by_side,
    number,
    print_all,
    results_of,
)
from promptmill.client import Benchmark, BenchmarkComparison
from promptmill.domain.benchmarks.records import Flag
from tests.cli.pretended_benchmarks import benchmark, compared, comparison, level, result

EVIL = "[bold red]evil[/bold red]\x1b[2J:8b"
"""As a model might be called by somebody who wants to steer the terminal."""


def record(*results: dict[str, Any], **fields: Any) -> Benchmark:
    return Benchmark.model_validate(benchmark("completed", *results, **fields))


def printed(parts: Iterable[Figures], *, width: int = 160, color: bool = False) -> str:
    written = io.StringIO()
    system = "standard" if color else None
    console = Console(
        file=written, force_terminal=True, width=width, color_system=system, markup=False
    )
    print_all(console, parts)
    return written.getvalue()


def test_each_model_prompt_and_level_has_a_row() -> None:
    found = record(
        result("a", level(0.5), level(0.6, concurrency=2), level(0.7, prompt_index=1)),
        result("b", level(1.0)),
        prompts=["Why?", "How?"],
    )

    (figures,) = results_of(found)

    assert [[str(cell) for cell in row[:3]] for row in figures.rows] == [
        ["a", "0", "1"],
        ["a", "0", "2"],
        ["a", "1", "1"],
        ["b", "0", "1"],
    ]


def test_what_is_not_known_is_a_dash_and_never_a_zero() -> None:
    (figures,) = results_of(record(result("a", level(None, flags=[]))))

    assert [str(cell) for cell in figures.rows[0]] == [
        *("a", "1", "-", "-", "-", "-", "-", "-", "0/3", "-"),
    ]


def test_goodput_is_shown_where_there_is_an_slo() -> None:
    slo = {"latency_s": 1.0, "ttft_s": None, "tpot_s": None}

    (figures,) = results_of(record(result("a", level(goodput_req_s=1.5)), slo=slo))

    assert "good\nreq/s" in figures.heads
    assert "1.50" in [str(cell) for cell in figures.rows[0]]


def test_cold_loads_have_a_table_of_their_own() -> None:
    cold = {"load_s": 2.5, "ttft_s": 2.75, "latency_s": 3.0, "error": None}

    _, figures = results_of(record(result("a", cold_load=cold), result("b")))

    assert [[str(cell) for cell in row] for row in figures.rows] == [
        ["a", "2.50", "2.75", "3.00", "-"]
    ]


def test_failures_are_told_by_model() -> None:
    broken = result("a", level(errors={"timeout": 2, "server_error": 1}))
    missing = result("b", error="model 'b' not found", error_code="model_not_found")

    assert [str(line) for line in failures_of(record(broken, missing, result("c")))] == [
        "a: 2 x timeout, 1 x server_error",
        "b: model_not_found: model 'b' not found",
    ]


@pytest.mark.parametrize("width", [200, 120, 100, 80, 60, 40])
def test_no_figure_is_torn_apart_however_narrow_the_terminal_is(width: int) -> None:
    found = record(result("a-model-with-a-rather-long-name:70b-instruct-q4_K_M", level(0.5)))
    told = BenchmarkComparison.model_validate(comparison(compared()))

    shown = printed([*results_of(found), *comparison_of(told)], width=width)

    assert all(len(line) <= width for line in shown.splitlines())
    flat = " ".join(shown.split())
    for figure in ("0.500", "± 0.050", "0.125", "3/3", "1.200", "too_few_runs", "slower"):
        assert figure in flat


def test_a_wide_terminal_has_a_table_and_a_narrow_one_paragraphs() -> None:
    found = record()

    assert "┃" in printed(results_of(found), width=120)
    assert "┃" not in printed(results_of(found), width=60)
    assert "latency ± sd, s: 0.500 ± 0.050" in printed(results_of(found), width=60)


@pytest.mark.parametrize("width", [200, 60])
def test_names_and_texts_of_others_are_shown_as_they_are_and_steer_nothing(width: int) -> None:
    failed = result(EVIL, level(0.5), error=EVIL, error_code="other")
    told = comparison(
        compared(model=EVIL, baseline_model=f"{EVIL}2"),
        not_comparable=[
            {"model": EVIL, "prompt_index": 0, "concurrency": 1, "reason": EVIL},
        ],
        differences=[{"what": EVIL, "base": EVIL, "target": EVIL}],
    )
    found = record(failed, result("other"), prompts=[EVIL, "b"])
    legend = legend_of(found)
    side_by_side = models_side_by_side(found)
    assert legend is not None
    assert side_by_side is not None

    console = Console(file=io.StringIO(), record=True, width=width, color_system=None, markup=False)
    print_all(
        console,
        [
            *results_of(found),
            side_by_side,
            *comparison_of(BenchmarkComparison.model_validate(told)),
        ],
    )
    for line in failures_of(found):
        console.print(line)
    console.print(legend)
    shown = console.export_text()

    assert "\x1b" not in shown
    assert "[bold red]evil[/bold red]\\x1b[2J:8b" in shown


def test_a_verdict_is_coloured_and_readable_without_colour() -> None:
    told = BenchmarkComparison.model_validate(
        comparison(compared("slower"), compared("faster", metric="ttft_s"))
    )

    coloured = printed(comparison_of(told), color=True)

    assert "\x1b[1;31mslower" in coloured
    assert "\x1b[32mfaster" in coloured
    assert "slower" in printed(comparison_of(told))


def test_the_legend_explains_the_flags_that_are_shown_and_no_others() -> None:
    found = record(result("a", level(flags=["drift", "new_flag"]), flags=["partial_offload"]))
    console = Console(file=io.StringIO(), record=True, width=100)

    console.print(legend_of(found))
    lines = [line.split(maxsplit=1) for line in console.export_text().splitlines()]

    assert [line[0] for line in lines] == ["partial_offload", "drift", "new_flag"]
    assert lines[1][1].strip() == FLAG_TEXTS["drift"]
    assert legend_of(record(result("a", level(flags=[]), flags=[]))) is None


def test_every_flag_has_a_text() -> None:
    assert set(FLAG_TEXTS) == set(Flag)


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (None, "-"),
        (0.0, "0"),
        (0.000123, "0.000123"),
        (0.0000001, "0.000000"),
        (0.51234, "0.512"),
        (51.234, "51.2"),
        (1468.4, "1468"),
    ],
)
def test_numbers_have_three_significant_digits(value: float | None, text: str) -> None:
    assert number(value) == text


@pytest.mark.parametrize(
    ("mean", "stddev", "text"),
    [
        (1.1712, 0.0042, "1.171 ± 0.004"),
        (1.1712, 0.31, "1.17 ± 0.31"),
        (0.0252, 0.0030, "0.0252 ± 0.0030"),
        (312.4, 0.00002, "312.40000 ± 0.00002"),
        (0.5, 0.0, "0.500"),
        (0.5, None, "0.500"),
    ],
)
def test_a_spread_is_written_so_that_it_is_no_zero(
    mean: float, stddev: float | None, text: str
) -> None:
    found = record(result("a", level() | {"latency_s": {"n": 3, "mean": mean, "stddev": stddev}}))

    (figures,) = results_of(found)

    assert figures.rows[0][2] == text
