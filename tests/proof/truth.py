"""What a benchmark reports beside what the simulated host truly does: truth | reported.

The service and the host are processes of their own, as in real use. The host's rates, load time and
slots are known, and its log tells what each call was. First every measure on a host without faults,
at three levels around its two slots; then each fault: the flag that it must bring up, on just the
runs that it struck, and the rates, which must not change by it.
"""

from __future__ import annotations

import contextlib
import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx

from tests.proof.processes import Command, Service, free_port, scratch, until_it_answers

LOAD_S, PREFILL, DECODE, SLOTS, TOKENS = 1.5, 1_000.0, 50.0, 2, 48
FAULTY_DECODE = 100.0
WITHIN = 0.05
PROMPT = "Words that have to be read before the first one is written. " * 25


@dataclass(frozen=True, slots=True, kw_only=True)
class Line:
    """One measure."""

    measure: str
    truth: float
    reported: float | None

    @property
    def off(self) -> float:
        """By how much the report is off, as a share of the truth."""
        return abs(self.reported / self.truth - 1) if self.reported is not None else 1.0


@contextlib.contextmanager
def host(folder: Path, name: str, *options: str, decode: float = DECODE) -> Iterator[str]:
    port = free_port()
    arguments = ["simulate", "--port", str(port), "--models", "tiny"]
    arguments += ["--load-time", str(LOAD_S), "--prefill", str(PREFILL), "--decode", str(decode)]
    arguments += ["--answer-tokens", "400-400", *options]
    command = Command(f"host-{name}", arguments, folder=folder)
    url = f"http://127.0.0.1:{port}"
    try:
        until_it_answers(url, command, "/api/version")
        yield url
    finally:
        command.stop()


@contextlib.contextmanager
def service(folder: Path, name: str, host_url: str) -> Iterator[httpx.Client]:
    database = f"sqlite:///{folder / name}.db"
    command = Service(
        folder=folder, name=f"serve-{name}", OLLAMA_HOST=host_url, DATABASE_URL=database
    )
    try:
        command.until_up()
        with httpx.Client(base_url=command.url, timeout=330) as client:
            yield client
    finally:
        command.stop()


def benchmark(client: httpx.Client, **fields: Any) -> dict[str, Any]:
    body = {"models": ["tiny"], "prompt": PROMPT, "options": {"num_predict": TOKENS}, **fields}
    answer = client.post("/benchmarks", json=body)
    assert answer.status_code == 202, answer.text
    found = client.get(f"/benchmarks/{answer.json()['id']}", params={"wait_s": 300}).json()
    assert found["status"] == "completed", found["error"]
    return found


def runs_of(client: httpx.Client, found: dict[str, Any]) -> list[dict[str, Any]]:
    page = client.get(f"/benchmarks/{found['id']}/runs", params={"limit": 1000}).json()
    return [run for run in page["data"] if run["phase"] == "measured"]


def calls_of(host_url: str) -> list[dict[str, Any]]:
    """The prompts that the host was sent, in their order."""
    lines = httpx.get(f"{host_url}/simulator/calls").text.splitlines()
    return [call for call in map(json.loads, lines) if call["prompt"]]


# --- every measure -------------------------------------------------------------------------------


