"""API keys over HTTP: who gets in, what each scope may do, and the limits of a key."""

from __future__ import annotations

import asyncio
import re

import httpx
import pytest
from fastapi import FastAPI
from starlette.routing import Route

from promptmill.access.routes import TABLE, find_route
from promptmill.api import build_api
from promptmill.api.application import ROUTERS
from promptmill.api.openai.application import openai_dialect
from promptmill.dashboard import PAGES
from promptmill.domain.access.keys import ANYBODY, KeyLimits, Scope
from promptmill.domain.access.streams import MOST_OF_A_KEY
from promptmill.observability.metrics import HTTP_REFUSED, HTTP_STREAMS
from promptmill.services.access import keys
from promptmill.services.access.keys import NewKey

BODY = {"model": "tiny", "prompts": ["a", "b"]}
ENVIRONMENT_KEY = "a-key-for-a-container-1"
READS = {
    ("GET", "/batches"),
    ("GET", "/batches/{batch_id}"),
    ("GET", "/batches/{batch_id}/results"),
    ("GET", "/batches/{batch_id}/events"),
    ("GET", "/benchmarks"),
    ("GET", "/benchmarks/{benchmark_id}"),
    ("GET", "/benchmarks/{benchmark_id}/runs"),
    ("GET", "/benchmarks/{benchmark_id}/compare"),
    ("GET", "/benchmarks/{benchmark_id}/report"),
    ("GET", "/models"),
    ("GET", "/hosts"),
    ("GET", "/workers"),
    ("GET", "/stats"),
    ("GET", "/stats/series"),
    ("GET", "/batches/{batch_id}/history"),
    ("GET", "/batches/{batch_id}/summary"),
    ("GET", "/batches/{batch_id}/prompts"),
    ("GET", "/batches/{batch_id}/prompts/{index}"),
    ("GET", "/v1/models"),
    ("GET", "/v1/models/{model:path}"),
    ("GET", "/v1/files"),
    ("GET", "/v1/files/{file_id}"),
    ("GET", "/v1/files/{file_id}/content"),
    ("GET", "/v1/batches"),
    ("GET", "/v1/batches/{batch_id}"),
    ("GET", "/v1/batches/{batch_id}/results"),
    ("GET", "/"),
    ("GET", "/ui/batches"),
    ("GET", "/ui/batches/{batch_id}"),
    ("GET", "/ui/batches/{batch_id}/prompts/{index}"),
    ("GET", "/ui/benchmarks"),
    ("GET", "/ui/benchmarks/compare"),
    ("GET", "/ui/benchmarks/{benchmark_id}"),
    ("GET", "/ui/hosts"),
}
FOR_ANY_KEY = {
    ("GET", "/ready"),
    ("GET", "/docs"),
    ("GET", "/docs/start.js"),
    ("GET", "/docs/assets/{name}"),
    ("GET", "/redoc"),
    ("GET", "/openapi.json"),
    ("GET", "/problems/{slug}"),
}
OPEN = {
    ("GET", "/health"),
    ("GET", "/ui/login"),
    ("POST", "/ui/login"),
    ("POST", "/ui/logout"),
    ("GET", "/ui/assets/{wanted}/{name}"),
}
WRITES = {
    ("GET", "/ui/batches/new"),
    ("GET", "/ui/benchmarks/new"),
    ("POST", "/batches"),
    ("PATCH", "/batches/{batch_id}"),
    ("DELETE", "/batches/{batch_id}"),
    ("POST", "/batches/{batch_id}/cancel"),
    ("POST", "/batches/{batch_id}/pause"),
    ("POST", "/batches/{batch_id}/resume"),
    ("POST", "/batches/{batch_id}/retry"),
    ("POST", "/benchmarks"),
    ("DELETE", "/benchmarks/{benchmark_id}"),
    ("POST", "/benchmarks/{benchmark_id}/cancel"),
    ("POST", "/v1/chat/completions"),
    ("POST", "/v1/embeddings"),
    ("POST", "/v1/completions"),
    ("POST", "/v1/files"),
    ("DELETE", "/v1/files/{file_id}"),
    ("POST", "/v1/batches"),
    ("POST", "/v1/batches/{batch_id}/cancel"),
    *(
        ("POST", f"/ui/batches/{{batch_id}}/{action}")
        for action in ("pause", "resume", "cancel", "delete", "retry", "change")
    ),
    ("POST", "/ui/benchmarks/{benchmark_id}/cancel"),
    ("POST", "/ui/benchmarks/{benchmark_id}/delete"),
}
MAY = {
    Scope.READ: FOR_ANY_KEY | READS,
    Scope.SUBMIT: FOR_ANY_KEY | READS | WRITES,
    Scope.METRICS: FOR_ANY_KEY | {("GET", "/metrics")},
}


