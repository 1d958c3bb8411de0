"""Prompts of a file, a pipe or a folder, read again at each iteration in constant memory."""

from __future__ import annotations

import random
import re
from array import array
from collections.abc import Generator, Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from itertools import islice
from typing import Any, Final, cast

from promptmill.prompts.columns import Columns, Prompt, Shape
from promptmill.prompts.openai_lines import is_openai_line, prompt_of_line
from promptmill.rows import FileFormat, Notes, Reading, RowFile, UnreadableInput

_TEXT: Final = ("text",)
"""Name of the one column of texts without columns."""
_CHAT: Final = 'write {"messages": [{"role": "user", "content": "…"}]} for each chat'
_OF_OTHERS: Final = {
    ("conversations",): "ShareGPT's chats are not read",
    ("custom_id", "params"): "Anthropic's batch lines are not read",
    ("custom_id", "response"): "these are results of OpenAI's batches, and not its requests",
    ("lc", "kwargs"): "LangChain's dumps are not read",
    ("contents",): "Gemini's requests are not read",
}
"""Fields that identify the formats of other tools, with the advice for each."""
_NAME: Final = re.compile(r"[\w.-]*\w([ \t]+[\w.-]*\w)?")
"""One or two words: a heading that may name the only column without being questioned."""
_MOST_SHAPES: Final = 100
"""Most column sets that are remembered for JSON objects with different fields."""


