"""A batch as lines: stored while it arrives, there all at once or not at all."""

from __future__ import annotations

import asyncio
import json

import pytest
import sqlalchemy as sa

from promptmill.api import build_api
from promptmill.store.batches import jobs
from promptmill.store.db.tables.batches import id_range, index_of, job, prompt, task
from promptmill.worker.purger import Purger
from promptmill.worker.runner import working
from tests.api.refused_bodies import NOT_VALID, NUMBER_OR_AUTO

LINES = {"Content-Type": "application/x-ndjson"}


async def upload(service, body, headers=None, **query: str):
    """Submit lines: bytes as they are, anything else as a JSON value each."""
    if isinstance(body, list):
        body = "".join(json.dumps(one) + "\n" for one in body).encode()
    return await service.client.post(
        "/batches", params=query, content=body, headers={**LINES, **(headers or {})}
    )


def errors_of(response) -> list[tuple[str, str]]:
    assert response.status_code == 422, response.text
    return [(one["pointer"], one["detail"]) for one in response.json()["errors"]]


async def rows(service) -> dict[str, int]:
    """What is in the tables, hidden or not."""

    def count(tx) -> dict[str, int]:
        return {
            table.name: tx.execute(sa.select(sa.func.count()).select_from(table)).scalar_one()
            for table in (job, prompt, task)
        }

    return await service.resources.database.read(count)


async def purge(service) -> None:
    purger = Purger(service.resources.database)
    while await purger.run_once() == 0:
        pass


NOTHING = {"job": 0, "prompt": 0, "task": 0}


# --- what is accepted --------------------------------------------------------------------------


async def test_lines_become_the_same_batch_as_a_json_body_with_the_same_fields(service) -> None:
    prompts = [
        "Why?",
        {"id": "b", "prompt": "How?", "options": {"seed": 1}},
        {"messages": [{"role": "user", "content": "Hello!"}]},
    ]
    fields = {
        "model": "qwen3:8b",
        "system": "Be brief.",
        "max_concurrent": 3,
        "rate_limit_delay": 0,
        "timeout_s": 12.5,
        "max_attempts": 2,
        "priority": -7,
        "options": {"temperature": 0, "stop": ["\n"]},
        "keep_alive": "10m",
        "think": False,
        "format": {"type": "object"},
        "metadata": {"run": "7"},
    }
    as_json = (await service.post({"prompts": prompts, **fields})).json()
    query = {
        name: value if isinstance(value, str) else json.dumps(value)
        for name, value in fields.items()
    }

    response = await upload(service, prompts, **query)

    assert response.status_code == 202, response.text
    batch = response.json()
    assert response.headers["location"] == f"/batches/{batch['id']}"
    own = {"id", "created_at", "queue_position"}
    assert {k: v for k, v in batch.items() if k not in own} == {
        k: v for k, v in as_json.items() if k not in own
    }

    def stored(tx) -> list[list[tuple]]:
        keys = tx.execute(sa.select(job.c.key).order_by(job.c.key)).scalars().all()
        columns = (prompt.c.text, prompt.c.custom_id, prompt.c.overrides)
        return [
            [
                tuple(row)
                for row in tx.execute(
                    sa.select(*columns)
                    .where(prompt.c.id.between(*id_range(key)))
                    .order_by(prompt.c.id)
                )
            ]
            for key in keys
        ]

    of_json, of_lines = await service.resources.database.read(stored)
    assert of_lines == of_json
    assert of_lines[2][2]["messages"][0] == {"role": "system", "content": "Be brief."}


async def test_metadata_may_be_given_pair_by_pair(service) -> None:
    response = await upload(
        service, ["a"], **{"metadata.run": "7", "metadata": '{"a": "b"}', "metadata.x y": "="}
    )

    assert response.json()["metadata"] == {"run": "7", "a": "b", "x y": "="}


PARAMETERS = [
    ({"system": "12"}, {"system": "12"}),
    ({"system": '{"a"'}, {"system": '{"a"'}),
    ({"format": "json"}, {"format": "json"}),
    ({"format": '"json"'}, {"format": "json"}),
    ({"keep_alive": "300"}, {"keep_alive": 300}),
    ({"keep_alive": "5m"}, {"keep_alive": "5m"}),
    ({"think": "low"}, {"think": "low"}),
    ({"think": "true"}, {"think": True}),
]


