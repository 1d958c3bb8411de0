"""Public ids: a prefix and 26 characters, which sort by time of creation.

The form is that of ULID (48 bits of milliseconds, 80 random bits, Crockford's base 32), in lower
case so that an id survives systems that fold case.
"""

from __future__ import annotations

_ALPHABET = "0123456789abcdefghjkmnpqrstvwxyz"
RANDOM_BITS = 80


def sortable_id(prefix: str, *, now_ms: int, random: int) -> str:
    """Make an id with a prefix; `random` returns `RANDOM_BITS` random bits."""
    value = (now_ms << RANDOM_BITS) | random
    characters = [_ALPHABET[(value >> shift) & 31] for shift in range(125, -1, -5)]
    return f"{prefix}_{''.join(characters)}"
