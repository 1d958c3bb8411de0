"""Batches and results found by filters, in pieces that stay small whatever the size of the table."""

from __future__ import annotations

from typing import Any

import pytest
import sqlalchemy as sa

from promptmill.domain.batches import PromptDraft
from promptmill.domain.lifecycle import JobState, TaskState
from promptmill.domain.limits import Limits
from promptmill.domain.outcomes import Blame, ErrorCode, Failed
from promptmill.domain.reading import BatchFilter, ResultFilter, SearchedText, cause_of
from promptmill.store.batches import findings, overview, prompts, results, search
from promptmill.store.db.database import Database
from tests.store.farm import Farm
from tests.store.test_plans import large, plan

__all__ = ["large"]


@pytest.fixture
def farm(database: Database) -> Farm:
    return Farm(database)


def refused(sentence: str, code: ErrorCode = ErrorCode.TIMEOUT) -> Failed:
    return Failed(code=code, message=sentence, blame=Blame.PROMPT)


def of_batch(farm: Farm, batch_id: str, work: Any, *arguments: Any, **options: Any) -> Any:
    def read(tx: Any) -> Any:
        return work(tx, results.job_key(tx, batch_id), *arguments, **options)

    return farm.database.read_now(read)


def searched(farm: Farm, batch_id: str, **options: Any) -> search.Piece:
    wanted = ResultFilter(
        **{name: options.pop(name) for name in list(options) if hasattr(ResultFilter(), name)}
    )
    return of_batch(farm, batch_id, search.piece, wanted, **{"limit": 100, **options})


@pytest.fixture
def mixed(farm: Farm) -> str:
    """Ten prompts: the third and the seventh fail, the others are answered."""
    batch_id = farm.submit(
        [PromptDraft(f"Question {n}", f"q{n}") for n in range(10)],
        max_attempts=1,
        limits=Limits(max_concurrent=10, rate_limit_delay_s=0),
    )
    leases = farm.leases(10)
    for number, lease in enumerate(leases):
        if number in {3, 7}:
            farm.complete(lease, outcome=refused(f"no answer within {number} s"))
        else:
            farm.complete(lease)
    return batch_id


def test_a_search_looks_in_prompt_answer_error_and_id_whatever_the_case(farm, mixed) -> None:
    assert [one.index for one in searched(farm, mixed, text="QUESTION 4").results] == [4]
    assert [one.index for one in searched(farm, mixed, text="no ANSWER").results] == [3, 7]
    assert [one.index for one in searched(farm, mixed, text="Q8").results] == [8]
    assert not searched(farm, mixed, text="no answer", text_in=SearchedText.PROMPT).results
    assert not searched(farm, mixed, text="%").results


def test_a_piece_ends_at_its_size_and_says_where(farm, mixed) -> None:
    piece = searched(farm, mixed, text="answer to question 9", size=4)
    assert (piece.results, piece.scanned, piece.last_index) == ([], 4, 3)

    rest = searched(farm, mixed, text="answer to question 9", after=3)
    assert ([one.index for one in rest.results], rest.last_index) == ([9], 9)


def test_a_search_goes_backwards_from_an_index(farm, mixed) -> None:
    piece = searched(farm, mixed, status=TaskState.FAILED, after=7, backwards=True, limit=1)
    assert [one.index for one in piece.results] == [3]
    assert [one.index for one in searched(farm, mixed, backwards=True, limit=2).results] == [9, 8]


def test_filters_hold_together(farm, mixed) -> None:
    assert len(searched(farm, mixed, status=TaskState.SUCCEEDED).results) == 8
    assert len(searched(farm, mixed, error_codes=(ErrorCode.TIMEOUT,)).results) == 2
    assert not searched(farm, mixed, error_codes=(ErrorCode.EMPTY,)).results
    assert len(searched(farm, mixed, min_latency_s=0.4, max_latency_s=0.6).results) == 8
    assert not searched(farm, mixed, min_attempts=2).results
    assert not searched(farm, mixed, host="http://elsewhere").results


def test_previews_are_cut_in_the_database(farm, mixed) -> None:
    first = searched(farm, mixed, preview=5).results[0]
    assert (first.prompt, first.response) == ("Quest", "answe")


def test_failures_are_grouped_by_code_and_sentence_without_numbers(farm, mixed) -> None:
    found = of_batch(farm, mixed, findings.causes)
    assert found.complete
    (cause,) = found.causes
    assert (cause.error_code, cause.prompts, cause.example_index) == (ErrorCode.TIMEOUT, 2, 3)
    assert cause.sentence == "no answer within … s"
    assert cause.example == "no answer within 3 s"
    indexes = of_batch(farm, mixed, findings.indexes_of_cause, ErrorCode.TIMEOUT, cause.sentence)
    assert indexes == [3, 7]


def test_a_cause_keeps_words_and_loses_numbers() -> None:
    assert cause_of("HTTP 503 after 0.25 s at 0x7fff") == "HTTP … after … s at …"


def test_the_course_ends_with_the_last_result(farm, mixed) -> None:
    curve = of_batch(farm, mixed, findings.curve, 10)
    assert [number for _, number in curve] == list(range(1, 11))
    sample = of_batch(farm, mixed, findings.sample, 10)
    assert sum(one.succeeded for one in sample) == 8


def test_a_sample_is_spread_over_all_results() -> None:
    spread = findings._spread(1_000_000, 4_000)
    assert (len(spread), spread[0], spread[-1]) == (4_000, 1, 1_000_000)


