"""Violations of a request, collected so that one response lists all of them.

Only sentences of this file, of the request models and of the JSON reader reach a client: pydantic's
own name Python's types and repeat the input.
"""

from __future__ import annotations

import difflib
from collections.abc import Collection, Iterable, Iterator, Mapping
from typing import Any, Final, get_args

from pydantic import BaseModel, ValidationError
from pydantic_core import ErrorDetails

from promptmill.api.schemas.ollama import GenerationFields, OllamaOptions
from promptmill.api.schemas.strict import FAULTS, Path
from promptmill.domain.errors import FieldProblem, Invalid

MOST_LISTED: Final = 100
"""Most violations that one response lists; their total number is stated as well."""
_LONGEST_NAME: Final = 256
_LONGEST_GUESS: Final = 64

_SENTENCES: Final[dict[str, str]] = {
    "missing": "is required",
    "string_type": "must be a string",
    "int_type": "must be a whole number",
    "int_from_float": "must be a whole number",
    "int_parsing": "must be a whole number",
    "int_parsing_size": "must be a whole number of a usual size",
    "float_type": "must be a number",
    "float_parsing": "must be a number",
    "finite_number": "must be a finite number",
    "bool_type": "must be true or false",
    "list_type": "must be a list",
    "dict_type": "must be an object",
    "model_type": "must be an object",
    "model_attributes_type": "must be an object",
    "greater_than": "must be more than {gt:.12g}",
    "greater_than_equal": "must be at least {ge:.12g}",
    "less_than": "must be less than {lt:.12g}",
    "less_than_equal": "must be at most {le:.12g}",
    "string_too_short": "must not be empty",
    "string_too_long": "must have at most {max_length} characters",
    "too_short": "must have at least {min_length} entry",
    "too_long": "must have at most {max_length} entries",
    "literal_error": "must be {expected}",
    "enum": "must be {expected}",
    # Only models' names have a pattern.
    "string_pattern_mismatch": (
        "must be a model name such as `qwen3:8b`: letters, digits and `_ . : / @ -`, no spaces"
    ),
}
_HINTS: Final[dict[str, str]] = {
    "stream": "has no meaning for a batch; leave it out (results can be read while it runs)",
    "context": "is not supported: prompts of a batch are independent; use `messages` for a chat",
}
_NAMES_OF_OTHERS: Final[dict[str, str]] = {
    "max_tokens": "options.num_predict",
    "max_completion_tokens": "options.num_predict",
    "max_output_tokens": "options.num_predict",
    "max_new_tokens": "options.num_predict",
    "n_predict": "options.num_predict",
    "n_ctx": "options.num_ctx",
    "context_length": "options.num_ctx",
    "n_batch": "options.num_batch",
    "n_gpu_layers": "options.num_gpu",
    "n_threads": "options.num_thread",
    "repetition_penalty": "options.repeat_penalty",
    "stop_sequences": "options.stop",
    "response_format": "format",
    "reasoning_effort": "think",
    "custom_id": "id",
}
"""Names of OpenAI, llama.cpp and others for fields of Ollama's request."""


class Faults:
    """Faults found so far."""

    def __init__(self) -> None:
        self._listed: list[FieldProblem] = []
        self._count = 0

    def __len__(self) -> int:
        return self._count

    def add(self, path: Path, detail: str) -> None:
        """Add a fault; beyond `MOST_LISTED` it is only counted."""
        self._count += 1
        if self._count <= MOST_LISTED:
            self._listed.append(FieldProblem(pointer_to(path), detail))

    def extend(self, faults: Iterable[tuple[Path, str]]) -> bool:
        """Add several faults, and return whether there were any."""
        before = self._count
        for path, detail in faults:
            self.add(path, detail)
        return self._count > before

    def add_errors(self, error: ValidationError, model: type[BaseModel], path: Path = ()) -> None:
        """Add each error of a value of the model, which is at `path`."""
        if self._count >= MOST_LISTED:  # Searching for the nearest name is slow.
            self._count += error.error_count()
            return
        for details in error.errors(include_url=False, include_input=False):
            self.extend(_faults_of(details, model, path))

    def take(self, others: Faults) -> None:
        """Add the faults that were collected elsewhere."""
        room = max(MOST_LISTED - self._count, 0)
        self._listed += others._listed[:room]
        self._count += others._count

    def raise_if_any(self) -> None:
        """Refuse the request if a fault was added.

        Raises:
            Invalid: With every listed fault.
        """
        if self._count > MOST_LISTED:
            message = f"{self._count} entries are wrong; the first {MOST_LISTED} are listed."
        elif self._count > 1:
            message = f"{self._count} entries are wrong."
        else:
            message = "One entry is wrong."
        if self._count:
            raise Invalid(message, tuple(self._listed))


def pointer_to(path: Path) -> str:
    """Build the RFC 6901 JSON pointer of a path; names are cut so that a response stays short."""
    return "".join(
        "/" + str(part)[:_LONGEST_NAME].replace("~", "~0").replace("/", "~1") for part in path
    )


def sentence_of(details: Mapping[str, Any]) -> str:
    """Choose the sentence by the kind of pydantic's error."""
    pattern = _SENTENCES.get(details["type"])
    return pattern.format(**details.get("ctx", {})) if pattern else str(details["msg"])


def unknown_name(name: str, known: Collection[str], *, what: str = "field") -> str:
    """Sentence for an unknown name: its right place, or the nearest known name."""
    if what == "field" and name in _HINTS:
        return _HINTS[name]
    if fix := _right_place(name, known):
        return f"unknown {what}; {fix}"
    close = difflib.get_close_matches(name, known, n=1) if len(name) <= _LONGEST_GUESS else []
    if close:
        return f"unknown {what}; did you mean `{close[0]}`?"
    return f"unknown {what}; leave it out"


def _right_place(name: str, known: Collection[str]) -> str | None:
    """Right place of a name that belongs elsewhere in a request to Ollama."""
    is_options = known == OllamaOptions.model_fields.keys()
    if not is_options and "options" not in known:
        return None
    if is_options and (name in GenerationFields.model_fields or name == "model"):
        return "put it beside options, not into it"
    if name in OllamaOptions.model_fields:
        return "put it into options"
    usual = _NAMES_OF_OTHERS.get(name)
    if usual and (is_options or usual.partition(".")[0] in known):
        return f"Ollama's name is {usual}"
    return None


def _faults_of(
    details: ErrorDetails, model: type[BaseModel], path: Path
) -> Iterator[tuple[Path, str]]:
    # pydantic reports a wrong name of a mapping as `metadata, the name, [key]`.
    place = tuple(part for part in details["loc"] if part != "[key]")
    if details["type"] == FAULTS:
        for inside, detail in details.get("ctx", {})["faults"]:
            yield (*path, *place, *inside), detail
    elif details["type"] == "extra_forbidden":
        known = _model_at(model, place[:-1]).model_fields.keys()
        yield (*path, *place), unknown_name(str(place[-1]), known)
    else:
        yield (*path, *place), sentence_of(details)


def _model_at(model: type[BaseModel], place: Path) -> type[BaseModel]:
    for part in place:
        field = model.model_fields.get(str(part))
        inner = _models_in(field.annotation) if field else []
        model = inner[0] if inner else model
    return model


def _models_in(annotation: Any) -> list[type[BaseModel]]:  # noqa: ANN401 - any annotation at all
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return [annotation]
    return [found for part in get_args(annotation) for found in _models_in(part)]
