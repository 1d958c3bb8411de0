"""At which hosts a model is pulled."""

from __future__ import annotations

import pytest

from promptmill.domain.scheduling.downloads import Sight, Tried, hosts_to_pull_at


def host(key: int, *models: str, is_open: bool = True, only: str | None = None) -> Sight:
    return Sight(
        host_key=key,
        models=frozenset(models),
        is_open=is_open,
        only=None if only is None else frozenset({only}),
    )


def tried(key: int, *, is_live: bool = False) -> Tried:
    return Tried(host_key=key, is_live=is_live)


WAIT: list[int] = []
ENOUGH = None


@pytest.mark.parametrize(
    ("sights", "pulls", "one", "everywhere"),
    [
        # Nobody has it.
        ([host(1), host(2)], [], [1], [1, 2]),
        ([host(1, is_open=False), host(2)], [], [2], [2]),
        ([host(1, is_open=False)], [], WAIT, WAIT),
        ([host(1, only="b"), host(2)], [], [2], [2]),
        ([host(1, only="b")], [], ENOUGH, ENOUGH),
        # Somebody has it.
        ([host(1), host(2, "a")], [], ENOUGH, [1]),
        ([host(1, "a"), host(2, "a")], [], ENOUGH, ENOUGH),
        ([host(1, "a"), host(2, is_open=False)], [], ENOUGH, ENOUGH),
        # It is being pulled.
        ([host(1), host(2)], [tried(1, is_live=True)], WAIT, [2]),
        ([host(1, is_open=False), host(2)], [tried(1, is_live=True)], [2], [2]),
        ([host(1, is_open=False)], [tried(1, is_live=True)], WAIT, WAIT),
        (
            [host(1, "a"), host(2)],
            [tried(1), tried(2, is_live=True)],
            ENOUGH,
            WAIT,
        ),
        (
            [host(1, "a"), host(2, is_open=False)],
            [tried(1), tried(2, is_live=True)],
            ENOUGH,
            ENOUGH,
        ),
        # It could not be had.
        ([host(1), host(2)], [tried(1)], [2], [2]),
        ([host(1), host(2)], [tried(1), tried(2)], ENOUGH, ENOUGH),
        ([host(1), host(2, is_open=False)], [tried(1)], ENOUGH, ENOUGH),
    ],
)
def test_where_a_model_is_pulled(sights, pulls, one, everywhere) -> None:
    told = [
        hosts_to_pull_at("a", sights, pulls, under_way={}, everywhere=wanted)
        for wanted in (False, True)
    ]
    assert [None if keys is None else list(keys) for keys in told] == [one, everywhere]


def test_the_host_with_the_fewest_pulls_goes_first_and_among_equals_the_first_one() -> None:
    sights = [host(1), host(2), host(3)]

    def chosen(**under_way: int) -> int:
        counts = {int(key[1:]): number for key, number in under_way.items()}
        (key,) = hosts_to_pull_at("a", sights, [], under_way=counts, everywhere=False) or ()
        return key

    assert chosen() == 1
    assert chosen(h1=1) == 2
    assert chosen(h1=2, h2=2, h3=1) == 3
