"""API keys as texts: how they look, what they are known by, and how the environment gives them."""

from __future__ import annotations

import random
import re

import pytest

from promptmill.domain.access.keys import (
    ApiKey,
    KeyLimits,
    Scope,
    digest_of,
    key_id_of,
    new_key,
    new_key_id,
    parse_environment_keys,
)

KEY = new_key("0123456789", bytes(range(32)))


def test_a_key_has_an_id_a_secret_and_a_checksum() -> None:
    assert re.fullmatch(r"pm_0123456789_[0-9A-Za-z]{49}", KEY)
    assert key_id_of(KEY) == "0123456789"


def test_ids_have_ten_characters_whatever_is_drawn() -> None:
    assert new_key_id(bytes(7)) == "0000000000"
    assert len(new_key_id(b"\xff" * 7)) == 10
    assert key_id_of(new_key(new_key_id(b"\xff" * 7), b"\xff" * 32)) == new_key_id(b"\xff" * 7)


def test_a_typo_anywhere_is_seen_without_the_database() -> None:
    draw = random.Random(1)
    for place in range(len(KEY)):
        other = draw.choice([digit for digit in "0aZ_é" if digit != KEY[place]])
        assert key_id_of(KEY[:place] + other + KEY[place + 1 :]) is None
    for text in ("", "pm_", KEY[:-1], KEY + "0", KEY.upper(), "x" * len(KEY)):
        assert key_id_of(text) is None


def stored(**fields: object) -> ApiKey:
    return ApiKey(
        **{
            "id": "0123456789",
            "name": "alice",
            "scopes": frozenset({Scope.READ}),
            "limits": KeyLimits(),
            "created_at_ms": 0,
            "expires_at_ms": None,
            "revoked_at_ms": None,
            "last_used_at_ms": None,
            "hash": digest_of(KEY),
            **fields,
        }
    )


OLD = digest_of("the one before")


@pytest.mark.parametrize(
    ("fields", "digest", "expected"),
    [
        ({}, digest_of(KEY), True),
        ({}, OLD, False),
        ({}, "", False),
        ({"expires_at_ms": 1001}, digest_of(KEY), True),
        ({"expires_at_ms": 1000}, digest_of(KEY), False),
        ({"revoked_at_ms": 5}, digest_of(KEY), False),
        ({"old_hash": OLD, "old_until_ms": 1001}, OLD, True),
        ({"old_hash": OLD, "old_until_ms": 1001}, digest_of(KEY), True),
        ({"old_hash": OLD, "old_until_ms": 1000}, OLD, False),
        ({"old_hash": OLD, "old_until_ms": 9999, "revoked_at_ms": 5}, OLD, False),
    ],
)
def test_a_key_is_accepted_while_it_lives(
    fields: dict[str, object], digest: str, expected: bool
) -> None:
    assert stored(**fields).accepts(digest, now_ms=1000) is expected


def test_keys_of_the_environment_have_names_and_scopes() -> None:
    found = parse_environment_keys(f"ci={'k' * 20},grafana={'m' * 20}:metrics+read")

    assert [(each.caller.name, sorted(each.caller.scopes)) for each in found] == [
        ("ci", ["submit"]),
        ("grafana", ["metrics", "read"]),
    ]
    assert found[0].caller.key_id == "env:ci"
    assert found[0].digest == digest_of("k" * 20)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("k" * 20, "entry 1 must be name=key"),
        (f"ci={'k' * 19}", "the key of ci must have 20"),
        (f"ci={'k' * 20}:write", "there is no scope 'write'"),
        (f"ci={'k' * 20},ci={'m' * 20}", "entry 2 must be name=key, each name once"),
        (f"ci={'k' * 20},", "entry 2"),
        (f"c i={'k' * 20}", "entry 1"),
        (f"ci={'k' * 10} {'k' * 10}", "visible characters"),
    ],
)
def test_a_wrong_key_of_the_environment_is_told_without_the_key(text: str, said: str) -> None:
    with pytest.raises(ValueError, match=re.escape(said)) as told:
        parse_environment_keys(text)
    assert "kkkk" not in str(told.value)
