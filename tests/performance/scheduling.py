"""What knowing how Ollama loads models is worth: with grouping, without it, and the best order.

    python -m tests.performance.scheduling [models|prefixes|hosts|auto] [--scale 1.0]

`models`: four models of 200 prompts each, posted as four batches and as one mixed batch, at a host
that keeps one model and takes as long to load one as for twenty prompts. Side by side with our own
scheduler with PROMPTMILL_GROUPING=false, and with the best possible order: each model loaded once,
every slot busy in between.

`prefixes`: questions about some long documents, in turn, at one host and at two; with grouping,
without it, and the fewest tokens that can be evaluated: each document once.

`hosts`: one batch on three hosts of different speed, one of which dies in the middle and comes
back; beside the time that the capacity which was there would have needed.

`auto`: `max_concurrent: auto` beside fixed numbers at hosts with 1, 4 and 16 slots; the throughput
of `auto` is that of a whole batch, its search included.

Service and hosts are processes of their own. `--scale` makes fewer prompts.
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx

from tests.proof.processes import Command, Service, free_port, scratch, until_it_answers

PROMPT_S = 0.1
LOAD_S = 20 * PROMPT_S
MODELS = ("alpha", "beta", "gamma", "delta")
PROMPTS_EACH = 200
SLOTS = 4
LONGEST_S = 900.0
ENOUGH = 6.0
"""So many times as long as with grouping is waited for the run without it; then it is stopped."""


class SimulatedHost:
    """A simulated Ollama in a process of its own, which can die and come back."""

    def __init__(self, folder: Path, name: str, *options: str) -> None:
        self.port = free_port()
        self.url = f"http://127.0.0.1:{self.port}"
        arguments = ["simulate", "--port", str(self.port), *options]
        self.command = Command(f"host-{name}", arguments, folder=folder)
        until_it_answers(self.url, self.command, "/api/version")

    def loads(self) -> int:
        models = httpx.get(f"{self.url}/simulator/stats").json()["models"]
        return sum(model["loads"] for model in models.values())

    def come_back(self) -> None:
        self.command.start_again()
        until_it_answers(self.url, self.command, "/api/version")


def post(client: httpx.Client, prompts: Sequence[Any], **fields: Any) -> str:
    body = {"prompts": prompts, "rate_limit_delay": 0, **fields}
    answer = client.post("/batches", json=body)
    assert answer.status_code == 202, answer.text
    return str(answer.json()["id"])


def until_ended(client: httpx.Client, ids: Sequence[str], *, within_s: float = LONGEST_S) -> int:
    """Wait for the batches; how many of their prompts had no answer when it was too long."""
    deadline = time.monotonic() + within_s
    left = 0
    for batch_id in ids:
        while True:
            wait_s = min(max(deadline - time.monotonic(), 0), 60)
            query = {"limit": 0, "wait_s": wait_s}
            batch = client.get(f"/batches/{batch_id}", params=query).json()
            counts = batch["counts"]
            if batch["finished_at"]:
                assert counts["succeeded"] == counts["total"], counts
                break
            if time.monotonic() >= deadline:
                left += counts["total"] - counts["succeeded"]
                break
    return left


# --- four models ---------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    makespan_s: float
    loads: int
    left: int
    """Prompts without an answer when it was stopped."""


def _work_off(folder: Path, *, mixed: bool, grouping: bool, each: int, within_s: float) -> Outcome:
    name = f"{'mixed' if mixed else 'batches'}-{'grouped' if grouping else 'plain'}"
    host = SimulatedHost(
        folder,
        name,
        *("--models", ",".join(MODELS), "--load-time", str(LOAD_S), "--latency", str(PROMPT_S)),
        *("--num-parallel", str(SLOTS), "--max-loaded", "1", "--profile", "instant"),
    )
    service = Service(
        folder=folder,
        name=f"serve-{name}",
        OLLAMA_HOST=host.url,
        DATABASE_URL=f"sqlite:///{folder / name}.db",
        PROMPTMILL_GROUPING=str(grouping).lower(),
        PROMPTMILL_OLLAMA_SLOTS=str(SLOTS),
    )
    try:
        service.until_up()
        with httpx.Client(base_url=service.url, timeout=90) as client:
            began = time.monotonic()
            if mixed:
                prompts = [
                    {"prompt": f"{model} {n}", "model": model}
                    for n in range(each)
                    for model in MODELS
                ]
                ids = [post(client, prompts, max_concurrent=SLOTS)]
            else:
                ids = [
                    post(
                        client,
                        [f"{model} {n}" for n in range(each)],
                        model=model,
                        max_concurrent=SLOTS,
                    )
                    for model in MODELS
                ]
            left = until_ended(client, ids, within_s=within_s)
            took_s = time.monotonic() - began
            return Outcome(makespan_s=took_s, loads=host.loads(), left=left)
    finally:
        service.stop()
        host.command.stop()


def models(scale: float) -> None:
    each = max(round(PROMPTS_EACH * scale), SLOTS)
    best_s = len(MODELS) * (LOAD_S + each * PROMPT_S / SLOTS)
    print(
        f"{len(MODELS)} models x {each} prompts of {PROMPT_S} s, {SLOTS} slots, one model kept,"
        f" {LOAD_S} s to load; the best order takes {best_s:.1f} s and {len(MODELS)} loads"
    )
    print(f"{'posted as':12} | {'grouping':8} | loads | makespan |  x best | sooner")
    with scratch("scheduling") as folder:
        for mixed in (False, True):
            with_it = _work_off(folder, mixed=mixed, grouping=True, each=each, within_s=LONGEST_S)
            within_s = ENOUGH * with_it.makespan_s
            without = _work_off(folder, mixed=mixed, grouping=False, each=each, within_s=within_s)
            for grouping, one in ((True, with_it), (False, without)):
                sooner = without.makespan_s / one.makespan_s
                stopped = f"  stopped with {one.left} prompts to do" if one.left else ""
                print(
                    f"{'one, mixed' if mixed else 'four batches':12} |"
                    f" {'on' if grouping else 'off':8} | {one.loads:>5} |"
                    f" {one.makespan_s:>6.1f} s | {one.makespan_s / best_s:>7.2f} |"
                    f" {sooner:>5.1f}x{stopped}",
                    flush=True,
                )


# --- long documents ------------------------------------------------------------------------------

DOCUMENTS, QUESTIONS = 8, 25
WORDS = 1_500
"""Of each document: half a second's reading at 3,000 tokens a second."""
READERS = 2
"""Slots of each host; there are more documents than slots, as there usually are."""


