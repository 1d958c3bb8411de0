"""The reports of a benchmark: what they look like, what they never say, what they withstand."""

from __future__ import annotations

import csv
import io
import re
from dataclasses import replace
from functools import cache
from html.parser import HTMLParser
from itertools import pairwise
from pathlib import Path

import pytest
from markdown_it import MarkdownIt

from promptmill.domain.benchmarks.records import BenchmarkDraft, Flag
from promptmill.domain.benchmarks.statistics import distribution
from promptmill.domain.benchmarks.summary import MEASURES, summarise
from promptmill.reports import ReportFormat, figures, render
from promptmill.reports.charts import drawing
from promptmill.reports.charts.runs import charts
from promptmill.reports.charts.svg import Figure, draw
from promptmill.reports.markdown import code_span
from promptmill.reports.wording import FLAG_TEXTS, number, one_line
from tests.reports.example import (
    DRAFT,
    GEMMA,
    HOSTILE,
    MISSING,
    QWEN,
    benchmark_of,
    report,
    report_of_nothing,
    runs_of,
)
from tests.reports.golden import path_of, written


@cache
def example(form: ReportFormat) -> str:
    return written(form).decode()


@pytest.fixture
def rows() -> list[dict[str, str]]:
    return list(csv.DictReader(io.StringIO(example(ReportFormat.CSV), newline="")))


@pytest.fixture
def benchstat() -> str:
    return example(ReportFormat.BENCHSTAT)


@pytest.fixture
def markdown() -> str:
    return example(ReportFormat.MARKDOWN)


@pytest.fixture
def html() -> str:
    return example(ReportFormat.HTML)


@pytest.mark.parametrize("form", ReportFormat)
def test_the_example_is_written_as_the_golden_file_says(form) -> None:
    """`python -m tests.reports.golden` writes them anew; look at the difference."""
    assert example(form) == path_of(form).read_bytes().decode()


@pytest.mark.parametrize("form", ReportFormat)
def test_a_benchmark_that_has_not_begun_has_a_report_too(form) -> None:
    text = render(report_of_nothing(), form).decode()
    assert QWEN in text
    assert "Plotly" not in text


def test_every_flag_has_its_line() -> None:
    assert set(FLAG_TEXTS) == set(Flag)
    assert all("\n" not in text for text in FLAG_TEXTS.values())


def test_exactly_the_measures_that_exist_have_a_name() -> None:
    assert set(figures.MEASURE_NAMES) == set(MEASURES)


def test_every_form_has_a_media_type_and_an_extension() -> None:
    assert [form.extension for form in ReportFormat] == ["html", "md", "csv", "bench"]
    assert all(form.media_type.startswith("text/") for form in ReportFormat)


# What is not known.


def test_a_missing_value_is_an_empty_cell(rows) -> None:
    of_qwen, _, of_gemma, _, of_missing = rows
    assert of_gemma["prefill_tokens_per_sec_n"] == "0"
    assert of_gemma["prefill_tokens_per_sec_mean"] == of_gemma["model_digest"] == ""
    assert of_qwen["latency_s_p90"] == of_qwen["latency_s_p99"] == ""
    assert float(of_qwen["latency_s_p50"]) > 1
    assert of_missing["latency_s_n"] == of_missing["latency_s_mean"] == of_missing["n_failed"] == ""
    assert of_missing["error_code"] == "model_not_found"


@pytest.mark.parametrize("form", [ReportFormat.MARKDOWN, ReportFormat.HTML])
def test_a_missing_value_is_a_dash_and_explained(form) -> None:
    text = example(form)
    cells = [re.sub("<[^>]*>", "", cell) for cell in cells_after(text, "prefill, tok/s")]
    assert "-" in cells
    assert not {"None", "nan", "null", ""} & set(cells)
    assert "It is never a zero." in text


def cells_after(text: str, first: str) -> list[str]:
    """The cells of the rows that begin with a word."""
    if text.startswith("<!DOCTYPE"):
        rows = re.findall(rf'<tr><th scope="row">\s*{first}\s*</th>(.*?)</tr>', text, re.DOTALL)
        return [
            cell.strip() for row in rows for cell in re.findall("<td.*?>(.*?)</td>", row, re.DOTALL)
        ]
    rows = re.findall(rf"^\| {first} \|(.*)\|$", text, re.MULTILINE)
    return [cell.strip() for row in rows for cell in row.split("|")]


def test_a_number_has_four_digits_and_nothing_is_no_zero() -> None:
    assert [number(value) for value in (None, 0, 0.0, 3, 1.23456, 0.0123456, 415.26, 12345.6)] == [
        "-", "0", "0", "3", "1.235", "0.01235", "415.3", "12346",
    ]  # fmt: skip


# Texts of other people.


