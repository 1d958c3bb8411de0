"""Prompts of a command, from its arguments, a file or a pipe; whole, or as they are read."""

from __future__ import annotations

import json
import sys
from collections.abc import Generator, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from itertools import chain
from pathlib import Path
from typing import Any, Final, NoReturn, Protocol

import typer

from promptmill.cli.output import exit_codes
from promptmill.cli.output.terminal import fail, warn
from promptmill.prompts import Columns, PromptFile
from promptmill.rows import Reading, UnreadableInput

_STDIN: Final = "-"
_LARGE: Final = 2 * 1024 * 1024
"""Characters of JSON from which on prompts are streamed, unless an option says otherwise."""
_LONGEST_NAME: Final = 255
_DATA: Final = frozenset({".csv", ".tsv", ".json", ".jsonl", ".ndjson", ".parquet", ".xlsx"})

Prompt = str | dict[str, Any]


@dataclass(frozen=True, slots=True, kw_only=True)
class Choice:
    """Options for a file of prompts."""

    reading: Reading = field(default_factory=Reading)
    columns: Columns = field(default_factory=Columns)
    limit: int | None = None
    shuffle: int | None = None


class PromptSource(Protocol):
    """Prompts of a batch, iterated again if possible."""

    is_read_once: bool
    """Whether the prompts can be iterated only once."""

    @property
    def batch_fields(self) -> dict[str, Any]:
        """Fields of the whole batch in the input, available once its first prompt was read."""
        ...

    def __iter__(self) -> Generator[Prompt]:
        """Yield the prompts.

        Raises:
            typer.Exit: The input cannot be used; a message was printed.
        """
        ...

    def place_of(self, index: int) -> str | None:
        """Place of a prompt in the user's input; None if it was not read."""
        ...

    def tell_left_out(self) -> None:
        """Print what was left out while the prompts were read."""
        ...


class GivenPrompts:
    """Prompts given as arguments of the command."""

    is_read_once = False

    def __init__(self, texts: Sequence[str], name: str = "prompt") -> None:
        self._texts = texts
        self._name = name
        self.batch_fields: dict[str, Any] = {}

    def __iter__(self) -> Generator[Prompt]:
        """Yield the prompts."""
        yield from self._texts

    def place_of(self, index: int) -> str | None:
        """Number of the argument."""
        return f"{self._name} {index + 1}" if index < len(self._texts) else None

    def tell_left_out(self) -> None:
        """Print nothing, because every argument is a prompt."""


class FilePrompts:
    """Prompts of a file, a folder or a pipe, read at each iteration; of a pipe only once."""

    def __init__(self, name: str, choice: Choice) -> None:
        self._file = PromptFile(
            name, choice.reading, choice.columns, limit=choice.limit, shuffle=choice.shuffle
        )
        self._shown = "stdin" if name == _STDIN else name
        self.is_read_once = self._file.is_read_once

    @property
    def batch_fields(self) -> dict[str, Any]:
        """Fields of the whole batch in the file."""
        return self._file.batch_fields

    def __iter__(self) -> Generator[Prompt]:
        """Yield the prompts.

        Raises:
            typer.Exit: The file cannot be read, or an entry cannot be used.
        """
        try:
            yield from self._file
        except OSError as error:
            refuse(f"cannot read {self._shown}: {error.strerror or error}")
        except UnreadableInput as error:
            kind = f" as {self._file.format}" if self._file.format else ""
            refuse(f"cannot use {self._shown}{kind}", *error.faults)

    def place_of(self, index: int) -> str | None:
        """Line, row or file of the prompt."""
        return self._file.place_of(index)

    def tell_left_out(self) -> None:
        """Print which rows have no prompt, the first by their places, and how many."""
        notes = self._file.notes
        for remark in notes.remarks:
            warn(remark)
        if notes.left_out:
            warn(f"{_counted(notes.left_out, 'row')} left out in all")
        if notes.blank_lines:
            warn(f"{_counted(notes.blank_lines, 'blank line')} left out, between the prompts")


def open_source(prompts: Sequence[str], file: str | None, choice: Choice) -> PromptSource:
    """Choose the source of prompts by the command's arguments.

    Raises:
        typer.BadParameter: The arguments contradict each other.
    """
    if prompts and file is not None:
        raise typer.BadParameter(
            "give prompts either as arguments or with --file, not both; a pattern such as"
            " 'texts/*.txt' stands in quotation marks"
        )
    if prompts:
        if choice != Choice():
            raise typer.BadParameter("prompts that are arguments are sent as they are; give --file")
        _check_for_files(prompts)
        return GivenPrompts(prompts)
    if file is None and (sys.stdin is None or sys.stdin.isatty()):
        raise typer.BadParameter(
            "no prompts: give them as arguments, with --file, or through a pipe"
        )
    return FilePrompts(file if file is not None else _STDIN, choice)


@dataclass(frozen=True, slots=True)
class Sending:
    """Prompts to pass to the client, with the form in which they are sent."""

    prompts: Iterable[Prompt]
    is_streamed: bool


def sending_of(source: PromptSource, *, stream: bool | None) -> Sending:
    """Read the prompts as a whole, or large ones as a stream; `stream` decides if given.

    Raises:
        typer.Exit: The input cannot be used.
    """
    reading = iter(source)
    begun: list[Prompt] = []
    most = 0 if stream else _LARGE
    size = 0
    for prompt in reading:
        begun.append(prompt)
        size += len(json.dumps(prompt, ensure_ascii=False)) + 1
        if size >= most and stream is not False:
            break
    else:
        return Sending(begun, is_streamed=bool(stream))
    if source.is_read_once:
        # With an iterator the client does not try to send the prompts again.
        return Sending(chain(begun, reading), is_streamed=True)
    reading.close()
    return Sending(source, is_streamed=True)


def refuse(line: str, *details: str) -> NoReturn:
    """End with a message about the input.

    Raises:
        typer.Exit: Always.
    """
    fail(line, *details)
    raise typer.Exit(exit_codes.REFUSED)


def _check_for_files(prompts: Sequence[str]) -> None:
    """Refuse names of files given as prompts; warn about texts that look like one."""
    for text in prompts:
        name = text.removeprefix("@")
        if len(name) > _LONGEST_NAME or "\n" in name:
            continue
        if not _is_file(name):
            if Path(name).suffix.lower() in _DATA and " " not in name:
                warn(f"{name} is sent as a prompt: there is no file of that name")
            continue
        told = f"{name} is a file, and was given as a prompt"
        if Path(name).suffix:
            refuse(
                told,
                f"--file {name} reads the prompts in it",
                f"to ask the model this name: echo '{text}' | promptmill submit …",
            )
        warn(f"{told}; --file {name} reads the prompts in it")


def _is_file(name: str) -> bool:
    try:
        return Path(name).is_file()
    except (OSError, ValueError):
        return False


def _counted(count: int, what: str) -> str:
    return f"{count} {what} is" if count == 1 else f"{count} {what}s are"


def first_of(source: PromptSource, count: int) -> Iterator[Prompt]:
    """Read the first prompts of a source.

    Raises:
        typer.Exit: The input cannot be used.
    """
    reading = iter(source)
    for _, prompt in zip(range(count), reading, strict=False):
        yield prompt
    reading.close()
