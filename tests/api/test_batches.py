"""A batch over HTTP: submitted, read, waited for, listed, cancelled, deleted."""

from __future__ import annotations

import json
import re

import pytest

from promptmill.api.schemas.requests import BatchRequest, PromptObject
from promptmill.domain.limits import Limits
from promptmill.services import batches
from promptmill.worker.runner import working

MISSING = "batch_0123456789abcdefghjkmnpqrs"
TIME = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z")


async def test_a_batch_is_accepted_with_its_defaults_and_where_to_find_it(service) -> None:
    response = await service.post({"prompts": ["a", "b"]})

    assert response.status_code == 202
    batch = response.json()
    assert response.headers["location"] == f"/batches/{batch['id']}"
    assert TIME.fullmatch(batch.pop("created_at"))
    assert re.fullmatch(r"batch_[0-9a-z]{26}", batch.pop("id"))
    assert list(batch.items()) == [
        ("object", "batch"),
        ("status", "queued"),
        ("model", "qwen3:8b"),
        ("kind", "generate"),
        ("max_concurrent", 5),
        ("auto_concurrency", False),
        ("rate_limit_delay", 0.1),
        ("priority", 0),
        ("label", None),
        ("metadata", {}),
        (
            "counts",
            {
                "total": 2,
                "pending": 2,
                "running": 0,
                "succeeded": 0,
                "failed": 0,
                "cancelled": 0,
                "expired": 0,
            },
        ),
        ("progress", 0.0),
        ("prompts_per_s", None),
        ("eta_s", None),
        ("queue_position", 1),
        ("waiting_for", None),
        ("usage", {"prompt_tokens": 0, "completion_tokens": 0}),
        ("started_at", None),
        ("finished_at", None),
        ("expires_at", None),
        ("error", None),
        ("timeout_s", 300.0),
        ("max_attempts", 3),
        ("max_failures", None),
        ("fail_on", ["empty", "invalid_json", "schema_mismatch"]),
        ("auto_pull", False),
        ("pulls", []),
        ("key", None),
        ("parameters", {}),
        ("results", []),
        ("next_cursor", None),
        ("unchecked", []),
    ]


async def test_what_was_sent_is_given_back(service) -> None:
    sent = {
        "model": "llama3.2:3b",
        "max_concurrent": 256,
        "rate_limit_delay": 0,
        "priority": -100,
        "timeout_s": 1,
        "max_attempts": 20,
        "fail_on": ["truncated", "empty"],
        "auto_pull": True,
        "metadata": {"project": "gsm8k", "ключ": "значение 😀"},
    }
    parameters = {
        "system": "Be brief.",
        "options": {"temperature": 0, "stop": ["\n"], "num_ctx": 4096},
        "format": {"type": "object", "properties": {"a": {"type": "integer"}}},
        "keep_alive": "1h30m",
        "think": "low",
        "images": ["iVBORw0KGgo="],
        "truncate": False,
        "shift": True,
        "logprobs": True,
        "top_logprobs": 20,
        "suffix": "end",
        "template": "{{ .Prompt }}",
        "raw": False,
    }

    accepted = (await service.post({"prompts": ["a"], **sent, **parameters})).json()
    read = (await service.client.get(f"/batches/{accepted['id']}")).json()

    # No worker lives here, which is told from the second second on.
    assert accepted == {**read, "waiting_for": None, "unchecked": []}
    assert {name: read[name] for name in sent} == sent
    assert read["parameters"] == parameters


async def test_null_for_a_field_of_ollama_is_as_if_it_had_been_left_out(service) -> None:
    batch = (
        await service.post({"prompts": ["a"], "model": None, "system": None, "format": ""})
    ).json()

    assert (batch["model"], batch["parameters"]) == ("qwen3:8b", {})


async def test_null_is_as_if_the_field_had_been_left_out(
    service, subtests: pytest.Subtests
) -> None:
    for name in sorted(set(BatchRequest.model_fields) - {"prompts"}):
        with subtests.test(name=name):
            own = {"id", "created_at", "queue_position"}
            without, with_null = [
                (await service.post({"prompts": ["a"], **fields})).json()
                for fields in ({}, {name: None})
            ]

            assert {k: v for k, v in with_null.items() if k not in own} == {
                k: v for k, v in without.items() if k not in own
            }


