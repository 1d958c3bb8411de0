"""Each command of docs/cli.md: run against the service of the story, or at least understood."""

from __future__ import annotations

import re
import shlex
from pathlib import Path

import pytest
import respx
import typer

from promptmill.cli import cli
from tests.cli.pretended import Invoke
from tests.cli.story import NIGHT, OLDER, REVIEWS, tell_story

PAGE = Path(__file__).parents[2] / "docs" / "cli.md"
UNDERSTOOD = frozenset({"bench", "demo", "doctor", "serve", "simulate", "worker"})
"""Commands that measure, start processes or stay: their options are read, and no more."""
MEANT = dict.fromkeys(("pause", "resume", "set", "cancel"), NIGHT) | dict.fromkeys(
    ("retry", "delete"), OLDER
)
CODES = {
    "promptmill show nothing --json": 2,
    "promptmill db check --database-url sqlite:////tmp/docsrun/db.db": 1,
}
"""Commands whose example is of something that is not there, with their exit codes."""
FILES = {
    "questions.txt": "Why?\nHow?\n",
    "prompts.jsonl": '"Why?"\n{"prompt": "How?"}\n',
    "questions.jsonl": '"Why?"\n',
    "gsm.jsonl": '{"question": "1 + 1?", "answer": "2"}\n',
    "table.csv": "question,nr\nWhy?,1\n",
}


def documented() -> list[str]:
    """The lines of the page's shell blocks that hold a command."""
    blocks = re.findall(r"^```sh\n(.*?)^```", PAGE.read_text(), re.MULTILINE | re.DOTALL)
    return [line for block in blocks for line in block.splitlines() if "promptmill " in line]


def arguments_of(line: str) -> list[str]:
    """What the shell would hand to the command."""
    words = shlex.split(line[line.index("promptmill ") :], comments=True)[1:]
    meant = MEANT.get(words[0], REVIEWS)
    named = [re.sub(r"batch_[0-9a-z]{26}|^\$ID$", meant, word) for word in words]
    return [word.replace("http://127.0.0.1:21431", "http://gpu-2:11434") for word in named]


@pytest.mark.parametrize("line", documented())
def test_a_documented_command_does_what_it_says(
    invoke: Invoke,
    service: respx.MockRouter,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    line: str,
) -> None:
    tell_story(service)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("DATABASE_URL", "sqlite:///here.db")
    for name, content in FILES.items():
        (tmp_path / name).write_text(content)
    words = [re.sub(r"/tmp/docsrun", str(tmp_path), word) for word in arguments_of(line)]
    if words[0] in UNDERSTOOD:
        command = typer.main.get_command(cli).commands[words[0]]  # pyright: ignore[reportAttributeAccessIssue] - it is a group
        assert command.make_context(words[0], words[1:]).params
        return

    result = invoke(*words, stdin=FILES["questions.txt"])

    assert result.exit_code == CODES.get(line, 0), result.stderr
    assert result.stdout or result.stderr or words[0] == "results"
