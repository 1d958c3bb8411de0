"""All that is wrong with a request, collected so that one answer names every field."""

from __future__ import annotations

from collections.abc import Iterable

from promptmill.api.intake.text_rules import Path, pointer_to
from promptmill.domain.errors import FieldProblem, Invalid

MOST_LISTED = 100
"""Most faults that one answer lists; how many there are in all is said as well."""


class Faults:
    """The faults found so far."""

    def __init__(self) -> None:
        self._listed: list[FieldProblem] = []
        self._count = 0

    def __len__(self) -> int:
        return self._count

    def add(self, path: Path, detail: str) -> None:
        """Note one; beyond `MOST_LISTED` it is only counted."""
        self._count += 1
        if self._count <= MOST_LISTED:
            self._listed.append(FieldProblem(pointer_to(path), detail))

    def extend(self, faults: Iterable[tuple[Path, str]]) -> bool:
        """Note several; whether there were any."""
        before = self._count
        for path, detail in faults:
            self.add(path, detail)
        return self._count > before

    def take(self, others: Faults) -> None:
        """Note all that were noted elsewhere."""
        room = max(MOST_LISTED - self._count, 0)
        self._listed += others._listed[:room]
        self._count += others._count

    def raise_if_any(self) -> None:
        """Refuse the request if a fault was noted.

        Raises:
            Invalid: With every listed fault.
        """
        if self._count > MOST_LISTED:
            message = f"{self._count} entries are wrong; the first {MOST_LISTED} are listed."
        elif self._count > 1:
            message = f"{self._count} entries are wrong."
        else:
            message = "One entry is wrong."
        if self._count:
            raise Invalid(message, tuple(self._listed))
