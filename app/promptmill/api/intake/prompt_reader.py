"""From one decoded JSON value to a `PromptDraft`, the same for every form of a batch.

There may be a million prompts, most of them plain strings: those are checked by hand in a few
operations each, and only objects go through a pydantic model. Everything that is wrong is
collected; nothing is converted or corrected on the way, what is stored is what was sent.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, cast

from pydantic import ValidationError

from promptmill.api.errors.field_errors import describe
from promptmill.api.errors.violations import Faults
from promptmill.api.installed_models import ModelCheck
from promptmill.api.intake.text_rules import Path, faults_in, text_fault
from promptmill.api.schemas.requests import NOT_IN_A_CHAT, PromptObject
from promptmill.domain.batches import PromptDraft
from promptmill.domain.known_ids import KnownIds


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
        self, limits: ReadingLimits, faults: Faults, ids: KnownIds, models: ModelCheck | None = None
    ) -> None:
        """`models` is given to see every model that is named."""
        self.faults = faults
        self.count = 0
        """Prompts seen, also those beyond the limit."""
        self.first_chat: int | None = None
        """Index of the first prompt that is a chat."""
        self._limits = limits
        self._ids = ids
        self._models = models

    @property
    def is_full(self) -> bool:
        """Whether one more prompt would be too many."""
        return self.count >= self._limits.max_prompts

    @property
    def has_too_many(self) -> bool:
        """Whether the batch will be refused for the number of its prompts alone."""
        return self.count > self._limits.max_prompts

    def read(self, value: object) -> PromptDraft | None:
        """The next prompt; None when it is wrong, or one too many.

        Raises:
            MalformedJson: It is nested too deeply.
        """
        path: Path = ("prompts", self.count)
        self.count += 1
        if self.has_too_many:
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
            self.faults.add(("prompts", self.count), fault)
        self.count += 1

    def finish(self) -> None:
        """Note what only the number of prompts tells."""
        if self.has_too_many:
            self.faults.add(
                ("prompts",),
                f"has {self.count} prompts; at most {self._limits.max_prompts} are accepted in one"
                " batch",
            )
        elif not self.count:
            self.faults.add(("prompts",), "must have at least one prompt")

    def _text(self, text: str, path: Path) -> PromptDraft | None:
        fault = text_fault(text, self._limits.max_prompt_bytes)
        if not fault and (not text or text.isspace()):
            fault = "must not be empty"
        if fault:
            self.faults.add(path, fault)
            return None
        return PromptDraft(text)

    def _object(self, value: dict[str, Any], path: Path) -> PromptDraft | None:
        known = len(self.faults)
        if self.faults.extend(faults_in(value, path, max_text_bytes=self._limits.max_prompt_bytes)):
            return None
        try:
            PromptObject.model_validate(value)
        except ValidationError as error:
            self.faults.extend(describe(error, PromptObject, path))
            return None
        given = {name: one for name, one in value.items() if one is not None}
        self._check_together(given, path)
        if len(self.faults) > known:
            return None
        custom_id = given.pop("id", None)
        if given.get("format") == "":
            del given["format"]
        if "messages" in given:
            if self.first_chat is None:
                self.first_chat = self.count - 1
            _put_system_first(given, given.pop("system", None))
            text = _last_said(given["messages"])
        else:
            text = given.pop("prompt")
        return PromptDraft(text, custom_id, given or None)

    def _check_together(self, given: Mapping[str, Any], path: Path) -> None:
        """What each field alone cannot tell."""
        if ("prompt" in given) == ("messages" in given):
            self.faults.add(path, "must have either `prompt` or `messages`, and not both")
        elif "messages" in given:
            if not any(_says_something(message) for message in given["messages"]):
                self.faults.add((*path, "messages"), "must not be empty")
            for name in NOT_IN_A_CHAT:
                if name in given:
                    hint = "; put them into the message" if name == "images" else "; leave it out"
                    self.faults.add((*path, name), f"has no meaning with `messages`{hint}")
        else:
            if not given["prompt"] or given["prompt"].isspace():
                self.faults.add((*path, "prompt"), "must not be empty")
            if "tools" in given:
                self.faults.add(
                    (*path, "tools"), "needs `messages`; Ollama has tools in chats only"
                )
        check_raw(given, path, self.faults)
        if (custom_id := given.get("id")) is not None:
            clash = self._ids.clash(custom_id, self.count - 1)
            if clash:
                self.faults.add((*path, "id"), clash)


def is_chat(draft: PromptDraft) -> bool:
    """Whether the prompt goes to Ollama's `/api/chat`."""
    return draft.overrides is not None and "messages" in draft.overrides


def with_system_first(draft: PromptDraft, system: str) -> PromptDraft:
    """A chat that begins with the batch's system message, unless it begins with its own.

    `/api/chat` has no field for it, and Ollama would drop it without a word.
    """
    overrides = dict(draft.overrides or {})
    _put_system_first(overrides, system)
    return draft._replace(overrides=overrides)


def check_raw(given: Mapping[str, Any], path: Path, faults: Faults) -> None:
    """Note what contradicts `raw`, of a prompt or of a batch."""
    for name in ("template", "system"):
        if given.get("raw") is True and name in given:
            faults.add((*path, name), "cannot go with `raw`, which sends the prompt as it is")


def _put_system_first(given: dict[str, Any], system: str | None) -> None:
    messages: list[dict[str, Any]] = given["messages"]
    if system and messages[0]["role"] != "system":
        given["messages"] = [{"role": "system", "content": system}, *messages]


def _says_something(message: Mapping[str, Any]) -> bool:
    content = message.get("content") or ""
    return bool(content.strip() or message.get("images") or message.get("tool_calls"))


def _last_said(messages: list[dict[str, Any]]) -> str:
    for message in reversed(messages):
        if message["role"] == "user":
            return str(message.get("content") or "")
    return str(messages[-1].get("content") or "")