async def test_a_parameter_is_text_where_the_field_is_and_json_elsewhere(
    service, subtests: pytest.Subtests
) -> None:
    for query, parameters in PARAMETERS:
        with subtests.test(query=query):
            assert (await upload(service, ["a"], **query)).json()["parameters"] == parameters


@pytest.mark.parametrize(
    "body",
    [
        b'"a"\n"b"\n',
        b'"a"\n"b"',
        b'"a"\r\n"b"\r\n',
        b'\xef\xbb\xbf"a"\n"b"\n',
        b'\n\n"a"\n  \t\r\n\n "b" \n\n',
    ],
)
async def test_lines_may_end_and_be_parted_in_every_usual_way(service, body) -> None:
    batch = (await upload(service, body, rate_limit_delay="0")).json()

    assert batch["counts"]["total"] == 2
    async with working(service.resources):
        ended = await service.client.get(f"/batches/{batch['id']}", params={"wait_s": 30})
    assert [one["prompt"] for one in ended.json()["results"]] == ["a", "b"]


async def test_a_body_may_be_cut_anywhere(service) -> None:
    body = '\ufeff"é\u2028ü"\n\n{"prompt": "😀", "id": "x"}\r\n"c"'.encode()

    async def bytewise():
        for byte in body:
            yield bytes([byte])

    batch = (await upload(service, bytewise(), rate_limit_delay="0")).json()
    async with working(service.resources):
        ended = await service.client.get(f"/batches/{batch['id']}", params={"wait_s": 30})

    assert [(one["prompt"], one["id"]) for one in ended.json()["results"]] == [
        ("é\u2028ü", None),
        ("😀", "x"),
        ("c", None),
    ]


async def test_prompts_of_many_pieces_keep_their_order_and_their_places(service) -> None:
    batch = (await upload(service, [f"{n}: {'x' * 90}" for n in range(7_001)])).json()

    def texts(tx) -> list[tuple[int, str]]:
        statement = sa.select(prompt.c.id, prompt.c.text, task.c.id.label("task"))
        rows = tx.execute(statement.join(task, task.c.id == prompt.c.id).order_by(prompt.c.id))
        return [(index_of(row.task), row.text.partition(":")[0]) for row in rows]

    assert batch["counts"]["total"] == 7_001
    found = await service.resources.database.read(texts)
    assert found == [(n, str(n)) for n in range(7_001)]


# --- what is refused ---------------------------------------------------------------------------


BAD_LINES = [
    (b"no json", "", "is not JSON: Expecting value at column 1"),
    (b'"open', "", "is not JSON: Unterminated string starting at column 1"),
    (b'"a" "b"', "", "is not JSON: Extra data at column 5"),
    (b'"\xff"', "", "is not UTF-8 at byte 2"),
    (
        b"NaN",
        "",
        "is not JSON: NaN is no JSON number; leave the field out or give a number at column 1",
    ),
    (b"1" * 5000, "", "is not JSON: A number has too many digits at column 1"),
    (b"[" * 100_000, "", "is nested deeper than 100 levels"),
    (
        b'{"prompt": "a", "format": ' + b"[" * 200 + b"]" * 200 + b"}",
        "",
        "is nested deeper than 100 levels",
    ),
    (b'"\x00"', "", "is not JSON: Invalid control character at column 2"),
    (
        b'{"prompt": "a", "prompt": "b"}',
        "",
        "has the name `prompt` twice in one object; give it once",
    ),
    (b'""', "", "must not be empty"),
    (b"7", "", "must be a string, or an object with `prompt` or `messages`"),
    (b'{"prompt": "a", "sistem": "b"}', "/sistem", "unknown field; did you mean `system`?"),
]


async def test_a_bad_line_is_named_and_nothing_is_stored(
    service, subtests: pytest.Subtests
) -> None:
    for line, pointer, fault in BAD_LINES:
        with subtests.test(line=line):
            response = await upload(service, b'"a"\n\n' + line + b'\n"b"\n')

            assert errors_of(response) == [(f"/prompts/1{pointer}", f"line 3: {fault}")]
            assert await service.stored() == []
            assert await rows(service) == NOTHING


