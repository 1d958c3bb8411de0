"""A batch that is steered over HTTP: paused, resumed, changed, run again, given a deadline."""

from __future__ import annotations

from typing import Any, get_args

import httpx
import pytest

from promptmill.contract.reading import HistoryWord
from promptmill.domain.lifecycle import JobState
from promptmill.domain.limits import Limits
from promptmill.domain.reading import HistoryEvent
from promptmill.services import batches
from promptmill.worker.runner import working
from tests.api.refused_bodies import NUMBER_OR_AUTO

MISSING = "batch_0123456789abcdefghjkmnpqrs"
FINE: dict[str, Any] = {"prompts": ["a", "b", "c"], "rate_limit_delay": 0}


async def post(service, batch_id: str, verb: str, body: object = None) -> httpx.Response:
    """One of the requests that steer a batch; without a body unless there is one."""
    path = f"/batches/{batch_id}/{verb}"
    if body is None:
        return await service.client.post(path)
    return await service.client.post(path, json=body)


async def submitted(service, **fields: object) -> str:
    response = await service.post({**FINE, **fields})
    assert response.status_code == 202, response.text
    return response.json()["id"]


async def ended(service, batch_id: str) -> dict[str, Any]:
    async with working(service.resources):
        response = await service.client.get(f"/batches/{batch_id}?wait_s=30")
    batch = response.json()
    assert batch["finished_at"], batch
    return batch


# --- pause and resume ------------------------------------------------------------------------


async def test_a_batch_is_paused_and_resumed_and_each_says_how_it_stands(service) -> None:
    batch_id = await submitted(service)

    paused = await post(service, batch_id, "pause")
    again = await post(service, batch_id, "pause")
    listed = await service.client.get("/batches?status=paused")
    resumed = await post(service, batch_id, "resume")

    assert (paused.status_code, paused.json()["status"]) == (202, "paused")
    assert (again.status_code, again.json()) == (202, paused.json())
    assert [one["id"] for one in listed.json()["data"]] == [batch_id]
    assert (resumed.status_code, resumed.json()["status"]) == (202, "queued")
    assert (await ended(service, batch_id))["status"] == "completed"


async def test_a_paused_batch_has_no_place_in_the_queue_and_no_end_in_sight(service) -> None:
    batch_id = await submitted(service)

    paused = (await post(service, batch_id, "pause")).json()

    assert (paused["queue_position"], paused["eta_s"]) == (None, None)


@pytest.mark.parametrize(
    ("verb", "reason"),
    [("pause", "completed and cannot be paused"), ("resume", "only a paused one can be resumed")],
)
async def test_an_ended_batch_is_neither_paused_nor_resumed(service, verb, reason) -> None:
    batch = await service.finished(FINE)

    response = await post(service, batch["id"], verb)

    assert response.status_code == 409
    assert response.json()["type"] == "/problems/conflict"
    assert reason in response.json()["detail"]


@pytest.mark.parametrize("verb", ["pause", "resume", "retry"])
async def test_what_is_not_there_cannot_be_steered(service, verb) -> None:
    for batch_id in (MISSING, "nonsense", "batch_%00"):
        answers = [
            await post(service, batch_id, verb),
            await service.client.patch(f"/batches/{batch_id}", json={"priority": 1}),
        ]

        assert {answer.status_code for answer in answers} == {404}
        assert {answer.json()["type"] for answer in answers} == {"/problems/not-found"}


async def test_a_query_parameter_of_a_steering_request_is_refused(service) -> None:
    batch_id = await submitted(service)
    path = f"/batches/{batch_id}"

    answers = [
        await service.client.post(f"{path}/pause?x=1"),
        await service.client.post(f"{path}/resume?x=1"),
        await service.client.post(f"{path}/retry?indexes=1"),
        await service.client.patch(f"{path}?priority=1", json={"priority": 2}),
    ]

    assert [answer.status_code for answer in answers] == [422] * 4
    stored = await batches.get(service.resources, batch_id)
    assert (stored.state, stored.priority) == (JobState.QUEUED, 0)


# --- changes ---------------------------------------------------------------------------------