def routes_of(app: FastAPI) -> set[tuple[str, str]]:
    """Method and path of every route of the service: the API's, the pages' and the dialect's."""
    routes = [route for router in (*ROUTERS, *PAGES) for route in router.routes]
    routes += [route for route in app.routes if isinstance(route, Route)]
    found = {
        (method, getattr(route, "path_format", route.path))
        for route in routes
        for method in route.methods or ()
    }
    found |= {
        (method, f"/v1{route.path}")
        for route in openai_dialect().routes
        for method in route.endpoint._operations
    }
    return {(method, path) for method, path in found if method != "HEAD"}


ROUTES = sorted(routes_of(build_api()))


def make(service, *scopes: Scope, name: str = "alice", **limits: int) -> NewKey:
    made = keys.create(
        service.resources.database,
        name,
        scopes=frozenset(scopes or {Scope.SUBMIT}),
        limits=KeyLimits(**limits),
    )
    read_again(service)
    return made


def read_again(service) -> None:
    """As after five seconds."""
    service.resources.known_keys.read_at = None


def bearer(made: NewKey | str) -> dict[str, str]:
    return {"Authorization": f"Bearer {made if isinstance(made, str) else made.key}"}


def address(path: str) -> str:
    return re.sub(r"\{(\w+)(?::path)?\}", lambda found: f"{found[1].removesuffix('_id')}_0", path)


def test_every_route_has_a_row_and_every_row_a_route() -> None:
    rows = {(method, route.path) for route in TABLE for method in route.needs}

    assert rows == set(ROUTES)
    for _, path in ROUTES:
        found = find_route(address(path))
        assert found is not None
        assert found.path == path


async def test_without_keys_everybody_may_do_everything(service) -> None:
    response = await service.post(BODY)

    assert response.status_code == 202
    assert response.json()["key"] is None


async def test_where_there_is_a_key_only_health_and_what_a_login_takes_are_open(service) -> None:
    make(service)

    answers = {
        (method, path): (await service.client.request(method, address(path))).status_code
        for method, path in [*ROUTES, ("GET", "/nowhere"), ("PUT", "/batches"), ("GET", "/")]
    }

    assert {route for route, status in answers.items() if status != 401} == OPEN


@pytest.mark.parametrize("scope", Scope)
async def test_a_scope_opens_exactly_what_it_is_for(service, scope: Scope) -> None:
    made = make(service, scope)
    refused = set[tuple[str, str]]()
    for method, path in ROUTES:
        response = await service.client.request(method, address(path), headers=bearer(made))
        assert response.status_code != 401
        if response.status_code == 403:
            told = response.json()
            if path.startswith("/v1/"):
                assert told["error"]["code"] == "missing_scope"
                assert "alice" in told["error"]["message"]
            else:
                assert told["type"] == "/problems/forbidden"
                assert "alice" in told["detail"]
            refused.add((method, path))

    assert set(ROUTES) - refused - OPEN == MAY.get(scope, set(ROUTES) - OPEN)


NO_KEYS = [
    "",
    "Bearer",
    "Bearer ",
    "Bearer wrong",
    "Basic {key}",
    "{key}",
    "Bearer {key}x",
    "Bearer {wrong_case}",
    "Bearer \xff\xfe",
]


async def test_what_is_no_good_key_opens_nothing(service, subtests: pytest.Subtests) -> None:
    key = make(service).key
    for header in NO_KEYS:
        with subtests.test(header=header):
            text = header.format(key=key, wrong_case=key.swapcase())

            response = await service.client.get(
                "/batches", headers=[(b"Authorization", text.encode("latin-1"))]
            )

            assert response.status_code == 401
            assert response.headers["www-authenticate"] == "Bearer"
            assert response.json()["type"] == "/problems/unauthenticated"
            assert key not in response.text


