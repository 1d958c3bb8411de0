"""Student's t distribution, held against SciPy's."""

from __future__ import annotations

import subprocess
import sys

import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from promptmill.domain.benchmarks.student_t import two_sided_p, two_sided_t

FREEDOM = st.floats(1, 10_000)


@given(freedom=FREEDOM, t=st.floats(0, 50))
def test_the_probability_of_being_further_from_zero_is_that_of_scipy(freedom, t) -> None:
    expected = 2 * stats.t.sf(t, freedom)
    assert two_sided_p(t, freedom) == pytest.approx(expected, rel=1e-10, abs=1e-290)
    assert two_sided_p(-t, freedom) == two_sided_p(t, freedom)


@given(freedom=FREEDOM, p=st.floats(1e-6, 0.999))
def test_the_quantile_is_that_of_scipy(freedom, p) -> None:
    assert two_sided_t(p, freedom) == pytest.approx(stats.t.isf(p / 2, freedom), rel=1e-9)


def test_no_comparison_loads_numpy_or_scipy() -> None:
    program = (
        "import sys; from promptmill.domain.benchmarks.significance import compare;"
        "from promptmill.domain.benchmarks.statistics import distribution;"
        "[distribution(range(n)) for n in range(9)];"
        "compare([1, 2, 3], [2, 3, 5], lower_is_better=True);"
        "compare([1, 2, 3, 4, 5], [2, 3, 4, 5, 6], lower_is_better=True);"
        "assert not {'scipy', 'numpy'} & set(sys.modules)"
    )
    subprocess.run([sys.executable, "-c", program], check=True)
