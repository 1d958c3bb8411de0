"""What the pages show, and what they let a browser do; what they look like is in tests/browser."""

from __future__ import annotations

import ast
import asyncio
import json
import re
import shutil
from dataclasses import replace
from pathlib import Path

import httpx
import pytest
import sqlalchemy as sa

from promptmill.dashboard import assets, batch_charts
from promptmill.domain.outcomes import ErrorCode
from promptmill.domain.reading import EarlierAttempt
from tests.api.conftest import answer_as_ollama
from tests.dashboard.conftest import Browser

BATCH = {"model": "qwen3:8b", "prompts": ["one", "two", {"prompt": "three", "id": "third"}]}
TABS = ("progress", "results", "failures", "latency", "running", "request", "events")
REFRESH = {"Accept": "text/html", "X-Promptmill-Refresh": "1"}
ROOM = Path(assets.__file__).parent


async def test_an_empty_service_offers_one_button_and_the_request(browser: Browser) -> None:
    page = await browser.open("/")
    assert "Submit the first batch" in page.text
    assert "curl http://service.localhost/batches" in page.text


async def test_whoever_does_not_ask_for_html_gets_two_lines(browser: Browser) -> None:
    answer = await browser.service.client.get("/", headers={"Accept": "*/*"})
    assert answer.headers["content-type"].startswith("text/plain")
    assert answer.text.splitlines()[1] == "The API is described at http://service.localhost/docs"


async def test_every_page_forbids_what_is_inline_or_elsewhere(browser: Browser) -> None:
    batch = await browser.service.finished(BATCH)
    place = f"/ui/batches/{batch['id']}"
    for path in (
        *("/", "/ui/batches", "/ui/batches/new", "/ui/hosts", "/ui/settings?check=yes"),
        "/ui/benchmarks",
        *("/ui/benchmarks/new", "/ui/benchmarks/compare", f"{place}/prompts/1"),
        *(f"{place}?tab={tab}" for tab in TABS),
    ):
        page = await browser.open(path)
        policy = page.answer.headers["content-security-policy"]
        assert "unsafe" not in policy
        assert "default-src 'none'" in policy
        assert page.answer.headers["cache-control"] == "no-store"
        # With `no-referrer` a browser would send `Origin: null` with the forms of the page.
        assert page.answer.headers["referrer-policy"] == "same-origin"
        for tag, found in page.elements:
            assert not [name for name in found if name == "style" or name.startswith("on")], (
                path,
                tag,
            )
            assert tag != "style"
            assert tag != "script" or found["src"].startswith("/ui/assets/")
        headings = [tag for tag, _ in page.elements if tag == "h1"]
        assert len(headings) == 1, path
        assert len(page.answer.content) < 60_000


async def test_a_page_that_has_not_changed_is_not_sent_again(browser: Browser) -> None:
    batch = await browser.service.finished(BATCH)
    path = f"/ui/batches/{batch['id']}?tab=results"
    tag = (await browser.open(path)).answer.headers["etag"]
    again = await browser.service.client.get(path, headers={**REFRESH, "If-None-Match": tag})
    assert (again.status_code, again.content) == (304, b"")


async def test_the_list_is_filtered_by_its_address(browser: Browser) -> None:
    await browser.service.post({**BATCH, "label": "Colours"})
    await browser.service.post({**BATCH, "label": "Numbers"})

    assert "Colours" in (await browser.open("/ui/batches")).text
    page = await browser.open("/ui/batches?q=numb")
    assert "Numbers" in page.text
    assert "Colours" not in page.text
    assert "No batch matches" in (await browser.open("/ui/batches?status=completed")).text
    assert "Colours" in (await browser.open("/ui/batches?status=queued&from=2020-01-01")).text
    assert "Colours" in (await browser.open("/ui/batches?status=nonsense&from=x&before=%00")).text


async def test_results_are_filtered_and_the_download_takes_the_filter_along(
    browser: Browser,
) -> None:
    batch = await browser.service.finished(BATCH)
    page = await browser.open(f"/ui/batches/{batch['id']}?tab=results&q=two&status=succeeded")
    assert "TWO" in page.text
    assert "THREE" not in page.text
    assert f"/batches/{batch['id']}/results?format=ndjson&status=succeeded&q=two" in page.links()