OF_PROMPTS = {
    name: (body["prompts"], errors)
    for name, (body, errors) in NOT_VALID.items()
    if isinstance(body, dict)
    and body.get("prompts")
    and isinstance(body["prompts"], list)
    and all(pointer.startswith("/prompts/") for pointer, _ in errors)
    and not name.startswith("an id twice")
}


async def test_prompts_are_held_to_the_same_rules_as_in_a_json_body(
    service, subtests: pytest.Subtests
) -> None:
    for case, (prompts, errors) in OF_PROMPTS.items():
        with subtests.test(case):
            response = await upload(service, prompts)

            assert set(errors_of(response)) == {
                (pointer, f"line {int(pointer.split('/')[2]) + 1}: {detail}")
                for pointer, detail in errors
            }


async def test_every_bad_line_is_counted_and_a_hundred_are_listed(service) -> None:
    response = await upload(service, ["a", *[""] * 249, "b", ""])

    assert response.json()["detail"] == "250 entries are wrong; the first 100 are listed."
    assert errors_of(response)[99] == ("/prompts/100", "line 101: must not be empty")


async def test_ids_are_unique_in_the_upload(service) -> None:
    prompts = [{"prompt": "a", "id": one} for one in ("x", "y", "x", "z", "x")]

    assert errors_of(await upload(service, prompts)) == [
        ("/prompts/2/id", "line 3: is already the id of a prompt above"),
        ("/prompts/4/id", "line 5: is already the id of a prompt above"),
    ]


async def test_many_different_ids_are_never_taken_for_the_same(service) -> None:
    prompts = [{"prompt": "a", "id": str(number)} for number in range(20_000)]

    assert (await upload(service, prompts)).status_code == 202


@pytest.mark.parametrize("body", [b"", b"\n \r\n\t\n", b"\xef\xbb\xbf"])
async def test_no_lines_at_all_are_refused(service, body) -> None:
    assert errors_of(await upload(service, body)) == [("/prompts", "must have at least one prompt")]


async def test_more_lines_than_the_limit_are_refused_and_nothing_is_left(open_service) -> None:
    service = await open_service(max_upload_prompts=5_000)

    response = await upload(service, ["x" * 200] * 5_001)

    assert errors_of(response) == [
        ("/prompts", "has 5001 prompts; at most 5000 are accepted in one batch")
    ]
    assert await service.stored() == []
    await purge(service)
    assert await rows(service) == NOTHING
    assert (await upload(service, ["x"] * 5_000)).status_code == 202


async def test_a_body_over_the_limit_is_refused_and_nothing_is_left(open_service) -> None:
    service = await open_service(max_upload_bytes=3_000_000)

    async def body():
        for _ in range(4_000):
            yield b'"' + b"x" * 997 + b'"\n'

    response = await upload(service, body())

    assert response.status_code == 413
    assert await service.stored() == []
    assert (await rows(service))["prompt"] > 0  # It had begun to be stored.
    await purge(service)
    assert await rows(service) == NOTHING


async def test_of_a_line_without_end_only_its_length_is_kept(service) -> None:
    import tracemalloc

    async def body():
        yield b'"a"\n"'
        for _ in range(640):
            yield b"x" * 65536
        yield b'"\n""\n'

    tracemalloc.start()
    try:
        response = await upload(service, body())
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()

    assert errors_of(response) == [
        ("/prompts/1", "line 2: is longer than 16777216 bytes"),
        ("/prompts/2", "line 3: must not be empty"),
    ]
    assert peak < 30 * 1024 * 1024


async def test_a_long_line_with_images_is_accepted(service) -> None:
    image = "iVBORw0KGgoA" * 200_000

    response = await upload(service, [{"prompt": "What is it?", "images": [image]}])

    assert response.status_code == 202


async def test_a_bad_line_after_stored_pieces_leaves_nothing(service) -> None:
    response = await upload(service, [*["x" * 100] * 30_000, ""])

    assert errors_of(response) == [("/prompts/30000", "line 30001: must not be empty")]
    assert await service.stored() == []
    assert (await rows(service))["prompt"] > 0
    await purge(service)
    assert await rows(service) == NOTHING