async def test_limits_priority_and_metadata_are_changed_and_nothing_else(service) -> None:
    batch_id = await submitted(service, metadata={"a": "1"})
    before = (await service.client.get(f"/batches/{batch_id}")).json()
    changes = {
        "max_concurrent": 256,
        "rate_limit_delay": 0.25,
        "priority": -100,
        "label": "ключ 😀",
        "metadata": {"ключ": "😀"},
    }

    response = await service.client.patch(f"/batches/{batch_id}", json=changes)

    assert response.status_code == 200
    assert response.json() == {**before, **changes}
    assert (await service.client.get(f"/batches/{batch_id}")).json() == response.json()


CHANGES = [
    ("max_concurrent", 1),
    ("rate_limit_delay", 0),
    ("priority", 100),
    ("label", "x" * 200),
    ("metadata", {}),
]


@pytest.mark.parametrize(("name", "value"), CHANGES)
async def test_one_field_alone_is_changed_and_the_others_stay(service, name, value) -> None:
    batch_id = await submitted(service, metadata={"a": "1"}, priority=3, rate_limit_delay=1)
    before = (await service.client.get(f"/batches/{batch_id}")).json()

    changed = (await service.client.patch(f"/batches/{batch_id}", json={name: value})).json()

    assert changed == {**before, name: value}


async def test_an_ended_batch_can_still_be_given_other_metadata(service) -> None:
    batch = await service.finished(FINE)

    changed = await service.client.patch(
        f"/batches/{batch['id']}", json={"metadata": {"seen": "yes"}}
    )

    assert (changed.status_code, changed.json()["metadata"]) == (200, {"seen": "yes"})
    assert changed.json()["status"] == "completed"


# --- retry -----------------------------------------------------------------------------------


async def with_a_failure(service) -> dict[str, Any]:
    """A batch whose second prompt failed."""
    batch = await service.finished(
        {**FINE, "prompts": ["a", {"prompt": "b", "model": "missing"}, "c"]}
    )
    assert batch["counts"]["failed"] == 1
    return batch


@pytest.mark.parametrize("body", [None, {}, {"indexes": [1]}])
async def test_a_retry_runs_again_what_had_no_success(service, body) -> None:
    batch = await with_a_failure(service)

    response = await post(service, batch["id"], "retry", body)

    assert response.status_code == 202
    again = response.json()
    assert (again["status"], again["finished_at"]) == ("running", None)
    assert (again["counts"]["pending"], again["counts"]["failed"]) == (1, 0)
    assert (await ended(service, batch["id"]))["counts"]["failed"] == 1


async def test_an_empty_body_of_whatever_type_is_no_body(service) -> None:
    batch = await with_a_failure(service)

    async def nothing():
        yield b""

    response = await service.client.post(
        f"/batches/{batch['id']}/retry", content=nothing(), headers={"Content-Type": "text/plain"}
    )

    assert response.status_code == 202


async def test_a_retry_may_give_a_new_deadline(service) -> None:
    batch = await with_a_failure(service)

    again = (await post(service, batch["id"], "retry", {"expires_in_s": 3600})).json()

    stored = await batches.get(service.resources, batch["id"])
    assert stored.expires_at_ms is not None
    assert again["expires_at"] is not None
    assert 3590_000 < stored.expires_at_ms - stored.read_at_ms <= 3600_000


async def test_where_nothing_failed_there_is_nothing_to_retry(service) -> None:
    batch = await service.finished(FINE)

    response = await post(service, batch["id"], "retry")

    assert response.status_code == 409
    assert "no prompt that failed" in response.json()["detail"]
    assert (await service.client.get(f"/batches/{batch['id']}")).json() == batch


async def test_of_chosen_prompts_each_that_cannot_run_again_is_named_and_none_is_queued(
    service,
) -> None:
    batch = await with_a_failure(service)

    response = await post(service, batch["id"], "retry", {"indexes": [1, 0, 3, 2**32 - 1]})

    assert response.status_code == 422
    assert response.json()["errors"] == [
        {
            "pointer": "/indexes/1",
            "detail": "prompt 0 has not failed, been cancelled or expired; leave it out",
        },
        {"pointer": "/indexes/2", "detail": "the batch has prompts 0 to 2"},
        {"pointer": "/indexes/3", "detail": "the batch has prompts 0 to 2"},
    ]
    assert (await service.client.get(f"/batches/{batch['id']}")).json() == batch


