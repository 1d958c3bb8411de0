"""Opening of files and pipes: decompression, encodings, byte order marks."""

from __future__ import annotations

import codecs
import contextlib
import gzip
import io
import re
import sys
import zlib
from collections.abc import Callable, Generator, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import IO, TYPE_CHECKING, Final

from promptmill.rows.faults import UnreadableInput

if TYPE_CHECKING:
    from _typeshed import WriteableBuffer

STDIN: Final = "-"
HEAD_BYTES: Final = 256 * 1024
"""Bytes of the beginning that are examined before the format is decided."""
MARK: Final = "\ufeff"

_GZIP: Final = b"\x1f\x8b"
_MARKS: Final = (
    (codecs.BOM_UTF32_LE, "utf-32-le", "utf-32"),
    (codecs.BOM_UTF32_BE, "utf-32-be", "utf-32"),
    (codecs.BOM_UTF16_LE, "utf-16-le", "utf-16"),
    (codecs.BOM_UTF16_BE, "utf-16-be", "utf-16"),
    (codecs.BOM_UTF8, "utf-8", "utf-8-sig"),
)
_NO_TEXT: Final = {
    rb"BZh[1-9]1AY": "is packed with bzip2: `bzip2 -dc FILE | promptmill submit …` reads it",
    rb"\xfd7zXZ\0": "is packed with xz: `xz -dc FILE | promptmill submit …` reads it",
    rb"\x28\xb5\x2f\xfd": "is packed with zstd: `zstd -dc FILE | promptmill submit …` reads it",
    rb"7z\xbc\xaf|Rar!\x1a": "is an archive: unpack it first",
    rb"\xd0\xcf\x11\xe0": "is an old Excel or Word file: save it as .xlsx or .csv",
    rb"%PDF-|\x89PNG|GIF8|\xff\xd8\xff": "is a PDF or an image, not a text",
    rb"ARROW1\0|FEA1|Obj\x01": "is Arrow, Feather or Avro: save it as Parquet",
    rb"PK\x05\x06|.{257}ustar|\x1f\x8b": "is an archive, or packed twice: unpack it first",
    rb"SQLite format 3\0": "is a database: `sqlite3 -csv -header FILE 'select …'` makes CSV of it",
    rb"version https://git-lfs": "is a pointer of Git LFS: `git lfs pull` fetches the file",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Opened:
    """Input that can be read from its beginning."""

    file: io.BufferedReader
    head: bytes
    """First bytes of the input; `file` yields them again."""
    is_whole: bool
    """Whether the head is the whole input."""


class _Again(io.RawIOBase):
    """Stream that yields bytes that were already read, and then the rest of another stream."""

    def __init__(self, head: bytes, rest: IO[bytes] | gzip.GzipFile) -> None:
        self._head = head
        self._rest = rest

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: WriteableBuffer) -> int:
        room = memoryview(buffer).cast("B")
        piece = self._head[: len(room)] or self._rest.read(len(room))
        self._head = self._head[len(piece) :]
        room[: len(piece)] = piece
        return len(piece)


@contextlib.contextmanager
def opened(name: str) -> Generator[Opened]:
    """Open a file and decompress it; `-` is stdin."""
    with contextlib.ExitStack() as stack:
        stream = _stream(name)
        if name != STDIN:
            stack.enter_context(stream)
        head = stream.read(len(_GZIP))
        stream = io.BufferedReader(_Again(head, stream), HEAD_BYTES)
        if head == _GZIP:
            stream = stack.enter_context(gzip.GzipFile(fileobj=stream))
        with broken_gzip():
            head = stream.read(HEAD_BYTES)
            yield Opened(
                file=io.BufferedReader(_Again(head, stream), HEAD_BYTES),
                head=head,
                is_whole=len(head) < HEAD_BYTES,
            )


@contextlib.contextmanager
def broken_gzip() -> Generator[None]:
    """Convert errors of decompression to `UnreadableInput`."""
    try:
        yield
    except (gzip.BadGzipFile, EOFError, zlib.error):
        raise UnreadableInput("is packed with gzip, and broken or cut off") from None


def is_stream(name: str) -> bool:
    """Whether an input can be read only once: stdin, a pipe or a device."""
    path = Path(name)
    with contextlib.suppress(OSError, ValueError):
        return name == STDIN or (path.exists() and not path.is_file() and not path.is_dir())
    return False


