"""The login in a real browser, with scripts and without."""

from __future__ import annotations

import re

import pytest
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import expect

from tests.browser.mill import mill

pytestmark = pytest.mark.proof

KEY = "a-key-for-a-container-1"


@pytest.mark.parametrize("scripts", [True, False])
def test_a_person_logs_in_works_and_logs_out(browser, tmp_path, scripts: bool) -> None:
    with mill(tmp_path, PROMPTMILL_API_KEYS=f"ci={KEY}") as work:
        work.http.headers["Authorization"] = f"Bearer {KEY}"
        batch = work.submit(["a"] * 200, rate_limit_delay=60)
        context = browser.new_context(java_script_enabled=scripts)
        page = context.new_page()
        page.goto(f"{work.url}/ui/batches/{batch}?tab=results")
        if scripts:
            found = Axe().run(page).response["violations"]
            assert [one["id"] for one in found] == []
        page.get_by_label("API key").fill("not-the-key")
        page.get_by_role("button", name="Log in").click()
        expect(page.get_by_role("alert")).to_contain_text("unknown, has expired or was revoked")
        page.get_by_label("API key").fill(KEY)
        page.get_by_role("button", name="Log in").click()
        page.wait_for_url(re.compile(rf"/ui/batches/{batch}\?tab=results$"))
        page.get_by_role("button", name="Pause").click()
        expect(page.locator("#head .state").first).to_contain_text("paused")
        if scripts:
            cookies = context.cookies()
            context.clear_cookies()
            page.wait_for_url(re.compile("/ui/login"), timeout=20_000)
            context.add_cookies(cookies)
            page.goto(work.url)
        page.get_by_role("button", name="Log out ci").click()
        expect(page.get_by_role("heading")).to_have_text("Log in to Promptmill")
        assert context.cookies() == []
        page.goto(work.url)
        expect(page.get_by_role("heading")).to_have_text("Log in to Promptmill")
        context.close()
