"""What it is worth to embed texts together: up to 64 a call, beside one a call.

    python -m tests.performance.embeddings [--texts 10000] [--alone 2000] [--slots 1]

A simulated Ollama takes 20 ms a call and 1 ms a text; each text has 200 words. `--slots` is how
many calls it is sent at a time: Ollama itself has one slot for a model of embeddings. The run with
one text a call has `--alone` texts, because it takes as long as many more. Service and host are
processes of their own; the calls in flight are counted in the host's log.
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from tests.proof.processes import PatientClient, Service, scratch, simulator, table

CALL_S, TEXT_S = 0.02, 0.001
WORDS = 200


def most_in_flight(log: Path) -> int:
    """The most calls that the host embedded at one moment, by its log."""
    calls: dict[int, dict[str, Any]] = {}
    for line in log.read_text().splitlines():
        call = json.loads(line)
        calls[call["id"]] = call
    embedded = [call for call in calls.values() if call["path"] == "/api/embed"]
    starts = [(call["arrived"], 1) for call in embedded]
    ends = [(call["ended"], -1) for call in embedded if call["ended"] is not None]
    return _peak(change for _, change in sorted([*starts, *ends]))


def _peak(changes: Iterable[int]) -> int:
    most = now = 0
    for change in changes:
        now += change
        most = max(most, now)
    return most


def texts_per_s(folder: Path, *, texts: int, per_call: int, slots: int) -> tuple[float, int]:
    """Texts embedded in a second, and the most calls in flight."""
    name = f"per-call-{per_call}"
    log = folder / f"{name}.jsonl"
    with simulator(
        folder,
        name=f"host-{name}",
        profile="instant",
        latency_s=CALL_S,
        text_s=TEXT_S,
        slots=4 * slots,
        log=log,
    ) as url:
        service = Service(
            folder=folder,
            name=f"serve-{name}",
            OLLAMA_HOST=url,
            DATABASE_URL=f"sqlite:///{folder / name}.db",
            PROMPTMILL_OLLAMA_SLOTS=str(slots),
            PROMPTMILL_TEXTS_PER_CALL=str(per_call),
        )
        try:
            service.until_up()
            with PatientClient(service.url) as client:
                prompts = [f"{number} {'word ' * WORDS}" for number in range(texts)]
                limits = {"max_concurrent": 256, "rate_limit_delay": 0}
                began = time.monotonic()
                batch_id = client.submit(prompts, kind="embed", model="tiny", **limits)
                while not (batch := client.batch(batch_id, limit=0, wait_s=10))["finished_at"]:
                    pass
                took_s = time.monotonic() - began
            assert batch["counts"]["succeeded"] == texts, batch["counts"]
        finally:
            service.stop()
    return texts / took_s, most_in_flight(log)


def main() -> None:
    """Run both, and print the ratio."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--texts", type=int, default=10_000)
    parser.add_argument("--alone", type=int, default=2_000)
    parser.add_argument("--slots", type=int, default=1)
    given = parser.parse_args()
    with scratch("embeddings") as folder:
        together, in_flight = texts_per_s(folder, texts=given.texts, per_call=64, slots=given.slots)
        alone, in_flight_alone = texts_per_s(
            folder, texts=given.alone, per_call=1, slots=given.slots
        )
    rows = [
        ("texts a second, up to 64 a call", f"{together:.0f}"),
        ("texts a second, one a call", f"{alone:.0f}"),
        ("ratio", f"{together / alone:.1f}"),
        ("most calls in flight", f"{in_flight} and {in_flight_alone} of {given.slots}"),
    ]
    table(rows, title="Embeddings")
    assert max(in_flight, in_flight_alone) <= given.slots


if __name__ == "__main__":
    main()
