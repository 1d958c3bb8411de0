"""`promptmill bench`: measure models, show what they did, and compare."""

from __future__ import annotations

from dataclasses import replace
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any, Final

import typer

from promptmill.cli.bench.comparison import share_of
from promptmill.cli.bench.ending import Afterwards, finish
from promptmill.cli.bench.following import follow, left_running
from promptmill.cli.bench.order import BenchOrder, levels_of, options_of, prompts_of, slo_of
from promptmill.cli.bench.outputs import checked_outputs
from promptmill.cli.input.limit_option import finite
from promptmill.cli.input.pairs import json_or_text, pairs
from promptmill.cli.output.mode import mode
from promptmill.cli.output.terminal import hint, print_json, print_one, say
from promptmill.cli.service.completion import complete_model
from promptmill.cli.service.connection import DEFAULT_URL, Url, command_for, connected
from promptmill.cli.service.naming import benchmark_named

_WORK: Final = "What is measured"
_WAY: Final = "How it is measured"
_AFTER: Final = "Afterwards"


class RunOrder(StrEnum):
    """Orders of a model's runs."""

    SEQUENTIAL = "sequential"
    """All runs of a prompt and level, then those of the next."""
    INTERLEAVED = "interleaved"
    """One round of all prompts and levels, then the next round."""


