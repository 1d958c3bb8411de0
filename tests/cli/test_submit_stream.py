"""`promptmill submit` line by line, and only to check."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import httpx
import pytest
import respx

from promptmill.client import DryRun
from tests.cli.pretended import Invoke, batch
from tests.documents import whole

DRY = whole(
    DryRun,
    {
        "object": "batch.dry_run",
        "valid": True,
        "prompts": 2,
        "models": ["tiny:latest"],
        "model": "tiny",
        "max_concurrent": 5,
        "rate_limit_delay": 60.0,
        "at_least_s": 60.0,
    },
)


@pytest.fixture
def accepting(service: respx.MockRouter) -> respx.Route:
    return service.post("/batches").mock(return_value=httpx.Response(202, json=batch()))


def lines_of(route: respx.Route) -> list[Any]:
    request = route.calls.last.request
    assert request.headers["content-type"] == "application/x-ndjson"
    return [json.loads(line) for line in request.content.splitlines()]


@pytest.mark.parametrize(
    ("name", "content", "options", "prompts"),
    [
        ("p.txt", b"\xef\xbb\xbfone\r\n\ntwo\x0cand\n", [], ["one", "two\x0cand"]),
        ("p.jsonl", b'"one"\n\n{"prompt": "two", "id": "b"}', [], ["one", {"prompt": "two", "id": "b"}]),
        ("p.jsonl", b'{"question": "one"}\n', ["--field", "question"], ["one"]),
        ("p.csv", b"id,prompt\n1,one\n", [], [{"id": "1", "prompt": "one"}]),
    ],
)  # fmt: skip
def test_every_format_can_be_streamed(
    invoke: Invoke,
    accepting: respx.Route,
    tmp_path: Path,
    name: str,
    content: bytes,
    options: list[str],
    prompts: list[object],
) -> None:
    (tmp_path / name).write_bytes(content)

    result = invoke("submit", "--stream", "-f", tmp_path / name, *options, "--model", "tiny")

    assert (result.exit_code, result.stdout) == (0, "batch_1\n")
    assert lines_of(accepting) == prompts
    assert dict(accepting.calls.last.request.url.params) == {"model": "tiny"}


def test_a_pipe_is_streamed_while_it_is_read(invoke: Invoke, accepting: respx.Route) -> None:
    assert invoke("submit", "--stream", stdin="one\ntwo\n").exit_code == 0
    assert lines_of(accepting) == ["one", "two"]


def test_a_large_file_of_lines_is_streamed_unless_that_is_not_wanted(
    invoke: Invoke, accepting: respx.Route, tmp_path: Path
) -> None:
    large = tmp_path / "large.jsonl"
    large.write_text(('"' + "x" * 1022 + '"\n') * (2 * 1024))

    invoke("submit", "-f", large)
    assert len(lines_of(accepting)) == 2 * 1024

    invoke("submit", "--no-stream", "-f", large)
    assert accepting.calls.last.request.headers["content-type"] == "application/json"


def test_a_file_is_sent_again_after_a_lost_answer(
    invoke: Invoke, service: respx.MockRouter, tmp_path: Path
) -> None:
    route = service.post("/batches").mock(
        side_effect=[httpx.ReadError("cut"), httpx.Response(202, json=batch())]
    )
    (tmp_path / "p.txt").write_text("one\ntwo\n")

    assert invoke("submit", "--stream", "-f", tmp_path / "p.txt").exit_code == 0
    first, second = (call.request for call in route.calls)
    assert first.content == second.content == b'"one"\n"two"\n'


def test_a_pipe_cannot_be_sent_again(invoke: Invoke, service: respx.MockRouter) -> None:
    route = service.post("/batches").mock(side_effect=httpx.ReadError("cut"))

    assert invoke("submit", "--stream", stdin="one\n").exit_code == 3
    assert route.call_count == 1


@pytest.mark.parametrize(
    ("arguments", "stdin", "said"),
    [
        (["--file", "no/such/file"], None, "cannot read no/such/file: No such file"),
        ([], "", "cannot use stdin as text it has no prompts"),
        (["--format", "jsonl"], '"a"\nno\n\n{}\n', "line 2: is not JSON"),
        (["--format", "jsonl"], '"a"\nno\n\n{}\n', 'line 4: has neither "prompt" nor "messages"'),
        (["--dry-run", "--wait"], "a", "--dry-run submits nothing"),
        (["--dry-run", "--watch"], "a", "--dry-run submits nothing"),
    ],
)
def test_what_is_wrong_with_the_input_ends_the_sending(
    invoke: Invoke, accepting: respx.Route, arguments: list[str], stdin: str | None, said: str
) -> None:
    result = invoke("submit", "--stream", *arguments, stdin=stdin)

    assert (result.exit_code, result.stdout) == (2, "")
    assert said in " ".join(result.stderr.replace("│", "").split())


def test_a_refusal_names_the_line_of_the_file_and_not_the_one_that_was_sent(
    invoke: Invoke, service: respx.MockRouter, tmp_path: Path
) -> None:
    problem = {
        "title": "Invalid request",
        "detail": "2 entries are wrong.",
        "errors": [
            {"pointer": "/prompts/1/id", "detail": "line 2: is already the id of a prompt above"},
            {"pointer": "/query/max_concurrent", "detail": "must be at most 256"},
        ],
    }
    service.post("/batches").mock(return_value=httpx.Response(422, json=problem))
    path = tmp_path / "p.jsonl"
    path.write_text('{"prompt": "a", "id": "x"}\n\n\n{"prompt": "b", "id": "x"}\n')

    result = invoke("submit", "--stream", "--file", path)

    assert result.exit_code == 2
    assert result.stderr.splitlines() == [
        "error: the service answered 422: 2 entries are wrong.",
        "  line 4/id: is already the id of a prompt above",
        "  /query/max_concurrent: must be at most 256",
    ]


def test_a_dry_run_tells_what_the_batch_would_be_and_submits_nothing(
    invoke: Invoke, service: respx.MockRouter
) -> None:
    route = service.post("/batches").mock(return_value=httpx.Response(200, json=DRY))

    result = invoke("submit", "--dry-run", "a", "b", "--rate-limit-delay", 60)

    assert result.exit_code == 0
    assert result.stdout == (
        "2 prompts would be accepted, for tiny:latest; their starts take 1 min 00 s at least.\n"
    )
    assert dict(route.calls.last.request.url.params) == {
        "dry_run": "true",
        "rate_limit_delay": "60.0",
    }


def test_a_dry_run_exits_with_2_when_the_batch_would_be_refused(
    invoke: Invoke, service: respx.MockRouter
) -> None:
    errors = [{"pointer": "/query/model", "detail": "`x` is not installed on the host"}]
    service.post("/batches").respond(422, json={"title": "Invalid", "errors": errors})

    result = invoke("submit", "--dry-run", "a")

    assert result.exit_code == 2
    assert "/query/model: `x` is not installed on the host" in result.stderr


def test_once_gives_the_same_batch_for_the_same_prompts_and_options(
    invoke: Invoke, service: respx.MockRouter, tmp_path: Path
) -> None:
    keys: list[str] = []

    def answer(request: httpx.Request) -> httpx.Response:
        key = request.headers["idempotency-key"]
        headers = {"Idempotent-Replayed": "true"} if key in keys else {}
        keys.append(key)
        document = batch("completed", succeeded=2, total=2) if headers else batch()
        return httpx.Response(202, json=document, headers=headers)

    service.post("/batches").mock(side_effect=answer)
    (tmp_path / "p.csv").write_text("text\none\ntwo\n")
    (tmp_path / "t.j2").write_text("Sum up: {{ text }}")
    template = f"@{tmp_path / 't.j2'}"

    def submit(*options: str) -> str:
        arguments = ("-f", tmp_path / "p.csv", "--template", template, "--once")
        result = invoke("submit", *arguments, *options)
        assert (result.exit_code, result.stdout) == (0, "batch_1\n")
        return result.stderr

    assert "2 prompts accepted" in submit("--option", "seed=1")
    again = submit("--option", "seed=1")
    assert "Submitted before, and nothing is asked again: completed, 2/2" in again
    assert "2 prompts accepted" in submit("--option", "seed=2")
    (tmp_path / "t.j2").write_text("In short: {{ text }}")
    assert "2 prompts accepted" in submit("--option", "seed=1")
    (tmp_path / "p.csv").write_text("text\none\nthree\n")
    assert "2 prompts accepted" in submit("--option", "seed=1")
    assert len(set(keys)) == 4
