"""Load groups: prompts that a host can run without loading a model again.

A group is a model with its load options. Ollama loads a model again if any of them differs between
two requests (`num_ctx`, `num_gpu`, ...; `shift` in newer versions), which takes as long as many
prompts. See "needsReload" in Ollama's server/sched.go.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from json import dumps
from typing import Any, Final, cast

from promptmill.domain.model_names import normalise_model

LOAD_OPTIONS: Final = (
    "num_ctx",
    "num_batch",
    "num_gpu",
    "main_gpu",
    "use_mmap",
    "num_thread",
    "draft_num_predict",
)
"""Options with which Ollama loads a model."""
ANY_GROUP: Final = ""
"""The name of the only group while grouping is off."""
USUAL_STAY_S: Final = 300.0
"""Seconds that Ollama keeps a model loaded by default."""
_LEAST_STAY_S: Final = 60.0


def group_name(model: str, parameters: Mapping[str, Any]) -> str:
    """Name of a request's load group: the model's normalised name and the given load options.

    `qwen3:8b`, or `qwen3:8b {"num_ctx":4096}`. A missing option and an option with the host's
    default value are two groups, because the default is unknown.
    """
    options = cast("Mapping[str, Any]", parameters.get("options") or {})
    loaded_with = {name: options[name] for name in LOAD_OPTIONS if options.get(name) is not None}
    if parameters.get("shift") is not None:
        loaded_with["shift"] = parameters["shift"]
    name = normalise_model(model)
    if not loaded_with:
        return name
    return f"{name} {dumps(loaded_with, sort_keys=True, separators=(',', ':'))}"


def model_of(group: str) -> str:
    """Normalised name of a group's model."""
    return group.partition(" ")[0]


def has_load_options(group: str) -> bool:
    """Whether the group has load options besides its model."""
    return " " in group


@dataclass(frozen=True, slots=True, kw_only=True)
class Waiting:
    """Group with waiting prompts, as seen from one host."""

    group: int
    name: str
    priority: int
    """The highest priority of the group's jobs."""
    waits_since_ms: int
    """The earliest moment since which a job of the group waits for a turn."""
    elsewhere: bool
    """Whether another host runs the group."""
    loaded: bool = False
    """Whether this host has the group's model loaded."""


def best_of(waiting: list[Waiting]) -> Waiting | None:
    """Choose the group that a host should run next.

    The order is: priority, groups loaded at this host, groups that no other host runs, longest
    wait.
    """
    return min(
        waiting,
        key=lambda one: (
            -one.priority,
            not one.loaded,
            one.elsewhere,
            one.waits_since_ms,
            one.group,
        ),
        default=None,
    )


def keep_alive_for(parameters: Mapping[str, Any], *, delay_s: float) -> Any:  # noqa: ANN401 - as Ollama takes it
    """Choose the `keep_alive` to send, so that a model in use is not unloaded between two prompts.

    The user's value, unless it is shorter than a minute or than the time between two starts: then
    Ollama's default of five minutes, or twice that time. None: send nothing.
    """
    asked = parameters.get("keep_alive")
    least_s = max(_LEAST_STAY_S, 2 * delay_s)
    stays_s = USUAL_STAY_S if asked is None else _seconds_of(asked)
    if stays_s is None or stays_s < 0 or stays_s >= least_s:
        return asked
    return max(USUAL_STAY_S, least_s)


def seconds_to_stay(parameters: Mapping[str, Any]) -> float | None:
    """Seconds that `keep_alive` keeps a model loaded; None: Ollama's default, or forever."""
    asked = parameters.get("keep_alive")
    stays_s = None if asked is None else _seconds_of(asked)
    return None if stays_s is None or stays_s < 0 else stays_s


_UNITS: Final = {
    "ns": 1e-9,
    "us": 1e-6,
    "µs": 1e-6,
    "μs": 1e-6,
    "ms": 1e-3,
    "s": 1.0,
    "m": 60.0,
    "h": 3600.0,
}


def _seconds_of(keep_alive: object) -> float | None:
    """Seconds of a number or of a duration in Go's notation (`5m`, `1h30m`); else None."""
    if isinstance(keep_alive, bool):
        return None
    if isinstance(keep_alive, int | float):
        return float(keep_alive)
    if not isinstance(keep_alive, str):
        return None
    sign = -1.0 if keep_alive.startswith("-") else 1.0
    text = keep_alive.lstrip("+-")
    if text == "0":
        return 0.0
    steps = _STEP.findall(text)
    if not steps or "".join(number + unit for number, unit in steps) != text:
        return None
    return sign * sum(float(number) * _UNITS[unit] for number, unit in steps)


_STEP: Final = re.compile(r"(\d+\.?\d*|\.\d+)(ns|us|µs|μs|ms|s|m|h)")