def without_faults(folder: Path) -> list[Line]:
    with host(folder, "sound", "--num-parallel", str(SLOTS)) as url:
        with service(folder, "sound", url) as client:
            found = benchmark(
                client,
                num_runs=5,
                concurrency=[1, SLOTS, 2 * SLOTS],
                measure_cold_load=True,
                slo={"ttft_s": 1.0},
            )
            runs = runs_of(client, found)
        calls = calls_of(url)
    read = calls[-1]["prompt_tokens"]
    prefill_s = read / PREFILL
    decode_s = (TOKENS - 1) / DECODE
    whole_s = prefill_s + decode_s
    tiny = found["results"]["tiny"]
    one, two, four = tiny["levels"]
    lines = [
        Line(measure="cold load: load_s", truth=LOAD_S, reported=tiny["cold_load"]["load_s"]),
        Line(
            measure="cold load: ttft_s",
            truth=LOAD_S + prefill_s,
            reported=tiny["cold_load"]["ttft_s"],
        ),
        Line(
            measure="tokens_per_sec, all levels",
            truth=DECODE * TOKENS / (TOKENS - 1),
            reported=tiny["tokens_per_sec"],
        ),
        Line(
            measure="1 in flight: icl.p50_s of a run",
            truth=1 / DECODE,
            reported=runs[0]["icl"]["p50_s"],
        ),
    ]
    written = [len(run["response"]) for run in runs if run["concurrency"] == 1]
    lines.append(
        Line(
            measure="1 in flight: chars_per_sec mean",
            truth=sum(written) / len(written) / whole_s,
            reported=one["chars_per_sec"]["mean"],
        )
    )
    lines += _of_level("1 in flight", one, read=read, wait_s=0.0, parallel=1)
    lines += _of_level("2 in flight", two, read=read, wait_s=0.0, parallel=2)
    # Two more than there are slots: all but the first two wait for one call before them.
    lines += _of_level("4 in flight", four, read=read, wait_s=whole_s, parallel=2, steady=False)
    lines.append(
        Line(
            measure="4 in flight: server_overhead_s p50",
            truth=whole_s,
            reported=four["server_overhead_s"]["p50"],
        )
    )
    lines.append(
        Line(
            measure="4 in flight: good_request_fraction",
            truth=SLOTS / four["n_attempted"],
            reported=four["good_request_fraction"],
        )
    )
    return lines


def _of_level(
    name: str,
    level: dict[str, Any],
    *,
    read: int,
    wait_s: float,
    parallel: int,
    steady: bool = True,
) -> list[Line]:
    prefill_s, decode_s = read / PREFILL, (TOKENS - 1) / DECODE
    latency_s = wait_s + prefill_s + decode_s
    throughput = parallel / (prefill_s + decode_s)
    # Where requests wait for one another the first ones do not: their medians are compared.
    centre = "mean" if steady else "p50"
    truths = {
        f"latency_s {centre}": (latency_s, level["latency_s"][centre]),
        f"ttft_s {centre}": (wait_s + prefill_s, level["ttft_s"][centre]),
        f"ttfo_s {centre}": (wait_s + prefill_s, level["ttfo_s"][centre]),
        "tpot_s mean": (1 / DECODE, level["tpot_s"]["mean"]),
        "decode_tokens_per_sec mean": (DECODE, level["decode_tokens_per_sec"]["mean"]),
        "prefill_tokens_per_sec mean": (PREFILL, level["prefill_tokens_per_sec"]["mean"]),
        f"e2e_tokens_per_sec {centre}": (
            TOKENS / latency_s,
            level["e2e_tokens_per_sec"][centre],
        ),
        "prompt_tokens mean": (read, level["prompt_tokens"]["mean"]),
        "output_tokens mean": (TOKENS, level["output_tokens"]["mean"]),
        "output_throughput_tok_s": (throughput * TOKENS, level["output_throughput_tok_s"]),
        "request_throughput_req_s": (throughput, level["request_throughput_req_s"]),
        "effective_parallelism": (parallel, level["effective_parallelism"]),
    }
    if steady:
        truths["goodput_req_s"] = (throughput, level["goodput_req_s"])
    return [
        Line(measure=f"{name}: {measure}", truth=truth, reported=reported)
        for measure, (truth, reported) in truths.items()
    ]


# --- each fault ----------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True, kw_only=True)
class Fault:
    """A fault of the host, and what a benchmark has to say of it."""

    name: str
    flag: str
    host: tuple[str, ...] = ()
    asked: dict[str, Any]
    struck: str | None = None
    """The fault's kind in the host's log; None: it strikes every run."""
    has_prefill: bool = True


