"""Values that an Ollama server reports about its models."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class InstalledModel:
    """A model on the server's disk."""

    name: str
    """With its tag: `qwen3:8b`."""
    size: int
    """Bytes on disk."""
    digest: str
    """Digest of the model now; it changes with a pull of new content."""
    parameter_size: str | None = None
    """As Ollama writes it: `8.2B`."""
    quantization_level: str | None = None
    """As Ollama writes it: `Q4_K_M`."""
    family: str | None = None
    """The architecture: `qwen3`."""
    capabilities: tuple[str, ...] | None = None
    """`completion`, `vision`, ...; None from servers that do not list them (0.24 and before)."""
    modified_at: datetime | None = None
    """When the model was pulled or made."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RunningModel:
    """Loaded model."""

    name: str
    size: int
    """Bytes of memory, graphics cards included."""
    size_vram: int
    """Bytes of these on graphics cards; 0 when it runs on the processor."""
    digest: str
    parameter_size: str | None = None
    quantization_level: str | None = None
    family: str | None = None
    context_length: int | None = None
    """Tokens of the window that the model was loaded with."""
    expires_at: datetime | None = None
    """Moment of unloading without further requests; centuries ahead for never."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelInfo:
    """Details of a model."""

    parameter_size: str | None = None
    quantization_level: str | None = None
    family: str | None = None
    capabilities: tuple[str, ...] = ()
    context_length: int | None = None
    """Tokens of the longest window that the model was trained for."""
    parameters: str | None = None
    """The options of its Modelfile, one per line."""
    template: str | None = None
    license: str | None = None
    modified_at: datetime | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class PullProgress:
    """One line of a pull."""

    status: str
    """Step of the pull: `pulling manifest`, `pulling 6a0746a1ec1a`, ..., `success`."""
    digest: str | None = None
    """Digest of the layer that is pulled."""
    total: int | None = None
    """Bytes of the layer."""
    completed: int | None = None
    """Bytes of the layer that have arrived; None before the first."""
