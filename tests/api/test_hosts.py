"""`GET /hosts`, `/models`, `/ready` and dry runs over several Ollama hosts."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable
from dataclasses import replace
from typing import Any

import httpx
import pytest

from promptmill.contract import examples
from promptmill.contract.hosts import Host as HostSchema
from promptmill.domain.hosts.reports import Quarantine
from promptmill.domain.outcomes import Blame, CallMetrics, ErrorCode, Failed, Succeeded
from promptmill.ollama.health import Health, after_call
from promptmill.runtime import open_resources
from promptmill.settings import Settings
from promptmill.simulator import (
    ModelSpec,
    SimulatorSettings,
    Speed,
    create_simulator,
    running,
)
from promptmill.store.hosts import host_reports, workers
from promptmill.store.hosts.hosts import register_host
from promptmill.worker.runner import working
from tests.api.conftest import Service, application

TINY, BIG = ModelSpec(name="tiny", speed=Speed()), ModelSpec(name="big:7b", speed=Speed())
OTHER_TINY = ModelSpec(name="tiny", speed=Speed(), parameters=999_000_000, quantization="Q8_0")
NOWHERE = "http://127.0.0.1:1"


@contextlib.asynccontextmanager
async def serving(
    sqlite_url: str, hosts_setting: str, **settings: object
) -> AsyncIterator[Service]:
    given = Settings(database_url=sqlite_url, ollama_hosts=hosts_setting, poll_s=0.05, **settings)
    async with open_resources(given) as resources:
        with application(resources) as app:
            transport = httpx.ASGITransport(app)
            async with httpx.AsyncClient(
                transport=transport, base_url="http://service.localhost"
            ) as client:
                yield Service(client, resources)


def simulated(*models: ModelSpec) -> contextlib.AbstractAsyncContextManager[str]:
    return running(SimulatorSettings(models=models, num_parallel=4))


async def test_every_host_is_shown_as_it_stands_and_one_that_is_down_says_why(sqlite_url) -> None:
    async with (
        simulated(TINY, BIG) as first,
        simulated(TINY) as second,
        serving(
            sqlite_url,
            f"{first};slots=4;models=tiny;api_key=sk-swordfish,{second},{NOWHERE}",
            ollama_slots=2,
        ) as service,
    ):
        async with working(service.resources):
            batch = {"prompts": ["a", "b"], "model": "tiny", "rate_limit_delay": 0}
            batch_id = (await service.post(batch)).json()["id"]
            await service.client.get(f"/batches/{batch_id}", params={"wait_s": 30})
        response = await service.client.get("/hosts")

    assert "swordfish" not in response.text
    assert response.json()["next_cursor"] is None
    one, two, gone = response.json()["data"]
    assert [host["url"] for host in (one, two, gone)] == [first, second, NOWHERE]
    assert [host["reachable"] for host in (one, two, gone)] == [True, True, False]
    assert [host["slots"] for host in (one, two, gone)] == [4, 2, 2]
    assert (one["models"], one["only_models"]) == (1, ["tiny"])
    assert (two["models"], two["only_models"]) == (1, None)
    assert one["version"] == two["version"] == "0.24.0"
    assert one["calls"] + two["calls"] == 2
    assert one["error"] is two["error"] is None
    loaded = [*one["loaded_models"], *two["loaded_models"]]
    assert {model["name"] for model in loaded} == {"tiny:latest"}
    assert all(model["size"] >= model["size_vram"] >= 0 for model in loaded)
    assert gone["error"] == f"No connection to {NOWHERE} could be made: Connection refused"
    unknown = ("version", "models", "loaded_models", "loaded_models_age_s", "latency_s")
    assert [gone[name] for name in unknown] == [None] * 5


async def test_a_host_that_was_put_aside_says_why_and_how_long(sqlite_url) -> None:
    async with simulated(TINY) as url, serving(sqlite_url, url) as service:
        host = service.resources.host
        down = Failed(code=ErrorCode.SERVER_BUSY, message="busy", blame=Blame.HOST)
        host.health = after_call(host.health, down, returns_at_start=0, now=host.seconds_since(0.0))
        (shown,) = (await service.client.get("/hosts")).json()["data"]
        host.health = Health(rests=1)
        (tried,) = (await service.client.get("/hosts")).json()["data"]

    assert shown["reachable"]
    assert shown["quarantine"]["error_code"] == "server_busy"
    assert shown["quarantine"]["reason"] == "busy"
    assert 0 <= shown["quarantine"]["next_look_s"] <= 0.5
    assert (tried["quarantine"], tried["on_trial"]) == (None, True)


async def test_a_service_without_a_worker_knows_within_a_second_what_a_worker_elsewhere_sees(
    sqlite_url,
) -> None:
    async with (
        simulated(TINY) as url,
        serving(sqlite_url, url, embedded_worker=False) as service,
        serving(sqlite_url, url) as other,
        working(other.resources),
    ):

        async def shown(until: Callable[[dict[str, Any]], bool]) -> dict[str, Any]:
            async with asyncio.timeout(20):
                while True:
                    (host,) = (await service.client.get("/hosts")).json()["data"]
                    if until(host):
                        return host

        host = other.resources.host
        batch = {"prompts": ["a"], "model": "tiny", "rate_limit_delay": 0}
        batch_id = (await service.post(batch)).json()["id"]
        await service.client.get(f"/batches/{batch_id}", params={"wait_s": 30})
        worked = await shown(lambda one: one["calls"] == 1)
        down = Failed(code=ErrorCode.SERVER_BUSY, message="busy", blame=Blame.HOST)
        # It is back after two seconds, long before the worker's next heartbeat.
        resting = after_call(Health(rests=2), down, returns_at_start=0, now=host.seconds_since(0.0))
        host.health = resting
        aside = await shown(lambda one: one["quarantine"] is not None)
        back = await shown(lambda one: one["quarantine"] is None)

    assert (worked["failed"], worked["on_trial"]) == (0, False)
    assert worked["latency_s"] > 0
    assert aside["quarantine"]["reason"] == "busy"
    assert back["on_trial"] is True


async def test_the_workers_of_other_processes_are_added_to_ones_own(sqlite_url) -> None:
    async with (
        simulated(TINY) as url,
        serving(sqlite_url, url) as service,
        working(service.resources) as own,
    ):
        database, host = service.resources.database, service.resources.host
        async with asyncio.timeout(30):
            while not await database.read(host_reports.of_hosts, lease_ms=30_000):
                await service.client.get("/health")
        await database.write(workers.register, replace(own, id="another"))
        key = await database.write(register_host, url)
        aside = Quarantine(error_code=ErrorCode.SERVER_BUSY, reason="busy", next_look_s=60)
        seen = replace(host.report(), calls=7, failed=2, latency_s=3.0, aside=aside)
        await database.write(host_reports.write, "another", {key: seen})
        await database.write(host_reports.write, own.id, {key: replace(seen, calls=100)})
        host.tally.calls, host.tally.failed = 5, 1
        host.tally.note(
            Succeeded(response="x", metrics=CallMetrics(latency_s=1.0)), model="m", now=0.0
        )
        (shown,) = (await service.client.get("/hosts")).json()["data"]

    assert (shown["calls"], shown["failed"], shown["latency_s"]) == (13, 3, 2.0)
    assert shown["quarantine"]["reason"] == "busy"


@pytest.mark.postgresql
async def test_a_worker_of_another_machine_has_a_host_of_its_own_behind_the_same_address(
    postgresql_url: str,
) -> None:
    slow = ModelSpec(name="tiny", speed=Speed(request_s=0.3))
    simulator = create_simulator(SimulatorSettings(models=(slow,), num_parallel=12))
    async with (
        running(simulator) as url,
        # What a worker sees of a host is told to others with its heartbeats.
        serving(postgresql_url, f"{url};slots=4", machine="here", heartbeat_s=0.5) as here,
        serving(postgresql_url, f"{url};slots=1", machine="there", heartbeat_s=0.5) as there,
        serving(postgresql_url, url, machine="there", embedded_worker=False) as beside,
        working(here.resources),
        working(there.resources),
    ):
        batch = {"prompts": ["a"] * 12, "model": "tiny", "rate_limit_delay": 0}
        batch["max_concurrent"] = 12
        batch_id = (await here.post(batch)).json()["id"]
        await here.client.get(f"/batches/{batch_id}", params={"wait_s": 30})
        calls = 0
        async with asyncio.timeout(20):
            while calls < 12:
                listed = (await beside.client.get("/hosts")).json()["data"]
                calls = sum(host["calls"] or 0 for host in listed)

    own, elsewhere = listed
    assert [host["url"] for host in listed] == [url, url]
    assert (own["machine"], elsewhere["machine"]) == ("there", "here")
    assert own["calls"] > 0 < elsewhere["calls"]
    assert (own["version"], elsewhere["version"]) == ("0.24.0", None)
    assert elsewhere["reachable"]
    assert elsewhere["slots"] == 4
    assert simulator.stats()["peak_in_flight"] == 4 + 1, "each machine has slots of its own"


async def test_a_service_and_the_worker_of_its_sqlite_file_mean_the_same_host(
    sqlite_url: str,
) -> None:
    async with (
        simulated(TINY) as url,
        serving(sqlite_url, url, machine="renamed", embedded_worker=False) as service,
        serving(sqlite_url, url, machine="before") as other,
        working(other.resources),
    ):
        (host,) = (await service.client.get("/hosts")).json()["data"]

    assert host["machine"] == "renamed"


async def test_with_no_worker_anywhere_nothing_is_claimed_to_be_known_of_calls(sqlite_url) -> None:
    async with (
        simulated(TINY) as url,
        serving(sqlite_url, url, embedded_worker=False) as service,
    ):
        (host,) = (await service.client.get("/hosts")).json()["data"]

    unknown = ("quarantine", "on_trial", "calls", "failed", "latency_s")
    assert [host[name] for name in unknown] == [None] * 5
    assert host["reachable"]


async def test_what_runs_at_a_host_is_counted_over_all_workers(sqlite_url) -> None:
    slow = ModelSpec(name="tiny", speed=Speed(request_s=30.0))
    async with (
        simulated(slow) as url,
        serving(sqlite_url, url, drain_s=0) as service,
        working(service.resources),
    ):
        batch = {"prompts": ["a"] * 9, "model": "tiny", "rate_limit_delay": 0, "max_concurrent": 3}
        await service.post(batch)
        in_flight = 0
        async with asyncio.timeout(10):
            while in_flight < 3:
                (host,) = (await service.client.get("/hosts")).json()["data"]
                in_flight = host["in_flight"]

    assert in_flight == 3


async def test_the_groups_that_a_host_runs_are_told(sqlite_url) -> None:
    async with simulated(TINY) as url, serving(sqlite_url, url) as service:
        before = (await service.client.get("/hosts")).json()["data"]
        await service.finished({"prompts": ["a"], "model": "Tiny", "options": {"num_ctx": 512}})
        after = (await service.client.get("/hosts")).json()["data"]

    assert [host["groups"] for host in before] == [[]]
    assert [host["groups"] for host in after] == [['tiny:latest {"num_ctx":512}']]


@pytest.mark.proof
async def test_a_hung_host_does_not_keep_the_others_waiting_for_long(sqlite_url) -> None:
    async def say_nothing(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read()
        writer.close()

    hung = await asyncio.start_server(say_nothing, "127.0.0.1", 0)
    address = f"127.0.0.1:{hung.sockets[0].getsockname()[1]}"
    async with simulated(TINY) as url, serving(sqlite_url, f"{address},{url}") as service:
        async with asyncio.timeout(4):
            listed, ready = await asyncio.gather(
                service.client.get("/hosts"), service.client.get("/ready")
            )
    hung.close()

    silent, well = listed.json()["data"]
    assert (silent["reachable"], well["reachable"]) == (False, True)
    assert "2 s" in silent["error"]
    assert ready.status_code == 200
    (missing,) = ready.json()["missing"]
    assert address in missing


async def test_models_are_merged_by_name_and_a_host_that_is_down_hides_no_others(
    sqlite_url,
) -> None:
    async with (
        simulated(TINY, BIG) as first,
        simulated(TINY) as second,
        simulated(OTHER_TINY) as third,
        serving(sqlite_url, f"{first},{second},{third},{NOWHERE}") as service,
    ):
        asked = {"model": "tiny", "prompt": "x", "stream": False}
        async with httpx.AsyncClient() as client:
            for url in (first, second):
                await client.post(f"{url}/api/generate", json=asked)
        response = await service.client.get("/models")

    big, *tinies = response.json()["data"]
    assert (big["name"], big["hosts"], big["loaded_on"]) == ("big:7b", [first], [])
    alike = next(one for one in tinies if len(one["hosts"]) == 2)
    other = next(one for one in tinies if len(one["hosts"]) == 1)
    assert alike["hosts"] == alike["loaded_on"] == [first, second]
    assert (other["hosts"], other["loaded_on"]) == ([third], [])
    assert alike["digest"] != other["digest"]
    assert (alike["quantization_level"], other["quantization_level"]) == ("Q4_K_M", "Q8_0")


async def test_a_model_that_no_host_may_be_asked_for_is_not_listed(sqlite_url) -> None:
    async with (
        simulated(TINY, BIG) as url,
        serving(sqlite_url, f"{url};models=big:7b") as service,
    ):
        response = await service.client.get("/models")

    assert [model["name"] for model in response.json()["data"]] == ["big:7b"]


async def test_with_all_hosts_down_models_and_readiness_name_each(sqlite_url) -> None:
    other = "http://127.0.0.1:2"
    async with serving(sqlite_url, f"{NOWHERE},{other}") as service:
        answers = [await service.client.get(path) for path in ("/models", "/ready")]

    for response in answers:
        assert response.status_code == 503
        assert NOWHERE in response.json()["detail"]
        assert other in response.json()["detail"]


async def test_a_dry_run_finds_a_model_on_whichever_host_has_it(sqlite_url) -> None:
    async with (
        simulated(TINY) as first,
        simulated(BIG) as second,
        serving(sqlite_url, f"{first},{second}") as service,
    ):
        fine, missing = [
            await service.client.post(
                "/batches?dry_run=true",
                json={"prompts": ["a", {"prompt": "b", "model": model}], "model": "tiny"},
            )
            for model in ("big:7b", "mistral")
        ]

    assert fine.json()["models"] == ["big:7b", "tiny:latest"]
    (error,) = missing.json()["errors"]
    assert error["pointer"] == "/prompts/1/model"
    assert error["detail"].startswith("`mistral` is not installed on any host that answers;")


async def test_what_is_written_has_exactly_the_fields_that_are_documented(service) -> None:
    (host,) = (await service.client.get("/hosts")).json()["data"]

    assert list(host) == list(HostSchema.model_fields)
    for document in (host, examples.HOST, examples.HOST_DOWN):
        assert list(document) == list(host)
        HostSchema.model_validate(document)


async def test_a_query_parameter_is_refused(service) -> None:
    response = await service.client.get("/hosts?reachable=true")

    assert response.status_code == 422
    assert response.json()["errors"][0]["pointer"] == "/query/reachable"


async def test_a_host_is_taken_out_of_service_and_put_back(service) -> None:
    await service.finished({"model": "qwen3:8b", "prompts": ["one"]})
    (host,) = (await service.client.get("/hosts")).json()["data"]
    assert host["enabled"] is True
    path = f"/hosts/{host['id']}"
    for enabled in (False, False, True):
        answer = await service.client.patch(path, json={"enabled": enabled})
        assert (answer.status_code, answer.json()["enabled"]) == (200, enabled)
        (now,) = (await service.client.get("/hosts", params={"fresh": "false"})).json()["data"]
        assert now["enabled"] is enabled
        stats = (await service.client.get("/stats")).json()
        assert any("out of service" in one for one in stats["needs_a_hand"]) is not enabled


@pytest.mark.parametrize(
    ("body", "pointer"),
    [({}, "/enabled"), ({"enabled": "no"}, "/enabled"), ({"enable": False}, "/enable")],
)
async def test_a_wrong_change_of_a_host_is_named(service, body: object, pointer: str) -> None:
    answer = await service.client.patch("/hosts/host_1", json=body)
    assert answer.status_code == 422
    assert pointer in {one["pointer"] for one in answer.json()["errors"]}


@pytest.mark.parametrize("name", ["host_99", "host_x", "1", "host_1%20"])
async def test_an_unknown_host_is_not_found(service, name: str) -> None:
    answer = await service.client.patch(f"/hosts/{name}", json={"enabled": False})
    assert answer.status_code == 404
