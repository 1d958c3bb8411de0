"""What `activity` and `attempt` cost a prompt at zero latency: with and without, in turn.

    python -m tests.performance.activity [--prompts 4000] [--rounds 6] [--database-url postgresql://…]

A worker in this process works off batches at a host that answers at once, a process of its own. In
every other round its results are not counted and attempts are not recorded. Printed are the
processor's time of this process and the time that passed for each prompt, and the ratios of the
medians. On a busy machine both differ more between rounds than by what is measured, so the time of
the processor within the counting itself is printed beside them, as a share of all.
"""

from __future__ import annotations

import argparse
import asyncio
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, ExitStack, contextmanager
from pathlib import Path
from statistics import median
from typing import Any
from unittest.mock import patch

from promptmill.domain.batches import BatchDraft, PromptDraft
from promptmill.domain.limits import Limits
from promptmill.observability.logs import configure_logging
from promptmill.runtime import open_resources
from promptmill.services import batches
from promptmill.settings import Settings
from promptmill.store.db import schema
from promptmill.store.hosts import activity
from promptmill.store.queue import attempts
from promptmill.worker.reporting.activity import ActivityCounts
from promptmill.worker.runner import working
from tests.performance import zero_latency_host

CONCURRENCY = 32
Without = Callable[[], AbstractContextManager[None]]
"""Leaves out within its block what is measured."""


@contextmanager
def without() -> Iterator[None]:
    """Neither counts nor attempts are kept within the block."""

    async def write_nothing(*_: Any) -> None:
        return

    with ExitStack() as stack:
        stack.enter_context(patch.object(ActivityCounts, "add", lambda *_: None))
        stack.enter_context(patch.object(ActivityCounts, "write", write_nothing))
        stack.enter_context(patch.object(attempts, "record", lambda *_: None))
        yield


class Share:
    """Seconds of the processor that the counting takes, in any thread."""

    def __init__(self) -> None:
        self.seconds = 0.0

    def timed(self, work: Any) -> Any:
        """The function, with its time added up."""

        def run(*arguments: Any, **named: Any) -> Any:
            began = time.thread_time()
            try:
                return work(*arguments, **named)
            finally:
                self.seconds += time.thread_time() - began

        return run

    @contextmanager
    def measuring(self) -> Iterator[None]:
        """Within the block all of it is timed."""
        with (
            patch.object(ActivityCounts, "add", self.timed(ActivityCounts.add)),
            patch.object(activity, "add", self.timed(activity.add)),
            patch.object(attempts, "record", self.timed(attempts.record)),
        ):
            yield


async def one_round(resources: Any, prompts: int) -> tuple[float, float]:
    """Seconds of the processor and seconds that passed, for each prompt."""
    draft = BatchDraft(
        prompts=[PromptDraft(f"Question {number}") for number in range(prompts)],
        model="tiny",
        limits=Limits(max_concurrent=CONCURRENCY, rate_limit_delay_s=0),
    )
    async with working(resources):
        worked, began = time.process_time(), time.perf_counter()
        submitted = await batches.submit(resources, draft)
        ended = await batches.wait_until_ended(resources, submitted.batch.id, timeout_s=600)
        passed = time.perf_counter() - began
        worked = time.process_time() - worked
    assert ended.counts.succeeded == prompts, ended.counts
    await batches.delete(resources, ended.id)
    return worked / prompts, passed / prompts


async def measure(
    settings: Settings, prompts: int, rounds: int, without: Without, share: Share
) -> None:
    """Let both take turns, and print."""
    found: dict[str, list[tuple[float, float]]] = {"with": [], "without": []}
    async with open_resources(settings) as resources:
        await one_round(resources, prompts // 4)  # What is made once is made here.
        for number in range(rounds):
            order = ("with", "without") if number % 2 else ("without", "with")
            for name in order:
                with ExitStack() as stack:
                    stack.enter_context(without() if name == "without" else share.measuring())
                    found[name].append(await one_round(resources, prompts))
                worked, passed = found[name][-1]
                print(f"{name:8} {worked * 1e6:7.1f} us worked {passed * 1e6:7.1f} us passed")
    worked = sum(row[0] for row in found["with"]) * prompts
    print(f"within the counting itself: {share.seconds / worked:.2%} of what is worked")
    for place, what in enumerate(("worked", "passed")):
        print(f"{what}: {_ratio(found, place):.3f} times as long with them")


def _ratio(found: dict[str, list[tuple[float, float]]], place: int) -> float:
    def middle(rows: Sequence[tuple[float, float]]) -> float:
        return median(row[place] for row in rows)

    return middle(found["with"]) / middle(found["without"])


def main(description: str | None, without: Without, share: Share) -> None:
    """Measure with and without, as the command line says."""
    parser = argparse.ArgumentParser(description=description)
    parser.add_argument("--prompts", type=int, default=4_000)
    parser.add_argument("--rounds", type=int, default=6)
    parser.add_argument("--database-url")
    given = parser.parse_args()
    configure_logging(level="error", as_json=False)
    with tempfile.TemporaryDirectory() as folder, zero_latency_host.running() as host:
        url = given.database_url or f"sqlite:///{Path(folder) / 'activity.db'}"
        schema.upgrade(url)
        settings = Settings(
            database_url=url,
            ollama_host=host,
            concurrency=CONCURRENCY,
            heartbeat_s=1.0,
            max_prompts=max(given.prompts, 10_000),
        )
        asyncio.run(measure(settings, given.prompts, given.rounds, without, share))


if __name__ == "__main__":
    main(__doc__, without, Share())