async def test_as_many_indexes_as_allowed_are_read(service) -> None:
    batch = await with_a_failure(service)

    most = await post(service, batch["id"], "retry", {"indexes": list(range(100_000))})
    more = await post(service, batch["id"], "retry", {"indexes": list(range(100_001))})

    assert len(most.json()["errors"]) == 100
    assert most.json()["errors"][0]["pointer"] == "/indexes/0"
    assert more.json()["errors"] == [
        {"pointer": "/indexes", "detail": "has 100001 entries; at most 100000 are accepted"}
    ]


# --- what cannot be accepted -----------------------------------------------------------------

_NUL = "must not contain NUL characters (\\u0000); remove them"
_FIXED = (
    "cannot be changed any more; only `max_concurrent`, `rate_limit_delay`, `priority`, `label` and"
    " `metadata` can"
)
_NO_CHANGE = (
    "must have at least one of `max_concurrent`, `rate_limit_delay`, `priority`, `label` and"
    " `metadata`"
)

NO_CHANGE: dict[str, tuple[object, list[tuple[str, str]]]] = {
    "no object": ([1], [("", "must be an object")]),
    "a word": ("x", [("", "must be an object")]),
    "null": (b"null", [("", "must be an object")]),
    "nothing to change": (
        {},
        [("", _NO_CHANGE)],
    ),
    "a typo": (
        {"max_concurent": 3},
        [("/max_concurent", "unknown field; did you mean `max_concurrent`?")],
    ),
    "an unknown field": ({"colour": "blue"}, [("/colour", "unknown field; leave it out")]),
    "what is fixed": (
        {"model": "x", "prompts": ["a"], "expires_in_s": 5, "priority": 1},
        [("/model", _FIXED), ("/prompts", _FIXED), ("/expires_in_s", _FIXED)],
    ),
    "nulls alone": (
        {"max_concurrent": None, "rate_limit_delay": None, "priority": None, "metadata": None},
        [("", _NO_CHANGE)],
    ),
    "beyond the bounds": (
        {"max_concurrent": 0, "rate_limit_delay": 3600.1, "priority": 101},
        [
            ("/max_concurrent", NUMBER_OR_AUTO),
            ("/rate_limit_delay", "must be at most 3600"),
            ("/priority", "must be at most 100"),
        ],
    ),
    "wrong types": (
        {"max_concurrent": "5", "rate_limit_delay": True, "priority": 1.5, "metadata": ["a"]},
        [
            ("/max_concurrent", NUMBER_OR_AUTO),
            ("/rate_limit_delay", "must be a number"),
            ("/priority", "must be a whole number"),
            ("/metadata", "must be an object"),
        ],
    ),
    "a number too large": (
        b'{"rate_limit_delay": 1e999}',
        [("/rate_limit_delay", "must be a finite number; this one is too large for a float")],
    ),
    "wrong metadata": (
        {"metadata": {"a": 1, "b": None, "": "x", "c": "\0", "d": "x" * 513}},
        [
            ("/metadata/c", _NUL),
        ],
    ),
    "metadata of wrong types": (
        {"metadata": {"a": 1, "b": None, "": "x", "d": "x" * 513}},
        [
            ("/metadata/a", "must be a string"),
            ("/metadata/b", "must be a string"),
            ("/metadata/", "must not be empty"),
            ("/metadata/d", "must have at most 512 characters"),
        ],
    ),
    "names twice": (
        b'{"priority": 1, "priority": 2, "metadata": {"a": "1", "a": "2"}}',
        [
            ("/priority", "is given twice; give it once"),
            ("/metadata", "has the name `a` twice in one object; give it once"),
        ],
    ),
    "a null twice": (
        b'{"priority": null, "priority": 1}',
        [("/priority", "is given twice; give it once")],
    ),
}


async def patch(service, batch_id: str, body: object, **headers: str) -> httpx.Response:
    """PATCH with bytes as they are, or anything else as JSON."""
    names = {"Content-Type": "application/json"} | {
        name.replace("_", "-"): value for name, value in headers.items()
    }
    path = f"/batches/{batch_id}"
    if isinstance(body, bytes):
        return await service.client.patch(path, content=body, headers=names)
    return await service.client.patch(path, json=body, headers=names)


