"""Normalisation of models' names, so that each model has one name."""

from __future__ import annotations

_DEFAULT_HOST = "registry.ollama.ai/"
_DEFAULT_NAMESPACE = "library/"


def normalise_model(name: str) -> str:
    """Normalise a model's name for use as a key: `Qwen3 ` and `qwen3:latest` become equal.

    Surrounding spaces go, letters become lower case (Ollama ignores case), the default registry and
    namespace are left out, and a missing tag becomes `latest`. Requests to Ollama keep the user's
    spelling.
    """
    short = name.strip().lower().removeprefix(_DEFAULT_HOST).removeprefix(_DEFAULT_NAMESPACE)
    _, _, last = short.rpartition("/")
    return short if ":" in last or not short else f"{short}:latest"


def registry_of(name: str) -> str | None:
    """Server that Ollama would download a model from, as its name gives it: `host:port`.

    None if the name gives no server, which stands for Ollama's own registry.
    """
    _, scheme, rest = name.strip().lower().rpartition("://")
    first, _, path = rest.partition("/")
    is_server = bool(scheme) or "/" in path or (bool(path) and (":" in first or "." in first))
    return first if is_server else None
