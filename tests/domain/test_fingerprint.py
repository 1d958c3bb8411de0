"""What of a host may not change between two sessions of a benchmark."""

from __future__ import annotations

from dataclasses import replace

import pytest

from promptmill.domain.benchmarks.fingerprint import difference
from promptmill.domain.benchmarks.records import Environment, ModelEnvironment

MODEL = ModelEnvironment(model_digest="a1", size=1000, size_vram=1000)
THEN = Environment(ollama_version="0.24.0", models={"tiny": MODEL})


def now(version: str | None = "0.24.0", **model: object) -> Environment:
    return Environment(ollama_version=version, models={"tiny": replace(MODEL, **model)})


@pytest.mark.parametrize(
    ("seen", "told"),
    [
        (now("0.25.0"), "it had Ollama 0.24.0 then, and has 0.25.0 now"),
        (now(model_digest="b2"), "its model tiny is another one, by its digest"),
        (now(size_vram=620), "100% of its model tiny lay on graphics cards then, 62% now"),
        (now(size_vram=0), "100% of its model tiny lay on graphics cards then, 0% now"),
    ],
)
def test_another_version_model_or_share_of_the_graphics_cards_is_told(
    seen: Environment, told: str
) -> None:
    assert difference(THEN, seen, "tiny") == told


@pytest.mark.parametrize(
    "seen",
    [
        THEN,
        now(None, model_digest=None, size=None),
        now(size_vram=None),
        now(size=2000, size_vram=1990),
        Environment(models={}),
    ],
)
def test_what_is_alike_or_not_known_is_no_difference(seen: Environment) -> None:
    assert difference(THEN, seen, "tiny") is None
    assert difference(seen, THEN, "tiny") is None
    assert difference(THEN, seen, "another") is None
