"""`promptmill bench`, against a pretended service."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import httpx
import pytest
import respx

from promptmill.cli.bench.comparison import share_of
from tests.cli.pretended import Invoke
from tests.cli.pretended_benchmarks import (
    ID,
    benchmark,
    compared,
    comparison,
    level,
    result,
)

LOST = httpx.ConnectError("refused")


OTHER_ID = "bench_" + "9" * 26


class Service:
    """A service that accepts a benchmark and then tells how it stands."""

    def __init__(self, router: respx.MockRouter) -> None:
        self.router = router
        self.ordered = router.post("/benchmarks").respond(202, json=benchmark("queued"))
        self.polls = router.get(f"/benchmarks/{ID}", params={"results": "false"})
        self.figures = router.get(f"/benchmarks/{ID}")
        self.comparing = router.get(f"/benchmarks/{ID}/compare")
        self.ends_as(benchmark())

    def ends_as(self, document: dict[str, Any], *before: object) -> None:
        """What is told at last, and what the polls before that get."""
        answers = [*before, document]
        self.polls.mock(
            side_effect=[
                httpx.Response(200, json=one) if isinstance(one, dict) else one for one in answers
            ]
        )
        self.figures.respond(200, json=document)

    def compares(self, *measures: dict[str, Any], **fields: Any) -> None:
        self.comparing.respond(200, json=comparison(*measures, **fields))

    @property
    def order(self) -> dict[str, Any]:
        return json.loads(self.ordered.calls.last.request.content)


@pytest.fixture
def told(service: respx.MockRouter) -> Service:
    return Service(service)


def squeezed(text: str) -> str:
    return " ".join(text.replace("│", " ").split())


def test_models_are_measured_and_only_the_figures_go_to_stdout(
    invoke: Invoke, told: Service
) -> None:
    ran = invoke("bench", "tiny", "small")

    assert ran.exit_code == 0
    assert told.order == {"models": ["tiny", "small"]}
    assert "tiny 1 0.500 ± 0.050 0.500 - 0.125 100 80.0 3/3 too_few_runs" in squeezed(ran.stdout)
    assert ID not in ran.stdout
    assert f"{ID} completed after 5.0 s: 4/4 runs" in ran.stderr
    assert "Ollama 0.24.0 at http://gpu:11434" in ran.stderr


def test_every_option_reaches_the_service(invoke: Invoke, told: Service) -> None:
    told.compares()

    invoke(
        *("bench", "tiny", "--prompt", "Why?", "--prompt", "How?", "--num-predict", 64),
        *("--option", "num_ctx=8192", "--option", "seed=7", "--no-think", "--runs", 5),
        *("--warmup", 0, "--concurrency", "1, 2,4", "--allow-prefix-cache", "--cold-load"),
        *("--order", "interleaved", "--cooldown", 1, "--timeout", 60, "--keep-alive", "10m"),
        *("--slo-ttft", 0.5, "--slo-tpot", 0.05, "--slo-latency", 9, "--label", "before"),
        *("--host-info", "one card", "--metadata", "run=7", "--baseline", "bench_0"),
    )

    assert told.order == {
        "models": ["tiny"],
        "prompts": ["Why?", "How?"],
        "options": {"num_ctx": 8192, "seed": 7, "num_predict": 64},
        "think": False,
        "num_runs": 5,
        "warmup_runs": 0,
        "concurrency": [1, 2, 4],
        "prefix_cache": "allow",
        "measure_cold_load": True,
        "order": "interleaved",
        "cooldown_s": 1.0,
        "timeout_s": 60.0,
        "keep_alive": "10m",
        "slo": {"ttft_s": 0.5, "tpot_s": 0.05, "latency_s": 9.0},
        "label": "before",
        "host_info": "one card",
        "metadata": {"run": "7"},
        "baseline_id": "bench_0",
    }


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("p.txt", "Why?\n\nHow?\n"),
        ("p.csv", "id,prompt\n1,Why?\n2,How?\n"),
        ("p.jsonl", '"Why?"\n{"id": "b", "prompt": "How?"}\n'),
    ],
)
def test_prompts_come_from_a_file_as_those_of_a_batch(
    invoke: Invoke, told: Service, tmp_path: Path, name: str, content: str
) -> None:
    (tmp_path / name).write_text(content)

    assert invoke("bench", "tiny", "--prompts-file", tmp_path / name).exit_code == 0
    assert told.order["prompts"] == ["Why?", "How?"]


def test_a_prompt_that_is_more_than_a_text_is_refused_with_its_line(
    invoke: Invoke, told: Service, tmp_path: Path
) -> None:
    path = tmp_path / "p.jsonl"
    path.write_text('"Why?"\n{"prompt": "How?", "options": {"top_k": 3}}\n')

    ran = invoke("bench", "tiny", "--prompts-file", path)

    assert ran.exit_code == 2
    assert "line 2: a benchmark asks plain texts" in ran.stderr
    assert not told.ordered.called


def test_a_refusal_names_the_prompt_and_the_field(
    invoke: Invoke, service: respx.MockRouter
) -> None:
    errors = [
        {"pointer": "/prompts/1", "detail": "is already given in place 0"},
        {"pointer": "/num_runs", "detail": "must be at most 10000"},
    ]
    service.post("/benchmarks").respond(422, json={"title": "Invalid", "errors": errors})

    ran = invoke("bench", "tiny", "--prompt", "Why?", "--prompt", "Why?", "--runs", 99999)

    assert (ran.exit_code, ran.stdout) == (2, "")
    assert ran.stderr.splitlines()[1:] == [
        "  --prompt 2: is already given in place 0",
        "  /num_runs: must be at most 10000",
    ]


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ([], "name a model to measure"),
        (["tiny", "--id", ID], "--id names a benchmark that there is"),
        (["--id", ID, "--runs", 5], "--id names a benchmark that there is"),
        (["--id", ID, "--detach"], "--id names a benchmark that there is"),
        (["tiny", "--cancel"], "--cancel ends a benchmark that --id names"),
        (["tiny", "--detach", "--compare"], "--detach does not stay"),
        (["tiny", "--concurrency", "1;2"], "--concurrency takes numbers such as 1,2,4"),
        (["tiny", "--concurrency", ""], "--concurrency takes numbers such as 1,2,4"),
        (["tiny", "--prompt", "a", "--prompts-file", "b"], "either with --prompt or"),
        (["tiny", "--prompts-file", "no/such/file"], "cannot read no/such/file"),
        (["tiny", "--option", "num_predict=1", "--num-predict", 2], "give num_predict either"),
        (["tiny", "--option", "seed"], "NAME=VALUE"),
        (["tiny", "--order", "random"], "--order"),
        (["tiny", "--output", "a.pdf"], "--output takes a file that ends in .html, .md"),
        (["tiny", "--output", "no/such/folder/a.html"], "there is no folder no/such/folder"),
        (["tiny", "--fail-if-slower", "10%"], "--fail-if-slower needs --baseline"),
        (
            ["tiny", "--fail-if-slower", "10%", "--baseline", "b", "--runs", 1],
            "cannot judge a single run",
        ),
        (["tiny", "--fail-if-slower", "much", "--baseline", "b"], "a share such as 10% or 0.1"),
    ],
)
def test_wrong_usage_exits_with_2_before_anything_is_measured(
    invoke: Invoke, told: Service, arguments: Sequence[object], said: str
) -> None:
    ran = invoke("bench", *arguments)

    assert (ran.exit_code, ran.stdout) == (2, "")
    assert said in squeezed(ran.stderr)
    assert not told.router.calls


def test_progress_is_told_with_the_wait_for_the_host_and_the_time_left(
    invoke: Invoke, told: Service
) -> None:
    waiting = benchmark("queued")
    running = benchmark("running", counts={"total": 4, "succeeded": 1, "failed": 1}, eta_s=2.5)
    told.ends_as(benchmark(), waiting, running)

    ran = invoke("bench", "tiny")

    assert ran.stderr.splitlines()[1:4] == [
        "waiting for the host: 0/4 runs",
        "running: 2/4 runs, 1 failed, 2.5 s left",
        "completed: 4/4 runs",
    ]


def test_a_restart_of_the_service_is_sat_out(invoke: Invoke, told: Service) -> None:
    told.ends_as(benchmark(), benchmark("running"), *[LOST] * 4)

    ran = invoke("bench", "tiny")

    assert ran.exit_code == 0
    assert ran.stderr.count("Lost the service") == 1
    assert ran.stderr.count("The service is back.") == 1


def test_without_a_service_it_says_how_to_start_one(
    invoke: Invoke, service: respx.MockRouter
) -> None:
    service.post("/benchmarks").mock(side_effect=LOST)

    ran = invoke("bench", "tiny")

    assert ran.exit_code == 3
    assert "`promptmill serve` starts one" in ran.stderr


def test_ctrl_c_leaves_the_benchmark_running_and_says_how_to_come_back(
    invoke: Invoke, told: Service
) -> None:
    def interrupt(request: httpx.Request) -> httpx.Response:
        raise KeyboardInterrupt

    told.polls.mock(side_effect=interrupt)

    ran = invoke("bench", "tiny")

    assert (ran.exit_code, ran.stdout) == (130, "")
    assert "the benchmark goes on" in ran.stderr
    assert f"promptmill bench --id {ID}   comes back" in ran.stderr
    assert f"promptmill bench --id {ID} --cancel   ends it" in ran.stderr


def test_detached_only_the_id_goes_to_stdout(invoke: Invoke, told: Service) -> None:
    ran = invoke("bench", "tiny", "--detach", "--baseline", "bench_0")

    assert (ran.exit_code, ran.stdout) == (0, f"{ID}\n")
    assert f"promptmill bench --id {ID}   shows it" in ran.stderr
    assert not told.polls.called


def test_a_benchmark_that_there_is_can_be_shown_again(invoke: Invoke, told: Service) -> None:
    ran = invoke("bench", "--id", ID)

    assert ran.exit_code == 0
    assert "0.500 ± 0.050" in ran.stdout
    assert not told.ordered.called


def test_a_benchmark_can_be_ended(invoke: Invoke, told: Service) -> None:
    cancelled = told.router.post(f"/benchmarks/{ID}/cancel").respond(
        202, json=benchmark("cancelling")
    )

    ran = invoke("bench", "--id", ID, "--cancel")

    assert (ran.exit_code, cancelled.called) == (0, True)
    assert ran.stderr == f"{ID} is cancelling.\n"


@pytest.mark.parametrize(
    "ended",
    [
        benchmark("completed", counts={"total": 4, "succeeded": 3, "failed": 1}),
        benchmark("completed", counts={"total": 4, "succeeded": 3, "skipped": 1}),
        benchmark("failed", counts={"total": 4, "failed": 4}, error="The host left."),
        benchmark("cancelled", counts={"total": 4, "succeeded": 1, "cancelled": 3}),
    ],
    ids=["a run failed", "a model is missing", "failed", "cancelled"],
)
def test_runs_without_an_answer_make_the_exit_status_1(
    invoke: Invoke, told: Service, ended: dict[str, Any]
) -> None:
    told.ends_as(ended)

    ran = invoke("bench", "tiny")

    assert ran.exit_code == 1
    assert "0.500 ± 0.050" in ran.stdout
    assert (ended["error"] or "") in ran.stderr


def test_as_json_the_document_is_all_that_goes_to_stdout(invoke: Invoke, told: Service) -> None:
    told.ends_as(benchmark("completed", result("tiny"), colour="blue", baseline_id="bench_0"))

    ran = invoke("bench", "tiny", "--json")

    shown = json.loads(ran.stdout)
    assert (shown["results"]["tiny"], shown["colour"]) == (result("tiny"), "blue")
    assert not told.comparing.called


def test_files_are_written_in_the_form_of_their_extension(
    invoke: Invoke, told: Service, tmp_path: Path
) -> None:
    forms = {"html": "html", "md": "md", "csv": "csv", "txt": "benchstat"}
    for form in forms.values():
        told.router.get(f"/benchmarks/{ID}/report", params={"format": form}).respond(
            200, content=f"as {form}".encode()
        )
    told.router.get(f"/benchmarks/{ID}/runs").respond(200, content=b'{"run_index":0}\n')
    names = [f"a.{name}" for name in [*forms, "json", "jsonl"]]

    ran = invoke("bench", "tiny", *(part for name in names for part in ("-o", tmp_path / name)))

    assert ran.exit_code == 0
    written = {path.name: path.read_bytes() for path in tmp_path.iterdir()}
    assert {name: written.pop(f"a.{name}") for name in forms} == {
        name: f"as {form}".encode() for name, form in forms.items()
    }
    assert written.pop("a.jsonl") == b'{"run_index":0}\n'
    assert json.loads(written.pop("a.json"))["id"] == ID
    assert written == {}


def test_a_report_that_cannot_be_made_leaves_no_file(
    invoke: Invoke, told: Service, tmp_path: Path
) -> None:
    told.router.get(f"/benchmarks/{ID}/report").respond(500, json={"title": "Internal error"})

    ran = invoke("bench", "tiny", "-o", tmp_path / "a.html")

    assert ran.exit_code == 3
    assert list(tmp_path.iterdir()) == []


def test_with_a_baseline_the_comparison_is_shown(invoke: Invoke, told: Service) -> None:
    told.ends_as(benchmark(baseline_id="bench_0"))
    told.compares(
        compared("slower", 1.2),
        compared("faster", 0.9, metric="ttft_s"),
        compared("insufficient_data", None, metric="prefill_tokens_per_sec", n_base=0, n_target=0),
        differences=[{"what": "ollama_version", "base": "0.23.0", "target": None}],
    )

    ran = invoke("bench", "tiny", "--baseline", "bench_0")

    shown = squeezed(ran.stdout)
    assert ran.exit_code == 0
    assert "tiny 0 1 latency 1.200 1.150 to 1.250 3 / 3 slower" in shown
    assert "TTFT 0.9000 1.150 to 1.250 3 / 3 faster" in shown
    assert "prefill" not in shown
    assert "ollama_version 0.23.0 None" in shown


@pytest.mark.parametrize(
    ("arguments", "stored", "query"),
    [
        (["--id", ID], "bench_0", "baseline=bench_0"),
        (["--id", ID, "--baseline", OTHER_ID], "bench_0", f"baseline={OTHER_ID}"),
        (["--id", ID], None, None),
    ],
)
def test_it_is_compared_with_the_named_baseline_or_with_the_stored_one(
    invoke: Invoke, told: Service, arguments: list[str], stored: str | None, query: str | None
) -> None:
    told.ends_as(benchmark(baseline_id=stored))
    told.compares(compared())

    invoke("bench", *arguments)

    asked = [call.request.url.query.decode() for call in told.comparing.calls]
    assert asked == ([] if query is None else [query])


@pytest.mark.parametrize(
    ("measure", "share", "code"),
    [
        (compared("slower", 1.2), "10%", 4),
        (compared("slower", 1.2), "0.1", 4),
        (compared("slower", 1.2), "20%", 0),
        (compared("no_significant_difference", 1.2), "10%", 0),
        (compared("insufficient_data", 1.2), "10%", 0),
        (compared("faster", 0.8), "10%", 0),
        (compared("slower", 1.2, metric="ttft_s"), "10%", 0),
        (compared("slower", 1.0001), "0", 4),
    ],
)
def test_only_a_latency_that_is_slower_for_certain_and_by_more_fails_the_command(
    invoke: Invoke, told: Service, measure: dict[str, Any], share: str, code: int
) -> None:
    told.compares(measure)

    ran = invoke("bench", "tiny", "--baseline", "bench_0", "--fail-if-slower", share)

    assert ran.exit_code == code
    assert ("slower: tiny, prompt 0, 1 in flight: latency +" in ran.stderr) is (code == 4)
    assert ("No latency is slower" in ran.stderr) is (code == 0)


def test_what_cannot_be_judged_is_said_and_not_taken_for_as_fast(
    invoke: Invoke, told: Service
) -> None:
    apart = {"model": "new", "prompt_index": 0, "concurrency": 1, "reason": "not in the baseline"}
    told.compares(
        compared("insufficient_data", 1.0), compared("faster", 0.9), not_comparable=[apart]
    )

    ran = invoke("bench", "tiny", "--baseline", "bench_0", "--fail-if-slower", "10%", "--json")

    assert "2 of 3 latencies cannot be judged" in ran.stderr


def test_failed_runs_go_before_a_slower_latency(invoke: Invoke, told: Service) -> None:
    told.ends_as(benchmark("completed", counts={"total": 4, "succeeded": 3, "failed": 1}))
    told.compares(compared("slower", 2.0))

    ran = invoke("bench", "tiny", "--baseline", "bench_0", "--fail-if-slower", "10%")

    assert ran.exit_code == 1
    assert "slower: tiny" in ran.stderr


def test_a_shown_benchmark_without_a_baseline_cannot_be_judged(
    invoke: Invoke, told: Service
) -> None:
    ran = invoke("bench", "--id", ID, "--fail-if-slower", "10%")

    assert ran.exit_code == 2
    assert "this benchmark was made without one" in ran.stderr
    assert told.figures.called


@pytest.mark.parametrize(
    ("text", "share"), [("10%", 0.1), ("0.1", 0.1), ("250 %", 2.5), ("0", 0.0), ("1", 1.0)]
)
def test_a_share_is_written_in_percent_or_as_a_fraction(text: str, share: float) -> None:
    assert share_of(text) == pytest.approx(share)


@pytest.mark.parametrize("text", ["10", "-1%", "nan", "1e3", "", "1.2.3", "%"])
def test_what_is_no_share_is_refused(invoke: Invoke, text: str) -> None:
    assert invoke("bench", "tiny", "--baseline", "b", "--fail-if-slower", text).exit_code == 2


def test_models_are_shown_over_the_first_at_the_same_prompts_and_levels(
    invoke: Invoke, told: Service
) -> None:
    first = result("first", level(0.5), level(0.8, concurrency=2))
    other = result("other", level(1.0), level(2.0, concurrency=4))
    told.ends_as(benchmark("completed", first, other))

    ran = invoke("bench", "first", "other", "--compare")

    assert "Means over those of first" in ran.stdout
    shown = squeezed(ran.stdout.partition("Means over")[2])
    assert "other 0 1 2.000 2.000 0.5000 0.5000" in shown
    assert "other 0 4" not in shown
    assert "the reports of --output have their intervals" in ran.stderr


def test_one_model_has_nothing_to_be_shown_over(invoke: Invoke, told: Service) -> None:
    ran = invoke("bench", "tiny", "--compare")

    assert ran.exit_code == 0
    assert "no two models with figures" in ran.stderr
    assert told.figures.called
