"""Ids that are given twice are found, and no others, with a few bytes for each."""

from __future__ import annotations

import tracemalloc

import pytest

from promptmill.domain.requests.known_ids import IdsByHash, IdsByName, KnownIds


@pytest.mark.parametrize("make", [IdsByName, IdsByHash])
def test_every_id_clashes_the_second_time_and_never_the_first(make: type[KnownIds]) -> None:
    ids = make()
    numbers = range(20_000)

    assert not any(ids.clash(f"question-{n}", n) for n in numbers)
    assert all(ids.clash(f"question-{n}", n + 20_000) for n in numbers)
    assert not any(ids.clash(f"question-{n}", n) for n in range(20_000, 40_000))


def test_hashes_take_few_bytes_for_each_id() -> None:
    tracemalloc.start()
    try:
        ids = IdsByHash()
        for number in range(100_000):
            ids.clash(f"a rather long id, of the kind that programs make: {number}", number)
        size, _ = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()

    assert size < 100_000 * 33
