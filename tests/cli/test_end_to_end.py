"""The commands against a real service, in a process of its own, before a pretend Ollama."""

from __future__ import annotations

import csv
import io
import json
import re
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import httpx
import pytest

from promptmill.cli.service.child_processes import ChildDied, listening
from promptmill.simulator import ModelSpec, SimulatorSettings, answer_text, running_in_thread
from tests.cli.conftest import serve_arguments
from tests.cli.pretended import Invoke

pytestmark = pytest.mark.proof

QUESTIONS = Path(__file__).parents[1] / "data" / "gsm8k_test.jsonl"


@contextmanager
def started(*command: object) -> Iterator[subprocess.Popen[str]]:
    """`promptmill <command>` in a process, its output piped; it is gone afterwards."""
    process = subprocess.Popen(
        [sys.executable, "-m", "promptmill", *(str(one) for one in command)],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    try:
        with process:
            try:
                yield process
            finally:
                process.kill()
    finally:
        process.wait()


def answers_of(prompts: Sequence[str]) -> list[str]:
    return [answer_text("tiny", prompt) for prompt in prompts]


def test_questions_in_a_file_come_back_answered_in_every_form(
    invoke: Invoke, service_url: str, tmp_path: Path
) -> None:
    lines = QUESTIONS.read_text().splitlines()[:30]
    questions = [json.loads(line)["question"] for line in lines]
    path = tmp_path / "questions.jsonl"
    path.write_text("\n".join(lines))
    options = ("--max-concurrent", 8, "--rate-limit-delay", 0, "--url", service_url)

    submitted = invoke("submit", "-f", path, "--field", "question", "--watch", *options)
    batch_id = submitted.stdout.strip()
    as_jsonl = invoke("results", batch_id, "--url", service_url)
    as_csv = invoke("results", batch_id, "--format", "csv", "--url", service_url)
    as_table = invoke("results", batch_id, "--format", "table", "--url", service_url)
    none_failed = invoke("results", batch_id, "--status", "failed", "--url", service_url)

    assert submitted.exit_code == 0
    assert re.fullmatch(r"batch_[0-9a-z]+\n", submitted.stdout)
    results = [json.loads(line) for line in as_jsonl.stdout.splitlines()]
    assert [result["prompt"] for result in results] == questions
    assert [result["response"] for result in results] == answers_of(questions)
    rows = list(csv.DictReader(io.StringIO(as_csv.stdout_bytes.decode(), newline="")))
    assert [row["response"] for row in rows] == answers_of(questions)
    assert as_table.exit_code == 0
    assert "│ 29 │" in as_table.stdout
    assert (none_failed.exit_code, none_failed.stdout) == (0, "")


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("p.txt", "Why?\nHow?\n"),
        ("p.csv", "prompt\nWhy?\nHow?\n"),
        ("p.jsonl", '"Why?"\n{"messages": [{"role": "user", "content": "How?"}]}\n'),
    ],
)
def test_every_form_of_input_is_accepted(
    invoke: Invoke, service_url: str, tmp_path: Path, name: str, content: str
) -> None:
    (tmp_path / name).write_text(content)

    submitted = invoke("submit", "-f", tmp_path / name, "--wait", "--url", service_url)
    results = invoke("results", submitted.stdout.strip(), "--url", service_url)

    assert submitted.exit_code == 0
    assert [json.loads(line)["prompt"] for line in results.stdout.splitlines()] == ["Why?", "How?"]


def test_a_pipe_of_programs_needs_nothing_but_ids(service_url: str) -> None:
    program = f"{sys.executable} -m promptmill"
    pipeline = (
        f"printf 'Why?\\nHow?\\n' | {program} submit --wait"
        f" | xargs {program} results | {sys.executable} -c"
        " \"import sys, json; print([json.loads(l)['success'] for l in sys.stdin])\""
    )

    ran = subprocess.run(
        ["bash", "-o", "pipefail", "-c", f"export PROMPTMILL_URL={service_url}; {pipeline}"],
        capture_output=True,
        text=True,
        check=True,
    )

    assert ran.stdout == "[True, True]\n"
    assert "\x1b" not in ran.stderr


def test_failed_prompts_make_the_exit_status_1(invoke: Invoke, service_url: str) -> None:
    submitted = invoke("submit", "a", "--model", "missing", "--watch", "--url", service_url)
    shown = invoke("results", submitted.stdout.strip(), "--status", "failed", "--url", service_url)

    assert submitted.exit_code == 1
    assert json.loads(shown.stdout)["error_code"] == "model_not_found"


def test_a_refusal_of_the_service_names_the_prompt(invoke: Invoke, service_url: str) -> None:
    lines = '"fine"\n\n{"prompt": "a", "options": {"temprature": 1}}'

    refused = invoke("submit", "--format", "jsonl", "--url", service_url, stdin=lines)

    assert (refused.exit_code, refused.stdout) == (2, "")
    assert "line 3/options/temprature: " in refused.stderr
    assert "temperature" in refused.stderr


