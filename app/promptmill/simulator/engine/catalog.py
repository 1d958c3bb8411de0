"""Catalogue: the models on the simulated disk, and the default set of models."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from hashlib import sha256

from promptmill.simulator.faults.refusals import Refusal
from promptmill.simulator.protocol.names import ModelName, parse_name
from promptmill.simulator.settings import PROFILES, ModelSpec, Speed

_TEXT = ("completion", "tools")

DEFAULT_MODELS: tuple[ModelSpec, ...] = (
    ModelSpec(
        name="nomic-embed-text",
        capabilities=("embedding",),
        family="nomic-bert",
        parameters=136_727_040,
        quantization="F16",
        size=274_302_450,
        context_length=2048,
        embedding_length=768,
        speed=Speed(load_s=0.4, prefill_tokens_per_s=20_000),
    ),
    ModelSpec(
        name="qwen2.5-coder:7b",
        capabilities=("completion", "tools", "insert"),
        family="qwen2",
        parameters=7_615_616_512,
        size=4_683_087_519,
        context_length=32_768,
        embedding_length=3584,
        speed=PROFILES["gpu"],
    ),
    ModelSpec(
        name="qwen3:8b",
        capabilities=("completion", "tools", "thinking"),
        family="qwen3",
        parameters=8_190_735_360,
        size=5_225_388_164,
        context_length=40_960,
        embedding_length=4096,
        speed=PROFILES["gpu"],
    ),
    ModelSpec(
        name="llama3.2:3b",
        capabilities=_TEXT,
        parameters=3_212_749_888,
        size=2_019_393_189,
        context_length=131_072,
        embedding_length=3072,
        speed=Speed(
            load_s=0.8,
            prefill_tokens_per_s=6000,
            decode_tokens_per_s=180,
            full_speed_slots=4,
        ),
    ),
)
"""Models of `promptmill simulate` without `--models`; the last one is the newest."""

PULLABLE_MODELS: tuple[ModelSpec, ...] = (
    ModelSpec(
        name="gemma3:4b",
        capabilities=("completion", "vision"),
        family="gemma3",
        parameters=4_299_915_632,
        size=3_338_801_804,
        context_length=131_072,
        embedding_length=2560,
        speed=PROFILES["gpu"],
    ),
    ModelSpec(
        name="mistral:7b",
        capabilities=_TEXT,
        parameters=7_248_023_552,
        size=4_372_824_384,
        context_length=32_768,
        embedding_length=4096,
        speed=PROFILES["gpu"],
    ),
)
"""Models in the simulated registry, beside those on the disk."""

_RECORDED = {
    "tiny": ModelSpec(
        name="tiny",
        parameters=7_259_392,
        quantization="F16",
        size=14_717_318,
        speed=PROFILES["recorded-tiny"],
    ),
    "small": ModelSpec(name="small", quantization="F16"),
}
_ONLY_EMBED = {
    model.name: model for model in DEFAULT_MODELS if "completion" not in model.capabilities
}


def plain_model(name: str) -> ModelSpec:
    """Model of that name that can only complete text, like those of the recordings.

    A name that is known for a model of embeddings stands for that model.
    """
    return _RECORDED.get(name) or _ONLY_EMBED.get(name) or ModelSpec(name=name, quantization="F16")


def parameter_label(parameters: int) -> str:
    """A number of weights as Ollama shows it: `7.26M`, `8.2B`."""
    if parameters >= 1_000_000_000:  # noqa: PLR2004  # where B begins
        return f"{parameters / 1e9:.1f}B"
    return f"{parameters / 1e6:.2f}M"


class StoredModel:
    """A model on the disk."""

    __slots__ = ("digest", "modified_ns", "name", "spec")

    def __init__(self, name: ModelName, spec: ModelSpec, modified_ns: int) -> None:
        self.name = name
        self.spec = spec
        self.modified_ns = modified_ns
        """Nanoseconds since 1970."""
        content = f"{spec.family} {spec.parameters} {spec.quantization} {spec.size} {spec.name}"
        self.digest = sha256(content.encode()).hexdigest()

    @property
    def key(self) -> str:
        """Name of the model for the scheduler and the log."""
        return self.name.key

    def details(self, parent: str = "") -> dict[str, object]:
        """The object `details` of tags, ps and show."""
        spec = self.spec
        return {
            "parent_model": parent,
            "format": "gguf",
            "family": spec.family,
            "families": [spec.family],
            "parameter_size": parameter_label(spec.parameters),
            "quantization_level": spec.quantization,
        }


class Catalog:
    """The models on the disk and in the registry."""

    def __init__(
        self, models: Iterable[ModelSpec], pullable: Iterable[ModelSpec], now_ns: int
    ) -> None:
        self._stored: dict[str, StoredModel] = {}
        self._registry: dict[str, ModelSpec] = {}
        # A second apart, so that the order of the list is decided.
        models = tuple(models)
        for place, spec in enumerate(models):
            self.store(spec.name, spec, now_ns - (len(models) - place) * 1_000_000_000)
            self._offer(spec)
        for spec in pullable:
            self._offer(spec)

    def __iter__(self) -> Iterator[StoredModel]:
        """The stored models, the newest first."""
        return iter(sorted(self._stored.values(), key=lambda model: -model.modified_ns))

    def _offer(self, spec: ModelSpec) -> None:
        name = parse_name(spec.name)
        if name is not None:
            self._registry[name.key] = spec

    def store(self, name_text: str, spec: ModelSpec, now_ns: int) -> None:
        """Put a model on the disk under a name, or replace what had the name."""
        name = parse_name(name_text)
        if name is None:
            raise ValueError(f"{name_text!r} is no model name")
        self._stored[name.key] = StoredModel(name, spec, now_ns)

    def remove(self, name: ModelName) -> bool:
        """Take a model off the disk; False if there is none of that name."""
        return self._stored.pop(name.key, None) is not None

    def find(self, name: ModelName) -> StoredModel | None:
        """The model of that name, whatever its case."""
        return self._stored.get(name.key)

    def in_registry(self, name: ModelName) -> ModelSpec | None:
        """Find the model that a pull of that name gets."""
        return self._registry.get(name.key)

    def require(self, sent: str) -> StoredModel:
        """Find the model of a request, or raise its refusal (rows 4 to 8 of the checks)."""
        if not sent.strip():
            raise Refusal(404, "model '' not found")
        text = source_of(sent)
        name = parse_name(text)
        if name is None:
            raise Refusal(400, "invalid model name")
        found = self._stored.get(name.key)
        if found is None:
            if name.in_cloud:
                raise Refusal(
                    401,
                    "unauthorized",
                    signin_url="https://ollama.com/connect?name=simulated&key=c2ltdWxhdGVk",
                )
            raise Refusal(404, f"model '{sent}' not found")
        return found


def source_of(sent: str) -> str:
    """The name without the suffix `:local`, which only says where the model has to run."""
    text = sent.strip()
    if not text.endswith((":local", ":cloud")):
        return text
    base = text.rpartition(":")[0]
    if base.endswith((":local", ":cloud")) or (text.endswith(":local") and "-cloud" in base):
        raise Refusal(400, f'use either :local or :cloud, not both: "{sent}"')
    return base if text.endswith(":local") else text
