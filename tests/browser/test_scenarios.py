"""What people do with the page over a day: benchmarks, bad days, the keyboard alone, large text."""

from __future__ import annotations

import re
import socket
from collections.abc import Callable
from contextlib import ExitStack

import pytest
from playwright.sync_api import Page, expect

from tests.browser.mill import QUESTIONS, Mill, listening

pytestmark = pytest.mark.proof

FAILS = {"prompt": "x", "model": "nobody"}


def test_a_benchmark_is_started_followed_read_and_compared(work, window) -> None:
    first = work.benchmark(
        models=["tiny"],
        num_runs=3,
        concurrency=[1],
        label="before",
        prompts=QUESTIONS[:1],
        options={"num_predict": 8},
    )
    page = window("/ui/benchmarks")
    page.get_by_role("link", name="New benchmark").click()
    page.get_by_label("tiny").check()
    page.get_by_label("Prompts").fill(QUESTIONS[0])
    page.get_by_label("Runs of each").fill("3")
    page.get_by_label("Requests in flight").fill("1")
    page.locator("#num_predict").fill("8")
    page.get_by_label("Name").fill("after")
    page.get_by_label("Baseline").select_option(first)
    expect(page.locator("#amount")).to_contain_text("About 4 requests in all")
    page.get_by_role("button", name="Start").click()
    page.wait_for_url(re.compile("/ui/benchmarks/bench_"))
    expect(page.locator("#head .state").first).to_contain_text("completed", timeout=60_000)
    expect(page.locator("#figures figure").first).to_be_visible()
    page.reload()
    report = page.frame_locator("iframe.report")
    expect(report.locator("svg").first).to_be_attached(timeout=20_000)
    page.get_by_role("link", name="Compare with its baseline").click()
    page.wait_for_url(re.compile(f"a={first}&b=bench_"))
    expect(page.locator("table").first).to_be_visible()
    expect(page.locator("main svg.chart").first).to_be_visible()


def press_until(page: Page, key: str, is_there: Callable[[], bool], most: int = 60) -> None:
    """Press a key until the focus is where it is wanted."""
    for _ in range(most):
        if is_there():
            return
        page.keyboard.press(key)
    raise AssertionError(f"not reached by {most} times {key}")


def focused(page: Page, text: str) -> Callable[[], bool]:
    return lambda: page.evaluate("document.activeElement.textContent.trim()").startswith(text)


def test_the_first_visit_and_steering_by_keyboard_alone(work, window) -> None:
    page = window("/")
    page.keyboard.press("n")
    page.wait_for_url("**/ui/batches/new")
    page.keyboard.press("/")
    for number in range(60):
        page.keyboard.insert_text(f"Question {number}\n")
    press_until(page, "Tab", lambda: page.evaluate("document.activeElement.id") == "model")
    page.keyboard.press("ControlOrMeta+A")
    page.keyboard.type("tiny")
    page.keyboard.press("Tab")
    page.keyboard.press("ControlOrMeta+A")
    page.keyboard.type("1")
    press_until(page, "Tab", focused(page, "Submit"))
    page.keyboard.press("Enter")
    page.wait_for_url(re.compile("/ui/batches/batch_"))
    batch_id = page.url.rpartition("/")[2]
    press_until(page, "Tab", focused(page, "Pause"))
    page.keyboard.press("Enter")
    expect(page.locator("#head .state").first).to_contain_text("paused")
    done = work.batch(batch_id)["counts"]["succeeded"]
    press_until(page, "Tab", focused(page, "Cancel batch"))
    page.keyboard.press("Enter")
    expect(page.get_by_role("button", name="Keep it")).to_be_focused()
    page.keyboard.press("Escape")
    assert work.batch(batch_id)["status"] == "paused"
    press_until(page, "Tab", focused(page, "Cancel batch"))
    page.keyboard.press("Enter")
    page.keyboard.press("Tab")
    page.keyboard.press("Enter")
    expect(page.locator("#head .state").first).to_contain_text("cancelled", timeout=20_000)
    counts = work.batch(batch_id)["counts"]
    assert counts["succeeded"] <= done + 1, "a paused batch starts nothing"
    press_until(page, "Tab", focused(page, "Events"))
    page.keyboard.press("Enter")
    expect(page.locator("#tab tbody th")).to_have_text(
        ["ended", "cancel requested", "paused", "started", "created"]
    )


def test_failures_are_run_again_and_a_download_takes_the_filter_along(work, window) -> None:
    batch_id = work.submit([*QUESTIONS, FAILS, FAILS], label="Mixed")
    work.batch(batch_id, wait_s=30)
    page = window(f"/ui/batches/{batch_id}?tab=results&status=failed")
    expect(page.locator("#results tbody tr")).to_have_count(2)
    with page.expect_download() as download:
        page.locator("caption").get_by_role("link", name="CSV").click()
    asked = work.http.get(f"/batches/{batch_id}/results?format=csv&status=failed")
    assert download.value.path().read_bytes() == asked.content
    assert asked.text.count("model_not_found") == 2
    page.get_by_role("link", name="Failures").click()
    page.get_by_role("button", name="Retry 2", exact=True).last.click()
    expect(page.get_by_role("status").first).to_contain_text("waits for another run")
    work.batch(batch_id, wait_s=30)
    told = [one["event"] for one in work.http.get(f"/batches/{batch_id}/history").json()["data"]]
    assert told == ["created", "started", "ended", "retried", "ended"]


