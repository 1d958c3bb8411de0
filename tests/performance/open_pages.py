"""What twenty open pages of a running batch cost the worker: with and without them, in turn.

    python -m tests.performance.open_pages [--pages 20] [--prompts 4000] [--rounds 3]

The service is the real command on an empty SQLite file, the host answers at once. An open page is
what its script does: it follows the batch's events, and asks for the page again when there are
some, at most once a second and with the ETag of the last one. Printed are the seconds that the
batch took and that the service's process worked, for each prompt, and the ratios of the medians.
"""

from __future__ import annotations

import argparse
import asyncio
import tempfile
import time
from contextlib import suppress
from pathlib import Path
from statistics import median

import httpx
import psutil

from tests.performance import zero_latency_host
from tests.performance.service import QUESTION, serving

HTML = {"Accept": "text/html", "X-Promptmill-Refresh": "1"}


async def look(client: httpx.AsyncClient, batch_id: str, seen: list[int]) -> None:
    """One open page, until the batch has ended."""
    tag, asked_at = "", 0.0
    async with client.stream("GET", f"/batches/{batch_id}/events") as events:
        async for line in events.aiter_lines():
            if line == "event: end":
                return
            if line != "event: progress" or time.monotonic() - asked_at < 1:
                continue
            asked_at = time.monotonic()
            headers = {**HTML, "If-None-Match": tag} if tag else HTML
            answer = await client.get(f"/ui/batches/{batch_id}", headers=headers)
            tag = answer.headers["ETag"]
            seen.append(answer.status_code)


async def one_round(
    client: httpx.AsyncClient, process: psutil.Process, prompts: int, pages: int
) -> tuple[float, float, int]:
    """Seconds passed and worked for each prompt, and how often a page was asked for."""
    body = {
        "model": "tiny",
        "prompts": [f"{number}: {QUESTION}" for number in range(prompts)],
        "max_concurrent": 32,
        "rate_limit_delay": 0,
    }
    seen: list[int] = []
    worked, began = sum(process.cpu_times()[:2]), time.perf_counter()
    batch_id = (await client.post("/batches", json=body)).json()["id"]
    viewers = [asyncio.create_task(look(client, batch_id, seen)) for _ in range(pages)]
    status = ""
    while status not in {"completed", "failed"}:
        answer = await client.get(f"/batches/{batch_id}", params={"limit": 0, "wait_s": 60})
        status = answer.json()["status"]
    passed = time.perf_counter() - began
    worked = sum(process.cpu_times()[:2]) - worked
    for viewer in viewers:
        with suppress(asyncio.TimeoutError):
            await asyncio.wait_for(viewer, 30)
    return passed / prompts, worked / prompts, len(seen)


async def measure(url: str, process: psutil.Process, given: argparse.Namespace) -> None:
    """Let both take turns, and print."""
    found: dict[int, list[tuple[float, float, int]]] = {0: [], given.pages: []}
    # One client for all: twenty would read the machine's certificates twenty times. Its idle
    # connections are closed before the service closes them, which on a busy machine is a race.
    limits = httpx.Limits(max_connections=None, keepalive_expiry=1)
    async with httpx.AsyncClient(base_url=url, timeout=120, limits=limits) as client:
        await one_round(client, process, given.prompts // 4, 0)
        for number in range(given.rounds):
            order = (0, given.pages) if number % 2 else (given.pages, 0)
            for pages in order:
                found[pages].append(await one_round(client, process, given.prompts, pages))
                passed, worked, asked = found[pages][-1]
                print(
                    f"{pages:3} pages {passed * 1e6:8.1f} us passed {worked * 1e6:8.1f} us worked"
                    f" {asked:4} times asked for",
                    flush=True,
                )
    for place, what in enumerate(("passed", "worked")):
        ratio = median(one[place] for one in found[given.pages]) / median(
            one[place] for one in found[0]
        )
        print(f"{what}: {ratio:.3f} times as long with {given.pages} pages")


def main() -> None:
    """Measure."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--pages", type=int, default=20)
    parser.add_argument("--prompts", type=int, default=4_000)
    parser.add_argument("--rounds", type=int, default=3)
    given = parser.parse_args()
    with (
        tempfile.TemporaryDirectory() as folder,
        zero_latency_host.running() as host,
        serving(Path(folder), host, PROMPTMILL_CONCURRENCY="32") as (url, process),
    ):
        asyncio.run(measure(url, process, given))


if __name__ == "__main__":
    main()
