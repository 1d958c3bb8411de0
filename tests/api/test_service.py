"""Models, health, readiness, and what every answer has in common."""

from __future__ import annotations

import re

import pytest
import structlog

from promptmill.api import build_api
from promptmill.api.errors.problems import KIND_OF_ERROR, KINDS
from promptmill.domain import errors
from tests.api.conftest import refuse_connections

LATER = [
    ("GET", "/"),
    ("GET", "/batches/batch_0/events"),
    ("GET", "/batches/"),
    ("GET", "/nowhere"),
]


async def test_models_come_with_their_size_and_the_limits_that_suit_it(service) -> None:
    response = await service.client.get("/models")

    assert response.json() == {
        "data": [
            {
                "name": "qwen3:8b",
                "size": 5_225_388_164,
                "digest": "500a1f06",
                "family": "qwen3",
                "parameter_size": "8.2B",
                "quantization_level": "Q4_K_M",
                "hosts": ["http://127.0.0.1:11434"],
                "loaded_on": ["http://127.0.0.1:11434"],
                "recommended": {"max_concurrent": 5, "rate_limit_delay": 0.1},
            }
        ],
        "next_cursor": None,
    }


async def test_without_ollama_there_are_no_models_and_the_service_is_alive_but_not_ready(
    open_service,
) -> None:
    service = await open_service(refuse_connections)

    models, ready, health = [
        await service.client.get(path) for path in ("/models", "/ready", "/health")
    ]

    for response in (models, ready):
        assert response.status_code == 503
        assert response.headers["content-type"] == "application/problem+json"
        assert response.headers["retry-after"] == "5"
        assert response.json()["type"] == "/problems/unavailable"
        assert "127.0.0.1:11434" in response.json()["detail"]
    assert (health.status_code, health.json()["status"]) == (200, "ok")


async def test_with_ollama_and_the_database_the_service_is_ready(service) -> None:
    response = await service.client.get("/ready")

    assert (response.status_code, response.json()) == (
        200,
        {"status": "ready", "missing": []},
    )


@pytest.mark.parametrize(("method", "path"), LATER)
async def test_a_path_that_there_is_not_is_a_problem(service, method, path) -> None:
    response = await service.client.request(method, path)

    assert response.status_code == 404
    assert response.headers["content-type"] == "application/problem+json"
    problem = response.json()
    assert (problem["type"], problem["instance"]) == ("/problems/not-found", path)


@pytest.mark.parametrize(
    ("path", "methods"),
    [
        ("/batches", {"GET", "POST"}),
        ("/batches/batch_0", {"GET", "PATCH", "DELETE"}),
        ("/batches/batch_0/retry", {"POST"}),
    ],
)
async def test_a_method_that_there_is_not_is_a_problem_that_names_those_there_are(
    service, path: str, methods: set[str]
) -> None:
    response = await service.client.put(path, json={})

    assert response.status_code == 405
    assert response.headers["content-type"] == "application/problem+json"
    assert set(response.headers["allow"].split(", ")) == methods
    assert response.json()["type"] == "/problems/method-not-allowed"


async def test_an_unexpected_error_is_told_without_its_inside_and_logged_with_it(service) -> None:
    failing = build_api()
    failing.state.resources = service.resources
    service.client._transport.app = failing

    @failing.get("/failing")
    async def fail() -> None:
        raise RuntimeError("the password is swordfish")

    with structlog.testing.capture_logs(
        processors=[structlog.contextvars.merge_contextvars]
    ) as logs:
        response = await service.client.get("/failing", headers={"X-Request-ID": "r-1"})

    assert response.status_code == 500
    assert response.headers["content-type"] == "application/problem+json"
    assert response.headers["x-request-id"] == "r-1"
    assert response.headers["x-content-type-options"] == "nosniff"
    assert response.json()["request_id"] == "r-1"
    assert "swordfish" not in response.text
    failure, line = logs
    assert (failure["action"], failure["exc_info"], failure["request_id"]) == (
        "http_request_failed",
        True,
        "r-1",
    )
    assert (line["action"], line["status"]) == ("http_request", 500)


@pytest.mark.parametrize("path", ["/health", "/nowhere", "/batches?limit=x", "/docs"])
async def test_every_answer_carries_the_request_id_and_forbids_guessing_its_type(
    service, path
) -> None:
    response = await service.client.get(path, headers={"X-Request-ID": "my-id/42"})

    assert response.headers["x-request-id"] == "my-id/42"
    assert response.headers["x-content-type-options"] == "nosniff"


async def test_a_request_id_that_is_not_sane_is_replaced(
    service, subtests: pytest.Subtests
) -> None:
    for given in ["", "with space", "x" * 129, "tab\there", "caf\xe9"]:
        with subtests.test(given=given):
            response = await service.client.get(
                "/health", headers=[(b"X-Request-ID", given.encode("latin-1"))]
            )

            assert re.fullmatch("[0-9a-f]{32}", response.headers["x-request-id"])


async def test_a_request_is_one_log_line_without_its_query(service) -> None:
    with structlog.testing.capture_logs(
        processors=[structlog.contextvars.merge_contextvars]
    ) as logs:
        await service.client.get("/batches?model=secret", headers={"X-Request-ID": "r-2"})

    (line,) = logs
    assert line.pop("duration_s") >= 0
    assert line == {
        "event": "Request answered",
        "action": "http_request",
        "log_level": "info",
        "method": "GET",
        "route": "/batches",
        "path": "/batches",
        "client": "127.0.0.1",
        "key": "local",
        "status": 200,
        "request_id": "r-2",
    }


def test_every_error_of_the_domain_has_its_problem() -> None:
    of_the_domain = set(errors.PromptmillError.__subclasses__())

    assert of_the_domain <= set(KIND_OF_ERROR)
    assert [kind.slug for kind in KINDS if not kind.meaning.endswith(".")] == []


async def test_every_problem_explains_itself_under_its_type(service) -> None:
    for kind in KINDS:
        response = await service.client.get(kind.type)
        assert response.status_code == 200
        assert kind.title in response.text
    assert (await service.client.get("/problems/none")).status_code == 404


async def test_a_service_without_resources_says_that_its_lifespan_is_to_blame() -> None:
    import httpx

    app = build_api()
    app.state.resources = None
    async with httpx.AsyncClient(
        transport=httpx.ASGITransport(app), base_url="http://service.localhost"
    ) as client:
        response = await client.get("/batches")

    assert response.status_code == 500


@pytest.mark.parametrize("path", ["/health", "/ready", "/metrics"])
async def test_what_is_asked_for_all_the_time_is_logged_only_when_it_fails(
    service, path: str
) -> None:
    with structlog.testing.capture_logs() as logs:
        await service.client.get(path)
        await service.client.get(f"{path}?unknown=1")

    assert [line["status"] for line in logs] == [422]
