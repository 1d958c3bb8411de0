"""A fault that nobody foresaw is told in OpenAI's shape, wherever it happens."""

from __future__ import annotations

import httpx
import pytest

from promptmill.api import build_api


@pytest.mark.parametrize("root_path", ["", "/promptmill"])
async def test_a_crash_on_the_way_in_is_told_in_the_shape_of_the_api(root_path: str) -> None:
    # Without resources the rules of access fail, before any address is looked at.
    transport = httpx.ASGITransport(build_api(root_path=root_path), raise_app_exceptions=False)
    async with httpx.AsyncClient(transport=transport, base_url="http://service.localhost") as http:
        dialect = await http.get(f"{root_path}/v1/models")
        native = await http.get(f"{root_path}/models")

    assert (dialect.status_code, native.status_code) == (500, 500)
    error = dialect.json()["error"]
    assert (error["type"], error["code"], error["param"]) == (
        "server_error",
        "internal_error",
        None,
    )
    assert dialect.headers["content-type"] == "application/json"
    assert dialect.headers["x-request-id"]
    assert native.headers["content-type"] == "application/problem+json"
