"""What Ollama and the tools around it write is taken, and what is misplaced is told its place."""

from __future__ import annotations

import base64
import json

import pytest

PNG = base64.b64encode(b"\x89PNG" + bytes(range(90))).decode()
CALL = {"function": {"name": "get_weather", "arguments": {"city": "Paris"}}}
DOORS = ["prompt as JSON", "prompt as a line", "batch as JSON", "batch as lines", "benchmark"]


async def post(service, door: str, fields: dict) -> tuple[str, dict]:
    """Send fields through a door; where they stand there, and the errors by their pointers."""
    lines = {"Content-Type": "application/x-ndjson"}
    if door == "prompt as JSON":
        place = "/prompts/0"
        response = await service.post({"prompts": [{"prompt": "a", **fields}]})
    elif door == "prompt as a line":
        place = "/prompts/0"
        body = json.dumps({"prompt": "a", **fields})
        response = await service.client.post("/batches", content=body, headers=lines)
    elif door == "batch as JSON":
        place = ""
        response = await service.post({"prompts": ["a"], **fields})
    elif door == "batch as lines":
        place = "/query"
        query = {name: json.dumps(value) for name, value in fields.items()}
        response = await service.client.post(
            "/batches", params=query, content=b'"a"', headers=lines
        )
    else:
        place = ""
        response = await service.client.post("/benchmarks", json={"models": ["m"], **fields})
    errors = response.json().get("errors", [])
    return place, {
        one["pointer"]: one["detail"].removeprefix("line 1: ").replace("query parameter", "field")
        for one in errors
    }


async def prompts_of(service, *prompts: object) -> list[dict]:
    """The prompts as they are stored: what a host is sent of them."""
    body = "".join(json.dumps(prompt) + "\n" for prompt in prompts)
    for content, media_type in (
        (json.dumps({"prompts": prompts}), "application/json"),
        (body, "application/x-ndjson"),
    ):
        response = await service.client.post(
            "/batches", content=content, headers={"Content-Type": media_type}
        )
        assert response.status_code == 202, response.text
    found = await service.resources.database.read(_stored)
    assert found[: len(prompts)] == found[len(prompts) :], "both doors store the same"
    return found[: len(prompts)]


def _stored(tx) -> list[dict]:
    import sqlalchemy as sa

    from promptmill.store.db.tables.batches import prompt

    rows = tx.execute(sa.select(prompt.c.overrides).order_by(prompt.c.id)).scalars()
    return [row or {} for row in rows]


@pytest.mark.parametrize("door", DOORS)
async def test_options_in_the_wrong_place_and_names_of_others_are_told_where_they_belong(
    service, door
) -> None:
    place, errors = await post(
        service,
        door,
        {
            "temperature": 0,
            "num_ctx": 2048,
            "max_tokens": 50,
            "max_completion_tokens": 50,
            "options": {"max_tokens": 50, "think": False, "num_ctxx": 1},
        },
    )

    expected = {
        f"{place}/temperature": "unknown field; put it into options",
        f"{place}/num_ctx": "unknown field; put it into options",
        f"{place}/max_tokens": "unknown field; Ollama's name is options.num_predict",
        f"{place}/max_completion_tokens": "unknown field; Ollama's name is options.num_predict",
        f"{place}/options/max_tokens": "unknown field; Ollama's name is options.num_predict",
        f"{place}/options/think": "unknown field; put it beside options, not into it",
        f"{place}/options/num_ctxx": "unknown field; did you mean `num_ctx`?",
    }
    assert errors == expected


NAMES_OF_OTHERS = [
    ("stop", "put it into options"),
    ("top_p", "put it into options"),
    ("n_ctx", "Ollama's name is options.num_ctx"),
    ("repetition_penalty", "Ollama's name is options.repeat_penalty"),
    ("response_format", "Ollama's name is format"),
    ("reasoning_effort", "Ollama's name is think"),
    ("max_concurent", "did you mean `max_concurrent`?"),
    ("prompt", "did you mean `prompts`?"),
    ("logit_bias", "leave it out"),
]


