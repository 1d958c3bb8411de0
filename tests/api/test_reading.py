"""Filters of results, prompts without a result, summaries, and the service at a glance."""

from __future__ import annotations

import csv
import io
import json

import httpx

from promptmill.domain.lifecycle import TaskState
from tests.api.conftest import answer_as_ollama

CHAT = {"messages": [{"role": "user", "content": "Hi"}], "options": {"seed": 1}}


async def mixed(service) -> str:
    """A batch of which the second prompt fails."""
    prompts = ["one rainbow", {"prompt": "two", "model": "missing", "id": "second"}, CHAT]
    return (await service.finished({"model": "qwen3:8b", "prompts": prompts}))["id"]


async def results(service, batch_id: str, expected: int = 200, **query: object) -> dict:
    answer = await service.client.get(f"/batches/{batch_id}/results", params=query)
    assert answer.status_code == expected, answer.text
    return answer.json()


async def test_results_are_filtered_by_text_code_model_and_time(service) -> None:
    batch_id = await mixed(service)

    async def found(**query: object) -> list[int]:
        return [one["index"] for one in (await results(service, batch_id, **query))["data"]]

    assert await found(q="RAINBOW") == [0]
    assert await found(q="rainbow", **{"in": "error"}) == []
    assert await found(q="second", **{"in": "id"}) == [1]
    assert await found(error_code="model_not_found") == [1]
    assert await found(model="missing") == [1]
    assert await found(host="http://127.0.0.1:11434") == [0, 1, 2]
    assert await found(min_attempts=2) == []
    assert await found(max_latency_s=60, status="succeeded") == [0, 2]
    assert await found(min_latency_s=60) == []


async def test_a_page_says_how_far_the_search_came(service) -> None:
    page = await results(service, await mixed(service), q="nowhere")
    assert page == {"data": [], "next_cursor": None, "scanned": 3, "complete": True}


async def test_pages_of_a_search_follow_one_another(service) -> None:
    batch_id = await mixed(service)
    first = await results(service, batch_id, q="i", limit=1)
    second = await results(service, batch_id, q="i", limit=1, cursor=first["next_cursor"])
    assert [first["data"][0]["index"], second["data"][0]["index"]] == [0, 1]


async def test_a_preview_cuts_texts(service) -> None:
    page = await results(service, await mixed(service), preview=3)
    assert page["data"][0]["prompt"] == "one"


async def test_streams_take_the_filters(service) -> None:
    batch_id = await mixed(service)
    path = f"/batches/{batch_id}/results"
    text = (await service.client.get(path, params={"format": "ndjson", "q": "two"})).text
    assert [json.loads(line)["index"] for line in text.splitlines()] == [1]


async def test_csv_for_spreadsheets_holds_no_formula(service) -> None:
    batch = await service.finished({"model": "qwen3:8b", "prompts": ["=1+1", "plain"]})
    path = f"/batches/{batch['id']}/results"
    content = (
        await service.client.get(path, params={"format": "csv", "spreadsheet": "true"})
    ).content
    assert content.startswith(b"\xef\xbb\xbf")
    rows = list(csv.DictReader(io.StringIO(content.decode("utf-8-sig"))))
    assert [row["prompt"] for row in rows] == ["'=1+1", "plain"]


async def test_a_wrong_filter_is_named(service) -> None:
    problem = await results(service, await mixed(service), expected=422, error_cod="timeout")
    assert problem["errors"][0]["pointer"] == "/query/error_cod"
    assert "error_code" in problem["errors"][0]["detail"]
    wrong = await results(service, await mixed(service), 422, error_code="tired")
    assert wrong["errors"][0]["pointer"] == "/query/error_code"


async def test_prompts_without_a_result_are_listed_by_their_state(service) -> None:
    batch_id = (await service.post({"prompts": ["a", {"prompt": "b", "id": "x"}]})).json()["id"]
    path = f"/batches/{batch_id}/prompts"
    assert (await service.client.get(path)).json() == {"data": [], "next_cursor": None}
    pending = (await service.client.get(path, params={"state": "pending"})).json()["data"]
    assert [(one["index"], one["id"], one["state"]) for one in pending] == [
        (0, None, "pending"),
        (1, "x", "pending"),
    ]
    assert (await service.client.get("/batches/batch_0/prompts")).status_code == 404


async def test_one_prompt_is_told_whole(service) -> None:
    batch_id = await mixed(service)
    prompt = (await service.client.get(f"/batches/{batch_id}/prompts/2")).json()
    assert prompt["overrides"] == CHAT
    assert prompt["state"] == TaskState.SUCCEEDED
    assert prompt["result"]["response"] == "HI"
    assert (await service.client.get(f"/batches/{batch_id}/prompts/3")).status_code == 404


async def test_a_summary_has_course_shares_and_causes(service) -> None:
    batch_id = await mixed(service)
    summary = (await service.client.get(f"/batches/{batch_id}/summary")).json()
    assert (summary["of"], summary["n"], summary["sampled"]) == (3, 3, False)
    assert summary["curve"][-1]["finished"] == 3
    assert summary["models"] == {"qwen3:8b": 2, "missing": 1}
    assert summary["latency_s"]["n"] == 2
    assert summary["latency_s"]["p99"] is None
    assert [(cause["error_code"], cause["prompts"]) for cause in summary["failures"]] == [
        ("model_not_found", 1)
    ]


