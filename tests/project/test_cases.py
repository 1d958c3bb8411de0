"""The table of the cases of the field: each names a test that is there, and each input is used."""

from __future__ import annotations

import re
from pathlib import Path

ROOT = Path(__file__).parents[2]
CASES = ROOT / "tests" / "cases"
ROWS = re.findall(r"^\| .+ \| `(.+)::(\w+)` \|$", (CASES / "README.md").read_text(), re.MULTILINE)


def test_every_case_names_a_test_that_is_there() -> None:
    assert len(ROWS) > 40
    missing = [
        (path, name)
        for path, name in ROWS
        if not re.search(rf"^(async )?def {name}\(", (ROOT / path).read_text(), re.MULTILINE)
    ]
    assert missing == []


def test_every_input_of_a_case_is_read_by_a_test() -> None:
    tests = "".join(path.read_text() for path in (ROOT / "tests" / "cli").glob("test_*.py"))
    inputs = {path.name for path in CASES.iterdir()} - {"README.md"}

    assert {name for name in inputs if name not in tests} == set()
