"""The pages in this process, as a browser asks for them."""

from __future__ import annotations

from html.parser import HTMLParser

import httpx
import pytest

from tests.api.conftest import BuildApi, Service, api_with_pages, open_service, service

__all__ = ["open_service", "service"]

HTML = {"Accept": "text/html,application/xhtml+xml,*/*;q=0.8"}


class Page(HTMLParser):
    """A page as a test reads it: its text, its elements, and whether it is well formed."""

    VOID = frozenset({"meta", "link", "input", "br", "img", "path", "circle", "rect", "line"})

    def __init__(self, answer: httpx.Response) -> None:
        super().__init__()
        self.answer = answer
        self.elements: list[tuple[str, dict[str, str | None]]] = []
        self.words: list[str] = []
        self._open: list[str] = []
        self.feed(answer.text)
        self.close()
        assert self._open == [], f"not closed: {self._open}"

    def handle_starttag(self, tag, attrs) -> None:
        self.elements.append((tag, dict(attrs)))
        if tag not in self.VOID and tag not in {"option", "polyline", "polygon"}:
            self._open.append(tag)

    def handle_startendtag(self, tag, attrs) -> None:
        self.elements.append((tag, dict(attrs)))

    def handle_endtag(self, tag) -> None:
        if tag in {"option", "rect", "circle"}:
            return
        assert self._open[-1:] == [tag], f"</{tag}> closes {self._open[-3:]}"
        self._open.pop()

    def handle_data(self, data) -> None:
        self.words.append(data)

    @property
    def text(self) -> str:
        return " ".join(" ".join(self.words).split())

    def links(self) -> list[str]:
        return [
            found["href"] or "" for tag, found in self.elements if tag == "a" and "href" in found
        ]

    def forms(self) -> list[str]:
        return [found.get("action") or "" for tag, found in self.elements if tag == "form"]


class Browser:
    """Asks for pages, and sends forms as a page of the service would."""

    def __init__(self, service: Service) -> None:
        self.service = service

    async def open(self, path: str, status: int = 200, **headers: str) -> Page:
        answer = await self.service.client.get(path, headers={**HTML, **headers})
        assert answer.status_code == status, answer.text[-2000:]
        return Page(answer)

    async def press(self, path: str, *, site: str = "same-origin", **fields: str) -> httpx.Response:
        headers = {**HTML, "Sec-Fetch-Site": site}
        return await self.service.client.post(path, data=fields, headers=headers)


@pytest.fixture
def build() -> BuildApi:
    return api_with_pages


@pytest.fixture
async def browser(service: Service) -> Browser:
    return Browser(service)