async def stored_fields(service, batch_id: str) -> dict[str, Any]:
    """Return the document of a batch without what follows the time (`eta_s`, `waiting_for`)."""
    document = (await service.client.get(f"/batches/{batch_id}")).json()
    return {name: value for name, value in document.items() if name not in {"eta_s", "waiting_for"}}


async def test_a_wrong_change_names_every_wrong_entry_and_changes_nothing(
    service, subtests: pytest.Subtests
) -> None:
    for case, (body, errors) in NO_CHANGE.items():
        with subtests.test(case):
            batch_id = await submitted(service)
            before = await stored_fields(service, batch_id)

            response = await patch(service, batch_id, body)

            assert response.status_code == 422, response.text
            problem = response.json()
            assert problem["type"] == "/problems/invalid-request"
            assert {(one["pointer"], one["detail"]) for one in problem["errors"]} == set(errors)
            assert await stored_fields(service, batch_id) == before


_WHOLE = "must be a whole number"
_LIFE = "must be at most 31536000"
NO_RETRY: dict[str, tuple[object, list[tuple[str, str]]]] = {
    "no object": ([1], [("", "must be an object")]),
    "no list": ({"indexes": "all"}, [("/indexes", "must be a list of whole numbers")]),
    "no index": (
        {"indexes": []},
        [
            (
                "/indexes",
                "must not be empty; leave it out to run all again that had no success",
            )
        ],
    ),
    "no indexes": (
        {"indexes": [0, "1", 1.5, True, None, -1, 2**32]},
        [
            *((f"/indexes/{place}", _WHOLE) for place in (1, 2, 3, 4)),
            *((f"/indexes/{place}", "must be from 0 to 4294967295") for place in (5, 6)),
        ],
    ),
    "an index twice": (
        {"indexes": [4, 1, 4]},
        [("/indexes/2", "is already given in place 0")],
    ),
    "no time": ({"expires_in_s": 0}, [("/expires_in_s", "must be more than 0")]),
    "more than a year": ({"expires_in_s": 31_536_000.1}, [("/expires_in_s", _LIFE)]),
    "a typo": ({"index": [1]}, [("/index", "unknown field; did you mean `indexes`?")]),
    "everything at once": (
        {"indexes": [0, 0], "expires_in_s": "1h", "x": 1},
        [
            ("/indexes/1", "is already given in place 0"),
            ("/expires_in_s", "must be a number"),
            ("/x", "unknown field; leave it out"),
        ],
    ),
}


async def test_a_wrong_retry_names_every_wrong_entry_and_queues_nothing(
    service, subtests: pytest.Subtests
) -> None:
    for case, (body, errors) in NO_RETRY.items():
        with subtests.test(case):
            batch = await with_a_failure(service)

            response = await post(service, batch["id"], "retry", body)

            assert response.status_code == 422, response.text
            problem = response.json()
            assert {(one["pointer"], one["detail"]) for one in problem["errors"]} == set(errors)
            assert (await service.client.get(f"/batches/{batch['id']}")).json() == batch


NO_JSON = [
    (b"", "The body is empty"),
    (b"priority=1", "Expecting value at line 1 column 1."),
    (b'{"priority": 1', "at line 1 column 15."),
    (b'{"priority": 1,}', "Illegal trailing comma"),
    (b'{"priority": 1} 2', "Extra data"),
    (b'{"rate_limit_delay": NaN}', "NaN is no JSON number"),
    (b'{"metadata": {"a": "\xff"}}', "not UTF-8"),
    (b'{"metadata": ' + b'{"a":' * 200 + b"1" + b"}" * 201, "nested deeper"),
    (b'{"metadata": ' + b"[" * 100_000, "nested deeper"),
    (b'{"priority": ' + b"1" * 5000 + b"}", "digits"),
]


async def test_a_change_that_is_no_json_is_refused_with_the_reason(
    service, subtests: pytest.Subtests
) -> None:
    for body, reason in NO_JSON:
        with subtests.test(body=body):
            batch_id = await submitted(service)

            response = await patch(service, batch_id, body)

            assert response.status_code == 400, response.text
            assert response.json()["type"] == "/problems/malformed-json"
            assert reason in response.json()["detail"]


