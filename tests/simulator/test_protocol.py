"""Details of the protocol that no recording shows."""

from __future__ import annotations

import pytest

from promptmill.simulator import ModelSpec, Speed, answer_text
from promptmill.simulator.faults.access import allow_origin, host_is_welcome
from promptmill.simulator.protocol.binding import NOT_JSON
from promptmill.simulator.protocol.durations import DurationError, keep_alive_seconds
from promptmill.simulator.protocol.gojson import encode, timestamp
from promptmill.simulator.protocol.names import parse_name

EXTRA = ModelSpec(name="extra:7b", speed=Speed())


@pytest.mark.parametrize(
    ("body", "error"),
    [
        ("", "missing request body"),
        ("  \n", "missing request body"),
        ("{", NOT_JSON),
        ('{"a":NaN}', NOT_JSON),
    ],
)
async def test_a_body_that_is_not_json_is_refused_with_one_sentence(simulated, body, error):
    async with simulated() as server:
        answer = await server.client.post("/api/generate", content=body)
    assert (answer.status_code, answer.json()) == (400, {"error": error})


@pytest.mark.parametrize(
    ("body", "error"),
    [
        (
            '{"model":"tiny","prompt":["x"]}',
            "json: cannot unmarshal array into Go struct field GenerateRequest.prompt of type string",
        ),
        (
            '{"model":"tiny","stream":"no"}',
            "json: cannot unmarshal string into Go struct field GenerateRequest.stream of type bool",
        ),
        (
            '{"model":"tiny","top_logprobs":1.5}',
            "json: cannot unmarshal number 1.5 into Go struct field GenerateRequest.top_logprobs of type int",
        ),
        (
            '{"model":"tiny","options":[]}',
            "json: cannot unmarshal array into Go struct field GenerateRequest.options of type map[string]interface {}",
        ),
        (
            '{"model":"tiny","prompt":"x","keep_alive":"5x"}',
            'time: unknown unit "x" in duration "5x"',
        ),
    ],
)
async def test_a_value_of_the_wrong_type_is_refused_in_the_words_of_go(simulated, body, error):
    async with simulated() as server:
        answer = await server.client.post("/api/generate", content=body)
    assert (answer.status_code, answer.json()) == (400, {"error": error})


async def test_names_of_fields_match_in_any_case_and_what_follows_the_body_is_ignored(simulated):
    async with simulated() as server:
        answer = await server.client.post(
            "/api/generate", content='{"MODEL":"tiny","Prompt":"x","stream":false} and more'
        )
    assert answer.json()["response"] == answer_text("tiny", "x")


async def test_half_a_character_in_a_prompt_does_no_harm(simulated):
    async with simulated() as server:
        answer = await server.client.post(
            "/api/generate", content=r'{"model":"tiny","prompt":"\ud800"}'
        )
    assert answer.status_code == 200


@pytest.mark.parametrize(
    ("options", "error"),
    [
        ({"stop": ["a", 1]}, 'option "stop" must be of an array of strings'),
        ({"use_mmap": 1}, 'option "use_mmap" must be of type boolean'),
        ({"seed": True}, 'option "seed" must be of type integer'),
    ],
)
async def test_an_option_of_the_wrong_type_is_a_500(simulated, options, error):
    async with simulated() as server:
        answer = await server.generate("x", options=options)
    assert (answer.status_code, answer.json()) == (500, {"error": error})


@pytest.mark.parametrize(
    ("value", "seconds"),
    [
        (5, 5.0),
        (0.5, 0.5),
        (-1, float("inf")),
        ("1h30m", 5400.0),
        ("-1s", float("inf")),
        ("0", 0.0),
        ("100ms", 0.1),
    ],
)
def test_durations_are_read_like_go_does(value, seconds):
    assert keep_alive_seconds(value) == pytest.approx(seconds)


def test_an_empty_duration_is_none():
    with pytest.raises(DurationError, match='invalid duration ""'):
        keep_alive_seconds("")


@pytest.mark.parametrize(
    ("text", "short"),
    [
        ("x", "x:latest"),
        (" x:7b ", "x:7b"),
        ("me/x", "me/x:latest"),
        ("h.example:5000/me/x:t", "h.example:5000/me/x:t"),
        ("a b", None),
        ("", None),
        ("x:", "x:latest"),
        ("a/b/c/d", None),
        (".x", None),
    ],
)
def test_names_have_defaults_and_rules(text, short):
    name = parse_name(text)
    assert (name.short if name else None) == short


