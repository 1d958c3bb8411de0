"""Sections of a report about the benchmark itself: state, request, environment."""

from __future__ import annotations

from collections.abc import Sequence

from promptmill.domain.benchmarks.records import Benchmark, ModelEnvironment
from promptmill.domain.benchmarks.summary import NO_ENVIRONMENT
from promptmill.reports.report_input import ReportInput
from promptmill.reports.tables import Cell, Column, Given, Section, Table
from promptmill.reports.wording import MISSING, given, json_text, moment, one_line, percent, size


def sections(report: ReportInput) -> Sequence[Section]:
    """Sections on state, request and environment."""
    benchmark = report.benchmark
    return [
        Section("Status", [_status(benchmark)]),
        Section("What was asked", [_asked(benchmark), _prompts(benchmark)]),
        Section("Environment", [_environment(benchmark), _model_environments(report)]),
    ]


def _facts(name: str, rows: Sequence[tuple[str, Cell]]) -> Table:
    return Table(name, [Column(""), Column("")], [[what, value] for what, value in rows])


def _status(benchmark: Benchmark) -> Table:
    counts = benchmark.counts
    rows: list[tuple[str, Cell]] = [
        ("id", Given(benchmark.id)),
        ("status", benchmark.state.value),
        ("created", moment(benchmark.created_at_ms)),
        ("started", moment(benchmark.started_at_ms)),
        ("finished", moment(benchmark.finished_at_ms)),
        (
            "runs",
            (
                f"{counts.succeeded} succeeded, {counts.failed} failed, {counts.skipped} skipped,"
                f" {counts.cancelled} cancelled, {counts.pending} to come, of {counts.total}"
                " (cold loads and warm-ups included)"
            ),
        ),
    ]
    if benchmark.sessions > 1:
        rows.append(("sessions", f"{benchmark.sessions}: it was interrupted and taken up again"))
    if benchmark.error is not None:
        rows.append(("error", Given(benchmark.error)))
    return _facts("Status", rows)


def _asked(benchmark: Benchmark) -> Table:
    draft = benchmark.draft
    slo = draft.slo
    wishes = [
        f"{name} at most {wish:g} s"
        for name, wish in (
            ("latency", slo and slo.latency_s),
            ("TTFT", slo and slo.ttft_s),
            ("time per output token", slo and slo.tpot_s),
        )
        if wish is not None
    ]
    rows: list[tuple[str, Cell]] = [
        ("models", Given(", ".join(draft.models))),
        ("runs", f"{draft.num_runs} of each prompt, for each request in flight"),
        ("warm-up runs", f"{draft.warmup_runs} of each prompt"),
        ("requests in flight", ", ".join(map(str, draft.concurrency))),
        ("options", Given(json_text(dict(draft.options)))),
        ("think", "left to the model" if draft.think is None else Given(given(draft.think))),
        ("prefix cache", draft.prefix_cache.value),
        ("cold load", "measured" if draft.measure_cold_load else "not measured"),
        ("order", draft.order.value),
        ("rest before each block", f"{draft.cooldown_s:g} s"),
        ("timeout of a run", f"{draft.timeout_s:g} s"),
        (
            "keep_alive",
            "the host's own" if draft.keep_alive is None else Given(given(draft.keep_alive)),
        ),
        ("service level (SLO)", ", ".join(wishes) or "none"),
    ]
    if draft.baseline_id is not None:
        rows.append(("baseline", Given(draft.baseline_id)))
    if draft.metadata:
        rows.append(("metadata", Given(json_text(dict(draft.metadata)))))
    return _facts("Request", rows)


def _prompts(benchmark: Benchmark) -> Table:
    draft = benchmark.draft
    return Table(
        "Prompts",
        [Column("prompt"), Column("text"), Column("characters", number=True)],
        [
            [str(index), Given(one_line(prompt, 160)), str(len(prompt))]
            for index, prompt in enumerate(draft.prompts)
        ],
    )


def _environment(benchmark: Benchmark) -> Table:
    environment = benchmark.environment
    return _facts(
        "Machine",
        [
            ("host", Given(given(environment.host))),
            ("machine, as the user says", Given(given(benchmark.draft.host_info))),
            ("Ollama", Given(given(environment.ollama_version))),
            ("Promptmill", Given(given(environment.service_version))),
        ],
    )


def _model_environments(report: ReportInput) -> Table:
    def row(model: str, found: ModelEnvironment) -> list[Cell]:
        return [
            Given(model),
            # As many digits as `ollama list` shows.
            Given(given(found.model_digest and found.model_digest.removeprefix("sha256:")[:12])),
            Given(given(found.parameter_size)),
            Given(given(found.quantization_level)),
            Given(given(found.family)),
            given(found.context_length),
            size(found.size),
            percent(found.gpu_offload_share),
            Given(" ".join(found.capabilities) if found.capabilities else MISSING),
            "yes" if found.remote else "no",
        ]

    known = report.benchmark.environment.models
    titles = ("model", "digest", "parameters", "quantization", "family")
    return Table(
        "Models as Ollama told of them",
        [
            *map(Column, titles),
            Column("context", number=True),
            Column("size", number=True),
            Column("on graphics cards", number=True),
            Column("capabilities"),
            Column("remote"),
        ],
        [row(model, known.get(model, NO_ENVIRONMENT)) for model in report.models],
    )
