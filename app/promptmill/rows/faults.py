"""Faults of an input: the error that reports them, their collector, and notes of skipped rows."""

from __future__ import annotations

from typing import Final

MOST_FAULTS_TOLD: Final = 20


class UnreadableInput(Exception):  # noqa: N818 - named for what it is
    """An input cannot be read, or a file cannot be written; `faults` names each place."""

    def __init__(self, *faults: str) -> None:
        super().__init__("; ".join(faults))
        self.faults = faults


class Faults:
    """Collector of one reading's faults, so that an error reports several of them."""

    def __init__(self) -> None:
        self._told: list[str] = []

    def __bool__(self) -> bool:
        return bool(self._told)

    def add(self, fault: str) -> None:
        """Add a fault, and raise `UnreadableInput` once their number reaches `MOST_FAULTS_TOLD`."""
        self._told.append(fault)
        if len(self._told) >= MOST_FAULTS_TOLD:
            self.check()

    def check(self) -> None:
        """Raise `UnreadableInput` if a fault was added."""
        if self._told:
            raise UnreadableInput(*self._told)


class Notes:
    """Rows that a reading left out: their number, and the places of the first."""

    def __init__(self) -> None:
        self.left_out = 0
        self.blank_lines = 0
        """Number of blank lines between prompts."""
        self.remarks: list[str] = []

    def leave_out(self, place: str, why: str) -> None:
        """Count a row that does not become a prompt."""
        self.left_out += 1
        if self.left_out <= 5:  # noqa: PLR2004 - enough to recognise the cause
            self.remarks.append(f"{place} {why} and is left out")
