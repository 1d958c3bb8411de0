"""API keys: their form, scopes and limits.

A key is `pm_<id>_<secret><checksum>` in base 62: ten characters of id, 32 random bytes, and the
CRC-32 of the preceding, by which typos and leaked keys are recognised. Only its SHA-256 is stored;
256 random bits need no slow hash.
"""

from __future__ import annotations

import re
import zlib
from collections.abc import Iterable
from dataclasses import dataclass, field
from enum import StrEnum
from hashlib import sha256
from hmac import compare_digest
from typing import Final

_DIGITS: Final = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"
_PREFIX: Final = "pm_"
_ID_LENGTH: Final = 10
_SECRET_LENGTH: Final = 43
_CHECKSUM_LENGTH: Final = 6
ENVIRONMENT: Final = "env:"
"""Start of the id of a key given in PROMPTMILL_API_KEYS; the key's name follows."""


NAME: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9._@-]{0,63}")
"""Pattern of a key's name."""
VISIBLE: Final = re.compile(r"[!-~]+")
LEAST_LENGTH: Final = 20
"""Least characters of a key that the operator has chosen."""


class Scope(StrEnum):
    """Scopes of a key."""

    READ = "read"
    """Reading batches, benchmarks, models, hosts and workers."""
    SUBMIT = "submit"
    """`read`, and creating, steering and deleting batches and benchmarks."""
    ADMIN = "admin"
    """All requests."""
    METRICS = "metrics"
    """`/metrics` and `/ready`."""


@dataclass(frozen=True, slots=True, kw_only=True)
class KeyLimits:
    """Limits on requests with a key; None: only the service's limits."""

    max_queued_prompts: int | None = None
    """Most prompts without an outcome, over all batches of the key."""
    max_batch_prompts: int | None = None
    min_priority: int | None = None
    max_priority: int | None = None
    max_concurrent: int | None = None
    """The most `max_concurrent` of each batch."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Caller:
    """Sender of a request: a key, or anybody while no keys exist."""

    key_id: str | None
    """Id of the key; None while no keys exist."""
    name: str
    scopes: frozenset[Scope]
    limits: KeyLimits = field(default_factory=KeyLimits)

    def may(self, sufficient: Iterable[Scope]) -> bool:
        """Whether the caller has one of the scopes."""
        return not self.scopes.isdisjoint(sufficient)


ANYBODY: Final = Caller(key_id=None, name="local", scopes=frozenset(Scope))
"""Caller of every request while no keys exist."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ApiKey:
    """A stored key, without its secret."""

    id: str
    name: str
    scopes: frozenset[Scope]
    limits: KeyLimits
    created_at_ms: int
    expires_at_ms: int | None
    revoked_at_ms: int | None
    last_used_at_ms: int | None
    hash: str
    """SHA-256 of the key, hexadecimal."""
    old_hash: str | None = None
    """SHA-256 of the key before the last rotation."""
    old_until_ms: int | None = None
    """Moment until which the key before the last rotation is accepted."""

    def is_live(self, now_ms: int) -> bool:
        """Whether the key is neither revoked nor expired."""
        is_over = self.expires_at_ms is not None and self.expires_at_ms <= now_ms
        return self.revoked_at_ms is None and not is_over

    def accepts(self, digest: str, now_ms: int) -> bool:
        """Whether the digest belongs to this key and the key is live, compared in constant time."""
        is_new = compare_digest(digest, self.hash)
        is_old = compare_digest(digest, self.old_hash or self.hash)
        old_counts = self.old_until_ms is not None and now_ms < self.old_until_ms
        return (is_new or (is_old and old_counts)) and self.is_live(now_ms)


def new_key(key_id: str, random: bytes) -> str:
    """Make the key of an id, with a secret of 32 random bytes."""
    body = f"{_PREFIX}{key_id}_{_base62(int.from_bytes(random), _SECRET_LENGTH)}"
    return body + _base62(zlib.crc32(body.encode("ascii")), _CHECKSUM_LENGTH)


def new_key_id(random: bytes) -> str:
    """Make a key's id of 7 random bytes."""
    return _base62(int.from_bytes(random), _ID_LENGTH)


def key_id_of(key: str) -> str | None:
    """Id within a key; None if the text is not a key of this service, or has a typo."""
    length = len(_PREFIX) + _ID_LENGTH + 1 + _SECRET_LENGTH + _CHECKSUM_LENGTH
    if len(key) != length or not key.isascii() or not key.startswith(_PREFIX):
        return None
    body, checksum = key[:-_CHECKSUM_LENGTH], key[-_CHECKSUM_LENGTH:]
    if checksum != _base62(zlib.crc32(body.encode("ascii")), _CHECKSUM_LENGTH):
        return None
    return body[len(_PREFIX) : len(_PREFIX) + _ID_LENGTH]


def digest_of(key: str) -> str:
    """The SHA-256 under which a key is stored, hexadecimal."""
    return sha256(key.encode("utf-8", "surrogateescape")).hexdigest()


@dataclass(frozen=True, slots=True, kw_only=True)
class EnvironmentKey:
    """A key of PROMPTMILL_API_KEYS; only its digest is kept."""

    caller: Caller
    digest: str


def parse_environment_keys(text: str) -> tuple[EnvironmentKey, ...]:
    """The keys of `name=key[:scope+scope],...`; without scopes a key has `submit`.

    Raises:
        ValueError: An entry is wrong; the message has its number and never the key.
    """
    found: dict[str, EnvironmentKey] = {}
    for number, entry in enumerate((each.strip() for each in text.split(",")), 1):
        name, equals, rest = entry.partition("=")
        key, _, scopes_text = rest.partition(":")
        if not equals or not NAME.fullmatch(name) or name in found:
            raise ValueError(f"entry {number} must be name=key, each name once")
        if len(key) < LEAST_LENGTH or not VISIBLE.fullmatch(key):
            raise ValueError(
                f"the key of {name} must have {LEAST_LENGTH} or more visible characters"
            )
        caller = Caller(
            key_id=f"{ENVIRONMENT}{name}", name=name, scopes=parse_scopes(scopes_text or "submit")
        )
        found[name] = EnvironmentKey(caller=caller, digest=digest_of(key))
    return tuple(found.values())


def parse_scopes(text: str) -> frozenset[Scope]:
    """The scopes of `read+metrics`.

    Raises:
        ValueError: A scope does not exist.
    """
    wanted = text.split("+")
    unknown = [each for each in wanted if each not in set(Scope)]
    if unknown:
        raise ValueError(f"there is no scope {unknown[0]!r}; there are {', '.join(Scope)}")
    return frozenset(map(Scope, wanted))


def name_of(key_id: str | None, stored_name: str | None) -> str | None:
    """Name of a key by its id; None for a key that was deleted, and without a key."""
    if key_id is not None and key_id.startswith(ENVIRONMENT):
        return key_id.removeprefix(ENVIRONMENT)
    return stored_name


def _base62(number: int, length: int) -> str:
    digits: list[str] = []
    for _ in range(length):
        number, digit = divmod(number, len(_DIGITS))
        digits.append(_DIGITS[digit])
    return "".join(reversed(digits))
