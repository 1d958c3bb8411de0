"""From the JSON of `POST /batches` to a `BatchDraft`, prompt by prompt.

There may be a hundred thousand prompts, most of them plain strings: those are checked by hand in a
few operations each, and only objects go through a pydantic model. Everything that is wrong is
collected; nothing is converted or corrected on the way, what is stored is what was sent.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, cast

from pydantic import ValidationError

from app.api.faults import Faults
from app.api.field_errors import describe, unknown_name
from app.api.json_stream import MAX_MEMBERS, JsonStream, MalformedJson, Step, TooLarge
from app.api.schemas.requests import (
    GENERATION_FIELDS,
    NOT_IN_A_CHAT,
    BatchFields,
    BatchRequest,
    PromptObject,
)
from app.api.text_rules import Path, faults_in, text_fault
from app.domain.errors import FieldProblem, Invalid
from app.domain.jobs import BatchDraft, PromptDraft
from app.domain.limits import Limits


@dataclass(frozen=True, slots=True, kw_only=True)
class ReadingLimits:
    """What the service's settings allow a batch to be."""

    max_prompts: int
    max_prompt_bytes: int
    """Most bytes of one text, as UTF-8; images are exempt."""
    default_model: str
    """Model of a batch that names none."""


def read_batch(limits: ReadingLimits) -> Step[BatchDraft]:
    """Read the whole body; it is sent block by block, the end as `b""`.

    Raises:
        MalformedJson: It is no JSON.
        Invalid: Every field and prompt that is wrong.
    """
    stream = JsonStream()
    faults = Faults()
    yield from _open_object(stream)
    prompts = _Prompts(limits, faults)
    fields: dict[str, Any] = {}
    names: set[str] = set()
    while (name := (yield from stream.next_name(first=not names))) is not None:
        if name in names:
            faults.add((name,), "is given twice; give it once")
        names.add(name)
        if len(names) > MAX_MEMBERS:
            faults.add((), f"has more than {MAX_MEMBERS} members")
            faults.raise_if_any()
        if name == "prompts":
            yield from _read_prompts(stream, prompts)
        else:
            fields[name] = yield from _value(stream, (name,), faults)
    yield from stream.end()
    if "prompts" not in names:
        faults.add(("prompts",), "is required")
    prompts.finish()
    return _draft(fields, prompts, limits, faults)


def _open_object(stream: JsonStream) -> Step[None]:
    opening = yield from stream.peek()
    if not opening:
        raise MalformedJson("The body is empty; send a JSON object.")
    if opening != "{":
        if opening != "[":  # A word or a number may also be no JSON at all, which is told first.
            yield from stream.value()
        fault = FieldProblem("", "must be an object with a field `prompts`")
        raise Invalid("The body must be a JSON object.", (fault,))
    stream.enter()


def _read_prompts(stream: JsonStream, prompts: _Prompts) -> Step[None]:
    if (yield from stream.peek()) != "[":
        yield from _value(stream, ("prompts",), prompts.faults)
        prompts.faults.add(("prompts",), "must be a list of prompts")
        return
    stream.enter()
    prompts.is_list = True
    first = True
    while (yield from stream.next_item(first=first)):
        first = False
        prompts.add((yield from _value(stream, ("prompts", prompts.count), prompts.faults)))


def _value(stream: JsonStream, path: Path, faults: Faults) -> Step[Any]:
    try:
        value = yield from stream.value()
    except TooLarge as reason:
        known = BatchRequest.model_fields
        top = str(path[0])
        faults.add(path, str(reason) if top in known else unknown_name(top, known))
        faults.raise_if_any()
        raise
    for name in stream.repeated_names:
        faults.add(path, f"has the name `{name[:64]}` twice in one object; give it once")
    stream.repeated_names.clear()
    return value