async def test_nulls_inside_prompts_messages_and_options_are_left_out_too(service) -> None:
    message = {"role": "user", "content": "Hi", "images": None, "tool_calls": None}
    prompt = dict.fromkeys(PromptObject.model_fields)

    batch = await service.finished(
        {
            "prompts": [{**prompt, "prompt": "a"}, {**prompt, "messages": [message]}],
            "options": {"seed": 1, "num_ctx": None, "stop": None},
            "rate_limit_delay": 0,
        }
    )

    assert [result["response"] for result in batch["results"]] == ["A", "HI"]
    assert batch["parameters"] == {"options": {"seed": 1}}


async def test_whole_numbers_may_be_written_as_fractions(service) -> None:
    options = {"seed": 5.0, "num_ctx": 2e3, "temperature": 1.0}
    batch = (
        await service.post(
            {
                "prompts": ["a"],
                "max_concurrent": 3.0,
                "max_attempts": 2.0,
                "priority": -1.0,
                "max_failures": 4.0,
                "top_logprobs": 5.0,
                "keep_alive": 60.0,
                "options": options,
            }
        )
    ).json()

    whole = [batch[name] for name in ("max_concurrent", "max_attempts", "priority", "max_failures")]
    assert whole == [3, 2, -1, 4]
    assert batch["parameters"] == {"top_logprobs": 5, "keep_alive": 60, "options": options}
    written = json.dumps([*whole, batch["parameters"]["top_logprobs"], batch["parameters"]])
    assert ".0" not in written.replace('"temperature": 1.0', "")


async def test_the_default_model_is_a_setting(open_service) -> None:
    service = await open_service(default_model="gemma3:4b")

    assert (await service.post({"prompts": ["a"]})).json()["model"] == "gemma3:4b"


async def test_prompts_may_be_texts_objects_and_chats_each_with_fields_of_its_own(service) -> None:
    batch = await service.finished(
        {
            "prompts": [
                "plain",
                {"prompt": "object", "id": "o", "model": "llama3.2:3b", "options": {"seed": 1}},
                {
                    "id": "c",
                    "messages": [
                        {"role": "user", "content": "first"},
                        {"role": "assistant", "content": "answer"},
                        {"role": "user", "content": "last"},
                    ],
                },
                "Ünïcode 😀 \u2028 \ufffe",
            ],
            "rate_limit_delay": 0,
        }
    )

    assert [
        (one["index"], one["id"], one["prompt"], one["model"], one["response"], one["success"])
        for one in batch["results"]
    ] == [
        (0, None, "plain", "qwen3:8b", "PLAIN", True),
        (1, "o", "object", "llama3.2:3b", "OBJECT", True),
        (2, "c", "last", "qwen3:8b", "LAST", True),
        (3, None, "Ünïcode 😀 \u2028 \ufffe", "qwen3:8b", "ÜNÏCODE 😀 \u2028 \ufffe", True),
    ]
    assert batch["status"] == "completed"
    assert batch["progress"] == 1
    assert batch["usage"] == {"prompt_tokens": 44, "completion_tokens": 80}


async def test_a_batch_can_be_polled_without_its_results(service) -> None:
    batch = await service.finished({"prompts": ["a", "b"], "rate_limit_delay": 0})

    polled = (await service.client.get(f"/batches/{batch['id']}?limit=0")).json()

    assert polled == {**batch, "results": [], "next_cursor": None}


async def test_the_embedded_results_lead_on_to_the_next_page(service) -> None:
    batch = await service.finished({"prompts": ["a", "b", "c"], "rate_limit_delay": 0})

    first = (await service.client.get(f"/batches/{batch['id']}?limit=2")).json()
    rest = (
        await service.client.get(
            f"/batches/{batch['id']}/results", params={"cursor": first["next_cursor"]}
        )
    ).json()

    assert first["results"] + rest["data"] == batch["results"]
    assert rest["next_cursor"] is None


async def test_waiting_ends_with_the_batch_or_with_the_time_given(service) -> None:
    batch = (await service.post({"prompts": ["a"]})).json()

    early = await service.client.get(f"/batches/{batch['id']}?wait_s=0.1")
    async with working(service.resources):
        late = await service.client.get(f"/batches/{batch['id']}?wait_s=300")

    assert early.json()["status"] == "queued"
    assert late.json()["status"] == "completed"


async def test_the_same_key_and_body_give_the_same_batch_again(service) -> None:
    body = {"prompts": ["a"]}

    first = await service.post(body, Idempotency_Key="k-1")
    again = await service.post(body, Idempotency_Key="k-1")
    other = await service.post(body, Idempotency_Key="k-2")

    assert "idempotent-replayed" not in first.headers
    assert (again.status_code, again.json()) == (202, first.json())
    assert again.headers["idempotent-replayed"] == "true"
    assert again.headers["location"] == first.headers["location"]
    assert other.json()["id"] != first.json()["id"]
    assert len(await service.stored()) == 2