class PromptFile:
    """Prompts of one input; after an iteration `notes` describes the rows that were left out."""

    def __init__(
        self,
        name: str,
        reading: Reading | None = None,
        columns: Columns | None = None,
        *,
        limit: int | None = None,
        shuffle: int | None = None,
    ) -> None:
        """Store how to read `name`: a file, a folder, a pattern, or `-` for stdin.

        `limit` bounds the number of prompts; `shuffle` is the seed of a random order, and together
        with `limit` of a random sample.
        """
        self._columns = columns or Columns()
        reading = replace(
            reading or Reading(),
            wanted=self._columns.wanted(),
            are_named=self._columns.are_named,
        )
        self._rows = RowFile(name, reading)
        self._limit = limit
        self._seed = shuffle
        self._places = array("Q")
        """Row number of each prompt, in order; eight bytes each."""
        self._shapes: dict[tuple[str, ...], Shape] = {}

    @property
    def is_read_once(self) -> bool:
        """Whether the input can be iterated only once."""
        return self._rows.is_read_once

    @property
    def notes(self) -> Notes:
        """Rows that the last iteration left out."""
        return self._rows.notes

    @property
    def format(self) -> FileFormat | None:
        """Format of the input; None before its first iteration."""
        return self._rows.format

    @property
    def batch_fields(self) -> dict[str, Any]:
        """Fields beside `prompts`, if the input is a whole batch."""
        return self._rows.batch_fields

    def __iter__(self) -> Iterator[Prompt]:
        """Yield the prompts.

        Raises:
            OSError: The file cannot be read.
            UnreadableInput: A row cannot be used, or the input has no prompt.
        """
        del self._places[:]
        self._shapes.clear()
        made = self._made()
        for number, prompt in self._sampled(made):
            self._places.append(number)
            yield prompt
        made.close()
        if not self._places:
            raise UnreadableInput("it has no prompts", *self.notes.remarks[:1])

    def place_of(self, index: int) -> str | None:
        """Name the place of a prompt in the input, as `line 7`; None if the prompt was not read."""
        return self._rows.place_of(self._places[index]) if index < len(self._places) else None

    def _made(self) -> Generator[tuple[int, Prompt]]:
        """Yield prompts with their row numbers; after a fault only look for further faults."""
        rows = self._rows
        for number, value in rows:
            try:
                prompt = self._prompt(value)
            except (ValueError, UnreadableInput) as error:
                if rows.header is not None and isinstance(error, UnreadableInput):
                    raise  # A wrong header makes every row wrong.
                rows.faults.add(f"{rows.place_of(number)}: {error}")
                continue
            if prompt is None:
                rows.notes.leave_out(rows.place_of(number), "has no prompt")
            elif not rows.faults:
                yield number, prompt

    def _sampled(self, prompts: Iterator[tuple[int, Prompt]]) -> Iterable[tuple[int, Prompt]]:
        if self._seed is None:
            return islice(prompts, self._limit)
        chance = random.Random(self._seed)  # noqa: S311 - a sample that can be drawn again
        chosen = list(islice(prompts, self._limit))
        for number, prompt in enumerate(prompts, start=len(chosen) + 1):
            place = chance.randrange(number)
            if place < len(chosen):
                chosen[place] = prompt
        chance.shuffle(chosen)
        return chosen

    def _prompt(self, value: Any) -> Prompt | None:  # noqa: ANN401 - any JSON
        columns = self._columns
        if self._rows.header is not None:
            if not self._places:
                self._check_only_column(self._rows.header)
            return self._shape(tuple(self._rows.header)).prompt_of(value)
        if isinstance(value, str):
            if columns.template is None and not columns.keep and columns.prompt is None:
                return value
            return self._shape(_TEXT).prompt_of({_TEXT[0]: value})
        if not isinstance(value, dict):
            is_chat = isinstance(value, list) and any(map(_is_message, cast("list[Any]", value)))
            hint = f"; {_CHAT}" if is_chat else ""
            raise ValueError(f"must be a JSON string or an object{hint}")  # noqa: TRY004 - said with others
        found = cast("dict[str, Any]", value)
        if is_openai_line(found):
            found = prompt_of_line(found)
        has = "it has " + (", ".join(list(found)[:8]) or "no fields at all")
        if columns.are_named:
            if columns.prompt is not None and columns.prompt not in found:
                raise ValueError(f'the field "{columns.prompt}" is not there; {has}')
            return self._shape(tuple(found)).prompt_of_object(found)
        if "prompt" not in found and "messages" not in found:
            raise ValueError(f'has neither "prompt" nor "messages"; {has}; {_way_out(found)}')
        custom_id = found.get("id")
        is_number = isinstance(custom_id, int) and not isinstance(custom_id, bool)
        return {**found, "id": str(custom_id)} if is_number else found

    def _check_only_column(self, header: Sequence[str]) -> None:
        """Note a lone header cell as a column's name, or refuse it if it may be a prompt."""
        has_names = self._rows.format is not FileFormat.PARQUET and not self._rows.is_folder
        if not has_names or len(header) > 1 or self._columns.are_named:
            return
        name = header[0]
        if name.casefold() == "prompt" or self._rows.notes.remarks:
            return
        if not _NAME.fullmatch(name):
            raise UnreadableInput(
                f"the first line, `{name[:60]}`, would be the name of the only column, and may be"
                " a prompt, or have another delimiter: --column with that name takes what is below"
                " it, --format text sends every line as it is, --delimiter splits the cells"
            )
        remark = f"`{name}` in the first line is taken for the name of the only column"
        self._rows.notes.remarks.append(remark)

    def _shape(self, header: tuple[str, ...]) -> Shape:
        shape = self._shapes.get(header)
        if shape is None:
            if len(self._shapes) >= _MOST_SHAPES:
                self._shapes.clear()
            columns = _of_folder(self._columns) if self._rows.is_folder else self._columns
            shape = Shape(header, columns, folder=self._rows.folder)
            self._shapes[header] = shape
        return shape


def _is_message(value: object) -> bool:
    return isinstance(value, dict) and {"role", "content"} <= set(cast("dict[str, Any]", value))


def _way_out(found: Mapping[str, Any]) -> str:
    """Advice for an object without a prompt, by the tool that writes such objects."""
    if _is_message(found):
        return f"it is a message of a chat: {_CHAT}"
    for names, told in _OF_OTHERS.items():
        if set(names) <= set(found):
            return f"{told}: {_CHAT}"
    if any(isinstance(value, str) for value in found.values()):
        return "--field NAME takes the prompt from another field"
    return 'none of them is a text: write {"prompt": "…"} on each line'


def _of_folder(columns: Columns) -> Columns:
    """Column choice for a folder: a file's text is the prompt, its name the id, unless named."""
    if columns.prompt is None and columns.template is None:
        columns = replace(columns, prompt="text")
    return replace(columns, id="name") if columns.id is None else columns