async def test_results_are_paged_without_a_gap(browser: Browser) -> None:
    prompts = [f"prompt {number}" for number in range(70)]
    batch = await browser.service.finished(
        {"model": "qwen3:8b", "prompts": prompts, "rate_limit_delay": 0}
    )
    first = await browser.open(f"/ui/batches/{batch['id']}?tab=results")
    assert "?tab=results&after=49" in first.links()
    second = await browser.open(f"/ui/batches/{batch['id']}?tab=results&after=49")
    assert "PROMPT 50" in second.text
    assert "PROMPT 49" not in second.text


async def test_failures_are_grouped_with_an_example_and_a_button(browser: Browser) -> None:
    batch = await browser.service.finished({"model": "missing", "prompts": ["a", "b"]})
    page = await browser.open(f"/ui/batches/{batch['id']}?tab=failures")
    assert "2 \u00d7 model_not_found" in page.text
    assert "prompt 0" in page.text
    pressed = await browser.press(
        f"/ui/batches/{batch['id']}/retry",
        error_code="model_not_found",
        cause="model 'missing' not found",
    )
    assert pressed.status_code in {303, 409}


async def test_one_result_has_its_answer_its_time_and_neighbours_in_the_filter(
    browser: Browser,
) -> None:
    batch = await browser.service.finished(
        {"model": "qwen3:8b", "prompts": ["one", {"prompt": "two", "model": "missing"}, "three"]}
    )
    place = f"/ui/batches/{batch['id']}/prompts"
    page = await browser.open(f"{place}/2?status=succeeded")
    assert "THREE" in page.text
    assert "Where the time of the last attempt went" in page.text
    assert f"{place}/0?status=succeeded" in page.links()
    assert f"{place}/1?status=succeeded" not in page.links()
    failed = await browser.open(f"{place}/1")
    assert "model_not_found" in failed.text
    assert f"/ui/batches/{batch['id']}/retry" in failed.forms()
    assert (await browser.open(f"{place}/9", status=404)).text.count("no prompt 9") == 1


async def test_messages_are_shown_with_their_roles(browser: Browser) -> None:
    chat = {
        "messages": [{"role": "system", "content": "Be brief."}, {"role": "user", "content": "Hi"}]
    }
    batch = await browser.service.finished({"model": "qwen3:8b", "prompts": [chat]})
    page = await browser.open(f"/ui/batches/{batch['id']}/prompts/0")
    assert "system Be brief. user Hi" in page.text


async def test_buttons_steer_a_batch(browser: Browser) -> None:
    batch_id = (await browser.service.post(BATCH)).json()["id"]
    place = f"/ui/batches/{batch_id}"

    async def status() -> str:
        return (await browser.service.client.get(f"/batches/{batch_id}")).json()["status"]

    paused = await browser.press(f"{place}/pause")
    assert (paused.status_code, paused.headers["location"]) == (303, f"{place}?done=paused")
    assert "nothing more is started" in (await browser.open(paused.headers["location"])).text
    assert await status() == "paused"
    assert f"{place}/resume" in (await browser.open(place)).forms()
    await browser.press(f"{place}/resume")
    assert await status() == "queued"
    await browser.press(f"{place}/change", max_concurrent="7", rate_limit_delay="0.5", priority="")
    changed = (await browser.service.client.get(f"/batches/{batch_id}")).json()
    assert (changed["max_concurrent"], changed["rate_limit_delay"]) == (7, 0.5)
    await browser.press(f"{place}/change", max_concurrent="auto")
    assert (await browser.service.client.get(f"/batches/{batch_id}")).json()["auto_concurrency"]
    await browser.press(f"{place}/cancel")
    assert await status() == "cancelling"
    refused = await browser.press(f"{place}/delete")
    assert refused.status_code == 409


async def test_a_wrong_limit_is_told_by_its_name_and_changes_nothing(browser: Browser) -> None:
    batch_id = (await browser.service.post(BATCH)).json()["id"]
    answer = await browser.press(
        f"/ui/batches/{batch_id}/change", max_concurrent="300", rate_limit_delay="nan", priority="5"
    )
    assert answer.status_code == 422
    assert "must be a whole number from 1 to 256" in answer.text
    assert "must be a number from 0 to 3600" in answer.text
    assert (await browser.service.client.get(f"/batches/{batch_id}")).json()["priority"] == 0


SENDERS = [
    ({"Sec-Fetch-Site": "same-origin"}, True),
    ({"Sec-Fetch-Site": "none"}, True),
    ({"Sec-Fetch-Site": "cross-site"}, False),
    ({"Sec-Fetch-Site": "same-site"}, False),
    ({"Sec-Fetch-Site": "cross-site", "Origin": "http://service.localhost"}, False),
    ({"Origin": "http://service.localhost"}, True),
    ({"Origin": "http://service.localhost:81"}, False),
    ({"Origin": "http://evil.test"}, False),
    ({"Origin": "null"}, False),
    ({}, True),
]