def test_a_batch_that_is_deleted_in_another_tab_is_told_as_a_sentence(work, window) -> None:
    batch_id = work.submit(QUESTIONS[:1])
    work.batch(batch_id, wait_s=30)
    page = window(f"/ui/batches/{batch_id}", expects=("404", "409"))
    work.http.delete(f"/batches/{batch_id}").raise_for_status()
    page.get_by_role("button", name="Delete batch").click()
    page.locator("#confirm").get_by_role("button", name="Delete batch").click()
    expect(page.locator("h1")).to_have_text("There is nothing here")
    expect(page.locator("main")).to_contain_text(f"There is no batch {batch_id}")
    expect(page.locator("main")).to_contain_text("request id")


def test_every_screen_fits_when_it_is_zoomed_to_twice_its_size(work, window) -> None:
    batch_id = work.submit(QUESTIONS[:2])
    work.batch(batch_id, wait_s=30)
    place = f"/ui/batches/{batch_id}"
    for path in ("/", "/ui/batches", "/ui/batches/new", "/ui/hosts", "/ui/settings", place):
        # What zooming does to 1280 pixels: half as many, each of twice the size.
        page = window(path, viewport={"width": 640, "height": 400}, device_scale_factor=2)
        assert page.evaluate("document.documentElement.scrollWidth") <= 640, path
        for button in page.get_by_role("button").all():
            if button.is_visible():
                box = button.bounding_box()
                assert box is not None
                assert box["x"] + box["width"] <= 640, path
        page.close()


def free_port() -> int:
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        return one.getsockname()[1]


def test_a_bad_day_is_told_and_over_when_it_is_over(browser, tmp_path) -> None:
    """The host dies and comes back; then the service does. The page is not loaded anew."""
    simulate = ("simulate", "--models", "tiny", "--port", str(free_port()), "--latency", "0.05")
    serve = ("serve", "--port", str(free_port()), "--database-url", f"sqlite:///{tmp_path}/day.db")
    with ExitStack() as stack:
        host, kill_host = stack.enter_context(listening(*simulate))
        variables = {"PROMPTMILL_OLLAMA_HOSTS": f"{host};slots=4"}
        url, kill_service = stack.enter_context(listening(*serve, **variables))
        mill = Mill(url)
        batch_id = mill.submit(QUESTIONS * 20, max_concurrent=2)
        context = browser.new_context(viewport={"width": 1280, "height": 800})
        page = context.new_page()
        page.goto(f"{url}/ui/hosts")
        page.locator("#refresh").select_option("1")
        expect(page.locator("#hosts .state").first).to_contain_text("ready")

        kill_host()
        trouble = re.compile("unreachable|set aside")
        expect(page.locator("#hosts .state").first).to_have_text(trouble, timeout=30_000)
        stack.enter_context(listening(*simulate))
        expect(page.locator("#hosts .state").first).to_contain_text("ready", timeout=60_000)

        kill_service()
        expect(page.locator("#away")).to_contain_text("No answer from the service since")
        expect(page.locator("h1")).to_have_text("Hosts and models")
        stack.enter_context(listening(*serve, **variables))
        expect(page.locator("html")).not_to_have_class(re.compile("away"), timeout=60_000)
        batch = mill.batch(batch_id, wait_s=120)
        assert batch["counts"]["succeeded"] == len(QUESTIONS) * 20, batch["counts"]
        mill.http.close()
        context.close()


def test_a_long_file_becomes_one_batch_and_tells_how_much_is_sent(work, window, tmp_path) -> None:
    path = tmp_path / "long.csv"
    rows = (f'{number},"question ""{number}""",{number % 7}' for number in range(100_000))
    path.write_text("\n".join(["id,prompt,shelf", *rows]))
    page = window("/ui/batches/new")
    page.locator("#file").set_input_files(path)
    page.locator("#model").fill("tiny")
    page.locator("#label").fill("A long file")
    moved: list[float] = []

    def note(value: float) -> None:
        moved.append(value)

    page.expose_function("moved", note)
    page.evaluate("new MutationObserver(() => moved(sent.value)).observe(sent, {attributes: true})")
    page.get_by_role("button", name="Submit").click()
    page.wait_for_url(re.compile("/ui/batches/batch_"), timeout=90_000)
    batch_id = page.url.rpartition("/")[2]
    work.http.post(f"/batches/{batch_id}/cancel")
    assert max(moved) == 100
    listed = work.http.get("/batches", params={"label": "A long file"}).json()["data"]
    assert [(one["id"], one["counts"]["total"]) for one in listed] == [(batch_id, 100_000)]
    prompt = work.http.get(f"/batches/{batch_id}/prompts/99999").json()
    assert (prompt["id"], prompt["prompt"]) == ("99999", 'question "99999"')
