"""The `options` of a request: their types, and which of them belong to the loaded model.

A difference in a runner option reloads the model; every other option only concerns one request.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import cast

from promptmill.simulator.faults.refusals import Refusal

_TYPES = {
    **dict.fromkeys(
        (
            "num_ctx",
            "num_batch",
            "num_gpu",
            "main_gpu",
            "num_thread",
            "num_keep",
            "seed",
            "num_predict",
            "top_k",
            "repeat_last_n",
        ),
        "integer",
    ),
    **dict.fromkeys(
        (
            "top_p",
            "min_p",
            "typical_p",
            "temperature",
            "repeat_penalty",
            "presence_penalty",
            "frequency_penalty",
        ),
        "float32",
    ),
    "use_mmap": "boolean",
    "stop": "array",
}
"""The options that 0.24.0 knows, with their types in its error texts; others are ignored."""

_LEAST_CONTEXT = 4


@dataclass(frozen=True, slots=True)
class RunnerOptions:
    """Load options of a model. Requests that differ in them cannot share a loaded model."""

    num_ctx: int
    num_batch: int = 512
    num_gpu: int = -1
    main_gpu: int = 0
    num_thread: int = 0
    use_mmap: bool | None = None


@dataclass(frozen=True, slots=True)
class Options:
    """The options of one request, checked, with the server's defaults."""

    runner: RunnerOptions
    num_predict: int = -1
    """Most tokens of the answer; 0 and less mean no limit."""
    seed: int | None = None
    stop: tuple[str, ...] = ()


def read_options(
    sent: Mapping[str, object], *, default_context: int, trained_context: int
) -> Options:
    """Check the types (a wrong one is refused with 500) and fill in the defaults."""
    known = {
        name: _typed(name, value)
        for name, value in sent.items()
        if name in _TYPES and value is not None
    }
    context = cast("int", known.get("num_ctx", default_context))
    return Options(
        runner=RunnerOptions(
            num_ctx=max(_LEAST_CONTEXT, min(context, trained_context)),
            num_batch=cast("int", known.get("num_batch", 512)),
            num_gpu=max(-1, cast("int", known.get("num_gpu", -1))),
            main_gpu=cast("int", known.get("main_gpu", 0)),
            num_thread=cast("int", known.get("num_thread", 0)),
            use_mmap=cast("bool | None", known.get("use_mmap")),
        ),
        num_predict=cast("int", known.get("num_predict", -1)),
        seed=cast("int | None", known.get("seed")),
        stop=cast("tuple[str, ...]", known.get("stop", ())),
    )


def _typed(name: str, value: object) -> object:
    wanted = _TYPES[name]
    if wanted in {"integer", "float32"}:
        if isinstance(value, int | float) and not isinstance(value, bool):
            return int(value) if wanted == "integer" else float(value)
    elif wanted == "boolean":
        if isinstance(value, bool):
            return value
    elif isinstance(value, list):
        words = cast("list[object]", value)
        if all(isinstance(word, str) for word in words):
            return tuple(cast("list[str]", words))
        raise Refusal(500, f'option "{name}" must be of an array of strings')
    raise Refusal(500, f'option "{name}" must be of type {wanted}')
