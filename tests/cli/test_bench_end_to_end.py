"""`promptmill bench` against a real service, in a process of its own, before a pretend Ollama."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from promptmill.cli.service.child_processes import listening
from promptmill.client import Promptmill
from promptmill.simulator import ModelSpec, SimulatorSettings, Speed, running_in_thread
from tests.cli.conftest import serve_arguments
from tests.cli.pretended import Invoke

pytestmark = pytest.mark.proof

QUICK = Speed(load_s=0.05, decode_tokens_per_s=500)
SLOW = Speed(load_s=0.05, decode_tokens_per_s=125)
FEW = ("--runs", 5, "--num-predict", 20)


@pytest.fixture(scope="module")
def bench_url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """A service before a pretend Ollama with a quick and a slow model."""
    folder = tmp_path_factory.mktemp("bench")
    settings = SimulatorSettings(
        models=(ModelSpec(name="quick", speed=QUICK), ModelSpec(name="slow", speed=SLOW)),
        num_parallel=4,
        answer_tokens=(20, 20),
    )
    with (
        running_in_thread(settings) as ollama,
        listening(serve_arguments(folder, ollama), folder / "service.log") as url,
    ):
        yield url


def test_models_are_measured_shown_and_written_in_every_form(
    invoke: Invoke, bench_url: str, tmp_path: Path
) -> None:
    names = ["a.html", "a.md", "a.csv", "a.txt", "a.json", "a.jsonl"]
    written = [part for name in names for part in ("--output", tmp_path / name)]

    ran = invoke(
        *("bench", "quick", "slow", *FEW, "--concurrency", "1,2", "--cold-load", "--compare"),
        *(*written, "--label", "[red]both[/red]", "--url", bench_url),
    )

    assert ran.exit_code == 0, ran.stderr
    document = json.loads((tmp_path / "a.json").read_text())
    # A cold load, a warm-up, five runs alone and five for each of two in flight.
    assert document["counts"]["succeeded"] == 2 * (1 + 1 + 5 + 10)
    quick, slow = (document["results"][model]["latency"] for model in ("quick", "slow"))
    # The last of twenty tokens ends the answer.
    assert 19 / 500 <= quick < 19 / 125 <= slow
    assert len((tmp_path / "a.jsonl").read_text().splitlines()) == 34
    assert (tmp_path / "a.html").read_text().lower().startswith("<!doctype html>")
    assert "Models beside each other" in (tmp_path / "a.md").read_text()
    assert (tmp_path / "a.csv").read_text().count("quick") >= 2
    assert "BenchmarkModel/name=quick" in (tmp_path / "a.txt").read_text()
    assert ran.stdout.count("│ quick │") == 3
    assert "Cold load" in ran.stdout
    assert "Means over those of quick" in ran.stdout
    assert "([red]both[/red]) completed" in ran.stderr


def test_a_slower_model_is_found_out_against_the_baseline(invoke: Invoke, bench_url: str) -> None:
    url = ("--url", bench_url)
    baseline = json.loads(invoke("bench", "quick", *FEW, "--json", *url).stdout)["id"]
    judged = ("--baseline", baseline, "--fail-if-slower", "100%", *url)

    slower = invoke("bench", "slow", *FEW, *judged)
    other_work = invoke("bench", "slow", "--prompt", "Something else?", *FEW, *judged)
    unknown = invoke("bench", "slow", *FEW, "--baseline", "bench_none", *url)

    assert slower.exit_code == 4
    assert "slow over quick" in slower.stdout
    assert "slower: slow, prompt 0, 1 in flight" in slower.stderr
    assert (other_work.exit_code, unknown.exit_code) == (2, 2)
    assert "/baseline_id" in other_work.stderr
    assert "there is no benchmark whose label is 'bench_none'" in unknown.stderr


def test_a_model_that_is_missing_fails_alone_and_makes_the_exit_status_1(
    invoke: Invoke, bench_url: str
) -> None:
    ran = invoke("bench", "quick", "missing", *FEW, "--url", bench_url)

    assert ran.exit_code == 1
    assert "│ quick │" in ran.stdout
    assert "missing: model_not_found" in ran.stdout


def test_a_detached_benchmark_is_shown_later_and_can_be_ended(
    invoke: Invoke, bench_url: str
) -> None:
    url = ("--url", bench_url)
    long = invoke("bench", "slow", "--runs", 9000, "--detach", *url)
    waiting = invoke("bench", "quick", *FEW, "--detach", *url)
    long_id, waiting_id = long.stdout.strip(), waiting.stdout.strip()

    cancelled = invoke("bench", "--id", long_id, "--cancel", *url)
    ended = invoke("bench", "--id", long_id, *url)
    shown = invoke("bench", "--id", waiting_id, *url)

    assert re.fullmatch(r"bench_[0-9a-z]+\n", long.stdout)
    assert cancelled.exit_code == 0
    assert (ended.exit_code, "cancelled" in ended.stderr) == (1, True)
    assert (shown.exit_code, "│ quick │" in shown.stdout) == (0, True)


def test_a_refusal_of_the_service_names_the_field(invoke: Invoke, bench_url: str) -> None:
    refused = invoke("bench", "quick", "--concurrency", "0,1", "--runs", 0, "--url", bench_url)

    assert (refused.exit_code, refused.stdout) == (2, "")
    assert "/concurrency/0: " in refused.stderr
    assert "/num_runs: " in refused.stderr


def test_the_client_library_reads_every_run_and_what_it_was_made_of(bench_url: str) -> None:
    with Promptmill(bench_url) as client:
        ordered = client.benchmarks.create(["quick"], num_runs=5, options={"num_predict": 20})
        ended = client.benchmarks.wait(ordered.id)
        paged = list(client.benchmarks.runs(ordered.id, page_size=2))
        streamed = list(client.benchmarks.stream_runs(ordered.id))
        itself = client.benchmarks.compare(ordered.id, ordered.id)
        listed = client.benchmarks.list(status="completed")
        client.benchmarks.delete(ordered.id)

    assert ended.all_succeeded
    assert ended.environment.models["quick"].quantization_level == "Q4_K_M"
    assert paged == streamed
    assert [run.phase for run in paged] == ["warmup", *["measured"] * 5]
    measured = [run.latency_s for run in paged[1:]]
    assert ended.results["quick"].latency == pytest.approx(sum(measured) / 5, abs=1e-5)
    assert ended.results["quick"].levels[0].latency_s.n == 5
    assert {each.ratio for each in itself.comparisons if each.ratio is not None} == {1.0}
    assert ordered.id in {one.id for one in listed.data}
    assert ended.model_extra == {}, "the record has every field of the answer"