async def test_only_a_page_of_this_service_may_press_a_button(
    browser, subtests: pytest.Subtests
) -> None:
    for headers, is_own in SENDERS:
        with subtests.test(headers=headers):
            batch_id = (await browser.service.post(BATCH)).json()["id"]
            answer = await browser.service.client.post(
                f"/ui/batches/{batch_id}/cancel", headers=headers
            )
            assert answer.status_code == (303 if is_own else 403)
            status = (await browser.service.client.get(f"/batches/{batch_id}")).json()["status"]
            assert status == ("cancelling" if is_own else "queued")


HOSTILE = (
    "<script>alert(1)</script></textarea></pre>{{7*7}} <img src=x onerror=alert(1)>"
    "javascript:alert(1) \u202eevil\u202c \x07\x1b[31m"
)


async def test_foreign_text_is_shown_and_never_taken_for_markup(browser: Browser) -> None:
    prompt = {"prompt": HOSTILE, "id": "<b>id"}
    batch = await browser.service.finished(
        {
            "model": "qwen3:8b",
            "prompts": [prompt],
            "label": "<i>name",
            "system": HOSTILE,
        }
    )
    place = f"/ui/batches/{batch['id']}"
    for path in (
        "/",
        "/ui/batches",
        f"{place}?tab=results",
        f"{place}?tab=request",
        f"{place}/prompts/0",
    ):
        page = await browser.open(path)
        assert "<script>alert" not in page.answer.text
        assert "<img src=x" not in page.answer.text
        assert "\u202e" not in page.answer.text
        assert "\x1b" not in page.answer.text
        assert "<i>name" in page.text or path.endswith("prompts/0")
    whole = await browser.open(f"{place}/prompts/0")
    assert "{{7*7}}" in whole.text
    assert "\\u202eevil" in whole.text


async def test_hosts_models_and_workers_are_shown(browser: Browser) -> None:
    page = await browser.open("/ui/hosts")
    assert "http://127.0.0.1:11434" in page.text
    assert "qwen3:8b 8.2B" in page.text
    assert "None has started within a day." in page.text


async def test_an_unknown_address_or_id_is_told_as_a_page(browser: Browser) -> None:
    page = await browser.open("/ui/batches/batch_nobody", status=404)
    assert "There is no batch batch_nobody." in page.text
    assert "prompts/x" not in (await browser.open("/ui/batches/b/prompts/x", status=404)).text


async def test_assets_have_an_address_of_their_edition(browser: Browser) -> None:
    client = browser.service.client
    for name in assets.contents():
        answer = await client.get(f"/ui/assets/{assets.edition()}/{name}")
        assert answer.status_code == 200
        assert "immutable" in answer.headers["cache-control"]
    assert (await client.get("/ui/assets/0/app.css")).status_code == 404
    assert (await client.get(f"/ui/assets/{assets.edition()}/..%2fpages.py")).status_code == 404


def test_scripts_and_styles_are_small() -> None:
    import gzip

    packed = sum(len(gzip.compress(content)) for content in assets.contents().values())
    assert packed < 100_000


def test_the_room_is_at_most_four_thousand_lines() -> None:
    files = [each for each in ROOM.rglob("*") if each.suffix in {".py", ".j2", ".css", ".js"}]
    lines = {each.name: len(each.read_text().splitlines()) for each in files}
    assert sum(lines.values()) <= 4_000, lines
    assert max(lines.values()) <= 400, lines


async def test_the_overview_draws_throughput_of_the_window_and_lines_in_the_address(
    browser: Browser,
) -> None:
    await browser.service.finished(BATCH)
    page = await browser.open("/?window=15m&by=host")
    current = [found for tag, found in page.elements if found.get("aria-current") == "true"]
    assert [one["href"] for one in current] == ["?window=15m&by=host"] * 2
    assert "In the last hour 3 succeeded." in page.text
    assert "Throughput" in (await browser.open("/?window=9y&by=colour")).text


async def test_a_prompt_shows_its_earlier_attempts(open_service) -> None:
    calls: list[int] = []

    def fails_once(request: httpx.Request) -> httpx.Response:
        if request.url.path == "/api/generate":
            calls.append(1)
            if len(calls) == 1:
                return httpx.Response(500, json={"error": "<b>out of luck"})
        return answer_as_ollama(request)

    service = await open_service(fails_once, retry_base_s=0.01)
    batch = await service.finished({"model": "qwen3:8b", "prompts": ["one"]})
    page = await Browser(service).open(f"/ui/batches/{batch['id']}/prompts/0")
    assert "Earlier attempts" in page.text
    assert "<b>out of luck" in page.text
    assert "All attempts" in page.text


