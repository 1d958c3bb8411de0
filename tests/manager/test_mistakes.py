"""What `OllamaManager` refuses: mistakes of its caller, before anything is sent."""

from __future__ import annotations

import math

import numpy as np
import pytest

from promptmill.api.schemas.ollama import GenerationFields, OllamaOptions
from promptmill.domain.requests.fields import GENERATE_FIELDS, OPTIONS
from promptmill.manager import OllamaManager
from tests.manager.pretended import listening


@pytest.mark.parametrize(
    ("arguments", "error", "field"),
    [
        ({"prompts": "one text"}, TypeError, "prompts"),
        ({"prompts": b"bytes"}, TypeError, "prompts"),
        ({"prompts": None}, TypeError, "prompts"),
        ({"prompts": {"id": "a"}}, TypeError, "prompts"),
        ({"prompts": np.array(["a", np.nan], dtype=object)}, TypeError, "prompts[1]"),
        ({"prompts": ["a", 5]}, TypeError, "prompts[1]"),
        ({"prompts": ["a", None]}, TypeError, "prompts[1]"),
        ({"prompts": ["a", math.nan]}, TypeError, "prompts[1]"),
        ({"prompts": ["a", ""]}, ValueError, "prompts[1]"),
        ({"prompts": [" \n", "a"]}, ValueError, "prompts[0]"),
        ({"options": [1]}, TypeError, "options"),
        ({"stream": True}, TypeError, "stream"),
        ({"model": ""}, ValueError, "model"),
        ({"model": "  "}, ValueError, "model"),
        ({"model": None}, ValueError, "model"),
        ({"max_concurrent": 0}, ValueError, "max_concurrent"),
        ({"max_concurrent": -1}, ValueError, "max_concurrent"),
        ({"max_concurrent": True}, TypeError, "max_concurrent"),
        ({"max_concurrent": 2.0}, TypeError, "max_concurrent"),
        ({"max_concurrent": "5"}, TypeError, "max_concurrent"),
        ({"rate_limit_delay": -0.1}, ValueError, "rate_limit_delay"),
        ({"rate_limit_delay": math.nan}, ValueError, "rate_limit_delay"),
        ({"rate_limit_delay": math.inf}, ValueError, "rate_limit_delay"),
        ({"rate_limit_delay": False}, TypeError, "rate_limit_delay"),
        ({"rate_limit_delay": "0.1"}, TypeError, "rate_limit_delay"),
    ],
)
async def test_a_mistake_in_the_call_names_its_argument_and_sends_nothing(arguments, error, field):
    async with listening() as (url, simulator):
        with pytest.raises(error) as raised:
            await OllamaManager(url).batch_generate(
                **{"prompts": ["a"], "model": "tiny", **arguments}
            )
        assert simulator.stats()["paths"] == {}
    assert str(raised.value).startswith(f"{field} must be ")


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        (
            {"temperature": 0.2},
            "temperature is a model option, not a field; write options={'temperature': 0.2}",
        ),
        (
            {"max_tokens": 5},
            "max_tokens is a model option, not a field; write options={'num_predict': 5}",
        ),
        (
            {"num_ctx": 1024},
            "num_ctx is a model option, not a field; write options={'num_ctx': 1024}",
        ),
        ({"stop": ["a"]}, "stop is a model option, not a field; write options={'stop': …}"),
        (
            {"optoins": {}},
            "optoins is not a field of Ollama's request (did you mean options?); model options go into options={…}",
        ),
        (
            {"wibble": []},
            "wibble is not a field of Ollama's request; model options go into options={…}",
        ),
        (
            {"options": {"temprature": 0}},
            "options={'temprature': …} is not an option of Ollama; did you mean 'temperature'?",
        ),
        (
            {"options": {"max_tokens": 5}},
            "options={'max_tokens': …} is not an option of Ollama; did you mean 'num_predict'?",
        ),
        ({"options": {5: 5}}, "options={'5': …} is not an option of Ollama"),
        ({"options": {"seed": {1}}}, "options.seed is of the type set, which JSON cannot hold"),
        ({"system": b"hi"}, "system is of the type bytes, which JSON cannot hold"),
    ],
)
async def test_a_field_that_ollama_would_ignore_is_refused_and_nothing_sent(fields, message):
    async with listening() as (url, simulator):
        with pytest.raises(TypeError) as raised:
            await OllamaManager(url).batch_generate(["a"], model="tiny", **fields)
        assert simulator.stats()["paths"] == {}
    assert str(raised.value) == message


