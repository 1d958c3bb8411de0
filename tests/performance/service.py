"""What the service costs, as ratios to a reference that is measured beside it in the same run.

    python -m tests.performance.service [overhead] [makespan] [speedup] [bulk] [idle]
    python -m tests.performance.service unscaled

Without a name it measures everything but `unscaled`, which is `speedup` with prompts of 2 s. The host is a process of its own that answers at once or
after a fixed delay; the service is the real command `promptmill serve` on an empty SQLite file.
Contenders take turns and the median counts. Nothing here fails on a slow machine: it prints.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import socket
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path
from typing import Any

import httpx
import psutil
import sqlalchemy as sa
import uvicorn
import uvloop

from promptmill.main import create_app
from promptmill.manager import OllamaManager
from promptmill.ollama.transport import open_transport
from promptmill.settings import Settings
from promptmill.store.db import schema
from promptmill.store.db.database import Database
from promptmill.store.db.tables.batches import job, prompt, task
from tests.performance import zero_latency_host

QUESTION = "Natalia sold clips to 48 of her friends in April, and then half as many in May. " * 3
ROUNDS = 3


# --- the service and the host ----------------------------------------------------------------


@contextlib.contextmanager
def serving(folder: Path, host_url: str, **variables: str) -> Iterator[tuple[str, psutil.Process]]:
    """`promptmill serve` as a process; its URL and the process."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    environment = {
        **os.environ,
        "DATABASE_URL": f"sqlite:///{folder}/promptmill.db",
        "OLLAMA_HOST": host_url,
        "PROMPTMILL_LOG_LEVEL": "warning",
        **variables,
    }
    command = [sys.executable, "-m", "promptmill", "serve", "--port", str(port)]
    process = subprocess.Popen(command, env=environment, stdout=subprocess.DEVNULL)
    url = f"http://127.0.0.1:{port}"
    try:
        for _ in range(400):
            with contextlib.suppress(httpx.TransportError):
                if httpx.get(f"{url}/health").status_code == 200:
                    break
            time.sleep(0.05)
        yield url, psutil.Process(process.pid)
    finally:
        process.terminate()
        process.wait(30)


def run_batch(url: str, prompts: int, **fields: Any) -> float:
    """Seconds from POST until the last result can be read."""
    body = {"model": "tiny", "prompts": [f"{n}: {QUESTION}" for n in range(prompts)], **fields}
    with httpx.Client(base_url=url, timeout=None) as client:
        began = time.perf_counter()
        batch = client.post("/batches", json=body).raise_for_status().json()
        while batch["finished_at"] is None:
            batch = client.get(f"/batches/{batch['id']}?limit=0&wait_s=60").json()
        page = client.get(f"/batches/{batch['id']}/results?limit=1").json()
        elapsed = time.perf_counter() - began
    assert batch["counts"]["succeeded"] == prompts, batch["counts"]
    assert page["data"][0]["success"]
    return elapsed


# --- the reference: a loop that stores nothing -----------------------------------------------


async def _bare_loop(host_url: str, prompts: int, in_flight: int) -> float:
    numbers = iter(range(prompts))
    answers: list[str] = []
    transport = open_transport(host_url)
    async with httpx.AsyncClient(transport=transport, base_url=host_url, timeout=None) as client:

        async def work() -> None:
            for number in numbers:
                body = {"model": "tiny", "prompt": f"{number}: {QUESTION}"}
                async with client.stream("POST", "/api/generate", json=body) as response:
                    lines = (await response.aread()).splitlines()
                chunks = [json.loads(line) for line in lines]
                assert chunks[-1]["done"]
                answers.append("".join(chunk["response"] for chunk in chunks))

        began = time.perf_counter()
        await asyncio.gather(*(work() for _ in range(in_flight)))
        elapsed = time.perf_counter() - began
    assert len(answers) == prompts
    return elapsed


def bare_loop(host_url: str, prompts: int, in_flight: int) -> float:
    """Seconds of the loop in a process of its own, as the service has one too."""
    code = (
        "import sys, uvloop; from tests.performance.service import _bare_loop;"
        "print(uvloop.run(_bare_loop(sys.argv[1], int(sys.argv[2]), int(sys.argv[3]))))"
    )
    command = [sys.executable, "-c", code, host_url, str(prompts), str(in_flight)]
    return float(subprocess.run(command, check=True, capture_output=True, text=True).stdout)


# --- the measurements ------------------------------------------------------------------------


