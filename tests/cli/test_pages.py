"""What stands on the pages about rows and Python, run against a real service.

A piece of Python names no address; the test puts that of the service into `Promptmill()`.
"""

from __future__ import annotations

import csv
import json
import re
import shlex
from pathlib import Path

import pytest

from promptmill.simulator import answer_text
from tests.cli.pretended import Invoke

DOCS = Path(__file__).parents[2] / "docs"

pytestmark = pytest.mark.proof


def programs(page: str) -> list[str]:
    """The pieces of Python on a page that need a service."""
    pieces = re.findall(
        r"^```python\n(.*?)^```$", (DOCS / page).read_text(), re.MULTILINE | re.DOTALL
    )
    return [piece for piece in pieces if "Promptmill()" in piece]


@pytest.fixture
def printed_by(capsys: pytest.CaptureFixture[str], monkeypatch, tmp_path: Path, mill_url: str):
    """`printed_by(program)` runs it in an empty folder; what it printed."""
    monkeypatch.chdir(tmp_path)

    def run(program: str) -> str:
        aimed = program.replace("Promptmill()", f"Promptmill({mill_url!r})")
        exec(compile(aimed, "page", "exec"), {"__name__": "__main__"})
        return capsys.readouterr().out

    return run


def answer(prompt: str) -> str:
    return answer_text("qwen3:8b", prompt)


def test_the_page_about_python_calls_the_service_and_prints_the_answers(printed_by) -> None:
    generate, apart, frames = programs("python-api.md")

    prompts = ("Why is the sky blue?", "Why is grass green?")
    assert printed_by(generate) == "".join(f"{answer(prompt)}\n" for prompt in prompts)

    for _ in range(2):  # The second time it is the same batch.
        first, *rest = printed_by(apart).split("\n", 2)
        assert first.startswith("batch_")
        assert rest[0] == "completed 2"
        prompts = ("Name a fruit.", "Name a river.")
        shown = "".join(f"{index} {answer(prompt)}\n" for index, prompt in enumerate(prompts))
        assert rest[1] == shown

    lines = printed_by(frames).splitlines()
    assert lines[0].split() == ["text", "stars", "verdict", "why"]
    assert [line.split()[0] for line in lines[1:]] == ["0", "1"]
    assert "Boils fast." in lines[1]


REVIEWS = 'nr,text,stars,lang\n1,"Boils fast, and is quiet.",5,en\n2,"Leaks.\nTwice.",1,en\n'
PEOPLE = '{"name": "Ann", "age": 7, "job": null}\n{"name": "Bo", "age": 41, "job": "smith"}\n'


def commands(page: str) -> list[str]:
    """The commands on a page, in order."""
    blocks = re.findall(r"^```sh\n(.*?)^```$", (DOCS / page).read_text(), re.MULTILINE | re.DOTALL)
    return [line for block in blocks for line in block.splitlines()]


def test_every_command_about_rows_works_as_it_stands_there(
    invoke: Invoke, mill_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("PROMPTMILL_URL", mill_url)
    Path("reviews.csv").write_text(REVIEWS)
    Path("people.jsonl").write_text(PEOPLE)
    Path("ask.j2").write_text("Who would buy this? {{ text }}")
    batch_id = ""
    printed: dict[str, str] = {}

    for command in commands("rows.md"):
        program, *arguments = shlex.split(command.replace("$ID", batch_id))
        assert program == "promptmill", command
        # The default model of this service is `tiny`.
        result = invoke(*arguments)
        assert result.exit_code == 0, f"{command}\n{result.stderr}"
        if result.stdout.startswith("batch_"):
            batch_id = result.stdout.strip()
        printed[command] = result.stdout

    (preview,) = (text for command, text in printed.items() if "--preview" in command)
    assert [json.loads(line) for line in preview.splitlines()] == [
        "Ann is 7.  Write a greeting.",
        "Bo is 41. The job: smith. Write a greeting.",
    ]
    with Path("answers.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert list(rows[0])[:2] == ["text", "stars"]
    assert [row["text"] for row in rows] == ["Boils fast, and is quiet.", "Leaks.\nTwice."]
    with Path("people.csv").open(newline="") as file:
        people = list(csv.DictReader(file))
    assert [json.loads(one["response"]) for one in people] == [
        {"name": one["name"], "age": int(one["age"])} for one in people
    ]
