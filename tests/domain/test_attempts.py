"""How many wrong keys an address may send."""

from __future__ import annotations

import pytest

from promptmill.domain.access.attempts import MOST_FAILURES, REGAIN_S, Attempts

ADDRESS = "192.0.2.7"


def spent(address: str | None = ADDRESS, failures: int = MOST_FAILURES) -> Attempts:
    attempts = Attempts()
    for _ in range(failures):
        assert attempts.may_try(address, "any", 0)
        attempts.note_failure(address, 0)
    return attempts


def test_five_wrong_keys_are_looked_at_and_then_one_every_twelve_seconds() -> None:
    attempts = spent()

    assert not attempts.may_try(ADDRESS, "any", REGAIN_S - 0.01)
    assert attempts.may_try(ADDRESS, "any", REGAIN_S)
    attempts.note_failure(ADDRESS, REGAIN_S)
    assert not attempts.may_try(ADDRESS, "any", REGAIN_S * 1.5)
    assert attempts.may_try(ADDRESS, "any", REGAIN_S * 2)


def test_no_more_than_five_are_saved_up() -> None:
    attempts = spent(failures=1)

    for _ in range(MOST_FAILURES):
        assert attempts.may_try(ADDRESS, "any", 1e6)
        attempts.note_failure(ADDRESS, 1e6)
    assert not attempts.may_try(ADDRESS, "any", 1e6)


def test_a_key_that_was_good_from_there_goes_on_and_from_elsewhere_is_another_thing() -> None:
    attempts = spent()
    attempts.note_success(ADDRESS, "good")
    for _ in range(MOST_FAILURES):
        attempts.note_failure("198.51.100.1", 0)

    assert attempts.may_try(ADDRESS, "good", 0)
    assert not attempts.may_try(ADDRESS, "other", 0)
    assert not attempts.may_try("198.51.100.1", "good", 0)


@pytest.mark.parametrize(
    ("one", "other", "same"),
    [
        (ADDRESS, "192.0.2.8", False),
        ("2001:db8::1", "2001:db8::ffff:1", True),
        ("2001:db8::1", "2001:db8:0:1::1", False),
        (ADDRESS, f"::ffff:{ADDRESS}", True),
        (None, None, True),
        ("testclient", "testclient", True),
    ],
)
def test_an_address_is_one_of_ipv4_or_a_network_of_ipv6(
    one: str | None, other: str | None, same: bool
) -> None:
    assert spent(one).may_try(other, "any", 0) is not same


def test_only_so_many_addresses_are_remembered() -> None:
    attempts = Attempts()
    for number in range(10_100):
        attempts.note_failure(str(number), 0)
        attempts.note_success(str(number), "good")

    assert len(attempts._spent) == len(attempts._good) == 10_000
