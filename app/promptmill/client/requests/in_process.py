"""The calls and the results of `OllamaManager`, for a service: same arguments, same dicts, durable.

The rule to know: the idempotency key is made of the arguments. A program that crashed and calls
again with the same arguments gets the batch that it began, and only waits for what is missing.
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
"""The model of a batch that names none, as in `OllamaManager`."""
DEFAULT_BENCHMARK_PROMPT: Final = "Hello, how are you?"
"""What a benchmark asks unless told."""


def prompts_of(prompts: Iterable[Prompt]) -> list[str | dict[str, Any]]:
    """The prompts of a batch, each of them checked.

    Raises:
        TypeError: `prompts` is a single text, or one of them is neither a text nor an object.
        ValueError: One of them is empty.
    """
    if isinstance(prompts, str | bytes | Mapping):
        raise TypeError("prompts must be a list of prompts; for a single one write [prompt]")
    values = [prompt_value(prompt, index) for index, prompt in enumerate(prompts)]
    for index, value in enumerate(values):
        if isinstance(value, str) and not value.strip():
            raise ValueError(f"prompts[{index}] must be a text that is not empty")
    return values


def fields_of(
    model: str, max_concurrent: int, rate_limit_delay: float, others: Mapping[str, Any]
) -> BatchFields:
    """The fields of a batch.

    Raises:
        TypeError: One of `others` is no field of a batch.
    """
    known = BatchFields.__annotations__
    for name in others:
        if name not in known:
            close = difflib.get_close_matches(name, known, n=1)
            guess = f" (did you mean {close[0]}?)" if close else ""
            raise TypeError(
                f"{name} is no field of a batch{guess}; model options go into options={{…}}"
            )
    fields = {
        "model": model,
        "max_concurrent": max_concurrent,
        "rate_limit_delay": rate_limit_delay,
        **others,
    }
    return cast("BatchFields", fields)


def models_of(models: Iterable[str]) -> list[str]:
    """The names of models, each once.

    Raises:
        TypeError: `models` is a single text.
    """
    if isinstance(models, str):
        raise TypeError("models must be a list of names; for a single one write [model]")
    return list(dict.fromkeys(models))


def key_of(kind: str, *arguments: object) -> str:
    """An idempotency key that is the same for the same arguments.

    Raises:
        TypeError: Something in them is of a type that JSON does not know.
        ValueError: Something in them cannot be said in JSON.
    """
    return f"{kind}-{hashlib.sha256(encoded(arguments)).hexdigest()}"


def result_of(result: Result) -> dict[str, Any]:
    """The dict of one prompt."""
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
    """The dict of one model."""
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