async def test_every_usual_name_of_another_api_is_told_ollamas_place(
    service, subtests: pytest.Subtests
) -> None:
    for name, told in NAMES_OF_OTHERS:
        with subtests.test(name=name):
            _, errors = await post(service, "batch as JSON", {name: 1})

            assert errors == {f"/{name}": f"unknown field; {told}"}


@pytest.mark.parametrize("door", DOORS)
async def test_every_option_of_ollamas_own_client_is_accepted(service, door) -> None:
    options = {
        "numa": True,
        "low_vram": True,
        "f16_kv": True,
        "logits_all": False,
        "vocab_only": False,
        "use_mmap": True,
        "use_mlock": True,
        "embedding_only": False,
        "num_gqa": 8,
        "rope_frequency_base": 10000.0,
        "rope_frequency_scale": 1,
    }

    assert (await post(service, door, {"options": options}))[1] == {}


@pytest.mark.parametrize("calls", [[CALL], [{"id": "call_1", "type": "function", **CALL}]])
async def test_content_may_be_null_or_missing_beside_tool_calls(service, calls) -> None:
    chat = [
        {"role": "user", "content": "Weather in Paris?"},
        {"role": "assistant", "content": None, "tool_calls": calls},
        {"role": "assistant", "tool_calls": calls},
        {"role": "tool", "tool_call_id": "call_1", "content": "12 degrees"},
    ]

    (stored,) = await prompts_of(service, {"messages": chat})

    assert stored["messages"] == [
        {name: value for name, value in message.items() if value is not None} for message in chat
    ]


@pytest.mark.parametrize(
    ("content", "text", "images"),
    [
        ([{"type": "text", "text": "Hi"}], "Hi", None),
        ([{"type": "text", "text": "a"}, {"type": "input_text", "text": "b"}], "a\nb", None),
        (
            [
                {"type": "text", "text": "What is this?"},
                {"type": "image_url", "image_url": {"url": f"data:image/png;base64,{PNG}"}},
            ],
            "What is this?",
            [PNG],
        ),
        (
            [
                {
                    "type": "image_url",
                    "image_url": {"url": f"data:image/png;base64,{PNG}", "detail": "low"},
                },
                {"type": "input_image", "image_url": f"data:image/jpeg;base64,{PNG}"},
                {"type": "image_url", "image_url": f"data:;base64,{PNG}"},
            ],
            "",
            [PNG, PNG, PNG],
        ),
    ],
)
async def test_content_in_parts_is_taken_apart(service, content, text, images) -> None:
    (stored,) = await prompts_of(service, {"messages": [{"role": "user", "content": content}]})

    message = {"role": "user", "content": text}
    assert stored["messages"] == [message if images is None else {**message, "images": images}]


async def test_images_in_parts_come_after_those_beside_them(service) -> None:
    other = base64.b64encode(b"other").decode()
    part = {"type": "image_url", "image_url": {"url": f"data:image/png;base64,{PNG}"}}
    message = {"role": "user", "content": [part], "images": [other]}

    (stored,) = await prompts_of(service, {"messages": [message]})

    assert stored["messages"][0]["images"] == [other, PNG]


NO_PARTS = [
    (
        {"type": "image_url", "image_url": {"url": "https://x.test/a.png"}},
        "/image_url",
        "data:",
    ),
    ({"type": "image_url", "image_url": {"url": "data:image/png,abc"}}, "/image_url", "data:"),
    ({"type": "input_audio", "input_audio": {"data": "aaaa"}}, "", "image_url"),
    ({"type": "text", "text": 5}, "", '"text"'),
    ({"text": "Hi"}, "", '"text"'),
    ("Hi", "", '"text"'),
    (None, "", '"text"'),
]