def overhead(prompts: int = 5_000, in_flight: int = 32) -> None:
    """Zero-latency host: durable results against a loop that keeps nothing."""
    bare: list[float] = []
    ours: list[float] = []
    with tempfile.TemporaryDirectory() as name, zero_latency_host.running() as host_url:
        with serving(Path(name), host_url) as (url, _):
            for _ in range(ROUNDS):
                bare.append(prompts / bare_loop(host_url, prompts, in_flight))
                seconds = run_batch(url, prompts, max_concurrent=in_flight, rate_limit_delay=0)
                ours.append(prompts / seconds)
    ratio = statistics.median(mine / theirs for mine, theirs in zip(ours, bare, strict=True))
    print(f"overhead   bare loop {statistics.median(bare):.0f} prompts/s")
    print(f"           service   {statistics.median(ours):.0f} prompts/s")
    print(f"           ratio {ratio:.2f}   (wanted: at least 0.70)")


def makespan(prompts: int = 500, delay_ms: int = 200, in_flight: int = 50) -> None:
    """How close the whole comes to what the host needs at the least."""
    ideal = prompts / in_flight * delay_ms / 1000
    with tempfile.TemporaryDirectory() as name:
        with (
            zero_latency_host.running(delay_ms=delay_ms) as host_url,
            serving(Path(name), host_url) as (url, _),
        ):
            bare: list[float] = []
            taken: list[float] = []
            for _ in range(ROUNDS):
                bare.append(bare_loop(host_url, prompts, in_flight))
                taken.append(run_batch(url, prompts, max_concurrent=in_flight, rate_limit_delay=0))
    loop, service = statistics.median(bare), statistics.median(taken)
    print(f"makespan   service {service:.3f} s, bare loop {loop:.3f} s, ideal {ideal:.3f} s")
    print(f"           ratio to the ideal {service / ideal:.3f}   (wanted: at most 1.05)")
    print(f"           ratio to the bare loop {service / loop:.3f}, which is at {loop / ideal:.3f}")


def speedup(scale: float = 0.5) -> None:
    """The seed's claim: 5 in flight against one after the other, with its delay of 0.1 s."""
    delay_ms, pace = int(2000 * scale), 0.1 * scale
    wanted = {10: 4.5, 50: 4.9, 100: 4.9}
    with tempfile.TemporaryDirectory() as name:
        with (
            zero_latency_host.running(delay_ms=delay_ms) as host_url,
            serving(Path(name), host_url) as (url, _),
        ):
            manager = OllamaManager(host_url)
            run_batch(url, 5, max_concurrent=5, rate_limit_delay=0)
            for prompts, least in wanted.items():
                sequential = bare_loop(host_url, prompts, 1)
                service = run_batch(url, prompts, max_concurrent=5, rate_limit_delay=pace)
                began = time.perf_counter()
                questions = [QUESTION] * prompts
                answers = asyncio.run(
                    manager.batch_generate(questions, max_concurrent=5, rate_limit_delay=pace)
                )
                in_process = time.perf_counter() - began
                assert all(answer["success"] for answer in answers)
                print(
                    f"speedup    {prompts:3} prompts: service {sequential / service:.2f}x,"
                    f" OllamaManager {sequential / in_process:.2f}x   (wanted: {least}x)"
                )


class Watch:
    """Greatest pause of the event loop, and growth of resident memory, while the block runs."""

    def __init__(self) -> None:
        self.longest_pause_s = 0.0
        self.growth_mb = 0.0

    @contextlib.asynccontextmanager
    async def __call__(self) -> AsyncIterator[None]:
        process = psutil.Process()
        before = peak = process.memory_info().rss
        self.longest_pause_s = 0.0
        stop = threading.Event()

        def sample() -> None:
            nonlocal peak
            while not stop.wait(0.005):
                peak = max(peak, process.memory_info().rss)

        async def tick() -> None:
            while True:
                began = time.perf_counter()
                await asyncio.sleep(0.002)
                pause = time.perf_counter() - began - 0.002
                self.longest_pause_s = max(self.longest_pause_s, pause)

        sampler = threading.Thread(target=sample)
        sampler.start()
        ticking = asyncio.create_task(tick())
        try:
            yield
        finally:
            ticking.cancel()
            stop.set()
            sampler.join()
            self.growth_mb = (peak - before) / 1e6


async def curl(*arguments: str) -> tuple[float, str]:
    began = time.perf_counter()
    process = await asyncio.create_subprocess_exec(
        "curl", "-sS", *arguments, stdout=asyncio.subprocess.PIPE
    )
    output, _ = await process.communicate()
    return time.perf_counter() - began, output.decode()


def _executemany(folder: Path, texts: list[str]) -> float:
    """The same rows, by bare Core executemany in one transaction: the reference of `bulk`."""
    url = f"sqlite:///{folder}/reference-{time.time_ns()}.db"
    schema.upgrade(url)
    database = Database(url)
    prompts = [
        {"id": n, "text": text, "custom_id": None, "overrides": None}
        for n, text in enumerate(texts)
    ]
    tasks = [
        {"id": n, "job_key": 1, "state": "pending", "attempt": 0, "losses": 0, "available_at_ms": 1}
        for n in range(len(texts))
    ]

    def insert(tx: Any) -> None:
        tx.execute(sa.insert(prompt), prompts)
        tx.execute(sa.insert(task), tasks)

    began = time.perf_counter()
    database.write_now(insert)
    elapsed = time.perf_counter() - began
    database.close_now()
    return elapsed