def prefixes(scale: float) -> None:
    questions = max(round(QUESTIONS * scale), 4)
    texts = [f"{place} " * WORDS for place in range(DOCUMENTS)]
    prompts = [f"{text} Question {n}?" for n in range(questions) for text in texts]
    print(
        f"{DOCUMENTS} documents of {WORDS} tokens x {questions} questions, {READERS} slots a host,"
        f" read at 3,000 tokens/s; each document once is {DOCUMENTS * WORDS:,} tokens"
    )
    print("hosts | grouping | tokens evaluated | x fewest | makespan | sooner")
    with scratch("prefixes") as folder:
        for number in (1, 2):
            took: dict[bool, float] = {}
            rows: list[str] = []
            for grouping in (True, False):
                evaluated, took[grouping] = _read(folder, prompts, number, grouping=grouping)
                rows.append(
                    f"{number:>5} | {'on' if grouping else 'off':8} | {evaluated:>16,} |"
                    f" {evaluated / (DOCUMENTS * WORDS):>8.1f} | {took[grouping]:>6.1f} s"
                )
            for row, grouping in zip(rows, took, strict=True):
                print(f"{row} | {took[False] / took[grouping]:>5.1f}x", flush=True)


def _read(
    folder: Path, prompts: Sequence[str], number: int, *, grouping: bool
) -> tuple[int, float]:
    """Tokens evaluated at all hosts, and seconds until the last answer."""
    name = f"read-{number}-{grouping}"
    with ExitStack() as stack:
        places = [
            SimulatedHost(
                folder,
                f"{name}-{place}",
                *("--models", "tiny", "--load-time", "0", "--profile", "gpu"),
                *("--num-parallel", str(READERS), "--answer-tokens", "4-4"),
            )
            for place in range(number)
        ]
        for place in places:
            stack.callback(place.command.stop)
        service = Service(
            folder=folder,
            name=f"serve-{name}",
            DATABASE_URL=f"sqlite:///{folder / name}.db",
            PROMPTMILL_GROUPING=str(grouping).lower(),
            PROMPTMILL_OLLAMA_HOSTS=",".join(f"{place.url};slots={READERS}" for place in places),
        )
        stack.callback(service.stop)
        service.until_up()
        client = stack.enter_context(httpx.Client(base_url=service.url, timeout=90))
        began = time.monotonic()
        options = {"num_ctx": 4 * WORDS}
        batch = post(client, prompts, model="tiny", max_concurrent=8, options=options)
        assert not until_ended(client, [batch])
        makespan_s = time.monotonic() - began
        return sum(_evaluated(place) for place in places), makespan_s


