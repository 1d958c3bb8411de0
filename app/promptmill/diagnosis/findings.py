"""Findings: what a check has found, how bad that is, and what to do about it."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import Any, Final

_CLOCKS_APART_S: Final = 2.0


class Level(StrEnum):
    """Severity of a finding."""

    OK = "ok"
    NOTE = "note"
    WARNING = "warning"
    FAILURE = "failure"


@dataclass(frozen=True, slots=True)
class Finding:
    """Result of a check."""

    area: str
    level: Level
    told: str
    advice: str = ""
    """Advice in a sentence; empty if no action is needed."""
    is_contact: bool = False
    """Whether the database or a host has answered."""

    def document(self) -> dict[str, Any]:
        """The finding as `--json` prints it."""
        return {
            "area": self.area,
            "level": self.level.value,
            "finding": self.told,
            "advice": self.advice or None,
        }


def clock_finding(whose: str, ahead_s: float) -> Finding:
    """Build the finding on a clock that is so many seconds ahead of this machine's."""
    if abs(ahead_s) <= _CLOCKS_APART_S:
        return Finding("clock", Level.OK, f"The clock of {whose} is this machine's.")
    side = "ahead of" if ahead_s > 0 else "behind"
    told = f"The clock of {whose} is {abs(ahead_s):.0f} s {side} this machine's."
    return Finding("clock", Level.WARNING, told, "Have both keep time by NTP.")
