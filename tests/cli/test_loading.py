"""How the program loads, and what it says about itself."""

from __future__ import annotations

import subprocess
import sys

import pytest

from tests.cli.pretended import Invoke

SLOW = ("httpx", "pydantic_settings", "sqlalchemy", "alembic", "fastapi", "promptmill.settings")


SERVER = (
    *("promptmill.api", "promptmill.worker", "promptmill.store", "promptmill.services"),
    *("promptmill.simulator", "promptmill.ollama", "promptmill.settings", "promptmill.main"),
    *("fastapi", "uvicorn", "sqlalchemy", "sqlmodel", "alembic", "aiohttp", "structlog"),
)
RUN = """
import sys
from promptmill.__main__ import main
sys.argv[1:] = {arguments!r}
try:
    main()
except SystemExit as ended:
    pass
print([name for name in {names!r} if name in sys.modules], file=sys.stderr)
"""


@pytest.mark.parametrize(
    ("arguments", "names"),
    [
        (["--version"], (*SERVER, "httpx", "pydantic", "rich", "asyncio", "typer")),
        (["submit", "--help"], (*SERVER, "httpx")),
        # Nobody listens there, so that the command ends after it has loaded everything it needs.
        (["submit", "Why?", "--url", "http://127.0.0.1:1"], SERVER),
    ],
    ids=["version", "help of submit", "submit"],
)
def test_a_command_loads_no_part_of_the_service(arguments: list[str], names: tuple[str]) -> None:
    program = RUN.format(arguments=arguments, names=names)

    ran = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=False
    )

    assert ran.stderr.splitlines()[-1] == "[]"


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