def _evaluated(place: SimulatedHost) -> int:
    lines = httpx.get(f"{place.url}/simulator/calls").text.splitlines()
    calls = [json.loads(line) for line in lines]
    return sum((call["prompt_tokens"] or 0) - (call["cached_tokens"] or 0) for call in calls)


# --- three hosts ---------------------------------------------------------------------------------

HOST_PROMPT_S = (0.1, 0.2, 0.4)
"""Seconds of a prompt at each host."""
HOST_SLOTS = 4
HOST_PROMPTS = 1_200
DIES_AFTER_S, AWAY_S = 3.0, 4.0


def hosts(scale: float) -> None:
    prompts = max(round(HOST_PROMPTS * scale), 100)
    with scratch("hosts") as folder, ExitStack() as stack:
        places = [
            SimulatedHost(
                folder,
                str(number),
                *("--models", "tiny", "--load-time", "0", "--latency", str(prompt_s)),
                *("--num-parallel", str(HOST_SLOTS), "--profile", "instant"),
            )
            for number, prompt_s in enumerate(HOST_PROMPT_S)
        ]
        for place in places:
            stack.callback(place.command.stop)
        service = Service(
            folder=folder,
            DATABASE_URL=f"sqlite:///{folder / 'hosts'}.db",
            PROMPTMILL_OLLAMA_HOSTS=",".join(f"{place.url};slots={HOST_SLOTS}" for place in places),
        )
        stack.callback(service.stop)
        service.until_up()
        client = stack.enter_context(httpx.Client(base_url=service.url, timeout=90))
        began = time.monotonic()
        batch = post(
            client, [f"Question {n}" for n in range(prompts)], model="tiny", max_concurrent=256
        )
        time.sleep(DIES_AFTER_S)
        places[1].command.kill()
        gone_at = time.monotonic() - began
        time.sleep(AWAY_S)
        places[1].come_back()
        back_at = time.monotonic() - began
        assert not until_ended(client, [batch])
        makespan_s = time.monotonic() - began
        rates = [HOST_SLOTS / prompt_s for prompt_s in HOST_PROMPT_S]
        # What it had in flight when it died has to be done again: that much of its work is gone.
        lost = rates[1] * (back_at - gone_at) + HOST_SLOTS
        ideal_s = (prompts + lost) / sum(rates)
        results = client.get(f"/batches/{batch}/results", params={"format": "ndjson"}).text
        by_host = [sum(place.url in line for line in results.splitlines()) for place in places]
    print(
        f"{prompts} prompts on 3 hosts of {', '.join(map(str, HOST_PROMPT_S))} s a prompt,"
        f" {HOST_SLOTS} slots each; the second was away from {gone_at:.1f} to {back_at:.1f} s"
    )
    print(f"makespan {makespan_s:.1f} s, ideal {ideal_s:.1f} s: {makespan_s / ideal_s:.2f} x")
    print(f"answered by each: {by_host}, together {sum(by_host)}")


# --- auto ----------------------------------------------------------------------------------------