class _Prompts:
    """The prompts read so far, as drafts."""

    def __init__(self, limits: ReadingLimits, faults: Faults) -> None:
        self.faults = faults
        self.drafts: list[PromptDraft] = []
        self.count = 0
        self.is_list = False
        self.chats: list[int] = []
        """Indexes of the prompts that are chats."""
        self._limits = limits
        self._index_of_id: dict[str, int] = {}

    def add(self, value: object) -> None:
        index = self.count
        self.count += 1
        if index >= self._limits.max_prompts:
            self.drafts.clear()  # The batch will be refused; only the count matters now.
        elif isinstance(value, str):
            self._add_text(value, index)
        elif isinstance(value, dict):
            self._add_object(cast("dict[str, Any]", value), ("prompts", index))
        else:
            self.faults.add(
                ("prompts", index), "must be a string, or an object with `prompt` or `messages`"
            )

    def finish(self) -> None:
        if self.count > self._limits.max_prompts:
            self.faults.add(
                ("prompts",),
                f"has {self.count} prompts; at most {self._limits.max_prompts} are accepted in one"
                " batch",
            )
        elif self.is_list and not self.count:
            self.faults.add(("prompts",), "must have at least one prompt")

    def _add_text(self, text: str, index: int) -> None:
        fault = text_fault(text, self._limits.max_prompt_bytes)
        if fault:
            self.faults.add(("prompts", index), fault)
        elif not text or text.isspace():
            self.faults.add(("prompts", index), "must not be empty")
        else:
            self.drafts.append(PromptDraft(text))

    def _add_object(self, value: dict[str, Any], path: Path) -> None:
        known = len(self.faults)
        if self.faults.extend(faults_in(value, path, max_text_bytes=self._limits.max_prompt_bytes)):
            return
        try:
            PromptObject.model_validate(value)
        except ValidationError as error:
            self.faults.extend(describe(error, PromptObject, path))
            return
        given = {name: one for name, one in value.items() if one is not None}
        self._check_together(given, path)
        if len(self.faults) > known:
            return
        custom_id = given.pop("id", None)
        if given.get("format") == "":
            del given["format"]
        if "messages" in given:
            self.chats.append(len(self.drafts))
            _put_system_first(given, given.pop("system", None))
            text = _last_said(given["messages"])
        else:
            text = given.pop("prompt")
        self.drafts.append(PromptDraft(text, custom_id, given or None))

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
        _check_raw(given, path, self.faults)
        if (custom_id := given.get("id")) is not None:
            index = int(path[-1])
            other = self._index_of_id.setdefault(custom_id, index)
            if other != index:
                self.faults.add((*path, "id"), f"is already the id of prompt {other}")


def _draft(
    given: Mapping[str, Any], prompts: _Prompts, limits: ReadingLimits, faults: Faults
) -> BatchDraft:
    most = limits.max_prompt_bytes
    sound = {
        name: value
        for name, value in given.items()
        if not faults.extend(faults_in({name: value}, (), max_text_bytes=most))
    }
    try:
        fields = BatchFields.model_validate(sound)
    except ValidationError as error:
        faults.extend(describe(error, BatchRequest))
        fields = BatchFields()
    parameters = {
        name: sound[name]
        for name in GENERATION_FIELDS
        if sound.get(name) is not None and not (name == "format" and sound[name] == "")
    }
    _check_raw(parameters, (), faults)
    if prompts.chats:
        for name in NOT_IN_A_CHAT:
            if name in parameters:
                faults.add(
                    (name,),
                    f"has no meaning for a prompt with `messages`, such as prompt"
                    f" {prompts.chats[0]}; give it in the prompts that it is for",
                )
    faults.raise_if_any()
    _give_chats_the_system_message(prompts, parameters.get("system"))
    return BatchDraft(
        prompts=prompts.drafts,
        model=fields.model or limits.default_model,
        limits=Limits(
            max_concurrent=fields.max_concurrent, rate_limit_delay_s=fields.rate_limit_delay
        ),
        parameters=parameters,
        timeout_s=fields.timeout_s,
        max_attempts=fields.max_attempts,
        priority=fields.priority,
        metadata=fields.metadata,
    )


def _check_raw(given: Mapping[str, Any], path: Path, faults: Faults) -> None:
    for name in ("template", "system"):
        if given.get("raw") is True and name in given:
            faults.add((*path, name), "cannot go with `raw`, which sends the prompt as it is")


def _give_chats_the_system_message(prompts: _Prompts, system: str | None) -> None:
    # `/api/chat` has no field for it, and Ollama would drop it without a word.
    for index in prompts.chats if system else ():
        overrides = dict(prompts.drafts[index].overrides or {})
        _put_system_first(overrides, system)
        prompts.drafts[index] = prompts.drafts[index]._replace(overrides=overrides)


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