def test_nothing_in_the_markdown_is_markup_but_our_own(markdown) -> None:
    tokens = MarkdownIt("gfm-like", {"linkify": False}).parse(markdown)
    inline = [child for token in tokens for child in token.children or []]
    kinds = {token.type for token in [*tokens, *inline]}
    assert not kinds & {"html_block", "html_inline", "link_open", "image", "em_open"}
    assert HOSTILE in [child.content for child in inline if child.type == "code_inline"]


def test_every_table_of_the_markdown_is_one_with_as_many_cells_in_each_row(markdown) -> None:
    tokens = MarkdownIt("commonmark").enable("table").parse(markdown)
    blocks = re.findall(r"(?:^\|.*\|\n)+", markdown, re.MULTILINE)
    assert len(blocks) == sum(token.type == "table_open" for token in tokens)
    for block in blocks:
        assert len({len(re.findall(r"(?<!\\)\|", row)) for row in block.splitlines()}) == 1


@pytest.mark.parametrize("text", ["`", "``a`", "a`b", "a``b`c", "x" * 400, " a\n\tb\x1b[31m\u202e"])
def test_a_code_span_holds_any_text_in_one_line(text) -> None:
    (paragraph,) = MarkdownIt("commonmark").parse(f"x {code_span(text)} y")[1:2]
    assert [child.content for child in paragraph.children] == ["x ", one_line(text), " y"]


def test_one_line_has_no_character_that_acts_on_what_is_around() -> None:
    assert one_line("a\x00b\x1b[0m \u202ec\n d\ud800") == "a\ufffdb\ufffd[0m \ufffdc d\ufffd"
    assert one_line("ab" * 1000, 6) == "ababab… (2000 characters)"


@pytest.mark.parametrize("first", ["=", "+", "-", "@", "\t=", "\r="])
def test_a_text_that_begins_like_a_formula_is_made_a_text_in_csv(first) -> None:
    draft = replace(DRAFT, label=f"{first}1+1")
    text = render(report(draft), ReportFormat.CSV).decode()
    rows = list(csv.reader(io.StringIO(text, newline="")))
    assert {row[1] for row in rows[1:]} == {f"'{first}1+1"}
    assert text.count("\r\n") >= len(rows)


def test_csv_has_a_row_for_each_model_prompt_and_level(rows) -> None:
    places = [(row["model"], row["concurrency"]) for row in rows]
    assert places == [(QWEN, "1"), (QWEN, "4"), (GEMMA, "1"), (GEMMA, "4"), (f"'{MISSING}", "")]
    assert rows[0]["prompt"].startswith("'=HYPERLINK(1) Write")
    assert rows[1]["errors"] == "incomplete=1 timeout=1"
    assert "partial_offload" in rows[0]["flags"].split()


# benchstat.


def lines_of(text: str) -> list[list[str]]:
    return [line.split() for line in text.splitlines() if not line.startswith("#")]


def test_every_line_is_one_that_benchstat_reads(benchstat) -> None:
    for name, iterations, *pairs in lines_of(benchstat):
        assert re.fullmatch(r"BenchmarkModel/name=[^/\s]+/concurrency=[14]/step=\w+", name)
        assert iterations == "1"
        assert all(float(value) >= 0 for value in pairs[::2])
        assert set(pairs[1::2]) <= {
            "ns/op", "ns/token", "token/sec", "processed-prompt-token", "cached-prompt-token",
        }  # fmt: skip


def test_every_good_run_has_a_line_and_the_others_are_told_of(benchstat) -> None:
    totals = [line for line in lines_of(benchstat) if line[0].endswith("step=total")]
    # Of 30 measured runs of each model two failed and one loaded the model anew.
    assert len(totals) == 2 * 27
    assert benchstat.count("# Left out, failed: 2 (incomplete 1, timeout 1)") == 2
    assert benchstat.count("# Left out, the model was loaded within them: 1") == 2
    generated = [line for line in lines_of(benchstat) if "/step=generate" in line[0]]
    assert len(generated) == 2 * 26
    # How much of the other model's prompts was cached is not known.
    names = {line[0] for line in lines_of(benchstat) if "/step=prefill" in line[0]}
    assert names == {f"BenchmarkModel/name={QWEN}/concurrency={n}/step=prefill" for n in (1, 4)}


def test_the_names_are_those_of_ollamas_tool_when_there_is_one_prompt_and_one_request() -> None:
    draft = BenchmarkDraft(models=(QWEN,), num_runs=1)
    lines = lines_of(render(alone(draft), ReportFormat.BENCHSTAT).decode())
    assert [line[0].removeprefix("BenchmarkModel/name=qwen3:8b/step=") for line in lines] == [
        "prefill", "generate", "ttft", "load", "total",
    ]  # fmt: skip


def test_prompts_and_levels_are_in_the_names_when_there_are_several() -> None:
    draft = BenchmarkDraft(models=(QWEN,), num_runs=1, prompts=("a", "b"), concurrency=(1, 2))
    names = {line[0] for line in lines_of(render(alone(draft), ReportFormat.BENCHSTAT).decode())}
    assert "BenchmarkModel/name=qwen3:8b/prompt=1/concurrency=2/step=ttft" in names


