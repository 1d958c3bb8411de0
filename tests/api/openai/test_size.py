"""Requests in a file of a gigabyte: uploaded, validated and read in constant memory."""

from __future__ import annotations

import asyncio
import io
import json
import threading
import time
from pathlib import Path

import httpx
import openai
import psutil
import pytest

from promptmill.domain.openai import Purpose
from promptmill.services.openai.files import FileWriter
from promptmill.store.db.database import Database
from tests.api.openai.conftest import CHAT, jsonl, line
from tests.proof.processes import Service

pytestmark = pytest.mark.proof

LINES = [100_000, pytest.param(1_000_000, marks=pytest.mark.long)]
OUTPUT_BYTES = 200_000_000
MOST_ABOVE_IDLE = 64 * 1024 * 1024


class Requests(io.RawIOBase):
    """The file, made while it is read: a kilobyte a line."""

    def __init__(self, lines: int) -> None:
        self._template = json.dumps(line("NUMBER", "x" * 850)).encode() + b"\n"
        self._left = iter(range(lines))
        self._held = b""

    def readable(self) -> bool:
        return True

    def read(self, size: int = -1) -> bytes:
        while len(self._held) < size and (number := next(self._left, None)) is not None:
            self._held += self._template.replace(b"NUMBER", str(number).encode())
        block, self._held = self._held[:size], self._held[size:]
        return block


class Peak(threading.Thread):
    """The most memory that a process has while the block runs."""

    def __init__(self, pid: int) -> None:
        super().__init__(name="peak", daemon=True)
        self._process = psutil.Process(pid)
        self._over = threading.Event()
        self.bytes = self._process.memory_info().rss

    def run(self) -> None:
        while not self._over.wait(0.05):
            self.bytes = max(self.bytes, self._process.memory_info().rss)

    def stop(self) -> int:
        self._over.set()
        self.join()
        return self.bytes


@pytest.mark.parametrize("lines", LINES)
def test_many_requests_take_no_more_memory_than_a_few(
    sqlite_url: str, unused_port: int, tmp_path: Path, lines: int
) -> None:
    service = Service(
        folder=tmp_path,
        DATABASE_URL=sqlite_url,
        OLLAMA_HOST=f"http://127.0.0.1:{unused_port}",
        PROMPTMILL_POLL_S="0.2",
    )
    try:
        service.until_up()
        with httpx.Client(base_url=f"{service.url}/v1/", timeout=600) as client:

            def begin(file: object) -> tuple[str, str]:
                made = client.post("files", files={"file": file}, data={"purpose": "batch"})
                file_id = made.json()["id"]
                fields = {"input_file_id": file_id, "endpoint": CHAT, "completion_window": "24h"}
                batch_id = client.post("batches", json=fields).json()["id"]
                while client.get(f"batches/{batch_id}").json()["status"] == "validating":
                    time.sleep(0.1)
                return file_id, batch_id

            begin(jsonl(*(line(str(n)) for n in range(2_000))))
            idle = psutil.Process(service.process.pid).memory_info().rss
            peak = Peak(service.process.pid)
            peak.start()
            began = time.monotonic()
            file_id, batch_id = begin(Requests(lines))
            read_s = time.monotonic() - began
            size = 0
            with client.stream("GET", f"files/{file_id}/content") as response:
                for block in response.iter_bytes():
                    size += len(block)
            above = peak.stop() - idle
            batch = client.get(f"batches/{batch_id}").json()

        print(f"{lines} lines, {size} bytes: {read_s:.0f} s, {above / 2**20:.0f} MiB above idle")
        assert batch["status"] == "in_progress", batch
        assert batch["request_counts"]["total"] == lines
        assert size == client_size(lines)
        assert above <= MOST_ABOVE_IDLE
    finally:
        service.kill()


async def stored_output(url: str, size: int) -> str:
    """The id of an output file of about that many bytes."""
    database = Database(url)
    try:
        writer = FileWriter(database, purpose=Purpose.BATCH_OUTPUT, filename="output.jsonl")
        number = 0
        while writer.size < size:
            body = {"choices": [{"message": {"content": "An answer. " * 800}}]}
            response = {"status_code": 200, "request_id": f"req_{number}", "body": body}
            await writer.write(
                json.dumps({"custom_id": str(number), "response": response}).encode() + b"\n"
            )
            number += 1
        await writer.close()
        stored = await database.write(writer.finish, expires_in_s=None)
        return stored.id
    finally:
        await database.close()


def test_an_output_of_200_megabytes_is_read_in_constant_memory(
    sqlite_url: str, unused_port: int, tmp_path: Path
) -> None:
    file_id = asyncio.run(stored_output(sqlite_url, OUTPUT_BYTES))
    service = Service(
        folder=tmp_path, DATABASE_URL=sqlite_url, OLLAMA_HOST=f"http://127.0.0.1:{unused_port}"
    )
    try:
        service.until_up()
        with openai.OpenAI(base_url=f"{service.url}/v1", api_key="any") as client:
            client.files.retrieve(file_id)
            here = psutil.Process()
            idle = psutil.Process(service.process.pid).memory_info().rss
            idle_here = here.memory_info().rss
            peaks = [Peak(service.process.pid), Peak(here.pid)]
            for peak in peaks:
                peak.start()
            lines = size = 0
            with client.files.with_streaming_response.content(file_id) as response:
                for block in response.iter_bytes():
                    size += len(block)
                    lines += block.count(b"\n")
            above, above_here = (
                peak.stop() - was for peak, was in zip(peaks, (idle, idle_here), strict=True)
            )
            told = client.files.retrieve(file_id)
        assert (size, lines > 20_000) == (told.bytes, True)
        assert above <= MOST_ABOVE_IDLE
        assert above_here <= MOST_ABOVE_IDLE
    finally:
        service.kill()


def client_size(lines: int) -> int:
    file, size = Requests(lines), 0
    while block := file.read(1 << 20):
        size += len(block)
    return size