async def test_the_glance_counts_what_waits_and_says_that_nobody_works(service) -> None:
    await service.post({"prompts": ["a", "b"]})
    stats = (await service.client.get("/stats")).json()
    assert (stats["pending"], stats["running"], stats["batches"]) == (2, 0, {"queued": 1})
    assert stats["longest_wait_s"] >= 0
    assert stats["hosts"][0]["reachable"]
    assert any("no worker is alive" in sentence for sentence in stats["needs_a_hand"])


async def test_a_glance_is_made_once_for_all_who_ask_within_a_second(open_service) -> None:
    from tests.api.conftest import answer_as_ollama

    asked: list[str] = []

    def counted(request):
        asked.append(request.url.path)
        return answer_as_ollama(request)

    service = await open_service(counted)
    for _ in range(5):
        await service.client.get("/stats")
    assert asked.count("/api/ps") == 1


async def test_throughput_is_told_by_model_and_host(service) -> None:
    await mixed(service)

    async def read(**query: str) -> dict:
        answer = await service.client.get("/stats/series", params=query)
        assert answer.status_code == 200, answer.text
        return answer.json()

    whole = await read(window="15m")
    assert (whole["window"], whole["by"], whole["bucket_s"]) == ("15m", "none", 60)
    (series,) = whole["data"]
    assert series["name"] is None
    assert len(series["points"]) == 15
    ended = [point for point in series["points"] if point["succeeded"] or point["failed"]]
    assert sum(point["succeeded"] for point in ended) == 2
    assert sum(point["failed"] for point in ended) == 1
    assert sum(point["completion_tokens"] for point in ended) == 40
    assert all(point["latency_s"] is None for point in series["points"] if not point["succeeded"])
    by_model = (await read(window="365d", by="model"))["data"]
    assert [one["name"] for one in by_model] == ["qwen3:8b", "missing"]
    by_host = (await read(by="host"))["data"]
    assert [one["name"] for one in by_host] == ["http://127.0.0.1:11434"]
    stats = (await service.client.get("/stats")).json()
    assert stats["last_hour"] == {
        "succeeded": 2,
        "failed": 1,
        "errors": {"model_not_found": 1},
    }
    assert (await service.client.get("/stats/series?window=2h")).status_code == 422


async def test_a_prompt_tells_of_its_earlier_attempts(open_service) -> None:
    calls: list[int] = []

    def fails_twice(request: httpx.Request) -> httpx.Response:
        if request.url.path == "/api/generate":
            calls.append(1)
            if len(calls) <= 2:
                return httpx.Response(500, json={"error": "out of luck"})
        return answer_as_ollama(request)

    service = await open_service(fails_twice, retry_base_s=0.01)
    batch = await service.finished({"model": "qwen3:8b", "prompts": ["one"], "max_attempts": 3})
    prompt = (await service.client.get(f"/batches/{batch['id']}/prompts/0")).json()
    assert prompt["result"]["attempts"] == 3
    earlier = prompt["earlier_attempts"]
    assert [(one["number"], one["charged"]) for one in earlier] == [(1, True), (2, True)]
    assert {one["error_code"] for one in earlier} == {"server_error"}
    assert "out of luck" in earlier[0]["error"]
    assert earlier[0]["started_at"] <= earlier[0]["ended_at"] <= earlier[1]["started_at"]


async def test_batches_are_found_by_text_and_by_the_time_of_their_acceptance(service) -> None:
    first = (await service.post({"prompts": ["a"], "label": "Colours of fish"})).json()
    second = (await service.post({"prompts": ["a"], "metadata": {"team": "colours"}})).json()
    third = (await service.post({"prompts": ["a"]})).json()

    async def found(**query: str) -> list[str]:
        answer = await service.client.get("/batches", params=query)
        assert answer.status_code == 200, answer.text
        return [one["id"] for one in answer.json()["data"]]

    assert await found(q="colours") == [second["id"], first["id"]]
    assert await found(q=third["id"][-8:]) == [third["id"]]
    assert await found(q="%") == []
    assert await found(created_after=first["created_at"], q="fish") == [first["id"]]
    assert await found(created_before=first["created_at"]) == []
    assert await found(created_after="2999-01-01T00:00:00Z") == []
    for text in ("yesterday", "0.5", "2026-11-23T00:00:00"):
        wrong = await service.client.get("/batches", params={"created_after": text})
        assert wrong.status_code == 422, text
        assert wrong.json()["errors"][0]["pointer"] == "/query/created_after"


async def test_pages_of_a_filtered_list_follow_one_another(service) -> None:
    ids = [(await service.post({"prompts": ["a"], "label": "x"})).json()["id"] for _ in range(3)]
    page = (await service.client.get("/batches?q=x&limit=2")).json()
    rest = (await service.client.get(f"/batches?q=x&cursor={page['next_cursor']}")).json()
    assert [one["id"] for one in page["data"] + rest["data"]] == ids[::-1]
    assert rest["next_cursor"] is None
