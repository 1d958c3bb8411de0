"""How the program loads, and what it says about itself."""

from __future__ import annotations

import subprocess
import sys

import pytest

from tests.cli.pretended import Invoke

SLOW = ("httpx", "pydantic_settings", "sqlalchemy", "alembic", "fastapi", "promptmill.settings")


@pytest.mark.proof
def test_help_loads_nothing_that_only_some_commands_need() -> None:
    program = f"import sys, promptmill.cli; print([name for name in {SLOW} if name in sys.modules])"

    ran = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True
    )

    assert ran.stdout == "[]\n"


def test_the_version_is_printed(invoke: Invoke) -> None:
    result = invoke("--version")

    assert result.exit_code == 0
    assert result.stdout.startswith("promptmill 0.")


def test_without_a_command_there_is_help(invoke: Invoke) -> None:
    result = invoke()

    assert result.exit_code == 2
    assert "promptmill demo" in result.output


@pytest.mark.proof
def test_the_package_can_be_run_as_a_module() -> None:
    ran = subprocess.run(
        [sys.executable, "-m", "promptmill", "--help"], capture_output=True, text=True, check=True
    )

    assert "Usage: promptmill" in ran.stdout