@pytest.mark.parametrize(
    "content_type", ["text/plain", "application/x-ndjson", "application/json; charset=latin-1", ""]
)
async def test_a_change_of_another_type_is_refused(service, content_type) -> None:
    batch_id = await submitted(service)

    responses = [
        await patch(service, batch_id, b'{"priority": 1}', Content_Type=content_type),
        await service.client.post(
            f"/batches/{batch_id}/retry", content=b"{}", headers={"Content-Type": content_type}
        ),
        await patch(service, batch_id, b'{"priority": 1}', Content_Encoding="gzip"),
    ]

    assert [response.status_code for response in responses] == [415] * 3
    assert (await batches.get(service.resources, batch_id)).priority == 0


async def test_a_change_of_more_than_a_mebibyte_is_refused_and_not_read_to_its_end(service) -> None:
    batch_id = await submitted(service)
    exact = b'{"priority": 1}'.ljust(1024 * 1024)
    sent = 0

    async def far_too_much():
        nonlocal sent
        for _ in range(100):
            sent += 1
            yield b" " * 100_000

    fits = await patch(service, batch_id, exact)
    declared = await patch(service, batch_id, exact + b" ")
    streamed = await service.client.patch(
        f"/batches/{batch_id}", content=far_too_much(), headers={"Content-Type": "application/json"}
    )

    assert fits.status_code == 200
    assert (declared.status_code, streamed.status_code) == (413, 413)
    assert "1048576 bytes" in streamed.json()["detail"]
    assert sent <= 12


# --- a deadline and a stop rule --------------------------------------------------------------


async def test_a_limit_of_failures_is_shown_as_it_was_sent(
    service, subtests: pytest.Subtests
) -> None:
    for limit in [0, 1_000_000_000, "20%", "0.5%", "100%", "0%", "99.99%", None]:
        with subtests.test(limit=limit):
            batch_id = await submitted(service, max_failures=limit)

            read = (await service.client.get(f"/batches/{batch_id}")).json()

            assert read["max_failures"] == limit
            assert type(read["max_failures"]) is type(limit)


async def test_a_deadline_is_shown_as_a_moment(service) -> None:
    batch_id = await submitted(service, expires_in_s=0.25)
    without = await submitted(service, expires_in_s=None)

    stored = await batches.get(service.resources, batch_id)
    read = (await service.client.get(f"/batches/{batch_id}")).json()

    assert stored.expires_at_ms == stored.created_at_ms + 250
    assert read["expires_at"].endswith("Z")
    assert read["expires_at"] > read["created_at"]
    assert (await service.client.get(f"/batches/{without}")).json()["expires_at"] is None


async def test_what_expires_is_listed_as_expired_batch_and_prompts(service) -> None:
    batch_id = await submitted(service, expires_in_s=0.001)

    batch = await ended(service, batch_id)
    listed = (await service.client.get("/batches?status=expired")).json()["data"]
    results = await service.client.get(f"/batches/{batch_id}/results?status=expired")

    assert (batch["status"], batch["counts"]["expired"]) == ("expired", 3)
    assert "Time ran out" in batch["error"]
    assert [one["id"] for one in listed] == [batch_id]
    assert [
        (one["status"], one["error_code"], one["success"]) for one in results.json()["data"]
    ] == [("expired", "expired", False)] * 3


async def test_a_batch_that_is_still_being_received_has_no_status_to_ask_for(service) -> None:
    response = await service.client.get("/batches?status=receiving")

    assert response.status_code == 422
    assert response.json()["errors"][0]["pointer"] == "/query/status"
    assert "receiving" not in response.json()["errors"][0]["detail"]


_RULE = (
    "must be a whole number from 0 to 1000000000, or a share from `0%` to `100%` with at most two"
    " decimals, such as `20%` or `0.5%`"
)


async def test_a_limit_of_failures_that_is_none_is_refused(
    service, subtests: pytest.Subtests
) -> None:
    for limit in [
        *(-1, 1_000_000_001, 1.5, True, [], {}, "", "20", "%", "20 %", " 20%", "20%\n", "-1%"),
        *("101%", "100.01%", "1.001%", "20.%", ".5%", "05%", "1e1%", "٢٠%", "20%%", "x" * 5000),
    ]:
        with subtests.test(limit=limit):
            response = await service.post({**FINE, "max_failures": limit})

            assert response.status_code == 422
            assert response.json()["errors"] == [{"pointer": "/max_failures", "detail": _RULE}]


