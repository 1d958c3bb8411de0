"""Form of an upload: its file is stored as it arrives, its fields are checked at the end."""

from __future__ import annotations

from typing import Final

from fastapi import Request

from promptmill.api.openai.errors import ApiError
from promptmill.api.openai.multipart import Begin, FormReader
from promptmill.domain.openai import Purpose
from promptmill.domain.requests.line_cutter import LineCutter
from promptmill.services.admission import require_disk_room
from promptmill.services.openai import files
from promptmill.services.openai.files import FileWriter
from promptmill.services.openai.lines import LONGEST_LINE, first_line_fault
from promptmill.services.openai.translation.faults import (
    Fault,
    Refused,
    invalid_choice,
    missing,
    unknown,
)
from promptmill.services.resources import Resources

_LONGEST_FIELD: Final = 4096
_MOST_DROPPED: Final = 256 * 1024 * 1024
"""Bytes beyond the limit that are read and dropped, so that a client sees the answer."""
_ANCHOR, _SECONDS = "expires_after[anchor]", "expires_after[seconds]"
_FIELDS: Final = ("file", "purpose", _ANCHOR, _SECONDS)
_LEAST_TTL_S, _MOST_TTL_S = 3600, 2_592_000
_FORMAT: Final = "Invalid file format for Batch API. Must be .jsonl"


class Upload:
    """Fields and file of a form that is being received."""

    def __init__(self, resources: Resources) -> None:
        self.writer = FileWriter(resources.database, purpose=Purpose.BATCH, filename="upload")
        self._usual_ttl_s = files.ttl_s(resources)
        self._settings = resources.settings
        self._most = resources.settings.max_upload_bytes
        self._fields: dict[str, str] = {}
        self._name: str | None = None
        self._value = b""
        self._has_file = False
        self._cutter: LineCutter | None = LineCutter(LONGEST_LINE)
        self._has_line = False
        self._faults: list[Fault] = []
        self._dropped = 0

    async def take(self, event: Begin | bytes) -> None:
        """Take the next event of the form."""
        if isinstance(event, Begin):
            self._begin(event)
        elif self._name == "file":
            await self._add(event)
        elif len(self._value) <= _LONGEST_FIELD:
            self._value += event

    def _begin(self, part: Begin) -> None:
        self._end_field()
        name = part.name
        if name not in _FIELDS:
            self._faults.append(unknown(name, name, _FIELDS))
        elif name in self._fields or (name == "file" and self._has_file):
            self._faults.append(Fault(f"'{name}' is given twice.", name, "invalid_value"))
            name = ""
        self._name, self._value = name, b""
        if name == "file":
            self._has_file = True
            self.writer.filename = part.filename or "upload"

    def _end_field(self) -> None:
        if self._name and self._name != "file":
            self._fields[self._name] = self._value[:_LONGEST_FIELD].decode(errors="replace")

    async def _add(self, block: bytes) -> None:
        if self.writer.size + len(block) > self._most or self._dropped:
            self._dropped += len(block)
            if self._dropped > _MOST_DROPPED:
                raise _too_large(self._most)
            return
        require_disk_room(self._settings)
        if self._cutter is not None:
            self._look_at(list(self._cutter.feed(block)))
        await self.writer.write(block)

    def _look_at(self, lines: list[tuple[int, bytes | None]]) -> None:
        """Check the first line that is not blank; the batch checks the others."""
        if not lines:
            return
        self._cutter, self._has_line = None, True
        if (why := first_line_fault(lines[0][1])) is not None:
            self._faults.append(Fault(f"{_FORMAT}. {why}", "file", "invalid_jsonl"))

    def end(self) -> None:
        """Note the end of the form.

        Raises:
            Refused: Something in it is wrong.
            ApiError: The file is too large.
        """
        self._end_field()
        if self._dropped:
            raise _too_large(self._most)
        if self._cutter is not None and self._has_file:
            self._look_at(list(self._cutter.end()))
        for name in ("file", "purpose"):
            if name not in self._fields and not (name == "file" and self._has_file):
                self._faults.append(missing(name))
        purpose = self._fields.get("purpose")
        if purpose is not None and purpose != Purpose.BATCH:
            self._faults.append(invalid_choice("purpose", purpose, [Purpose.BATCH.value]))
        if self._has_file and not self._has_line:
            self._faults.append(Fault(f"{_FORMAT}. The file is empty.", "file", "empty_file"))
        self._check_expiry()
        if self._faults:
            raise Refused(self._faults)

    def expires_in_s(self) -> int | None:
        """Seconds for which the file is kept; None: for ever."""
        text = self._fields.get(_SECONDS)
        return self._usual_ttl_s if text is None else int(text)

    def _check_expiry(self) -> None:
        anchor, text = self._fields.get(_ANCHOR), self._fields.get(_SECONDS)
        if anchor is not None and anchor != "created_at":
            self._faults.append(invalid_choice("expires_after.anchor", anchor, ["created_at"]))
        if (anchor is None) != (text is None):
            self._faults.append(
                missing(f"expires_after.{'anchor' if anchor is None else 'seconds'}")
            )
        if text is not None:
            self._faults += ttl_faults("expires_after.seconds", text)


def ttl_faults(param: str, text: str) -> list[Fault]:
    """Faults of the seconds for which a file is kept."""
    if not (text.isascii() and text.isdecimal()):
        message = f"Invalid type for '{param}': expected an integer."
        return [Fault(message, param, "invalid_type")]
    if not _LEAST_TTL_S <= int(text[:12]) <= _MOST_TTL_S:
        side = "below_min" if int(text[:12]) < _LEAST_TTL_S else "above_max"
        message = f"Invalid '{param}': it must be from {_LEAST_TTL_S} to {_MOST_TTL_S}."
        return [Fault(message, param, f"integer_{side}_value")]
    return []


async def read_form(request: Request, upload: Upload) -> None:
    """Read the form to its end.

    Raises:
        Refused: The body is not a form, or a field is wrong.
        ApiError: The header does not name a form, or the file is too large.
    """
    content_type = request.headers.get("content-type", "")
    if not content_type.lower().startswith("multipart/form-data"):
        message = "Send the file as multipart/form-data."
        raise ApiError(415, Fault(message, None, "unsupported_content_type"))
    form = FormReader(content_type)
    async for block in request.stream():
        for event in form.feed(block):
            await upload.take(event)
    form.end()
    upload.end()


def _too_large(most: int) -> ApiError:
    message = f"File is too large. At most {most} bytes are accepted (PROMPTMILL_MAX_UPLOAD_BYTES)."
    return ApiError(400, Fault(message, "file", "file_too_large"), headers={"Connection": "close"})