def test_the_chart_of_attempts_has_no_negative_time() -> None:
    attempt = EarlierAttempt(
        number=1,
        charged=True,
        host="h",
        started_at_ms=5_000,
        ended_at_ms=4_000,
        error_code=ErrorCode.TIMEOUT,
        error="late",
    )
    later = replace(attempt, number=2, started_at_ms=4_500, ended_at_ms=9_000)
    chart = batch_charts.of_attempts([attempt, later], None)
    assert chart is not None
    assert [row[0] for row in chart.rows] == ["attempt 1", "attempt 2"]
    assert not re.search(r'(x|width)="-', str(chart.svg))
    lost = replace(attempt, started_at_ms=None)
    assert batch_charts.of_attempts([lost], None) is None


async def test_a_host_has_a_button_that_takes_it_out_of_service_and_back(browser: Browser) -> None:
    await browser.service.finished(BATCH)
    (form,) = [one for one in (await browser.open("/ui/hosts")).forms() if "disable" in one]
    assert (await browser.press(form)).status_code == 303
    page = await browser.open("/ui/hosts")
    assert "out of service" in page.text
    assert "out of service" in (await browser.open("/")).text
    (form,) = [one for one in page.forms() if "enable" in one]
    assert (await browser.press(form)).status_code == 303
    assert "ready" in (await browser.open("/ui/hosts")).text


async def test_the_settings_tell_what_is_set_here_first_and_the_check_what_doctor_finds(
    open_service,
) -> None:
    browser = Browser(await open_service(concurrency=7))
    page = await browser.open("/ui/settings")
    text = page.text
    assert text.index("PROMPTMILL_CONCURRENCY") < text.index("Defaults in force")
    assert text.index("Defaults in force") < text.index("PROMPTMILL_PORT")
    assert "until they are deleted" in text
    assert "Found by the check" not in text
    checked = await browser.open("/ui/settings?check=yes")
    assert "Found by the check" in checked.text
    assert "has the schema 0001" in checked.text


async def test_the_request_can_be_made_again_with_curl_and_with_python(browser: Browser) -> None:
    asked = {**BATCH, "label": "it's", "system": "Short.", "max_concurrent": 3}
    batch = await browser.service.finished(asked)
    page = await browser.open(f"/ui/batches/{batch['id']}?tab=request")
    curl = page.text.partition("-d '")[2].partition("}'")[0] + "}"
    body = json.loads(curl.replace("'\\''", "'"))
    assert (body["label"], body["system"], body["max_concurrent"]) == ("it's", "Short.", 3)
    again = await browser.service.finished(body)
    assert again["counts"]["succeeded"] == 1
    call = page.text.partition("batch = client.submit(")[2].partition(" ) Copy")[0] + ")"
    python = ast.parse(f"client.submit({call}", mode="eval").body
    assert isinstance(python, ast.Call)
    assert {each.arg: ast.literal_eval(each.value) for each in python.keywords} == body


async def test_the_overview_tells_of_a_disk_without_room(
    browser: Browser, monkeypatch: pytest.MonkeyPatch
) -> None:
    batch = await browser.service.finished(BATCH)
    usage = shutil.disk_usage("/")._replace(free=5_000_000)
    monkeypatch.setattr(shutil, "disk_usage", lambda _: usage)
    browser.service.resources.snapshots.forget("glance")
    assert batch
    page = await browser.open("/")
    assert "Of the database's disk 0.0 GB are free" in page.text


async def test_a_page_that_many_refresh_is_made_once_and_one_that_is_loaded_is_made_anew(
    browser: Browser,
) -> None:
    batch = await browser.service.finished(BATCH)
    path, client = f"/ui/batches/{batch['id']}", browser.service.client
    reads = 0

    def count(*_: object) -> None:
        nonlocal reads
        reads += 1

    sa.event.listen(sa.engine.Engine, "before_cursor_execute", count)
    try:
        await asyncio.gather(*(client.get(path, headers=REFRESH) for _ in range(20)))
        together = reads
        await client.get(path, headers={"Accept": "text/html"})
        alone = reads - together
    finally:
        sa.event.remove(sa.engine.Engine, "before_cursor_execute", count)
    # The first one also reads what the process remembers: whether there are keys, the findings.
    assert 0 < alone <= together <= alone + 10
