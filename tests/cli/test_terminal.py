"""Words and bars for people."""

from __future__ import annotations

import io
from datetime import UTC, datetime, timedelta

import pytest
from rich.console import Console

from promptmill.cli.output.progress import display_on, show
from promptmill.client import Batch, WaitingFor
from promptmill.display.progress import Bar, Lines
from promptmill.display.texts import duration, numbers, one_line, printable
from tests.cli.pretended import batch


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (None, "-"),
        (0.84, "0.8 s"),
        (42.4, "42 s"),
        (59.7, "1 min 00 s"),
        (185, "3 min 05 s"),
        (7800, "2 h 10 min"),
    ],
)
def test_durations_are_written_for_people(seconds: float | None, text: str) -> None:
    assert duration(seconds) == text


def test_line_ends_and_tabs_stay_and_other_control_characters_are_shown() -> None:
    assert printable("a\tb\r\nc\x1b[2J\x7f") == "a\tb\nc\\x1b[2J\\x7f"


def test_a_text_is_cut_to_one_line() -> None:
    assert one_line("a\n\n b   c", 10) == "a b c"
    assert one_line("abcdef", 4) == "abc…"
    assert one_line(None, 4) == ""


def record(status: str, **fields: object) -> Batch:
    return Batch.model_validate(batch(status, total=40, **fields))  # pyright: ignore[reportArgumentType]


def test_the_numbers_of_a_batch_say_what_went_wrong_and_what_is_left() -> None:
    running = record("running", pending=20, running=5, succeeded=10, failed=5)
    shown = running.model_copy(update={"prompts_per_s": 1.234, "eta_s": 25.0})
    queued = record("queued").model_copy(update={"queue_position": 3, "eta_s": 245.0})
    places = [queued.model_copy(update={"queue_position": n, "eta_s": None}) for n in (1, 12, 22)]

    assert numbers(shown) == "15/40, 5 failed, 1.23/s, 25 s left"
    assert numbers(queued) == "0/40, 3rd in the queue, about 4 min 05 s left"
    assert [numbers(one).split()[1] for one in places] == ["1st", "12th", "22nd"]


def test_a_log_gets_a_line_when_a_batch_begins_to_wait_for_something_and_no_second_one() -> None:
    written = io.StringIO()
    times = iter([0.0, 6.0, 12.0, 18.0])
    display = Lines(Console(file=written, width=200), lambda: next(times))
    reason = {"reason": "host_unreachable", "message": "Connection refused", "host": "http://gpu"}
    soon = datetime.now(UTC) + timedelta(seconds=5)
    waiting = [
        record("queued", pending=40).model_copy(
            update={"waiting_for": WaitingFor(**reason, until=soon + timedelta(seconds=n))}
        )
        for n in range(3)
    ]

    with display:
        for one in (record("queued", pending=40), *waiting):
            show(one, display)

    assert written.getvalue().splitlines() == [
        "queued: 0/40",
        "queued: 0/40, waits: Connection refused",
    ]


def test_a_log_gets_a_line_for_each_status_and_now_and_then_one_of_progress() -> None:
    written = io.StringIO()
    times = iter([0.0, 1.0, 6.0, 7.0])
    display = Lines(Console(file=written, width=80), lambda: next(times))

    with display:
        for done, status in ((0, "running"), (1, "running"), (2, "running"), (40, "completed")):
            show(record(status, pending=40 - done, succeeded=done), display)
        display.note("The service is back.")

    assert written.getvalue().splitlines() == [
        "running: 0/40",
        "running: 2/40",
        "completed: 40/40",
        "The service is back.",
    ]


@pytest.mark.parametrize("width", [200, 80, 40, 20])
def test_a_bar_fits_the_terminal_however_narrow_it_is(width: int) -> None:
    written = io.StringIO()
    console = Console(file=written, force_terminal=True, width=width, color_system=None)
    display = display_on(console)
    assert isinstance(display, Bar)

    with display:
        show(record("running", pending=30, succeeded=10), display)

    assert "10/40" in written.getvalue()


def test_without_a_terminal_there_is_no_bar() -> None:
    assert isinstance(display_on(Console(file=io.StringIO())), Lines)
