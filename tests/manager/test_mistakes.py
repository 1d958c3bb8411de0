"""What `OllamaManager` refuses: mistakes of its caller, before anything is sent."""

from __future__ import annotations

import math

import pytest

from promptmill.manager import OllamaManager
from tests.manager.pretended import listening


@pytest.mark.parametrize(
    ("arguments", "error", "field"),
    [
        ({"prompts": "one text"}, TypeError, "prompts"),
        ({"prompts": b"bytes"}, TypeError, "prompts"),
        ({"prompts": None}, TypeError, "prompts"),
        ({"prompts": ["a", 5]}, TypeError, "prompts[1]"),
        ({"prompts": ["a", None]}, TypeError, "prompts[1]"),
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