async def test_wrong_keys_of_an_address_are_soon_refused_unread_and_its_good_ones_are_not(
    service,
) -> None:
    alice, bob = make(service), make(service, name="bob")
    assert (await service.client.get("/batches", headers=bearer(alice))).status_code == 200

    wrong = [
        (await service.client.get("/batches", headers=bearer(f"wrong-key-number-{n}"))).status_code
        for n in range(7)
    ]
    over = await service.client.get("/batches", headers=bearer("wrong"))
    of_dialect = await service.client.get("/v1/models", headers=bearer("wrong"))
    known = await service.client.get("/batches", headers=bearer(alice))
    new = await service.client.get("/batches", headers=bearer(bob))
    none = await service.client.get("/batches")

    assert wrong == [401] * 5 + [429] * 2
    assert over.json()["type"] == "/problems/too-many-attempts"
    assert 1 <= int(over.headers["retry-after"]) <= 12
    assert (of_dialect.status_code, of_dialect.json()["error"]["code"]) == (
        429,
        "rate_limit_exceeded",
    )
    assert (known.status_code, new.status_code, none.status_code) == (200, 429, 401)
    told = (await service.client.get("/metrics", headers=bearer(alice))).status_code
    assert told == 403
    assert HTTP_REFUSED.labels("rate")._number >= 4


async def test_only_so_many_requests_stay_open_over_all_and_of_a_key(open_service) -> None:
    service = await open_service(max_streams=MOST_OF_A_KEY + 1)
    alice, bob = make(service), make(service, name="bob")
    batch = (await service.post(BODY, **bearer(alice))).json()["id"]
    open_now = HTTP_STREAMS.labels("long_poll")._value

    async def poll(made: NewKey) -> httpx.Response:
        return await service.client.get(f"/batches/{batch}?wait_s=300", headers=bearer(made))

    async def wait_for(number: int) -> None:
        while open_now.get() != number:
            await asyncio.sleep(0.01)

    polls = [asyncio.create_task(poll(alice)) for _ in range(MOST_OF_A_KEY)]
    await wait_for(MOST_OF_A_KEY)
    of_the_key = await poll(alice)
    last = asyncio.create_task(poll(bob))
    await wait_for(MOST_OF_A_KEY + 1)
    of_all = await service.client.get(f"/batches/{batch}/events", headers=bearer(bob))
    for one in (*polls, last):
        one.cancel()
    await asyncio.gather(*polls, last, return_exceptions=True)

    assert (of_the_key.status_code, of_all.status_code) == (429, 429)
    assert "of this key" in of_the_key.json()["detail"]
    assert of_all.json()["type"] == "/problems/limit-exceeded"
    assert open_now.get() == 0
    assert not service.resources.streams._open


async def test_a_key_of_the_environment_opens_and_stands_on_the_batch(open_service) -> None:
    service = await open_service(api_keys=f"ci={ENVIRONMENT_KEY}")

    refused = await service.post(BODY)
    response = await service.post(BODY, **bearer(ENVIRONMENT_KEY))

    assert refused.status_code == 401
    assert (response.status_code, response.json()["key"]) == (202, "ci")


async def test_a_batch_tells_whose_key_sent_it_and_lists_are_filtered_by_it(service) -> None:
    alice, bob = make(service), make(service, name="bob")
    of_alice = (await service.post(BODY, **bearer(alice))).json()
    of_bob = (
        await service.client.post(
            "/batches?model=tiny",
            content=b'"a"\n',
            headers={"Content-Type": "application/x-ndjson", **bearer(bob)},
        )
    ).json()

    listed = {
        name: [
            batch["id"]
            for batch in (
                await service.client.get(f"/batches?key={name}", headers=bearer(alice))
            ).json()["data"]
        ]
        for name in ("alice", "bob", "carol")
    }

    assert (of_alice["key"], of_bob["key"]) == ("alice", "bob")
    assert listed == {"alice": [of_alice["id"]], "bob": [of_bob["id"]], "carol": []}