def test_a_batch_is_listed_shown_cancelled_and_deleted(invoke: Invoke, service_url: str) -> None:
    url = ("--url", service_url)
    slow = ("--max-concurrent", 1, "--rate-limit-delay", 60, "--metadata", "run=7")
    batch_id = invoke("submit", "a", "b", "c", *slow, *url).stdout.strip()

    listed = json.loads(invoke("list", "--limit", 1, "--json", *url).stdout)
    not_ended = invoke("delete", batch_id, *url)
    cancelled = invoke("cancel", batch_id, *url)
    watched = invoke("watch", batch_id, *url)
    shown = json.loads(invoke("show", batch_id, "--json", *url).stdout)
    again = invoke("cancel", batch_id, *url)
    deleted = invoke("delete", batch_id, *url)
    gone = invoke("show", batch_id, *url)

    assert listed["id"] == batch_id
    assert not_ended.exit_code == 2
    assert cancelled.exit_code == 0
    assert (watched.exit_code, "cancelled" in watched.stderr) == (1, True)
    assert (shown["status"], shown["metadata"]) == ("cancelled", {"run": "7"})
    assert again.exit_code == 2
    assert (deleted.exit_code, gone.exit_code) == (0, 2)


def test_models_show_what_the_host_has(invoke: Invoke, service_url: str) -> None:
    assert "tiny:latest" in invoke("models", "--url", service_url).stdout


def test_an_address_where_nobody_listens_is_exit_status_3(invoke: Invoke) -> None:
    result = invoke("list", "--url", "http://127.0.0.1:1")

    assert result.exit_code == 3
    assert "promptmill serve" in result.stderr


def test_another_server_at_the_address_is_exit_status_3(invoke: Invoke, simulator_url: str) -> None:
    result = invoke("list", "--url", simulator_url)

    assert result.exit_code == 3
    assert "does not answer like Promptmill" in result.stderr


def test_watching_goes_on_over_a_killed_and_restarted_service(tmp_path: Path) -> None:
    with (
        running_in_thread(SimulatorSettings(models=(ModelSpec(name="tiny"),))) as ollama,
        socket.create_server(("127.0.0.1", 0)) as reserved,
    ):
        port = reserved.getsockname()[1]
        reserved.close()
        url = f"http://127.0.0.1:{port}"
        serve = serve_arguments(tmp_path, ollama, port)
        with started(*serve) as first:
            httpx.get(_announced(first) + "/health").raise_for_status()
            # The first is answered only at its second try, so the batch cannot end before the kill.
            held = "[[fault:hang times=1]] question 0"
            prompts = [held, *(f"question {number}" for number in range(1, 25))]
            accepted = httpx.post(
                f"{url}/batches", json={"prompts": prompts, "rate_limit_delay": 0}
            )
            batch_id = accepted.json()["id"]
            with started("watch", batch_id, "--url", url) as watching:
                assert watching.stderr is not None
                assert watching.stderr.readline().startswith(("queued", "running"))
                first.send_signal(signal.SIGKILL)
                lost = next(line for line in watching.stderr if not line.startswith("running"))
                with started(*serve):
                    rest = watching.stderr.read()
                    code = watching.wait()

    assert lost.startswith("Lost the service")
    assert "The service is back." in rest
    assert f"{batch_id} completed" in rest
    assert "25/25" in rest
    assert code == 0


def _announced(process: subprocess.Popen[str]) -> str:
    assert process.stdout is not None
    found = re.search(r"http://\S+", process.stdout.readline())
    assert found is not None
    return found[0]


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_service_stops_on_a_signal_with_status_0(
    simulator_url: str, tmp_path: Path, number: signal.Signals
) -> None:
    with started(*serve_arguments(tmp_path, simulator_url)) as process:
        httpx.get(_announced(process) + "/health").raise_for_status()
        process.send_signal(number)
        _, said = process.communicate(timeout=20)

    assert process.returncode == 0
    assert f"sqlite:///{tmp_path / 'promptmill.db'}" in said
    assert simulator_url in said
    assert "/docs" in said
    assert "Traceback" not in said


def test_a_service_whose_database_is_not_there_says_so_in_words(tmp_path: Path) -> None:
    url = "postgresql://me:secret@127.0.0.1:1/mill?connect_timeout=1"
    command = ["serve", "--port", "0", "--database-url", url]

    with started(*command) as process:
        _, said = process.communicate(timeout=20)

    assert process.returncode == 3
    assert "error: cannot start: " in said
    assert "secret" not in said
    assert "Traceback" not in said


def test_a_child_that_cannot_start_says_why(tmp_path: Path) -> None:
    command = ["serve", "--database-url", "mysql://x"]

    with pytest.raises(ChildDied, match="DATABASE_URL"), listening(command, tmp_path / "log"):
        pass


def test_the_demo_answers_every_question_without_an_ollama(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    monkeypatch.setenv("OLLAMA_HOST", "127.0.0.1:1")

    with started("demo", "--limit", 6) as process:
        shown, said = process.communicate(timeout=60)

    assert process.returncode == 0, said
    assert "simulator" in said
    assert "6/6" in said
    assert str(tmp_path) in said
    assert "/docs" in said
    assert "A robe takes 2 bolts" in shown
    assert "\x1b" not in shown + said


def test_a_demo_that_is_kept_can_be_looked_at_until_ctrl_c(
    simulator_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    monkeypatch.setenv("OLLAMA_HOST", simulator_url)
    prompts = tmp_path / "prompts.txt"
    prompts.write_text("Why?\nHow?\n")

    with started("demo", "--keep", "--prompts", prompts) as process:
        assert process.stderr is not None
        until_kept: list[str] = []
        for line in process.stderr:
            until_kept.append(line)
            if "until Ctrl-C" in line:
                break
        said = "".join(until_kept)
        url = re.findall(r"http://\S+(?=/docs)", said)[0]
        documentation = httpx.get(f"{url}/docs")
        process.send_signal(signal.SIGINT)
        code = process.wait(timeout=20)

    assert "simulator" not in said
    assert simulator_url in said
    assert documentation.status_code == 200
    assert code == 0
    with pytest.raises(httpx.ConnectError):
        httpx.get(url)
