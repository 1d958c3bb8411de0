"""The runs in Go's benchmark format, as Ollama's own benchmark tool prints them.

The program `benchstat` makes medians and intervals of the repeated lines and compares files. The
names are those of Ollama's tool, so that its files and ours can be compared too:

    BenchmarkModel/name=qwen3:8b/step=generate 1 19531250.00 ns/token 51.20 token/sec

`/prompt=` (counted from 0) and `/concurrency=` come before `/step=`, and only where a benchmark has
more than one prompt, or another level than one request at a time. What must not stand in such a
name is percent-encoded. A value that is not known has no line; what was left out is in comments.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from urllib.parse import quote

from promptmill.domain.benchmarks.flags import RATE_TOKENS
from promptmill.domain.benchmarks.records import (
    Benchmark,
    BenchmarkRun,
    Flag,
    ModelEnvironment,
    Phase,
)
from promptmill.domain.benchmarks.summary import (
    NO_ENVIRONMENT,
    counts_for_rates,
    decode_tokens_per_sec,
    is_steady,
    prefill_tokens_per_sec,
)
from promptmill.reports.report_input import ReportInput
from promptmill.reports.wording import one_line


def write(report: ReportInput) -> str:
    """Write the text: each model's description, its runs, and notes on what was left out."""
    benchmark = report.benchmark
    ordered = [run for run in report.runs_in_order() if run.phase is Phase.MEASURED]
    lines = [*_opening(benchmark)]
    for model in report.models:
        environment = benchmark.environment.models.get(model, NO_ENVIRONMENT)
        runs = [run for run in ordered if run.model == model]
        lines.append(_about(model, environment))
        lines += [_comment(text) for text in _left_out(runs, environment)]
        lines += [line for run in runs if is_steady(run) for line in _lines(benchmark, run)]
    return "\n".join(lines) + "\n"


def _opening(benchmark: Benchmark) -> Iterator[str]:
    label = f" ({benchmark.draft.label})" if benchmark.draft.label else ""
    yield _comment(f"Benchmark: {benchmark.id}{label} | Status: {benchmark.state}")
    environment = benchmark.environment
    yield _comment(
        f"Ollama: {environment.ollama_version or 'unknown'}"
        f" | Promptmill: {environment.service_version or 'unknown'}"
        f" | Host: {environment.host or 'unknown'}"
    )
    if benchmark.draft.host_info:
        yield _comment(f"Machine: {benchmark.draft.host_info}")


def _about(model: str, environment: ModelEnvironment) -> str:
    facts = [
        f"Model: {model}",
        f"Params: {environment.parameter_size or 'unknown'}",
        f"Quant: {environment.quantization_level or 'unknown'}",
        f"Family: {environment.family or 'unknown'}",
    ]
    if environment.size is not None and environment.size_vram is not None:
        facts += [f"Size: {environment.size}", f"VRAM: {environment.size_vram}"]
    if environment.context_length is not None:
        facts.append(f"NumCtx: {environment.context_length}")
    return _comment(" | ".join(facts))


def _left_out(runs: Sequence[BenchmarkRun], environment: ModelEnvironment) -> Iterator[str]:
    if environment.error is not None:
        yield f"Not run: {environment.error}"
    failed = Counter(str(run.error_code or "unknown") for run in runs if not run.succeeded)
    if failed:
        codes = ", ".join(f"{code} {count}" for code, count in sorted(failed.items()))
        yield f"Left out, failed: {failed.total()} ({codes})"
    steady = [run for run in runs if is_steady(run)]
    if reloaded := sum(run.succeeded for run in runs) - len(steady):
        yield f"Left out, the model was loaded within them: {reloaded}"
    if short := sum(not counts_for_rates(run) for run in steady):
        yield f"Without a generate line, fewer than {RATE_TOKENS} tokens: {short}"
    if impossible := sum(Flag.IMPOSSIBLE_RATE in run.flags for run in steady):
        yield f"Without a line of its rate, the host told one that cannot be: {impossible}"
    if unknown := sum(prefill_tokens_per_sec(run) is None for run in steady):
        yield f"Without a prefill line, the prompt short or its cache unknown: {unknown}"


def _lines(benchmark: Benchmark, run: BenchmarkRun) -> Iterator[str]:
    name = _name(benchmark, run)
    prefill, metrics = prefill_tokens_per_sec(run), run.metrics
    if prefill and run.prompt_tokens is not None and run.cached_prompt_tokens is not None:
        processed = run.prompt_tokens - run.cached_prompt_tokens
        yield (
            f"{name}/step=prefill 1 {_rate(prefill)} {processed} processed-prompt-token"
            f" {run.cached_prompt_tokens} cached-prompt-token"
        )
    generate = decode_tokens_per_sec(run) if counts_for_rates(run) else None
    if generate:
        yield f"{name}/step=generate 1 {_rate(generate)}"
    times = {
        "ttft": None if run.ttft_s is None else round(run.ttft_s * 1e9),
        "load": metrics.load_duration,
        "total": metrics.total_duration,
    }
    for step, nanoseconds in times.items():
        if nanoseconds is not None:
            yield f"{name}/step={step} 1 {nanoseconds} ns/op"


def _name(benchmark: Benchmark, run: BenchmarkRun) -> str:
    # A slash would begin another part of the name, whitespace would end it.
    name = f"BenchmarkModel/name={quote(run.model, safe=':@+,=~()')}"
    if len(benchmark.draft.prompts) > 1:
        name += f"/prompt={run.prompt_index}"
    if benchmark.draft.concurrency != (1,):
        name += f"/concurrency={run.concurrency}"
    return name


def _rate(tokens_per_s: float) -> str:
    return f"{1e9 / tokens_per_s:.2f} ns/token {tokens_per_s:.2f} token/sec"


def _comment(text: str) -> str:
    return f"# {one_line(text)}"
