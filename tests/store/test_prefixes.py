"""Prompts that begin alike are kept together where that costs nobody anything."""

from __future__ import annotations

import pytest

from promptmill.domain.batches import PromptDraft
from promptmill.domain.limits import Limits
from promptmill.store.batches import jobs
from promptmill.store.db.database import Database
from promptmill.store.hosts import model_switching
from promptmill.store.queue import claims
from promptmill.store.queue.leases import Affinity, HostShare, Lease
from tests.store.test_groups import Grouped

WIDE = Limits(max_concurrent=99, rate_limit_delay_s=0)


def document(name: str) -> str:
    return f"Document {name}. " * 60


def questions(*names: str) -> list[PromptDraft]:
    """A question about each of the documents, in this order."""
    return [PromptDraft(f"{document(name)} Question {n}?") for n, name in enumerate(names)]


def asked_about(leases: list[Lease]) -> list[str]:
    return [(lease.call.prompt or "")[len("Document ")] for lease in leases]


class Alike(Grouped):
    """Hosts that run the group of `qwen3:8b`."""

    def take(
        self,
        wanted: int = 100,
        *,
        share: HostShare | None = None,
        turn_of: int | None = None,
        leave: bool = False,
    ) -> list[Lease]:
        return list(
            self.database.write_now(
                claims.claim,
                wanted=wanted,
                owner="w",
                lease_ms=30_000,
                share=share or self.share,
                affinity=Affinity(group=turn_of, leave=leave),
            )
        )

    def group_rows(self) -> int:
        return self.database.read_now(
            lambda tx: tx.connection.exec_driver_sql("SELECT count(*) FROM model_group").scalar()
        )


@pytest.fixture
def alike(database: Database) -> Alike:
    return Alike(database)


def test_prompts_about_one_document_go_out_one_after_another(alike) -> None:
    alike.submit(prompts=questions(*"abcabcabcabcabc"), limits=WIDE)
    alike.advance()

    order, turn_of = "", None
    while leases := alike.take(1, turn_of=turn_of):
        turn_of = leases[0].group_key
        order += "".join(asked_about(leases))

    assert sorted(order) == sorted("abcabcabcabcabc")
    assert [order[n : n + 5] for n in (0, 5, 10)] == [order[n] * 5 for n in (0, 5, 10)]


def test_they_are_of_the_group_that_a_host_takes_up_for_their_model(alike) -> None:
    alike.submit(prompts=questions(*"aaaabbbb"))
    assert alike.take() == [], "the host runs nothing yet"
    alike.advance()

    assert alike.runs() == ["qwen3:8b"]
    leases = alike.take(5)
    assert all(lease.begins_alike for lease in leases)
    assert (
        alike.database.read_now(model_switching.switch_need_of, alike.host_key)
        is model_switching.SwitchNeed.NONE
    )


def test_their_places_in_the_batch_stay(alike) -> None:
    prompts = [*questions(*"abab"), PromptDraft("short"), *questions(*"abab")]
    alike.submit(prompts=prompts, limits=WIDE)
    alike.advance()

    leases = alike.take()

    assert {lease.task_id & 0xFFFF: lease.call.prompt for lease in leases} == {
        index: draft.text for index, draft in enumerate(prompts)
    }


@pytest.mark.parametrize(
    ("prompts", "parts"),
    [
        ([PromptDraft("short")] * 9, set()),
        (questions(*"aaabbbccc"), set()),
        (questions(*"aaaabbbc"), {"a"}),
        ([*questions(*"aaaab"), *[PromptDraft("short")] * 9], {"a"}),
    ],
)
def test_few_that_begin_alike_are_not_kept_together(alike, prompts, parts) -> None:
    alike.submit(prompts=prompts, limits=WIDE)
    alike.advance()

    leases = alike.take()

    assert len(leases) == len(prompts)
    kept = [lease for lease in leases if lease.begins_alike]
    assert set(asked_about(kept)) == parts
    assert len(kept) == sum(draft.text.startswith("Document a") for draft in prompts) * bool(parts)


def test_a_batch_with_one_long_system_prompt_is_one_group(alike) -> None:
    alike.submit(9, parameters={"system": document("s")}, limits=WIDE)
    alike.submit(9, parameters={"system": document("s")}, limits=WIDE)
    alike.submit(9, parameters={"system": document("t")}, limits=WIDE)
    alike.advance()

    leases = alike.take()

    assert len({lease.group_key for lease in leases}) == 2
    assert len(leases) == 27


