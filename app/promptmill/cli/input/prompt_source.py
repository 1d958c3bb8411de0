"""Where `submit` takes its prompts from: arguments, a file or a pipe; whole, or line by line.

A large file of lines is never held in memory: its prompts are read while they are sent.
"""

from __future__ import annotations

import contextlib
import sys
from array import array
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, BinaryIO, Final, NoReturn, Protocol

import typer

from promptmill.cli.input.prompt_input import (
    InputFormat,
    ReadPrompt,
    UnreadableInput,
    format_of,
    read_prompt_lines,
    read_prompts,
)
from promptmill.cli.output import exit_codes
from promptmill.cli.output.terminal import fail

_STDIN: Final = "-"
_LARGE_BYTES: Final = 16 * 1024 * 1024
"""Files of lines from this size on are streamed unless something else is asked for."""
_OF_LINES: Final = frozenset({InputFormat.TEXT, InputFormat.JSONL})


class PromptSource(Protocol):
    """The prompts of a batch; iterating begins anew, where that is possible."""

    is_streamed: bool
    """Whether they are to be sent line by line."""
    is_read_once: bool
    """Whether a second iteration would find nothing."""

    def __iter__(self) -> Iterator[str | dict[str, Any]]:
        """The prompts."""
        ...

    def place_of(self, index: int) -> str | None:
        """Where that prompt stands, in the user's words; None if it has not been read."""
        ...


class WholeSource:
    """Prompts in memory."""

    is_read_once = False

    def __init__(self, read: Sequence[ReadPrompt], *, is_streamed: bool) -> None:
        self._read = read
        self.is_streamed = is_streamed

    def __iter__(self) -> Iterator[str | dict[str, Any]]:
        """The prompts."""
        return (one.prompt for one in self._read)

    def place_of(self, index: int) -> str | None:
        """Where that prompt stands."""
        return self._read[index].place if index < len(self._read) else None


class LineSource:
    """Prompts of a file of lines, read at each iteration; stdin can be read only once."""

    is_streamed = True

    def __init__(self, name: str, input_format: InputFormat, field: str | None) -> None:
        self.is_read_once = name == _STDIN
        self._name = name
        self._format = input_format
        self._field = field
        self._numbers = array("Q")
        """Of the lines that have a prompt, in order: eight bytes each."""

    def __iter__(self) -> Iterator[str | dict[str, Any]]:
        """The prompts.

        Raises:
            typer.Exit: The file cannot be read, or a line is not as its format wants it.
        """
        del self._numbers[:]
        shown = _shown(self._name)
        try:
            with self._opened() as lines:
                for number, prompt in read_prompt_lines(lines, self._format, field=self._field):
                    self._numbers.append(number)
                    yield prompt
        except OSError as error:
            refuse(f"cannot read {shown}: {error.strerror}")
        except UnreadableInput as error:
            refuse(f"cannot use {shown} as {self._format}", *error.faults)

    def place_of(self, index: int) -> str | None:
        """The line of that prompt."""
        return f"line {self._numbers[index]}" if index < len(self._numbers) else None

    def _opened(self) -> contextlib.AbstractContextManager[BinaryIO]:
        if self._name == _STDIN:
            return contextlib.nullcontext(sys.stdin.buffer)
        return Path(self._name).open("rb")


def open_source(
    prompts: Sequence[str],
    file: str | None,
    input_format: InputFormat | None,
    *,
    field: str | None,
    column: str | None,
    stream: bool | None,
) -> PromptSource:
    """The prompts that the command's arguments name; `stream` as the option, None if not given.

    Raises:
        typer.BadParameter: The arguments contradict each other.
        typer.Exit: The file cannot be read, or is not as its format wants it.
    """
    if prompts and file is not None:
        raise typer.BadParameter("give prompts either as arguments or with --file, not both")
    if prompts:
        read = [ReadPrompt(text, f"prompt {number}") for number, text in enumerate(prompts, 1)]
        return WholeSource(read, is_streamed=bool(stream))
    if file is None and sys.stdin.isatty():
        raise typer.BadParameter(
            "no prompts: give them as arguments, with --file, or through a pipe"
        )
    name = file if file is not None else _STDIN
    if input_format is None:
        input_format = format_of(name, field=field, column=column)
    if field is not None and input_format is not InputFormat.JSONL:
        raise typer.BadParameter(f"--field is for jsonl, and this is read as {input_format}")
    if column is not None and input_format is not InputFormat.CSV:
        raise typer.BadParameter(f"--column is for csv, and this is read as {input_format}")
    if input_format in _OF_LINES and (stream or (stream is None and _is_large(name))):
        return LineSource(name, input_format, field)
    try:
        content = sys.stdin.buffer.read() if name == _STDIN else Path(name).read_bytes()
    except OSError as error:
        refuse(f"cannot read {_shown(name)}: {error.strerror}")
    try:
        read = read_prompts(content, input_format, field=field, column=column)
    except UnreadableInput as error:
        refuse(f"cannot use {_shown(name)} as {input_format}", *error.faults)
    return WholeSource(read, is_streamed=bool(stream))


def refuse(line: str, *details: str) -> NoReturn:
    """End with a message about what was given.

    Raises:
        typer.Exit: Always.
    """
    fail(line, *details)
    raise typer.Exit(exit_codes.REFUSED)


def _shown(name: str) -> str:
    return "stdin" if name == _STDIN else name


def _is_large(name: str) -> bool:
    try:
        return name != _STDIN and Path(name).stat().st_size >= _LARGE_BYTES
    except OSError:
        return False  # Reading it will tell why.
