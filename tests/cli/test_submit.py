"""`promptmill submit`, against a pretended service."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import httpx
import pytest
import respx

from tests.cli.pretended import Invoke, batch


def body_of(route: respx.Route) -> dict[str, Any]:
    return json.loads(route.calls.last.request.content)


@pytest.fixture
def accepting(service: respx.MockRouter) -> respx.Route:
    return service.post("/batches").mock(return_value=httpx.Response(202, json=batch()))


def test_arguments_become_prompts_and_only_the_id_goes_to_stdout(
    invoke: Invoke, accepting: respx.Route
) -> None:
    result = invoke("submit", "Why?", "How?")

    assert (result.exit_code, result.stdout) == (0, "batch_1\n")
    assert "promptmill watch batch_1" in result.stderr
    assert body_of(accepting) == {"prompts": ["Why?", "How?"]}


def test_what_answers_will_not_be_checked_for_is_said(
    invoke: Invoke, service: respx.MockRouter
) -> None:
    told = {**batch(), "unchecked": ["Answers are not checked against `(?=a)`."]}
    service.post("/batches").respond(202, json=told)

    result = invoke("submit", "Why?")

    assert (result.exit_code, result.stdout) == (0, "batch_1\n")
    assert "not checked against `(?=a)`" in result.stderr


def test_every_option_reaches_the_service(invoke: Invoke, accepting: respx.Route) -> None:
    invoke(
        *("submit", "Why?", "--model", "tiny", "--system", "Be brief."),
        *("--max-concurrent", 3, "--rate-limit-delay", 0, "--timeout-s", 10),
        *("--max-attempts", 1, "--priority", -5),
        *("--option", "temperature=0", "--option", 'stop=["\\n"]', "--option", "word=plain"),
        *("--metadata", "run=7", "--metadata", "note=a=b"),
        *("--idempotency-key", "k1", "--auto-pull"),
    )

    assert body_of(accepting) == {
        "prompts": ["Why?"],
        "model": "tiny",
        "system": "Be brief.",
        "options": {"temperature": 0, "stop": ["\n"], "word": "plain"},
        "max_concurrent": 3,
        "rate_limit_delay": 0.0,
        "timeout_s": 10.0,
        "max_attempts": 1,
        "priority": -5,
        "auto_pull": True,
        "metadata": {"run": "7", "note": "a=b"},
    }
    assert accepting.calls.last.request.headers["idempotency-key"] == "k1"


@pytest.mark.parametrize(
    ("name", "content", "options", "prompts"),
    [
        ("p.txt", "one\ntwo\n", [], ["one", "two"]),
        (
            "p.jsonl",
            '"one"\n{"prompt": "two", "id": "b"}',
            [],
            ["one", {"prompt": "two", "id": "b"}],
        ),
        ("p.jsonl", '{"question": "one"}', ["--field", "question"], ["one"]),
        ("p.csv", "id,prompt\n1,one\n", [], [{"id": "1", "prompt": "one"}]),
        ("p.csv", "id,q\n1,one\n", ["--column", "q", "--id-column", ""], ["one"]),
        ("p.data", '"one"', ["--format", "jsonl"], ["one"]),
    ],
)
def test_prompts_come_from_a_file_in_its_format(
    invoke: Invoke,
    accepting: respx.Route,
    tmp_path: Path,
    name: str,
    content: str,
    options: list[str],
    prompts: list[object],
) -> None:
    (tmp_path / name).write_text(content)

    assert invoke("submit", "-f", tmp_path / name, *options).exit_code == 0
    assert body_of(accepting)["prompts"] == prompts


@pytest.mark.parametrize("arguments", [[], ["--file", "-"]])
def test_prompts_come_from_a_pipe(
    invoke: Invoke, accepting: respx.Route, arguments: list[str]
) -> None:
    assert invoke("submit", *arguments, stdin="one\ntwo\n").exit_code == 0
    assert body_of(accepting)["prompts"] == ["one", "two"]


@pytest.mark.parametrize(
    ("arguments", "stdin", "said"),
    [
        (["a", "--file", "b"], None, "not both"),
        (["--file", "no/such/file"], None, "cannot read no/such/file: No such file"),
        ([], "", "it has no prompts"),
        (["--format", "jsonl"], "no json", "line 1: is not JSON"),
        (["--field", "q", "--format", "csv"], "x,y\n1,2", 'there is no column "q"; it has x, y'),
        (["--field", "q", "--template", "{{ q }}"], "x", "either --template or --column"),
        (["--template", "no column"], "x", "the template uses no column"),
        (["a", "--limit", "3"], None, "arguments are sent as they are"),
        (["a", "--schema", "age integer"], None, '"age integer" is not a field'),
        (["a", "--schema", "no.json"], None, "cannot be read from no.json: No such file"),
        (["a", "--once", "--idempotency-key", "k"], None, "either --once or --idempotency-key"),
        (["--once", "--stream"], "a", "--once reads the prompts twice"),
        (["a", "--option", "temperature"], None, "NAME=VALUE"),
        (["a", "--metadata", "=x"], None, "NAME=VALUE"),
        (["a", "--max-concurrent", "many"], None, "--max-concurrent"),
        (["a", "--url", "127.0.0.1:8000"], None, "must be a URL such as"),
        (["a", "--no-such-option"], None, "No such option"),
    ],
)
def test_wrong_usage_exits_with_2_and_says_what_is_wrong(
    invoke: Invoke, arguments: list[str], stdin: str | None, said: str
) -> None:
    result = invoke("submit", *arguments, stdin=stdin)

    assert result.exit_code == 2
    assert result.stdout == ""
    assert said in " ".join(result.stderr.replace("│", "").split())


def test_a_refusal_names_the_line_of_the_file(
    invoke: Invoke, service: respx.MockRouter, tmp_path: Path
) -> None:
    service.post("/batches").mock(
        return_value=httpx.Response(
            422,
            json={
                "title": "Invalid request",
                "detail": "2 fields are wrong.",
                "errors": [
                    {"pointer": "/prompts/1/options/topk", "detail": "did you mean `top_k`?"},
                    {"pointer": "/max_concurrent", "detail": "must be at most 256"},
                    {"pointer": "/prompts/9", "detail": "odd"},
                ],
            },
        )
    )
    path = tmp_path / "p.jsonl"
    path.write_text('"one"\n\n{"prompt": "two", "options": {"topk": 3}}\n')

    result = invoke("submit", "--file", path, "--max-concurrent", 999)

    assert (result.exit_code, result.stdout) == (2, "")
    assert result.stderr.splitlines() == [
        "error: the service answered 422: 2 fields are wrong.",
        "  line 3/options/topk: did you mean `top_k`?",
        "  /max_concurrent: must be at most 256",
        "  /prompts/9: odd",
    ]


@pytest.mark.parametrize(
    ("answer", "code", "said"),
    [
        (httpx.Response(404, json={"title": "Not found"}), 2, "404: Not found"),
        (httpx.Response(409, json={"title": "Conflict", "detail": "It runs."}), 2, "It runs."),
        (httpx.Response(500, json={"title": "Internal error"}), 3, "500"),
        (httpx.Response(404, text="<html>"), 3, "does not answer like Promptmill"),
        (httpx.Response(202, json={"id": 7}), 3, "does not answer like Promptmill"),
        (httpx.ConnectError("refused"), 3, "cannot reach the service at http://127.0.0.1:8000"),
    ],
)
def test_exit_statuses_tell_a_refusal_from_a_service_that_is_not_there(
    invoke: Invoke, service: respx.MockRouter, answer: Any, code: int, said: str
) -> None:
    service.post("/batches").mock(side_effect=[answer] * 3)

    result = invoke("submit", "Why?")

    assert result.exit_code == code
    assert said in result.stderr


@pytest.mark.parametrize("option", ["--wait", "--watch"])
@pytest.mark.parametrize(
    ("ended", "code"),
    [
        (batch("completed", succeeded=2), 0),
        (batch("completed", succeeded=1, failed=1), 1),
        (batch("failed", failed=2), 1),
        (batch("cancelled", succeeded=1, cancelled=1), 1),
    ],
)
def test_staying_until_the_end_tells_whether_all_succeeded(
    invoke: Invoke,
    accepting: respx.Route,
    service: respx.MockRouter,
    option: str,
    ended: dict[str, Any],
    code: int,
) -> None:
    service.get("/batches/batch_1").mock(return_value=httpx.Response(200, json=ended))

    result = invoke("submit", "a", "b", option)

    assert (result.exit_code, result.stdout) == (code, "batch_1\n")
    assert f"batch_1 {ended['status']} after 5.0 s" in result.stderr


def test_another_service_is_named_by_option_or_environment(
    invoke: Invoke, monkeypatch: pytest.MonkeyPatch
) -> None:
    with respx.mock() as router:
        one = router.post("http://one:1/batches").respond(202, json=batch())
        two = router.post("http://two:2/batches").respond(202, json=batch())
        monkeypatch.setenv("PROMPTMILL_URL", "http://one:1")

        assert "--url http://one:1" in invoke("submit", "a").stderr
        invoke("submit", "a", "--url", "http://two:2/")

    assert (one.call_count, two.call_count) == (1, 1)


def test_a_schema_in_short_is_the_format_of_the_answers(
    invoke: Invoke, accepting: respx.Route
) -> None:
    assert invoke("submit", "Who?", "--schema", "name, age int").exit_code == 0
    assert body_of(accepting)["format"] == {
        "type": "object",
        "properties": {"name": {"type": "string"}, "age": {"type": "integer"}},
        "required": ["name", "age"],
    }
