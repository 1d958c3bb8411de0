"""Regular expressions of strangers: the same meaning as elsewhere, and never much work."""

from __future__ import annotations

import contextlib
import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from promptmill.ollama.answer_checks.patterns import HEAVIEST, LONGEST, Pattern, Unusable

EXPRESSIONS = ["a", "^a*b$", "a|^b", "[^a]b?", "(ab)+$", "a{2,3}b", r"\.", r"^[\w.-]+$", ""]


@given(st.sampled_from(EXPRESSIONS), st.text("ab.-", max_size=6))
def test_an_expression_is_found_where_python_finds_it(expression, text) -> None:
    assert Pattern(expression).is_in(text) is bool(re.search(expression, text))


@pytest.mark.parametrize(
    ("expression", "weight"),
    [
        ("abc", 3),
        ("a{10}", 10),
        ("a{2,5}b", 6),
        ("a{3,}", 3),
        ("(ab){10}c", 21),
        ("((a{10}){10}b){10}", 1010),
        (r"\d{4}", 164),
        (r"[^\]\s]{2}", 86),
        (".{5}", 15),
        (r"a\{9\}", 4),
        ("a|b*c+d?", 4),
    ],
)
def test_the_weight_of_an_expression_is_its_size_with_repetitions_written_out(
    expression, weight
) -> None:
    assert Pattern(expression).weight == weight


@given(st.text("ab()[]{}\\^$|*+?.,-&~0123wdpPu", max_size=25))
def test_any_text_is_an_expression_or_is_refused(text) -> None:
    with contextlib.suppress(Unusable):
        assert Pattern(text).weight >= 0


@pytest.mark.parametrize(
    ("expression", "reason"),
    [
        ("(", "unclosed group"),
        ("(?=a)b", "look-around"),
        (r"(a)\1", "backreferences are not supported"),
        ("a" * (LONGEST + 1), "more than 1000 characters"),
        (f"a{{{HEAVIEST + 1}}}", "repeats too much"),
        ("((a{99}){99}){99}", "repeats too much"),
    ],
)
def test_what_cannot_be_run_without_backtracking_or_within_bounds_is_refused(
    expression, reason
) -> None:
    with pytest.raises(Unusable, match=reason):
        Pattern(expression)
