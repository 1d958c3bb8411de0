"""The error of this room, the collector of several faults, and the notes of what was left out."""

from __future__ import annotations

from typing import Final

MOST_FAULTS_TOLD: Final = 20


class UnreadableInput(Exception):  # noqa: N818 - named for what it is
    """An input cannot be read, or a file cannot be written so; `faults` names each place."""

    def __init__(self, *faults: str) -> None:
        super().__init__("; ".join(faults))
        self.faults = faults


class Faults:
    """Faults of one reading, collected so that a person sees more than the first."""

    def __init__(self) -> None:
        self._told: list[str] = []

    def __bool__(self) -> bool:
        return bool(self._told)

    def add(self, fault: str) -> None:
        """Keep a fault; raise `UnreadableInput` when there are as many as are told."""
        self._told.append(fault)
        if len(self._told) >= MOST_FAULTS_TOLD:
            self.check()

    def check(self) -> None:
        """Raise `UnreadableInput` if there is a fault."""
        if self._told:
            raise UnreadableInput(*self._told)


class Notes:
    """Rows that were left out of a reading: how many, and where the first of them stand."""

    def __init__(self) -> None:
        self.left_out = 0
        self.blank_lines = 0
        """Of a text, between its prompts."""
        self.remarks: list[str] = []

    def leave_out(self, place: str, why: str) -> None:
        """Count a row that becomes no prompt."""
        self.left_out += 1
        if self.left_out <= 5:  # noqa: PLR2004 - enough to see what is wrong
            self.remarks.append(f"{place} {why} and is left out")
