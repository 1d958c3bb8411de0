"""Parsing of `multipart/form-data` as it arrives; only one block is in memory."""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Final, NamedTuple
from urllib.parse import unquote_to_bytes

from python_multipart.exceptions import FormParserError
from python_multipart.multipart import MultipartParser, parse_options_header

from promptmill.services.openai.translation.faults import Fault, Refused

_LONGEST_NAME: Final = 255
_CONTROL: Final = re.compile(r"[\x00-\x1f\x7f]|[\ud800-\udfff]")


class Begin(NamedTuple):
    """Beginning of a part."""

    name: str
    filename: str | None
    """Last component of the file name; None without a file name."""


Event = Begin | bytes
"""Beginning or next bytes of a part."""


class FormReader:
    """Parser that splits a form into its parts."""

    def __init__(self, content_type: str) -> None:
        """`content_type` is the header of the request.

        Raises:
            Refused: The header names no boundary.
        """
        _, options = parse_options_header(content_type)
        boundary = options.get(b"boundary")
        if not boundary:
            raise _malformed("the Content-Type names no boundary")
        self._events: list[Event] = []
        self._header = b"", b""
        self._disposition = b""
        self._is_whole = False
        try:
            self._parser = MultipartParser(
                boundary,
                {
                    "on_part_begin": self._on_part_begin,
                    "on_header_field": self._on_header_field,
                    "on_header_value": self._on_header_value,
                    "on_header_end": self._on_header_end,
                    "on_headers_finished": self._on_headers_finished,
                    "on_part_data": self._on_part_data,
                    "on_end": self._on_end,
                },
            )
        except FormParserError as error:
            raise _malformed(str(error)) from None

    def feed(self, block: bytes) -> Iterable[Event]:
        """Yield the events that the block completes.

        Raises:
            Refused: The body is not such a form.
        """
        try:
            self._parser.write(block)
        except FormParserError as error:
            raise _malformed(str(error)) from None
        events, self._events = self._events, []
        return events

    def end(self) -> None:
        """Note the end of the body.

        Raises:
            Refused: The form has no end.
        """
        if not self._is_whole:
            raise _malformed("it breaks off before its last boundary")

    def _on_part_begin(self) -> None:
        self._disposition = b""
        self._header = b"", b""

    def _on_header_field(self, data: bytes, start: int, end: int) -> None:
        field, value = self._header
        self._header = field + data[start:end], value

    def _on_header_value(self, data: bytes, start: int, end: int) -> None:
        field, value = self._header
        self._header = field, value + data[start:end]

    def _on_header_end(self) -> None:
        field, value = self._header
        if field.lower() == b"content-disposition":
            self._disposition = value
        self._header = b"", b""

    def _on_headers_finished(self) -> None:
        _, options = parse_options_header(self._disposition)
        name = options.get(b"name")
        if name is None:
            raise _malformed("a part has no name")
        filename = options.get(b"filename")
        encoded = options.get(b"filename*")
        if encoded is not None:
            # RFC 5987: charset'language'percent-encoded
            filename = unquote_to_bytes(encoded.rpartition(b"'")[2])
        self._events.append(
            Begin(name.decode(errors="replace"), None if filename is None else _last_part(filename))
        )

    def _on_part_data(self, data: bytes, start: int, end: int) -> None:
        self._events.append(data[start:end])

    def _on_end(self) -> None:
        self._is_whole = True


def _last_part(filename: bytes) -> str:
    text = filename.decode(errors="replace").replace("\\", "/").rpartition("/")[2]
    return _CONTROL.sub("", text)[:_LONGEST_NAME]


def _malformed(why: str) -> Refused:
    message = f"The body is no valid multipart/form-data: {why}."
    return Refused([Fault(message, None, "invalid_multipart")])
