"""Reading of the body of `POST /batches`: one JSON object, or a prompt on each line."""

from __future__ import annotations

import hashlib
from collections.abc import AsyncIterator, Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from enum import StrEnum
from functools import partial
from typing import Any, Final

from fastapi import Request
from pydantic import ValidationError

from promptmill.api.errors.unstorable import MalformedJson, faults_in
from promptmill.api.errors.violations import Faults
from promptmill.api.installed_models import ModelCheck
from promptmill.api.intake.body import (
    JSON,
    blocks,
    read_aside,
    receive_whole,
    require_media_type,
)
from promptmill.api.intake.json_text import JsonReader
from promptmill.api.intake.prompts import PromptReader, ReadingLimits
from promptmill.api.intake.query import QUERY, canonical, fields_of_query
from promptmill.api.schemas.requests import (
    EMBED_FIELDS,
    NOT_IN_A_CHAT,
    BatchFields,
    BatchRequest,
    with_system_first,
)
from promptmill.api.schemas.strict import Path
from promptmill.domain.batches import BatchDraft, BatchKind, PromptDraft
from promptmill.domain.errors import Invalid
from promptmill.domain.requests.known_ids import IdsByHash, IdsByName
from promptmill.domain.requests.line_cutter import Line, LineCutter
from promptmill.settings import Settings

_PIECE_PROMPTS: Final = 2_000
_PIECE_BYTES: Final = 1024 * 1024
_LEAST_LONGEST_LINE: Final = 16 * 1024 * 1024


class BodyForm(StrEnum):
    """Forms of a batch's body, by media type."""

    JSON = JSON
    """Object with a list of prompts."""
    NDJSON = "application/x-ndjson"
    """A prompt on each line; the other fields are query parameters."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ReceivedBatch:
    """Batch that was received and checked."""

    draft: BatchDraft
    sha256: str
    """SHA-256 of the body's bytes, hexadecimal, by which equal requests are recognised."""
    unchecked: list[str]
    """Rules that answers will not be checked against, one sentence each."""


def body_form(request: Request) -> BodyForm:
    """Determine the form of the body by its header.

    Raises:
        Refused: The body has neither form, is not in UTF-8, or is compressed.
    """
    wanted = "application/json, or application/x-ndjson for a prompt per line"
    return BodyForm(require_media_type(request, set(BodyForm), wanted))


def too_large(most_bytes: int) -> str:
    """Sentence for a JSON body with more bytes than that."""
    return (
        f"A JSON body may have {most_bytes} bytes at most. Send the prompts as lines of JSON"
        " (Content-Type: application/x-ndjson), which are stored while they arrive, or in several"
        " batches."
    )


async def receive_batch(
    request: Request, settings: Settings, models: ModelCheck | None = None
) -> ReceivedBatch:
    """Read and check the whole of a JSON body.

    `models` sees every model that is named, and says which have to be installed.

    Raises:
        Refused: The body is too large.
        MalformedJson: The body is not JSON.
        Invalid: The request has other faults; all are listed.
    """
    most = settings.max_body_bytes
    body = await receive_whole(request, most, too_large(most))
    return await read_aside(
        partial(_read_batch, settings=settings, models=models or ModelCheck()), body
    )


def _read_batch(body: bytes, settings: Settings, models: ModelCheck) -> ReceivedBatch:
    faults = Faults()
    limits = _reading_limits(settings, settings.max_prompts)
    prompts = PromptReader(limits, faults, IdsByName(), models)
    drafts: list[PromptDraft] | None = None
    fields: dict[str, Any] = {}
    reader = JsonReader(faults)
    reader.open(body)
    reader.require_object("must be an object with a field `prompts`")
    for name in reader.members():
        if name == "prompts" and reader.peek() == "[":
            drafts = list(_prompts_of(reader, prompts))
        else:
            fields[name] = reader.value((name,))
    reader.end()
    no_list = fields.pop("prompts", None)
    if drafts is not None:
        prompts.finish()
    else:
        missing = "is required" if no_list is None else "must be a list of prompts"
        faults.add(("prompts",), missing)
    known = len(faults)
    draft = _fields(fields, limits, faults)
    if len(faults) == known:
        models.see_batch(draft.model, ("model",))
    # Only now is it known: `auto_pull` may stand behind the prompts.
    if not draft.auto_pull:
        faults.take(models.missing)
    _check_fields(draft, prompts.first_with, faults)
    faults.raise_if_any()
    system = draft.parameters.get("system")
    with_system = [with_system_first(prompt, system) for prompt in drafts or ()]
    return ReceivedBatch(
        draft=replace(draft, prompts=with_system),
        sha256=hashlib.sha256(body).hexdigest(),
        unchecked=prompts.unchecked.sentences(draft.parameters.get("format")),
    )


def _prompts_of(reader: JsonReader, prompts: PromptReader) -> Iterator[PromptDraft]:
    for _ in reader.items():
        draft = prompts.read(reader.value(prompts.next_place))
        if draft is not None:
            yield draft


def _fields(
    given: Mapping[str, Any], limits: ReadingLimits, faults: Faults, *, place: Path = ()
) -> BatchDraft:
    """Build the batch without prompts from its fields; worthless if faults were added."""
    sound = {
        name: value
        for name, value in given.items()
        if not faults.extend(
            ((*place, *path), fault)
            for path, fault in faults_in({name: value}, (), max_text_bytes=limits.max_prompt_bytes)
        )
    }
    try:
        fields = BatchFields.model_validate(sound)
    except ValidationError as error:
        faults.add_errors(error, BatchRequest, place)
        fields = BatchFields()
    return fields.draft(limits.default_model)


