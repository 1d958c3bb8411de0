"""Detection of a file's format: by its content if that is conclusive, else by its name.

An ambiguous input is refused, because a wrong guess would send other prompts than were meant.
"""

from __future__ import annotations

import json
import re
from collections.abc import Collection, Iterator
from enum import StrEnum
from pathlib import PurePath
from typing import Any, Final, Literal, NamedTuple, cast

from promptmill.rows.faults import UnreadableInput
from promptmill.rows.json_values import may_be_cut
from promptmill.rows.opening import MARK
from promptmill.rows.tables import CANDIDATES, SEPARATOR_LINE


class FileFormat(StrEnum):
    """Formats of files with prompts."""

    TEXT = "text"
    """A prompt per line."""
    JSONL = "jsonl"
    """A JSON string or object per line; or an array, or a whole batch."""
    JSON = "json"
    CSV = "csv"
    """A table whose first row names the columns, with any delimiter."""
    PARQUET = "parquet"
    XLSX = "xlsx"


JsonForm = Literal["lines", "stream", "batch"]
"""Arrangements of JSON values in a text."""
Certainty = Literal["no", "perhaps", "yes"]
"""Degrees of certainty that a text is JSON, or a table."""


class JsonLook(NamedTuple):
    """Result of examining the beginning of a text for JSON."""

    certainty: Certainty
    form: JsonForm


_EXTENSIONS: Final = {
    ".jsonl": FileFormat.JSONL,
    ".ndjson": FileFormat.JSONL,
    ".jsonlines": FileFormat.JSONL,
    ".json": FileFormat.JSON,
    ".jsonc": FileFormat.JSON,
    ".csv": FileFormat.CSV,
    ".tsv": FileFormat.CSV,
    ".tab": FileFormat.CSV,
    ".psv": FileFormat.CSV,
}
_OTHERS: Final = frozenset({".yaml", ".yml", ".toml", ".xml", ".html", ".htm", ".rtf", ".json5"})
_MARKUP: Final = re.compile(r"\s*(<\?xml\b|<!doctype html|<html\b|\{\\rtf\d)", re.IGNORECASE)
_OF_JSON: Final = frozenset({FileFormat.JSON, FileFormat.JSONL})
_PROMPT_FIELDS: Final = frozenset({"prompt", "messages", "prompts", "custom_id"})
_TEXT_COLUMN: Final = "text"
"""Name that templates use for the column of a text without columns."""
_NOT_JSON: Final = JsonLook("no", "lines")


def extension_of(name: str) -> str:
    """Extension that names the content's format, without an extension of compression."""
    return PurePath(name.lower().removesuffix(".gz")).suffix


def format_of(
    head: str,
    name: str,
    look: JsonLook,
    *,
    wanted: Collection[str] | None,
    is_whole: bool,
) -> FileFormat:
    """Determine the format of an input from the beginning of its text.

    `wanted` are the columns that a person named, or None.
    """
    extension = extension_of(name)
    by_name = _EXTENSIONS.get(extension)
    if extension in _OTHERS or _MARKUP.match(head):
        raise UnreadableInput("is YAML, XML, HTML or the like; --format text sends each line")
    if by_name in _OF_JSON or look.certainty == "yes":
        return FileFormat.JSONL
    if by_name is not None:
        return by_name
    if look.certainty == "perhaps":
        if wanted is not None and set(wanted) - {_TEXT_COLUMN}:
            return FileFormat.JSONL
        raise UnreadableInput(
            "looks like JSON, and may be meant as texts: --format jsonl takes the prompts out of"
            " the JSON, --format text sends each line as it is"
        )
    table = _table_look(head, is_whole=is_whole)
    if table == "yes":
        return FileFormat.CSV
    if wanted is not None:
        is_text = set(wanted) <= {_TEXT_COLUMN} and _TEXT_COLUMN not in _first_cells(head)
        return FileFormat.TEXT if is_text else FileFormat.CSV
    if table == "perhaps":
        raise UnreadableInput(
            "looks like a table, and may be meant as texts: --format csv reads its columns,"
            " --format text sends each line as it is"
        )
    return FileFormat.TEXT


