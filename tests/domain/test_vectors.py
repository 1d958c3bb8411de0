"""Vectors are stored as 32-bit numbers, and written with as few digits as give them back."""

from __future__ import annotations

import base64
import struct

from hypothesis import given
from hypothesis import strategies as st
from pydantic_core import to_json

from promptmill.domain.vectors import packed, unpacked

NUMBERS = st.floats(width=32, allow_nan=False, allow_infinity=False)


@given(st.lists(NUMBERS, min_size=1, max_size=20))
def test_what_is_written_gives_the_same_32_bit_numbers_back(numbers: list[float]) -> None:
    assert packed(unpacked(packed(numbers))) == packed(numbers)


@given(NUMBERS)
def test_nine_digits_are_enough_for_every_number(number: float) -> None:
    (written,) = unpacked(packed([number]))
    assert float(f"{written:.8e}") == written


def test_a_decimal_number_is_written_as_it_was_read() -> None:
    assert to_json(unpacked(packed([0.1, -0.48712373, 1.0]))) == b"[0.1,-0.48712373,1.0]"


def test_the_lowest_byte_comes_first() -> None:
    assert packed([1.0, 2.5]) == struct.pack("<2f", 1.0, 2.5)
    assert base64.b64encode(packed([1.0])) == b"AACAPw=="