async def test_the_same_key_with_another_body_is_refused_and_nothing_is_stored(service) -> None:
    first = await service.post({"prompts": ["a"]}, Idempotency_Key="k-1")

    refused = await service.post({"prompts": ["b"]}, Idempotency_Key="k-1")

    assert refused.status_code == 422
    assert "Idempotency-Key" in refused.json()["detail"]
    assert [batch["id"] for batch in await service.stored()] == [first.json()["id"]]


async def test_batches_are_listed_newest_first_in_pages(service) -> None:
    ids = [(await service.post({"prompts": ["a"]})).json()["id"] for _ in range(5)]

    pages, cursor = [], None
    while True:
        params = {"limit": 2} | ({"cursor": cursor} if cursor else {})
        page = (await service.client.get("/batches", params=params)).json()
        pages.append([batch["id"] for batch in page["data"]])
        if (cursor := page["next_cursor"]) is None:
            break

    assert pages == [[ids[4], ids[3]], [ids[2], ids[1]], [ids[0]]]
    assert "results" not in page["data"][0]


async def test_batches_are_filtered_by_status_model_and_metadata(service) -> None:
    async def post(**fields: object) -> str:
        return (await service.post({"prompts": ["a"], **fields})).json()["id"]

    plain = await post()
    tagged = await post(metadata={"project": "a b", "dotted.name": 'quo"ted'})
    llama = await post(model="llama3.2:3b", metadata={"project": "a b"})

    async def found(**params: str) -> list[str]:
        page = (await service.client.get("/batches", params=params)).json()
        return [batch["id"] for batch in page["data"]]

    assert await found(status="queued") == [llama, tagged, plain]
    assert await found(status="completed") == []
    assert await found(model="llama3.2:3b") == [llama]
    assert await found(**{"metadata.project": "a b"}) == [llama, tagged]
    assert await found(**{"metadata.project": "a b", "model": "qwen3:8b"}) == [tagged]
    assert await found(**{"metadata.dotted.name": 'quo"ted'}) == [tagged]
    assert await found(**{"metadata.project": "a b", "metadata.dotted.name": "x"}) == []


async def test_metadata_of_any_name_can_be_filtered_by(service) -> None:
    names = ["a.b", 'quo"te', "back\\slash", "$", "[0]", "sp ace", "ключ", "'", "%", "*", "0"]

    for name in names:
        batch = (await service.post({"prompts": ["a"], "metadata": {name: "v"}})).json()
        page = (await service.client.get("/batches", params={f"metadata.{name}": "v"})).json()

        assert [one["id"] for one in page["data"]] == [batch["id"]], name


async def test_a_batch_is_cancelled_and_says_so_again_when_asked_again(service) -> None:
    batch = (await service.post({"prompts": ["a"] * 3})).json()

    first = await service.client.post(f"/batches/{batch['id']}/cancel")
    again = await service.client.post(f"/batches/{batch['id']}/cancel")
    async with working(service.resources):
        ended = await service.client.get(f"/batches/{batch['id']}?wait_s=30")

    assert (first.status_code, first.json()["status"]) == (202, "cancelling")
    assert (again.status_code, again.json()["status"]) == (202, "cancelling")
    assert ended.json()["status"] == "cancelled"
    assert ended.json()["counts"]["cancelled"] == 3
    assert {one["error_code"] for one in ended.json()["results"]} == {"cancelled"}


async def test_an_ended_batch_cannot_be_cancelled(service) -> None:
    batch = await service.finished({"prompts": ["a"]})

    response = await service.client.post(f"/batches/{batch['id']}/cancel")

    assert response.status_code == 409
    assert response.json()["type"] == "/problems/conflict"


async def test_an_ended_batch_is_deleted_and_a_live_one_is_not(service) -> None:
    ended = await service.finished({"prompts": ["a"]})
    live = (await service.post({"prompts": ["a"]})).json()

    refused = await service.client.delete(f"/batches/{live['id']}")
    deleted = await service.client.delete(f"/batches/{ended['id']}")

    assert refused.status_code == 409
    assert (deleted.status_code, deleted.content) == (204, b"")
    assert (await service.client.get(f"/batches/{ended['id']}")).status_code == 404
    assert [batch["id"] for batch in await service.stored()] == [live["id"]]


