"""Ids that are given twice are found, and no others."""

from __future__ import annotations

from promptmill.api.intake.prompts import KnownIds


def test_every_id_clashes_with_its_first_prompt_the_second_time_and_never_the_first() -> None:
    ids = KnownIds()

    assert {ids.clash(f"question-{n}", n) for n in range(20_000)} == {None}
    assert [ids.clash(f"question-{n}", n + 20_000) for n in range(20_000)] == list(range(20_000))
    assert {ids.clash(f"question-{n}", n) for n in range(20_000, 40_000)} == {None}
