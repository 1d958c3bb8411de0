"""What is said: the same for the same prompt, of the asked length and form."""

from __future__ import annotations

import json

import jsonschema
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from promptmill.simulator import (
    ModelSpec,
    Speed,
    answer_text,
    chat_prompt,
    embedding,
    rendered_prompt,
)
from promptmill.simulator.engine.instances import instance
from promptmill.simulator.engine.vocabulary import WORDS

THINKER = ModelSpec(name="thinker", capabilities=("completion", "thinking", "tools"), speed=Speed())


async def text_of(server, prompt, **fields):
    return (await server.generate(prompt, stream=False, **fields)).json()


async def test_an_answer_is_the_pure_function_of_its_prompt(simulated, lines):
    async with simulated() as server:
        whole = await text_of(server, "Why?")
        pieces = lines(await server.generate("Why?", model="TINY:latest"))
        seeded = await text_of(server, "Why?", options={"seed": 7})
        with_system = await text_of(server, "Why?", system="Be brief.")
        short = await text_of(server, "Why?", options={"num_predict": 3})
        chat = await server.client.post(
            "/api/chat",
            json={
                "model": "tiny",
                "stream": False,
                "messages": [
                    {"role": "system", "content": "Be brief."},
                    {"role": "user", "content": "Why?"},
                ],
            },
        )
    assert whole["response"] == answer_text("tiny", "Why?")
    assert "".join(piece["response"] for piece in pieces) == whole["response"]
    assert seeded["response"] == answer_text("tiny", "Why?", seed=7) != whole["response"]
    assert with_system["response"] == answer_text("tiny", rendered_prompt("Why?", "Be brief."))
    assert chat.json()["message"]["content"] == answer_text(
        "tiny", chat_prompt(["Be brief.", "Why?"])
    )
    assert short["response"] == answer_text("tiny", "Why?", num_predict=3)
    assert whole["response"].startswith(short["response"])


def test_answers_to_different_prompts_differ_from_the_first_token_on():
    firsts = {answer_text("tiny", f"prompt {number}", num_predict=1) for number in range(2000)}
    assert len(firsts) == 2000
    assert answer_text("tiny", "x") != answer_text("small", "x")


def test_there_are_256_words():
    assert len(WORDS) == len(set(WORDS)) == 256


@settings(max_examples=40)
@given(st.text(), st.integers(1, 80))
def test_fewer_tokens_are_the_beginning_of_more(prompt, count):
    assert answer_text("m", prompt).startswith(answer_text("m", prompt, num_predict=count))


async def test_a_prompt_may_choose_its_answer_and_its_length(simulated):
    async with simulated() as server:
        assert (await text_of(server, "x [[say:#### 42]]"))["response"] == "#### 42"
        assert (await text_of(server, "x [[tokens:333]]"))["eval_count"] == 333


@pytest.mark.parametrize("num_predict", [0, -1, -2])
async def test_no_limit_lets_the_answer_end_by_itself(simulated, num_predict):
    async with simulated() as server:
        answer = await text_of(server, "x", options={"num_predict": num_predict})
    assert answer["done_reason"] == "stop"
    assert answer["response"] == answer_text("tiny", "x")


async def test_one_token_has_no_duration(simulated):
    async with simulated() as server:
        answer = await text_of(server, "x", options={"num_predict": 1})
    assert answer["eval_count"] == 1
    assert answer["done_reason"] == "length"
    assert "eval_duration" not in answer


async def test_a_stop_word_ends_the_answer_and_is_not_said(simulated):
    full = answer_text("tiny", "x")
    word = full.split()[4]
    async with simulated() as server:
        answer = await text_of(server, "x", options={"stop": ["no such word", word]})
    assert answer["response"] == full.partition(word)[0]
    assert answer["done_reason"] == "stop"


