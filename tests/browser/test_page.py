"""The page in a real browser: what a person does with it, and what nobody can do to it."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import expect

from tests.browser.mill import QUESTIONS

pytestmark = pytest.mark.proof

COLOURS = {"runOnly": {"type": "rule", "values": ["color-contrast", "link-in-text-block"]}}
"""The rules that a theme can break and a width cannot."""
WCAG = {"runOnly": ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa"]}
HOSTILE = "<script>document.title='owned'</script><img src=x onerror=alert(1)></textarea>{{7*7}} \u202eevil"


def test_a_first_visit_from_pasting_to_an_answer_without_a_reload(work, window, tmp_path) -> None:
    page = window("/")
    page.get_by_role("link", name="New batch").click()
    page.get_by_label("Paste them").fill("\n".join(QUESTIONS[:3]))
    expect(page.locator("#preview pre")).to_have_count(3)
    page.locator("#model").fill("tiny")
    page.get_by_role("button", name="Submit").click()
    page.wait_for_url(re.compile("/ui/batches/batch_"))
    expect(page.locator("#head .state").first).to_contain_text("completed", timeout=20_000)
    expect(page.locator("#head .main dd")).to_have_text("100 %")
    page.get_by_role("link", name="Results").click()
    page.get_by_role("link", name="Prompt 0", exact=True).click()
    expect(page.locator("#answer-text")).not_to_be_empty()
    batch_id = page.url.split("/")[-3]
    with page.expect_download() as download:
        page.goto(f"{work.url}/ui/batches/{batch_id}")
        page.get_by_role("link", name="JSONL").click()
    path: Path = tmp_path / "answers"
    download.value.save_as(path)
    asked = work.http.get(f"/batches/{batch_id}/results?format=ndjson")
    assert path.read_bytes() == asked.content


def test_each_wrong_line_of_a_file_is_told_and_the_repaired_file_is_taken(work, window) -> None:
    page = window("/ui/batches/new", expects=("422",))
    lines = [json.dumps({"prompt": f"question {number}"}) for number in range(300)]
    lines[10], lines[200] = '{"promt": "x"}', "not json"
    files = {"name": "questions.jsonl", "mimeType": "text/plain"}
    page.locator("#file").set_input_files({**files, "buffer": "\n".join(lines).encode()})
    expect(page.locator("#preview pre")).to_have_count(3)
    page.locator("#model").fill("tiny")
    page.get_by_role("button", name="Check only").click()
    told = page.locator("#answer li")
    expect(told).to_have_count(2)
    expect(told.nth(0)).to_contain_text("Line 11")
    expect(told.nth(1)).to_contain_text("Line 201")
    expect(told.nth(1)).to_contain_text("not json")
    table = 'id,question,language\n1,"Say ""hi"",\nthen stop",French\n2,Bye,German\n'
    page.locator("#file").set_input_files(
        {"name": "t.csv", "mimeType": "text/csv", "buffer": table.encode()}
    )
    page.locator("#template").fill("Translate {{question}} into {{language}}")
    expect(page.locator("#preview pre").first).to_contain_text('1: Translate Say "hi"')
    page.get_by_role("button", name="Submit").click()
    page.wait_for_url(re.compile("/ui/batches/batch_"))
    batch_id = page.url.rpartition("/")[2]
    assert work.batch(batch_id, wait_s=30)["counts"]["total"] == 2
    prompt = work.http.get(f"/batches/{batch_id}/prompts/0").json()
    assert (prompt["id"], prompt["prompt"]) == ("1", 'Translate Say "hi",\nthen stop into French')


def test_a_long_file_leaves_the_page_usable(work, window, tmp_path) -> None:
    path: Path = tmp_path / "long.txt"
    path.write_text("\n".join(f"question number {number}" for number in range(100_000)))
    page = window("/ui/batches/new")
    page.evaluate(
        """window.longest = 0; new PerformanceObserver((list) => {
            for (const one of list.getEntries()) window.longest = Math.max(window.longest, one.duration);
        }).observe({entryTypes: ["longtask"]})"""
    )
    page.locator("#file").set_input_files(path)
    page.locator("#model").fill("tiny")
    page.get_by_role("button", name="Check only").click()
    expect(page.locator("#answer")).to_contain_text(
        "100,000 prompts would be accepted", timeout=60_000
    )
    assert page.evaluate("window.longest") < 500


def test_a_batch_is_steered_and_asked_for_before_it_is_cancelled(work, window) -> None:
    batch_id = work.submit(QUESTIONS * 40, max_concurrent=2, label="Steered")
    page = window(f"/ui/batches/{batch_id}")
    page.get_by_role("button", name="Pause").click()
    expect(page.get_by_role("status").first).to_contain_text("nothing more is started")
    assert work.batch(batch_id)["status"] == "paused"
    page.get_by_role("button", name="Resume").click()
    page.get_by_label("At a time").fill("1")
    page.get_by_role("button", name="Change limits").click()
    expect(page.get_by_role("status").first).to_contain_text("limits are changed")
    assert work.batch(batch_id)["max_concurrent"] == 1
    page.get_by_role("button", name="Cancel batch").click()
    dialog = page.locator("#confirm")
    expect(dialog).to_contain_text("will have no answer")
    expect(page.get_by_role("button", name="Keep it")).to_be_focused()
    page.keyboard.press("Enter")
    assert work.batch(batch_id)["status"] in {"running", "queued"}
    page.get_by_role("button", name="Cancel batch").click()
    dialog.get_by_role("button", name="Cancel batch").click()
    expect(page.locator("#head .state").first).to_contain_text("cancelled", timeout=20_000)


def test_results_are_read_within_a_filter_and_back_restores_it(work, window) -> None:
    batch_id = work.submit([*QUESTIONS, {"prompt": "x", "model": "nobody"}] * 2)
    work.batch(batch_id, wait_s=30)
    page = window(f"/ui/batches/{batch_id}?tab=results")
    page.get_by_role("searchbox", name="Text").fill("haiku")
    page.get_by_role("button", name="Filter").click()
    rows = page.locator("#results tbody tr")
    expect(rows).to_have_count(2)
    rows.first.get_by_role("link").click()
    page.wait_for_url(re.compile("prompts/[0-9]+\\?q=haiku"))  # Keys are taken once it is there.
    page.keyboard.press("j")
    page.wait_for_url(re.compile("prompts/11\\?q=haiku"))
    page.go_back()
    page.go_back()
    expect(rows).to_have_count(2)
    page.get_by_role("link", name="Failures").click()
    expect(page.locator("#tab h2")).to_have_text(["2 \u00d7 model_not_found"])


def test_the_page_stays_when_the_service_is_away_and_comes_back(work, window) -> None:
    page = window("/ui/hosts", expects=("ERR_", "Failed to load"))
    page.locator("#refresh").select_option("1")
    page.context.set_offline(True)
    expect(page.locator("#away")).to_contain_text(
        "No answer from the service since", timeout=10_000
    )
    expect(page.locator("h1")).to_have_text("Hosts and models")
    page.context.set_offline(False)
    expect(page.locator("html")).not_to_have_class(re.compile("away"), timeout=10_000)


def test_hostile_text_does_nothing_on_any_screen(work, window) -> None:
    prompts = [{"prompt": HOSTILE, "id": "<b>"}, "x" * 200_000, "line\n" * 20_000]
    batch_id = work.submit(prompts, label=HOSTILE, system=HOSTILE)
    work.batch(batch_id, wait_s=60)
    place = f"/ui/batches/{batch_id}"
    paths = ["/", "/ui/batches", *(f"{place}?tab={tab}" for tab in ("results", "request"))]
    for path in [*paths, f"{place}/prompts/0", f"{place}/prompts/1", f"{place}/prompts/2"]:
        page = window(path)
        assert "owned" not in page.title() or "<script>" in page.title()
        assert page.evaluate("document.documentElement.scrollWidth") <= 1280
        page.close()


def test_everything_can_be_read_and_a_batch_cancelled_without_javascript(work, window) -> None:
    batch_id = work.submit(QUESTIONS * 20, max_concurrent=1)
    page = window(f"/ui/batches/{batch_id}", java_script_enabled=False)
    assert "UTC" in page.locator("#tab time").first.inner_text()
    page.get_by_role("button", name="Pause").click()
    page.get_by_role("button", name="Cancel batch").click()
    assert "being cancelled" in page.locator("[role=status]").all_inner_texts()[-1] or page.url
    assert work.batch(batch_id, wait_s=30)["status"] == "cancelled"


def test_a_page_of_another_origin_can_press_nothing(work, browser) -> None:
    batch_id = work.submit(QUESTIONS * 20, max_concurrent=1)
    page = browser.new_page()
    page.route(
        "http://evil.test/",
        lambda route: route.fulfill(
            content_type="text/html",
            body=f"<form method=post action='{work.url}/ui/batches/{batch_id}/cancel'><button>x</button></form>"
            f"<iframe src='{work.url}/'></iframe>",
        ),
    )
    page.goto("http://evil.test/")
    page.get_by_role("button").click()
    page.wait_for_load_state()
    assert work.batch(batch_id)["status"] != "cancelling"
    page.close()
    work.http.post(f"/batches/{batch_id}/cancel")


@pytest.fixture(scope="module")
def screens(work) -> list[str]:
    batch_id = work.submit([*QUESTIONS, {"prompt": "x", "model": "nobody"}])
    work.batch(batch_id, wait_s=30)
    benchmark_id = work.benchmark(
        models=["tiny"], num_runs=2, concurrency=[1, 2], options={"num_predict": 8}
    )
    place = f"/ui/batches/{batch_id}"
    return [
        *(
            "/",
            "/?window=72h&by=model",
            "/ui/batches",
            "/ui/batches/new",
            "/ui/hosts",
            "/ui/settings?check=yes",
            "/ui/benchmarks",
        ),
        *("/ui/benchmarks/new", f"/ui/benchmarks/{benchmark_id}"),
        f"/ui/benchmarks/compare?a={benchmark_id}&b={benchmark_id}",
        *(
            f"{place}?tab={tab}"
            for tab in (
                "progress",
                "results",
                "failures",
                "latency",
                "running",
                "request",
                "events",
            )
        ),
        *(f"{place}/prompts/0", f"{place}/prompts/6", "/ui/batches/batch_0"),
    ]


def test_no_screen_violates_wcag(window, screens, subtests) -> None:
    """Each screen is opened once: all rules in both widths, those about colours in the dark too."""
    for path in screens:
        page = window(path, expects=("404",), color_scheme="light")
        for width in (1280, 360):
            page.set_viewport_size({"width": width, "height": 800})
            for scheme, options in (("light", WCAG), ("dark", COLOURS)):
                with subtests.test(path=path, width=width, scheme=scheme):
                    page.emulate_media(color_scheme=scheme)
                    found = Axe().run(page, options=options).response["violations"]
                    assert [
                        (one["id"], [node["html"][:200] for node in one["nodes"]][:3])
                        for one in found
                    ] == []
                    assert page.evaluate("document.documentElement.scrollWidth") <= width
        page.context.close()


def test_a_host_is_taken_out_of_service_after_a_question_and_put_back(work, window) -> None:
    page = window("/ui/hosts")
    page.get_by_role("button", name="Take out of service").first.click()
    dialog = page.locator("#confirm")
    expect(dialog).to_contain_text("nothing more is started there")
    expect(page.get_by_role("button", name="Keep it")).to_be_focused()
    dialog.get_by_role("button", name="Take out of service").click()
    expect(page.locator("#hosts .state").first).to_contain_text("out of service")
    assert [host["enabled"] for host in work.http.get("/hosts").json()["data"]] == [False, True]
    page.get_by_role("button", name="Put back into service").click()
    expect(page.locator("#hosts .state").first).to_contain_text("ready")
    assert all(host["enabled"] for host in work.http.get("/hosts").json()["data"])


def test_dialogs_violate_nothing_and_keys_work(work, window) -> None:
    page = window("/ui/batches")
    page.keyboard.press("?")
    expect(page.locator("#keys")).to_be_visible()
    assert Axe().run(page, options=WCAG).response["violations"] == []
    page.keyboard.press("Escape")
    page.keyboard.press("g")
    page.keyboard.press("h")
    page.wait_for_url("**/ui/hosts")
    page.keyboard.press("n")
    page.wait_for_url("**/ui/batches/new")
    page.locator("#pasted").fill("")
    page.keyboard.type("nb")
    assert page.url.endswith("/new")
