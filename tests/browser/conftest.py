"""A browser that fails the test for anything it complains about or asks of others."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Browser, Page, sync_playwright

from tests.browser.mill import ARGUMENTS, Mill, chromium, mill


@pytest.fixture(scope="package")
def browser() -> Iterator[Browser]:
    path = chromium()
    with sync_playwright() as playwright:
        found = playwright.chromium.launch(executable_path=path, args=ARGUMENTS)
        yield found
        found.close()


@pytest.fixture(scope="package")
def work(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Mill]:
    folder: Path = tmp_path_factory.mktemp("mill")
    with mill(folder) as found:
        yield found


@pytest.fixture
def window(browser: Browser, work: Mill) -> Iterator[Callable[..., Page]]:
    """`window(path)` opens a page; at the end nothing may have gone wrong in any of them."""
    wrong: list[str] = []
    opened: list[Page] = []

    def open_page(path: str = "/", *, expects: tuple[str, ...] = (), **options: Any) -> Page:
        context = browser.new_context(**{"viewport": {"width": 1280, "height": 800}, **options})
        page = context.new_page()

        def note(text: str) -> None:
            if not any(one in text for one in expects):
                wrong.append(text)

        page.on("console", lambda message: note(message.text))
        page.on("pageerror", lambda error: note(str(error)))
        page.on(
            "request",
            lambda request: (
                None
                if request.url.startswith((work.url, "data:", "blob:"))
                else wrong.append(f"asked elsewhere: {request.url}")
            ),
        )
        page.goto(work.url + path)
        opened.append(page)
        return page

    yield open_page
    for page in opened:
        page.context.close()
    assert wrong == []
