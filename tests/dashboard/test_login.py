"""A login with a key: what a session opens, what it shows, how it ends, what it never opens."""

from __future__ import annotations

import httpx
import pytest
import structlog

from promptmill.api import build_api
from promptmill.domain.access.keys import KeyLimits, Scope
from promptmill.services.access import keys
from promptmill.services.access.keys import NewKey
from promptmill.store.access import sessions
from tests.dashboard.conftest import HTML, Browser

BODY = {"model": "qwen3:8b", "prompts": ["one"]}
ENVIRONMENT_KEY = "a-key-for-a-container-1"
OWN = {"Sec-Fetch-Site": "same-origin"}


def make(browser: Browser, *scopes: Scope, name: str = "alice", **more: object) -> NewKey:
    made = keys.create(
        browser.service.resources.database,
        name,
        scopes=frozenset(scopes or {Scope.SUBMIT}),
        limits=KeyLimits(),
        **more,
    )
    read_again(browser)
    return made


def read_again(browser: Browser) -> None:
    """As after five seconds."""
    browser.service.resources.known_keys.read_at = None


async def logged_in(browser: Browser, *scopes: Scope) -> NewKey:
    made = make(browser, *scopes)
    answer = await browser.press("/ui/login", key=made.key)
    assert (answer.status_code, answer.headers["location"]) == (303, "/")
    return made


async def status_of(browser: Browser, path: str = "/ui/batches") -> int:
    return (await browser.service.client.get(path, headers=HTML)).status_code


async def test_without_keys_there_is_no_login(browser: Browser) -> None:
    answer = await browser.service.client.get("/ui/login", headers=HTML)
    assert (answer.status_code, answer.headers["location"]) == (303, "/")
    assert "No keys are set" in (await browser.open("/")).text


async def test_a_browser_without_a_session_gets_a_form_and_a_program_the_reason(
    browser: Browser,
) -> None:
    make(browser)
    answer = await browser.service.client.get("/ui/batches?q=a", headers=HTML)
    assert answer.status_code == 303
    page = await browser.open(answer.headers["location"])
    assert page.forms() == ["/ui/login"]
    assert "No keys are set" not in page.text
    fields = {found.get("name"): found for tag, found in page.elements if tag == "input"}
    assert fields["key"]["type"] == "password"
    assert fields["next"]["value"] == "/ui/batches?q=a"
    style = next(found["href"] for tag, found in page.elements if found.get("rel") == "stylesheet")
    assert await status_of(browser, style) == 200
    assert (await browser.service.client.get("/ui/batches")).status_code == 401


async def test_a_good_key_opens_pages_and_the_calls_of_their_scripts(browser: Browser) -> None:
    made = make(browser)
    answer = await browser.press("/ui/login", key=f" {made.key}\n", next="/ui/batches?q=a")
    assert (answer.status_code, answer.headers["location"]) == (303, "/ui/batches?q=a")
    assert made.key not in answer.headers["set-cookie"]
    assert "httponly" in answer.headers["set-cookie"].lower()
    assert "Log out alice" in (await browser.open("/ui/batches")).text
    batch = await browser.service.client.post("/batches", json=BODY, headers=OWN)
    assert (batch.status_code, batch.json()["key"]) == (202, "alice")
    assert await status_of(browser, f"/batches/{batch.json()['id']}") == 200
    paused = await browser.press(f"/ui/batches/{batch.json()['id']}/pause")
    assert (paused.status_code, paused.headers["location"].partition("?")[2]) == (
        303,
        "done=paused",
    )


async def test_a_key_of_the_environment_opens_pages_too(open_service) -> None:
    service = await open_service(api_keys=f"ci={ENVIRONMENT_KEY}:read")
    browser = Browser(service)
    assert (await browser.press("/ui/login", key=ENVIRONMENT_KEY)).status_code == 303
    assert "Log out ci" in (await browser.open("/")).text


async def test_the_scopes_of_the_key_hold_and_what_it_may_not_press_is_absent(
    browser: Browser,
) -> None:
    place = f"/ui/batches/{(await browser.service.finished(BODY))['id']}"
    await logged_in(browser, Scope.READ)
    for path in ("/", "/ui/batches", "/ui/hosts", "/ui/benchmarks", place, f"{place}?tab=failures"):
        page = await browser.open(path)
        assert [form for form in page.forms() if form not in {"", "/ui/logout"}] == [], path
        links = page.links()
        assert [one for one in links if "/new" in one or "/ui/settings" in one] == [], path
    for path in (f"{place}/delete", "/batches"):
        assert (await browser.press(path)).status_code == 403
    for path in ("/ui/batches/new", "/ui/settings", "/metrics"):
        assert await status_of(browser, path) == 403


async def test_a_key_that_may_submit_has_its_buttons(browser: Browser) -> None:
    place = f"/ui/batches/{(await browser.service.finished(BODY))['id']}"
    await logged_in(browser)
    page = await browser.open(place)
    assert f"{place}/delete" in page.forms()
    assert "/ui/batches/new" in page.links()


async def test_the_limits_of_the_key_hold_for_its_buttons(browser: Browser) -> None:
    batch = (await browser.service.post(BODY)).json()
    made = keys.create(
        browser.service.resources.database,
        "alice",
        scopes=frozenset({Scope.SUBMIT}),
        limits=KeyLimits(max_priority=0),
    )
    read_again(browser)
    await browser.press("/ui/login", key=made.key)
    answer = await browser.press(f"/ui/batches/{batch['id']}/change", priority="5")
    assert answer.status_code == 422
    assert "must be at most 0" in answer.text


