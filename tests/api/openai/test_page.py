"""The page for those who move here: each snippet runs, against a service in a process of its own."""

from __future__ import annotations

import re
import shutil
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import openai
import pytest

from promptmill.cli.service.child_processes import listening
from tests.cli.conftest import serve_arguments

DOCS = Path(__file__).parents[3] / "docs"
PAGE = (DOCS / "openai.md").read_text()
ADDRESS = "http://127.0.0.1:8000"


def snippets(language: str, page: str = PAGE) -> str:
    return "\n".join(re.findall(rf"^```{language}\n(.*?)^```$", page, re.MULTILINE | re.DOTALL))


@pytest.fixture(scope="module")
def service_url(ollama_url, tmp_path_factory) -> Iterator[str]:
    folder = tmp_path_factory.mktemp("service")
    with listening(serve_arguments(folder, ollama_url), folder / "service.log") as url:
        yield url


def test_the_snippets_of_python_run_one_after_another(
    service_url: str, tmp_path: Path, monkeypatch, capsys
) -> None:
    monkeypatch.chdir(tmp_path)
    names: dict[str, object] = {}

    exec(compile(snippets("python").replace(ADDRESS, service_url), "openai.md", "exec"), names)

    said = capsys.readouterr().out
    assert "'tiny:latest'" in said
    assert re.search(r"^completed .*completed=2", said, re.MULTILINE)
    assert re.search(r"^sky .+\nsea .+\n.+\n.+", said, re.MULTILINE)
    names["client"].close()


def test_the_snippets_of_the_page_on_embeddings_run(service_url: str) -> None:
    names: dict[str, object] = {}
    code = snippets("python", (DOCS / "embeddings.md").read_text())

    exec(compile(code.replace(ADDRESS, service_url), "embeddings.md", "exec"), names)

    assert [len(vector) for vector in names["vectors"]] == [16, 16]
    assert names["vector_of"]("AACAPwAAIEA=") == (1.0, 2.5)


@pytest.mark.proof
def test_a_stream_comes_while_the_model_still_speaks(service_url: str) -> None:
    said = [{"role": "user", "content": "[[tokens:60]] Tell me!"}]
    with openai.OpenAI(base_url=f"{service_url}/v1", api_key="any") as client:
        stream = client.chat.completions.create(model="talker", messages=said, stream=True)
        came = [time.monotonic() for chunk in stream if chunk.choices[0].delta.content]

    # 60 tokens at 60 a second.
    assert came[-1] - came[0] > 0.5


@pytest.mark.skipif(not (shutil.which("curl") and shutil.which("jq")), reason="no curl or no jq")
def test_the_snippet_of_curl_runs(service_url: str, tmp_path: Path) -> None:
    request = (
        '{"custom_id": "a", "method": "POST", "url": "/v1/chat/completions", "body":'
        ' {"model": "tiny", "messages": [{"role": "user", "content": "Why?"}]}}\n'
    )
    (tmp_path / "requests.jsonl").write_text(request)
    script = "set -eu\n" + snippets("sh").replace(ADDRESS, service_url)

    done = subprocess.run(
        ["/bin/sh", "-c", script], cwd=tmp_path, capture_output=True, text=True, check=True
    )

    assert done.stdout.splitlines()[0].strip('"') in {
        "validating",
        "in_progress",
        "finalizing",
        "completed",
    }