@pytest.mark.parametrize("number", [math.nan, math.inf, -math.inf])
async def test_a_number_that_json_cannot_say_is_refused_with_its_place(number):
    async with listening() as (url, simulator):
        with pytest.raises(ValueError, match=r"^options\.temperature is (NaN|infinite)"):
            await OllamaManager(url).batch_generate(["a"], options={"temperature": number})
        assert simulator.stats()["paths"] == {}


async def test_half_of_a_pair_in_a_prompt_is_refused_and_nothing_sent():
    async with listening() as (url, simulator):
        with pytest.raises(ValueError, match=r"^prompts\[1\] has half of a pair"):
            await OllamaManager(url).batch_generate(["a", "\ud83d"], model="tiny")
        assert simulator.stats()["paths"] == {}


async def test_numbers_and_texts_of_numpy_are_taken_as_those_of_python():
    async with listening() as (url, simulator):
        (result,) = await OllamaManager(url).batch_generate(
            np.array(["a"]),
            model="tiny",
            max_concurrent=np.int64(2),
            rate_limit_delay=np.float32(0.5),
            options={"num_ctx": np.int64(64), "temperature": np.float32(0.5)},
        )
        with pytest.raises(ValueError, match=r"^options\.temperature is NaN"):
            await OllamaManager(url).batch_generate(
                ["a"], options={"temperature": np.float32("nan")}
            )
        (call,) = simulator.calls
    assert result["success"]
    assert call.num_ctx == 64


def test_every_field_and_option_that_the_service_takes_is_known_here_too():
    of_embeddings = {"dimensions"}
    assert set(GenerationFields.model_fields) - of_embeddings <= GENERATE_FIELDS
    assert set(OllamaOptions.model_fields) <= OPTIONS


async def test_all_fields_of_ollama_are_sent():
    async with listening() as (url, simulator):
        (result,) = await OllamaManager(url).batch_generate(
            ["a"], model="tiny", options={"num_ctx": 64}, keep_alive="1m", think=None, stream=False
        )
        (call,) = simulator.calls
    assert result["success"]
    assert (call.num_ctx, call.keep_alive_s) == (64, 60.0)


@pytest.mark.parametrize(
    ("timeout", "error"),
    [
        *((0, ValueError), (-1, ValueError), (math.nan, ValueError), (math.inf, ValueError)),
        *((10**400, ValueError), (True, TypeError), ("30", TypeError), (None, TypeError)),
    ],
)
def test_a_timeout_that_is_none_is_refused_at_once(timeout, error):
    with pytest.raises(error, match=r"^timeout must be "):
        OllamaManager(timeout=timeout)


def test_an_address_that_is_none_is_refused_at_once():
    with pytest.raises(ValueError, match="ftp://box"):
        OllamaManager("ftp://box")
    with pytest.raises(TypeError, match=r"^base_url must be "):
        OllamaManager(5)


def test_a_name_or_a_task_that_is_none_is_refused():
    with pytest.raises(ValueError, match=r"^model must be "):
        OllamaManager().ensure_model_available(None)
    with pytest.raises(ValueError, match="no recommendation for 5"):
        OllamaManager().recommend_model(5)


@pytest.mark.parametrize(
    ("arguments", "error", "field"),
    [
        ({"models": "tiny"}, TypeError, "models"),
        ({"models": ["tiny", 3]}, TypeError, "models[1]"),
        ({"num_runs": 0}, ValueError, "num_runs"),
        ({"num_runs": True}, TypeError, "num_runs"),
        ({"num_runs": math.nan}, TypeError, "num_runs"),
        ({"models": ["tiny", " "]}, ValueError, "models[1]"),
        ({"prompt": ""}, ValueError, "prompt"),
        ({"prompt": None}, TypeError, "prompt"),
    ],
)
async def test_a_mistake_in_a_benchmark_names_its_argument_and_sends_nothing(
    arguments, error, field
):
    async with listening() as (url, server):
        with pytest.raises(error) as raised:
            await OllamaManager(url).batch_benchmark(**{"models": ["tiny"], **arguments})
        assert server.stats()["paths"] == {}
    assert str(raised.value).startswith(f"{field} must be ")
