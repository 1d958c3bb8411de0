"""Model names: `[host/][namespace/]model[:tag]`, their defaults and which ones are valid.

The rule a reader must know: an existing model is found whatever the case of its name, but an
answer and an error text repeat the name exactly as the client sent it.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import lru_cache

DEFAULT_HOST = "registry.ollama.ai"
DEFAULT_NAMESPACE = "library"
DEFAULT_TAG = "latest"

_HOST = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.:-]{0,349}")
_NAMESPACE = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_-]{0,79}")
_PART = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.-]{0,79}")


@dataclass(frozen=True, slots=True)
class ModelName:
    """A valid name with its defaults filled in."""

    host: str
    namespace: str
    model: str
    tag: str

    @property
    def short(self) -> str:
        """The name without the parts that have their default, but always with the tag."""
        name = f"{self.model}:{self.tag}"
        if self.host != DEFAULT_HOST:
            return f"{self.host}/{self.namespace}/{name}"
        return name if self.namespace == DEFAULT_NAMESPACE else f"{self.namespace}/{name}"

    @property
    def full(self) -> str:
        """The name with every part, as it stands in the texts about a missing capability."""
        return f"{self.host}/{self.namespace}/{self.model}:{self.tag}"

    @property
    def key(self) -> str:
        """Key that is equal for two spellings of one model."""
        return self.short.lower()

    @property
    def in_cloud(self) -> bool:
        """Whether the request would be passed on to ollama.com."""
        return self.tag == "cloud" or self.tag.endswith("-cloud")


@lru_cache(maxsize=4096)
def parse_name(text: str) -> ModelName | None:
    """The name that the text spells; None if it spells none."""
    rest = text.strip()
    rest, _, tag = rest.rpartition(":") if ":" in rest.rsplit("/", 1)[-1] else (rest, "", "")
    *above, model = rest.split("/")
    if len(above) > 2:  # noqa: PLR2004  # host and namespace
        return None
    namespace = above[-1] if above else DEFAULT_NAMESPACE
    host = above[0] if len(above) > 1 else DEFAULT_HOST
    name = ModelName(host, namespace, model, tag or DEFAULT_TAG)
    valid = (
        _HOST.fullmatch(name.host)
        and _NAMESPACE.fullmatch(name.namespace)
        and _PART.fullmatch(name.model)
        and _PART.fullmatch(name.tag)
    )
    return name if valid else None


def name_key(text: str) -> str:
    """The key of a name; the text itself, in lower case, if it is no valid name."""
    name = parse_name(text)
    return name.key if name else text.lower()
