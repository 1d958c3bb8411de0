"""Batches and benchmarks named on the command line by a place or the beginning of an id."""

from __future__ import annotations

import httpx
import pytest
import respx

from promptmill.client import BenchmarkComparison
from tests.cli.pretended import Invoke, batch
from tests.cli.pretended_benchmarks import BENCHMARKS, benchmark
from tests.documents import whole

NEWEST = "batch_01m89k209d8r7xc03jdph78fhn"
OLDER = "batch_01m89k18gfpc6b2p3yks21bst9"
OLDEST = "batch_01m79bsk9vc8wg44sv797e7p33"
LABELLED = {"nightly": [NEWEST, OLDER], "01m89k2": [OLDEST]}


@pytest.fixture
def three(service: respx.MockRouter) -> respx.MockRouter:
    """Three batches, on two pages when two are asked for, and what each is."""
    first = {"data": [batch() | {"id": NEWEST}, batch() | {"id": OLDER}], "next_cursor": "c"}
    second = {"data": [batch() | {"id": OLDEST}], "next_cursor": None}

    def listed(request: httpx.Request) -> httpx.Response:
        asked = request.url.params
        if label := asked.get("label"):
            ids = LABELLED.get(label, [])
            page = {"data": [batch() | {"id": one} for one in ids], "next_cursor": None}
        else:
            page = second if "cursor" in asked else first
        return httpx.Response(200, json=page)

    service.get("/batches").side_effect = listed
    for one in (NEWEST, OLDER, OLDEST):
        service.get(f"/batches/{one}").respond(200, json=batch() | {"id": one})
    return service


@pytest.mark.usefixtures("three")
@pytest.mark.parametrize(
    ("name", "meant"),
    [
        ("@last", NEWEST),
        ("@1", NEWEST),
        ("@2", OLDER),
        ("@3", OLDEST),
        ("batch_01m89k20", NEWEST),
        ("01m89k1", OLDER),
        ("01m7", OLDEST),
        (OLDEST, OLDEST),
    ],
)
def test_a_place_or_the_beginning_of_an_id_names_a_batch(
    invoke: Invoke, name: str, meant: str
) -> None:
    assert meant in invoke("show", name).stdout


@pytest.mark.usefixtures("three")
def test_a_label_names_a_batch_before_the_beginning_of_an_id(invoke: Invoke) -> None:
    assert OLDEST in invoke("show", "01m89k2").stdout


@pytest.mark.usefixtures("three")
def test_a_label_of_several_batches_is_refused_with_all_of_them(invoke: Invoke) -> None:
    result = invoke("results", "nightly")

    assert (result.exit_code, result.stdout) == (2, "")
    assert "is the label of 2" in result.stderr
    assert NEWEST in result.stderr
    assert OLDER in result.stderr


def test_a_whole_id_is_not_looked_up(invoke: Invoke, three: respx.MockRouter) -> None:
    invoke("show", OLDEST)

    assert [call.request.url.path for call in three.calls] == [f"/batches/{OLDEST}"]


@pytest.mark.usefixtures("three")
def test_a_beginning_of_several_ids_is_refused_with_all_of_them(invoke: Invoke) -> None:
    result = invoke("delete", "01m89k")

    assert result.exit_code == 2
    assert NEWEST in result.stderr
    assert OLDER in result.stderr
    assert OLDEST not in result.stderr


@pytest.mark.usefixtures("three")
@pytest.mark.parametrize("name", ["@4", "@0", "@first", "@", "01m6", "", "batch_x", "bench_01m7"])
def test_a_name_of_nothing_is_refused(invoke: Invoke, name: str) -> None:
    result = invoke("show", name)

    assert (result.exit_code, result.stdout) == (2, "")
    assert result.stderr


def test_without_a_batch_there_is_no_last_one(invoke: Invoke, service: respx.MockRouter) -> None:
    service.get("/batches").respond(200, json={"data": [], "next_cursor": None})

    result = invoke("watch", "@last")

    assert (result.exit_code, result.stderr) == (2, "error: @last: there is no batch\n")


@pytest.mark.parametrize(
    ("command", "method", "path"),
    [
        (("cancel", "@2"), "POST", "/cancel"),
        (("pause", "@2"), "POST", "/pause"),
        (("resume", "@2"), "POST", "/resume"),
        (("retry", "@2"), "POST", "/retry"),
        (("set", "@2", "--priority", 1), "PATCH", ""),
        (("delete", "@2"), "DELETE", ""),
        (("results", "@2"), "GET", "/results"),
        (("watch", "@2"), "GET", ""),
        (("show", "@2", "--running"), "GET", "/prompts"),
    ],
)
def test_every_command_takes_a_place(
    invoke: Invoke,
    three: respx.MockRouter,
    command: tuple[object, ...],
    method: str,
    path: str,
) -> None:
    ended = batch("completed", succeeded=2) | {"id": OLDER, "data": []}
    three.get(f"/batches/{OLDER}").respond(200, json=ended)
    three.route(url__startswith=f"http://127.0.0.1:8000/batches/{OLDER}").respond(200, json=ended)

    invoke(*command)

    sent = [(call.request.method, call.request.url.path) for call in three.calls]
    assert (method, f"/batches/{OLDER}{path}") in sent


def test_benchmarks_are_named_likewise(invoke: Invoke, service: respx.MockRouter) -> None:
    assert BENCHMARKS["data"][1]["id"] == "bench_0"
    service.get("/benchmarks/bench_1").respond(200, json=benchmark())
    compared = service.get("/benchmarks/bench_1/compare", params={"baseline": "bench_0"})
    compared.respond(
        200, json=whole(BenchmarkComparison, {"baseline_id": "bench_0", "target_id": "bench_1"})
    )

    result = invoke("bench", "--id", "@last", "--baseline", "@2")

    assert compared.called, result.stderr
