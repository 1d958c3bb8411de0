"""Rounds of the closer, one at a time, on both databases."""

from __future__ import annotations

import asyncio
from typing import Any

from promptmill.domain.limits import Limits
from promptmill.services import batches
from promptmill.store.batches import jobs
from promptmill.store.hosts.hosts import register_host
from promptmill.store.queue import bulk, claims
from promptmill.store.queue.leases import HostShare
from promptmill.worker.closer import Closer
from promptmill.worker.executor import Executor
from promptmill.worker.recorder import Recorder

EVERY_S = 1.0


async def test_the_calls_of_a_small_batch_are_aborted_before_a_large_one_is_swept_to_its_end(
    serving: Any, ollama: Any
) -> None:
    ollama.hold = asyncio.Event()
    async with serving(embedded_worker=False) as service:
        resources = service.resources
        database, host = resources.database, resources.hosts[0]
        key = await database.write(register_host, host.url)
        recorded = asyncio.Event()
        executor = Executor({key: host}, Recorder(recorded), backoff_s=lambda attempt: 1.0)
        closer = Closer(
            database=database, signals=resources.signals, executor=executor, every_s=EVERY_S
        )
        large = await service.submit(2 * bulk.PIECE)
        small = await service.submit(
            2, limits=Limits(max_concurrent=1, rate_limit_delay_s=0), priority=1
        )
        (lease,) = await database.write(
            claims.claim,
            wanted=1,
            owner="w",
            lease_ms=60_000,
            share=HostShare(key=key, url=host.url, slots=None),
        )
        executor.start(lease)
        await ollama.arrived.wait()
        await batches.cancel(resources, large)
        await batches.cancel(resources, small)

        wait_s = await closer.run_once()
        async with asyncio.timeout(10):
            await recorded.wait()
        first, second = [await database.read(jobs.get, each) for each in (large, small)]

        assert executor.running == 0
        assert (first.counts.pending, first.counts.cancelled) == (bulk.PIECE, bulk.PIECE)
        assert (second.counts.pending, second.counts.cancelled) == (0, 1)
        assert wait_s == 0, "there is more to sweep"
        rounds = 0
        while await closer.run_once() == 0:
            rounds += 1
        assert rounds == 1
        assert (await database.read(jobs.get, large)).counts.cancelled == 2 * bulk.PIECE
