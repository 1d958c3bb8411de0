"""Prompts out of JSON: a value per line, an array, objects one after the other, a whole batch."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any, Final, cast

from promptmill.rows.columns import Columns, Prompt, Shape
from promptmill.rows.faults import Faults, Notes, UnreadableInput
from promptmill.rows.json_values import JsonStream, parse_json
from promptmill.rows.openai_lines import is_openai_line, prompt_of_line

TEXT_COLUMN: Final = "text"
"""The one column of texts that have no names."""
_MOST_SHAPES: Final = 100
"""Kept of objects whose fields differ."""
_NO_FIELDS: Final = frozenset({"self", "prompts", "idempotency_key"})


def values_of_lines(lines: Iterable[tuple[int, str]], faults: Faults) -> Iterator[tuple[int, Any]]:
    """The value of each line that is not blank."""
    for number, line in lines:
        if line.strip():
            try:
                yield number, parse_json(line.strip("\r\n"))
            except ValueError as error:
                faults.add(f"line {number}: {error}")


def batch_body(pieces: Iterable[str]) -> dict[str, Any]:
    """The whole batch that a text is.

    Raises:
        UnreadableInput: It is none.
    """
    values = iter(JsonStream(pieces))
    line, body = next(values)
    if next(values, None) is not None:
        raise UnreadableInput(f"line {line}: something follows the batch")
    body = cast("dict[str, Any]", body)
    if not isinstance(body["prompts"], list):
        raise UnreadableInput('"prompts" must be a list')
    for name in body:
        if name in _NO_FIELDS - {"prompts"}:
            raise UnreadableInput(f'a batch has no field "{name}"')
    return body


class PromptMaker:
    """Prompts of texts and JSON values; what is wrong goes to `faults`, what is empty to `notes`."""

    def __init__(
        self,
        columns: Columns,
        faults: Faults,
        notes: Notes,
        *,
        label: str = "line",
        folder: Path | None = None,
    ) -> None:
        self._columns = columns
        self._faults = faults
        self._notes = notes
        self._label = label
        self._folder = folder
        self._shapes: dict[tuple[str, ...], Shape] = {}

    def prompts(self, values: Iterable[tuple[int, Any]]) -> Iterator[tuple[int, Prompt]]:
        """The prompts with their places; after the first fault only further faults are sought.

        Raises:
            UnreadableInput: There was a fault.
        """
        for number, value in values:
            try:
                prompt = self._prompt(value)
            except (ValueError, UnreadableInput) as error:
                self._faults.add(f"{self._label} {number}: {error}")
                continue
            if prompt is None:
                self._notes.leave_out(f"{self._label} {number}", "has no prompt")
            elif not self._faults:
                yield number, prompt
        self._faults.check()

    def _prompt(self, value: Any) -> Prompt | None:  # noqa: ANN401 - any JSON
        if isinstance(value, str):
            if self._columns.template is None and not self._columns.keep:
                return value
            return self._shape((TEXT_COLUMN,)).prompt_of({TEXT_COLUMN: value})
        if not isinstance(value, dict):
            raise ValueError("must be a JSON string or an object")  # noqa: TRY004 - said with others
        found = cast("dict[str, Any]", value)
        if is_openai_line(found):
            found = prompt_of_line(found)
        if self._columns.are_named:
            return self._named(found)
        if "prompt" not in found and "messages" not in found:
            raise ValueError(
                f'has neither "prompt" nor "messages"; {_names(found)}; --field NAME takes the'
                " prompt from another field"
            )
        return _with_text_id(found)

    def _named(self, found: dict[str, Any]) -> Prompt | None:
        field = self._columns.prompt
        if field is not None and field not in found:
            raise ValueError(f'the field "{field}" is not there; {_names(found)}')
        return self._shape(tuple(found)).prompt_of_object(found)

    def _shape(self, header: tuple[str, ...]) -> Shape:
        shape = self._shapes.get(header)
        if shape is None:
            if len(self._shapes) >= _MOST_SHAPES:
                self._shapes.clear()
            shape = Shape(header, self._columns, folder=self._folder)
            self._shapes[header] = shape
        return shape


def text_prompts(
    lines: Iterable[tuple[int, str]],
    maker: PromptMaker,
    notes: Notes,
    check: Callable[[int, str], None],
) -> Iterator[tuple[int, Prompt]]:
    """A prompt for each line that is not blank; blank lines between prompts are counted."""

    def filled() -> Iterator[tuple[int, str]]:
        blank = 0
        has_begun = False
        for number, line in lines:
            check(number, line)
            text = line.removesuffix("\n").removesuffix("\r")
            if not text.strip():
                blank += has_begun
                continue
            if blank:
                notes.blank_lines += blank
            has_begun, blank = True, 0
            yield number, text

    return maker.prompts(filled())


def _with_text_id(prompt: dict[str, Any]) -> dict[str, Any]:
    custom_id = prompt.get("id")
    is_number = isinstance(custom_id, int) and not isinstance(custom_id, bool)
    return {**prompt, "id": str(custom_id)} if is_number else prompt


def _names(prompt: Mapping[str, Any]) -> str:
    return "it has " + (", ".join(list(prompt)[:8]) or "no fields at all")
