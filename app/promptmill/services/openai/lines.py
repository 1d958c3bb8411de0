"""Reading of an input file's lines: errors of the file, and the prompts of its requests.

A malformed line fails the whole batch, a wrong body only its request.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from typing import Any, Final, NamedTuple, NoReturn, cast

from promptmill.domain.batches import PromptDraft
from promptmill.domain.model_names import normalise_model
from promptmill.domain.openai import FAULT, MARK, LineError
from promptmill.domain.requests.known_ids import IdsByHash
from promptmill.domain.requests.line_cutter import Line, LineCutter
from promptmill.services.openai.translation.faults import Refused, invalid_choice, missing, unknown
from promptmill.services.openai.translation.fields import SchemaCheck
from promptmill.services.openai.translation.translate import (
    Endpoint,
    text_fault,
    translate,
)

LONGEST_LINE: Final = 16 * 1024 * 1024
"""Most bytes of a line."""
_MOST_LISTED: Final = 100
_LONGEST_ID: Final = 512
_KEYS: Final = ("custom_id", "method", "url", "body")
_SAYS: Final = {
    Endpoint.CHAT: "messages",
    Endpoint.COMPLETIONS: "prompt",
    Endpoint.EMBEDDINGS: "input",
}
"""Field that a body needs beside its model, by endpoint."""


class LineErrors:
    """Errors of a file: the first by line, and the number of the others."""

    def __init__(self) -> None:
        self._listed: list[LineError] = []
        self._count = 0

    def __bool__(self) -> bool:
        return self._count > 0

    def add(self, code: str, message: str, line: int | None, param: str | None = None) -> None:
        """Add an error."""
        self._count += 1
        if self._count <= _MOST_LISTED:
            self._listed.append(LineError(code, message, line, param))

    def listed(self) -> list[LineError]:
        """Errors to report."""
        if self._count <= _MOST_LISTED:
            return self._listed
        more = f"{self._count - _MOST_LISTED} more errors are not listed."
        return [*self._listed, LineError(self._listed[-1].code, more)]


class LineLimit(NamedTuple):
    """Limit on the number of requests of an input file."""

    most: int
    what: str = "one batch"
    """Name of the limit in the error."""


class LineReader:
    """Parser of one input file from blocks of its bytes."""

    def __init__(
        self,
        endpoint: Endpoint,
        *,
        usable_schema: SchemaCheck,
        limit: LineLimit,
        installed: Collection[str] | None,
    ) -> None:
        """Store the options; `installed` are normalised names of all models, None if unknown."""
        self.errors = LineErrors()
        self.count = 0
        """Number of requests so far."""
        self.model: str | None = None
        """First model that was named, which is the batch's own."""
        self.has_several_models = False
        self._endpoint = endpoint
        self._usable_schema = usable_schema
        self._limit = limit
        self._installed = installed
        self._ids = IdsByHash()
        self._cutter = LineCutter(LONGEST_LINE)

    def feed(self, block: bytes) -> list[PromptDraft]:
        """Prompts of the lines that the block ends."""
        return list(self._read(self._cutter.feed(block)))

    def end(self) -> list[PromptDraft]:
        """Prompt of a last line without a line end; afterwards all errors are known."""
        last = list(self._read(self._cutter.end()))
        if not self.count and not self.errors:
            self.errors.add("empty_file", "The input file has no request.", None)
        if self.count > self._limit.most:
            message = (
                f"The input file has {self.count} requests; at most {self._limit.most} are accepted"
                f" in {self._limit.what}."
            )
            self.errors.add("too_many_tasks", message, None)
        return last

    def _read(self, lines: Iterable[Line]) -> Iterator[PromptDraft]:
        for line in lines:
            self.count += 1
            if self.count > self._limit.most:
                continue
            draft = self._draft(line)
            # Once a file has an error, no more of it is stored.
            if draft is not None and not self.errors:
                yield draft

    def _draft(self, line: Line) -> PromptDraft | None:
        number = line.number
        if line.content is None:
            message = f"The line is longer than {LONGEST_LINE} bytes."
            self.errors.add("line_too_long", message, number)
            return None
        try:
            value = decoded(line.content)
        except ValueError as error:
            self.errors.add("invalid_json_line", f"The line is not valid: {error}.", number)
            return None
        is_sound = self._check_shape(value, number)
        if isinstance(value.get("body"), dict):
            is_sound = self._check_body(value["body"], number) and is_sound
        return self._translated(value["custom_id"], value["body"]) if is_sound else None

    def _check_shape(self, value: dict[str, Any], number: int) -> bool:
        found: list[LineError] = []

        def add(code: str, message: str, param: str | None) -> None:
            found.append(LineError(code, message, number, param))

        for key in _KEYS:
            if value.get(key) is None:
                add("missing_required_parameter", missing(key).message, key)
        for key in value.keys() - set(_KEYS):
            fault = unknown(key, key, _KEYS)
            add("unknown_parameter", fault.message, fault.param)
        custom_id, method, url, body = (value.get(key) for key in _KEYS)
        if custom_id is not None and (why := self._id_fault(custom_id)):
            add(*why, "custom_id")
        if method is not None and method != "POST":
            code = "invalid_value" if isinstance(method, str) else "invalid_request"
            add(code, invalid_choice("method", method, ["POST"]).message, "method")
        if url is not None and url != self._endpoint.value:
            message = f"The URL must be the endpoint of the batch, {self._endpoint.value}."
            add("invalid_url", message, "url")
        if body is not None and not isinstance(body, dict):
            add("invalid_request", "'body' must be an object.", "body")
        for one in found:
            self.errors.add(*one)
        return not found

    def _id_fault(self, custom_id: object) -> tuple[str, str] | None:
        if not isinstance(custom_id, str):
            return "invalid_request", "'custom_id' must be a string."
        if not 1 <= len(custom_id) <= _LONGEST_ID:
            return "invalid_request", f"'custom_id' must have 1 to {_LONGEST_ID} characters."
        if why := text_fault(custom_id):
            return "invalid_request", f"'custom_id' {why}."
        if self._ids.clash(custom_id, self.count):
            return "duplicate_custom_id", "The custom_id was given to an earlier line."
        return None

    def _check_body(self, body: dict[str, Any], number: int) -> bool:
        found: list[LineError] = []
        says = _SAYS[self._endpoint]
        for key in ("model", says):
            if body.get(key) is None:
                param = f"body.{key}"
                found.append(LineError("invalid_request", missing(param).message, number, param))
        model = body.get("model")
        if model is not None and (not isinstance(model, str) or not model or text_fault(model)):
            message = "'body.model' must be the name of a model."
            found.append(LineError("invalid_request", message, number, "body.model"))
        elif model is not None and self._is_missing(model):
            message = (
                f"No Ollama host has the model '{model[:128]}'. Run `ollama pull {model[:128]}` on"
                " one, or make the batch with `promptmill: {auto_pull: true}`."
            )
            found.append(LineError("model_not_found", message, number, "body.model"))
        if body.get("stream") is True:
            message = "Streaming is not supported in batches."
            found.append(LineError("streaming_unsupported", message, number, "body.stream"))
        for one in found:
            self.errors.add(*one)
        return not found

    def _is_missing(self, model: str) -> bool:
        return self._installed is not None and normalise_model(model) not in self._installed

    def _translated(self, custom_id: str, body: dict[str, Any]) -> PromptDraft:
        """Prompt of a body; a prompt without a call carries the error."""
        own_model = cast("str", body["model"])
        if self.model is None:
            self.model = own_model
        self.has_several_models = self.has_several_models or own_model != self.model
        model = {} if own_model == self.model else {"model": own_model}
        try:
            found = translate(self._endpoint, body, usable_schema=self._usable_schema)
        except Refused as refusal:
            mark = {FAULT: list(refusal.faults[0])}
            return PromptDraft("", custom_id, {**model, MARK: mark})
        return PromptDraft(found.text, custom_id, {**found.fields, **model, MARK: found.mark})


