"""Pictures of every screen: `python -m tests.browser.screenshots` writes them to docs/images.

Busy, empty and in trouble; light and dark; 1280 and 360 pixels wide. Look at each before it is
committed: is the number that one wants the largest thing on it?
"""

from __future__ import annotations

import tempfile
from base64 import b64decode
from collections.abc import Callable
from pathlib import Path

from playwright.sync_api import Browser, Page, sync_playwright

from tests.browser.mill import ARGUMENTS, QUESTIONS, Mill, chromium, mill

FOLDER = Path(__file__).parents[2] / "docs" / "images"
WIDTHS = {1280: 860, 360: 780}


def wrong_lines(page: Page) -> None:
    """A file with two wrong lines, and what the check says about them."""
    lines = [f'{{"prompt": "{question}"}}' for question in QUESTIONS]
    lines[1], lines[4] = '{"promt": "A robe takes 2 bolts"}', "Write a haiku"
    text = "\n".join(lines).encode()
    page.locator("#file").set_input_files(
        {"name": "questions.jsonl", "mimeType": "text/plain", "buffer": text}
    )
    page.locator("#model").fill("tiny")
    page.get_by_role("button", name="Check only").click()
    page.locator("#answer li").first.wait_for()


def shoot(
    browser: Browser, url: str, name: str, prepare: Callable[[Page], None] | None = None
) -> None:
    """The page in both themes and widths, after `prepare` has done what is to be seen."""
    for width, height in WIDTHS.items():
        for scheme in ("light", "dark"):
            page = browser.new_page(
                viewport={"width": width, "height": height}, color_scheme=scheme
            )
            page.goto(url)
            page.wait_for_function("document.querySelector('time')?.title ?? true")
            if prepare is not None:
                prepare(page)
            path = FOLDER / f"{name}-{scheme}-{width}.webp"
            tall = page.evaluate("document.documentElement.scrollHeight")
            shown = min(max(tall, height), 2 * height)
            page.set_viewport_size({"width": width, "height": shown})
            # Playwright itself writes PNG and JPEG only; WebP takes a third of the room.
            taken = page.context.new_cdp_session(page).send(
                "Page.captureScreenshot", {"format": "webp", "quality": 80}
            )
            path.write_bytes(b64decode(taken["data"]))
            page.close()
            print(path)


def busy(browser: Browser, work: Mill) -> None:
    """A service with several batches and benchmarks."""
    questions = [f"{question} ({number})" for number in range(60) for question in QUESTIONS]
    ended = work.submit(questions[:40], label="Smoke test", max_concurrent=4)
    failed = work.submit(
        [*questions[:12], *({"prompt": one, "model": "llama9"} for one in questions[:6])],
        label="With a model that is missing",
    )
    for batch_id in (ended, failed):
        work.batch(batch_id, wait_s=60)
    benchmarks = [
        work.benchmark(
            models=["tiny", "gemma3:4b"],
            num_runs=6,
            concurrency=[1, 2, 4],
            label=label,
            prompts=QUESTIONS[:1],
            options={"num_predict": 32},
        )
        for label in ("Before the update", "After the update")
    ]
    main = work.submit(
        [{"id": f"q{number}", "prompt": text} for number, text in enumerate(questions)],
        model="qwen3:8b",
        label="Questions about everything",
        max_attempts=1,
        max_concurrent=8,
        system="Answer in one short sentence.",
    )
    paused = work.submit(questions[:90], label="Nightly translation", priority=-5)
    work.http.post(f"/batches/{paused}/pause")
    work.submit(questions[:200], model="gemma3:4b", label="Reviews, second half")
    while work.batch(main)["counts"]["succeeded"] < 120:
        work.batch(main, wait_s=1)
    batch = f"{work.url}/ui/batches/{main}"
    screens = {
        "overview": work.url,
        "batch": batch,
        "results": f"{batch}?tab=results",
        "failures": f"{work.url}/ui/batches/{failed}?tab=failures",
        "latency": f"{work.url}/ui/batches/{ended}?tab=latency",
        "result": f"{batch}/prompts/2",
        "events": f"{work.url}/ui/batches/{failed}?tab=events",
        "request": f"{batch}?tab=request",
        "batches": f"{work.url}/ui/batches",
        "hosts": f"{work.url}/ui/hosts",
        "new-batch": f"{work.url}/ui/batches/new",
        "benchmark": f"{work.url}/ui/benchmarks/{benchmarks[1]}",
        "compare": f"{work.url}/ui/benchmarks/compare?a={benchmarks[0]}&b={benchmarks[1]}",
        "new-benchmark": f"{work.url}/ui/benchmarks/new",
        "settings": f"{work.url}/ui/settings?check=yes",
    }
    for name, url in screens.items():
        shoot(browser, url, name)
    shoot(browser, f"{work.url}/ui/batches/new", "new-batch-wrong", wrong_lines)
    (host, *_) = work.http.get("/hosts").json()["data"]
    work.http.patch(f"/hosts/{host['id']}", json={"enabled": False}).raise_for_status()
    shoot(browser, work.url, "trouble")
    shoot(browser, f"{work.url}/ui/hosts", "hosts-trouble")


def main() -> None:
    """All pictures."""
    FOLDER.mkdir(exist_ok=True)
    with sync_playwright() as playwright, tempfile.TemporaryDirectory() as folder:
        browser = playwright.chromium.launch(executable_path=chromium(), args=ARGUMENTS)
        with mill(Path(folder), latency=0.15, faults=0.03) as work:
            shoot(browser, work.url, "empty")
            busy(browser, work)
        browser.close()


if __name__ == "__main__":
    main()
