"""Whole files as rows: the files of a folder, or of a pattern such as `texts/*.txt`."""

from __future__ import annotations

import glob
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from promptmill.rows.detection import FileFormat, extension_of
from promptmill.rows.faults import Faults, Notes, UnreadableInput
from promptmill.rows.opening import encoding_of, opened

HEADER: Final = ("name", "text")
_MOST_BYTES: Final = 64 * 1024 * 1024
_TABLES: Final = frozenset({*FileFormat, "ndjson", "tsv", "tab", "psv", "xlsm", "jsonlines"}) - {
    FileFormat.TEXT
}


def is_folder(name: str) -> bool:
    """Whether a name is a folder's, or a pattern that is not an existing file."""
    path = Path(name)
    try:
        return path.is_dir() or (glob.has_magic(name) and not path.exists())
    except (OSError, ValueError):
        return False


def files_of(name: str) -> list[tuple[str, Path]]:
    """List the files with their names below the folder, sorted, without hidden files."""
    path = Path(name)
    if path.is_dir():
        top, found = path, [one for one in path.iterdir() if not one.name.startswith(".")]
    else:
        top = Path(*_fixed_parts(path))
        found = [Path(one) for one in glob.iglob(name, recursive=True)]  # noqa: PTH207 - as shells do
    files = sorted((str(one.relative_to(top)), one) for one in found if one.is_file())
    if not files:
        raise UnreadableInput("it has no files")
    for shown, _ in files:
        if extension_of(shown).removeprefix(".") in _TABLES:
            raise UnreadableInput(
                f"{shown} is a table or JSON, not a text; give one such file at a time"
            )
    return files


def texts_of(
    files: list[tuple[str, Path]], encoding: str | None, faults: Faults, notes: Notes
) -> Iterator[tuple[int, dict[str, str]]]:
    """Yield a row for each file, numbered by its place in the list, without final line ends."""
    for number, (shown, path) in enumerate(files):
        try:
            text = _text(path, encoding)
        except (OSError, UnreadableInput, UnicodeError) as error:
            told = getattr(error, "strerror", None) or error
            faults.add(f"{shown}: {told}")
            continue
        if text.strip():
            yield number, {"name": shown, "text": text}
        else:
            notes.leave_out(shown, "has no prompt")


def _text(path: Path, encoding: str | None) -> str:
    with opened(str(path)) as found:
        known = encoding_of(found.head, encoding)
        content = found.file.read(_MOST_BYTES + 1)
    if len(content) > _MOST_BYTES:
        raise UnreadableInput("has more than 64 MiB")
    return content.decode(known).lstrip("\ufeff").rstrip("\r\n")


def _fixed_parts(path: Path) -> Iterator[str]:
    for part in path.parts[:-1]:
        if glob.has_magic(part):
            return
        yield part
