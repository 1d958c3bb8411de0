"""Browsers: what pages of other origins may not do, and what every answer tells a browser."""

from __future__ import annotations

import pytest

BODY = {"model": "tiny", "prompts": ["a"]}
FOREIGN = {"Sec-Fetch-Site": "cross-site", "Origin": "https://evil.example"}
OLD_BROWSER = {"Origin": "https://evil.example"}
SAME_MACHINE = {"Sec-Fetch-Site": "same-site", "Origin": "http://localhost:3000"}


async def test_a_page_of_another_origin_cannot_steer_a_batch_blindly(
    service, subtests: pytest.Subtests
) -> None:
    for step in ["cancel", "pause", "resume", "retry"]:
        for headers in [FOREIGN, OLD_BROWSER, SAME_MACHINE]:
            with subtests.test(step=step, headers=headers):
                batch = (await service.post(BODY)).json()

                response = await service.client.post(
                    f"/batches/{batch['id']}/{step}", headers=headers
                )

                assert response.status_code == 403
                assert response.json()["type"] == "/problems/cross-origin"
                assert "PROMPTMILL_CORS_ORIGINS" in response.json()["detail"]
                assert "access-control-allow-origin" not in response.headers
                unchanged = (await service.client.get(f"/batches/{batch['id']}")).json()
                assert unchanged["status"] == "queued"


@pytest.mark.parametrize("path", ["/batches", "/models", "/openapi.json", "/nowhere"])
async def test_a_page_of_another_origin_reads_nothing(service, path: str) -> None:
    response = await service.client.get(path, headers=FOREIGN)

    assert response.status_code == 403


@pytest.mark.parametrize(
    ("path", "status"),
    [("/docs", 200), ("/redoc", 200), ("/problems/conflict", 200), ("/batches", 403)],
)
async def test_a_link_elsewhere_may_lead_to_pages_and_not_to_data(
    service, path: str, status: int
) -> None:
    followed = {
        "Sec-Fetch-Site": "cross-site",
        "Sec-Fetch-Mode": "navigate",
        "Sec-Fetch-Dest": "document",
    }
    response = await service.client.get(path, headers=followed)
    framed = await service.client.get(path, headers={**followed, "Sec-Fetch-Dest": "iframe"})

    assert (response.status_code, framed.status_code) == (status, 403)


async def test_a_name_that_points_here_without_being_ours_opens_nothing(service) -> None:
    response = await service.client.get("/batches", headers={"Host": "rebound.example:8000"})

    assert response.status_code == 421
    assert response.json()["type"] == "/problems/host-not-allowed"
    assert "PROMPTMILL_ALLOWED_HOSTS" in response.json()["detail"]


async def test_a_name_of_the_settings_is_ours(open_service) -> None:
    service = await open_service(allowed_hosts="mill.example, box:8000")

    answers = [
        (await service.client.get("/batches", headers={"Host": host})).status_code
        for host in ("mill.example", "box:8000", "box:9000", "127.0.0.1:8000", "mill.example.org")
    ]

    assert answers == [200, 200, 421, 200, 421]


async def test_the_process_is_asked_for_its_health_by_any_name(service) -> None:
    response = await service.client.get("/health", headers={"Host": "promptmill", **FOREIGN})

    assert response.status_code == 200


async def test_an_unreadable_host_is_a_fault_of_the_request(service) -> None:
    response = await service.client.get("/batches", headers={"Host": "a b"})

    assert (response.status_code, response.json()["type"]) == (400, "/problems/http-error")


async def test_a_page_of_a_trusted_origin_may_use_the_api_without_credentials(open_service) -> None:
    service = await open_service(cors_origins="https://app.example")
    own = {"Origin": "https://app.example", "Sec-Fetch-Site": "cross-site"}

    asked = await service.client.options("/batches", headers=own)
    posted = await service.post(BODY, **own)
    other = await service.post(BODY, **{**own, "Origin": "https://other.example"})

    assert asked.status_code == 204
    assert "Authorization" in asked.headers["access-control-allow-headers"]
    assert posted.status_code == 202
    assert posted.headers["access-control-allow-origin"] == "https://app.example"
    assert posted.headers["vary"] == "Origin"
    assert "access-control-allow-credentials" not in posted.headers
    assert other.status_code == 403


@pytest.mark.parametrize(
    ("path", "expected"),
    [
        (
            "/batches",
            {
                "cache-control": "no-store",
                "content-security-policy": "default-src 'none'; frame-ancestors 'none'",
            },
        ),
        ("/nowhere", {"cache-control": "no-store"}),
        ("/docs", {"cross-origin-opener-policy": "same-origin"}),
    ],
)
async def test_every_answer_tells_browsers_to_keep_it_apart(
    service, path: str, expected: dict[str, str]
) -> None:
    response = await service.client.get(path)

    expected |= {
        "x-content-type-options": "nosniff",
        "referrer-policy": "no-referrer",
        "cross-origin-resource-policy": "same-origin",
    }
    assert {name: response.headers[name] for name in expected} == expected
