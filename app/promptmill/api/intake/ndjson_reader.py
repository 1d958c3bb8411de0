"""The NDJSON form of `POST /batches`: a prompt on each line, checked while the lines arrive.

The fields of the batch are known before the first line, so each prompt is whole when it is handed
on. Every bad line is noted with its number; the others are looked at all the same.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Final

from promptmill.api.errors.violations import Faults
from promptmill.api.installed_models import ModelCheck
from promptmill.api.intake.batch_fields import check_for_chat
from promptmill.api.intake.json_lines import TOO_DEEP, LineDecoder, UnreadableLine
from promptmill.api.intake.json_stream import MalformedJson
from promptmill.api.intake.prompt_reader import (
    PromptReader,
    ReadingLimits,
    is_chat,
    with_system_first,
)
from promptmill.api.intake.text_rules import Path
from promptmill.domain.batches import BatchDraft, PromptDraft
from promptmill.domain.known_ids import IdsByHash
from promptmill.domain.line_cutter import Line, LineCutter

QUERY: Final[Path] = ("query",)
"""Where the fields of the batch are."""
_LEAST_LONGEST_LINE: Final = 16 * 1024 * 1024


def longest_line(limits: ReadingLimits) -> int:
    """Most bytes of a line: room for images, and for any text with all characters escaped."""
    return max(_LEAST_LONGEST_LINE, 6 * limits.max_prompt_bytes + 64 * 1024)


class LineFaults(Faults):
    """Faults whose sentences begin with the line that is being read."""

    def __init__(self) -> None:
        super().__init__()
        self.line: int | None = None
        """None for what is wrong with the batch as a whole."""

    def add(self, path: Path, detail: str) -> None:
        """Note one."""
        super().add(path, detail if self.line is None else f"line {self.line}: {detail}")


class NdjsonReader:
    """Reads the prompts of one batch out of blocks of its body."""

    def __init__(
        self,
        limits: ReadingLimits,
        draft: BatchDraft,
        faults: LineFaults,
        models: ModelCheck | None = None,
    ) -> None:
        """Read prompts for a batch whose other fields have been read.

        Args:
            limits: The service's.
            draft: The batch without prompts; worthless if `faults` has some already.
            faults: Takes what is wrong.
            models: Given when every model that is named has to be installed, but for `auto_pull`.
        """
        self.faults = faults
        self._draft = draft
        self._system = draft.parameters.get("system")
        self._models = None if faults else models
        if models is not None and not draft.auto_pull:
            models.missing = faults
        self._prompts = PromptReader(limits, faults, IdsByHash(), models)
        self._longest_line = longest_line(limits)
        self._lines = LineCutter(self._longest_line)
        self._decoder = LineDecoder()

    @property
    def count(self) -> int:
        """Prompts so far."""
        return self._prompts.count

    def feed(self, block: bytes) -> list[PromptDraft]:
        """The prompts of the lines that this block ends."""
        return list(self._read(self._lines.feed(block)))

    def end(self) -> list[PromptDraft]:
        """The prompt of a last line without newline; then everything that is wrong is known."""
        last = list(self._read(self._lines.end()))
        self._prompts.finish()
        if self._prompts.first_chat is not None:
            check_for_chat(self._draft, self._prompts.first_chat, self.faults, place=QUERY)
        if self._models is not None:
            self._models.see_batch(self._draft.model, (*QUERY, "model"))
        return last

    def _read(self, lines: Iterable[Line]) -> Iterator[PromptDraft]:
        for line in lines:
            self.faults.line = line.number
            draft = self._prompt_of(line)
            if draft is not None:
                if self._system and is_chat(draft):
                    draft = with_system_first(draft, self._system)
                yield draft
        self.faults.line = None

    def _prompt_of(self, line: Line) -> PromptDraft | None:
        if line.content is None:
            return self._prompts.skip(f"is longer than {self._longest_line} bytes")
        if self._prompts.is_full:  # The batch will be refused; only the count matters now.
            return self._prompts.read(None)
        try:
            return self._prompts.read(self._decoder.decode(line.content))
        except UnreadableLine as reason:
            return self._prompts.skip(str(reason))
        except MalformedJson:
            self.faults.add(("prompts", self._prompts.count - 1), TOO_DEEP)
            return None
