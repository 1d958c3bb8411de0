"""Prompts out of files: text, JSONL and CSV, each prompt with the place where it was read.

Everything here is a pure function over bytes. What is wrong with an input is said with its line,
all of it up to a bound, not just the first.
"""

from __future__ import annotations

import csv
import io
import json
import sys
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from enum import StrEnum
from pathlib import PurePath
from typing import Any, Final, cast

MOST_FAULTS_TOLD: Final = 20
_NOTHING: Final = "there is no prompt in it"


class InputFormat(StrEnum):
    """How prompts are written in a file."""

    TEXT = "text"
    """One prompt per line."""
    JSONL = "jsonl"
    """One JSON string or object per line."""
    CSV = "csv"
    """A table whose first row names the columns."""


@dataclass(frozen=True, slots=True)
class ReadPrompt:
    """A prompt and where it stood."""

    prompt: str | dict[str, Any]
    place: str
    """`line 7`, for messages."""


class UnreadableInput(Exception):  # noqa: N818 - named for what it is
    """The input cannot be read; `faults` names each place."""

    def __init__(self, faults: list[str]) -> None:
        super().__init__("; ".join(faults))
        self.faults = faults


_BY_EXTENSION: Final = {
    ".jsonl": InputFormat.JSONL,
    ".ndjson": InputFormat.JSONL,
    ".csv": InputFormat.CSV,
}


def format_of(name: str, *, field: str | None = None, column: str | None = None) -> InputFormat:
    """The format that a file's extension says; --field and --column say it where that is open."""
    known = _BY_EXTENSION.get(PurePath(name).suffix.lower())
    if known is not None:
        return known
    if field is not None:
        return InputFormat.JSONL
    return InputFormat.CSV if column is not None else InputFormat.TEXT


def read_prompts(
    content: bytes,
    input_format: InputFormat,
    *,
    field: str | None = None,
    column: str | None = None,
) -> list[ReadPrompt]:
    """The prompts of an input; empty lines are left out.

    Raises:
        UnreadableInput: Something in it is not as the format wants it, or there is no prompt.
    """
    if input_format is not InputFormat.CSV:
        # Not splitlines(): it also splits at characters that belong to a text, such as form feeds.
        lines = content.split(b"\n")
        return [
            ReadPrompt(prompt, f"line {number}")
            for number, prompt in read_prompt_lines(lines, input_format, field=field)
        ]
    prompts = _from_csv(content, column)
    if not prompts:
        raise UnreadableInput([_NOTHING])
    return prompts


def read_prompt_lines(
    lines: Iterable[bytes], input_format: InputFormat, *, field: str | None = None
) -> Iterator[tuple[int, str | dict[str, Any]]]:
    """The prompts of an input of text or JSONL with the numbers of their lines, while it is read.

    Raises:
        UnreadableInput: A line is not as the format wants it, or there is no prompt at all. After
            the first such line no prompt comes any more, only others of its kind are looked for.
    """
    faults: list[str] = []
    is_empty = True
    for number, line in _filled(lines):
        try:
            text = line.decode()
            prompt = text if input_format is InputFormat.TEXT else _prompt_of_json(text, field)
        except UnicodeDecodeError as error:
            faults.append(f"line {number}: is not UTF-8 at byte {error.start + 1}")
        except ValueError as error:
            faults.append(f"line {number}: {error}")
        else:
            is_empty = False
            if not faults:
                yield number, prompt
        if len(faults) == MOST_FAULTS_TOLD:
            break
    if faults or is_empty:
        raise UnreadableInput(faults or [_NOTHING])


def _filled(lines: Iterable[bytes]) -> Iterator[tuple[int, bytes]]:
    """The lines that are not blank, numbered from 1, without their ends."""
    for number, line in enumerate(lines, start=1):
        if number == 1:
            line = line.removeprefix(b"\xef\xbb\xbf")  # noqa: PLW2901 - the mark is no part of it
        stripped = line.removesuffix(b"\n").removesuffix(b"\r")
        if stripped.strip():
            yield number, stripped


def _prompt_of_json(line: str, field: str | None) -> str | dict[str, Any]:
    try:
        value = json.loads(line)
    except json.JSONDecodeError as error:
        raise ValueError(f"is not JSON: {error.msg} at column {error.colno}") from None
    if isinstance(value, str):
        return _text(value)
    if not isinstance(value, dict):
        raise ValueError("must be a JSON string or an object")  # noqa: TRY004 - said with others
    prompt = cast("dict[str, Any]", value)
    if field is not None:
        text = prompt.get(field)
        if not isinstance(text, str):
            what = "is no string" if field in prompt else f"is not there; {_names(prompt)}"
            raise ValueError(f'the field "{field}" {what}')
        return _text(text)
    if "prompt" not in prompt and "messages" not in prompt:
        raise ValueError(
            f'has neither "prompt" nor "messages"; {_names(prompt)}; --field NAME takes the prompt'
            " from another field"
        )
    return prompt


def _text(text: str) -> str:
    try:
        text.encode()
    except UnicodeEncodeError:
        raise ValueError("has half of a surrogate pair (\\ud83d alone), which is no text") from None
    return text


def _names(prompt: dict[str, Any]) -> str:
    return "it has " + (", ".join(list(prompt)[:8]) or "no fields at all")


def _from_csv(content: bytes, column: str | None) -> list[ReadPrompt]:
    try:
        text = content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = content.count(b"\n", 0, error.start) + 1
        raise UnreadableInput([f"line {line}: is not UTF-8"]) from None
    # The module's own bound of 131072 characters for a field is less than a long prompt.
    csv.field_size_limit(sys.maxsize)
    rows = csv.reader(io.StringIO(text, newline=""), strict=True)
    try:
        return _from_rows(rows, column)
    except csv.Error as error:
        raise UnreadableInput([f"line {rows.line_num}: {error}"]) from None


def _from_rows(rows: Any, column: str | None) -> list[ReadPrompt]:  # noqa: ANN401 - csv's reader has no public type
    names: list[str] = next(rows, list[str]())
    if not names:
        return []
    index = _column_index(names, column)
    prompts: list[ReadPrompt] = []
    start = rows.line_num + 1
    for row in rows:
        # A quoted field may hold line ends: a row begins after the end of the one before.
        place, start = f"line {start}", rows.line_num + 1
        cell = row[index] if index < len(row) else ""
        if cell.strip():
            prompts.append(ReadPrompt(cell, place))
    return prompts


def _column_index(names: list[str], column: str | None) -> int:
    wanted = column if column is not None else "prompt"
    if wanted in names:
        return names.index(wanted)
    if column is None and len(names) == 1:
        return 0
    raise UnreadableInput(
        [f'there is no column "{wanted}"; it has {", ".join(names)}; --column NAME takes another']
    )
