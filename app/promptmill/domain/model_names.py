"""Names of models: one model, one name."""

from __future__ import annotations

_DEFAULT_HOST = "registry.ollama.ai/"
_DEFAULT_NAMESPACE = "library/"


def normalise_model(name: str) -> str:
    """The one spelling of a model's name, for use as a key: `Qwen3 ` and `qwen3:latest` are one.

    Spaces around it go, letters become small (Ollama finds a model whatever their case), the
    default registry and namespace are left out and the tag `latest` is added where there is none.
    What is sent to Ollama stays as the user wrote it.
    """
    short = name.strip().lower().removeprefix(_DEFAULT_HOST).removeprefix(_DEFAULT_NAMESPACE)
    _, _, last = short.rpartition("/")
    return short if ":" in last or not short else f"{short}:latest"


def registry_of(name: str) -> str | None:
    """The server that Ollama would download a model from, as its name gives it: `host:port`.

    None where the name gives none, so that it is Ollama's own registry.
    """
    _, scheme, rest = name.strip().lower().rpartition("://")
    first, _, path = rest.partition("/")
    is_server = bool(scheme) or "/" in path or (bool(path) and (":" in first or "." in first))
    return first if is_server else None
