"""`promptmill results --follow`: results as they come."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import respx

from promptmill.cli.service import result_following
from tests.cli.pretended import EVENT_STREAM, Invoke, batch, events_of, result_document


@pytest.fixture
def followed(service: respx.MockRouter) -> respx.MockRouter:
    """A batch whose last prompt is answered first, and whose second fails."""
    service.get("/batches/batch_1").respond(200, json=batch("running", total=3))
    failed = {"success": False, "status": "failed", "error": "no", "response": None}
    results = [result_document(2), result_document(1, **failed), result_document(0)]
    service.get("/batches/batch_1/events").respond(
        200, content=events_of("completed", *results), headers=EVENT_STREAM
    )
    return service


def indexes(lines: str) -> list[int]:
    return [json.loads(line)["index"] for line in lines.splitlines()]


@pytest.mark.usefixtures("followed")
def test_results_are_printed_in_the_order_in_which_they_come(invoke: Invoke) -> None:
    result = invoke("results", "@last", "--follow")

    assert (result.exit_code, indexes(result.stdout)) == (0, [2, 1, 0])
    assert "batch_1 completed: 3 of 3" in result.stderr


@pytest.mark.usefixtures("followed")
def test_only_the_wanted_ones_are_printed(invoke: Invoke) -> None:
    assert indexes(invoke("results", "@last", "--follow", "--status", "failed").stdout) == [1]


@pytest.mark.usefixtures("followed")
def test_a_file_grows_with_them(invoke: Invoke, tmp_path: Path) -> None:
    path = tmp_path / "out.jsonl"
    path.write_text("old\n")

    result = invoke("results", "@last", "--follow", "-o", path)

    assert (result.stdout, indexes(path.read_text())) == ("", [2, 1, 0])


def test_what_came_after_an_event_is_added_to_the_file(
    invoke: Invoke, followed: respx.MockRouter, tmp_path: Path
) -> None:
    path = tmp_path / "out.jsonl"
    path.write_text('{"index": 7}\n')

    invoke("results", "@last", "--follow", "--after", "1", "-o", path)

    sent = next(call.request for call in followed.calls if "events" in call.request.url.path)
    assert sent.headers["last-event-id"] == "1"
    assert indexes(path.read_text())[0] == 7


def test_ctrl_c_says_how_to_go_on_behind_what_was_printed(
    invoke: Invoke, followed: respx.MockRouter, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    del followed
    follow = result_following.follow_answers

    def interrupted(client, batch_id, take, *, after):
        def take_two(result, event_id):
            take(result, event_id)
            if event_id == "2":
                raise KeyboardInterrupt

        return follow(client, batch_id, take_two, after=after)

    monkeypatch.setattr(result_following, "follow_answers", interrupted)
    path = tmp_path / "out.jsonl"

    result = invoke("results", "@last", "--follow", "-o", path)

    assert result.exit_code == 130
    assert f"promptmill results batch_1 --follow --after 2 -o {path}" in result.stderr
    assert indexes(path.read_text()) == [2, 1]


@pytest.mark.usefixtures("followed")
@pytest.mark.parametrize(
    ("options", "told"),
    [
        (("--follow", "--format", "csv"), "known only at the end"),
        (("--follow", "-o", "x.parquet"), "known only at the end"),
        (("--follow", "--grep", "x"), "--grep"),
        (("--after", "1"), "--follow"),
    ],
)
def test_what_does_not_go_together_is_refused(
    invoke: Invoke, options: tuple[str, ...], told: str
) -> None:
    result = invoke("results", "@last", *options)

    assert result.exit_code == 2
    assert told in " ".join(result.stderr.replace("│", " ").split())


@pytest.mark.usefixtures("followed")
def test_a_file_that_cannot_be_written_is_said(invoke: Invoke, tmp_path: Path) -> None:
    result = invoke("results", "@last", "--follow", "-o", tmp_path / "none" / "out.jsonl")

    assert result.exit_code == 2
    assert "cannot write" in result.stderr