@pytest.mark.parametrize("key", ["", "wrong", "pm_", "a" * 5000, "\x00", "{key}x", "{swapped}"])
async def test_a_login_without_a_good_key_is_refused_and_logged_without_it(
    browser: Browser, key: str
) -> None:
    made = make(browser)
    given = key.format(key=made.key, swapped=made.key.swapcase())
    with structlog.testing.capture_logs() as logs:
        answer = await browser.press("/ui/login", key=given)
    assert answer.status_code == 401
    assert "set-cookie" not in answer.headers
    assert "unknown, has expired or was revoked" in answer.text
    assert "login_refused" in [line.get("action") for line in logs]
    for text in (answer.text, str(logs)):
        assert len(given) < 6 or given not in text
        assert made.key not in text


async def test_a_key_that_opens_no_page_gets_no_session(browser: Browser) -> None:
    made = make(browser, Scope.METRICS)
    answer = await browser.press("/ui/login", key=made.key)
    assert (answer.status_code, "set-cookie" in answer.headers) == (403, False)


async def test_a_revoked_key_ends_its_sessions(browser: Browser) -> None:
    await logged_in(browser)
    assert await status_of(browser) == 200
    keys.revoke(browser.service.resources.database, "alice")
    read_again(browser)
    assert await status_of(browser) == 303
    assert (await browser.service.client.get("/batches")).status_code == 401


async def test_a_rotated_key_ends_its_sessions_when_the_overlap_does(browser: Browser) -> None:
    await logged_in(browser)
    for overlap_s, status in ((3600, 200), (0, 303)):
        keys.rotate(browser.service.resources.database, "alice", overlap_s=overlap_s)
        read_again(browser)
        assert await status_of(browser) == status


async def test_a_session_ends_after_its_time(browser: Browser, monkeypatch) -> None:
    monkeypatch.setattr("promptmill.services.access.sessions.LASTS_S", 0)
    made = make(browser)
    answer = await browser.press("/ui/login", key=made.key)
    text = answer.headers["set-cookie"].partition(";")[0]
    assert (
        await browser.service.client.get("/batches", headers={"Cookie": text})
    ).status_code == 401


async def test_after_a_logout_the_cookie_is_gone_and_opens_nothing(browser: Browser) -> None:
    await logged_in(browser)
    (cookie,) = browser.service.client.cookies.jar
    answer = await browser.press("/ui/logout")
    assert (answer.status_code, answer.headers["location"]) == (303, "/ui/login")
    assert list(browser.service.client.cookies.jar) == []
    kept = {"Cookie": f"{cookie.name}={cookie.value}"}
    assert (await browser.service.client.get("/batches", headers=kept)).status_code == 401


async def test_a_session_holds_for_every_process_and_only_its_digest_is_stored(
    browser: Browser,
) -> None:
    await logged_in(browser)
    (cookie,) = browser.service.client.cookies.jar
    app = build_api()
    app.state.resources = browser.service.resources
    async with httpx.AsyncClient(
        transport=httpx.ASGITransport(app), base_url="http://service.localhost"
    ) as other:
        kept = {"Cookie": f"{cookie.name}={cookie.value}"}
        assert (await other.get("/batches", headers=kept)).status_code == 200
    database = browser.service.resources.database
    assert await database.read(sessions.find, cookie.value or "") is None


@pytest.mark.parametrize(
    "headers",
    [
        {"Sec-Fetch-Site": "cross-site"},
        {"Sec-Fetch-Site": "same-site"},
        {"Origin": "http://evil.example"},
        {"Origin": "http://service.localhost:8001"},
        {"Origin": "null"},
    ],
)
async def test_a_session_serves_no_page_of_another_origin(
    browser: Browser, headers: dict[str, str]
) -> None:
    made = await logged_in(browser)
    batch = (await browser.service.client.post("/batches", json=BODY, headers=OWN)).json()
    client = browser.service.client
    for path in ("/batches", f"/ui/batches/{batch['id']}/cancel", "/ui/logout", "/ui/login"):
        answer = await client.post(path, data={"key": made.key}, headers={**HTML, **headers})
        assert answer.status_code == 403, path
    assert (await client.get("/batches", headers=headers)).status_code == 403
    assert await status_of(browser) == 200


async def test_a_trusted_page_of_another_origin_has_to_bring_a_key_of_its_own(
    open_service,
) -> None:
    service = await open_service(cors_origins="http://trusted.example")
    browser = Browser(service)
    made = await logged_in(browser)
    headers = {"Origin": "http://trusted.example"}
    refused = await service.client.post("/batches", json=BODY, headers=headers)
    headers["Authorization"] = f"Bearer {made.key}"
    allowed = await service.client.post("/batches", json=BODY, headers=headers)
    assert (refused.status_code, allowed.status_code) == (401, 202)


async def test_a_link_from_elsewhere_opens_a_page(browser: Browser) -> None:
    await logged_in(browser)
    followed = {
        "Sec-Fetch-Site": "cross-site",
        "Sec-Fetch-Mode": "navigate",
        "Sec-Fetch-Dest": "document",
    }
    await browser.open("/ui/batches", **followed)
