"""Comparison of a host with its earlier state, to detect that it changed during a benchmark.

A property that is unknown on one side is no difference.
"""

from __future__ import annotations

from promptmill.domain.benchmarks.records import Environment

_SAME_SHARE = 0.01
"""Most difference in a model's share on graphics cards that counts as the same."""


def difference(then: Environment, now: Environment, model: str) -> str | None:
    """Describe the first difference of the host since a model's first runs, in a sentence."""
    if then.ollama_version and now.ollama_version not in {None, then.ollama_version}:
        return f"it had Ollama {then.ollama_version} then, and has {now.ollama_version} now"
    before, after = then.models.get(model), now.models.get(model)
    if before is None or after is None:
        return None
    if before.model_digest and after.model_digest not in {None, before.model_digest}:
        return f"its model {model} is another one, by its digest"
    shares = before.gpu_offload_share, after.gpu_offload_share
    if None not in shares and abs((shares[0] or 0) - (shares[1] or 0)) > _SAME_SHARE:
        return (
            f"{shares[0]:.0%} of its model {model} lay on graphics cards then, {shares[1]:.0%} now"
        )
    return None
