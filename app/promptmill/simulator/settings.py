"""Settings of a simulated server: models, limits, speeds and faults.

Everything is a frozen value and is given once, when the simulator is created. The names of the
limits follow the environment variables of Ollama (`OLLAMA_NUM_PARALLEL` is `num_parallel`).
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from pathlib import Path

from promptmill.simulator.faults.access import Refusing
from promptmill.simulator.faults.rules import FaultRule

KEEP_ALIVE_S = 300.0
"""Seconds that an idle model stays loaded, as `OLLAMA_KEEP_ALIVE` says by default."""

COMPLETION = "completion"
"""The capability that generate and chat ask for."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Speed:
    """Speed of a model. The default takes no time at all."""

    load_s: float = 0.0
    """Seconds from the decision to load the model until it can answer."""
    prefill_tokens_per_s: float = math.inf
    """Tokens of the prompt read in a second."""
    decode_tokens_per_s: float = math.inf
    """Tokens of the answer written in a second, by each slot."""
    request_s: float = 0.0
    """Fixed seconds of each request before its first token, on top of the prefill."""
    text_s: float = 0.0
    """Fixed seconds of each text that is embedded, on top of those of its request."""
    full_speed_slots: int = 0
    """Slots that may decode at full speed; with more, all get slower. 0 means any number."""

    def first_token_s(self, prompt_tokens: int) -> float:
        """Seconds from taking the slot to the first token; cached tokens are not to be counted."""
        return self.request_s + prompt_tokens / self.prefill_tokens_per_s

    def decode_rate(self, busy_slots: int) -> float:
        """Tokens per second of one slot while so many are busy."""
        if 0 < self.full_speed_slots < busy_slots:
            return self.decode_tokens_per_s * self.full_speed_slots / busy_slots
        return self.decode_tokens_per_s


PROFILES: dict[str, Speed] = {
    "instant": Speed(),
    "recorded-tiny": Speed(load_s=0.3, prefill_tokens_per_s=9000, decode_tokens_per_s=800),
    "recorded-small": Speed(load_s=0.35, prefill_tokens_per_s=550, decode_tokens_per_s=110),
    "laptop": Speed(
        load_s=3.0, prefill_tokens_per_s=120, decode_tokens_per_s=12, full_speed_slots=2
    ),
    "gpu": Speed(load_s=1.5, prefill_tokens_per_s=3000, decode_tokens_per_s=90, full_speed_slots=4),
}
"""Speeds by name. `recorded-*` are near the two-core machine on which the recordings were made."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelSpec:
    """A model as it lies on the disk, and how fast it is."""

    name: str
    """As `ollama list` shows it; without a tag it is `:latest`."""
    capabilities: tuple[str, ...] = (COMPLETION,)
    """Any of completion, tools, insert, vision, embedding, thinking."""
    family: str = "llama"
    """The architecture, as in `details.family`."""
    parameters: int = 97_240_000
    """Number of weights, as in `general.parameter_count`."""
    quantization: str = "Q4_K_M"
    """As in `details.quantization_level`."""
    size: int = 194_714_151
    """Bytes on the disk."""
    context_length: int = 8192
    """Tokens that the model was trained on; `num_ctx` is clipped to it."""
    embedding_length: int = 256
    """Numbers in one embedding."""
    speed: Speed = PROFILES["recorded-small"]
    """Speed of the model."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SimulatorSettings:
    """One simulated server."""

    models: tuple[ModelSpec, ...] = ()
    """Models on the disk. Empty means the default set (`simulator.engine.catalog`)."""
    pullable: tuple[ModelSpec, ...] = ()
    """Models that the registry has: 404 until they are pulled."""
    num_parallel: int = 1
    """Slots of each loaded model (`OLLAMA_NUM_PARALLEL`)."""
    max_queue: int = 512
    """Requests that may wait for a load; one more gets 503 (`OLLAMA_MAX_QUEUE`)."""
    max_loaded: int = 3
    """Models loaded at a time (`OLLAMA_MAX_LOADED_MODELS`)."""
    keep_alive_s: float = KEEP_ALIVE_S
    """Seconds that an idle model stays loaded; negative means forever (`OLLAMA_KEEP_ALIVE`)."""
    context_length: int = 4096
    """`num_ctx` when a request names none (`OLLAMA_CONTEXT_LENGTH`)."""
    answer_tokens: tuple[int, int] = (16, 64)
    """Least and most tokens of an answer that `num_predict` does not cut."""
    thinking_tokens: tuple[int, int] = (8, 24)
    """Least and most tokens that a thinking model thinks first."""
    prefix_cache: bool = True
    """Whether a slot evaluates only what a prompt does not share with the one before in it."""
    faults: tuple[FaultRule, ...] = ()
    """Rules of simulated faults (`simulator.faults.rules`)."""
    refuses: Refusing | None = None
    """Program that answers every request in Ollama's place; None for Ollama itself."""
    seed: int = 0
    """Decides, with the prompt and its attempt, which calls a fault rate hits."""
    pull_s: float = 1.0
    """Seconds that a pull takes."""
    version: str = "0.24.0"
    """Version that `/api/version` reports."""
    check_host: bool = True
    """Refuse strange Host headers with 403, as a server bound to a loopback address does."""
    write_interval_s: float = 0.01
    """Least seconds between two writes of a stream; tokens in between share one write."""
    calls_kept: int = 100_000
    """Calls that the log keeps in memory; older ones are only counted."""
    log_path: Path | None = None
    """Each call is appended here too, as lines of JSON, when it arrives and when it ends."""
