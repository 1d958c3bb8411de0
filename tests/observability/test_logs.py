"""What reaches the log: where an error came from, never what prompts and answers say."""

from __future__ import annotations

import contextlib
import json
import logging
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
import sqlalchemy as sa
import structlog
from sqlalchemy.exc import IntegrityError

from promptmill.observability.logs import configure_logging, get_logger
from promptmill.store.db.database import Database
from promptmill.store.db.schema import upgrade

SECRET = "the prompt that nobody may read"

# They take the process's stderr away, which the processes of pytest-xdist cannot do without.
pytestmark = pytest.mark.proof


@pytest.fixture(autouse=True)
def logging_as_it_was() -> Iterator[None]:
    root = logging.getLogger()
    handlers, level, found = root.handlers, root.level, structlog.get_config()
    yield
    root.handlers, root.level = handlers, level
    structlog.configure(**found)


def fail_with(prompt: str) -> None:
    words = prompt.split()
    raise RuntimeError(f"cannot read {len(words)} words\nthey are: {prompt}")


@pytest.mark.parametrize("as_json", [False, True])
def test_an_unforeseen_error_tells_its_place_and_no_variable(
    capsys: pytest.CaptureFixture[str], *, as_json: bool
) -> None:
    configure_logging(level="info", as_json=as_json)
    try:
        fail_with(SECRET)
    except RuntimeError:
        get_logger().exception("It failed.", action="role_failed")
        logging.getLogger("uvicorn.error").exception("It failed there too.")

    said = capsys.readouterr().err
    assert said.count("in fail_with") == 2
    assert said.count("RuntimeError: cannot read 6 words") == 2
    assert SECRET not in said
    assert len(said.splitlines()) < 40


@pytest.mark.parametrize("as_json", [False, True])
def test_a_statement_that_fails_is_logged_without_its_values_and_the_row(
    capsys: pytest.CaptureFixture[str], database_url: str, *, as_json: bool
) -> None:
    upgrade(database_url)
    configure_logging(level="info", as_json=as_json)
    database = Database(database_url)
    statement = sa.text("INSERT INTO worker (id, host_name) VALUES (:id, :host_name)")
    try:
        database.write_now(lambda tx: tx.execute(statement, {"id": SECRET, "host_name": SECRET}))
    except IntegrityError:
        get_logger().exception("It failed.", action="role_failed")
    finally:
        database.close_now()

    said = capsys.readouterr().err
    assert "IntegrityError" in said
    assert SECRET not in said


def test_every_error_of_a_chain_and_a_group_is_told(
    capsys: pytest.CaptureFixture[str],
) -> None:
    configure_logging(level="info", as_json=True)
    cause = KeyError("the cause")
    group = ExceptionGroup("several", [ValueError("the first"), OSError("the second")])
    group.__cause__ = cause
    cause.__cause__ = group

    get_logger().error("It failed.", exc_info=group)

    told = json.loads(capsys.readouterr().err)["exception"]
    assert [told.count(word) for word in ("cause", "several", "first", "second")] == [1, 1, 1, 1]


def test_a_value_cannot_command_the_terminal_and_a_traceback_keeps_its_lines(
    capsys: pytest.CaptureFixture[str],
) -> None:
    configure_logging(level="info", as_json=False)
    try:
        fail_with("x")
    except RuntimeError:
        get_logger().exception("It\x9b31m failed", path="/a\x1b]0;b\x07\u202e\udc80", other="a\nb")
    told = capsys.readouterr().err

    assert all(each.isprintable() or each == "\n" for each in told)
    assert r"path=/a\x1b]0;b\x07\u202e\udc80" in told
    assert len(told.splitlines()) > 3


@pytest.mark.parametrize("closed", [False, True])
def test_a_line_that_cannot_be_written_is_dropped(
    monkeypatch: pytest.MonkeyPatch, *, closed: bool
) -> None:
    full = Path("/dev/full").open("w", buffering=1)  # noqa: SIM115 - it cannot be closed in peace
    monkeypatch.setattr(sys, "stderr", full)
    configure_logging(level="info", as_json=False)
    if closed:
        full.close()

    get_logger().info("A line.")
    logging.getLogger().warning("Another line.")
    print("A third one.", file=sys.stderr, flush=True)

    with contextlib.suppress(OSError):
        full.close()


def test_without_a_stderr_nothing_is_written_anywhere(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(sys, "stderr", None)
    configure_logging(level="info", as_json=False)

    get_logger().info("A line.")

    sys.stderr.close()
    assert capsys.readouterr().out == ""
