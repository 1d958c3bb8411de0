"""docs/operations/logs.md: every action that the code writes, and every field."""

from __future__ import annotations

import ast
import re
from collections import defaultdict
from pathlib import Path

ROOT = Path(__file__).parents[2]
LEVELS = {"debug", "info", "warning", "error", "exception", "log"}
NOT_FIELDS = {"action", "exc_info"}


def written() -> dict[str, set[str]]:
    """The fields that stand by name in the calls which write each action."""
    found: dict[str, set[str]] = defaultdict(set)
    for path in (ROOT / "app" / "promptmill").rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            if not isinstance(node, ast.Call):
                continue
            named = {each.arg: each.value for each in node.keywords if each.arg}
            action = named.get("action")
            if isinstance(action, ast.Constant) and isinstance(action.value, str):
                found[action.value] |= named.keys() - NOT_FIELDS
    return found


def tables() -> tuple[set[str], set[str]]:
    """The actions and the fields that the page lists."""
    page = (ROOT / "docs" / "operations" / "logs.md").read_text()
    fields, _, actions = page.partition("## Actions")
    of_row = re.compile(r"^\| ((?:`\w+`(?:, )?)+) \|", re.MULTILINE)
    listed = [
        {name for row in of_row.findall(part) for name in re.findall(r"`(\w+)`", row)}
        for part in (actions, fields)
    ]
    return listed[0], listed[1]


def test_the_page_lists_every_action_that_the_code_writes_and_no_other() -> None:
    actions, _ = tables()

    assert len(actions) > 40
    assert actions == set(written())


def test_the_page_lists_every_field() -> None:
    _, fields = tables()

    assert {field for names in written().values() for field in names} <= fields
