"""Findings: what a check has found, how bad that is, and what to do about it."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import Any


class Level(StrEnum):
    """How a check ended."""

    OK = "ok"
    NOTE = "note"
    WARNING = "warning"
    FAILURE = "failure"


@dataclass(frozen=True, slots=True)
class Finding:
    """One result."""

    area: str
    level: Level
    told: str
    advice: str = ""
    """What to do, in a sentence; empty where there is nothing to do."""
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