WRONG_PARAMETERS = [
    ({"max_concurent": "3"}, [("max_concurent", None)]),
    ({"prompts": "[]"}, [("prompts", "unknown query parameter; leave it out")]),
    ({"max_concurrent": "0"}, [("max_concurrent", NUMBER_OR_AUTO)]),
    ({"max_concurrent": "x"}, [("max_concurrent", NUMBER_OR_AUTO)]),
    ({"max_concurrent": '"5"'}, [("max_concurrent", NUMBER_OR_AUTO)]),
    ({"rate_limit_delay": "NaN"}, [("rate_limit_delay", None)]),
    ({"options": "{1}"}, [("options", None)]),
    ({"options": "[]"}, [("options", "must be an object")]),
    (
        {"options": '{"num_ctxx": 1}'},
        [("options/num_ctxx", "unknown field; did you mean `num_ctx`?")],
    ),
    (
        {"options": '{"seed": 1, "seed": 2}'},
        [("options", "has the name `seed` twice in one object; give it once")],
    ),
    ({"format": "[" * 20_000}, [("format", "is nested deeper than 100 levels")]),
    ({"metadata": '{"a": "b"}', "metadata.a": "c"}, [("metadata.a", None)]),
    ({"metadata.": "x"}, [("metadata/", "must not be empty")]),
    ({"metadata": "7", "metadata.a": "c"}, [("metadata", "must be an object")]),
    ({"raw": "true", "system": "x"}, [("system", None)]),
    ({"system": "x" * 40_000}, [("system", None)]),
    ({"model": "two words"}, [("model", None)]),
    ({"dry_run": "yes"}, [("dry_run", "must be true or false")]),
]


async def test_a_wrong_parameter_is_named_and_nothing_is_stored(
    service, subtests: pytest.Subtests
) -> None:
    for query, errors in WRONG_PARAMETERS:
        with subtests.test(query=query):
            found = errors_of(await upload(service, ["a"], **query))

            assert [pointer for pointer, _ in found] == [f"/query/{name}" for name, _ in errors]
            for (_, told), (_, wanted) in zip(found, errors, strict=True):
                assert wanted is None or told == wanted
            assert await rows(service) == NOTHING


async def test_a_parameter_given_twice_is_refused(service) -> None:
    response = await service.client.post(
        "/batches?priority=1&priority=2", content=b'"a"', headers=LINES
    )

    assert errors_of(response) == [("/query/priority", "is given twice; give it once")]


async def test_wrong_parameters_and_wrong_lines_are_told_together(service) -> None:
    response = await upload(service, ["", "a", {}], max_attempts="0", modell="x")

    assert [pointer for pointer, _ in errors_of(response)] == [
        "/query/modell",
        "/query/max_attempts",
        "/prompts/0",
        "/prompts/2",
    ]


async def test_a_field_of_the_batch_that_a_chat_has_no_place_for_is_named_once(service) -> None:
    chat = {"messages": [{"role": "user", "content": "Hello!"}]}

    ((pointer, detail),) = errors_of(await upload(service, ["a", chat, chat], template="x"))

    assert pointer == "/query/template"
    assert detail.startswith("has no meaning for a prompt with `messages`, such as prompt 1;")


# --- all or nothing ----------------------------------------------------------------------------


class Held:
    """An upload that has begun to be stored and waits in the middle."""

    def __init__(self, service, **query: str) -> None:
        self.half_is_sent = asyncio.Event()
        self.go_on = asyncio.Event()
        self.answer = asyncio.ensure_future(upload(service, self._body(), **query))

    async def _body(self):
        yield b'"first half"\n' * 30_000
        self.half_is_sent.set()
        await self.go_on.wait()
        yield b'"second half"\n'


async def test_an_upload_shows_nowhere_before_its_last_line(service) -> None:
    held = Held(service, rate_limit_delay="0")
    await held.half_is_sent.wait()
    assert (await rows(service))["prompt"] >= 2_000

    assert await service.stored() == []
    room = await service.resources.database.read(jobs.prompts_without_outcome)
    assert room == 0
    async with working(service.resources):
        other = (await service.post({"prompts": ["other"], "rate_limit_delay": 0})).json()
        ended = await service.client.get(f"/batches/{other['id']}", params={"wait_s": 30})
    assert ended.json()["status"] == "completed"
    assert ended.json()["queue_position"] is None
    held.go_on.set()
    batch = (await held.answer).json()

    assert batch["counts"] == {**batch["counts"], "total": 30_001, "pending": 30_001}
    assert batch["status"] == "queued"
    # It came to be after the other, as if it had come in one piece.
    assert [one["id"] for one in await service.stored()] == [batch["id"], other["id"]]
    assert batch["created_at"] > other["created_at"]


