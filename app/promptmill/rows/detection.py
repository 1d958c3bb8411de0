"""How an input is written: by its content where that says it, else by its name.

What can be read in two ways is refused, for a wrong guess would send other prompts than were meant.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from dataclasses import dataclass
from enum import Enum, StrEnum, auto
from pathlib import PurePath
from typing import Any, Final, cast

from promptmill.rows.columns import Columns
from promptmill.rows.delimiters import CANDIDATES, SEPARATOR_LINE
from promptmill.rows.faults import UnreadableInput
from promptmill.rows.json_prompts import TEXT_COLUMN
from promptmill.rows.opening import MARK


class FileFormat(StrEnum):
    """How prompts are written in a file."""

    TEXT = "text"
    """A prompt per line."""
    JSONL = "jsonl"
    """A JSON string or object per line; or an array, or a whole batch."""
    JSON = "json"
    """The same."""
    CSV = "csv"
    """A table whose first row names the columns, with any delimiter."""
    PARQUET = "parquet"
    """A table of Apache Parquet."""
    XLSX = "xlsx"
    """A sheet of an Excel workbook."""


class JsonForm(Enum):
    """How JSON values follow each other."""

    LINES = auto()
    STREAM = auto()
    BATCH = auto()


class Certainty(Enum):
    """Whether a beginning is JSON that was meant as prompts."""

    NO = auto()
    PERHAPS = auto()
    YES = auto()


@dataclass(frozen=True, slots=True)
class JsonLook:
    """What the beginning of a text says about JSON."""

    certainty: Certainty
    form: JsonForm


_EXTENSIONS: Final = {
    ".jsonl": FileFormat.JSONL,
    ".ndjson": FileFormat.JSONL,
    ".jsonlines": FileFormat.JSONL,
    ".json": FileFormat.JSON,
    ".csv": FileFormat.CSV,
    ".tsv": FileFormat.CSV,
    ".tab": FileFormat.CSV,
    ".psv": FileFormat.CSV,
}
_OF_JSON: Final = frozenset({FileFormat.JSON, FileFormat.JSONL})
_PROMPT_FIELDS: Final = frozenset({"prompt", "messages", "prompts", "custom_id"})
_MAY_BE_CUT: Final = ("Unterminated string", "Invalid \\u", "Invalid \\escape")
_LONGEST_WORD: Final = 16
_NOT_JSON: Final = JsonLook(Certainty.NO, JsonForm.LINES)


def extension_of(name: str) -> str:
    """The extension that says what is inside, that of packing apart."""
    path = PurePath(name)
    inner = path.with_suffix("") if path.suffix.lower() == ".gz" else path
    return inner.suffix.lower()


def format_of(
    head: str, name: str, columns: Columns, look: JsonLook, *, is_whole: bool
) -> FileFormat:
    """The format of an input whose text begins with `head`.

    Raises:
        UnreadableInput: It can be read in two ways.
    """
    by_name = _EXTENSIONS.get(extension_of(name))
    if by_name in _OF_JSON or look.certainty is Certainty.YES:
        return FileFormat.JSONL
    if by_name is not None:
        return by_name
    if look.certainty is Certainty.PERHAPS:
        if columns.are_named and columns.wanted() - {TEXT_COLUMN}:
            return FileFormat.JSONL
        raise UnreadableInput(
            "looks like JSON, and may be meant as texts: --format jsonl takes the prompts out of"
            " the JSON, --format text sends each line as it is"
        )
    table = _table_look(head, is_whole=is_whole)
    if table is Certainty.YES:
        return FileFormat.CSV
    if columns.are_named:
        is_text = columns.wanted() <= {TEXT_COLUMN} and TEXT_COLUMN not in _first_cells(head)
        return FileFormat.TEXT if is_text else FileFormat.CSV
    if table is Certainty.PERHAPS:
        raise UnreadableInput(
            "looks like a table, and may be meant as texts: --format csv reads its columns,"
            " --format text sends each line as it is"
        )
    return FileFormat.TEXT


def json_look(head: str, *, is_whole: bool) -> JsonLook:
    """Whether the text that begins so is JSON, and in which form."""
    text = head.lstrip(f" \t\r\n{MARK}")
    first = text[:1]
    if not first or first not in '{["':
        is_mixed = any(_says_prompt(_loose(line)) for line in _lines(head, is_whole=is_whole))
        return JsonLook(Certainty.PERHAPS if is_mixed else Certainty.NO, JsonForm.LINES)
    try:
        value, end = json.JSONDecoder().raw_decode(text)
    except json.JSONDecodeError as error:
        return _look_at_broken(text, error, is_whole=is_whole)
    except (RecursionError, ValueError):
        return JsonLook(Certainty.PERHAPS, JsonForm.LINES)
    rest, _, below = text[end:].partition("\n")
    if isinstance(value, dict):
        return _look_at_object(cast("dict[str, Any]", value), text[:end], rest)
    if rest.strip():
        return _NOT_JSON
    if isinstance(value, list):
        items = cast("list[Any]", value)
        sure = is_whole and not below.strip() and items
        sure = sure and all(isinstance(item, str | dict) for item in items)
        return JsonLook(Certainty.YES if sure else Certainty.PERHAPS, JsonForm.STREAM)
    lines = _lines(head, is_whole=is_whole)
    are_json = all(isinstance(_loose(line), str | dict) for line in lines)
    return JsonLook(Certainty.PERHAPS if are_json else Certainty.NO, JsonForm.LINES)


def _look_at_object(value: dict[str, Any], text: str, rest: str) -> JsonLook:
    if "prompts" in value:
        return JsonLook(Certainty.YES, JsonForm.BATCH)
    if rest.strip() and rest.strip()[0] not in ",{":
        # A sentence that begins with an object; or one that was spoilt.
        certainty = Certainty.PERHAPS if _says_prompt(value) else Certainty.NO
        return JsonLook(certainty, JsonForm.LINES)
    certainty = Certainty.YES if _says_prompt(value) else Certainty.PERHAPS
    is_line = "\n" not in text and not rest.strip().startswith("{")
    return JsonLook(certainty, JsonForm.LINES if is_line else JsonForm.STREAM)


def _look_at_broken(text: str, error: json.JSONDecodeError, *, is_whole: bool) -> JsonLook:
    first_line = text.partition("\n")[0].rstrip()
    is_cut = not is_whole and (
        error.msg.startswith(_MAY_BE_CUT) or error.pos > len(text) - _LONGEST_WORD
    )
    if is_cut and text[0] != '"':
        if text[0] == "{" and re.search(r'"prompts"\s*:\s*\[', text):
            return JsonLook(Certainty.YES, JsonForm.BATCH)
        is_sure = text[0] == "[" or re.search(r'"(prompt|messages|custom_id)"\s*:', text)
        return JsonLook(Certainty.YES if is_sure else Certainty.PERHAPS, JsonForm.STREAM)
    is_like_it = re.match(r'\{\s*"|\[\s*["{]', text) is not None
    is_stream = text[0] == "[" or first_line.endswith(("{", ","))
    form = JsonForm.STREAM if is_stream else JsonForm.LINES
    return JsonLook(Certainty.PERHAPS if is_like_it else Certainty.NO, form)


def _says_prompt(value: object) -> bool:
    return isinstance(value, dict) and bool(_PROMPT_FIELDS & set(cast("dict[str, Any]", value)))


def _loose(line: str) -> object:
    """The JSON that a line is, by Python's own rules; None if it is none."""
    if line[:1] not in {"{", '"'}:
        return None
    try:
        return json.loads(line)
    except (ValueError, RecursionError):
        return None


def _lines(head: str, *, is_whole: bool) -> Iterator[str]:
    lines = head.split("\n")
    if not is_whole:
        lines.pop()
    return (text for line in lines if (text := line.strip(f" \r{MARK}")).strip())


def _first_cells(head: str) -> set[str]:
    first = next(_lines(head, is_whole=True), "")
    return {
        cell.strip(' "').casefold()
        for one in CANDIDATES
        if one in first
        for cell in first.split(one)
    }


def _table_look(head: str, *, is_whole: bool) -> Certainty:
    """Whether a text may be a table: by a header with `prompt`, or a tab in every line."""
    lines = list(_lines(head, is_whole=is_whole))
    if not lines:
        return Certainty.NO
    if SEPARATOR_LINE.fullmatch(lines[0]):
        return Certainty.YES
    if "prompt" in _first_cells(head):
        return Certainty.YES
    is_named = lines[0].strip('"').casefold() == "prompt"
    tabs = {line.count("\t") for line in lines}
    are_rows = len(lines) > 1 and len(tabs) == 1 and tabs != {0}
    return Certainty.PERHAPS if is_named or are_rows else Certainty.NO
