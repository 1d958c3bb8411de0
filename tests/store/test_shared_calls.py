"""Texts to embed share calls, and slots and limits count calls."""

from __future__ import annotations

from typing import Any

import pytest

from promptmill.domain.batches import TEXTS, BatchKind, PromptDraft
from promptmill.domain.limits import Limits
from promptmill.domain.outcomes import Succeeded
from promptmill.domain.retry import TryAgain
from promptmill.domain.vectors import packed, unpacked
from promptmill.store.db.database import Database
from promptmill.store.queue import claims, completions
from promptmill.store.queue.leases import HostShare, Lease
from tests.store.farm import LEASE_MS, Farm

SPLIT = TryAgain(wait_s=0.0, charged=False, splits=True)
VECTOR = Succeeded(response="", embedding=packed([0.5, -0.25]))


class Embedding(Farm):
    """A queue of texts to embed."""

    def __init__(self, database: Database) -> None:
        super().__init__(database)
        self.share = HostShare(key=self.host_key, url="http://ollama:11434", slots=None)

    def submit(self, prompts: int | list[PromptDraft] = 3, **fields: Any) -> str:
        return super().submit(prompts, kind=BatchKind.EMBED, **fields)

    def calls(self, wanted: int = 100, *, texts: int = 4, slots: int | None = None) -> list[Lease]:
        share = HostShare(key=self.host_key, url="http://ollama:11434", slots=slots)
        claimed = self.database.write_now(
            claims.claim,
            wanted=wanted,
            owner="w1",
            lease_ms=LEASE_MS,
            share=share,
            texts_per_call=texts,
        )
        return list(claimed)


@pytest.fixture
def farm(database: Database) -> Embedding:
    return Embedding(database)


def sizes(calls: list[Lease]) -> list[int]:
    return [len(call.of_call) for call in calls]


def texts_of(call: Lease) -> list[str]:
    return [text for lease in call.of_call for text in lease.call.texts or ()]


def test_neighbouring_texts_share_a_call(farm: Embedding) -> None:
    farm.submit(10)
    calls = farm.calls()
    assert [texts_of(call) for call in calls] == [
        [f"Question {n}" for n in range(4)],
        [f"Question {n}" for n in range(4, 8)],
        [f"Question {n}" for n in range(8, 10)],
    ]


def test_max_concurrent_counts_calls(farm: Embedding) -> None:
    batch = farm.submit(20, limits=Limits(max_concurrent=2, rate_limit_delay_s=0))
    first, second = farm.calls()
    assert (sizes([first, second]), farm.calls()) == ([4, 4], [])
    assert farm.states(batch) == {"pending": 12, "running": 8}
    farm.complete(*first.of_call, outcome=VECTOR)
    assert sizes(farm.calls()) == [4]


def test_slots_count_calls(farm: Embedding) -> None:
    farm.submit(20)
    (call,) = farm.calls(1, slots=2)
    assert sizes(farm.calls(slots=2)) == [4], "the first call takes one slot, not four"
    assert farm.calls(slots=2) == []
    recorded = farm.complete(*call.of_call, outcome=VECTOR)
    assert recorded.freed == {farm.host_key: 1}
    assert sizes(farm.calls(slots=2)) == [4]


def test_a_delay_between_starts_is_one_between_calls(farm: Embedding) -> None:
    farm.submit(20, limits=Limits(max_concurrent=5, rate_limit_delay_s=60))
    assert sizes(farm.calls()) == [4]
    assert farm.calls() == []


def test_texts_with_other_requests_do_not_share_a_call(farm: Embedding) -> None:
    small = {"dimensions": 2}
    farm.submit([PromptDraft(f"{n}", overrides=small if n % 2 else None) for n in range(6)])
    calls = farm.calls()
    assert [texts_of(call) for call in calls] == [["0", "2", "4"], ["1", "3", "5"]]
    assert [call.call.parameters for call in calls] == [{}, small]


def test_a_prompt_with_several_texts_counts_them_all(farm: Embedding) -> None:
    several = PromptDraft("a", overrides={TEXTS: ["a", "b", "c"]})
    farm.submit([several, several, PromptDraft("d")])
    assert [texts_of(call) for call in farm.calls()] == [["a", "b", "c"], ["a", "b", "c", "d"]]


def test_a_prompt_with_more_texts_than_a_call_has_goes_alone(farm: Embedding) -> None:
    farm.submit([PromptDraft("a", overrides={TEXTS: list("abcdefg")}), PromptDraft("z")])
    assert [texts_of(call) for call in farm.calls()] == [list("abcdefg"), ["z"]]


def test_what_more_calls_than_are_wanted_would_need_stays_pending(farm: Embedding) -> None:
    batch = farm.submit([PromptDraft(f"{n}", overrides={"dimensions": n + 1}) for n in range(5)])
    assert sizes(farm.calls(wanted=2)) == [1, 1]
    assert farm.states(batch) == {"pending": 3, "running": 2}


def test_a_call_that_failed_for_one_text_is_split_until_that_one_is_alone(farm: Embedding) -> None:
    batch = farm.submit(8)
    made: list[int] = []
    while calls := farm.calls(texts=8):
        for call in calls:
            texts = texts_of(call)
            made.append(len(texts))
            is_bad = "Question 5" in texts and len(texts) > 1
            farm.complete(
                *call.of_call,
                outcome=VECTOR,
                decision=SPLIT if is_bad else None,
            )
    assert made == [8, 4, 4, 2, 2, 1, 1]
    assert farm.states(batch) == {"succeeded": 8}
    assert {result.attempts for result in farm.results(batch)} == {1}


def test_each_text_has_its_own_vector(farm: Embedding) -> None:
    batch = farm.submit(2)
    (call,) = farm.calls()
    for number, lease in enumerate(call.of_call):
        farm.complete(lease, outcome=Succeeded(response="", embedding=packed([number, 0.1])))
    vectors = [unpacked(result.embedding or b"") for result in farm.results(batch)]
    assert vectors == [[0.0, 0.1], [1.0, 0.1]]


def test_the_lease_of_each_text_is_renewed_and_lost_by_itself(farm: Embedding) -> None:
    farm.submit(3)
    (call,) = farm.calls()
    held = {(lease.task_id, lease.token) for lease in call.of_call}
    ids = [lease.task_id for lease in call.of_call]
    renewed = farm.database.write_now(
        completions.renew, owner="w1", task_ids=ids, lease_ms=LEASE_MS
    )
    assert renewed == held
    assert farm.database.write_now(completions.rescue, all_running=True) == 3
    assert farm.complete(*call.of_call, outcome=VECTOR).fenced == 3
    assert sizes(farm.calls()) == [3]


def test_texts_that_begin_alike_share_calls_with_others(farm: Embedding) -> None:
    alike = [PromptDraft("The same beginning. " * 40 + str(n)) for n in range(4)]
    farm.submit([alike[0], PromptDraft("x"), *alike[1:]])
    assert sizes(farm.calls(texts=5)) == [5]