def _stream(name: str) -> IO[bytes]:
    if name != STDIN:
        try:
            return Path(name).open("rb")
        except ValueError as error:  # The name has a null character.
            raise OSError(0, str(error)) from None
    if sys.stdin is None:  # `sys.stdin` is None if it was closed at the start.
        raise OSError(0, "it is closed")
    return sys.stdin.buffer


def encoding_of(head: bytes, named: str | None) -> str:
    """Encoding of a text: that of its byte order mark, else the named one, else UTF-8."""
    for pattern, what in _NO_TEXT.items():
        if re.match(pattern, head, re.DOTALL):
            raise UnreadableInput(what)
    if named is not None:
        named = _known(named)
    for mark, encoding, family in _MARKS:
        if head.startswith(mark):
            if named not in {None, encoding, family}:
                raise UnreadableInput(
                    f"begins with the byte order mark of {encoding}, and --encoding says {named}:"
                    " leave --encoding out"
                )
            return encoding
    if named is None and b"\0" in head:
        raise UnreadableInput(
            "has null bytes: it is not a text, or is UTF-16 without a byte order mark, which"
            " --encoding utf-16-le or utf-16-be reads"
        )
    return "utf-8" if named in {None, "utf-8-sig"} else str(named)


def _known(name: str) -> str:
    try:
        known = codecs.lookup(name)
        "".encode(known.name)  # Fails for codecs from bytes to bytes.
    except (LookupError, ValueError, UnicodeError):
        raise UnreadableInput(
            f"--encoding {name} is not known; such as cp1252, latin-1, utf-16, shift_jis are"
        ) from None
    return known.name


def head_text(opened: Opened, encoding: str) -> str:
    """Decode the beginning of an input, whose last character may be cut."""
    decoder = codecs.getincrementaldecoder(encoding)("replace")
    try:
        return decoder.decode(opened.head).lstrip(MARK)
    except UnicodeError:
        return ""


def lines_of(
    file: io.BufferedReader,
    encoding: str,
    head: str,
    add_fault: Callable[[str], None],
    *,
    marks_are_text: bool = True,
) -> Iterator[tuple[int, str]]:
    r"""Yield lines with their numbers and line ends, without byte order marks at their beginnings.

    Only "\n" ends a line, since form feeds and U+2028 belong to texts; in a file without "\n", "\r"
    does. Bytes that do not fit the encoding are reported to `add_fault`, and so is a byte order
    mark inside a line unless `marks_are_text`.
    """
    end = "\r" if "\r" in head and "\n" not in head else "\n"
    if encoding == "utf-8" and end == "\n":
        lines = _lines_of_utf8(file, add_fault)
    else:
        lines = _decoded_lines(file, encoding, end)
    for number, line in lines:
        text = line.lstrip(MARK)
        if MARK in text and not marks_are_text:
            add_fault(
                f"line {number}: has a byte order mark inside, as where two files were joined"
                " without a line end between them: put one there, or --encoding utf-8 takes the"
                " mark as text"
            )
        else:
            yield number, text


def _lines_of_utf8(
    file: io.BufferedReader, add_fault: Callable[[str], None]
) -> Iterator[tuple[int, str]]:
    for number, line in enumerate(file, start=1):
        try:
            yield number, line.decode()
        except UnicodeDecodeError as error:
            add_fault(
                f"line {number}: is not UTF-8 at byte {error.start + 1}; --encoding NAME reads"
                " another one, such as cp1252 or utf-16"
            )


def _decoded_lines(file: io.BufferedReader, encoding: str, end: str) -> Iterator[tuple[int, str]]:
    number = 0
    text = io.TextIOWrapper(file, encoding=encoding, newline=end)
    try:
        for line in text:
            number += 1
            yield number, line
    except UnicodeError:
        raise UnreadableInput(
            f"line {number + 1}: is not {encoding} there or soon after; --encoding NAME reads"
            " another one"
        ) from None
    finally:
        with contextlib.suppress(ValueError):  # The file may have been closed before.
            text.detach()


def pieces_of(file: io.BufferedReader, encoding: str) -> Iterator[str]:
    """Yield the text in pieces, cut at any character."""
    decoder = codecs.getincrementaldecoder(encoding)()
    lines = 1
    try:
        while piece := file.read(HEAD_BYTES):
            text = decoder.decode(piece)
            yield text
            lines += text.count("\n")
        decoder.decode(b"", final=True)
    except UnicodeError:
        raise UnreadableInput(
            f"line {lines}: is not {encoding} there or below; --encoding NAME reads another one"
        ) from None
