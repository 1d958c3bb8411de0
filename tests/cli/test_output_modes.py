"""`--json`, `--quiet` and `--verbose` mean the same for every command."""

from __future__ import annotations

import json

import httpx
import pytest
import respx
import typer

from promptmill.cli import cli
from tests.cli.pretended import Invoke, batch, result_document

BATCH = batch("completed", succeeded=2) | {"of_a_newer_service": 1}


@pytest.fixture
def everything(service: respx.MockRouter) -> respx.MockRouter:
    """A service that agrees to everything."""
    for verb in ("cancel", "pause", "resume", "retry"):
        service.post(f"/batches/batch_1/{verb}").respond(202, json=BATCH)
    service.post("/batches").respond(202, json=BATCH)
    service.get("/batches/batch_1/results").respond(
        200, content=json.dumps(result_document(0)) + "\n"
    )
    service.get("/batches/batch_1/prompts").respond(200, json={"data": [], "next_cursor": None})
    service.get("/batches/batch_1").respond(200, json=BATCH)
    service.patch("/batches/batch_1").respond(200, json=BATCH)
    service.delete("/batches/batch_1").respond(204)
    return service


ONE_THING = [
    ("submit", "a"),
    ("submit", "a", "--wait"),
    ("submit", "a", "--watch"),
    ("watch", "@last"),
    ("show", "@last"),
    ("pause", "@last"),
    ("resume", "@last"),
    ("retry", "@last"),
    ("set", "@last", "--priority", "1"),
    ("cancel", "@last"),
]


@pytest.mark.usefixtures("everything")
@pytest.mark.parametrize("command", ONE_THING)
def test_one_thing_is_one_object_as_the_service_sent_it(
    invoke: Invoke, command: tuple[str, ...]
) -> None:
    result = invoke(*command, "--json")

    (line,) = result.stdout.splitlines()
    assert result.exit_code == 0
    assert json.loads(line)["of_a_newer_service"] == 1


@pytest.mark.usefixtures("everything")
def test_what_is_deleted_is_named(invoke: Invoke) -> None:
    told = json.loads(invoke("delete", "@last", "--json").stdout)
    assert told == {"id": "batch_1", "deleted": True}


@pytest.mark.usefixtures("everything")
def test_results_are_an_object_a_line(invoke: Invoke) -> None:
    (line,) = invoke("results", "@last", "--json").stdout.splitlines()
    assert json.loads(line)["response"] == "answer 0"
    assert invoke("results", "@last", "--json", "--format", "csv").exit_code == 2


@pytest.mark.parametrize(
    "command",
    [("list",), ("show", "@last"), ("run", "m", "a"), ("models",), ("bench", "tiny"), ("hosts",)],
)
def test_an_error_is_a_problem_document(invoke: Invoke, command: tuple[str, ...]) -> None:
    result = invoke(*command, "--json", "--url", "http://127.0.0.1:1")

    problem = json.loads(result.stderr.splitlines()[-1])
    assert (result.exit_code, result.stdout) == (3, "")
    assert "cannot reach the service" in problem["title"]
    assert "promptmill serve" in problem["detail"]


def test_a_refusal_of_the_service_is_passed_on_with_the_place_in_the_users_input(
    invoke: Invoke, service: respx.MockRouter
) -> None:
    sent = {
        "type": "/problems/invalid-request",
        "title": "Invalid request",
        "status": 422,
        "detail": "One entry is wrong.",
        "errors": [{"pointer": "/prompts/1", "detail": "must not be empty"}],
    }
    service.post("/batches").respond(422, json=sent)

    result = invoke("submit", "--json", stdin="a\nb\n")

    problem = json.loads(result.stderr)
    assert result.exit_code == 2
    assert problem | sent == problem | {"errors": sent["errors"]}
    assert problem["errors"][0]["place"] == "line 2"


@pytest.mark.parametrize(
    "command",
    [("list", "--jsn"), ("list", "--limit", "x"), ("nothing",), ("show",), ("set", "@last")],
)
def test_wrong_usage_is_a_problem_document_too(invoke: Invoke, command: tuple[str, ...]) -> None:
    result = invoke(*command, "--json")

    problem = json.loads(result.stderr)
    assert (result.exit_code, problem["title"]) == (2, "Wrong usage")
    assert problem["detail"]


@pytest.mark.usefixtures("everything")
@pytest.mark.parametrize("command", [*ONE_THING, ("delete", "@last")])
def test_a_quiet_command_says_nothing(invoke: Invoke, command: tuple[str, ...]) -> None:
    result = invoke(*command, "-q")

    assert (result.exit_code, result.stderr) == (0, "")


def test_a_quiet_command_still_tells_errors_and_what_is_missing(
    invoke: Invoke, everything: respx.MockRouter
) -> None:
    everything.get("/batches/batch_1").respond(200, json=batch("running", succeeded=1, pending=1))

    assert "1 of 2, the batch still runs" in invoke("results", "@last", "-q").stderr
    everything.get("/batches").mock(side_effect=httpx.ConnectError("refused"))
    assert "error: " in invoke("list", "-q").stderr


@pytest.mark.usefixtures("everything")
def test_a_verbose_command_tells_its_requests_without_their_queries(invoke: Invoke) -> None:
    result = invoke("list", "--label", "secret", "-v")

    assert "GET /batches answered 200, request id unknown" in result.stderr
    assert "secret" not in result.stderr
    assert "GET" not in invoke("list").stderr


def every_command(command, name: str = ""):
    for short, inner in getattr(command, "commands", {}).items():
        yield from every_command(inner, f"{name} {short}".strip())
    if not hasattr(command, "commands"):
        yield name, command


@pytest.mark.parametrize(
    ("name", "command"), list(every_command(typer.main.get_command(cli))), ids=str
)
def test_every_command_has_the_options(name: str, command) -> None:
    options = {option for parameter in command.params for option in parameter.opts}

    assert {"-q", "--quiet", "-v", "--verbose"} <= options
    assert ("--json" in options) == (name not in {"demo", "serve", "simulate", "worker"})
