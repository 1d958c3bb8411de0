"""Bodies of Ollama's responses about models, as pydantic models.

Unknown fields are ignored and missing ones are None, since both vary between versions of Ollama;
only indispensable fields are required. Chunks of a prompt's answer have no model: `ollama.answer`
reads them as dicts, for speed. Names and numbers are bounded when they are read, because pulls and
benchmarks store them.
"""

from __future__ import annotations

from datetime import datetime
from functools import partial
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BaseModel, ConfigDict

from promptmill.ollama.models import InstalledModel, ModelInfo, PullProgress, RunningModel
from promptmill.ollama.text import count, one_line

_Word = Annotated[str, AfterValidator(partial(one_line, limit=500))]
_Number = Annotated[int, AfterValidator(lambda value: count(value) or 0)]


class _Body(BaseModel):
    model_config = ConfigDict(extra="ignore", frozen=True)


class Anything(BaseModel):
    """Object with any fields."""

    model_config = ConfigDict(extra="allow")


class Version(_Body):
    """`/api/version`."""

    version: _Word


class _Details(_Body):
    family: _Word | None = None
    parameter_size: _Word | None = None
    quantization_level: _Word | None = None


_NO_DETAILS = _Details()


class _Tag(_Body):
    name: _Word
    size: _Number = 0
    digest: _Word = ""
    details: _Details | None = None
    capabilities: tuple[_Word, ...] | None = None
    modified_at: datetime | None = None

    def installed(self) -> InstalledModel:
        details = self.details or _NO_DETAILS
        return InstalledModel(
            name=self.name,
            size=self.size,
            digest=self.digest,
            parameter_size=details.parameter_size or None,
            quantization_level=details.quantization_level or None,
            family=details.family or None,
            capabilities=self.capabilities,
            modified_at=self.modified_at,
        )


class Tags(_Body):
    """`/api/tags`."""

    models: tuple[_Tag, ...] | None


class _Process(_Body):
    name: _Word
    size: _Number = 0
    size_vram: _Number = 0
    digest: _Word = ""
    details: _Details | None = None
    context_length: _Number | None = None
    expires_at: datetime | None = None

    def running(self) -> RunningModel:
        details = self.details or _NO_DETAILS
        return RunningModel(
            name=self.name,
            size=self.size,
            size_vram=self.size_vram,
            digest=self.digest,
            parameter_size=details.parameter_size or None,
            quantization_level=details.quantization_level or None,
            family=details.family or None,
            context_length=self.context_length,
            expires_at=self.expires_at,
        )


class Processes(_Body):
    """`/api/ps`."""

    models: tuple[_Process, ...] | None


class Unloaded(_Body):
    """`/api/generate` without a prompt and with `keep_alive` 0."""

    done_reason: Literal["unload"]


class Shown(_Body):
    """`/api/show`."""

    details: _Details | None = None
    capabilities: tuple[_Word, ...] | None = None
    model_info: dict[str, Any] | None = None
    parameters: str | None = None
    template: str | None = None
    license: str | None = None
    modified_at: datetime | None = None

    def info(self) -> ModelInfo:
        """Convert to a value."""
        details = self.details or _NO_DETAILS
        return ModelInfo(
            parameter_size=details.parameter_size or None,
            quantization_level=details.quantization_level or None,
            family=details.family or None,
            capabilities=self.capabilities or (),
            context_length=self._context_length(),
            parameters=self.parameters,
            template=self.template,
            license=self.license,
            modified_at=self.modified_at,
        )

    def _context_length(self) -> int | None:
        # The key begins with the architecture's name: `qwen3.context_length`.
        for key, value in (self.model_info or {}).items():
            if key.endswith(".context_length") and isinstance(value, int):
                return value
        return None


class PullLine(_Body):
    """Line of `/api/pull`, with either `status` or `error`."""

    status: _Word | None = None
    error: _Word | None = None
    digest: _Word | None = None
    total: _Number | None = None
    completed: _Number | None = None

    def progress(self) -> PullProgress:
        """Convert a line without an error to a value."""
        return PullProgress(
            status=self.status or "",
            digest=self.digest,
            total=self.total,
            completed=self.completed,
        )
