"""From one decoded JSON value to a `PromptDraft`, the same for every form of a batch."""

from __future__ import annotations

import hashlib
import secrets
import sqlite3
from dataclasses import dataclass
from typing import Any, cast

from pydantic import ValidationError

from promptmill.api.errors.violations import Faults
from promptmill.api.installed_models import ModelCheck
from promptmill.api.intake.json_text import faults_in, text_fault
from promptmill.api.schemas.requests import PROMPT_TEXT, BatchFields, PromptObject
from promptmill.api.schemas.strict import Path
from promptmill.domain.batches import PromptDraft


@dataclass(frozen=True, slots=True, kw_only=True)
class ReadingLimits:
    """What the service's settings allow a batch to be."""

    max_prompts: int
    max_prompt_bytes: int
    """Most bytes of one text, as UTF-8; images are exempt."""
    default_model: str
    """Model of a batch that names none."""


class PromptReader:
    """Checks one prompt after the other."""

    def __init__(
        self, limits: ReadingLimits, faults: Faults, models: ModelCheck | None = None
    ) -> None:
        """`models` is given to see every model that is named."""
        self.faults = faults
        self.count = 0
        """Prompts seen, also those beyond the limit."""
        self.first_chat: int | None = None
        """Index of the first prompt that is a chat."""
        self._limits = limits
        self._ids = KnownIds()
        self._models = models

    @property
    def is_full(self) -> bool:
        """Whether one more prompt would be too many."""
        return self.count >= self._limits.max_prompts

    @property
    def next_place(self) -> Path:
        """Where the next prompt stands in the request."""
        return ("prompts", self.count)

    def read(self, value: object) -> PromptDraft | None:
        """The next prompt; None when it is wrong, or one too many.

        Raises:
            MalformedJson: It is nested too deeply.
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
        if draft is not None and self._models is not None:
            self._models.see_prompt(draft, path)
        return draft

    def skip(self, fault: str) -> None:
        """Count the next prompt, which cannot even be read."""
        if not self.is_full:
            self.faults.add(self.next_place, fault)
        self.count += 1

    def finish(self) -> None:
        """Note what only the number of prompts tells."""
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
            given = given_of(PromptObject.model_validate(value))
        except ValidationError as error:
            self.faults.add_errors(error, PromptObject, path)
            return None
        custom_id = given.pop("id", None)
        other = None if custom_id is None else self._ids.clash(custom_id, self.count - 1)
        if other is not None:
            self.faults.add((*path, "id"), f"is already the id of prompt {other}")
            return None
        if "messages" in given:
            if self.first_chat is None:
                self.first_chat = self.count - 1
            _put_system_first(given, given.pop("system", None))
            text = _last_said(given["messages"])
        else:
            text = given.pop("prompt")
        return PromptDraft(text, custom_id, given or None)


class KnownIds:
    """The `id`s of the prompts of one batch: 30 MB for a million of them.

    Only a hash of eight bytes is kept. It has a secret key, so nobody can send two ids that are
    taken for one; by chance that happens to one batch of 10 million ids in 300,000.
    """

    def __init__(self) -> None:
        self._key = secrets.token_bytes(16)
        self._database: sqlite3.Connection | None = None

    def clash(self, custom_id: str, index: int) -> int | None:
        """Note the id of a prompt; the index of another prompt that has it already."""
        if self._database is None:
            # The thread changes from block to block.
            self._database = sqlite3.connect(":memory:", check_same_thread=False)
            self._database.execute("CREATE TABLE id (hash INTEGER PRIMARY KEY, place INTEGER)")
        digest = hashlib.blake2b(custom_id.encode(), digest_size=8, key=self._key).digest()
        number = int.from_bytes(digest, "little", signed=True)
        added = self._database.execute("INSERT OR IGNORE INTO id VALUES (?, ?)", (number, index))
        if added.rowcount:
            return None
        found = self._database.execute("SELECT place FROM id WHERE hash = ?", (number,))
        return int(found.fetchone()[0])


def given_of(fields: PromptObject | BatchFields) -> dict[str, Any]:
    """The fields that were sent, as they go to Ollama; an empty `format` is none."""
    given = fields.model_dump(exclude_unset=True)
    if given.get("format") == "":
        del given["format"]
    return given


def is_chat(draft: PromptDraft) -> bool:
    """Whether the prompt goes to Ollama's `/api/chat`."""
    return draft.overrides is not None and "messages" in draft.overrides


def with_system_first(draft: PromptDraft, system: str | None) -> PromptDraft:
    """A chat that begins with the batch's system message, unless it begins with its own.

    `/api/chat` has no field for it, and Ollama would drop it without a word. Other prompts stay.
    """
    if not system or not is_chat(draft):
        return draft
    overrides = dict(draft.overrides or {})
    _put_system_first(overrides, system)
    return draft._replace(overrides=overrides)


def _put_system_first(given: dict[str, Any], system: str | None) -> None:
    messages: list[dict[str, Any]] = given["messages"]
    if system and messages[0]["role"] != "system":
        given["messages"] = [{"role": "system", "content": system}, *messages]


def _last_said(messages: list[dict[str, Any]]) -> str:
    for message in reversed(messages):
        if message["role"] == "user":
            return str(message.get("content") or "")
    return str(messages[-1].get("content") or "")
