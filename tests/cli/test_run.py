"""`promptmill run`: a question on the command line, its answer on stdout."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import httpx
import pytest
import respx

from promptmill.simulator import answer_text
from tests.cli.pretended import EVENT_STREAM, Invoke, batch, events_of, result_document

FAILED = {
    "success": False,
    "status": "failed",
    "response": None,
    "error_code": "model_not_found",
    "error": "pull it first",
}


@pytest.fixture
def asked(service: respx.MockRouter) -> respx.MockRouter:
    """A service that takes a batch of three, and answers the last prompt first."""
    service.get("/health").respond(200, json={"status": "ok", "version": "0.1.0"})
    service.post("/batches").respond(202, json=batch(total=3))
    results = [result_document(index) for index in (2, 0, 1)]
    service.get("/batches/batch_1/events").respond(
        200, content=events_of("completed", *results), headers=EVENT_STREAM
    )
    return service


def ends_with(service: respx.MockRouter, status: str, *results: dict[str, object]) -> None:
    service.get("/batches/batch_1/events").respond(
        200, content=events_of(status, *results), headers=EVENT_STREAM
    )


def test_one_answer_is_printed_as_it_is(invoke: Invoke, asked: respx.MockRouter) -> None:
    ends_with(asked, "completed", result_document(0, response="Because\n\x1b[31mred"))

    result = invoke("run", "tiny", "Why?")

    assert (result.exit_code, result.stdout, result.stderr) == (0, "Because\n\x1b[31mred\n", "")


@pytest.mark.usefixtures("asked")
def test_answers_come_in_the_order_of_their_prompts(invoke: Invoke) -> None:
    result = invoke("run", "tiny", "a", "b", "c")

    assert result.stdout == "answer 0\n\nanswer 1\n\nanswer 2\n"
    assert result.stderr == "1. question 0\n2. question 1\n3. question 2\n"


@pytest.mark.usefixtures("asked")
def test_answers_are_objects_a_line_with_json(invoke: Invoke) -> None:
    lines = invoke("run", "tiny", "a", "b", "c", "--json").stdout.splitlines()

    assert [json.loads(line)["response"] for line in lines] == [f"answer {n}" for n in range(3)]


def test_prompts_come_from_stdin_as_well(invoke: Invoke, asked: respx.MockRouter) -> None:
    invoke("run", "tiny", "--system", "Be brief.", "--option", "seed=1", stdin="a\nb\nc\n")

    sent = next(call.request for call in asked.calls if call.request.method == "POST")
    assert json.loads(sent.content) == {
        "prompts": ["a", "b", "c"],
        "model": "tiny",
        "system": "Be brief.",
        "options": {"seed": 1},
    }


def test_a_prompt_without_an_answer_makes_the_exit_status_1_and_names_the_way_out(
    invoke: Invoke, asked: respx.MockRouter
) -> None:
    answers = [result_document(0), result_document(1, **FAILED)]
    stream = events_of("completed", *answers).replace(b'"succeeded": 2', b'"succeeded": 1')
    asked.get("/batches/batch_1/events").respond(200, content=stream, headers=EVENT_STREAM)

    result = invoke("run", "tiny", "a", "b")

    assert (result.exit_code, result.stdout) == (1, "answer 0\n\n")
    assert "error: prompt 2: model_not_found: pull it first" in result.stderr
    assert "--auto-pull" in result.stderr


def test_an_address_that_was_given_is_not_replaced_by_a_service_of_ones_own(invoke: Invoke) -> None:
    result = invoke("run", "tiny", "a", "--url", "http://127.0.0.1:1")

    assert result.exit_code == 3
    assert "starting one" not in result.stderr


def test_a_prompt_must_be_given(invoke: Invoke) -> None:
    assert invoke("run", "tiny", stdin="").exit_code == 2


# --- a service of its own --------------------------------------------------------------------


def environment(folder: Path, ollama_host: str) -> dict[str, str]:
    database = f"sqlite:///{folder / 'p.db'}"
    return {**os.environ, "OLLAMA_HOST": ollama_host, "DATABASE_URL": database}


def nobody_at_the_usual_address() -> bool:
    try:
        httpx.get("http://127.0.0.1:8000/health", timeout=1)
    except httpx.HTTPError:
        return True
    return False


@pytest.mark.proof
@pytest.mark.skipif(not nobody_at_the_usual_address(), reason="something listens on port 8000")
def test_where_no_service_answers_one_is_started_and_stopped(
    simulator_url: str, tmp_path: Path
) -> None:
    ran = subprocess.run(
        [sys.executable, "-m", "promptmill", "run", "tiny", "Why?", "How?"],
        env=environment(tmp_path, simulator_url),
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        check=True,
    )

    assert ran.stdout == f"{answer_text('tiny', 'Why?')}\n\n{answer_text('tiny', 'How?')}\n"
    told = f"starting one for this command, on sqlite:///{tmp_path / 'p.db'}"
    assert told in ran.stderr
    assert not (tmp_path / "p.db-wal").exists(), "the service still has the database open"


@pytest.mark.proof
@pytest.mark.skipif(not nobody_at_the_usual_address(), reason="something listens on port 8000")
def test_ctrl_c_says_how_to_go_on_and_leaves_no_service_behind(tmp_path: Path) -> None:
    with subprocess.Popen(
        [sys.executable, "-m", "promptmill", "run", "tiny", "Why?"],
        env=environment(tmp_path, "127.0.0.1:1"),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    ) as process:
        assert process.stderr is not None
        for line in process.stderr:
            if line.startswith("waits: "):
                break
        process.send_signal(signal.SIGINT)
        rest = process.stderr.read()
        code = process.wait()

    assert code == 130
    assert "promptmill serve" in rest
    assert not (tmp_path / "p.db-wal").exists(), "the service still has the database open"
