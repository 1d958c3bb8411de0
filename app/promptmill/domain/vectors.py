"""Stored form of vectors: 32-bit floating point numbers, little-endian.

OpenAI's clients expect the same form as base64.
"""

from __future__ import annotations

import sys
from array import array
from collections.abc import Iterable
from typing import Final

_DIGITS: Final = (7, 8, 9)
"""Numbers of significant digits to try; nine distinguish all 32-bit numbers."""


def packed(numbers: Iterable[float]) -> bytes:
    """Pack numbers, each rounded to 32 bits."""
    return _in_stored_order(array("f", numbers)).tobytes()


def unpacked(vector: bytes) -> list[float]:
    """Unpack a vector into numbers with as few of seven, eight or nine digits as identify them.

    JSON then has 0.1 and not 0.10000000149011612, and rounding to 32 bits gives the same number
    again.
    """
    exact = _in_stored_order(array("f", vector))
    found = _rounded(exact, _DIGITS[0])
    for digits in _DIGITS[1:]:
        wrong = [place for place, same in enumerate(array("f", found)) if same != exact[place]]
        if not wrong:
            break
        better = _rounded(array("f", (exact[place] for place in wrong)), digits)
        for place, number in zip(wrong, better, strict=True):
            found[place] = number
    return found


def _rounded(numbers: array[float], digits: int) -> list[float]:
    # One format for all numbers: a call for each takes twice as long.
    return list(map(float, (f"%.{digits}g " * len(numbers) % tuple(numbers)).split()))


def _in_stored_order(numbers: array[float]) -> array[float]:
    if sys.byteorder == "big":
        numbers.byteswap()
    return numbers
