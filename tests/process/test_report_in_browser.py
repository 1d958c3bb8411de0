"""The HTML report in a real browser: everything is drawn, nothing is fetched, nothing goes wrong."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Browser, Page, sync_playwright

from promptmill.reports import ReportFormat, render
from tests.reports.example import report

pytestmark = pytest.mark.proof

ARGUMENTS = (
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
)
CHARTS = [
    "single-runs",
    "latency-parts",
    "throughput",
    "ttft",
    "ecdf",
    "order",
    "ratios-baseline",
    "ratios-models",
]
MARKS = "path.mark"


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    """Debian's Chromium; without it CI fails, and a developer is told."""
    chromium = shutil.which("chromium")
    if chromium is None:
        reason = "there is no `chromium` on the PATH: apt-get install chromium"
        if os.environ.get("CI"):
            pytest.fail(reason)
        pytest.skip(reason)  # CI has failed above; a developer may have no browser.
    with sync_playwright() as playwright:
        found = playwright.chromium.launch(executable_path=chromium, args=ARGUMENTS)
        yield found
        found.close()


@pytest.fixture(scope="module")
def address(tmp_path_factory: pytest.TempPathFactory) -> str:
    path: Path = tmp_path_factory.mktemp("report") / "report.html"
    path.write_bytes(render(report(), ReportFormat.HTML))
    return path.as_uri()


class Opened:
    """The report in a window, with whatever the browser said and asked for."""

    def __init__(self, browser: Browser, address: str, *, width: int, scheme: str) -> None:
        self.page: Page = browser.new_page(
            viewport={"width": width, "height": 800}, color_scheme=scheme
        )
        self.said: list[str] = []
        self.requests: list[str] = []
        self.page.on("console", lambda message: self.said.append(message.text))
        self.page.on("pageerror", lambda error: self.said.append(str(error)))
        self.page.on("dialog", lambda dialog: self.said.append(dialog.message))
        self.page.on("request", lambda request: self.requests.append(request.url))
        self.page.goto(address)

    def marks(self) -> dict[str, int]:
        """How many points, lines and bars each chart has."""
        return self.page.evaluate(
            """(marks) => Object.fromEntries(
                [...document.querySelectorAll("figure")].map((chart) => [
                    chart.id.replace("chart-", ""), chart.querySelectorAll(marks).length
                ])
            )""",
            MARKS,
        )

    def ink(self) -> int:
        """How bright the text of the first axis is, 0 to 255."""
        colour = self.page.evaluate(
            "getComputedStyle(document.querySelector('svg text.label')).fill.match(/\\d+/)[0]"
        )
        return int(colour)


@pytest.fixture
def opened(browser: Browser, address: str, request: pytest.FixtureRequest) -> Iterator[Opened]:
    width, scheme = request.param
    found = Opened(browser, address, width=width, scheme=scheme)
    yield found
    found.page.close()


@pytest.mark.parametrize("opened", [(1200, "light"), (1200, "dark"), (400, "light")], indirect=True)
def test_every_chart_is_drawn_without_an_error_or_a_request(opened, address) -> None:
    marks = opened.marks()
    assert list(marks) == CHARTS
    assert all(marks.values()), marks
    assert opened.said == []
    assert opened.requests == [address]


@pytest.mark.parametrize("opened", [(400, "dark")], indirect=True)
def test_only_tables_are_wider_than_a_telephone_and_they_scroll(opened) -> None:
    assert opened.page.evaluate("document.documentElement.scrollWidth") == 400


@pytest.mark.parametrize("opened", [(1200, "light")], indirect=True)
def test_the_charts_follow_the_browser_into_the_dark(opened) -> None:
    assert opened.ink() < 64
    opened.page.emulate_media(color_scheme="dark")
    assert opened.ink() > 192


@pytest.mark.parametrize("opened", [(1200, "light")], indirect=True)
def test_names_are_drawn_as_they_are(opened) -> None:
    assert "emma</b>:Q4_K_M" in opened.page.text_content("#chart-single-runs .legend")
    assert opened.page.inner_text("h1").startswith("Benchmark <script>alert('label')</script>")
    assert opened.said == []


@pytest.mark.parametrize("opened", [(1200, "light")], indirect=True)
def test_the_page_could_not_fetch_anything_even_if_it_tried(opened) -> None:
    directive = opened.page.evaluate(
        """() => new Promise((resolve) => {
            document.addEventListener("securitypolicyviolation", (e) => resolve(e.effectiveDirective));
            fetch("http://127.0.0.1:9/").catch(() => setTimeout(resolve, 1000, "nothing"));
        })"""
    )
    assert directive == "connect-src"
