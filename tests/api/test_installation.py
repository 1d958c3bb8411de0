"""`GET /settings`: what is in force, and that no secret of it is told."""

from __future__ import annotations

import pytest

from promptmill.settings import Settings
from tests.api.conftest import BuildApi, api_with_pages

KEY = "a-key-for-a-container-1"
SECRETS = ("a-secret-of-a-host", KEY)


@pytest.fixture
def build() -> BuildApi:
    return api_with_pages


async def test_every_setting_is_told_with_its_variable_and_whether_it_is_the_default(
    open_service,
) -> None:
    service = await open_service(concurrency=7)
    found = (await service.client.get("/settings")).json()
    settings = {one["variable"]: one for one in found["settings"]}
    assert len(settings) == len(Settings.model_fields)
    concurrency = settings["PROMPTMILL_CONCURRENCY"]
    assert (concurrency["value"], concurrency["is_default"]) == (7, False)
    assert settings["PROMPTMILL_PORT"]["is_default"]
    assert settings["PROMPTMILL_PORT"]["meaning"] == "Port that the service listens on"
    database = found["database"]
    assert database["version"].startswith("SQLite 3.")
    assert database["schema_revision"] == "0001"
    assert database["size_bytes"] > 0
    assert found["retention_s"]["batches"] is None


async def test_of_a_secret_only_that_it_is_set_is_told(open_service) -> None:
    service = await open_service(
        ollama_hosts="http://127.0.0.1:11434;api_key=a-secret-of-a-host", api_keys=f"ci={KEY}:admin"
    )
    by = {"Authorization": f"Bearer {KEY}"}
    answer = await service.client.get("/settings", headers=by)
    page = await service.client.get("/ui/settings?check=yes", headers=by)
    assert (answer.status_code, page.status_code) == (200, 200)
    for secret in SECRETS:
        assert secret not in answer.text
        assert secret not in page.text
    settings = {one["variable"]: one for one in answer.json()["settings"]}
    for variable in ("PROMPTMILL_OLLAMA_HOSTS", "PROMPTMILL_API_KEYS"):
        told = settings[variable]
        assert (told["value"], told["is_secret"], told["is_set"]) == (None, True, True)
    unset = settings["OLLAMA_API_KEY"]
    assert (unset["value"], unset["is_secret"], unset["is_set"]) == (None, True, False)


@pytest.mark.parametrize("scope", ["read", "submit"])
async def test_other_scopes_than_admin_see_no_settings(open_service, scope: str) -> None:
    service = await open_service(api_keys=f"ci={KEY}:{scope}")
    headers = {"Authorization": f"Bearer {KEY}"}
    assert (await service.client.get("/settings", headers=headers)).status_code == 403