@pytest.mark.parametrize(
    ("host", "welcome"),
    [
        (b"localhost:11434", True),
        (b"127.0.0.1", True),
        (b"[::1]:11434", True),
        (b"192.168.1.5:1", True),
        (b"ollama.local", True),
        (b"8.8.8.8", False),
        (b"evil.example", False),
    ],
)
def test_a_local_server_answers_to_local_hosts_only(host, welcome):
    assert host_is_welcome(host) is welcome


def test_only_local_pages_and_apps_may_ask():
    assert allow_origin(b"http://127.0.0.1:3000")
    assert allow_origin(b"app://x")
    assert not allow_origin(b"https://ollama.example")
    assert not allow_origin(b"null")


def test_json_and_times_are_written_like_go_does():
    assert (
        encode({"b": "<a> & \u2028 ü", "a": [1, None]})
        == '{"b":"\\u003ca\\u003e \\u0026 \\u2028 ü","a":[1,null]}'
    )
    assert timestamp(1_000_000_000_120_000_000) == "2001-09-09T01:46:40.12Z"
    assert timestamp(1_000_000_000_000_000_000) == "2001-09-09T01:46:40Z"


async def test_a_pulled_model_can_be_used(simulated, lines):
    async with simulated(pullable=(EXTRA,), pull_s=0.02) as server:
        missing = await server.generate("x", model="extra:7b")
        pulled = lines(await server.client.post("/api/pull", json={"model": "extra:7b"}))
        again = lines(await server.client.post("/api/pull", json={"model": "extra:7b"}))
        found = await server.generate("x", model="extra:7b")
    assert (missing.status_code, found.status_code) == (404, 200)
    assert pulled[0] == {"status": "pulling manifest"}
    assert list(pulled[1]) == ["status", "digest", "total"]
    assert list(pulled[2]) == ["status", "digest", "total", "completed"]
    assert [line["status"] for line in pulled[-3:]] == [
        "verifying sha256 digest",
        "writing manifest",
        "success",
    ]
    assert len([line for line in again if "digest" in line]) == 1


async def test_a_pull_can_fail_after_the_manifest(simulated, lines):
    from promptmill.simulator import FaultRule

    unknown = "pull model manifest: file does not exist"
    async with simulated(
        pullable=(EXTRA,), pull_s=0, faults=(FaultRule.parse("pull_error first=1"),)
    ) as server:
        streamed = await server.client.post("/api/pull", json={"model": "nowhere"})
        once = await server.client.post("/api/pull", json={"model": "nowhere", "stream": False})
        good = await server.client.post("/api/pull", json={"model": "extra:7b", "stream": False})
    assert streamed.status_code == 200
    assert lines(streamed)[0] == {"status": "pulling manifest"}
    assert "error" in lines(streamed)[1]
    assert (once.status_code, once.json()) == (500, {"error": unknown})
    assert (good.status_code, good.text) == (200, '{"status":"success"}')


async def test_capabilities_decide_what_a_model_can_be_asked(simulated):
    embedder = ModelSpec(name="embed", capabilities=("embedding",), speed=Speed())
    async with simulated(models=(embedder,)) as server:
        generate = await server.generate("x", model="embed")
        chat = await server.client.post("/api/chat", json={"model": "embed", "messages": []})
        embed = await server.client.post("/api/embed", json={"model": "embed", "input": "x"})
        show = await server.client.post("/api/show", json={"name": "embed"})
    assert generate.json() == {"error": '"embed" does not support generate'}
    assert chat.json() == {"error": '"embed" does not support chat'}
    assert embed.status_code == 200
    assert show.json()["capabilities"] == ["embedding"]


async def test_a_cloud_model_asks_to_sign_in(simulated):
    async with simulated() as server:
        answer = await server.generate("x", model="big:cloud")
        both = await server.generate("x", model="big:cloud:local")
        local = await server.generate("x", model="tiny:local")
    assert (answer.status_code, list(answer.json())) == (401, ["error", "signin_url"])
    assert both.json() == {"error": 'use either :local or :cloud, not both: "big:cloud:local"'}
    assert local.status_code == 200


async def test_a_copied_model_answers_under_its_new_name(simulated):
    async with simulated() as server:
        copied = await server.client.post(
            "/api/copy", json={"source": "tiny", "destination": "mine"}
        )
        bad = await server.client.post("/api/copy", json={"source": "tiny", "destination": "a b"})
        assert (copied.status_code, copied.content) == (200, b"")
        assert bad.json() == {"error": 'destination "a b" is invalid'}
        assert (await server.generate("x", model="mine")).status_code == 200
