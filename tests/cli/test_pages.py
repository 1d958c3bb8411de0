"""What stands on the pages about rows and Python, run against a real service.

A piece of Python names no address; the test puts that of the service into `Promptmill()`.
"""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from promptmill.simulator import answer_text

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