def fault_of(draft: PromptDraft) -> str | None:
    """Why no call is made for a prompt; None if it is to run."""
    mark: Mapping[str, Any] = (draft.overrides or {}).get(MARK) or {}
    return str(mark[FAULT][0]) if FAULT in mark else None


def first_line_fault(content: bytes | None) -> str | None:
    """Why a file with this first line cannot be an input file; None if it may be one."""
    if content is None:
        return f"The first line is longer than {LONGEST_LINE} bytes."
    try:
        decoded(content)
    except ValueError as error:
        return f"The first line is not valid: {error}."
    return None


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) < len(pairs):
        raise ValueError("an object has a name twice")
    return found


def _no_constant(name: str) -> NoReturn:
    raise ValueError(f"{name} is no JSON")


_decode: Final[Callable[[str], Any]] = json.JSONDecoder(
    object_pairs_hook=_unique, parse_constant=_no_constant
).decode


def decoded(content: bytes) -> dict[str, Any]:
    """Decode the object in a line.

    Raises:
        ValueError: The line is not a JSON object; the message says why.
    """
    try:
        value = _decode(content.decode())
    except UnicodeDecodeError as error:
        raise ValueError(f"byte {error.start + 1} is not UTF-8") from None
    except json.JSONDecodeError as error:
        raise ValueError(f"{error.msg} at column {error.colno}") from None
    except RecursionError:
        raise ValueError("it is nested too deeply") from None
    if not isinstance(value, dict):
        raise ValueError("it is not a JSON object")  # noqa: TRY004 - one kind of fault for a line
    return cast("dict[str, Any]", value)
