"""Calls and results of `OllamaManager` against a service: same arguments, same dicts, durable.

The idempotency key is derived from the arguments: a program that crashed and calls again with the
same arguments gets the batch that it began, and waits only for what is missing.
"""

from __future__ import annotations

import difflib
import hashlib
from collections.abc import Iterable, Mapping
from typing import Any, Final, cast

from promptmill.client.requests.batches import BatchFields
from promptmill.client.requests.prompts import Prompt, prompt_value
from promptmill.contract.benchmarks import Benchmark
from promptmill.contract.results import Result
from promptmill.json_values import encoded

DEFAULT_MODEL: Final = "qwen3:8b"
"""Model of a batch without a model, as in `OllamaManager`."""
DEFAULT_BENCHMARK_PROMPT: Final = "Hello, how are you?"
"""Prompt of a benchmark without a prompt."""


def prompts_of(prompts: Iterable[Prompt]) -> list[str | dict[str, Any]]:
    """Check the prompts of a batch.

    Raises:
        TypeError: `prompts` is a string, or an entry is neither a string nor an object.
        ValueError: A prompt is empty.
    """
    if isinstance(prompts, str | bytes | Mapping):
        raise TypeError("prompts must be a list of prompts; for a single one write [prompt]")
    values = [prompt_value(prompt, index) for index, prompt in enumerate(prompts)]
    for index, value in enumerate(values):
        if isinstance(value, str) and not value.strip():
            raise ValueError(f"prompts[{index}] must be a string that is not empty")
    return values


def fields_of(
    model: str, max_concurrent: int, rate_limit_delay: float, others: Mapping[str, Any]
) -> BatchFields:
    """Build the fields of a batch.

    Raises:
        TypeError: A name in `others` is not a field of a batch.
    """
    known = BatchFields.__annotations__
    for name in others:
        if name not in known:
            close = difflib.get_close_matches(name, known, n=1)
            guess = f" (did you mean {close[0]}?)" if close else ""
            raise TypeError(
                f"{name} is not a field of a batch{guess}; model options go into options={{…}}"
            )
    fields = {
        "model": model,
        "max_concurrent": max_concurrent,
        "rate_limit_delay": rate_limit_delay,
        **others,
    }
    return cast("BatchFields", fields)


def models_of(models: Iterable[str]) -> list[str]:
    """List the models, each once.

    Raises:
        TypeError: `models` is a string.
    """
    if isinstance(models, str):
        raise TypeError("models must be a list of names; for a single one write [model]")
    return list(dict.fromkeys(models))


def key_of(kind: str, *arguments: object) -> str:
    """Derive the idempotency key of arguments.

    Raises:
        TypeError: A value is of a type that JSON lacks.
        ValueError: A value has no JSON form.
    """
    return f"{kind}-{hashlib.sha256(encoded(arguments)).hexdigest()}"


def result_of(result: Result) -> dict[str, Any]:
    """Build the dict of one prompt."""
    return {
        "prompt": result.prompt,
        "response": result.response if result.success else None,
        "model": result.model,
        "success": result.success,
        "error": result.error,
        "eval_count": result.eval_count,
        "eval_duration": result.eval_duration,
    }


def figures_of(benchmark: Benchmark, model: str, prompt: str, num_runs: int) -> dict[str, Any]:
    """Build the dict of one model."""
    found = benchmark.results.get(model) if benchmark.results else None
    error = f"The benchmark is {benchmark.status}." if found is None else found.error
    return {
        "model": model,
        "latency": found.latency if found else None,
        "tokens_per_sec": found.tokens_per_sec if found else None,
        "prompt": prompt,
        "response": found.response if found else None,
        "num_runs": num_runs,
        "error": error,
    }
