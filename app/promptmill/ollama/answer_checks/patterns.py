"""Untrusted regular expressions, matched in time that is linear in the text.

They run in pydantic's engine (Rust's `regex`), which has no backtracking: no look-around, no
back-references, and no expression without end. The remaining cost is known beforehand, so that a
caller can keep a budget.
"""

from __future__ import annotations

import re

from pydantic_core import SchemaError, SchemaValidator, core_schema

LONGEST = 1_000
"""Most characters of an expression."""
HEAVIEST = 10_000
"""Most weight of an expression; each character of a text costs about 10 ns per unit of weight."""

_OF_A_CLASS = 40  # \w and its like have hundreds of ranges, and take 40 kB
_OF_ALMOST_ANY = 3  # `.` and `[^x]` are ten ranges of bytes
_REPEATED = re.compile(r"\{(\d+)(?:,(\d*))?\}")
_BACKTRACKING = re.compile(r"look-around|backreferences")
_CLASS = re.compile(r"\\[wWdDsSpP]")
_ATOM = re.compile(
    r"\\[pPxu]\{[^}]*\}|\\.|\[\^?\]?(?:\\.|\[(?:\\.|[^\]\\])*\]|[^\]\\])*\]|.", re.DOTALL
)


class Unusable(ValueError):  # noqa: N818 - named for what it is
    """The expression cannot be used; the message says why."""


class NeedsBacktracking(Unusable):
    """The expression has look-around or back-references, and is not run."""


class Unchecked:
    """Expression that is not run; its result is assumed."""

    weight = 0

    def __init__(self, *, matches: bool) -> None:
        """Set the result that is assumed for every text."""
        self._matches = matches

    def is_in(self, text: str) -> bool:
        """The assumed result."""
        del text
        return self._matches


class Pattern:
    """Expression that matches anywhere in a text, as JSON Schema defines it."""

    __slots__ = ("_engine", "weight")

    def __init__(self, expression: str) -> None:
        """Compile the expression.

        Raises:
            NeedsBacktracking: The expression has look-around or back-references.
            Unusable: The expression is malformed or too large.
        """
        if len(expression) > LONGEST:
            raise Unusable(f"has more than {LONGEST} characters")
        self.weight = _weight(expression)
        """Weight of the expression: its size in plain characters."""
        if self.weight > HEAVIEST:
            raise Unusable("repeats too much")
        try:
            self._engine = SchemaValidator(core_schema.str_schema(pattern=expression))
        except SchemaError as error:
            # The last line is `error: ...`, or the exception's name if it is the only line.
            reason = str(error).rstrip().rpartition(": ")[2]
            kind = NeedsBacktracking if _BACKTRACKING.search(reason) else Unusable
            raise kind(reason) from None

    def is_in(self, text: str) -> bool:
        """Whether the expression matches somewhere in the text."""
        return self._engine.isinstance_python(text)


def _weight(expression: str) -> int:
    """Estimate the size of the expression with its repetitions written out.

    It bounds the engine's work; the engine itself checks whether the expression is well formed.
    """
    sums, last, at = [0], 0, 0
    while at < len(expression):
        repeated = _REPEATED.match(expression, at)
        if repeated is not None:
            low, high = int(repeated[1]), int(repeated[2] or 0)
            sums[-1] += last * (max(low, high, 1) - 1)
            at = repeated.end()
            continue
        atom = _ATOM.match(expression, at)
        text = atom[0] if atom else expression[at]
        at += len(text)
        if text == "(":
            sums.append(0)
            last = 0
        elif text == ")" and len(sums) > 1:
            last = sums.pop()
            sums[-1] += last
        elif text not in "*+?|":
            last = _OF_ALMOST_ANY if text == "." or text.startswith("[^") else 1
            last += _OF_A_CLASS * len(_CLASS.findall(text))
            sums[-1] += last
    return sum(sums)
