"""Plan of a benchmark's runs in their order, a pure function of its specification.

A block is a set of runs made without a rest between them, with `concurrency` requests kept in
flight until all are done. Blocks and steps are numbered, and the plan of a draft is always the
same, so that a worker that resumes a benchmark after a crash knows the remaining steps.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from hashlib import sha256

from promptmill.domain.benchmarks.records import BenchmarkDraft, Order, Phase, PrefixCache

_NONCE_DIGITS = 12


@dataclass(frozen=True, slots=True, kw_only=True)
class Step:
    """One planned run."""

    number: int
    """Index of the run in the plan, counted from 0."""
    prompt_index: int
    run_index: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Block:
    """Runs that are made without a rest between them."""

    number: int
    model: str
    phase: Phase
    concurrency: int
    """Requests of the block that are kept in flight."""
    steps: tuple[Step, ...]


def steps_of_model(draft: BenchmarkDraft) -> int:
    """The number of runs of each model."""
    prompts = len(draft.prompts)
    before = int(draft.measure_cold_load) + draft.warmup_runs * prompts
    return before + prompts * draft.num_runs * sum(draft.concurrency)


def total_steps(draft: BenchmarkDraft) -> int:
    """The number of runs of the benchmark, cold loads and warm-ups included."""
    return steps_of_model(draft) * len(draft.models)


def plan(draft: BenchmarkDraft) -> list[Block]:
    """Plan all blocks: model by model, each with cold load, warm-ups and measured runs."""
    blocks: list[Block] = []
    first = 0
    for model in draft.models:
        for phase, concurrency, asked in _blocks_of_model(draft):
            steps = tuple(
                Step(number=first + place, prompt_index=prompt_index, run_index=run_index)
                for place, (prompt_index, run_index) in enumerate(asked)
            )
            first += len(steps)
            blocks.append(
                Block(
                    number=len(blocks),
                    model=model,
                    phase=phase,
                    concurrency=concurrency,
                    steps=steps,
                )
            )
    return blocks


def _blocks_of_model(
    draft: BenchmarkDraft,
) -> Iterator[tuple[Phase, int, list[tuple[int, int]]]]:
    """Yield phase, requests in flight, and (prompt, run) of each step."""
    prompts = range(len(draft.prompts))
    if draft.measure_cold_load:
        yield Phase.COLD_LOAD, 1, [(0, 0)]
    if draft.warmup_runs:
        yield (
            Phase.WARMUP,
            1,
            [(prompt, run) for prompt in prompts for run in range(draft.warmup_runs)],
        )
    if draft.order is Order.SEQUENTIAL:
        for level in draft.concurrency:
            for prompt in prompts:
                yield Phase.MEASURED, level, [(prompt, n) for n in range(draft.num_runs * level)]
        return
    for turn in range(draft.num_runs):
        for level in draft.concurrency:
            for prompt in prompts:
                runs = range(turn * level, (turn + 1) * level)
                yield Phase.MEASURED, level, [(prompt, run) for run in runs]


def text_to_send(
    draft: BenchmarkDraft, benchmark_id: str, *, session: int, block: Block, step: Step
) -> str:
    """Build the prompt to send, with unique digits in front if the cache is to be avoided.

    The digits are derived from the benchmark, the run and the session, because a run that a crash
    interrupted left its prompt in the cache. Their number is constant, because common tokenizers
    then make the same number of tokens of them.
    """
    prompt = draft.prompts[step.prompt_index]
    if draft.prefix_cache is PrefixCache.ALLOW:
        return prompt
    of_run = f"{benchmark_id} {session} {block.model} {block.concurrency} {step.number}"
    number = int.from_bytes(sha256(of_run.encode()).digest()[:8]) % 10**_NONCE_DIGITS
    return f"{number:0{_NONCE_DIGITS}d}\n\n{prompt}"