AUTO_PROMPT_S = 0.2
AUTO_SLOTS = (1, 4, 16)
AUTO_SECONDS = 60.0
"""So long takes the batch of `auto` at its host's best."""
FIXED = (1, 2, 4, 8, 16, 32)
FIXED_SECONDS = 12.0
"""So long is a fixed number measured, which does the same from its beginning to its end."""


def _fixed_rate(client: httpx.Client, fixed: int, prompts: int) -> float:
    """Prompts per second of the batch, between its first second and the time it is stopped."""
    batch = post(client, _questions(prompts), model="tiny", max_concurrent=fixed)
    time.sleep(1.0)
    began, done = time.monotonic(), _succeeded(client, batch)
    time.sleep(FIXED_SECONDS)
    rate = (_succeeded(client, batch) - done) / (time.monotonic() - began)
    client.post(f"/batches/{batch}/cancel")
    client.get(f"/batches/{batch}", params={"limit": 0, "wait_s": 30})
    return rate


def _auto_rate(client: httpx.Client, prompts: int) -> tuple[float, list[int]]:
    """Prompts per second of the whole batch, and the numbers that were in force, in their order."""
    began = time.monotonic()
    batch = post(client, _questions(prompts), model="tiny", max_concurrent="auto")
    seen: list[int] = []
    while True:
        now = client.get(f"/batches/{batch}", params={"limit": 0, "wait_s": 0.25}).json()
        if not seen or seen[-1] != now["max_concurrent"]:
            seen.append(now["max_concurrent"])
        if now["finished_at"]:
            return prompts / (time.monotonic() - began), seen


def _succeeded(client: httpx.Client, batch: str) -> int:
    counts = client.get(f"/batches/{batch}", params={"limit": 0}).json()["counts"]
    return int(counts["succeeded"])


def _questions(prompts: int) -> list[str]:
    return [f"Question {n}" for n in range(prompts)]


def auto(scale: float) -> None:
    print(
        f"prompts of {AUTO_PROMPT_S} s; `auto`: a whole batch that takes {AUTO_SECONDS * scale:.0f}"
        f" s at best; fixed: {FIXED_SECONDS:.0f} s of a batch of as many prompts"
    )
    columns = " | ".join(f"{fixed:>6}" for fixed in FIXED)
    print(f"slots | {columns} |   auto | of best | numbers of auto")
    for slots in AUTO_SLOTS:
        with scratch(f"auto-{slots}") as folder, ExitStack() as stack:
            host = SimulatedHost(
                folder,
                str(slots),
                *("--models", "tiny", "--load-time", "0", "--latency", str(AUTO_PROMPT_S)),
                *("--num-parallel", str(slots), "--answer-tokens", "4-4"),
            )
            stack.callback(host.command.stop)
            service = Service(
                folder=folder,
                OLLAMA_HOST=host.url,
                DATABASE_URL=f"sqlite:///{folder / 'auto'}.db",
            )
            stack.callback(service.stop)
            service.until_up()
            client = stack.enter_context(httpx.Client(base_url=service.url, timeout=90))
            prompts = round(AUTO_SECONDS * scale * slots / AUTO_PROMPT_S)
            rates = [_fixed_rate(client, fixed, max(prompts, 2_000)) for fixed in FIXED]
            rate, seen = _auto_rate(client, prompts)
        row = " | ".join(f"{one:>6.1f}" for one in rates)
        print(
            f"{slots:>5} | {row} | {rate:>6.1f} | {rate / max(rates):>7.3f} |"
            f" {' '.join(map(str, seen))}",
            flush=True,
        )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument(
        "part", nargs="?", choices=("models", "prefixes", "hosts", "auto", "all"), default="all"
    )
    parser.add_argument("--scale", type=float, default=1.0)
    given = parser.parse_args()
    if given.part in {"models", "all"}:
        models(given.scale)
    if given.part in {"prefixes", "all"}:
        prefixes(given.scale)
    if given.part in {"hosts", "all"}:
        hosts(given.scale)
    if given.part in {"auto", "all"}:
        auto(given.scale)


if __name__ == "__main__":
    main()