async def test_a_part_that_is_neither_text_nor_image_is_named(
    service, subtests: pytest.Subtests
) -> None:
    for part, below, told in NO_PARTS:
        with subtests.test(part=part):
            content = [{"type": "text", "text": "a"}, part]

            response = await service.post(
                {"prompts": [{"messages": [{"role": "user", "content": content}]}]}
            )

            (error,) = response.json()["errors"]
            assert error["pointer"] == f"/prompts/0/messages/0/content/1{below}"
            assert told in error["detail"]


@pytest.mark.parametrize("content", [5, {"type": "text", "text": "a"}, True, []])
async def test_content_of_another_kind_is_refused(service, content) -> None:
    response = await service.post(
        {"prompts": [{"messages": [{"role": "user", "content": content}]}]}
    )

    assert response.status_code == 422
    (error,) = response.json()["errors"]
    assert error["pointer"].startswith("/prompts/0/messages")


@pytest.mark.parametrize("end", ["\n", "\r\n"])
async def test_base64_may_have_line_ends(service, end) -> None:
    broken = end.join(PNG[start : start + 76] for start in range(0, len(PNG), 76)) + end

    image, chat = await prompts_of(
        service,
        {"prompt": "What is it?", "images": [broken, PNG]},
        {"messages": [{"role": "user", "content": "a", "images": [broken]}]},
    )

    assert image["images"] == [PNG, PNG]
    assert chat["messages"][0]["images"] == [PNG]


async def test_what_is_no_base64_is_refused_all_the_same(
    service, subtests: pytest.Subtests
) -> None:
    for image in ["a!", "aaa", f"data:image/png;base64,{PNG}", "\n", 5]:
        with subtests.test(image=image):
            response = await service.post({"prompts": [{"prompt": "a", "images": [image]}]})

            (error,) = response.json()["errors"]
            assert error["pointer"] == "/prompts/0/images/0"


DECIMAL = r"^(?!^[-+.]*$)[+-]?0*\d*\.?\d*$"


@pytest.mark.parametrize(
    ("of_batch", "of_prompt", "patterns"),
    [
        (DECIMAL, None, [DECIMAL]),
        (None, DECIMAL, [DECIMAL]),
        (DECIMAL, DECIMAL, [DECIMAL]),
        ("^a+$", "(?<=y)z", ["(?<=y)z"]),
        ("^a+$", None, []),
        (None, None, []),
    ],
)
@pytest.mark.parametrize("door", ["batch as JSON", "batch as lines"])
async def test_a_schema_with_look_around_is_accepted_and_said_to_be_unchecked(
    service, door, of_batch, of_prompt, patterns
) -> None:
    def schema(pattern: str) -> dict:
        price = {"type": "string", "pattern": pattern}
        return {"type": "object", "properties": {"price": price}, "required": ["price"]}

    prompts: list = ["a", {"prompt": "b"} | ({"format": schema(of_prompt)} if of_prompt else {})]
    fields = {"format": schema(of_batch)} if of_batch else {}
    for key in ({}, {"Idempotency-Key": "twice"}, {"Idempotency-Key": "twice"}):
        if door == "batch as JSON":
            response = await service.client.post(
                "/batches", json={"prompts": prompts, **fields}, headers=key
            )
        else:
            response = await service.client.post(
                "/batches",
                params={name: json.dumps(value) for name, value in fields.items()},
                content="\n".join(map(json.dumps, prompts)),
                headers={"Content-Type": "application/x-ndjson", **key},
            )

        assert response.status_code == 202
        assert [one.split("`")[1] for one in response.json()["unchecked"]] == patterns


async def test_twenty_unchecked_expressions_are_named_and_no_more(service) -> None:
    prompts = [{"prompt": "a", "format": {"pattern": f"(?=x){n}"}} for n in range(30)]

    (*told, last) = (await service.post({"prompts": prompts})).json()["unchecked"]

    assert [one.split("`")[1] for one in told] == [f"(?=x){n}" for n in range(20)]
    assert "further" in last
