"""The commands that measure and prove can be started: nothing else of the suite imports them."""

from __future__ import annotations

from importlib import import_module
from pathlib import Path

import pytest

TESTS = Path(__file__).parents[1]
MODULES = sorted(
    f"tests.{path.parent.name}.{path.stem}"
    for folder in ("performance", "proof")
    for path in (TESTS / folder).glob("*.py")
)


@pytest.mark.parametrize("module", MODULES)
def test_a_command_that_measures_or_proves_can_be_imported(module: str) -> None:
    import_module(module)
