"""`promptmill results`, against a pretended service."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest
import respx

from promptmill.contract.results import ResultPage
from tests.cli.pretended import Invoke, batch, result_document
from tests.documents import whole


def line(index: int, **fields: object) -> dict[str, object]:
    """A result with a few of its fields: the columns of a table are those that it has."""
    few = ("index", "prompt", "response", "model", "success", "status", "latency_s")
    return {name: result_document(index)[name] for name in few} | fields


LINES = "".join(json.dumps(line(index)) + "\n" for index in range(3))
CSV = (
    "index,prompt,response,model,success,status,latency_s\r\n"
    "0,question 0,answer 0,tiny,true,succeeded,0.5\r\n"
    "1,question 1,answer 1,tiny,true,succeeded,0.5\r\n"
    "2,question 2,answer 2,tiny,true,succeeded,0.5\r\n"
)


@pytest.fixture
def downloads(service: respx.MockRouter) -> respx.MockRouter:
    path = "/batches/batch_1/results"
    service.get(path, name="results", headers={"accept": "application/x-ndjson"}).respond(
        200, text=LINES
    )
    ended(service, total=3)
    return service


def ended(service: respx.MockRouter, **counts: int) -> None:
    total = counts.pop("total")
    document = batch("completed", total=total, succeeded=total)
    service.get("/batches/batch_1").respond(200, json=document)


def pages(service: respx.MockRouter, *documents: dict[str, object]) -> None:
    service.get("/batches/batch_1/results").respond(
        200, json=whole(ResultPage, {"data": list(documents), "complete": True})
    )
    ended(service, total=len(documents))


def test_a_pipe_gets_all_results_as_jsonl(invoke: Invoke, downloads: respx.MockRouter) -> None:
    result = invoke("results", "batch_1")

    assert (result.exit_code, result.stdout) == (0, LINES)


def test_csv_has_a_row_for_each_result(invoke: Invoke, downloads: respx.MockRouter) -> None:
    assert invoke("results", "batch_1", "--format", "csv").stdout_bytes == CSV.encode()


def test_a_status_is_asked_of_the_service(invoke: Invoke, downloads: respx.MockRouter) -> None:
    invoke("results", "batch_1", "--status", "failed")

    assert downloads["results"].calls.last.request.url.params["status"] == "failed"


@pytest.mark.parametrize(
    ("name", "content"), [("out.jsonl", LINES), ("out.NDJSON", LINES), ("out.csv", CSV)]
)
def test_a_files_extension_says_the_format(
    invoke: Invoke, downloads: respx.MockRouter, tmp_path: Path, name: str, content: str
) -> None:
    result = invoke("results", "batch_1", "--output", tmp_path / name)

    assert (result.exit_code, result.stdout) == (0, "")
    assert (tmp_path / name).read_bytes() == content.encode()
    assert [path.name for path in tmp_path.iterdir()] == [name]


class _Cut(httpx.SyncByteStream):
    def __iter__(self) -> Iterator[bytes]:
        yield b'{"half'
        raise httpx.RemoteProtocolError("incomplete chunked read")


def test_a_broken_download_leaves_the_file_as_it_was(
    invoke: Invoke, service: respx.MockRouter, tmp_path: Path
) -> None:
    service.get("/batches/batch_1/results").mock(return_value=httpx.Response(200, stream=_Cut()))
    path = tmp_path / "out.jsonl"
    path.write_text("before")

    result = invoke("results", "batch_1", "--output", path)

    assert result.exit_code == 3
    assert path.read_text() == "before"
    assert list(tmp_path.iterdir()) == [path]


def test_a_file_that_cannot_be_written_is_said(
    invoke: Invoke, downloads: respx.MockRouter, tmp_path: Path
) -> None:
    result = invoke("results", "batch_1", "--output", tmp_path / "no" / "out.csv")

    assert result.exit_code == 2
    assert "cannot write" in result.stderr


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (["-o", "out"], "out ends in none of .ndjson, .jsonl, .csv, .parquet, .xlsx"),
        (["-o", "out.txt"], "out.txt ends in none of"),
        (["-o", "out.json"], "out.json ends in none of"),
        (["-o", "out.csv", "--format", "jsonl"], "--format says jsonl, and out.csv ends like csv"),
        (["-o", "out.csv", "--format", "table"], "a table is for the terminal"),
        (["--format", "parquet"], "give --output FILE.parquet"),
        (["-o", "out.jsonl", "--bom"], "--bom is for csv, and this is jsonl"),
        (["--format", "jsonl", "--expand"], "--expand is for csv, parquet, xlsx"),
    ],
)
def test_a_file_of_no_known_form_is_refused_before_anything_is_read(
    invoke: Invoke, service: respx.MockRouter, options: list[str], said: str
) -> None:
    result = invoke("results", "batch_1", *options)

    assert (result.exit_code, service.calls.call_count) == (2, 0)
    assert said in " ".join(result.stderr.replace("│", "").split())


def test_a_named_format_goes_into_a_file_of_any_name(
    invoke: Invoke, downloads: respx.MockRouter, tmp_path: Path
) -> None:
    invoke("results", "batch_1", "--format", "jsonl", "-o", tmp_path / "out.txt")

    assert (tmp_path / "out.txt").read_text() == LINES


def test_csv_for_a_spreadsheet_begins_with_a_mark(
    invoke: Invoke, downloads: respx.MockRouter, tmp_path: Path
) -> None:
    invoke("results", "batch_1", "-o", tmp_path / "out.csv", "--bom")

    assert (tmp_path / "out.csv").read_bytes() == b"\xef\xbb\xbf" + CSV.encode()


def test_kept_columns_come_first(invoke: Invoke, service: respx.MockRouter, tmp_path: Path) -> None:
    lines = [json.dumps(line(0, data={"text": "é", "n": 1}))]
    service.get("/batches/batch_1/results").respond(200, text="\n".join([*lines, ""]))
    ended(service, total=1)

    invoke("results", "batch_1", "-o", tmp_path / "out.csv")

    assert (tmp_path / "out.csv").read_text().startswith("text,n,index,prompt,response")


@pytest.mark.parametrize(
    ("options", "status", "said"),
    [
        ([], "running", "3 of 30, the batch still runs"),
        (["-o", "part.csv"], "running", "3 of 30, the batch still runs"),
        (["-o", "part.jsonl"], "paused", "3 of 30, the batch is paused"),
        (["--status", "succeeded"], "queued", "24 of 30, the batch still runs"),
        (["-o", "part.csv"], "completed", "3 of 30, the batch has ended meanwhile"),
    ],
)
def test_partial_results_say_so(
    invoke: Invoke,
    service: respx.MockRouter,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    options: list[str],
    status: str,
    said: str,
) -> None:
    monkeypatch.chdir(tmp_path)
    service.get("/batches/batch_1/results").respond(200, text=LINES)
    counts = {"succeeded": 30} if status == "completed" else {"succeeded": 20, "failed": 4}
    service.get("/batches/batch_1").respond(200, json=batch(status, total=30, **counts))

    result = invoke("results", "batch_1", *options)

    assert result.exit_code == 0
    assert said in result.stderr


def test_whole_results_say_nothing_of_the_kind(invoke: Invoke, downloads: respx.MockRouter) -> None:
    assert invoke("results", "batch_1", "--format", "csv").stderr == ""


@pytest.mark.proof
def test_a_table_goes_to_a_terminal_that_is_not_utf8(service_url: str) -> None:
    def run(*arguments: str, **variables: str) -> subprocess.CompletedProcess[bytes]:
        environment = {**os.environ, **variables, "PROMPTMILL_URL": service_url}
        command = [sys.executable, "-m", "promptmill", *arguments]
        return subprocess.run(command, capture_output=True, check=False, env=environment)

    submitted = run("submit", "Sag é 👍 日本語", "--rate-limit-delay", "0", "--wait")
    for encoding in ("cp1252", "ascii", "cp437", "utf-8"):
        variables = {"PYTHONUTF8": "0", "PYTHONIOENCODING": encoding}
        table = run("results", submitted.stdout.decode().strip(), "--format", "table", **variables)

        assert (table.returncode, table.stderr) == (0, b"")
        assert "Sag é".encode(encoding, "replace") in table.stdout


def test_a_table_shows_answers_and_errors(invoke: Invoke, service: respx.MockRouter) -> None:
    pages(
        service,
        result_document(0, id="first"),
        result_document(
            1, success=False, status="failed", response=None, error="No.", error_code="timeout"
        ),
    )

    result = invoke("results", "batch_1", "--format", "table")

    assert result.exit_code == 0
    for text in ("question 0", "answer 0", "first", "0.5 s", "timeout: No."):
        assert text in result.stdout


def test_a_table_is_short_and_says_so(invoke: Invoke, service: respx.MockRouter) -> None:
    pages(service, *(result_document(index) for index in range(3)))

    result = invoke("results", "batch_1", "--format", "table", "--limit", 2)

    assert "question 1" in result.stdout
    assert "question 2" not in result.stdout
    assert "The first 2" in result.stderr


def test_what_a_model_wrote_cannot_steer_the_terminal(
    invoke: Invoke, service: respx.MockRouter
) -> None:
    pages(service, result_document(0, response="\x1b]0;owned\x07 [bold]x[/bold] \u202e\x9b2J"))

    result = invoke("results", "batch_1", "--format", "table")

    assert not set("\x1b\x07\x9b\u202e") & set(result.stdout)
    assert "\\x1b]0;owned\\x07 [bold]x[/bold]" in result.stdout


@pytest.mark.parametrize(
    ("options", "said"), [([], "No results yet."), (["--status", "failed"], "No failed results.")]
)
def test_no_results_are_said_in_words(
    invoke: Invoke, service: respx.MockRouter, options: list[str], said: str
) -> None:
    pages(service)

    result = invoke("results", "batch_1", "--format", "table", *options)

    assert (result.exit_code, result.stdout, result.stderr) == (0, "", f"{said}\n")


@pytest.mark.parametrize("options", [["--format", "xml"], ["--status", "lost"], ["--limit", "0"]])
def test_a_wrong_choice_is_wrong_usage(invoke: Invoke, options: list[str]) -> None:
    assert invoke("results", "batch_1", *options).exit_code == 2


def test_a_table_does_not_go_to_a_file(invoke: Invoke, tmp_path: Path) -> None:
    result = invoke("results", "batch_1", "--format", "table", "--output", tmp_path / "out")

    assert result.exit_code == 2
    assert list(tmp_path.iterdir()) == []


def test_a_text_is_searched_by_the_service(invoke: Invoke, downloads: respx.MockRouter) -> None:
    invoke("results", "batch_1", "--grep", "rainbow")

    assert downloads["results"].calls.last.request.url.params["q"] == "rainbow"


def test_a_search_that_finds_nothing_says_so(invoke: Invoke, service: respx.MockRouter) -> None:
    pages(service)

    result = invoke("results", "batch_1", "--grep", "rainbow", "--format", "table")

    assert "No result holds that text." in result.stderr
