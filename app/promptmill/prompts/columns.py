"""Conversion of a row of named values to a prompt: text, id, and the columns kept with it."""

from __future__ import annotations

import base64
import datetime as dt
import decimal
import math
import uuid
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, Final, cast

from promptmill.prompts.templates import ROW, Template
from promptmill.rows import UnreadableInput, parse_json

Prompt = str | dict[str, Any]

KNOWN_FIELDS: Final = (
    *("id", "model", "system", "template", "suffix", "images", "format", "options"),
    *("keep_alive", "think", "raw", "truncate", "shift", "logprobs", "top_logprobs", "tools"),
    "data",
)
"""Fields of a prompt object beside `prompt` and `messages`."""
_TYPES: Final[Mapping[str, tuple[type, ...]]] = {
    "model": (str,),
    "system": (str,),
    "options": (dict,),
    "data": (dict,),
    "think": (bool, str),
}
EVERYTHING: Final = ("*",)
_ERRORS: Final = frozenset(
    {"#N/A", "#REF!", "#VALUE!", "#DIV/0!", "#NAME?", "#NUM!", "#NULL!", "#SPILL!", "#CALC!"}
)
_MOST_IMAGE_BYTES: Final = 64 * 1024 * 1024


@dataclass(frozen=True, slots=True, kw_only=True)
class Columns:
    """The columns, or fields of JSON objects, that make a prompt."""

    prompt: str | None = None
    """Column of the text; None stands for `prompt`, or for the only column."""
    id: str | None = None
    """Column of the id; None stands for `id` if it exists, an empty text for no id."""
    system: str | None = None
    image: str | None = None
    """Column of image files' names, or of images themselves."""
    keep: Sequence[str] = ()
    """Columns that are stored with the prompt and returned with its result; `*` stands for all."""
    template: Template | None = None

    @property
    def are_named(self) -> bool:
        """Whether a person named columns, so that the input must have columns."""
        return bool(
            self.prompt or self.id or self.system or self.image or self.keep or self.template
        )

    def wanted(self) -> frozenset[str]:
        """Names that a header must have; a table's delimiter is recognised by them."""
        given = {self.prompt, self.id, self.system, self.image, *self.keep} - {None, "", "*"}
        if self.template is not None:
            given |= self.template.names - self.template.own_names - {ROW}
        elif self.prompt is None:
            given.add("prompt")
        return frozenset(cast("set[str]", given))


class Shape:
    """The columns of one header that match what `Columns` asks for."""

    def __init__(self, header: Sequence[str], columns: Columns, *, folder: Path | None) -> None:
        """Find the columns in a header; names of images are relative to `folder`.

        Raises:
            UnreadableInput: A column is missing or occurs more than once.
        """
        self._header = header
        self._columns = columns
        self._folder = folder or Path()
        self._id = self._optional("id") if columns.id is None else self._find(columns.id)
        self._system = self._find(columns.system)
        self._image = self._find(columns.image)
        everything = tuple(columns.keep) == EVERYTHING
        self._keep = [self._sure(name) for name in (header if everything else columns.keep)]
        self._chat: str | None = None
        """Column of chats, if no text column was named and none is called `prompt`."""
        if columns.prompt is None and columns.template is None and self._optional("prompt") is None:
            self._chat = self._optional("messages")
        self._used: dict[str, str] = {}
        if (template := columns.template) is not None:
            names = template.names - ({ROW} | template.own_names) | (template.names & set(header))
            self._used = {name: self._sure(name) for name in sorted(names)}

    @cached_property
    def text_column(self) -> str:
        """Name of the column that holds the prompt's text.

        Raises:
            UnreadableInput: The header has no such column.
        """
        if self._columns.prompt is not None:
            return self._sure(self._columns.prompt)
        found = self._optional("prompt")
        if found is None and len(self._header) == 1:
            return self._header[0]
        return self._sure("prompt") if found is None else found

    def prompt_of(self, values: Mapping[str, Any]) -> Prompt | None:
        """Make the prompt of a table's row; None if its text is empty.

        Raises:
            ValueError: A value cannot be used; the message names its column.
        """
        if self._chat is not None:
            chat = _chat_of(values[self._chat], self._chat)
            return None if chat is None else self._with_others({"messages": chat}, None, values)
        text = self._text(values)
        return None if text is None else self._with_others({}, text, values)

    def prompt_of_object(self, values: Mapping[str, Any]) -> Prompt | None:
        """Make the prompt of a JSON object; fields of the API's prompt objects count as well.

        Raises:
            ValueError: As `prompt_of`.
        """
        if self._columns.template is not None:
            return self.prompt_of(values)
        given = {name: values[name] for name in KNOWN_FIELDS if values.get(name) is not None}
        if self._columns.prompt is None and "messages" in values:
            given["messages"] = values["messages"]
            return self._with_others(_checked(given), None, values)
        given.pop(self.text_column, None)
        value = values[self.text_column]
        if value is not None and not isinstance(value, str):
            raise ValueError(f'the field "{self.text_column}" is not a string')
        if value is None or not value.strip():
            return None
        return self._with_others(_checked(given), value, values)

    def _text(self, values: Mapping[str, Any]) -> str | None:
        template = self._columns.template
        if template is None:
            text = text_of(values[self.text_column], self.text_column)
        else:
            used = {name: values[column] for name, column in self._used.items()}
            for column in self._used.values():
                _check_for_error(values[column], column)
            if used and all(_is_blank(value) for value in used.values()):
                return None
            text = template.render({**values, ROW: values, **used})
        return text if text.strip() else None

    def _with_others(
        self, given: dict[str, Any], text: str | None, values: Mapping[str, Any]
    ) -> Prompt:
        if text is not None:
            given["prompt"] = text
        if self._id is not None and self._columns.id != "":
            if _is_blank(values[self._id]):
                given.pop("id", None)
            else:
                given["id"] = text_of(values[self._id], self._id)
        elif self._columns.id == "":
            given.pop("id", None)
        if self._system is not None and not _is_blank(values[self._system]):
            given["system"] = text_of(values[self._system], self._system)
        if self._image is not None and not _is_blank(values[self._image]):
            given["images"] = self._images(values[self._image])
        if self._keep:
            given["data"] = {name: jsonable(values[name], name) for name in self._keep}
        return text if text is not None and set(given) == {"prompt"} else given

    def _images(self, value: Any) -> list[str]:  # noqa: ANN401 - any cell
        items = cast("list[Any]", value) if isinstance(value, list) else [value]
        return [base64.b64encode(self._image_bytes(one)).decode() for one in items]

    def _image_bytes(self, value: Any) -> bytes:  # noqa: ANN401 - any cell
        if isinstance(value, dict):  # The form of images in the data sets of Hugging Face.
            held = cast("dict[str, Any]", value)
            value = held.get("bytes") or held.get("path")
        if isinstance(value, bytes):
            return value
        if not isinstance(value, str):
            raise ValueError(f'the column "{self._image}" has neither a file\'s name nor an image')  # noqa: TRY004 - said with others
        path = self._folder / value
        try:
            if path.stat().st_size > _MOST_IMAGE_BYTES:
                raise ValueError(f"the image {path} has more than 64 MiB")
            return path.read_bytes()
        except OSError as error:
            raise ValueError(f"the image {path} cannot be read: {error.strerror}") from None

    def _find(self, name: str | None) -> str | None:
        return self._sure(name) if name else None

    def _sure(self, name: str) -> str:
        found = self._optional(name)
        if found is None:
            hint = "" if name != "prompt" else "; --column NAME takes another"
            has = ", ".join(list(self._header)[:12]) or "none at all"
            raise UnreadableInput(f'there is no column "{name}"; it has {has}{hint}')
        return found

    def _optional(self, name: str) -> str | None:
        for same in (str, str.casefold):
            found = [one for one in self._header if same(one) == same(name)]
            if len(found) == 1:
                return found[0]
            if found:
                raise UnreadableInput(
                    f'more than one column is called "{name}": {", ".join(found)}'
                )
        return None