FAULTS = (
    Fault(
        name="stream without `done`",
        flag="no_done",
        host=("--fault", "no_done rate=0.4 after=20"),
        asked={"num_runs": 10},
        struck="no_done",
    ),
    Fault(
        name="one-token answers",
        flag="too_few_tokens",
        host=("--fault", "one_token rate=0.4"),
        asked={"num_runs": 10},
        struck="one_token",
    ),
    Fault(
        name="reload in the middle",
        flag="model_reloaded",
        host=("--fault", "reload rate=0.3"),
        asked={"num_runs": 10},
        struck="reload",
    ),
    Fault(
        name="cache hits",
        flag="prefix_cache_hit",
        asked={"num_runs": 5, "prefix_cache": "allow"},
        has_prefill=False,
    ),
    Fault(
        name="truncation",
        flag="prompt_truncated",
        asked={
            "num_runs": 5,
            "prompt": "word " * 2_000,
            "options": {"num_predict": TOKENS, "num_ctx": 512},
        },
    ),
    Fault(
        name="serialising host",
        flag="server_serialised",
        host=("--num-parallel", "1"),
        asked={"num_runs": 3, "concurrency": [3]},
    ),
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """What came of one fault."""

    fault: Fault
    struck: int
    flagged: int
    decode: float | None
    prefill: float | None
    faults: Sequence[str]
    """What is wrong with it."""


def with_fault(folder: Path, fault: Fault) -> Finding:
    name = fault.flag
    with host(folder, name, *fault.host, decode=FAULTY_DECODE) as url:
        with service(folder, name, url) as client:
            found = benchmark(client, **fault.asked)
            runs = runs_of(client, found)
        measured = calls_of(url)[-len(runs) :]
    (level,) = found["results"]["tiny"]["levels"]
    of_level = fault.flag == "server_serialised"
    struck = [fault.struck is None or call["fault"] == fault.struck for call in measured]
    flagged = struck if of_level else [fault.flag in run["flags"] for run in runs]
    decode = level["decode_tokens_per_sec"]["mean"]
    prefill = level["prefill_tokens_per_sec"]["mean"]
    wrong: list[str] = []
    if fault.flag not in level["flags"]:
        wrong.append(f"the level is not flagged `{fault.flag}`")
    if flagged != struck:
        wrong.append("other runs are flagged than were struck")
    if decode is None or abs(decode / FAULTY_DECODE - 1) > WITHIN:
        wrong.append(f"decode rate {decode}, truth {FAULTY_DECODE}")
    if fault.has_prefill and (prefill is None or abs(prefill / PREFILL - 1) > WITHIN):
        wrong.append(f"prefill rate {prefill}, truth {PREFILL}")
    if not fault.has_prefill and prefill is not None:
        wrong.append(f"prefill rate {prefill} where it is not known what was cached")
    return Finding(
        fault=fault,
        struck=sum(struck),
        flagged=sum(flagged),
        decode=decode,
        prefill=prefill,
        faults=wrong,
    )


def main() -> None:
    """Measure and print; raises when a measure is off by more than 5 % or a flag is wrong."""
    with scratch("truth") as folder:
        lines = without_faults(folder)
        width = max(len(line.measure) for line in lines)
        print(f"\n{'measure'.ljust(width)} | {'truth':>9} | {'reported':>9} | off")
        for line in lines:
            mark = "" if line.off <= WITHIN else "  <-- beyond 5 %"
            told = "-" if line.reported is None else f"{line.reported:.4f}"
            print(
                f"{line.measure.ljust(width)} | {line.truth:>9.4f} | {told:>9} |"
                f" {line.off:>5.1%}{mark}"
            )
        print(f"\n{'fault':22} | {'flag':18} | struck | flagged | decode/s | prefill/s")
        findings = [with_fault(folder, fault) for fault in FAULTS]
        for one in findings:
            decode, prefill = (
                "-" if rate is None else f"{rate:.1f}" for rate in (one.decode, one.prefill)
            )
            print(
                f"{one.fault.name:22} | {one.fault.flag:18} | {one.struck:>6} | {one.flagged:>7} |"
                f" {decode:>8} | {prefill:>9}  {'; '.join(one.faults)}"
            )
    off = [line.measure for line in lines if line.off > WITHIN]
    wrong = [one.fault.name for one in findings if one.faults]
    assert not off, f"off by more than 5 %: {', '.join(off)}"
    assert not wrong, f"not as it should be: {', '.join(wrong)}"
