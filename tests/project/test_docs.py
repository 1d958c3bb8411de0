"""The pages for users keep up with the code."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import fields
from pathlib import Path

import pytest
import typer

from promptmill.api import build_api
from promptmill.api.schemas.control import BatchUpdate, RetryRequest
from promptmill.api.schemas.requests import BatchRequest
from promptmill.cli import cli
from promptmill.cli.output import exit_codes
from promptmill.domain.benchmarks.significance import Verdict
from promptmill.domain.benchmarks.statistics import Distribution, Method
from promptmill.domain.lifecycle import JobState, TaskState
from promptmill.domain.outcomes import ErrorCode
from promptmill.simulator import PROFILES, FaultKind

DOCS = Path(__file__).parents[2] / "docs"
CLI_PAGE = (DOCS / "cli.md").read_text()
API_PAGE = (DOCS / "http-api.md").read_text()
SIMULATOR_PAGE = (DOCS / "simulator.md").read_text()
STATISTICS_PAGE = (DOCS / "benchmark-statistics.md").read_text()


def commands(command, name: str = "promptmill") -> Iterator[tuple[str, object]]:
    """Every command that does something, with its full name; groups are walked through."""
    for short, inner in getattr(command, "commands", {}).items():
        yield from commands(inner, f"{name} {short}")
    if not hasattr(command, "commands"):
        yield name, command


COMMANDS = dict(commands(typer.main.get_command(cli)))
OPERATIONS = [
    f"{method.upper()} {path}"
    for path, operations in build_api().openapi()["paths"].items()
    for method in operations
]
SHARED = {"--url", "--json", "--quiet", "--verbose"}
"""Options of many commands, which are explained once, at the top of the page."""
EXIT_CODES = [value for name, value in vars(exit_codes).items() if name.isupper()]


def section(page: str, title: str) -> str:
    """The text below a heading, up to the next one of any level."""
    found = re.search(
        rf"^#+ {re.escape(title)}$(.*?)(?=^#+ [^\n]*$|\Z)",
        fences_out(page),
        re.MULTILINE | re.DOTALL,
    )
    return found[1] if found else ""


def fences_out(page: str) -> str:
    """The page with comments of shell examples no longer looking like headings."""
    return re.sub(
        r"^```.*?^```$",
        lambda block: block[0].replace("\n#", "\n #"),
        page,
        flags=re.MULTILINE | re.DOTALL,
    )


def rows(page: str) -> set[str]:
    """What stands in backquotes in the first cell of each row of each table."""
    cells = re.findall(r"^\|([^|]*)\|", page, re.MULTILINE)
    return {word for cell in cells for word in re.findall(r"`([^`]+)`", cell)}


@pytest.mark.parametrize("name", COMMANDS)
def test_every_command_has_a_heading_and_names_all_its_options(name) -> None:
    text = section(CLI_PAGE, name)
    for group in ("promptmill db", "promptmill keys"):
        if name.startswith(f"{group} "):
            text += section(CLI_PAGE, group)
    assert text, "no heading"
    for parameter in COMMANDS[name].params:
        for option in [*parameter.opts, *parameter.secondary_opts]:
            place = section(CLI_PAGE, "Command line") if option in SHARED else text
            if option.startswith("--") and option != "--help":
                assert re.search(rf"{option}(?![\w-])", place), option


@pytest.mark.parametrize("code", EXIT_CODES)
def test_every_exit_code_is_in_the_table_of_exit_codes(code) -> None:
    assert f"\n| {code} |" in section(CLI_PAGE, "Exit codes")


@pytest.mark.parametrize("operation", OPERATIONS)
def test_every_operation_is_in_the_table_of_requests(operation) -> None:
    assert operation in rows(section(API_PAGE, "Conventions"))


@pytest.mark.parametrize("field", BatchUpdate.model_fields)
def test_every_field_that_can_be_changed_is_named(field) -> None:
    assert f"`{field}`" in section(API_PAGE, "PATCH /batches/{batch_id}")


@pytest.mark.parametrize("field", RetryRequest.model_fields)
def test_every_field_of_a_retry_has_a_row(field) -> None:
    assert field in rows(section(API_PAGE, "POST /batches/{batch_id}/retry"))


@pytest.mark.parametrize("field", BatchRequest.model_fields)
def test_every_field_of_a_request_has_a_row(field) -> None:
    assert field in rows(section(API_PAGE, "POST /batches"))


def test_exactly_the_states_that_exist_have_a_row_each() -> None:
    of_batches, _, of_prompts = section(API_PAGE, "States and counts").partition("| prompt |")
    assert rows(of_batches) == set(JobState) - {JobState.RECEIVING}
    assert rows(of_prompts) == set(TaskState)


def test_exactly_the_error_codes_that_exist_have_a_row() -> None:
    assert rows(section(API_PAGE, "A result")) == {"error_code", *ErrorCode}


def test_exactly_the_kinds_of_faults_that_exist_have_a_row() -> None:
    assert rows(section(SIMULATOR_PAGE, "Faults")) == set(FaultKind)


def test_exactly_the_profiles_that_exist_have_a_row() -> None:
    assert rows(section(SIMULATOR_PAGE, "Speed")) == set(PROFILES)


def test_exactly_the_fields_of_a_distribution_have_a_row() -> None:
    named = {field.name for field in fields(Distribution)}
    assert rows(section(STATISTICS_PAGE, "Distributions")) == named


def test_exactly_the_verdicts_that_exist_have_a_row() -> None:
    assert rows(section(STATISTICS_PAGE, "Comparison")) == set(Verdict)


@pytest.mark.parametrize("method", Method)
def test_every_method_of_an_interval_is_explained(method) -> None:
    assert f"`{method}`" in STATISTICS_PAGE


def test_every_test_that_the_page_of_proofs_names_exists() -> None:
    named = set(re.findall(r"`(test_\w+)`", (DOCS / "proof.md").read_text()))
    there = {
        name
        for path in (DOCS.parent / "tests").rglob("test_*.py")
        for name in re.findall(r"def (test_\w+)", path.read_text())
    }
    assert named - there == set()
    assert named