def text_of(value: Any, column: str) -> str:  # noqa: ANN401 - any cell
    """Convert a cell to text.

    Raises:
        ValueError: The cell is neither text nor a number.
    """
    if _is_blank(value):
        return value if isinstance(value, str) else ""
    _check_for_error(value, column)
    value = jsonable(value, column)
    if isinstance(value, float) and value.is_integer():
        return str(int(value))  # Spreadsheets store whole numbers as floating-point numbers.
    if isinstance(value, str | int | float) and not isinstance(value, bool):
        return str(value)
    raise ValueError(f'the column "{column}" is neither a text nor a number')


def jsonable(value: Any, column: str) -> Any:  # noqa: ANN401 - any cell
    """Convert a cell to JSON: dates as ISO 8601, NaN as null.

    Raises:
        ValueError: The cell is binary, or of a type that JSON lacks.
    """
    if value is None or isinstance(value, str | int | float):
        return None if isinstance(value, float) and not math.isfinite(value) else value
    if isinstance(value, list | tuple):
        return [jsonable(one, column) for one in cast("Sequence[Any]", value)]
    if isinstance(value, Mapping):
        held = cast("Mapping[Any, Any]", value)
        return {str(name): jsonable(one, column) for name, one in held.items()}
    if isinstance(value, dt.date | dt.time):
        return value.isoformat()
    if isinstance(value, decimal.Decimal | dt.timedelta | uuid.UUID):
        return str(value)
    if callable(as_python := getattr(value, "item", None)):
        return jsonable(as_python(), column)  # A NumPy scalar.
    is_binary = isinstance(value, bytes | bytearray | memoryview)
    told = "is binary" if is_binary else f"has a {type(value).__name__}, which JSON cannot hold"
    raise ValueError(f'the column "{column}" {told}')


def _chat_of(value: Any, column: str) -> list[Any] | None:  # noqa: ANN401 - any cell
    """Read a chat's messages from a cell, a list or JSON; None for an empty cell."""
    if _is_blank(value):
        return None
    if isinstance(value, str):
        try:
            value = parse_json(value)
        except ValueError as error:
            raise ValueError(f'the column "{column}" {error}') from None
    if not isinstance(value, list):
        raise ValueError(f'the column "{column}" is not a list of messages')  # noqa: TRY004 - said with others
    return jsonable(value, column) or None


def _checked(given: dict[str, Any]) -> dict[str, Any]:
    for name, types in _TYPES.items():
        if name in given and not isinstance(given[name], types):
            raise ValueError(
                f'"{name}" is not what a prompt\'s {name} is; --template "{{{{ … }}}}" makes the'
                " prompt of named fields alone"
            )
    if isinstance(given.get("id"), int) and not isinstance(given["id"], bool):
        given["id"] = str(given["id"])
    return given


def _check_for_error(value: object, column: str) -> None:
    if isinstance(value, str) and value in _ERRORS:
        raise ValueError(f'the column "{column}" has the error {value} of a spreadsheet')


def _is_blank(value: object) -> bool:
    return (
        value is None
        or (isinstance(value, str) and not value.strip())
        or (isinstance(value, float) and math.isnan(value))
    )