async def test_a_client_that_leaves_in_the_middle_leaves_nothing(service) -> None:
    app = build_api()
    app.state.resources = service.resources
    messages = [
        {"type": "http.request", "body": b'"first half"\n' * 30_000, "more_body": True},
        {"type": "http.disconnect"},
    ]

    async def receive() -> dict:
        return messages.pop(0)

    async def send(message: dict) -> None:
        raise AssertionError("nobody is there to be answered")

    await app(
        {
            "type": "http",
            "method": "POST",
            "path": "/batches",
            "query_string": b"",
            "headers": [(b"host", b"127.0.0.1"), (b"content-type", b"application/x-ndjson")],
        },
        receive,
        send,
    )

    assert messages == []
    assert (await rows(service))["prompt"] > 0
    await purge(service)
    assert await rows(service) == NOTHING


async def test_an_upload_that_was_given_up_for_its_silence_takes_nothing_more(service) -> None:
    held = Held(service)
    await held.half_is_sent.wait()

    def long_ago(tx) -> None:
        tx.execute(sa.update(job).values(received_at_ms=tx.now_ms() - 3_600_001))

    await service.resources.database.write(long_ago)
    await purge(service)
    assert await rows(service) == NOTHING
    held.go_on.set()
    response = await held.answer

    assert response.status_code == 503
    assert response.json()["detail"] == "The upload took too long and was given up; send it again."
    assert await rows(service) == NOTHING


async def test_an_upload_that_goes_on_is_not_given_up(service) -> None:
    held = Held(service)
    await held.half_is_sent.wait()

    def a_while_ago(tx) -> None:
        tx.execute(sa.update(job).values(received_at_ms=tx.now_ms() - 3_500_000))

    await service.resources.database.write(a_while_ago)
    await purge(service)
    held.go_on.set()

    assert (await held.answer).status_code == 202


async def test_a_queue_without_room_refuses_the_upload_and_nothing_is_left(open_service) -> None:
    service = await open_service(max_queued_prompts=30_000)

    response = await upload(service, b'"first half"\n' * 30_001)

    assert response.status_code == 429
    assert response.headers["retry-after"]
    await purge(service)
    assert await rows(service) == NOTHING
    assert (await upload(service, b'"first half"\n' * 30_000)).status_code == 202


async def test_a_full_queue_refuses_an_upload_at_its_first_lines(open_service) -> None:
    service = await open_service(max_queued_prompts=1)
    await service.post({"prompts": ["a"]})
    sent = 0

    async def body():
        nonlocal sent
        for _ in range(100):
            sent += 1
            yield b'"x"\n' * 10_000

    assert (await upload(service, body())).status_code == 429
    assert sent < 20


# --- idempotency -------------------------------------------------------------------------------

KEY = {"Idempotency-Key": "k1"}


async def test_the_same_key_and_body_give_the_same_batch_again(service) -> None:
    first = await upload(service, ["a", "b"], KEY, priority="1", model="m")
    again = await upload(service, ["a", "b"], KEY, model="m", priority="1")

    assert again.status_code == 202
    assert again.json()["id"] == first.json()["id"]
    assert again.headers["idempotent-replayed"] == "true"
    assert "idempotent-replayed" not in first.headers
    await purge(service)
    assert await rows(service) == {"job": 1, "prompt": 2, "task": 2}


async def test_a_replay_is_answered_also_when_the_queue_is_full(open_service) -> None:
    service = await open_service(max_queued_prompts=2)
    first = await upload(service, ["a", "b"], KEY)

    assert (await upload(service, ["a", "b"], KEY)).json()["id"] == first.json()["id"]


@pytest.mark.parametrize(
    ("prompts", "query"), [(["a", "c"], {"priority": "1"}), (["a", "b"], {"priority": "2"})]
)
async def test_the_same_key_with_other_lines_or_fields_is_refused(service, prompts, query) -> None:
    await upload(service, ["a", "b"], KEY, priority="1")

    response = await upload(service, prompts, KEY, **query)

    assert response.status_code == 422
    assert "another body" in response.json()["detail"]
    await purge(service)
    assert await rows(service) == {"job": 1, "prompt": 2, "task": 2}