def test_a_host_goes_on_with_its_turn_among_batches_of_equal_priority(alike) -> None:
    narrow = Limits(max_concurrent=2, rate_limit_delay_s=0)
    for name in "st":
        alike.submit(20, parameters={"system": document(name)}, limits=narrow)
    alike.advance()
    alike.complete(*alike.take(2), *alike.take(2))

    first = alike.take(1)
    second = alike.take(1, turn_of=first[0].group_key)

    assert second[0].job_key == first[0].job_key
    assert alike.take(1)[0].job_key != first[0].job_key, "without a turn they alternate"


def test_a_turn_goes_neither_before_a_higher_priority_nor_before_who_never_had_one(alike) -> None:
    alike.submit(20, parameters={"system": document("s")}, limits=WIDE)
    alike.advance()
    (running,) = alike.take(1)
    alike.submit(1)
    alike.submit(1, priority=1)

    order = [alike.take(1, turn_of=running.group_key)[0].job_key for _ in range(3)]

    assert order == [3, 2, 1]


def both_hosts_run(alike: Alike) -> None:
    alike.advance()
    alike.advance(alike.other)
    assert alike.runs() == alike.runs(alike.other) == ["qwen3:8b"]


def test_what_another_host_ran_last_is_left_to_it(alike) -> None:
    alike.submit(20, parameters={"system": document("s")}, limits=WIDE)
    both_hosts_run(alike)
    alike.complete(*alike.take())
    alike.submit(20, parameters={"system": document("s")}, limits=WIDE)

    assert alike.take(share=alike.other, leave=True) == []
    assert len(alike.take(5, leave=True)) == 5, "it is this host that has it evaluated"
    assert len(alike.take(5, share=alike.other)) == 5, "and what it does not take nobody waits for"


def test_a_host_that_helped_another_one_with_its_document_leaves_it_when_there_is_its_own(
    alike,
) -> None:
    alike.submit(prompts=questions(*"aaaaaa"), limits=WIDE)
    both_hosts_run(alike)
    first = alike.take(5)
    helped = alike.take(share=alike.other)
    assert asked_about([*first, *helped]) == ["a"] * 6
    alike.complete(*first, *helped)
    alike.submit(prompts=questions(*"aaaabbbb"), limits=WIDE)

    (lease,) = alike.take(1, share=alike.other, turn_of=helped[0].group_key, leave=True)
    assert asked_about([lease]) == ["b"]
    (lease,) = alike.take(1, share=alike.other, turn_of=helped[0].group_key)
    assert asked_about([lease]) == ["a"], "in its turn, once nobody else came for it"


def test_it_is_not_left_to_a_host_that_does_not_come_for_it(alike, clock) -> None:
    narrow = Limits(max_concurrent=1, rate_limit_delay_s=0)
    alike.submit(20, parameters={"system": document("s")}, limits=narrow)
    both_hosts_run(alike)
    alike.complete(*alike.take(share=alike.other))
    alike.submit(20, parameters={"system": document("t")}, limits=narrow)

    def next_at_the_first_host() -> int:
        (lease,) = alike.take(1)
        alike.complete(lease)
        return lease.job_key

    assert [next_at_the_first_host() for _ in range(3)] == [2, 2, 2]
    clock.forward(6)
    assert next_at_the_first_host() == 1


def test_a_job_has_so_many_groups_at_most(alike) -> None:
    names = [chr(0x4E00 + n) for n in range(100)]
    alike.submit(
        prompts=questions(*names * 4), limits=Limits(max_concurrent=256, rate_limit_delay_s=0)
    )
    alike.advance()

    leases = []
    while more := alike.take():
        leases += more

    assert len(leases) == 256, "its limit"
    groups_of_it = alike.database.read_now(
        lambda tx: tx.connection.exec_driver_sql("SELECT count(*) FROM job_group").scalar()
    )
    assert groups_of_it == 64 + 1


def test_groups_of_prompts_that_begin_alike_go_with_their_last_batch(alike) -> None:
    ids = [alike.submit(4, parameters={"system": document("s")}) for _ in range(2)]
    alike.advance()
    rows = alike.group_rows()
    alike.complete(*alike.take())
    alike.close()

    def purge(batch_id: str) -> int:
        alike.database.write_now(jobs.BATCHES.mark_deleted, batch_id)
        while alike.database.write_now(jobs.purge_some):
            pass
        return alike.group_rows()

    assert purge(ids[0]) == rows, "the other batch has such prompts, too"
    alike.complete(*alike.take())
    alike.close()
    assert purge(ids[1]) == rows - 1