NO_DEADLINES = [
    (0, "must be more than 0"),
    (-1, "must be more than 0"),
    (31_536_001, "must be at most 31536000"),
    ("60", "must be a number"),
    (True, "must be a number"),
]


async def test_a_deadline_that_is_none_is_refused(service, subtests: pytest.Subtests) -> None:
    for seconds, reason in NO_DEADLINES:
        with subtests.test(seconds=seconds):
            response = await service.post({**FINE, "expires_in_s": seconds})

            assert response.json()["errors"] == [{"pointer": "/expires_in_s", "detail": reason}]


async def test_lines_of_prompts_take_a_deadline_and_a_limit_of_failures_from_the_query(
    service,
) -> None:
    async def post_lines(query: str) -> httpx.Response:
        return await service.client.post(
            f"/batches?{query}",
            content=b'"a"\n"b"\n',
            headers={"Content-Type": "application/x-ndjson"},
        )

    share = (await post_lines("max_failures=20%25&expires_in_s=60")).json()
    count = (await post_lines("max_failures=3&expires_in_s=null")).json()
    wrong = await post_lines("max_failures=200%25&expires_in_s=0")

    assert (share["max_failures"], count["max_failures"]) == ("20%", 3)
    assert share["expires_at"] is not None
    assert count["expires_at"] is None
    assert {(one["pointer"], one["detail"]) for one in wrong.json()["errors"]} == {
        ("/query/max_failures", _RULE),
        ("/query/expires_in_s", "must be more than 0"),
    }


async def test_the_limits_that_a_batch_was_given_are_those_that_are_changed(service) -> None:
    batch_id = await submitted(service, rate_limit_delay=3600)

    await patch(service, batch_id, {"rate_limit_delay": 0, "max_concurrent": 7})

    stored = await batches.get(service.resources, batch_id)
    assert stored.limits == Limits(max_concurrent=7, rate_limit_delay_s=0)
    assert (await ended(service, batch_id))["status"] == "completed"


# --- history -----------------------------------------------------------------------------------


async def test_the_history_tells_each_change_once_and_what_it_was(service) -> None:
    batch_id = await submitted(service)
    for verb in ("pause", "pause", "resume"):
        await post(service, batch_id, verb)
    changes = {"max_concurrent": 2, "rate_limit_delay": 0, "metadata": {"name": "secret"}}
    await service.client.patch(f"/batches/{batch_id}", json=changes)
    await post(service, batch_id, "cancel")
    await post(service, batch_id, "cancel")
    batch = await ended(service, batch_id)
    await post(service, batch_id, "retry", {"indexes": [1]})

    answer = await service.client.get(f"/batches/{batch_id}/history")

    told = [(one["event"], one["status"], one["detail"]) for one in answer.json()["data"]]
    assert told == [
        ("created", "queued", None),
        ("paused", "paused", None),
        ("resumed", "queued", None),
        ("changed", "queued", "max_concurrent 2, rate_limit_delay 0 s, metadata"),
        ("cancel_requested", "cancelling", None),
        ("ended", "cancelled", None),
        ("retried", "queued", "1 prompt"),
    ]
    assert answer.json()["data"][5]["at"] == batch["finished_at"]
    assert {one["key"] for one in answer.json()["data"]} == {None}


async def test_the_history_names_the_key_of_each_request(open_service) -> None:
    first, second = "a-key-for-a-container-1", "a-key-for-a-container-2"
    service = await open_service(api_keys=f"ci={first},night={second}")
    by = {"Authorization": f"Bearer {first}"}
    other = {"Authorization": f"Bearer {second}"}
    batch_id = (await service.post(FINE, **by)).json()["id"]
    await service.client.post(f"/batches/{batch_id}/pause", headers=other)

    history = await service.client.get(f"/batches/{batch_id}/history", headers=by)

    assert [(one["event"], one["key"]) for one in history.json()["data"]] == [
        ("created", "ci"),
        ("paused", "night"),
    ]


async def test_a_batch_that_there_is_not_has_no_history(service) -> None:
    answer = await service.client.get(f"/batches/{MISSING}/history")
    assert answer.status_code == 404


def test_the_contract_has_every_event_of_the_history() -> None:
    assert set(get_args(HistoryWord)) == set(HistoryEvent)
