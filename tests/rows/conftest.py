"""A file that is written and read at once."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from promptmill.prompts import Columns, PromptFile, Template
from promptmill.rows import Reading, UnreadableInput

COLUMNS = {"prompt", "id", "system", "image", "keep", "template"}
READING = {"format", "encoding", "delimiter"}


@dataclass(frozen=True)
class Read:
    """What came of reading a file."""

    prompts: list[Any]
    source: PromptFile

    @property
    def remarks(self) -> list[str]:
        return self.source.notes.remarks

    @property
    def places(self) -> list[str | None]:
        return [self.source.place_of(index) for index in range(len(self.prompts))]


ReadFile = Callable[..., Read]
Refused = Callable[..., str]


def prompt_file(name: str, **options: Any) -> PromptFile:
    """A file with its options, those of its columns among the others."""
    columns = {name: value for name, value in options.items() if name in COLUMNS}
    if isinstance(columns.get("template"), str):
        columns["template"] = Template(columns["template"])
    how = {name: value for name, value in options.items() if name in READING}
    sample = {name: value for name, value in options.items() if name in {"limit", "shuffle"}}
    return PromptFile(name, Reading(**how), Columns(**columns), **sample)


@pytest.fixture
def read(tmp_path: Path) -> ReadFile:
    """`read(content, "p.csv", delimiter=";")` gives the prompts of such a file."""

    def run(content: bytes | str, name: str = "p.txt", **options: Any) -> Read:
        path = tmp_path / name
        path.write_bytes(content.encode() if isinstance(content, str) else content)
        source = prompt_file(str(path), **options)
        prompts = list(source)
        assert list(source) == prompts, "a file is read anew at each iteration"
        return Read(prompts, source)

    return run


@pytest.fixture
def refused(read: ReadFile) -> Refused:
    """`refused(content, "p.csv")` gives the faults of a file that must not be read."""

    def run(*arguments: Any, **options: Any) -> str:
        with pytest.raises(UnreadableInput) as caught:
            read(*arguments, **options)
        return "\n".join(caught.value.faults)

    return run