async def test_a_revoked_key_opens_nothing_and_does_not_open_the_service_to_everybody(
    service,
) -> None:
    made = make(service)
    assert (await service.client.get("/batches", headers=bearer(made))).status_code == 200

    keys.revoke(service.resources.database, "alice")
    read_again(service)

    assert (await service.client.get("/batches", headers=bearer(made))).status_code == 401
    assert (await service.client.get("/batches")).status_code == 401


async def test_after_a_rotation_both_keys_open_until_the_overlap_ends(service) -> None:
    old = make(service)
    new = keys.rotate(service.resources.database, "alice", overlap_s=3600)
    read_again(service)
    during = [
        (await service.client.get("/batches", headers=bearer(each))).status_code
        for each in (old, new)
    ]
    newest = keys.rotate(service.resources.database, "alice", overlap_s=0)
    read_again(service)
    after = [
        (await service.client.get("/batches", headers=bearer(each))).status_code
        for each in (old, new, newest)
    ]

    assert (during, after) == ([200, 200], [401, 401, 200])


async def test_an_expired_key_opens_nothing(service) -> None:
    made = keys.create(
        service.resources.database,
        "short",
        scopes=frozenset({Scope.READ}),
        limits=KeyLimits(),
        expires_in_s=0,
    )
    read_again(service)

    assert (await service.client.get("/batches", headers=bearer(made))).status_code == 401


async def test_the_use_of_a_key_is_noted(service) -> None:
    made = make(service)
    await service.client.get("/batches", headers=bearer(made))

    (stored,) = keys.list_keys(service.resources.database)
    assert stored.last_used_at_ms is not None
    assert stored.hash not in made.key


@pytest.mark.parametrize(
    ("limits", "fields", "pointer", "said"),
    [
        ({"max_batch_prompts": 1}, {}, "/prompts", "a batch of the key alice may have 1"),
        ({"max_priority": 0}, {"priority": 1}, "/priority", "must be at most 0"),
        ({"min_priority": 0}, {"priority": -1}, "/priority", "must be at least 0"),
        ({"max_concurrent": 2}, {}, "/max_concurrent", "is 5; with the key alice"),
        ({"max_concurrent": 2}, {"max_concurrent": "auto"}, "/max_concurrent", "is `auto`"),
    ],
)
async def test_a_batch_beyond_the_limits_of_its_key_is_refused(
    service, limits: dict[str, int], fields: dict[str, object], pointer: str, said: str
) -> None:
    made = make(service, **limits)

    for path in ("/batches", "/batches?dry_run=true"):
        response = await service.client.post(
            path, json={**BODY, "model": "qwen3:8b", **fields}, headers=bearer(made)
        )
        assert response.status_code == 422, response.text
        (error,) = response.json()["errors"]
        assert error["pointer"] == pointer
        assert said in error["detail"]


async def test_a_batch_within_the_limits_of_its_key_is_accepted_and_cannot_leave_them(
    service,
) -> None:
    made = make(service, max_batch_prompts=2, max_concurrent=5, min_priority=-5, max_priority=5)
    batch = (await service.post({**BODY, "priority": 5}, **bearer(made))).json()

    changes = [
        (
            await service.client.patch(f"/batches/{batch['id']}", json=change, headers=bearer(made))
        ).status_code
        for change in ({"priority": 6}, {"max_concurrent": 6}, {"priority": -5})
    ]

    assert changes == [422, 422, 200]


async def test_the_queue_of_a_key_is_full_by_itself(service) -> None:
    alice, bob = make(service, max_queued_prompts=3), make(service, name="bob")
    first = await service.post(BODY, **bearer(alice))
    second = await service.post(BODY, **bearer(alice))
    other = await service.post(BODY, **bearer(bob))

    assert (first.status_code, second.status_code, other.status_code) == (202, 429, 202)
    assert "The key alice may have 3" in second.json()["detail"]


async def test_a_request_for_the_same_batch_is_answered_whatever_the_limits_are_by_then(
    service,
) -> None:
    made = make(service, max_queued_prompts=2)
    again = {"Idempotency_Key": "once", **bearer(made)}

    first, second = await service.post(BODY, **again), await service.post(BODY, **again)

    assert (first.status_code, second.status_code) == (202, 202)
    assert first.json()["id"] == second.json()["id"]


async def test_without_keys_nobody_has_limits() -> None:
    assert ANYBODY.limits == KeyLimits()
