"""Implementation of `promptmill doctor`: runs all checks, prints findings, sets the exit status."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Final

import typer
from rich.table import Table
from rich.text import Text

from promptmill import diagnosis
from promptmill.cli.output import exit_codes
from promptmill.cli.output.mode import mode
from promptmill.cli.output.terminal import out, print_json
from promptmill.diagnosis import Finding, Level, check_variables
from promptmill.display.texts import one_line
from promptmill.settings import SettingsError, load_settings

_STYLES: Final = {Level.OK: "green", Level.NOTE: "", Level.WARNING: "yellow", Level.FAILURE: "red"}


def diagnose(*, database_url: str | None, probe: bool) -> None:
    """Run all checks.

    Raises:
        typer.Exit: A finding is not ok; the status gives the severity.
    """
    try:
        settings = load_settings(database_url=database_url)
    except SettingsError as error:
        wrong = [Finding("settings", Level.FAILURE, line) for line in str(error).splitlines()]
        findings: Sequence[Finding] = [*check_variables(), *wrong]
    else:
        findings = asyncio.run(diagnosis.diagnose(settings, probe=probe))
    if mode().as_json:
        for finding in findings:
            print_json(finding.document())
    else:
        _print(findings)
    status = _status(findings)
    if status:
        raise typer.Exit(status)


def _print(findings: Sequence[Finding]) -> None:
    table = Table(box=None, show_header=False)
    for _ in range(3):
        table.add_column(overflow="fold")
    for finding in findings:
        told = one_line(f"{finding.told} {finding.advice}".strip(), 1000)
        table.add_row(
            finding.area, Text(finding.level.value, style=_STYLES[finding.level]), Text(told)
        )
    out().print(table)


def _status(findings: Sequence[Finding]) -> int:
    reached = {finding.area for finding in findings if finding.is_contact}
    levels = {finding.level for finding in findings}
    if Level.FAILURE in levels:
        is_anything_there = bool(reached & {"database", "hosts"})
        is_asked = any(finding.area == "hosts" for finding in findings)
        if is_asked and not is_anything_there:
            return exit_codes.UNREACHABLE
        return exit_codes.REFUSED
    return exit_codes.NOT_ALL_SUCCEEDED if Level.WARNING in levels else exit_codes.SUCCESS