def bench(
    models: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="MODEL",
            help="The models to measure.",
            show_default=False,
            autocompletion=complete_model,
        ),
    ] = None,
    *,
    prompt: Annotated[
        list[str] | None,
        typer.Option(
            metavar="TEXT",
            help="What to ask; can be given again, each is measured for itself. Default: `Hello,"
            " how are you?`",
            rich_help_panel=_WORK,
        ),
    ] = None,
    prompts_file: Annotated[
        str | None,
        typer.Option(
            metavar="FILE",
            help="Take the prompts from this file, as `submit --file` does.",
            rich_help_panel=_WORK,
        ),
    ] = None,
    num_predict: Annotated[
        int | None,
        typer.Option(help="Most tokens of an answer. Default: 128.", rich_help_panel=_WORK),
    ] = None,
    option: Annotated[
        list[str] | None,
        typer.Option(
            metavar="NAME=VALUE",
            help="An option of Ollama, such as num_ctx=8192; VALUE is JSON, or else a text. Can be"
            " given again. Default: temperature=0 and seed=42.",
            rich_help_panel=_WORK,
        ),
    ] = None,
    think: Annotated[
        bool | None,
        typer.Option(
            "--think/--no-think",
            help="Whether a thinking model thinks first. If not given, it does.",
            show_default=False,
            rich_help_panel=_WORK,
        ),
    ] = None,
    runs: Annotated[
        int | None,
        typer.Option(
            help="Measured runs of each prompt, for each request in flight; from 5 on they can be"
            " compared by ranks. Default: 3.",
            rich_help_panel=_WAY,
        ),
    ] = None,
    warmup: Annotated[
        int | None,
        typer.Option(
            help="Runs of each prompt before, which count for nothing. Default: 1.",
            rich_help_panel=_WAY,
        ),
    ] = None,
    concurrency: Annotated[
        str | None,
        typer.Option(
            metavar="N,N,…",
            help="How many requests are kept in flight, level after level, such as 1,2,4."
            " Default: 1.",
            rich_help_panel=_WAY,
        ),
    ] = None,
    allow_prefix_cache: Annotated[
        bool,
        typer.Option(
            "--allow-prefix-cache",
            help="Send prompts as they are, so that Ollama may have them in its cache.",
            rich_help_panel=_WAY,
        ),
    ] = False,
    cold_load: Annotated[
        bool,
        typer.Option(
            "--cold-load",
            help="Unload each model first, and show its first answer apart.",
            rich_help_panel=_WAY,
        ),
    ] = False,
    order: Annotated[
        RunOrder | None,
        typer.Option(
            help="Level after level, or a round of all levels after the other. Default:"
            " sequential.",
            rich_help_panel=_WAY,
        ),
    ] = None,
    cooldown: Annotated[
        float | None,
        typer.Option(
            callback=finite,
            metavar="SECONDS",
            help="Rest before each block of runs. Default: 0.",
            rich_help_panel=_WAY,
        ),
    ] = None,
    timeout: Annotated[
        float | None,
        typer.Option(
            callback=finite,
            metavar="SECONDS",
            help="Longest that one run may take. Default: 300.",
            rich_help_panel=_WAY,
        ),
    ] = None,
    keep_alive: Annotated[
        str | None,
        typer.Option(
            metavar="SECONDS|DURATION",
            help="How long Ollama keeps a model after a run, such as 10m.",
            rich_help_panel=_WAY,
        ),
    ] = None,
    slo_ttft: Annotated[
        float | None,
        typer.Option(
            callback=finite,
            metavar="SECONDS",
            help="A request is good only if its first text came so soon.",
            rich_help_panel=_WAY,
        ),
    ] = None,
    slo_tpot: Annotated[
        float | None,
        typer.Option(
            callback=finite,
            metavar="SECONDS",
            help="A request is good only if each further token took so long at most.",
            rich_help_panel=_WAY,
        ),
    ] = None,
    slo_latency: Annotated[
        float | None,
        typer.Option(
            callback=finite,
            metavar="SECONDS",
            help="A request is good only if it took so long at most.",
            rich_help_panel=_WAY,
        ),
    ] = None,
    label: Annotated[str | None, typer.Option(help="A title for the reports.")] = None,
    host_info: Annotated[
        str | None,
        typer.Option(metavar="TEXT", help="What you want to have kept about the machine."),
    ] = None,
    metadata: Annotated[
        list[str] | None,
        typer.Option(
            metavar="NAME=VALUE",
            help="A note on the benchmark, given back as sent. Can be given again.",
        ),
    ] = None,
    benchmark_id: Annotated[
        str | None,
        typer.Option(
            "--id",
            metavar="ID",
            help="Measure nothing new: show that benchmark (an id, its beginning, or @last), and"
            " stay with it while it runs.",
        ),
    ] = None,
    cancel: Annotated[
        bool, typer.Option("--cancel", help="End the benchmark of --id; runs that ended stay.")
    ] = False,
    detach: Annotated[
        bool,
        typer.Option("--detach", help="Do not stay: the id goes to stdout, and that is all."),
    ] = False,
    baseline: Annotated[
        str | None,
        typer.Option(
            metavar="ID",
            help="Compare with this earlier benchmark of the same work.",
            rich_help_panel=_AFTER,
        ),
    ] = None,
    compare: Annotated[
        bool,
        typer.Option(
            "--compare",
            help="Show the models' means over those of the first.",
            rich_help_panel=_AFTER,
        ),
    ] = False,
    fail_if_slower: Annotated[
        str | None,
        typer.Option(
            metavar="SHARE",
            help="Exit with 4 if a latency is slower than in the baseline for certain, and by more"
            " than that, such as 10% or 0.1.",
            rich_help_panel=_AFTER,
        ),
    ] = None,
    output: Annotated[
        list[Path] | None,
        typer.Option(
            "--output",
            "-o",
            metavar="FILE",
            help="Write to this file: a report (.html, .md, .csv, .txt for benchstat), the"
            " benchmark (.json) or every run (.jsonl). Can be given again.",
            rich_help_panel=_AFTER,
        ),
    ] = None,
    url: Url = DEFAULT_URL,
) -> None:
    """Measure models and show the figures; each run has the host to itself.

    Progress goes to stderr. Ctrl-C leaves the benchmark running.
    """
    after = Afterwards(
        baseline_id=baseline,
        compare=compare,
        most_slower=None if fail_if_slower is None else share_of(fail_if_slower),
        outputs=checked_outputs(output or ()),
        as_json=mode().as_json,
    )
    asked = BenchOrder(
        models=models or [],
        source=prompts_of(prompt or [], prompts_file),
        fields={
            "num_runs": runs,
            "warmup_runs": warmup,
            "concurrency": None if concurrency is None else levels_of(concurrency),
            "options": options_of(option, num_predict),
            "think": think,
            "prefix_cache": "allow" if allow_prefix_cache else None,
            "measure_cold_load": cold_load or None,
            "order": None if order is None else order.value,
            "cooldown_s": cooldown,
            "timeout_s": timeout,
            "keep_alive": _json_or_text("--keep-alive", keep_alive),
            "slo": slo_of(latency_s=slo_latency, ttft_s=slo_ttft, tpot_s=slo_tpot),
            "label": label,
            "host_info": host_info,
            "metadata": pairs("--metadata", metadata, str) or None,
        },
    )
    if benchmark_id is None:
        _check_order(asked, after, cancel=cancel, detach=detach)
    elif not asked.is_empty or detach:
        raise typer.BadParameter("--id names a benchmark that there is; nothing can be set of it")
    with connected(url, place_of=asked.place_of) as client:
        if benchmark_id is not None:
            benchmark_id = benchmark_named(client, benchmark_id)
        if baseline is not None:
            baseline = benchmark_named(client, baseline)
        if benchmark_id is not None and cancel:
            found = client.benchmarks.cancel(benchmark_id)
            say(f"{found.id} is {found.status}.")
            if mode().as_json:
                print_json(found)
            return
        if benchmark_id is None:
            created = asked.create(client, baseline_id=baseline)
            benchmark_id = created.id
            if detach:
                print_one(created)
                hint(command_for(f"bench --id {benchmark_id}", url), "shows it")
                return
            say(f"{benchmark_id} is accepted.", style="dim")
        with left_running(benchmark_id, url):
            ended = follow(client, benchmark_id)
        code = finish(client, ended, replace(after, baseline_id=baseline))
    raise typer.Exit(code)


def _json_or_text(option: str, value: str | None) -> Any:  # noqa: ANN401 - any JSON
    try:
        return None if value is None else json_or_text(value)
    except ValueError as error:
        raise typer.BadParameter(f"{option}: {error}") from None


def _check_order(asked: BenchOrder, after: Afterwards, *, cancel: bool, detach: bool) -> None:
    if cancel:
        raise typer.BadParameter("--cancel ends a benchmark that --id names")
    if not asked.models:
        raise typer.BadParameter("name a model to measure, or with --id a benchmark that there is")
    if detach and after.is_anything:
        raise typer.BadParameter("--detach does not stay for the figures; --id shows them later")
    if after.most_slower is None:
        return
    if after.baseline_id is None:
        raise typer.BadParameter("--fail-if-slower needs --baseline: slower than what?")
    if asked.fields.get("num_runs") == 1:
        raise typer.BadParameter(
            "--fail-if-slower cannot judge a single run; give --runs 5 or more"
        )
