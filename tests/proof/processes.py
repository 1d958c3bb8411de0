"""The real commands as processes that can be killed, frozen and started again on the same port."""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, Self

import httpx

ROOT = Path(__file__).parents[2]
START_WITHIN_S = 60.0


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@contextlib.contextmanager
def scratch(name: str) -> Iterator[Path]:
    """A folder that is gone afterwards, unless what is done in it fails."""
    folder = Path(tempfile.mkdtemp(prefix=f"promptmill-{name}-"))
    # PostgreSQL refuses to run as root and is started as a user who must get in here.
    folder.chmod(0o755)
    try:
        yield folder
    except BaseException:
        print(f"What was left is in {folder}")
        raise
    _remove(folder)


def _remove(folder: Path) -> None:
    for path in sorted(folder.rglob("*"), reverse=True):
        if path.is_dir() and not path.is_symlink():
            path.rmdir()
        else:
            path.unlink()
    folder.rmdir()


class Command:
    """One `promptmill` command, which runs, is frozen, or is dead."""

    def __init__(
        self, name: str, arguments: Sequence[str], *, folder: Path, **variables: str
    ) -> None:
        self.name = name
        self._command = [sys.executable, "-m", "promptmill", *arguments]
        kept = {name: value for name, value in os.environ.items() if name != "DATABASE_URL"}
        self._environment = {**kept, "PROMPTMILL_LOG_LEVEL": "warning", **variables}
        self.log = folder / f"{name}.log"
        self.starts = 0
        self.frozen = False
        self.process = self._start()

    def _start(self) -> subprocess.Popen[bytes]:
        self.starts += 1
        self.frozen = False
        with self.log.open("ab") as log:
            return subprocess.Popen(
                self._command,
                cwd=ROOT,
                env=self._environment,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )

    @property
    def alive(self) -> bool:
        return self.process.poll() is None

    def kill(self) -> None:
        """SIGKILL: no farewell of any kind. Also of a frozen one."""
        self.process.kill()
        self.process.wait(30)

    def start_again(self) -> None:
        self.process = self._start()

    def freeze(self) -> None:
        self.process.send_signal(signal.SIGSTOP)
        self.frozen = True

    def thaw(self) -> None:
        self.process.send_signal(signal.SIGCONT)
        self.frozen = False

    def stop(self) -> None:
        """Gracefully; by force if it does not go."""
        if not self.alive:
            return
        if self.frozen:
            self.thaw()
        self.process.terminate()
        try:
            self.process.wait(40)
        except subprocess.TimeoutExpired:
            self.kill()


def until_it_answers(url: str, command: Command, path: str) -> None:
    deadline = time.monotonic() + START_WITHIN_S
    while time.monotonic() < deadline:
        with contextlib.suppress(httpx.TransportError):
            if httpx.get(f"{url}{path}", timeout=5).status_code == 200:
                return
        if not command.alive:
            raise RuntimeError(f"{command.name} did not start:\n{command.log.read_text()}")
        time.sleep(0.05)
    command.stop()
    raise RuntimeError(f"{command.name} does not answer")


@contextlib.contextmanager
def simulator(
    folder: Path,
    *,
    latency_s: float = 0.0,
    text_s: float = 0.0,
    profile: str = "recorded-tiny",
    slots: int = 512,
    log: Path | None = None,
    name: str = "simulator",
) -> Iterator[str]:
    """A simulated Ollama with the model `tiny`; its URL."""
    port = free_port()
    arguments = ["simulate", "--port", str(port), "--models", "tiny", "--load-time", "0"]
    arguments += ["--latency", str(latency_s), "--num-parallel", str(slots)]
    arguments += ["--text-time", str(text_s), "--profile", profile]
    if log is not None:
        arguments += ["--log", str(log)]
    command = Command(name, arguments, folder=folder)
    url = f"http://127.0.0.1:{port}"
    try:
        until_it_answers(url, command, "/api/version")
        yield url
    finally:
        command.stop()


class Service(Command):
    """`promptmill serve` on a port that stays its own over restarts."""

    def __init__(
        self, *, folder: Path, worker: bool = True, name: str = "serve", **variables: str
    ) -> None:
        self.port = free_port()
        arguments = ["serve", "--port", str(self.port), "--worker" if worker else "--no-worker"]
        super().__init__(name, arguments, folder=folder, **variables)
        self.url = f"http://127.0.0.1:{self.port}"

    def until_up(self) -> None:
        until_it_answers(self.url, self, "/health")


class PatientClient:
    """Asks the service again when it is away, as its clients are told to."""

    def __init__(self, url: str) -> None:
        self._http = httpx.Client(base_url=url, timeout=30)
        self.refused = 0
        """Answers of 503 and connections that broke."""

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._http.close()

    def ask(self, method: str, path: str, **options: Any) -> httpx.Response:
        deadline = time.monotonic() + 120
        while True:
            with contextlib.suppress(httpx.TransportError):
                response = self._http.request(method, path, **options)
                if response.status_code not in {500, 502, 503, 507}:
                    return response
            self.refused += 1
            assert time.monotonic() < deadline, f"{method} {path} never got an answer"
            time.sleep(0.2)

    def submit(self, prompts: Sequence[str], **fields: Any) -> str:
        """The id of the batch; sent again under the same key until it is accepted."""
        body = {"model": "tiny", "prompts": prompts, **fields}
        key = {"Idempotency-Key": os.urandom(12).hex()}
        response = self.ask("POST", "/batches", json=body, headers=key)
        assert response.status_code == 202, response.text
        return str(response.json()["id"])

    def batch(self, batch_id: str, **query: Any) -> dict[str, Any]:
        answer = self.ask("GET", f"/batches/{batch_id}", params={"limit": 0, **query})
        assert answer.status_code == 200, answer.text
        return answer.json()


class Periodic:
    """A thread that does something every so often while the block runs."""

    def __init__(self, every_s: float, do: Any) -> None:
        self._every_s = every_s
        self._do = do
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)
        self.errors: list[BaseException] = []

    def _run(self) -> None:
        while not self._stop.wait(self._every_s):
            try:
                self._do()
            except BaseException as error:  # noqa: BLE001 - told at the end
                self.errors.append(error)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._thread.join()


def table(rows: Sequence[tuple[str, Any]], *, title: str) -> None:
    """Print figures, one a line."""
    width = max(len(name) for name, _ in rows)
    print(f"\n{title}")
    for name, value in rows:
        print(f"  {name.ljust(width)}  {value}")
