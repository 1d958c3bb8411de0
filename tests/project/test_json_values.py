"""Values as JSON, and where something in them is that JSON cannot say."""

from __future__ import annotations

import json
import math
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from promptmill.json_values import encoded

NAMES = st.text(st.characters(codec="utf-8"), max_size=5)
WHOLE = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(st.characters(codec="utf-8")),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(NAMES, inner, max_size=4),
)
WRONG = st.sampled_from([math.nan, math.inf, -math.inf, "\ud83d", {1}, b"x", object()])


@given(WHOLE)
def test_what_json_can_say_comes_back_as_it_was(value) -> None:
    assert json.loads(encoded(value)) == value


@pytest.mark.parametrize(
    ("value", "plain"),
    [
        (np.int64(2**53 + 1), 2**53 + 1),
        (np.float32(0.5), 0.5),
        (np.bool_(True), True),
        ({"a": [np.uint8(7)]}, {"a": [7]}),
    ],
)
def test_numbers_of_numpy_are_numbers(value, plain) -> None:
    assert json.loads(encoded(value)) == plain


@pytest.mark.parametrize(
    ("value", "error"),
    [
        (np.float32("nan"), "a is NaN"),
        (np.array([1, 2]), "a is of the type ndarray"),
        (np.datetime64("2026-01-01"), "a is of the type datetime64"),
        (1j, "a is of the type complex"),
    ],
)
def test_what_numpy_has_and_json_has_not_is_named(value, error) -> None:
    with pytest.raises((TypeError, ValueError), match=error):
        encoded({"a": value})


@given(WHOLE, WRONG, st.integers(0, 3))
def test_what_json_cannot_say_is_named_with_its_place(value, wrong, depth) -> None:
    whole: Any = {"a": [value, wrong]}
    place = "a[1]"
    for _ in range(depth):
        whole, place = {"in": whole}, f"in.{place}"

    with pytest.raises((TypeError, ValueError)) as raised:
        encoded(whole)

    assert str(raised.value).startswith(f"{place} ")


def test_what_is_nested_too_deeply_or_in_itself_is_refused() -> None:
    deep: list[Any] = []
    for _ in range(100_000):
        deep = [deep]
    ring: list[Any] = []
    ring.append(ring)

    for value in (deep, ring):
        with pytest.raises(ValueError, match="nested too deeply"):
            encoded(value)
    # Taken apart level by level, as Python's own end of a deep list recurses.
    while deep:
        deep = deep.pop()