def alone(draft: BenchmarkDraft):
    """The report of a benchmark of one model that is compared with nothing."""
    runs = runs_of(draft)
    return replace(
        report_of_nothing(),
        benchmark=benchmark_of(draft, runs),
        results={QWEN: summarise(draft, QWEN, runs)},
        runs=runs,
    )


# HTML.


class Page(HTMLParser):
    """Elements that are open, headings, and everything that would be fetched or run."""

    VOID = frozenset({"meta", "link", "img", "br", "hr", "input"})

    def handle_startendtag(self, tag, attrs) -> None:
        self.tags.add(tag)
        self.attributes |= {name for name, _ in attrs}

    def __init__(self, text: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.headings: list[int] = []
        self.ids: list[str] = []
        self.tags: set[str] = set()
        self.attributes: set[str] = set()
        self.heads: list[dict[str, str | None]] = []
        self.feed(text)
        self.close()

    def handle_starttag(self, tag, attrs) -> None:
        self.tags.add(tag)
        self.attributes |= {name for name, _ in attrs}
        self.ids += [value for name, value in attrs if name == "id"]
        if tag == "th":
            self.heads.append(dict(attrs))
        if re.fullmatch("h[1-6]", tag):
            self.headings.append(int(tag[1]))
        if tag not in self.VOID:
            self.open.append(tag)

    def handle_endtag(self, tag) -> None:
        assert self.open.pop() == tag


def test_the_page_is_well_formed_and_its_headings_are_in_order(html) -> None:
    page = Page(html)
    assert page.open == []
    assert page.headings[0] == 1
    assert page.headings.count(1) == 1
    assert all(
        after - before <= 1 for before, after in zip(page.headings, page.headings[1:], strict=False)
    )
    assert len(page.ids) == len(set(page.ids))
    assert all(head.get("scope") in {"row", "col"} for head in page.heads)
    assert '<html lang="en">' in html


def test_nothing_in_the_page_is_markup_but_our_own(html) -> None:
    page = Page(html)
    assert not page.tags & {"img", "b", "i", "u", "link", "iframe"}
    assert not page.attributes & {"src", "onerror", "onload"}
    assert "script" not in page.tags


def test_the_policy_of_the_page_forbids_every_request(html) -> None:
    policy = re.search(r'Content-Security-Policy" content="([^"]*)"', html)[1]
    assert policy.startswith("default-src 'none';")
    assert "http" not in policy


def test_a_report_is_small_even_with_many_runs() -> None:
    draft = BenchmarkDraft(models=(QWEN,), num_runs=10_000, warmup_runs=0)
    assert len(render(alone(draft), ReportFormat.HTML)) < 1_500_000


def test_no_interval_of_a_time_is_below_zero() -> None:
    found = distribution([0.01, 0.9])
    assert found.ci95.low == 0
    assert distribution([-1.0, 1.0]).ci95.low < 0


def test_nothing_is_drawn_left_of_zero() -> None:
    trace = {
        "type": "scatter",
        "mode": "markers",
        "x": [1.0],
        "y": [0],
        "marker": {"color": "#000"},
        "error_x": {"array": [1.0], "arrayminus": [5.0]},
    }
    layout = drawing.rows_layout(drawing.axis("s", rangemode="tozero"), ["row"])
    svg = str(draw(Figure([trace], layout), height=200, title="x"))
    ends = [float(x) for x in re.findall(r"M([-0-9.]+) [-0-9.]+H", svg)]
    assert ends == [6.0]


def test_of_too_many_dots_evenly_chosen_ones_are_drawn_and_it_is_told() -> None:
    draft = BenchmarkDraft(models=(QWEN,), num_runs=drawing.MOST_DOTS + 1000, warmup_runs=0)
    html = render(alone(draft), ReportFormat.HTML).decode()
    assert html.count("Drawn are 5,000 of 6,000 runs, evenly chosen.") == 2
    chosen = drawing.evenly(range(6000), 5000)
    assert (len(chosen), chosen[0], chosen[-1]) == (5000, 0, 5998)
    assert max(after - before for before, after in pairwise(chosen)) == 2


# The page for users.

PAGE = (Path(__file__).parents[2] / "docs" / "benchmark-reports.md").read_text()


def test_exactly_the_flags_that_exist_have_a_row_in_the_docs() -> None:
    table = PAGE.partition("\n## Flags\n")[2]
    assert set(re.findall(r"^\| `(\w+)` \|", table, re.MULTILINE)) == set(Flag)


def test_every_chart_and_every_form_is_in_the_docs() -> None:
    titles = [chart.title for chart in charts(report())]
    assert len(titles) == 8
    told = PAGE.lower()
    assert [title for title in titles if title.lower() not in told] == []
    assert all(
        f"| `{form}` | `{form.media_type.partition(';')[0]}` |" in PAGE for form in ReportFormat
    )
