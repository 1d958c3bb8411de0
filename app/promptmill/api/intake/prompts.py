"""Conversion of a decoded JSON value to a `PromptDraft`, for every form of a batch."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, cast

from pydantic import ValidationError

from promptmill.api.errors.unstorable import faults_in, text_fault
from promptmill.api.errors.violations import Faults
from promptmill.api.installed_models import ModelCheck
from promptmill.api.intake.unchecked import Unchecked
from promptmill.api.schemas.requests import PROMPT_TEXT, PromptObject
from promptmill.api.schemas.strict import Path
from promptmill.domain.batches import PromptDraft
from promptmill.domain.requests.known_ids import KnownIds


@dataclass(frozen=True, slots=True, kw_only=True)
class ReadingLimits:
    """Bounds of a batch by the service's settings."""

    max_prompts: int
    max_prompt_bytes: int
    """Most bytes of one text, as UTF-8; images are exempt."""
    default_model: str
    """Model of a batch that names none."""


class PromptReader:
    """Reader that checks one prompt after the other."""

    def __init__(
        self, limits: ReadingLimits, faults: Faults, ids: KnownIds, models: ModelCheck
    ) -> None:
        """`models` sees every model that is named."""
        self.faults = faults
        self.count = 0
        """Number of prompts read, including those beyond the limit."""
        self.first_with: dict[str, int] = {}
        """Index of the first prompt that has a field of its own, by the field's name."""
        self.unchecked = Unchecked()
        """Collector of the formats of single prompts."""
        self._limits = limits
        self._ids = ids
        self._models = models

    @property
    def is_full(self) -> bool:
        """Whether one more prompt would be too many."""
        return self.count >= self._limits.max_prompts

    @property
    def next_place(self) -> Path:
        """Place of the next prompt in the request."""
        return ("prompts", self.count)

    def read(self, value: object) -> PromptDraft | None:
        """Read the next prompt; None if it is wrong, or beyond the limit.

        Raises:
            MalformedJson: The prompt is nested too deeply.
        """
        path = self.next_place
        self.count += 1
        if self.count > self._limits.max_prompts:
            return None
        if isinstance(value, str):
            draft = self._text(value, path)
        elif isinstance(value, dict):
            draft = self._object(cast("dict[str, Any]", value), path)
        else:
            self.faults.add(path, "must be a string, or an object with `prompt` or `messages`")
            return None
        if draft is not None:
            self._models.see_prompt(draft, path)
            if draft.overrides and "format" in draft.overrides:
                self.unchecked.see(draft.overrides["format"])
        return draft

    def skip(self, fault: str) -> None:
        """Count a prompt that cannot be read, with its fault."""
        if not self.is_full:
            self.faults.add(self.next_place, fault)
        self.count += 1

    def finish(self) -> None:
        """Add the faults of the number of prompts."""
        if self.count > self._limits.max_prompts:
            self.faults.add(
                ("prompts",),
                f"has {self.count} prompts; at most {self._limits.max_prompts} are accepted in one"
                " batch",
            )
        elif not self.count:
            self.faults.add(("prompts",), "must have at least one prompt")

    def _text(self, text: str, path: Path) -> PromptDraft | None:
        if fault := text_fault(text, self._limits.max_prompt_bytes):
            self.faults.add(path, fault)
            return None
        try:
            return PromptDraft(PROMPT_TEXT.validate_python(text))
        except ValidationError as error:
            self.faults.add_errors(error, PromptObject, path)
            return None

    def _object(self, value: dict[str, Any], path: Path) -> PromptDraft | None:
        most = self._limits.max_prompt_bytes
        if self.faults.extend(faults_in(value, path, max_text_bytes=most)):
            return None
        try:
            prompt = PromptObject.model_validate(value)
        except ValidationError as error:
            self.faults.add_errors(error, PromptObject, path)
            return None
        clash = None if prompt.id is None else self._ids.clash(prompt.id, self.count - 1)
        if clash:
            self.faults.add((*path, "id"), clash)
            return None
        draft = prompt.draft()
        for name in draft.overrides or ():
            self.first_with.setdefault(name, self.count - 1)
        return draft
