"""The error of this room, and the collector that gathers several faults before raising it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

MOST_FAULTS_TOLD: Final = 20
NO_PROMPT: Final = "there is no prompt in it"


class UnreadableInput(Exception):  # noqa: N818 - named for what it is
    """An input cannot be read, or a file cannot be written so; `faults` names each place."""

    def __init__(self, *faults: str) -> None:
        super().__init__("; ".join(faults))
        self.faults: Sequence[str] = faults


class Faults:
    """Faults of one reading, collected so that a person sees more than the first."""

    def __init__(self) -> None:
        self._told: list[str] = []

    def __bool__(self) -> bool:
        return bool(self._told)

    def add(self, fault: str) -> None:
        """Keep one fault.

        Raises:
            UnreadableInput: There are as many now as are told.
        """
        self._told.append(fault)
        if len(self._told) >= MOST_FAULTS_TOLD:
            raise UnreadableInput(*self._told)

    def check(self) -> None:
        """Raise the faults, if there is any.

        Raises:
            UnreadableInput: There is one.
        """
        if self._told:
            raise UnreadableInput(*self._told)


class Notes:
    """Rows that were left out of a reading: how many, and where the first of them stand."""

    _MOST_TOLD: Final = 5

    def __init__(self) -> None:
        self.left_out = 0
        self.blank_lines = 0
        """Of a text, between its prompts."""
        self.remarks: list[str] = []

    def leave_out(self, place: str, why: str) -> None:
        """Count a row that becomes no prompt."""
        self.left_out += 1
        if self.left_out <= self._MOST_TOLD:
            self.remarks.append(f"{place} {why} and is left out")
