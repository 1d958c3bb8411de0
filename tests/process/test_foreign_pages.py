"""A real browser with pages of other origins: they read, post, frame and stream nothing."""

from __future__ import annotations

import http.server
import os
import shutil
import threading
from collections.abc import Iterator
from typing import Any

import pytest
from playwright.sync_api import Page, sync_playwright

pytestmark = pytest.mark.proof

NAME = "rebound.example"
"""A name of a stranger, which points to this machine."""
ARGUMENTS = ("--no-sandbox", "--disable-gpu", f"--host-resolver-rules=MAP {NAME} 127.0.0.1")
TRY = """
async ([base, batch]) => {
  const tried = {};
  const note = (name, promise) => promise
    .then(value => { tried[name] = value; })
    .catch(error => { tried[name] = 'failed'; });
  const read = response => response.text().then(text => response.status + ' ' + text);
  const json = {'content-type': 'application/json'};
  await note('read', fetch(base + '/batches').then(read));
  await note('post', fetch(base + '/batches', {method: 'POST', headers: json,
    body: '{"model":"tiny","prompts":["from a page"]}'}).then(read));
  await note('blind', fetch(base + '/batches/' + batch + '/cancel',
    {method: 'POST', mode: 'no-cors'}).then(response => response.type));
  await note('stream', new Promise((resolve, reject) => {
    const source = new EventSource(base + '/batches/' + batch + '/events');
    source.onmessage = event => resolve(event.data);
    source.addEventListener('batch', event => resolve(event.data));
    source.onerror = () => { source.close(); reject(new Error('closed')); };
  }));
  await note('script', new Promise((resolve, reject) => {
    const script = document.createElement('script');
    script.src = base + '/openapi.json';
    script.onload = () => resolve('loaded');
    script.onerror = () => reject(new Error('refused'));
    document.body.append(script);
  }));
  await note('frame', new Promise(resolve => {
    const frame = document.createElement('iframe');
    frame.src = base + '/docs';
    frame.onload = () => {
      try { resolve(frame.contentDocument ? frame.contentDocument.title : 'closed'); }
      catch (error) { resolve('closed'); }
    };
    document.body.append(frame);
  }));
  return tried;
}
"""


class EmptyPage(http.server.BaseHTTPRequestHandler):
    """A site with one page."""

    def do_GET(self) -> None:
        self.send_response(200)
        self.send_header("Content-Type", "text/html")
        self.end_headers()
        self.wfile.write(b"<!doctype html><title>A page</title><body></body>")

    def log_message(self, *_: object) -> None:
        """Say nothing."""


@pytest.fixture(scope="module")
def page() -> Iterator[Page]:
    """A tab of Debian's Chromium; without it CI fails, and a developer is told."""
    chromium = shutil.which("chromium")
    if chromium is None:
        reason = "there is no `chromium` on the PATH: apt-get install chromium"
        if os.environ.get("CI"):
            pytest.fail(reason)
        pytest.skip(reason)
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=chromium, args=ARGUMENTS)
        yield browser.new_page()
        browser.close()


@pytest.fixture
def site() -> Iterator[int]:
    """The port of a site of this machine that is not the service."""
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), EmptyPage)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    yield server.server_address[1]
    server.shutdown()
    thread.join()
    server.server_close()


def test_a_page_on_another_port_or_under_another_name_gets_nothing(
    serve: Any, simulate: Any, site: int, page: Page
) -> None:
    host, _ = simulate(request_s=60)
    service = serve(host)
    batch = service.submit(["a", "b"])
    base = service.http.base_url
    port = base.port

    for address, target in (
        (f"http://127.0.0.1:{site}/", f"http://127.0.0.1:{port}"),
        (f"http://localhost:{site}/", f"http://127.0.0.1:{port}"),
        (f"http://{NAME}:{site}/", f"http://127.0.0.1:{port}"),
        (f"http://{NAME}:{site}/", f"http://{NAME}:{port}"),
    ):
        page.goto(address)
        tried = page.evaluate(TRY, [target, batch])
        assert tried["read"] == tried["post"] == tried["stream"] == tried["script"] == "failed"
        assert tried["frame"] == "closed"

    rebound = page.goto(f"http://{NAME}:{port}/batches")
    assert rebound is not None
    assert rebound.status == 421
    listed = service.http.get("/batches").json()["data"]
    assert [(one["id"], one["status"]) for one in listed] == [(batch, "running")]

    # The service's own pages go on working.
    page.goto(f"http://127.0.0.1:{port}/docs")
    assert page.evaluate("fetch('/batches').then(response => response.status)") == 200