async def _bulk(folder: Path, prompts: int) -> None:
    texts = [f"{n}: {QUESTION}" for n in range(prompts)]
    body = folder / "body.json"
    body.write_text(json.dumps({"model": "tiny", "prompts": texts}))
    size = body.stat().st_size
    reference = [await asyncio.to_thread(_executemany, folder, texts) for _ in range(ROUNDS)]
    del texts
    database_url = f"sqlite:///{folder}/bulk.db"
    settings = Settings(database_url=database_url, embedded_worker=False, log_level="error")
    server = uvicorn.Server(uvicorn.Config(create_app(settings), port=0, log_level="error"))
    serving_task = asyncio.create_task(server.serve())
    while not server.started:
        await asyncio.sleep(0.01)
    port = server.servers[0].sockets[0].getsockname()[1]
    url = f"http://127.0.0.1:{port}/batches"
    json_type = ("-H", "content-type: application/json")
    await curl(url, *json_type, "-d", '{"prompts":["warm up"]}')
    watch = Watch()
    taken, pauses, growths, batch_id = [], [], [], ""
    for _ in range(ROUNDS):
        async with watch():
            seconds, output = await curl(url, *json_type, "--data-binary", f"@{body}")
        batch_id = json.loads(output)["id"]
        taken.append(seconds)
        pauses.append(watch.longest_pause_s)
        growths.append(watch.growth_mb)
    ratio = statistics.median(taken) / statistics.median(reference)
    print(
        f"bulk       POST of {prompts} prompts ({size / 1e6:.0f} MB): {statistics.median(taken):.2f} s,"
    )
    print(
        f"           bare executemany {statistics.median(reference):.2f} s, ratio {ratio:.2f}   (wanted: at most 3)"
    )
    print(
        f"           longest pause of the loop {max(pauses) * 1000:.0f} ms   (wanted: at most 100)"
    )
    print(
        f"           growth of memory {growths[0]:.0f} MB, then {growths[1]:.0f} and {growths[2]:.0f}   (wanted: under 100)"
    )
    await _fill_results(database_url, batch_id)
    await curl(f"{url}/{batch_id}/results?format=ndjson&status=failed")
    async with watch():
        seconds, _ = await curl(
            f"{url}/{batch_id}/results?format=ndjson", "-o", f"{folder}/out.ndjson"
        )
    lines = sum(1 for _ in (folder / "out.ndjson").open())
    print(
        f"           NDJSON export of {lines} results in {seconds:.2f} s, growth {watch.growth_mb:.1f} MB   (wanted: under 30)"
    )
    server.should_exit = True
    await serving_task


async def _fill_results(database_url: str, batch_id: str) -> None:
    database = Database(database_url)

    def fill(tx: Any) -> None:
        key = tx.execute(sa.select(job.c.key).where(job.c.id == batch_id)).scalar_one()
        text = "An answer that is about as long as answers are. " * 10
        tx.connection.exec_driver_sql(
            "INSERT INTO result (id, status, model, response, attempts, finished_at_ms)"
            f" SELECT id, 'succeeded', 'tiny', '{text}', 1, 1 FROM task WHERE job_key = {key}"
        )

    await database.write(fill)
    await database.close()


def bulk(prompts: int = 100_000) -> None:
    """A large batch in, and its results out: time, pauses, memory."""
    with tempfile.TemporaryDirectory() as name:
        uvloop.run(_bulk(Path(name), prompts))


def idle(seconds: float = 20) -> None:
    """CPU of a service that has nothing to do, in per cent of one core."""
    with tempfile.TemporaryDirectory() as name, zero_latency_host.running() as host_url:
        with serving(Path(name), host_url) as (url, process):
            run_batch(url, 10, rate_limit_delay=0)
            time.sleep(2)
            before = process.cpu_times()
            time.sleep(seconds)
            after = process.cpu_times()
    used = after.user + after.system - before.user - before.system
    print(f"idle       {used / seconds * 100:.2f} % of a core   (wanted: under 1)")


MEASUREMENTS: dict[str, Callable[[], None]] = {
    "overhead": overhead,
    "makespan": makespan,
    "speedup": speedup,
    "bulk": bulk,
    "idle": idle,
}


def main() -> None:
    for name in sys.argv[1:] or MEASUREMENTS:
        if name == "unscaled":
            speedup(scale=1.0)
        else:
            MEASUREMENTS[name]()


if __name__ == "__main__":
    main()