def test_prompts_without_a_result_are_told_apart(farm) -> None:
    batch_id = farm.submit(5)
    farm.leases(2)
    running = of_batch(farm, batch_id, prompts.without_result, TaskState.RUNNING, limit=10)
    assert [(one.index, one.attempt, one.host, one.worker) for one in running] == [
        (0, 1, "http://ollama:11434", "w1"),
        (1, 1, "http://ollama:11434", "w1"),
    ]
    pending = of_batch(farm, batch_id, prompts.without_result, TaskState.PENDING, limit=2)
    assert [one.index for one in pending] == [2, 3]


def test_one_prompt_has_its_result_when_there_is_one(farm, mixed) -> None:
    whole = of_batch(farm, mixed, prompts.whole, 3)
    assert (whole.text, whole.state, whole.result.error_code) == (
        "Question 3",
        TaskState.FAILED,
        ErrorCode.TIMEOUT,
    )
    waiting = of_batch(farm, farm.submit(1), prompts.whole, 0)
    assert (waiting.state, waiting.result) == (TaskState.PENDING, None)


def test_the_queue_is_counted_by_what_is_alive(farm) -> None:
    farm.submit(4)
    waiting = farm.submit(3)
    farm.leases(2)
    found = farm.database.read_now(overview.counts)
    assert (found.pending, found.running) == (5, 2)
    assert found.batches == {JobState.RUNNING: 1, JobState.QUEUED: 1}
    assert found.longest_wait_ms == farm.batch(waiting).created_at_ms
    assert [batch.id for batch in farm.database.read_now(overview.live, limit=5)][-1] == waiting


def page(farm: Farm, *, limit: int = 100, before: str | None = None, **wanted: Any):
    found = farm.database.read_now(overview.page, BatchFilter(**wanted), limit=limit, before=before)
    return [batch.id[-1] for batch in found.batches], found.next_before


def test_batches_are_found_by_states_text_time_and_pair(farm, clock) -> None:
    farm.submit(1, metadata={"project": "colours"})
    clock.forward(60)
    middle = clock.now_ms
    farm.submit(1, model="tiny")
    farm.submit(1)
    farm.complete(*farm.leases(1))
    farm.close()

    assert page(farm) == (["3", "2", "1"], None)
    assert page(farm, states=(JobState.COMPLETED,)) == (["1"], None)
    assert page(farm, states=(JobState.QUEUED,)) == (["3", "2"], None)
    assert page(farm, states=(JobState.COMPLETED, JobState.QUEUED), limit=2)[0] == ["3", "2"]
    assert page(farm, text="COLOUR") == (["1"], None)
    assert page(farm, model="tiny") == (["2"], None)
    assert page(farm, metadata={"project": "colours"}) == (["1"], None)
    assert page(farm, created_after_ms=middle) == (["3", "2"], None)
    assert page(farm, created_before_ms=middle) == (["1"], None)


def test_pages_of_batches_follow_one_another(farm) -> None:
    for _ in range(5):
        farm.submit(1)
    first, before = page(farm, limit=2)
    second, last = page(farm, limit=2, before=before)
    assert (first, second) == (["5", "4"], ["3", "2"])
    assert page(farm, limit=2, before=last) == (["1"], None)
    assert page(farm, limit=2, states=(JobState.QUEUED,), before=before)[0] == ["3", "2"]


JOB = {"of_job": 1, "most": 5}
EVENTS = {"events": [2**32 + 5, 2**32 + 50]}
RANGE = {"low": 2**32, "high": 2**33, "most": 5}
STATEMENTS: dict[str, tuple[sa.Executable, dict[str, Any], str]] = {
    "what runs": (prompts._RUNNING, JOB, "ix_task_running"),
    "what waits": (prompts._PENDING, JOB, "ix_task_pending"),
    "course": (findings._AT, EVENTS, "ix_result_event"),
    "sample": (findings._TIMES, EVENTS, "ix_result_event"),
    "causes": (findings._CAUSES, RANGE, "ix_result_not_succeeded"),
    "of a code": (findings._OF_CODE, {**RANGE, "code": "timeout"}, "ix_result_not_succeeded"),
    "by state": (overview._BY_STATE, {}, "ix_job_alive"),
    "live": (overview._LIVE_KEYS, {"most": 5}, "ix_job_alive"),
}


def test_every_statement_of_a_page_uses_its_index(large: Database, subtests) -> None:
    for name, (statement, parameters, index) in STATEMENTS.items():
        with subtests.test(name):
            found = plan(large, statement, parameters)
            if not (index.startswith("ix_job") and not large.is_sqlite):
                # Two rows of `job` are not worth an index to PostgreSQL.
                assert index in found, found
            assert "SCAN result" not in found
            assert "SCAN task" not in found


def test_a_piece_of_a_search_reads_only_its_own_rows(large: Database, subtests) -> None:
    for status in (None, TaskState.SUCCEEDED, TaskState.FAILED):
        with subtests.test(str(status)):
            wanted = ResultFilter(status=status, text="x")
            ids = search._ids(wanted, backwards=False, low=2**32, high=2**33, size=500)
            found = plan(large, sa.select(sa.func.count()).select_from(ids), {})
            if status is TaskState.FAILED:
                assert "ix_result_not_succeeded" in found
            assert "SCAN result" not in found
            assert "Seq Scan on result" not in found
