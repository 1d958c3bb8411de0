"""The page about notebooks, and every example of the page about Python, in a real kernel."""

from __future__ import annotations

import asyncio
import re
from pathlib import Path
from typing import Any

import nbformat
import pytest
from nbclient import NotebookClient

from promptmill.simulator import answer_text
from tests.manager.test_examples import CHUNKS, EXAMPLES

DOCS = Path(__file__).parents[2] / "docs"

pytestmark = pytest.mark.proof


def run(cells: list[str], folder: Path) -> list[Any]:
    """The cells' outputs, a list for each; a cell that fails is an error."""
    notebook = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(one) for one in cells])
    client = NotebookClient(
        notebook, timeout=240, kernel_name="python3", resources={"metadata": {"path": str(folder)}}
    )
    client.execute()
    return [cell.outputs for cell in notebook.cells]


def shown_as(mime_type: str, outputs: list[Any]) -> str:
    return "\n".join(one["data"].get(mime_type, "") for one in outputs if "data" in one)


def printed(outputs: list[Any]) -> str:
    return "".join(one["text"] for one in outputs if one["output_type"] == "stream")


def aimed(source: str, mill_url: str, ollama_url: str) -> str:
    """The cell with the addresses of the test's service and Ollama."""
    source = source.replace("Promptmill()", f"Promptmill({mill_url!r})")
    return re.sub(
        r"OllamaManager\((\)?)",
        lambda found: f"OllamaManager(base_url={ollama_url!r}{found[1] or ', '}",
        source,
    )


def answer(prompt: str) -> str:
    return answer_text("qwen3:8b", prompt)


def test_the_page_is_a_notebook_that_runs_from_top_to_bottom(
    mill_url: str, ollama_url: str, tmp_path: Path
) -> None:
    page = (DOCS / "notebooks.md").read_text()
    cells = re.findall(r"^```python\n(.*?)^```$", page, re.MULTILINE | re.DOTALL)

    outputs = run([aimed(cell, mill_url, ollama_url) for cell in cells], tmp_path)
    batch, wait, results, frame, newest, benchmark, manager, client = outputs

    assert "<b>batch_" in shown_as("text/html", batch)
    assert "completed" in shown_as("text/html", wait)
    assert "width:100.0%" in shown_as("text/html", wait)
    assert "Good or bad? Leaks." in shown_as("text/html", results)
    assert "Boils fast, and is quiet." in shown_as("text/plain", frame)
    assert "verdict" in shown_as("text/plain", frame)
    assert "completed" in shown_as("text/plain", newest)
    assert "latency p50" in shown_as("text/html", benchmark)
    assert "2/2" in shown_as("text/html", manager)
    assert eval(shown_as("text/plain", manager[-1:])) == [
        answer("Name a fruit."),
        answer("Name a river."),
    ]
    assert eval(shown_as("text/plain", client[-1:])) == [answer("Name a planet.")]


def test_every_example_about_python_runs_in_a_notebook(
    mill_url: str, ollama_url: str, tmp_path: Path
) -> None:
    headings = [heading for heading in EXAMPLES if heading != CHUNKS]
    cells = [
        aimed(EXAMPLES[heading], mill_url, ollama_url).replace(
            "asyncio.run(main())", "await main()"
        )
        for heading in headings
    ]
    # A thousand prompts are a proof of patience; fewer are the same program.
    cells.append(
        aimed(EXAMPLES[CHUNKS], mill_url, ollama_url)
        .replace("asyncio.run(main())", "await main()")
        .replace("range(1000)", "range(200)")
    )

    outputs = run(cells, tmp_path)

    texts = dict(zip([*headings, CHUNKS], map(printed, outputs), strict=True))
    assert all(texts.values()), texts
    assert answer("What is the capital of France?") in texts["Quick start"]
    assert "200 of 200 done" in texts[CHUNKS]


def test_the_plain_client_works_inside_a_running_loop(mill_url: str) -> None:
    from promptmill import Promptmill

    async def ask() -> list[str | None]:
        with Promptmill(mill_url) as client:
            results = client.batch_generate(["Name a fruit."], model="qwen3:8b")
        return [one["response"] for one in results]

    assert asyncio.run(ask()) == [answer("Name a fruit.")]