async def test_an_id_that_there_is_not_is_not_found_by_any_method(service) -> None:
    for batch_id in (MISSING, "batch_x", "nonsense", "batch_%00", "batch_" + "x" * 3000, "BATCH_1"):
        path = f"/batches/{batch_id}"
        answers = [
            await service.client.get(path),
            await service.client.get(f"{path}/results"),
            await service.client.get(f"{path}/results?format=csv"),
            await service.client.post(f"{path}/cancel"),
            await service.client.delete(path),
        ]

        assert {answer.status_code for answer in answers} == {404}
        assert {answer.json()["type"] for answer in answers} == {"/problems/not-found"}


async def test_a_drafts_limits_and_text_reach_the_store_unchanged(service) -> None:
    text = "  leading and trailing space\r\n\t"
    batch = (
        await service.post({"prompts": [text], "rate_limit_delay": 0.25, "max_concurrent": 1})
    ).json()

    stored = await batches.get(service.resources, batch["id"])
    assert stored.limits == Limits(max_concurrent=1, rate_limit_delay_s=0.25)
    async with working(service.resources):
        read = await service.client.get(f"/batches/{batch['id']}?wait_s=30")
    assert read.json()["results"][0]["prompt"] == text


async def test_the_system_message_of_the_batch_begins_a_chat_that_has_none(open_service) -> None:
    asked: list[bytes] = []

    def remember(request):
        from tests.api.conftest import answer_as_ollama

        if request.url.path == "/api/chat":
            asked.append(request.content)
        return answer_as_ollama(request)

    service = await open_service(remember)
    await service.finished(
        {
            "system": "Be brief.",
            "prompts": [
                {"messages": [{"role": "user", "content": "hi"}]},
                {
                    "messages": [
                        {"role": "system", "content": "Be long."},
                        {"role": "user", "content": "hi"},
                    ]
                },
                {"messages": [{"role": "user", "content": "hi"}], "system": "Be kind."},
            ],
            "rate_limit_delay": 0,
            "max_concurrent": 1,
        }
    )

    import json

    chats = [json.loads(body)["messages"] for body in asked]
    assert [chat[0] for chat in chats] == [
        {"role": "system", "content": system} for system in ("Be brief.", "Be long.", "Be kind.")
    ]
    assert {len(chat) for chat in chats} == {2}


async def test_a_full_queue_refuses_a_batch_says_when_to_come_back_and_stores_nothing(
    open_service,
) -> None:
    service = await open_service(max_queued_prompts=3)
    first = await service.post({"prompts": ["a", "b"]}, Idempotency_Key="k")

    full = await service.post({"prompts": ["c", "d"]})
    again = await service.post({"prompts": ["a", "b"]}, Idempotency_Key="k")

    assert full.status_code == 429
    assert full.json()["type"] == "/problems/limit-exceeded"
    assert "2 prompts have no outcome yet and 3 may" in full.json()["detail"]
    assert int(full.headers["Retry-After"]) > 0
    assert [batch["id"] for batch in await service.stored()] == [first.json()["id"]]
    assert again.json()["id"] == first.json()["id"]

    async with working(service.resources):
        await service.client.get(f"/batches/{first.json()['id']}?wait_s=30")
    assert (await service.post({"prompts": ["c", "d"]})).status_code == 202


# --- labels ----------------------------------------------------------------------------------


async def test_batches_are_found_by_their_label(service) -> None:
    first, second = [
        (await service.post({"prompts": ["x"], "model": "qwen3:8b", "label": "nightly"})).json()
        for _ in range(2)
    ]
    await service.post({"prompts": ["x"], "model": "qwen3:8b", "label": "nightly 2"})
    await service.post({"prompts": ["x"], "model": "qwen3:8b"})

    listed = (await service.client.get("/batches", params={"label": "nightly"})).json()["data"]

    assert [one["id"] for one in listed] == [second["id"], first["id"]]
    assert {one["label"] for one in listed} == {"nightly"}


async def test_a_batch_of_lines_has_its_label_from_the_query(service) -> None:
    answer = await service.client.post(
        "/batches",
        params={"label": "5", "model": "qwen3:8b"},
        content=b'"x"\n',
        headers={"content-type": "application/x-ndjson"},
    )
    assert answer.json()["label"] == "5"


async def test_a_label_that_is_no_short_text_is_refused(service, subtests: pytest.Subtests) -> None:
    for label in ["", "x" * 201, 5, ["a"], "a\0"]:
        with subtests.test(label=label):
            answer = await service.post({"prompts": ["x"], "model": "qwen3:8b", "label": label})
            assert answer.status_code == 422
            assert answer.json()["errors"][0]["pointer"] == "/label"
