"""How batches, results and benchmarks look in a notebook, also with hostile texts in them."""

from __future__ import annotations

import html
import re
from html.parser import HTMLParser
from typing import Any

import httpx
import pytest

from promptmill.client import AsyncPromptmill, Batch, Benchmark, Promptmill, Result, ResultPage
from promptmill.display import html as notebook
from tests.cli.pretended import batch, result_document
from tests.cli.pretended_benchmarks import benchmark
from tests.documents import whole

HOSTILE = (
    "<script>alert(1)</script>",
    "</td></table><img src=x onerror=alert(1)>",
    "\"' onmouseover='alert(1)",
    "&lt;script&gt;",
    "]]><svg/onload=alert(1)>",
    "\x1b]0;title\x07 \u202emoc.live",
)


class Parts(HTMLParser):
    """The elements, attributes and texts of a piece of HTML."""

    def __init__(self, source: str) -> None:
        super().__init__(convert_charrefs=True)
        self.elements: set[str] = set()
        self.attributes: set[str] = set()
        self.texts: list[str] = []
        self.feed(source)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.add(tag)
        self.attributes.update(name for name, _ in attrs)

    def handle_data(self, data: str) -> None:
        self.texts.append(data)


def is_safe(source: str) -> Parts:
    parts = Parts(source)
    known = {"div", "b", "span", "table", "thead", "tbody", "tr", "th", "td", "p"}
    assert parts.elements <= known
    assert parts.attributes <= {"style"}
    assert not re.search(r"[\x00-\x08\x0b-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069]", source)
    return parts


@pytest.mark.parametrize("text", HOSTILE)
def test_texts_of_others_are_shown_and_do_nothing(text: str) -> None:
    document = result_document(0, prompt=text, response=text, id=text)
    failed = result_document(1, prompt=text, response=None, success=False, status=text, error=text)
    waiting = {"reason": "host_unreachable", "message": text}
    shown: list[Any] = [
        Result.model_validate(document),
        Result.model_validate(failed),
        ResultPage.model_validate(whole(ResultPage, {"data": [document, failed]})),
        Batch.model_validate(whole(Batch, {**batch(text), "id": text, "waiting_for": waiting})),
        Benchmark.model_validate({**benchmark(), "id": text, "error": text, "status": text}),
    ]

    for one in shown:
        parts = is_safe(one._repr_html_())
        if text.isprintable():
            assert any(text in found for found in parts.texts), one


def test_a_batch_shows_a_bar_and_its_counts() -> None:
    record = Batch.model_validate(
        {**batch("running", total=8, succeeded=1, failed=1, pending=6), "eta_s": 75.0}
    )

    shown = record._repr_html_()

    assert "width:25.0%" in shown
    assert "".join(is_safe(shown).texts) == "batch_1 running2/8, 1 failed, 1 min 15 s left"


def test_long_texts_are_cut() -> None:
    shown = Result.model_validate(result_document(0, response="&" * 10_000))._repr_html_()

    assert html.unescape(shown).count("&") == 299
    assert "…" in shown


def test_a_benchmark_shows_the_levels_of_its_models() -> None:
    texts = is_safe(Benchmark.model_validate(benchmark())._repr_html_()).texts

    assert {"model", "at a time", "latency p50", "tiny"} <= set(texts)


async def test_results_show_the_first_of_them_and_say_that_there_are_more() -> None:
    def answer(request: httpx.Request) -> httpx.Response:
        data = [result_document(index) for index in range(30)]
        return httpx.Response(200, json=whole(ResultPage, {"data": data}))

    shown = Promptmill(transport=httpx.MockTransport(answer)).results("b")._repr_html_()

    assert "answer 19" in shown
    assert "answer 20" not in shown
    assert "The first 20; to_pandas() has all of them." in shown
    async with AsyncPromptmill(transport=httpx.MockTransport(answer)) as client:
        assert not hasattr(client.results("b"), "_repr_html_")


def test_a_failure_is_red_and_no_results_are_told() -> None:
    failed = result_document(0, success=False, status="failed", error="no", response=None)
    shown = Result.model_validate(failed)._repr_html_()

    assert re.search(r"color:#d32f2f[^<]*>[^<]*no</td>", shown)
    assert "No results yet." in notebook.results([])
