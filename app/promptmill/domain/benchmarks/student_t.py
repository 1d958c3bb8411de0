"""Student's t distribution, for intervals and tests of a mean or of a difference of means.

Both functions use the regularised incomplete beta function: for a variable T with v degrees of
freedom, `P(|T| > t) = I_x(v/2, 1/2)` with `x = v (v + t**2)` (NIST DLMF 8.17; Abramowitz & Stegun
26.7.1).
"""

from __future__ import annotations

import math
from typing import Final

_ENOUGH_STEPS: Final = 500
_SMALLEST: Final = 1e-300
_BISECTIONS: Final = 60


def two_sided_p(t: float, freedom: float) -> float:
    """Probability that a variable with `freedom` degrees of freedom is further from 0 than t.

    Accurate to ten digits for 1 to 10,000 degrees of freedom.
    """
    whole = freedom + t * t
    return _incomplete_beta(freedom / 2, 0.5, freedom / whole, t * t / whole)


def two_sided_t(p: float, freedom: float) -> float:
    """The t whose `two_sided_p` is `p`: a 95 % interval reaches `two_sided_t(0.05, ...)`."""
    low, high = 0.0, 1.0
    while two_sided_p(high, freedom) > p:
        low, high = high, 2 * high
    for _ in range(_BISECTIONS):
        middle = (low + high) / 2
        if two_sided_p(middle, freedom) > p:
            low = middle
        else:
            high = middle
    return high


def _incomplete_beta(a: float, b: float, x: float, y: float) -> float:
    """Regularised incomplete beta function I_x(a, b); `y` is 1 - x to its last digit."""
    if not x or not y:
        return float(not y)
    if x > (a + 1) / (a + b + 2):
        # The fraction converges quickly only below the mean; above it the symmetry of I is used.
        return 1 - _incomplete_beta(b, a, y, x)
    log_factor = (
        math.lgamma(a + b)
        - math.lgamma(a)
        - math.lgamma(b)
        + a * math.log(x)
        + b * math.log(y)
        - math.log(a)
    )
    return math.exp(log_factor) / _fraction(a, b, x)


def _fraction(a: float, b: float, x: float) -> float:
    """Continued fraction of DLMF 8.17.22, evaluated by Lentz's method (1976)."""
    value = numerators = 1.0
    denominators = 0.0
    for step in range(1, _ENOUGH_STEPS):
        m = step // 2
        if step % 2:
            term = -(a + m) * (a + b + m) * x / ((a + 2 * m) * (a + 2 * m + 1))
        else:
            term = m * (b - m) * x / ((a + 2 * m - 1) * (a + 2 * m))
        denominators = 1 / (1 + term * denominators or _SMALLEST)
        numerators = 1 + term / numerators or _SMALLEST
        change = numerators * denominators
        value *= change
        if abs(change - 1) < 1e-15:  # noqa: PLR2004 - as near to 1 as a float can tell
            break
    return value