class NdjsonBody:
    """NDJSON body that is being received, with the batch of its query parameters."""

    def __init__(
        self, request: Request, settings: Settings, models: ModelCheck | None = None
    ) -> None:
        """Read the query parameters, but not the body; `models` is as in `receive_batch`.

        Raises:
            Invalid: There are far too many query parameters.
        """
        self._request = request
        self._most_bytes = settings.max_upload_bytes
        self._faults = _LineFaults()
        limits = _reading_limits(settings, settings.max_upload_prompts)
        fields = fields_of_query(request, self._faults)
        self.draft = _fields(fields, limits, self._faults, place=QUERY)
        """Batch without its prompts; worthless until `pieces` has ended without an error."""
        self._models = models = models or ModelCheck()
        self._has_model = not self._faults
        if not self.draft.auto_pull:
            models.missing = self._faults
        self._prompts = PromptReader(limits, self._faults, IdsByHash(), models)
        self._reader = JsonReader(self._faults)
        # Room for images, and for any text with all characters escaped.
        self._longest = max(_LEAST_LONGEST_LINE, 6 * limits.max_prompt_bytes + 64 * 1024)
        self._lines = LineCutter(self._longest)
        self._hash = hashlib.sha256(canonical(request))

    @property
    def sha256(self) -> str:
        """SHA-256 of the bytes read and of the parameters, hexadecimal."""
        return self._hash.hexdigest()

    @property
    def prompts(self) -> int:
        """Number of prompts read."""
        return self._prompts.count

    @property
    def unchecked(self) -> list[str]:
        """Rules that answers will not be checked against, available once `pieces` has ended."""
        return self._prompts.unchecked.sentences(self.draft.parameters.get("format"))

    async def pieces(self) -> AsyncIterator[list[PromptDraft]]:
        """Yield the prompts, some thousands at a time, until the first fault.

        Raises:
            Refused: The body is too large.
            Invalid: Every line and parameter that is wrong, after the last line.
        """
        most = self._most_bytes
        refusal = f"The body may have {most} bytes at most. Send the prompts in several batches."
        piece: list[PromptDraft] = []
        size = received = 0
        async for block in blocks(self._request, most, refusal):
            received += len(block)
            piece += await read_aside(self._feed, block, received)
            size += len(block)
            if self._faults:
                piece.clear()  # Nothing will be stored; the rest is read for what is wrong in it.
            elif len(piece) >= _PIECE_PROMPTS or size >= _PIECE_BYTES:
                yield piece
                piece, size = [], 0
        piece += self._read(self._lines.end())
        self._prompts.finish()
        _check_fields(self.draft, self._prompts.first_with, self._faults, place=QUERY)
        if self._has_model:
            self._models.see_batch(self.draft.model, (*QUERY, "model"))
        self._faults.raise_if_any()
        yield piece

    def _feed(self, block: bytes) -> list[PromptDraft]:
        self._hash.update(block)
        return self._read(self._lines.feed(block))

    def _read(self, lines: Iterable[Line]) -> list[PromptDraft]:
        drafts: list[PromptDraft] = []
        for line in lines:
            self._faults.line = line.number
            draft = self._prompt_of(line)
            if draft is not None:
                drafts.append(with_system_first(draft, self.draft.parameters.get("system")))
        self._faults.line = None
        return drafts

    def _prompt_of(self, line: Line) -> PromptDraft | None:
        if line.content is None:
            return self._prompts.skip(f"is longer than {self._longest} bytes")
        if self._prompts.is_full:  # The batch will be refused; only the count matters now.
            return self._prompts.read(None)
        place = self._prompts.next_place
        try:
            self._reader.open(line.content)
            value = self._reader.only_value(place)
        except MalformedJson as error:
            return self._prompts.skip(error.of_line)
        except Invalid:  # It is far too large, which has been noted.
            self._prompts.count += 1
            return None
        try:
            return self._prompts.read(value)
        except MalformedJson as error:
            self._faults.add(place, error.of_line)
            return None


class _LineFaults(Faults):
    """Faults whose sentences begin with the number of the current line."""

    def __init__(self) -> None:
        super().__init__()
        self.line: int | None = None
        """Number of the current line; None for faults of the batch as a whole."""

    def add(self, path: Path, detail: str) -> None:
        """Note one."""
        super().add(path, detail if self.line is None else f"line {self.line}: {detail}")


def _check_fields(
    draft: BatchDraft, first_with: Mapping[str, int], faults: Faults, *, place: Path = ()
) -> None:
    """Add faults for fields without meaning for the batch's kind, or beside its prompts.

    `first_with` is the index of the first prompt that has a field of its own, by the field's name.
    """
    places: dict[str, Path] = {name: (*place, name) for name in draft.parameters}
    own: list[tuple[str, Path]] = [
        (name, ("prompts", index, name)) for name, index in first_with.items() if name != "model"
    ]
    if draft.kind is BatchKind.EMBED:
        if draft.fail_on is not None:
            places["fail_on"] = (*place, "fail_on")
        for name, path in (*places.items(), *own):
            if name not in EMBED_FIELDS:
                faults.add(path, "has no meaning for a text to embed; leave it out")
        return
    for name, path in (*places.items(), *own):
        if name == "dimensions":
            faults.add(path, "needs `kind`: `embed`; answers have no dimensions")
    chat = first_with.get("messages")
    for name in NOT_IN_A_CHAT:
        if chat is not None and name in places:
            faults.add(
                places[name],
                f"has no meaning for a prompt with `messages`, such as prompt {chat}; give it in"
                " the prompts that it is for",
            )


def _reading_limits(settings: Settings, max_prompts: int) -> ReadingLimits:
    return ReadingLimits(
        max_prompts=max_prompts,
        max_prompt_bytes=settings.max_prompt_bytes,
        default_model=settings.default_model,
    )