def json_look(head: str, *, is_whole: bool) -> JsonLook:
    """Examine the beginning of a text for JSON."""
    text = head.lstrip(f" \t\r\n{MARK}")
    first = text[:1]
    if not first or first not in '{["':
        is_mixed = any(_says_prompt(_loose(line)) for line in _lines(head, is_whole=is_whole))
        return JsonLook("perhaps" if is_mixed else "no", "lines")
    try:
        value, end = json.JSONDecoder().raw_decode(text)
    except json.JSONDecodeError as error:
        return _look_at_broken(text, error, is_whole=is_whole)
    except (RecursionError, ValueError):
        return JsonLook("perhaps", "lines")
    rest, _, below = text[end:].partition("\n")
    if isinstance(value, dict):
        return _look_at_object(cast("dict[str, Any]", value), text[:end], rest)
    if rest.strip():
        return _NOT_JSON
    if isinstance(value, list):
        items = cast("list[Any]", value)
        form = "stream"
        is_sure = is_whole and not below.strip() and bool(items)
        is_sure = is_sure and all(isinstance(item, str | dict) for item in items)
        certainty = "yes" if is_sure else "perhaps"
    else:
        form = "lines"
        lines = _lines(head, is_whole=is_whole)
        are_json = all(isinstance(_loose(line), str | dict) for line in lines)
        certainty = "perhaps" if are_json else "no"
    return JsonLook(certainty, form)


def _look_at_object(value: dict[str, Any], text: str, rest: str) -> JsonLook:
    if "prompts" in value:
        return JsonLook("yes", "batch")
    if rest.strip() and rest.strip()[0] not in ",{":
        # A sentence that begins with an object, or a damaged object.
        certainty = "perhaps" if _says_prompt(value) else "no"
        return JsonLook(certainty, "lines")
    certainty = "yes" if _says_prompt(value) else "perhaps"
    is_line = "\n" not in text and not rest.strip().startswith("{")
    return JsonLook(certainty, "lines" if is_line else "stream")


def _look_at_broken(text: str, error: json.JSONDecodeError, *, is_whole: bool) -> JsonLook:
    first_line = text.partition("\n")[0].rstrip()
    if not is_whole and may_be_cut(error) and text[0] != '"':
        if text[0] == "{" and re.search(r'"prompts"\s*:\s*\[', text):
            return JsonLook("yes", "batch")
        is_sure = text[0] == "[" or re.search(r'"(prompt|messages|custom_id)"\s*:', text)
        return JsonLook("yes" if is_sure else "perhaps", "stream")
    is_like_it = re.match(r'\{\s*"|\[\s*["{]', text) is not None
    is_stream = text[0] == "[" or first_line.endswith(("{", ","))
    return JsonLook("perhaps" if is_like_it else "no", "stream" if is_stream else "lines")


def _says_prompt(value: object) -> bool:
    return isinstance(value, dict) and bool(_PROMPT_FIELDS & set(cast("dict[str, Any]", value)))


def _loose(line: str) -> object:
    """Parse a line as Python's `json` does; None if that fails."""
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
    """Examine a text for a table: a header with `prompt`, or a tab in every line."""
    lines = list(_lines(head, is_whole=is_whole))
    if not lines:
        return "no"
    if SEPARATOR_LINE.fullmatch(lines[0]) or "prompt" in _first_cells(head):
        return "yes"
    is_named = lines[0].strip('"').casefold() == "prompt"
    tabs = {line.count("\t") for line in lines}
    are_rows = len(lines) > 1 and len(tabs) == 1 and tabs != {0}
    return "perhaps" if is_named or are_rows else "no"
