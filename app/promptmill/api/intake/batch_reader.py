"""The JSON form of `POST /batches`: an object whose `prompts` are read one by one."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from promptmill.api.errors.field_errors import unknown_name
from promptmill.api.errors.violations import Faults
from promptmill.api.installed_models import ModelCheck
from promptmill.api.intake.batch_fields import check_for_chat, read_fields
from promptmill.api.intake.json_stream import MAX_MEMBERS, JsonStream, MalformedJson, Step, TooLarge
from promptmill.api.intake.prompt_reader import (
    PromptReader,
    ReadingLimits,
    is_chat,
    with_system_first,
)
from promptmill.api.intake.text_rules import Path
from promptmill.api.schemas.requests import BatchRequest
from promptmill.domain.batches import BatchDraft, PromptDraft
from promptmill.domain.errors import FieldProblem, Invalid
from promptmill.domain.known_ids import IdsByName


def read_batch(limits: ReadingLimits, models: ModelCheck | None = None) -> Step[BatchDraft]:
    """Read the whole body; it is sent block by block, the end as `b""`.

    `models` is given when every model that is named has to be installed, but for `auto_pull`.

    Raises:
        MalformedJson: It is no JSON.
        Invalid: Every field and prompt that is wrong.
    """
    stream = JsonStream()
    faults = Faults()
    yield from _open_object(stream)
    prompts = PromptReader(limits, faults, IdsByName(), models)
    drafts: list[PromptDraft] = []
    fields: dict[str, Any] = {}
    names: set[str] = set()
    is_list = False
    while (name := (yield from stream.next_name(first=not names))) is not None:
        if name in names:
            faults.add((name,), "is given twice; give it once")
        names.add(name)
        if len(names) > MAX_MEMBERS:
            faults.add((), f"has more than {MAX_MEMBERS} members")
            faults.raise_if_any()
        if name == "prompts":
            is_list = yield from _read_prompts(stream, prompts, drafts)
        else:
            fields[name] = yield from _value(stream, (name,), faults)
    yield from stream.end()
    if "prompts" not in names:
        faults.add(("prompts",), "is required")
    if is_list:
        prompts.finish()
    known = len(faults)
    draft = read_fields(fields, limits, faults)
    if models is not None:
        _check_models(models, draft, faults, has_model=len(faults) == known)
    if prompts.first_chat is not None:
        check_for_chat(draft, prompts.first_chat, faults)
    faults.raise_if_any()
    return replace(draft, prompts=_with_system(drafts, draft.parameters.get("system")))


def _check_models(
    models: ModelCheck, draft: BatchDraft, faults: Faults, *, has_model: bool
) -> None:
    if has_model:
        models.see_batch(draft.model, ("model",))
    # Only now is it known: `auto_pull` may stand behind the prompts.
    if not draft.auto_pull:
        faults.take(models.missing)


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


def _read_prompts(
    stream: JsonStream, prompts: PromptReader, drafts: list[PromptDraft]
) -> Step[bool]:
    """Read the value of `prompts`; whether it is a list."""
    if (yield from stream.peek()) != "[":
        yield from _value(stream, ("prompts",), prompts.faults)
        prompts.faults.add(("prompts",), "must be a list of prompts")
        return False
    stream.enter()
    first = True
    while (yield from stream.next_item(first=first)):
        first = False
        value = yield from _value(stream, ("prompts", prompts.count), prompts.faults)
        draft = prompts.read(value)
        if draft is not None:
            drafts.append(draft)
        elif prompts.has_too_many:
            drafts.clear()  # The batch will be refused; only the count matters now.
    return True


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


def _with_system(drafts: list[PromptDraft], system: str | None) -> list[PromptDraft]:
    if not system:
        return drafts
    return [with_system_first(draft, system) if is_chat(draft) else draft for draft in drafts]
