"""Flags of runs and levels: rules on the measured values.

Each threshold is given with its reason. A flag never changes a number; `summary` decides which
numbers a flagged run is left out of.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from promptmill.domain.benchmarks.records import BenchmarkDraft, BenchmarkRun, Flag, PrefixCache
from promptmill.domain.context_window import SentText, num_ctx_of, was_cut
from promptmill.domain.outcomes import ErrorCode

RATE_TOKENS: Final = 16
"""Fewest tokens of an answer with a meaningful rate.

Ollama's `eval_duration` begins with the first token, so that the rate of a short answer is too high
by one token in `eval_count`.
"""
PREFILL_TOKENS: Final = 64
"""Fewest tokens of a prompt with a meaningful prefill rate; below, fixed costs prevail."""
GOOD_RUNS: Final = 5
"""Fewest good runs that can be compared by ranks."""
VARIANCE: Final = 0.10
"""The latency's coefficient of variation above which a level is flagged."""
_RELOAD_S: Final = 0.1
"""Shortest `load_duration` that may be a load; that of a loaded model is some milliseconds."""
_RELOAD_SHARE: Final = 0.5
"""Share of an earlier load's time above which a later `load_duration` is a load too."""
_HIT_SHARE: Final = 0.5
"""Share of an uncached prefill's time below which a prompt must have been cached."""
_SHORT_SHARE: Final = 0.5
"""Share of `num_predict` below which an answer that ended by itself is short."""
_SERIALISED: Final = 1.25
"""Busy requests on average, at or below which a host with several in flight serialises."""
FASTEST_DECODE: Final = 100_000
"""Tokens per second above which a reported rate is wrong.

The fastest accelerators for language models stay below a tenth of it.
"""
FASTEST_PREFILL: Final = 10_000_000
"""Prefill tokens per second above which a reported rate is wrong."""
_NANO: Final = 1_000_000_000


@dataclass(frozen=True, slots=True, kw_only=True)
class Reference:
    """Load and prefill times of one model and prompt in earlier runs; None before the first."""

    load_s: float | None = None
    """The longest load seen."""
    prefill_s_per_token: float | None = None
    """Prefill seconds per token of a prompt that cannot have been cached."""


def learn(reference: Reference, run: BenchmarkRun) -> Reference:
    """Update the reference by another run of the same model and prompt."""
    load_s = seconds(run.metrics.load_duration)
    if load_s is None or load_s < _RELOAD_S:
        load_s = None
    known = [each for each in (reference.load_s, load_s) if each is not None]
    pace = reference.prefill_s_per_token
    if pace is None and run.succeeded:
        # Only the first run of a prompt in a session is surely not cached.
        prefill_s = seconds(run.metrics.prompt_eval_duration)
        if prefill_s is not None and run.prompt_tokens:
            pace = prefill_s / run.prompt_tokens
    return Reference(load_s=max(known, default=None), prefill_s_per_token=pace)


def run_flags(
    run: BenchmarkRun,
    draft: BenchmarkDraft,
    *,
    reference: Reference,
    context_length: int | None,
    sent: SentText,
    remote: bool,
) -> tuple[Flag, ...]:
    """Determine the flags of one run, given the runs before it.

    Args:
        run: The run, without its flags.
        draft: The benchmark's specification.
        reference: Times of the runs before it.
        context_length: Tokens of the model's window; None: unknown.
        sent: Size of the prompt that was sent.
        remote: Whether the answer came from another server.
    """
    found: list[Flag] = []
    if run.error_code is ErrorCode.INCOMPLETE:
        found.append(Flag.NO_DONE)
    if remote:
        found.append(Flag.REMOTE_MODEL)
    if not run.succeeded:
        return tuple(found)
    tokens = run.output_tokens
    if tokens is None or tokens < RATE_TOKENS:
        found.append(Flag.TOO_FEW_TOKENS)
    if is_rate_impossible(tokens, run.metrics.eval_duration) or _is_prefill_impossible(run):
        found.append(Flag.IMPOSSIBLE_RATE)
    if _was_reloaded(run, reference):
        found.append(Flag.MODEL_RELOADED)
    if draft.prefix_cache is PrefixCache.ALLOW:
        hit = _was_cached(run, reference)
        found.append(Flag.PREFIX_CACHE_HIT if hit else Flag.CACHE_UNKNOWN)
    windows = {w for w in (context_length, num_ctx_of({"options": draft.options})) if w is not None}
    if was_cut(run.prompt_tokens, sent, windows):
        found.append(Flag.PROMPT_TRUNCATED)
    wanted = draft.options.get("num_predict")
    if (
        run.done_reason == "stop"
        and isinstance(wanted, int)
        and wanted > 0
        and (tokens or 0) < _SHORT_SHARE * wanted
    ):
        found.append(Flag.SHORT_OUTPUT)
    return tuple(found)


def is_rate_impossible(
    tokens: int | None, nanoseconds: int | None, *, most: int = FASTEST_DECODE
) -> bool:
    """Whether a rate of tokens is above `most` per second.

    For one token Ollama measures nothing, because its clock starts at the first token.
    """
    return tokens is not None and tokens > 1 and tokens * _NANO > most * (nanoseconds or math.inf)


def _is_prefill_impossible(run: BenchmarkRun) -> bool:
    # Cached tokens take no time, so that only a prompt without a cached part has a rate.
    tokens = run.prompt_tokens or 0
    return (
        run.cached_prompt_tokens == 0
        and tokens >= PREFILL_TOKENS
        and is_rate_impossible(tokens, run.metrics.prompt_eval_duration, most=FASTEST_PREFILL)
    )


def _was_reloaded(run: BenchmarkRun, reference: Reference) -> bool:
    load_s = seconds(run.metrics.load_duration)
    if load_s is None or load_s < _RELOAD_S:
        return False
    return reference.load_s is None or load_s >= _RELOAD_SHARE * reference.load_s


def _was_cached(run: BenchmarkRun, reference: Reference) -> bool:
    prefill_s, pace = seconds(run.metrics.prompt_eval_duration), reference.prefill_s_per_token
    if pace is None or not run.prompt_tokens:
        return False
    # For a fully cached prompt Ollama may report no time.
    return (prefill_s or 0.0) < _HIT_SHARE * pace * run.prompt_tokens


def level_flags(
    *,
    latency_cv: float | None,
    good_runs: int,
    drifted: bool,
    concurrency: int,
    effective_parallelism: float | None,
    of_runs: Sequence[BenchmarkRun],
) -> tuple[Flag, ...]:
    """Determine the flags of a level: those of its runs, and those of all runs together."""
    found = {flag for run in of_runs for flag in run.flags}
    if good_runs < GOOD_RUNS:
        found.add(Flag.TOO_FEW_RUNS)
    if latency_cv is not None and latency_cv > VARIANCE:
        found.add(Flag.HIGH_VARIANCE)
    if drifted:
        found.add(Flag.DRIFT)
    if (
        concurrency > 1
        and effective_parallelism is not None
        and effective_parallelism <= _SERIALISED
    ):
        found.add(Flag.SERVER_SERIALISED)
    return tuple(flag for flag in Flag if flag in found)


def seconds(nanoseconds: int | None) -> float | None:
    """Convert Ollama's nanoseconds to seconds."""
    return None if nanoseconds is None else nanoseconds / _NANO
