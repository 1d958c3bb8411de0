"""`promptmill worker` as real processes: on PostgreSQL by socket and by TCP, and on SQLite."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import time
from collections import Counter, defaultdict
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any, NamedTuple

import httpx
import psycopg
import pytest
from prometheus_client.parser import text_string_to_metric_families
from sqlalchemy.engine import make_url

from promptmill.cli.service.child_processes import listening
from promptmill.simulator import ModelSpec, SimulatorSettings, Speed, running_in_thread
from tests.cli.pretended import Invoke
from tests.own_postgresql import OwnPostgresql

pytestmark = pytest.mark.proof

LEASE_S = 3


class WorkerProcess:
    """A running `promptmill worker`."""

    def __init__(self, process: subprocess.Popen[str], log: Path) -> None:
        self.process, self.log = process, log
        assert process.stdout is not None
        self.first_line = process.stdout.readline()
        self.name = self.first_line.strip().rpartition(" ")[2]

    def metrics(self) -> Counter[str]:
        """The sum over all labels of each sample of `/metrics`, without the prefix."""
        address = re.search(r"http://127\.0\.0\.1:\d+/metrics", self.log.read_text())
        assert address is not None
        found = Counter[str]()
        for family in text_string_to_metric_families(httpx.get(address[0], timeout=60).text):
            for sample in family.samples:
                found[sample.name.removeprefix("promptmill_")] += sample.value
        return found

    def stop(self, number: int = signal.SIGTERM) -> int:
        self.process.send_signal(number)
        return self.process.wait(30)


class Fleet:
    """`serve --no-worker` and workers on one database, before one simulated Ollama."""

    def __init__(self, stack: ExitStack, folder: Path, database_url: str, ollama_host: str) -> None:
        self._stack, self._folder = stack, folder
        self._places = ["--database-url", database_url, "--ollama-host", ollama_host]
        with pytest.MonkeyPatch.context() as patch:
            patch.setenv("PROMPTMILL_LEASE_S", str(LEASE_S))
            patch.setenv("PROMPTMILL_HEARTBEAT_S", "0.5")
            command = ["serve", "--port", "0", "--no-worker", *self._places]
            self.url = stack.enter_context(listening(command, folder / "serve.log"))
        self.http = stack.enter_context(httpx.Client(base_url=self.url, timeout=180))

    def worker(
        self, *, concurrency: int = 16, application_name: str | None = None, **variables: object
    ) -> WorkerProcess:
        log = self._folder / f"worker{len(list(self._folder.iterdir()))}.log"
        environment = {
            **os.environ,
            "PROMPTMILL_LEASE_S": str(LEASE_S),
            "PROMPTMILL_HEARTBEAT_S": "0.5",
            **{name: str(value) for name, value in variables.items()},
        }
        command = ["worker", "--concurrency", str(concurrency), "--metrics-port", "0"]
        command += self._places
        if application_name is not None:
            url = make_url(self._places[1])
            named = url.update_query_dict({"application_name": application_name})
            command += ["--database-url", named.render_as_string(hide_password=False)]
        return WorkerProcess(self._stack.enter_context(_process(command, environment, log)), log)

    def submit(self, prompts: int, **fields: Any) -> str:
        body = {"model": "tiny", "prompts": [f"Question {n}" for n in range(prompts)]}
        unpaced = {"rate_limit_delay": 0, "max_concurrent": 16}
        response = self.http.post("/batches", json={**body, **unpaced, **fields})
        assert response.status_code == 202, response.text
        return response.json()["id"]

    def batch(self, batch_id: str, **query: Any) -> dict[str, Any]:
        return self.http.get(f"/batches/{batch_id}", params={"limit": 0, **query}).json()

    def ended(self, batch_id: str) -> dict[str, Any]:
        batch = self.batch(batch_id, wait_s=120)
        assert batch["finished_at"], batch
        return batch

    def until(self, batch_id: str, **counts: int) -> None:
        deadline = time.monotonic() + 20
        while not counts.items() <= (seen := self.batch(batch_id)["counts"]).items():
            assert time.monotonic() < deadline, seen

    def workers(self) -> dict[str, dict[str, Any]]:
        return {one["id"]: one for one in self.http.get("/workers").json()["data"]}


@contextmanager
def _process(
    command: list[str], environment: dict[str, str], log: Path
) -> Iterator[subprocess.Popen[str]]:
    with log.open("w") as stderr:
        process = subprocess.Popen(
            [sys.executable, "-m", "promptmill", *command],
            env=environment,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=stderr,
            text=True,
        )
    try:
        with process:
            try:
                yield process
            finally:
                process.kill()
    finally:
        process.wait()


@pytest.fixture
def fleet(tmp_path: Path) -> Iterator[Callable[..., Fleet]]:
    """`fleet(database_url, request_s=0.02)` starts all but the workers."""
    with ExitStack() as stack:

        def start(database_url: str, *, request_s: float = 0.02) -> Fleet:
            model = ModelSpec(name="tiny", speed=Speed(request_s=request_s))
            simulated = running_in_thread(SimulatorSettings(models=(model,), num_parallel=64))
            return Fleet(stack, tmp_path, database_url, stack.enter_context(simulated))

        yield start


@pytest.fixture(params=["socket_url", "tcp_url"])
def new_postgresql_url(own_postgresql: OwnPostgresql, request: Any) -> Iterator[str]:
    """An empty database of a server that is reached by its socket, or over TCP."""
    server = make_url(getattr(own_postgresql, request.param))
    name = f"fleet_{request.param}"
    with psycopg.connect(own_postgresql.tcp_url, autocommit=True) as connection:
        connection.execute(f"CREATE DATABASE {name}")
    yield server.set(database=name).render_as_string(hide_password=False)
    with psycopg.connect(own_postgresql.tcp_url, autocommit=True) as connection:
        connection.execute(f"DROP DATABASE {name} WITH (FORCE)")


@pytest.mark.postgresql
def test_workers_finish_what_a_service_without_a_worker_took(
    fleet: Callable[..., Fleet], new_postgresql_url: str, invoke: Invoke
) -> None:
    assert invoke("db", "upgrade", "--database-url", new_postgresql_url).exit_code == 0
    mill = fleet(new_postgresql_url)
    assert mill.workers() == {}
    workers = [mill.worker(concurrency=4), mill.worker(concurrency=4)]

    assert mill.ended(mill.submit(200))["counts"]["succeeded"] == 200

    assert set(mill.workers()) == {worker.name for worker in workers}
    assert [worker.stop() for worker in workers] == [0, 0]
    shown = mill.workers().values()
    assert {(one["state"], one["in_flight"], one["fenced"]) for one in shown} == {("stopped", 0, 0)}
    assert sum(one["finished"] for one in shown) == 200
    assert min(one["finished"] for one in shown) > 0
    table = invoke("workers", "--url", mill.url).stdout
    assert all(worker.name in table for worker in workers)
    assert invoke("db", "check", "--database-url", new_postgresql_url).exit_code == 0


@pytest.mark.postgresql
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_lets_calls_end_then_gives_prompts_back_uncharged(
    fleet: Callable[..., Fleet], postgresql_url: str, number: signal.Signals
) -> None:
    mill = fleet(postgresql_url, request_s=3)
    first = mill.worker(PROMPTMILL_DRAIN_S=0.1)
    batch_id = mill.submit(4)
    mill.until(batch_id, running=4)

    assert first.stop(number) == 0

    counts = mill.batch(batch_id)["counts"]
    assert (counts["running"], counts["pending"]) == (0, 4)
    assert mill.workers()[first.name]["state"] == "stopped"
    assert "Traceback" not in first.log.read_text()
    mill.worker()
    mill.ended(batch_id)
    results = mill.http.get(f"/batches/{batch_id}/results").json()["data"]
    assert [(one["success"], one["attempts"]) for one in results] == [(True, 1)] * 4


@pytest.mark.postgresql
def test_a_worker_that_was_killed_is_lost_and_its_prompts_go_on_when_its_lease_ends(
    fleet: Callable[..., Fleet], postgresql_url: str
) -> None:
    mill = fleet(postgresql_url, request_s=30)
    killed = mill.worker()
    batch_id = mill.submit(2)
    mill.until(batch_id, running=2)
    other = mill.worker()
    killed.process.kill()
    begun = time.monotonic()

    while mill.workers()[other.name]["in_flight"] < 2:
        assert time.monotonic() - begun < 10
        time.sleep(0.05)
    waited_s = time.monotonic() - begun

    # A fiftieth of a lease is for spreading, the rest is the room of a busy machine.
    assert waited_s <= LEASE_S * 1.02 + 0.7
    shown = mill.workers()[killed.name]
    assert (shown["state"], shown["alive"], shown["in_flight"]) == ("lost", False, 0)


def test_on_sqlite_one_worker_at_a_time_works_beside_a_service_without_one(
    fleet: Callable[..., Fleet], sqlite_url: str, tmp_path: Path
) -> None:
    mill = fleet(sqlite_url)
    only = mill.worker()
    second = mill.worker()

    assert second.process.wait(30) == 3
    assert second.first_line == ""
    assert "cannot start: Another Promptmill works off this SQLite file" in second.log.read_text()
    assert mill.ended(mill.submit(30))["counts"]["succeeded"] == 30
    assert only.stop() == 0
    mill.worker()
    assert mill.ended(mill.submit(3))["counts"]["succeeded"] == 3


def test_it_says_who_it_is_and_where_it_works_without_the_password(
    sqlite_url: str, tmp_path: Path
) -> None:
    environment = {**os.environ, "DATABASE_URL": sqlite_url, "OLLAMA_HOST": "gpu:80"}
    with _process(["worker"], environment, tmp_path / "log") as process:
        worker = WorkerProcess(process, tmp_path / "log")
        assert worker.stop() == 0
        said = worker.log.read_text()

    assert re.fullmatch(r"Promptmill \S+ works as \S+-\d+-[0-9a-f]{8}\n", worker.first_line)
    assert sqlite_url in said
    assert "http://gpu:80" in said
    assert "Traceback" not in said


def test_a_second_signal_ends_it_at_once(fleet: Callable[..., Fleet], sqlite_url: str) -> None:
    mill = fleet(sqlite_url, request_s=20)
    worker = mill.worker(PROMPTMILL_DRAIN_S=60)
    mill.until(mill.submit(1), running=1)
    worker.process.send_signal(signal.SIGTERM)
    deadline = time.monotonic() + 10
    while "Stopping." not in worker.log.read_text():
        assert time.monotonic() < deadline

    assert worker.stop() == -signal.SIGTERM


def test_a_database_that_is_not_there_is_said_in_words_without_its_password() -> None:
    ran = subprocess.run(
        [sys.executable, "-m", "promptmill", "worker"],
        env={
            **os.environ,
            "DATABASE_URL": "postgresql://me:secret@127.0.0.1:1/mill?connect_timeout=1",
        },
        capture_output=True,
        text=True,
        check=False,
        timeout=30,
    )

    assert ran.returncode == 3
    assert "error: cannot start: The database does not work now" in ran.stderr
    assert "secret" not in ran.stderr
    assert "Traceback" not in ran.stderr


def test_wrong_settings_are_named_and_end_the_program_with_2(
    invoke: Invoke, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PROMPTMILL_LEASE_S", "0")

    result = invoke("worker")

    assert result.exit_code == 2
    assert "PROMPTMILL_LEASE_S: " in result.stderr


@pytest.mark.postgresql
def test_the_counters_of_workers_equal_the_database_after_a_kill_and_a_freeze(
    fleet: Callable[..., Fleet], postgresql_url: str
) -> None:
    mill = fleet(postgresql_url, request_s=1)
    noting_who_records(postgresql_url)
    workers = {
        name: mill.worker(concurrency=8, application_name=name)
        for name in ("killed", "frozen", "third", "fourth")
    }
    batch_id = mill.submit(200, max_concurrent=32)
    deadline = time.monotonic() + 120
    while not all(one["in_flight"] for one in mill.workers().values()):
        assert time.monotonic() < deadline
    workers["frozen"].process.send_signal(signal.SIGSTOP)
    workers.pop("killed").process.kill()

    counts = mill.ended(batch_id)["counts"]
    workers["frozen"].process.send_signal(signal.SIGCONT)
    deadline = time.monotonic() + 120
    while True:
        # A counter is counted up after the commit, so that it may be seen a moment later.
        told = {name: worker.metrics() for name, worker in workers.items()}
        recorded = recorded_by(postgresql_url)
        equal = all(of_worker(told[name]) == recorded[name] for name in workers)
        woken = told["frozen"]["leases_lost_total"] + told["frozen"]["outcomes_fenced_total"]
        if (equal and woken) or time.monotonic() > deadline:
            break
        time.sleep(0.1)

    assert {name: of_worker(each) for name, each in told.items()} == {
        name: recorded[name] for name in workers
    }
    assert woken
    assert sum(each.prompts for each in recorded.values()) == counts["succeeded"] == 200
    assert min(recorded[name].prompts for name in ("third", "fourth")) > 0
    assert sum(each["prompts_rescued_total"] for each in told.values()) >= 1


class Done(NamedTuple):
    """What a worker has recorded."""

    prompts: int
    timed: int
    tokens: int


def of_worker(told: Counter[str]) -> Done:
    """By its metrics; a name without a sample counts 0."""
    names = ("prompts_finished_total", "prompt_duration_seconds_count", "tokens_total")
    return Done(*(round(told[name]) for name in names))


def noting_who_records(url: str) -> None:
    """Let the database itself note, with each result, the session that has stored it."""
    with psycopg.connect(url, autocommit=True) as connection:
        connection.execute("CREATE TABLE recorded (id BIGINT, who TEXT)")
        connection.execute(
            """CREATE FUNCTION note_result() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN
            INSERT INTO recorded VALUES (NEW.id, current_setting('application_name'));
            RETURN NULL; END $$"""
        )
        connection.execute(
            "CREATE TRIGGER note_result AFTER INSERT ON result FOR EACH ROW"
            " EXECUTE FUNCTION note_result()"
        )


def recorded_by(url: str) -> dict[str, Done]:
    """What each worker has recorded, by the database."""
    found = defaultdict(lambda: Done(0, 0, 0))
    with psycopg.connect(url) as connection:
        rows = connection.execute(
            """SELECT who, count(*), count(latency_s),
                coalesce(sum(coalesce(prompt_eval_count, 0) + coalesce(eval_count, 0)), 0)
            FROM recorded JOIN result USING (id) GROUP BY who"""
        )
        found.update({who: Done(*map(int, numbers)) for who, *numbers in rows})
    return found
