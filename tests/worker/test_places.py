"""Which host is asked next for how many: the emptiest first, in small steps that grow."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest

from promptmill.store.queue.leases import HostShare
from promptmill.worker.scheduling.allocation import Allocation, WorkerHost, in_steps


def ask(name: int, wanted: int, held: int = 0, slots: int | None = None) -> Allocation:
    host: Any = SimpleNamespace()
    share = HostShare(key=name, url=f"http://{name}", slots=slots)
    return Allocation(WorkerHost(host=host, share=share), wanted=wanted, held=held)


def claimed(asked: list[Allocation], *, work: int, unable: int | None = None) -> dict[int, int]:
    """Who gets how many of so many prompts; `unable` is a host that can run none of them."""
    for one, number in in_steps(asked):
        got = 0 if one.place.share.key == unable else min(number, work)
        one.exhausted = got < number
        one.take(got)
        work -= got
    return {one.place.share.key: one.held for one in asked}


@pytest.mark.parametrize(
    ("work", "shares"), [(1, {1: 1, 2: 0}), (2, {1: 1, 2: 1}), (5, {1: 3, 2: 2}), (8, {1: 4, 2: 4})]
)
def test_few_prompts_are_shared_evenly(work: int, shares: dict[int, int]) -> None:
    assert claimed([ask(1, 8), ask(2, 8)], work=work) == shares


def test_the_emptiest_comes_first_by_the_share_of_its_slots() -> None:
    assert claimed([ask(1, 5, held=3), ask(2, 5, held=1)], work=2) == {1: 3, 2: 3}
    assert claimed([ask(1, 3, held=1, slots=2), ask(2, 3, held=3, slots=8)], work=1) == {1: 1, 2: 4}


def test_what_one_host_cannot_run_the_other_gets_and_nobody_more_than_was_meant_for_it() -> None:
    assert claimed([ask(1, 5), ask(2, 5)], work=9, unable=1) == {1: 0, 2: 5}
    assert claimed([ask(1, 1), ask(2, 6)], work=9) == {1: 1, 2: 6}


def test_one_host_alone_is_asked_once_and_many_prompts_take_few_claims() -> None:
    assert next(in_steps([ask(1, 64)]))[1] == 64
    asked, claims = [ask(1, 32), ask(2, 32)], 0
    for one, number in in_steps(asked):
        one.take(number)
        claims += 1
    assert (claims, [one.wanted for one in asked]) == (14, [0, 0])