SCHEMA = {
    "type": "object",
    "$defs": {
        "leaf": {
            "type": "object",
            "properties": {"next": {"anyOf": [{"$ref": "#/$defs/leaf"}, {"type": "null"}]}},
            "required": ["next"],
        }
    },
    "properties": {
        "name": {"type": "string", "minLength": 12, "maxLength": 14},
        "kind": {"enum": ["a", "b"]},
        "fixed": {"const": {"x": [1]}},
        "age": {"type": "integer", "minimum": 18, "exclusiveMaximum": 21},
        "share": {"type": "number", "exclusiveMinimum": 0, "maximum": 1},
        "tens": {"type": "integer", "multipleOf": 10, "minimum": 35},
        "low": {"type": "integer", "maximum": -5},
        "tags": {"type": "array", "items": {"type": "string"}, "minItems": 2, "maxItems": 3},
        "pair": {
            "type": "array",
            "prefixItems": [{"type": "integer"}, {"type": "boolean"}],
            "items": False,
            "minItems": 2,
        },
        "maybe": {"type": ["string", "null"]},
        "tree": {"$ref": "#/$defs/leaf"},
        "both": {
            "allOf": [
                {"properties": {"l": {"type": "integer"}}, "required": ["l"]},
                {"properties": {"r": {"type": "string"}}, "required": ["r"]},
            ]
        },
        "when": {"type": "string", "format": "date-time"},
    },
    "required": ["name", "kind", "age"],
    "additionalProperties": False,
}


@settings(max_examples=40)
@given(st.binary(min_size=8, max_size=64))
def test_an_instance_fits_its_schema(source):
    jsonschema.validate(instance(SCHEMA, source), SCHEMA)


async def test_a_format_gives_json_that_fits(simulated):
    async with simulated() as server:
        schema = await text_of(server, "x", format=SCHEMA)
        plain = await text_of(server, "x", format="json")
        cut = await text_of(server, "x", format="json", options={"num_predict": 2})
    jsonschema.validate(json.loads(schema["response"]), SCHEMA)
    assert isinstance(json.loads(plain["response"]), dict)
    assert cut["done_reason"] == "length"


async def test_a_thinking_model_thinks_first_unless_told_not_to(simulated, lines):
    async with simulated(models=(THINKER,)) as server:
        pieces = lines(await server.generate("x", model="thinker"))
        silent = await text_of(server, "x", model="thinker", think=False)
        starved = await text_of(server, "x", model="thinker", options={"num_predict": 5})
        whole = await text_of(server, "x", model="thinker")
    thought = [place for place, piece in enumerate(pieces) if "thinking" in piece]
    assert thought == list(range(len(thought)))
    assert all(pieces[place]["response"] == "" for place in thought)
    assert "thinking" not in silent
    assert silent["response"] == whole["response"] == answer_text("thinker", "x")
    assert (starved["response"], starved["done_reason"]) == ("", "length")
    assert whole["eval_count"] == len(thought) + len(whole["response"].split())


async def test_a_tool_is_called_when_the_prompt_says_so(simulated):
    parameters = {"type": "object", "properties": {"n": {"type": "integer"}}, "required": ["n"]}
    tools = [
        {
            "type": "function",
            "function": {"name": "count", "description": "d", "parameters": parameters},
        }
    ]
    async with simulated(models=(THINKER,)) as server:
        body = {"model": "thinker", "stream": False, "tools": tools, "think": False}
        called = await server.client.post(
            "/api/chat", json={**body, "messages": [{"role": "user", "content": "x [[tool]]"}]}
        )
        spoken = await server.client.post(
            "/api/chat", json={**body, "messages": [{"role": "user", "content": "x"}]}
        )
    function = called.json()["message"]["tool_calls"][0]["function"]
    assert function["name"] == "count"
    jsonschema.validate(function["arguments"], parameters)
    assert spoken.json()["message"]["content"] == answer_text("thinker", "x")


async def test_embeddings_are_unit_vectors_of_their_text(simulated):
    async with simulated() as server:
        body = {"model": "tiny", "input": ["a", "b", "a"]}
        rows = (await server.client.post("/api/embed", json=body)).json()["embeddings"]
        short = (await server.client.post("/api/embed", json={**body, "dimensions": 5})).json()[
            "embeddings"
        ]
    assert rows == [embedding("tiny", text, 256) for text in "aba"]
    assert rows[0] == rows[2] != rows[1]
    for row in (*rows, *short):
        assert sum(number * number for number in row) == pytest.approx(1, abs=1e-5)
    assert [len(row) for row in short] == [5, 5, 5]
