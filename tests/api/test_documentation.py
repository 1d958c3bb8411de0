"""The documentation pages work without the internet."""

from __future__ import annotations

import re

import pytest


@pytest.mark.parametrize("page", ["/docs", "/redoc"])
async def test_a_page_loads_everything_from_the_service_itself(service, page) -> None:
    response = await service.client.get(page)

    assert response.headers["content-type"] == "text/html; charset=utf-8"
    assert "//" not in response.text.replace("<!doctype html>", "")
    addresses = re.findall(r'(?:src|href|spec-url)="([^"]+)"', response.text)
    assert len(addresses) >= 3
    for address in addresses:
        asset = await service.client.get(f"/{address}")
        assert asset.status_code == 200, address
        assert len(asset.content) > 100


@pytest.mark.parametrize("page", ["/docs", "/redoc"])
async def test_a_page_lets_the_browser_load_nothing_from_elsewhere(service, page) -> None:
    policy = (await service.client.get(page)).headers["content-security-policy"]

    assert policy.startswith("default-src 'none';")
    assert "http" not in policy
    assert "*" not in policy


async def test_the_page_to_try_out_starts_with_the_services_own_document(service) -> None:
    script = await service.client.get("/docs/start.js")

    assert script.headers["content-type"].startswith("text/javascript")
    assert 'url: "openapi.json"' in script.text
    assert (await service.client.get("/openapi.json")).json()["openapi"] == "3.1.0"


@pytest.mark.parametrize("name", ["nothing.js", "..%2Fcore.py", "%2e%2e"])
async def test_only_the_pages_own_files_are_served(service, name) -> None:
    assert (await service.client.get(f"/docs/assets/{name}")).status_code == 404
